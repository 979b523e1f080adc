"""The people and animals of the valley, and the traits that influence a hero's decisions."""

from functools import cache

from llmasos.datasets.storyworld.entities import Noun, Word

GIRLS = "Mia Anna Lily Emma Nora Clara Ida Ella Rosa Lena Greta Maya".split()
BOYS = "Ben Tom Max Leo Finn Paul Oscar Hugo Noah Sam Jonas Felix".split()
MORE_GIRLS = "Alma Julia Sophie Marie Paula Frieda Luisa Marta Helen Vera Tina Judith".split()  # of larger worlds
MORE_BOYS = "David Peter Simon Jakob Anton Erik Lukas Karl Theo Robert Martin Victor".split()

GIRL = Noun("girl", "Mädchen", "n", "she")
BOY = Noun("boy", "Junge", "m", "he", oblique="Jungen")


@cache
def child(name: str) -> Noun:
    """Make a child; `{hero.child}` is "girl" or "boy", `{friend.friend}` "Freundin" or "Freund"…"""
    girl = name in GIRLS or name in MORE_GIRLS
    friend = Noun("friend", "Freundin", "f", "she") if girl else Noun("friend", "Freund", "m", "he")
    rival = Noun("rival", "Rivalin", "f", "she") if girl else Noun("rival", "Rivale", "m", "he", oblique="Rivalen")
    tags = {"child": GIRL if girl else BOY, "friend": friend, "rival": rival}
    return Noun(name, name, "f" if girl else "m", "she" if girl else "he", proper=True, tags=tags)


CHILDREN = [child(name) for name in GIRLS + BOYS]

# A trait influences later decisions: courage, patience, kindness and care range from -1 to 1.
TRAITS = [
    Word("brave", "mutig", {"courage": 1}),
    Word("shy", "schüchtern", {"courage": -1}),
    Word("patient", "geduldig", {"patience": 1}),
    Word("impatient", "ungeduldig", {"patience": -1}),
    Word("careful", "vorsichtig", {"care": 1}),
    Word("dreamy", "verträumt", {"care": -1}),
    Word("kind", "gutherzig", {"kindness": 1}),
    Word("proud", "stolz", {"kindness": -1}),
    Word("curious", "neugierig", {}),
    Word("cheerful", "fröhlich", {}),
]


def _grown_up(en: str, de: str, gender: str, place: str = "", proper: bool = False) -> Noun:
    return Noun(en, de, gender, "she" if gender == "f" else "he", proper, tags={"place": place})


GRANDMOTHER = _grown_up("Grandmother", "Großmutter", "f", "home", proper=True)
GRANDFATHER = _grown_up("Grandfather", "Großvater", "m", "home", proper=True)
AUNT = _grown_up("Aunt Berta", "Tante Berta", "f", "home", proper=True)
UNCLE = _grown_up("Uncle Otto", "Onkel Otto", "m", "home", proper=True)
FAMILY = [GRANDMOTHER, GRANDFATHER, AUNT, UNCLE]
BAKER = _grown_up("baker", "Bäckerin", "f", "bakery")
CARPENTER = _grown_up("carpenter", "Tischler", "m", "workshop")
SMITH = _grown_up("smith", "Schmied", "m", "forge")
MILLER = _grown_up("miller", "Müller", "m", "mill")
SHEPHERD = _grown_up("shepherd", "Schäferin", "f", "meadow")
FISHERMAN = _grown_up("fisherman", "Fischer", "m", "lake")
TEACHER = _grown_up("teacher", "Lehrerin", "f", "school")
TAILOR = _grown_up("tailor", "Schneiderin", "f", "market")
GARDENER = _grown_up("gardener", "Gärtner", "m", "garden")
COBBLER = _grown_up("cobbler", "Schuster", "m", "workshop")
POTTER = _grown_up("potter", "Töpferin", "f", "workshop")
DOCTOR = _grown_up("doctor", "Ärztin", "f", "market")
NEIGHBORS = [BAKER, CARPENTER, SMITH, MILLER, SHEPHERD, FISHERMAN, TEACHER, TAILOR, GARDENER, COBBLER, POTTER, DOCTOR]


def animal(en: str, de: str, gender: str, oblique: str = "", **tags: object) -> Noun:
    """Make an animal; its English pronoun is "it"."""
    return Noun(en, de, gender, "it", oblique=oblique, tags=tags)


DOG = animal("dog", "Hund", "m")
CAT = animal("cat", "Katze", "f")
GOAT = animal("goat", "Ziege", "f")
CROW = animal("crow", "Krähe", "f")
