"""Two friends quarrel over a thing; pride, silence, and then perhaps a hand held out."""

from llmasos.datasets.storyworld import phrases, scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

PEACE_GIFTS = [  # German in the accusative
    Word("a drawing of the two of them", "ein Bild von ihnen beiden"),
    Word("a bunch of daisies", "einen Strauß Gänseblümchen"),
    Word("half a cake", "einen halben Kuchen"),
    Word("a letter", "einen Brief"),
    Word("a blue marble", "eine blaue Murmel"),
    Word("a paper flower", "eine Papierblume"),
    Word("the last piece of chocolate", "das letzte Stück Schokolade"),
]
SILENCES = [
    Word("three days", "Drei Tage"),
    Word("a week", "Eine Woche"),
    Word("a month", "Einen Monat"),
    Word("half the summer", "Den halben Sommer"),
]


def tell(t: Teller) -> str:
    scenes.plan_friend(t)
    t.say("""
        {His} best friend was called <friend:{friend}>, and they did everything together.
            {Sein best friend.friend} hieß {friend}, und sie machten alles zusammen.
        {He} and <friend:{friend}> had been friends since they were small.
            {Er} und {friend} waren befreundet, seit sie klein waren.
        (Nobody|No one) had ever seen {him} without <friend:{friend}>, {his} best friend.
            Niemand hatte {ihn} je ohne {friend} gesehen, denn sie waren die besten Freunde.
    """)
    scenes.plan_day(t, "sunny warm windy", "morning afternoon")
    t.plan("look", phrases.LOOKS)
    t.plan("place", [PLACES[key] for key in ("garden", "meadow", "barn", "hill")])
    t.say("""
        {Day} they found {a look thing} <where:{at place}>, and both wanted to have it.
            {Day} fanden sie {in place} {einen look thing}, und beide wollten {ihn thing} haben.
        {Day} they quarrelled <where:{at place}> about {a look thing}.
            {Day} stritten sie sich {in place} um {einen look thing}.
        {Day} both of them wanted to be the first with the new {thing} <where:{at place}>.
            {Day} wollten beide {in place} als Erste {den neu thing} haben.
    """)
    t.move("hero", t.roles["place"])
    t.move("friend", t.roles["place"])
    t.say("""
        "I saw it first!" (shouted|cried) {hero}. "No, I did!" shouted {friend}.
            "Ich habe {ihn thing} zuerst gesehen!", rief {hero}. "Nein, ich!", rief {friend}.
        "You always want everything for yourself," said {friend}.
            "Du willst immer alles für dich", sagte {friend}.
        "Give it to me, or I will go home," said {hero}.
            "Gib {ihn thing} her, oder ich gehe nach Hause", sagte {hero}.
        They pulled and pushed, and in the end both of them were crying.
            Sie zogen und schubsten, und am Ende weinten beide.
    """)
    worse = t.branch(broken=1, rude=1, no=1)
    if worse == "broken":
        t.say("""
            Then {the thing} broke, and that made it even worse.
                Dann ging {der thing} kaputt, und das machte es noch schlimmer.
            Something cracked, and {the thing} was broken.
                Es knackte, und {der thing} war kaputt.
        """)
    elif worse == "rude":
        t.say("""
            Then {friend} said an ugly word that cannot be written here.
                Dann sagte {friend} ein hässliches Wort, das man hier nicht schreiben kann.
            {Hero~} stuck out {his} tongue and ran away.
                {Hero~} streckte die Zunge heraus und lief weg.
        """)
    t.pass_time()
    t.plan("long", SILENCES)
    t.move("hero", "home")
    t.move("friend", "home")
    t.say("""
        For <silence:{long}> they did not speak a word to each other.
            {Long} lang sprachen sie kein Wort miteinander.
        They did not play together for <silence:{long}>.
            {Long} lang spielten sie nicht zusammen.
    """)
    t.maybe(
        """
        {The thing} lay in the grass, and (nobody|no one) wanted it any more.
            {Der thing} lag im Gras, und niemand wollte {ihn thing} mehr haben.
        {Hero~} played alone, but hide-and-seek is no fun alone.
            {Hero~} spielte allein, aber allein macht Verstecken keinen Spaß.
        At school {hero} looked at the floor and {friend} at the ceiling.
            In der Schule sah {hero} auf den Boden und {friend} an die Decke.
    """,
        0.6,
    )
    kindness = t.lean("kindness")
    way = t.branch(gift=3 + kindness, rain=2, friend=2, never=1.5 - kindness)
    if way == "never":
        return _never(t)
    {"gift": _gift, "rain": _rain, "friend": _friend_comes}[way](t)
    if way == "friend" and t.branch(yes=4, no=1 - kindness / 2) == "no":
        return _refused(t)
    return _peace(t, broken=worse == "broken")


