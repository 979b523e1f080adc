"""The map of the valley, the homes in it, and its days and weather."""

from llmasos.datasets.storyworld.entities import Place, Word

PLACES = {
    place.en: place
    for place in [
        Place("forest", "in the forest", "to the forest", "im Wald", "in den Wald"),
        Place("lake", "by the lake", "to the lake", "am See", "zum See"),
        Place("meadow", "in the meadow", "to the meadow", "auf der Wiese", "auf die Wiese"),
        Place("mill", "at the mill", "to the mill", "bei der Mühle", "zur Mühle"),
        Place("market", "at the market", "to the market", "auf dem Markt", "zum Markt"),
        Place("barn", "in the barn", "to the barn", "in der Scheune", "in die Scheune"),
        Place("bridge", "on the bridge", "to the bridge", "auf der Brücke", "zur Brücke"),
        Place("well", "by the well", "to the well", "am Brunnen", "zum Brunnen"),
        Place("hill", "on the hill", "to the hill", "auf dem Hügel", "auf den Hügel"),
        Place("school", "in the school", "to the school", "in der Schule", "in die Schule"),
        Place("garden", "in the garden", "to the garden", "im Garten", "in den Garten"),
        Place("bakery", "in the bakery", "to the bakery", "in der Bäckerei", "in die Bäckerei"),
        Place("workshop", "in the workshop", "to the workshop", "in der Werkstatt", "in die Werkstatt"),
        Place("forge", "in the forge", "to the forge", "in der Schmiede", "in die Schmiede"),
        Place("home", "at home", "home", "zu Hause", "nach Hause"),
    ]
}
SPOTS = {  # place → where a lost thing can be found there
    "forest": Word("under a fern", "unter einem Farn"),
    "lake": Word("in the reeds", "im Schilf"),
    "meadow": Word("in the tall grass", "im hohen Gras"),
    "mill": Word("behind a sack of flour", "hinter einem Mehlsack"),
    "bridge": Word("between two boards", "zwischen zwei Brettern"),
    "well": Word("behind the bucket", "hinter dem Eimer"),
    "hill": Word("under a bush", "unter einem Busch"),
    "barn": Word("deep in the hay", "tief im Heu"),
}
OUTDOORS = [PLACES[key] for key in ("forest", "lake", "meadow", "mill", "bridge", "well", "hill", "barn")]

ELSEWHERE = {place: [other for other in OUTDOORS if other is not place] for place in OUTDOORS}

HOMES = [
    Word("in a small house on the hill", "in einem kleinen Haus auf dem Hügel"),
    Word("next to the old mill", "neben der alten Mühle"),
    Word("at the edge of the forest", "am Rand des Waldes"),
    Word("near the lake", "in der Nähe des Sees"),
    Word("in a narrow street behind the market", "in einer engen Gasse hinter dem Markt"),
    Word("above the bakery", "über der Bäckerei"),
    Word("behind the church", "hinter der Kirche"),
    Word("at the end of the long road", "am Ende der langen Straße"),
    Word("beside the stone bridge", "neben der Steinbrücke"),
    Word("in the last house of the village", "im letzten Haus des Dorfes"),
]

WEATHER = {
    "sunny": "sonnig",
    "warm": "warm",
    "windy": "windig",
    "rainy": "regnerisch",
    "foggy": "neblig",
    "cold": "kalt",
}
TIMES = {"morning": "Morgen", "afternoon": "Nachmittag", "evening": "Abend"}


def make_day(weather: str, time: str) -> Word:
    """Make a phrase such as "one windy morning", "an einem windigen Morgen"."""
    return Word(f"one {weather} {time}", f"an einem {WEATHER[weather]}en {TIMES[time]}", {"weather": weather})


DAYS = {(weather, time): make_day(weather, time) for weather in WEATHER for time in TIMES}
