"""Something of somebody else's breaks; the hero hides it, blames another person, or confesses."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import NEIGHBORS
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

HIDING = [  # German with a direction (accusative)
    Word("under the bed", "unter das Bett"),
    Word("behind the stove", "hinter den Ofen"),
    Word("into a sack", "in einen Sack"),
    Word("under the dry leaves", "unter das trockene Laub"),
    Word("into an empty barrel", "in ein leeres Fass"),
    Word("behind the cupboard", "hinter den Schrank"),
    Word("under the doormat", "unter die Fußmatte"),
]
GAMES = [  # German with the verb at the end
    Word("playing with a ball", "mit einem Ball spielte"),
    Word("chasing a fly", "eine Fliege jagte"),
    Word("dancing with a broom", "mit einem Besen tanzte"),
    Word("playing the drum on a pot", "auf einem Topf trommelte"),
    Word("juggling with apples", "mit Äpfeln jonglierte"),
    Word("hopping on one leg", "auf einem Bein hüpfte"),
]


def tell(t: Teller) -> str:
    t.plan("elder", [other for other in NEIGHBORS if other.tags["place"] not in ("meadow", "lake")])
    scenes.plan_day(t)
    t.say("""
        {Day} {he} helped <owner:{the elder}> to tidy up.
            {Day} half {er} {dem elder} beim Aufräumen.
        {Day} {he} was waiting for <owner:{the elder}>, who had just gone out.
            {Day} wartete {er} auf {den elder}, {relativ elder} kurz hinausgegangen war.
        {Day} <owner:{the elder}> had asked {him} to keep an eye on everything.
            {Day} hatte {der elder} {ihn} gebeten, auf alles aufzupassen.
    """)
    t.set("place", PLACES[t.roles["elder"].tags["place"]])
    t.put("elder", t.roles["place"].en)
    t.move("hero", t.roles["place"])
    scenery.sky(t, 0.2)
    t.plan("game", GAMES)
    t.say("""
        While {he} was <game:{game}>, something crashed: {the elder's} best {thing} was broken.
            Während {er} {game}, krachte es: {Der schön thing} {vom elder} war kaputt.
        {He} was <game:{game}>, and (suddenly|all at once) {the thing} lay on the floor in pieces.
            Gerade als {er} {game}, zersprang {der thing} in tausend Stücke.
        {He} was bored and began <game:{game}>, until there was a crash and {the thing} was in pieces.
            Aus Langeweile passierte es: Als {er} {game}, gab es einen Knall, und {der thing} lag in Scherben.
    """)
    t.maybe("""
        It was so quiet that {he} could hear {his} own heart.
            Es war so still, dass {er} {sein} eigenes Herz hören konnte.
        For a moment {he} hoped that it was only a dream.
            Einen Augenblick lang hoffte {er}, es sei nur ein Traum.
        Only the cat had seen it.
            Nur die Katze hatte es gesehen.
    """)
    courage = t.lean("courage")
    way = t.branch(hide=4 - courage, blame=1.5 - t.lean("kindness") / 2, tell=1.5 + courage)
    if way == "tell":
        t.say("""
            {Hero~} went straight to {the elder} and said: "I have broken something."
                {Hero~} ging geradewegs {zum elder} und sagte: "Ich habe etwas kaputt gemacht."
            {Hero~} did not run away, but waited at the door with the pieces in {his} hands.
                {Hero~} lief nicht weg, sondern wartete mit den Scherben in der Hand an der Tür.
        """)
        return _confessed(t, at_once=True)
    if way == "blame":
        t.say("""
            "It was <blamed:the (cat|dog|goat)>," said {hero}, and {his} ears turned red.
                "Das war (die Katze|der Hund|die Ziege)", sagte {hero} und bekam rote Ohren.
            "<blamed:The wind> did it," said {hero} quickly.
                "Das war der Wind", sagte {hero} schnell.
        """)
        t.say("""
            {The elder} believed it, and that was the worst part.
                {Der elder} glaubte es, und das war das Schlimmste.
            {The elder} only sighed and swept up the pieces.
                {Der elder} seufzte nur und fegte die Scherben zusammen.
        """)
    else:
        t.plan("hiding", HIDING)
        t.say("""
            {Hero~} pushed the pieces <hiding:{hiding}> and ran home.
                {Hero~} schob die Scherben {hiding} und lief nach Hause.
            Quickly {hero~} swept everything <hiding:{hiding}>, and (nobody|no one) noticed.
                Schnell fegte {hero~} alles {hiding}, und niemand merkte etwas.
        """)
        t.say("""
            "Has anybody seen my {thing}?" asked {the elder} the next day, and {hero} shook {his} head.
                "Hat jemand {den thing} gesehen?", fragte {der elder} am nächsten Tag, und {hero} schüttelte den Kopf.
            {The elder} looked for {the thing} everywhere, and {hero} even pretended to help.
                {Der elder} suchte überall nach {dem thing}, und {hero} tat sogar so, als würde {er} helfen.
        """)
    t.pass_time()
    t.move("hero", "home")
    t.say("""
        But {hero~} could not eat and could not sleep.
            Aber {hero~} konnte nicht essen und nicht schlafen.
        It felt as if {he} had swallowed a (stone|nail).
            Es fühlte sich an, als hätte {er} einen (Stein|Nagel) verschluckt.
        Every time the door opened, {hero} jumped.
            Jedes Mal, wenn die Tür aufging, erschrak {hero}.
    """)
    end = t.branch(confess=4 + courage, found=2, never=1 - courage / 2)
    if end == "never":
        return _never(t)
    if end == "found":
        return _found_out(t)
    t.plan("soon", phrases.SOON)
    t.move("hero", t.roles["place"])
    t.say("""
        But <when:{soon}> {he} went back and told the truth.
            Aber {soon} ging {er} zurück und sagte die Wahrheit.
        (At last|Finally), <when:{soon}>, {he} took a deep breath and said: "It was me."
            Endlich, {soon}, holte {er} tief Luft und sagte: "Ich war es."
    """)
    return _confessed(t, at_once=False)


def _confessed(t: Teller, at_once: bool) -> str:
    t.meet("hero", "elder")
    t.say(
        """
        {The elder} was silent for a moment and then put an arm round {him}.
            {Der elder} schwieg einen Augenblick und legte dann den Arm um {ihn}.
        "Things break," said {the elder}, "but you told me, and that is what counts."
            "Dinge gehen kaputt", sagte {der elder}, "aber du hast es mir gesagt, und nur das zählt."
        {The elder} (began|started) to laugh. "I never liked it anyway," {he elder} said.
            {Der elder} fing an zu lachen. "Mir hat das alte Ding nie gefallen", sagte {er elder}.
    """
        if at_once
        else """
        "I have known it all the time," said {the elder}, "and I was waiting for you."
            "Ich wusste es die ganze Zeit", sagte {der elder}, "und ich habe auf dich gewartet."
        {The elder} was silent for a moment and then put an arm round {him}.
            {Der elder} schwieg einen Augenblick und legte dann den Arm um {ihn}.
        "That took more courage than climbing a (tower|mountain|tall tree)," said {the elder}.
            "Dazu gehört mehr Mut, als auf (einen Turm|einen Berg|einen hohen Baum) zu klettern", sagte {der elder}.
    """
    )
    t.plan("chore", phrases.CHORES)
    t.say("""
        To make up for it, {hero} came every (Saturday|Friday|Monday) to <chore:{chore}>.
            Zum Ausgleich kam {hero} jeden (Samstag|Freitag|Montag), um {chore.zu}.
        Then {he} was allowed to <chore:{chore}> for {the elder}, and they were quits.
            Dann durfte {er} für {den elder} {chore}, und sie waren quitt.
    """)
    scenes.close_happy(t)
    return "confessed"


def _found_out(t: Teller) -> str:
    t.say("""
        Then {the elder} found a piece of {the thing} in {hero's} pocket.
            Dann fand {der elder} ein Stück von {dem thing} in {hero's} Tasche.
        Then (somebody|someone) told {the elder} what had really happened.
            Dann erzählte jemand {dem elder}, was wirklich geschehen war.
    """)
    t.say("""
        "It is not {the thing} that makes me sad," said {the elder}, "but the lie."
            "Nicht {der thing} macht mich traurig", sagte {der elder}, "sondern die Lüge."
        {The elder} did not say anything, and that hurt more than any scolding.
            {Der elder} sagte nichts, und das tat mehr weh als jedes Schimpfen.
    """)
    scenes.close_sad(t)
    return "found out"


def _never(t: Teller) -> str:
    t.say("""
        {He} wanted to tell the truth every day, and every day {he} put it off.
            Jeden Tag wollte {er} die Wahrheit sagen, und jeden Tag schob {er} es auf.
        In (autumn|spring|winter) {the elder} moved away, and the truth was never told.
            Im (Herbst|Frühling|Winter) zog {der elder} fort, und die Wahrheit wurde nie gesagt.
    """)
    t.say("""
        Even years later {he} could not look at {a thing} without blushing.
            Noch Jahre später konnte {er} {keinen thing} ansehen, ohne rot zu werden.
        The stone in {his} stomach stayed there for a long, long time.
            Der Stein in {seinem} Bauch blieb noch lange, lange dort.
    """)
    scenes.close_sad(t)
    return "never told"


PLOT = Plot(
    "confess",
    things.FRAGILE,
    tell,
    {
        "confessed": ("happy", "{Hero} breaks {a thing} and owns up to {the elder}."),
        "found out": ("sad", "{Hero} breaks {a thing}, keeps it quiet and is found out."),
        "never told": ("sad", "{Hero} breaks {a thing} and never tells the truth."),
    },
    {
        "owner": "To whom did {the thing} belong?",
        "game": "What was {hero} doing when {the thing} broke?",
        "blamed": "On whom did {hero} put the blame?",
        "hiding": "Where did {hero} hide the pieces?",
        "when": "When did {hero} tell the truth?",
        "chore": "What did {hero} have to do to make up for it?",
    },
)
