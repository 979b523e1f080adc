"""Something breaks; the hero tries to repair it alone, asks an expert, works for the repair, or comes too late."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.people import FAMILY
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

ACCIDENTS = {
    "kite": """
        A gust tore the kite out of {his} hands, and it crashed into <cause:a tree>.
            Eine Bö riss {ihm} den Drachen aus den Händen, und er krachte in einen Baum.
        The kite flew higher and higher, until it got caught in <cause:a tree> and ripped.
            Der Drachen stieg höher und höher, bis er sich in einem Baum verfing und zerriss.
    """,
    "sledge": """
        Halfway down the sledge hit <cause:a hidden stone>, and a runner snapped.
            Auf halbem Weg stieß der Schlitten gegen einen versteckten Stein, und eine Kufe brach.
        The sledge raced down the slope and crashed into <cause:a fence>.
            Der Schlitten raste den Hang hinunter und krachte in einen Zaun.
    """,
    "toy boat": """
        A wave threw the toy boat against <cause:a rock>, and the mast broke.
            Eine Welle warf das Spielzeugboot gegen einen Felsen, und der Mast brach.
        <cause:A swan> pecked at the toy boat until the sail tore and the mast broke.
            Ein Schwan hackte auf dem Spielzeugboot herum, bis das Segel riss und der Mast brach.
    """,
    "drum": """
        {He} beat the drum so hard that <cause:the stick> went right through the skin.
            {Er} schlug so fest auf die Trommel, dass der Stock durch das Fell fuhr.
        The drum rolled off a wall, and <cause:a horse> stepped on it.
            Die Trommel rollte von einer Mauer, und ein Pferd trat darauf.
    """,
    "cart": """
        The cart rolled away, hit <cause:a wall> and lost a wheel.
            Der Karren rollte davon, prallte gegen eine Mauer und verlor ein Rad.
        A wheel got stuck between <cause:two stones> and broke.
            Ein Rad blieb zwischen zwei Steinen stecken und brach.
    """,
    "lantern": """
        {He} stumbled over <cause:a root> in the fog, and the glass broke.
            {Er} stolperte im Nebel über eine Wurzel, und das Glas zerbrach.
        The lantern slipped from {his} cold fingers and fell on <cause:a stone>.
            Die Laterne rutschte {ihm} aus den kalten Fingern und fiel auf einen Stein.
    """,
    "music box": """
        {He} wound the music box up too far, and <cause:the spring> broke with a bang.
            {Er} zog die Spieluhr zu weit auf, und die Feder brach mit einem Knall.
        Somebody pushed {him}, and the music box fell on <cause:the stones>.
            Jemand stieß {ihn} an, und die Spieluhr fiel auf die Steine.
    """,
    "puppet": """
        <cause:A dog> snatched the puppet, and when it let go, an arm was missing.
            Ein Hund schnappte die Marionette, und als er sie losließ, fehlte ein Arm.
        The strings of the puppet got caught in <cause:a cart wheel>, and a leg came off.
            Die Fäden der Marionette verfingen sich in einem Wagenrad, und ein Bein riss ab.
    """,
}


def tell(t: Teller) -> str:
    t.plan("giver", FAMILY)
    t.say("""
        <maker:{Giver}> had made {a thing} for {him}, and all the children admired it.
            {Giver} hatte {einen thing} für {ihn} gebaut, und alle Kinder bewunderten {ihn thing}.
        (In winter|In spring|Last year) {he} and <maker:{giver}> had built {a thing} together.
            (Im Winter|Im Frühling|Letztes Jahr) hatten {er} und {giver} zusammen {einen thing} gebaut.
        {He} was proud of {his} {thing}, which <maker:{giver}> had built.
            {Er} war stolz auf {seinen thing}, {den- thing} {giver} gebaut hatte.
    """)
    t.put("giver", "home")
    t.put("thing", "hero")
    tags = t.roles["thing"].tags
    scenes.plan_day(t, tags["weather"], "morning afternoon")
    t.plan("place", [PLACES[key] for key in tags["places"].split()])
    t.say(
        """
        {Day} {he} took {the thing} {to place}.
            {Day} nahm {er} {den thing} mit {nach place}.
        {Day} {he} carried it {to place}, as (happy as a king|proud as a peacock|careful as a cat).
            {Day} trug {er} {ihn thing} (glücklich wie ein König|stolz wie ein Pfau|vorsichtig wie eine Katze) \
                {nach place}.
        {Day} {he} wanted to try out {the thing} {at place}.
            {Day} wollte {er} {den thing} {in place} ausprobieren.
    """
        if t.roles["thing"].en != "cart"
        else """
        {Day} {he} pulled the cart {to place}.
            {Day} zog {er} den Karren {nach place}.
    """
    )
    t.move("hero", t.roles["place"])
    scenery.sky(t, 0.3)
    scenery.on_the_way(t, 0.4)
    t.say(ACCIDENTS[t.roles["thing"].en])
    scenes.trouble(t)
    t.set("elder", tags["mender"])
    t.set("place2", PLACES[t.roles["elder"].tags["place"]])
    t.put("elder", t.roles["place2"].en)
    alone = t.branch(yes=2 - t.lean("courage") - t.lean("patience") / 2, no=2)
    if alone == "yes":
        t.move("hero", "home")
        t.say("""
            At home {he} tried to mend it with (string|wire|nails) and glue, but it only got worse.
                Zu Hause versuchte {er}, {ihn thing} mit (Schnur|Draht|Nägeln) und Leim zu flicken, aber es wurde \
                    nur schlimmer.
            {He} worked on it alone until midnight, and then {his} fingers were sticky and {the thing} was still broken.
                Bis Mitternacht arbeitete {er} allein daran, dann klebten {ihm} die Finger, und {der thing} war \
                    immer noch kaputt.
            Without asking anybody, {he} took a hammer, and soon {the thing} was in more pieces than before.
                Ohne jemanden zu fragen, nahm {er} einen Hammer, und bald bestand {der thing} aus noch mehr Teilen.
        """)
        if t.branch(stop=1 - t.lean("patience") / 2, ask=3) == "stop":
            return _given_up(t)
        t.say("""
            "You should ask <mender:{the elder}>," said {giver}.
                "Du solltest {den elder} fragen", sagte {giver}.
            (At last|Finally) {he} went to <mender:{the elder}> for help.
                Schließlich bat {er} {den elder} um Hilfe.
        """)
    else:
        t.say("""
            {He} gathered up all the pieces and took them to <mender:{the elder}>.
                {Er} sammelte alle Teile ein und brachte sie {zum elder}.
            "<mender:{The elder}> will know what to do," thought {hero} and ran {to place2}.
                "{Der elder} weiß bestimmt Rat", dachte {hero} und lief {nach place2}.
        """)
    t.move("hero", t.roles["place2"])
    t.meet("hero", "elder")
    return _at_the_mender(t)


def _given_up(t: Teller) -> str:
    t.say("""
        {He} put {the thing} into the (darkest corner|cellar|attic) and never wanted to see it again.
            {Er} stellte {den thing} (in die dunkelste Ecke|in den Keller|auf den Dachboden) und wollte {ihn thing} \
                nie wieder sehen.
        In the end {he} threw the pieces into the (stove|lake|ditch).
            Am Ende warf {er} die Teile in den (Ofen|See|Graben).
    """)
    t.say("""
        "Why did you not ask me?" asked {giver} sadly.
            "Warum hast du mich nicht gefragt?", fragte {giver} traurig.
        {He} missed it more than {he} had thought.
            {Er} vermisste {ihn thing} mehr, als {er} gedacht hatte.
    """)
    scenes.close_sad(t)
    return "given up"


def _at_the_mender(t: Teller) -> str:
    t.plan("chore", phrases.CHORES)
    end = t.branch(work=4, free=2 + t.lean("kindness"), late=1.5 - t.lean("care"))
    if end == "late":
        t.say("""
            {The elder} looked at it for a long (time|while) and shook {his elder} head.
                {Der elder} sah {ihn thing} lange an und schüttelte den Kopf.
            "I am sorry," said {the elder}. "(Nobody|No one) can mend this."
                "Es tut mir leid", sagte {der elder}. "Das kann niemand mehr reparieren."
        """)
        t.say("""
            {Hero~} kept one small piece of it in a (box|drawer|tin).
                {Hero~} bewahrte ein kleines Stück davon in einer (Schachtel|Schublade|Dose) auf.
            {Hero~} buried the pieces in the garden, under a stone.
                {Hero~} begrub die Teile im Garten unter einem Stein.
        """)
        t.move("hero", "home")
        scenes.close_sad(t)
        return "beyond repair"
    if end == "work":
        t.say("""
            "I will mend it, but first you must <chore:{chore}>," said {the elder}.
                "Ich repariere {ihn thing}, aber zuerst musst du {chore}", sagte {der elder}.
            {The elder} smiled. "If you <chore:{chore}> for me, I will mend it."
                {Der elder} lächelte. "Wenn du {chore} willst, repariere ich {ihn thing}."
        """)
        t.say("""
            {Hero~} set to work at once, and neither of them stopped before dark.
                {Hero~} machte sich gleich an die Arbeit, und keiner von beiden hörte vor der Dunkelheit auf.
            {Hero~} had never worked so hard in {his} life.
                {Hero~} hatte noch nie im Leben so hart gearbeitet.
            So {hero~} worked while {the elder} (hammered and hummed|measured and glued|told old stories).
                Also arbeitete {hero~}, während {der elder} \
                    (hämmerte und summte|maß und klebte|alte Geschichten erzählte).
        """)
    else:
        t.say("""
            "Hold this and watch me," said {the elder}, and {hero} watched every move.
                "Halt das fest und sieh mir zu", sagte {der elder}, und {hero} achtete auf jeden Handgriff.
            {The elder} worked slowly and explained everything.
                {Der elder} arbeitete langsam und erklärte alles.
        """)
    t.say("""
        Then {the thing} was whole again, and even more beautiful than before.
            Dann war {der thing} wieder heil und sogar schöner als zuvor.
        When it was done, one could hardly see the break.
            Als es fertig war, sah man den Bruch kaum noch.
        Now {the thing} was stronger than it had ever been.
            Nun war {der thing} stärker als je zuvor.
    """)
    t.plan("snack", phrases.SNACKS)
    t.maybe("""
        As a thank-you {hero} brought {the elder} <thanks:{snack}>.
            Zum Dank brachte {hero} {dem elder} {snack}.
    """)
    t.pass_time()
    scenes.close_happy(t)
    return "mended"


PLOT = Plot(
    "mend",
    things.BROKEN,
    tell,
    {
        "mended": ("happy", "{Hero} breaks {a thing}, and {the elder} helps to mend it."),
        "beyond repair": ("sad", "{Hero} breaks {a thing} that nobody can mend."),
        "given up": ("sad", "{Hero} breaks {a thing} and gives up mending it."),
    },
    {
        "maker": "Who had made {the thing}?",
        "cause": "What did the damage?",
        "mender": "Whom did {hero} ask for help?",
        "chore": "What did {hero} have to do for {the elder}?",
        "thanks": "What did {hero} bring as a thank-you?",
    },
)