def _gift(t: Teller) -> None:
    t.plan("gift", PEACE_GIFTS)
    t.say("""
        One morning {hero} put <gift:{gift}> in front of {friend's} door.
            Eines Morgens legte {hero} {gift} vor {friend's} Tür.
        Then {hero~} took <gift:{gift}>, knocked at {friend's} door and waited with a red face.
            Dann nahm {hero~} {gift}, klopfte an {friend's} Tür und wartete mit rotem Gesicht.
    """)
    t.say("""
        "I am sorry," said {hero}. "So am I," said {friend}.
            "Es tut mir leid", sagte {hero}. "Mir auch", sagte {friend}.
        {Friend} opened the door, and then they both laughed.
            {Friend} machte die Tür auf, und dann lachten sie beide.
        "I have missed you so much," said {friend}.
            "Ich habe dich so vermisst", sagte {friend}.
    """)


def _rain(t: Teller) -> None:
    t.say("""
        Then a thunderstorm came, and they both fled into <shelter:the barn>.
            Dann kam ein Gewitter, und beide flohen in die Scheune.
        One day it rained so hard that they both had to shelter under <shelter:the bridge>.
            Eines Tages regnete es so stark, dass sich beide unter der Brücke unterstellen mussten.
    """)
    t.plan("snack", phrases.SNACKS[3:])
    t.say("""
        They sat back to back until {friend} held out <offer:{snack}>.
            Sie saßen Rücken an Rücken, bis {friend} {ihm} {snack} hinhielt.
        "Are you cold too?" asked {friend} at last and gave {him} <offer:{snack}>.
            "Ist dir auch kalt?", fragte {friend} endlich und gab {ihm} {snack}.
    """)


def _friend_comes(t: Teller) -> None:
    t.say("""
        One evening somebody threw a (pebble|nut|cherry) at the window, and below stood {friend}.
            Eines Abends warf jemand (einen Kiesel|eine Nuss|eine Kirsche) ans Fenster, und unten stand {friend}.
        On Sunday {friend} stood at the gate. "You can have it," {he friend} said (softly|quietly).
            Am Sonntag stand {friend} am Gartentor. "Du kannst {ihn thing} haben", sagte {er friend} leise.
    """)


def _refused(t: Teller) -> str:
    t.say("""
        But {hero} drew the curtain, and {friend} went away for ever.
            Aber {hero} zog den Vorhang zu, und {friend} ging für immer fort.
        But {hero} was too stubborn to answer, and {friend} never asked again.
            Aber {hero} war zu stur, um zu antworten, und {friend} fragte nie wieder.
    """)
    scenes.close_sad(t)
    return "never made up"


def _never(t: Teller) -> str:
    t.say("""
        Then {friend's} family moved to the city, and there was no time to say goodbye.
            Dann zog {friend's} Familie in die Stadt, und es blieb keine Zeit für einen Abschied.
        Each of them waited for the other to say sorry, and so the years went by.
            Jeder wartete darauf, dass der andere sich entschuldigte, und so vergingen die Jahre.
    """)
    t.say("""
        {Hero~} would have given (ten|a hundred) things like that to have {friend} back.
            {Hero~} hätte (zehn|hundert) solche Dinge gegeben, um {friend} wiederzuhaben.
        Whenever {hero} saw {a thing}, {he} thought of {friend}.
            Immer wenn {hero} {einen thing} sah, dachte {er} an {friend}.
    """)
    scenes.close_sad(t)
    return "never made up"


def _peace(t: Teller, broken: bool) -> str:
    t.say(
        """
        Together they mended {the thing}, and it was more beautiful than before.
            Zusammen reparierten sie {den thing}, und {er thing} war schöner als zuvor.
        {The thing} stayed broken, but their friendship was whole again.
            {Der thing} blieb kaputt, aber ihre Freundschaft war wieder heil.
        Soon (nobody|no one) knew any more what the quarrel had been about.
            Bald wusste niemand mehr, worum es bei dem Streit gegangen war.
    """
        if broken
        else """
        From then on {the thing} belonged to both of them.
            Von da an gehörte {der thing} ihnen beiden.
        They gave {the thing} to a little (boy|girl), and nobody missed it.
            Sie schenkten {den thing} einem kleinen (Jungen|Mädchen), und niemand vermisste {ihn thing}.
        "(One day for you, one day for me|First you, then me|Half for you, half for me)," they agreed.
            "(Einen Tag du, einen Tag ich|Erst du, dann ich|Halb für dich, halb für mich)", machten sie aus.
        Soon (nobody|no one) knew any more what the quarrel had been about.
            Bald wusste niemand mehr, worum es bei dem Streit gegangen war.
    """
    )
    scenes.close_happy(t)
    return "made up"


PLOT = Plot(
    "quarrel",
    things.QUARRELS,
    tell,
    {
        "made up": ("happy", "{Hero} and {friend} quarrel about {a thing} and make up again."),
        "never made up": ("sad", "{Hero} and {friend} quarrel about {a thing} and never make up."),
    },
    {
        "where": "Where did the quarrel begin?",
        "silence": "How long were they silent?",
        "gift": "What did {hero} bring to make peace?",
        "shelter": "What gave them shelter?",
        "offer": "What did {friend} offer?",
    },
)
