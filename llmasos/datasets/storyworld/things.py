"""The things that stories are about, by plot, with German gender and the properties that a plot needs."""

from llmasos.datasets.storyworld.entities import Noun, Word
from llmasos.datasets.storyworld.people import CARPENTER, SMITH, TAILOR, animal


def thing(en: str, de: str, gender: str, **tags: object) -> Noun:
    """Make a thing; the tags are the properties that its plot needs."""
    return Noun(en, de, gender, tags=tags)


LOST = (
    thing("scarf", "Schal", "m"),
    thing("key", "Schlüssel", "m"),
    thing("whistle", "Pfeife", "f"),
    thing("ring", "Ring", "m"),
    thing("flute", "Flöte", "f"),
    thing("compass", "Kompass", "m"),
    thing("ribbon", "Band", "n"),
    thing("pocket knife", "Taschenmesser", "n"),
)
JUNK = [
    Word("three snails", "drei Schnecken"),
    Word("an old shoe", "einen alten Schuh"),
    Word("a rusty nail", "einen rostigen Nagel"),
    Word("a broken cup", "eine zerbrochene Tasse"),
    Word("half a comb", "einen halben Kamm"),
    Word("a grey feather", "eine graue Feder"),
    Word("an empty bottle", "eine leere Flasche"),
]
# mender: the person who can repair it; places, weather: where and when it is used
BROKEN = (
    thing("kite", "Drachen", "m", mender=TAILOR, places="meadow hill", weather="windy"),
    thing("sledge", "Schlitten", "m", mender=CARPENTER, places="hill", weather="cold"),
    thing("toy boat", "Spielzeugboot", "n", mender=CARPENTER, places="lake", weather="sunny warm windy"),
    thing("drum", "Trommel", "f", mender=TAILOR, places="market", weather="sunny warm cold"),
    thing("cart", "Karren", "m", mender=CARPENTER, places="hill bridge", weather="sunny warm windy"),
    thing("lantern", "Laterne", "f", mender=SMITH, places="forest", weather="foggy"),
    thing("music box", "Spieluhr", "f", mender=SMITH, places="market", weather="sunny warm windy"),
    thing("puppet", "Marionette", "f", mender=CARPENTER, places="market", weather="sunny warm cold"),
)
# missing: the ingredients that the dish may lack
DISHES = (
    thing("soup", "Suppe", "f", missing=("salt", "butter", "flour")),
    thing("apple cake", "Apfelkuchen", "m", missing=("flour", "sugar", "butter")),
    thing("cherry pie", "Kirschkuchen", "m", missing=("flour", "salt")),
    thing("pumpkin pie", "Kürbiskuchen", "m", missing=("sugar", "flour", "butter")),
    thing("stew", "Eintopf", "m", missing=("salt", "butter", "flour")),
    thing("plum cake", "Pflaumenkuchen", "m", missing=("sugar", "butter", "flour")),
    thing("mushroom pie", "Pilzkuchen", "m", missing=("butter", "salt")),
    thing("honey porridge", "Honigbrei", "m", missing=("butter", "salt")),
)
FOODSTUFF = {
    en: Word(en, de, {"none": Word(f"no {en}", f"{none} {de}")})
    for en, none, de in [
        ("salt", "kein", "Salz"),
        ("sugar", "kein", "Zucker"),
        ("butter", "keine", "Butter"),
        ("flour", "kein", "Mehl"),
    ]
}
FARM_ANIMALS = (
    animal("lamb", "Lamm", "n"),
    animal("goat", "Ziege", "f"),
    animal("donkey", "Esel", "m"),
    animal("calf", "Kalb", "n"),
    animal("pony", "Pony", "n"),
    animal("foal", "Fohlen", "n"),
    animal("ram", "Widder", "m"),
    animal("sheepdog", "Schäferhund", "m"),
)
SECRETS = (
    thing("cave", "Höhle", "f", places="hill forest"),
    thing("fox den", "Fuchsbau", "m", places="forest hill"),
    thing("owl's nest", "Eulennest", "n", places="forest barn"),
    thing("tree house", "Baumhaus", "n", places="forest"),
    thing("raspberry bush", "Himbeerstrauch", "m", places="forest hill"),
    thing("spring", "Quelle", "f", places="hill forest"),
    thing("waterfall", "Wasserfall", "m", places="forest hill"),
    thing("beaver dam", "Biberdamm", "m", places="lake forest"),
)
# course: where the race leads; weather in which it is held
RACERS = (
    thing("sledge", "Schlitten", "m", start="hill", weather="cold"),
    thing("raft", "Floß", "n", start="lake", weather="sunny warm windy"),
    thing("rowing boat", "Ruderboot", "n", start="lake", weather="sunny warm windy"),
    thing("soapbox cart", "Seifenkiste", "f", start="hill", weather="sunny warm windy"),
    thing("scooter", "Roller", "m", start="market", weather="sunny warm windy"),
    thing("bicycle", "Fahrrad", "n", start="bridge", weather="sunny warm windy"),
    thing("pony", "Pony", "n", start="meadow", weather="sunny warm windy"),
    thing("donkey", "Esel", "m", start="market", weather="sunny warm windy"),
)
# how: "ride" or "play"
SKILLS = (
    thing("bicycle", "Fahrrad", "n", how="ride"),
    thing("unicycle", "Einrad", "n", how="ride"),
    thing("scooter", "Roller", "m", how="ride"),
    thing("violin", "Geige", "f", how="play"),
    thing("trumpet", "Trompete", "f", how="play"),
    thing("accordion", "Akkordeon", "n", how="play"),
    thing("harp", "Harfe", "f", how="play"),
    thing("flute", "Flöte", "f", how="play"),
)
QUARRELS = (
    thing("drum", "Trommel", "f"),
    thing("ball", "Ball", "m"),
    thing("kite", "Drachen", "m"),
    thing("paint box", "Malkasten", "m"),
    thing("toy ship", "Spielzeugschiff", "n"),
    thing("telescope", "Fernrohr", "n"),
    thing("skipping rope", "Springseil", "n"),
    thing("scooter", "Roller", "m"),
)
KEEPSAKES = (
    thing("silver coin", "Silbermünze", "f"),
    thing("map", "Landkarte", "f"),
    thing("feather", "Feder", "f"),
    thing("shell", "Muschel", "f"),
    thing("little bell", "Glöckchen", "n"),
    thing("picture", "Bild", "n"),
    thing("wooden horse", "Holzpferd", "n"),
    thing("locket", "Anhänger", "m"),
)
FRAGILE = (
    thing("vase", "Vase", "f"),
    thing("mirror", "Spiegel", "m"),
    thing("jug", "Krug", "m"),
    thing("clock", "Uhr", "f"),
    thing("teapot", "Teekanne", "f"),
    thing("lamp", "Lampe", "f"),
    thing("bowl", "Schüssel", "f"),
    thing("flowerpot", "Blumentopf", "m"),
)
WILD_ANIMALS = (
    animal("hedgehog", "Igel", "m", wings=False),
    animal("sparrow", "Spatz", "m", "Spatzen", wings=True),
    animal("rabbit", "Kaninchen", "n", wings=False),
    animal("squirrel", "Eichhörnchen", "n", wings=False),
    animal("robin", "Rotkehlchen", "n", wings=True),
    animal("swallow", "Schwalbe", "f", wings=True),
    animal("hare", "Hase", "m", "Hasen", wings=False),
    animal("duck", "Ente", "f", wings=True),
)
PLANTS = (
    thing("pumpkin", "Kürbis", "m"),
    thing("sunflower", "Sonnenblume", "f"),
    thing("rose", "Rose", "f"),
    thing("cabbage", "Kohlkopf", "m"),
    thing("melon", "Melone", "f"),
    thing("turnip", "Rübe", "f"),
    thing("cucumber", "Gurke", "f"),
    thing("tulip", "Tulpe", "f"),
)
NIGHT_NOISES = (
    animal("cat", "Katze", "f", alive=True),
    animal("squirrel", "Eichhörnchen", "n", alive=True),
    animal("hedgehog", "Igel", "m", alive=True),
    animal("goat", "Ziege", "f", alive=True),
    animal("mouse", "Maus", "f", alive=True),
    animal("marten", "Marder", "m", alive=True),
    thing("branch", "Ast", "m", alive=False),
    thing("shutter", "Fensterladen", "m", alive=False),
)
GIFTS = (
    thing("basket", "Korb", "m"),
    thing("cushion", "Kissen", "n"),
    thing("candle", "Kerze", "f"),
    thing("necklace", "Halskette", "f"),
    thing("bowl", "Schüssel", "f"),
    thing("card", "Karte", "f"),
    thing("shawl", "Schultertuch", "n"),
    thing("birdhouse", "Vogelhaus", "n"),
)
