"""Small things that occur in several plots: colors, snacks, chores, times. Each is a phrase in both languages."""

from llmasos.datasets.storyworld.entities import Word

LOOKS = [  # German stems
    Word("red", "rot"),
    Word("blue", "blau"),
    Word("green", "grün"),
    Word("yellow", "gelb"),
    Word("old", "alt"),
    Word("small", "klein"),
    Word("white", "weiß"),
    Word("beautiful", "schön"),
]
NEW_LOOKS = [look for look in LOOKS if look.en != "old"]
SNACKS = [  # German in the accusative
    Word("a slice of bread and honey", "eine Scheibe Brot mit Honig"),
    Word("a bowl of hot soup", "eine Schüssel heiße Suppe"),
    Word("a cup of cocoa", "eine Tasse Kakao"),
    Word("a ripe pear", "eine reife Birne"),
    Word("a piece of cheese", "ein Stück Käse"),
    Word("a handful of nuts", "eine Handvoll Nüsse"),
    Word("a red apple", "einen roten Apfel"),
    Word("a piece of cake", "ein Stück Kuchen"),
    Word("a bag of cherries", "eine Tüte Kirschen"),
    Word("a warm roll", "ein warmes Brötchen"),
]


def _chore(en: str, infinitive: str, zu: str) -> Word:
    """Make a chore: `{chore}` is the German infinitive, `{chore.zu}` the infinitive with zu."""
    return Word(en, infinitive, {"zu": Word(en, zu)})


CHORES = [
    _chore("sweep the floor", "den Boden fegen", "den Boden zu fegen"),
    _chore("carry in the wood", "das Holz hereintragen", "das Holz hereinzutragen"),
    _chore("fetch water from the well", "Wasser vom Brunnen holen", "Wasser vom Brunnen zu holen"),
    _chore("feed the hens", "die Hühner füttern", "die Hühner zu füttern"),
    _chore("peel the potatoes", "die Kartoffeln schälen", "die Kartoffeln zu schälen"),
    _chore("wash the windows", "die Fenster putzen", "die Fenster zu putzen"),
    _chore("water the flowers", "die Blumen gießen", "die Blumen zu gießen"),
    _chore("paint the fence", "den Zaun streichen", "den Zaun zu streichen"),
    _chore("pick the plums", "die Pflaumen pflücken", "die Pflaumen zu pflücken"),
]
SOON = [
    Word("the next morning", "am nächsten Morgen"),
    Word("two days later", "zwei Tage später"),
    Word("on Sunday", "am Sonntag"),
    Word("after a week", "nach einer Woche"),
    Word("after ten days", "nach zehn Tagen"),
    Word("three weeks later", "drei Wochen später"),
    Word("that same evening", "noch am selben Abend"),
]
LONG = [
    Word("for an hour", "eine Stunde lang"),
    Word("all afternoon", "den ganzen Nachmittag"),
    Word("until sunset", "bis zum Sonnenuntergang"),
    Word("the whole day", "den ganzen Tag"),
    Word("until midnight", "bis Mitternacht"),
    Word("every free minute", "jede freie Minute"),
]
