"""Sights on the hero's way: the weather, neighbors at work, animals. They have no effect on the plot."""

from dataclasses import replace

from llmasos.datasets.storyworld.entities import Noun, Word
from llmasos.datasets.storyworld.teller import Teller

SKY = {
    "sunny": """
        The lake glittered in the sun.
            Der See glitzerte in der Sonne.
        There was not a cloud in the sky.
            Keine Wolke war am Himmel.
    """,
    "warm": """
        The air smelled of hay.
            Die Luft roch nach Heu.
        Bees hummed in the lime trees.
            In den Linden summten die Bienen.
    """,
    "windy": """
        The wind pulled at every hat and every door.
            Der Wind zerrte an jedem Hut und an jeder Tür.
        The trees bent low in the wind.
            Die Bäume bogen sich tief im Wind.
    """,
    "rainy": """
        The paths were full of mud.
            Die Wege waren voller Schlamm.
        Rain dripped from every roof.
            Von jedem Dach tropfte der Regen.
    """,
    "foggy": """
        Nobody could see further than ten steps.
            Niemand konnte weiter als zehn Schritte sehen.
        The fog had swallowed the whole valley.
            Der Nebel hatte das ganze Tal verschluckt.
    """,
    "cold": """
        There was thin ice on every puddle.
            Auf jeder Pfütze lag dünnes Eis.
        The roofs were white with frost.
            Die Dächer waren weiß vom Reif.
    """,
}


def sky(t: Teller, probability: float = 0.4) -> None:
    """Perhaps mention the weather of the day."""
    t.maybe(SKY[t.weather], probability)


def _at_work(en: str, de: str, gender: str, oblique: str, *works: tuple[str, str]) -> list[Noun]:
    """Make one passer-by for each activity of a person (German with the verb at the end)."""
    person = Noun(en, de, gender, "she" if gender == "f" else "he", oblique=oblique)
    return [replace(person, tags={"work": Word(*work)}) for work in works]


PASSERS = [
    *_at_work(
        "postman",
        "Postbote",
        "m",
        "Postboten",
        ("reading other people's postcards", "fremde Postkarten las"),
        ("looking for a letter", "einen Brief suchte"),
        ("pushing a heavy bicycle", "ein schweres Fahrrad schob"),
    ),
    *_at_work(
        "chimney sweep",
        "Schornsteinfeger",
        "m",
        "",
        ("carrying a ladder", "eine Leiter trug"),
        ("whistling a tune", "ein Lied pfiff"),
        ("eating a white roll with black hands", "mit schwarzen Händen ein weißes Brötchen aß"),
    ),
    *_at_work(
        "beekeeper",
        "Imkerin",
        "f",
        "",
        ("talking to the bees", "mit den Bienen sprach"),
        ("painting a beehive", "einen Bienenstock bemalte"),
        ("filling jars with honey", "Honig in Gläser füllte"),
    ),
    *_at_work(
        "innkeeper",
        "Wirtin",
        "f",
        "",
        ("rolling a barrel", "ein Fass rollte"),
        ("beating a carpet", "einen Teppich klopfte"),
        ("counting spoons", "Löffel zählte"),
    ),
    *_at_work(
        "mayor",
        "Bürgermeister",
        "m",
        "",
        ("practising a speech", "eine Rede übte"),
        ("polishing a golden chain", "eine goldene Kette putzte"),
        ("measuring the street", "die Straße ausmaß"),
    ),
    *_at_work(
        "ferryman",
        "Fährmann",
        "m",
        "",
        ("tarring a boat", "ein Boot teerte"),
        ("mending a net", "ein Netz flickte"),
        ("smoking a pipe", "eine Pfeife rauchte"),
    ),
    *_at_work(
        "hunter",
        "Jägerin",
        "f",
        "",
        ("picking mushrooms", "Pilze sammelte"),
        ("carving a stick", "einen Stock schnitzte"),
        ("calling two dogs", "zwei Hunde rief"),
    ),
    *_at_work(
        "washerwoman",
        "Waschfrau",
        "f",
        "",
        ("hanging up sheets", "Laken aufhängte"),
        ("wringing out shirts", "Hemden auswrang"),
        ("singing an old song", "ein altes Lied sang"),
    ),
]
BEASTS = """
    A (black|grey|white) cat was asleep on a wall.
        Auf einer Mauer schlief eine (schwarze|graue|weiße) Katze.
    (Two|Three|Five) geese were arguing by the road.
        Am Weg zankten sich (zwei|drei|fünf) Gänse.
    A frog jumped out of the grass.
        Ein Frosch sprang aus dem Gras.
    A beetle was climbing up a fence post.
        Ein Käfer kletterte an einem Zaunpfahl hinauf.
    Three ducks crossed the road, one behind the other.
        Drei Enten watschelten hintereinander über den Weg.
    A woodpecker was hammering somewhere.
        Irgendwo hämmerte ein Specht.
    A (brown|white|spotted) cow looked over the fence.
        Eine (braune|weiße|gefleckte) Kuh schaute über den Zaun.
    Swallows were building a nest under a roof.
        Unter einem Dach bauten Schwalben ein Nest.
    A little (brown|black|white) dog ran along for a while.
        Ein kleiner (brauner|schwarzer|weißer) Hund lief eine Weile mit.
    A white horse stood quite still in a field.
        Ein weißes Pferd stand ganz still auf einem Feld.
    A cock was crowing, although nobody had asked it.
        Ein Hahn krähte, obwohl ihn niemand gefragt hatte.
    A (snail|hedgehog) was crossing the road very slowly.
        Ganz langsam überquerte (eine Schnecke|ein Igel) den Weg.
    (Two boys|Two girls) were fishing with a piece of string.
        Zwei (Jungen|Mädchen) angelten mit einem Stück Schnur.
    Somewhere somebody was playing the (violin|accordion|trumpet).
        Irgendwo spielte jemand (Geige|Akkordeon|Trompete).
    The bell of the church struck (two|three|four|five|ten).
        Die Kirchenglocke schlug (zwei|drei|vier|fünf|zehn).
"""


def on_the_way(t: Teller, probability: float = 0.5) -> None:
    """Perhaps meet somebody at work, or an animal."""
    seen = t.branch(somebody=probability * 0.6, animal=probability * 0.4, nobody=1 - probability)
    if seen == "somebody":
        t.plan("passer", PASSERS)
        t.say("""
            On the way {he} passed {the passer}, who was {passer.work}.
                Unterwegs kam {er} an {dem passer} vorbei, {relativ passer} gerade {passer.work}.
            {The passer}, who was {passer.work}, called out a greeting.
                {Der passer}, {relativ passer} gerade {passer.work}, rief einen Gruß.
            {The passer} was {passer.work} and did not look up.
                {Der passer}, {relativ passer} gerade {passer.work}, blickte nicht auf.
        """)
    elif seen == "animal":
        t.say(BEASTS)
