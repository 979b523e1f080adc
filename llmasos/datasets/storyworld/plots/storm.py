"""A storm breaks while an animal is still outside; somebody must fetch it."""

from llmasos.datasets.storyworld import scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import FAMILY, MILLER, SHEPHERD, TEACHER
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

STUCK = [
    Word("up to its belly in mud", "bis zum Bauch im Schlamm"),
    Word("under a fallen tree", "unter einem umgestürzten Baum"),
    Word("behind a big rock", "hinter einem großen Felsen"),
    Word("in a thorn bush", "in einem Dornbusch"),
    Word("in the middle of the stream", "mitten im Bach"),
    Word("in a deep ditch", "in einem tiefen Graben"),
    Word("between two rocks", "zwischen zwei Felsen"),
]
TOOLS = [  # German in the accusative
    Word("a lantern", "eine Laterne"),
    Word("a long rope", "ein langes Seil"),
    Word("a thick blanket", "eine dicke Decke"),
    Word("a walking stick", "einen Wanderstock"),
    Word("an old coat", "einen alten Mantel"),
]


def tell(t: Teller) -> str:
    t.plan("elder", [SHEPHERD, MILLER, TEACHER])
    t.say("""
        That (summer|autumn|spring) {he} looked after {a thing} that belonged to <owner:{the elder}>.
            In jenem (Sommer|Herbst|Frühling) hütete {er} {einen thing}, {relativ thing} {dem elder} gehörte.
        <owner:{The elder}> had asked {him} to look after {a thing}.
            {Der elder} hatte {ihn} gebeten, auf {einen thing} aufzupassen.
        Every day {he} fed <owner:{the elder}>'s {thing}.
            Jeden Tag fütterte {er} {den thing}, {relativ thing} {dem elder} gehörte.
    """)
    t.plan("place", [PLACES[key] for key in ("meadow", "hill", "forest", "lake")])
    t.say("""
        One evening, while {the thing} was still <outside:{at place}>, black clouds came over the \
            (mountains|forest|lake).
            Eines Abends, als {der thing} noch {in place} war, zogen schwarze Wolken über (die Berge|den Wald|den See).
        One evening a storm broke loose, and {the thing} was still <outside:{at place}>.
            Eines Abends brach ein Sturm los, und {der thing} war noch {in place}.
        {The thing} was <outside:{at place}> when the first thunder rolled through the valley.
            {Der thing} war {in place}, als der erste Donner durch das Tal rollte.
    """)
    t.put("thing", t.roles["place"].en)
    t.maybe(
        """
        (Tiles|Branches|Leaves) flew through the air.
            (Ziegel|Äste|Blätter) flogen durch die Luft.
        The rain was so loud that (nobody|no one) could hear the church bell.
            Der Regen war so laut, dass niemand die Kirchenglocke hören konnte.
        Lightning turned the night into day.
            Blitze machten die Nacht zum Tag.
        All the dogs of the valley were howling.
            Alle Hunde im Tal heulten.
    """,
        0.7,
    )
    courage = t.lean("courage")
    way = t.branch(go=2 + courage, help=2 - courage / 2, wait=0.8 - courage / 2)
    t.plan("giver", FAMILY)
    t.put("giver", "home")
    if way == "wait":
        return _waited(t)
    t.plan("tool", TOOLS)
    if way == "help":
        t.say("""
            {Hero~} woke <companion:{giver}>, and together they went out with <tool:{tool}>.
                {Hero~} weckte {giver}, und zusammen gingen sie hinaus und nahmen {tool} mit.
            "Alone I am too afraid," said {hero}, so <companion:{giver}> took <tool:{tool}> and came along.
                "Allein habe ich zu viel Angst", sagte {hero}, also nahm {giver} {tool} und kam mit.
        """)
        t.move("giver", t.roles["place"])
    else:
        t.say("""
            {Hero~} did not think twice, took <tool:{tool}> and ran out into the rain.
                {Hero~} überlegte nicht lange, nahm {tool} und lief in den Regen hinaus.
            "I cannot leave it out there," cried {hero}, took <tool:{tool}> and was gone.
                "Ich kann {ihn thing} nicht da draußen lassen", rief {hero}, nahm {tool} und war fort.
            {Hero~} was afraid of thunder, but {he} took <tool:{tool}> and went.
                {Hero~} hatte Angst vor dem Donner, aber {er} nahm {tool} und ging los.
        """)
    t.move("hero", t.roles["place"])
    t.maybe(
        """
        The water was already over the bridge.
            Das Wasser stand schon über der Brücke.
        Twice {hero} fell, and twice {he} got up again.
            Zweimal fiel {hero} hin, und zweimal stand {er} wieder auf.
        The wind was so strong that {hero} had to crawl.
            Der Wind war so stark, dass {hero} kriechen musste.
    """,
        0.6,
    )
    return _found(t, way)


def _waited(t: Teller) -> str:
    t.say("""
        {Hero~} pulled the blanket over {his} head and hoped that it would pass.
            {Hero~} zog sich die Decke über den Kopf und hoffte, dass es vorübergehen würde.
        {Hero~} stood at the door for a long (time|while), but {he} did not dare to go out.
            {Hero~} stand lange an der Tür, aber {er} wagte sich nicht hinaus.
    """)
    t.pass_time()
    t.say("""
        In the morning {the thing} was gone, and only a broken fence was left.
            Am Morgen war {der thing} verschwunden, und nur ein zerbrochener Zaun war noch da.
        The storm passed, but {the thing} did not come back.
            Der Sturm ging vorüber, aber {der thing} kam nicht zurück.
    """)
    end = t.branch(neighbour=1.5, lost=2)
    if end == "neighbour":
        t.say("""
            At noon {the elder} came with {the thing} on a rope. "I could not sleep either," {he elder} said.
                Am Mittag kam {der elder} und führte {den thing} an einem Strick. "Ich konnte auch nicht schlafen", \
                    sagte {er elder}.
            But {the elder} had brought {the thing} into the barn in the middle of the night.
                Aber {der elder} hatte {den thing} mitten in der Nacht in die Scheune gebracht.
        """)
        t.say("""
            {Hero~} promised never to hide again.
                {Hero~} versprach, sich nie wieder zu verstecken.
            {Hero~} was ashamed and glad at the same time.
                {Hero~} schämte sich und war zugleich froh.
        """)
        scenes.close_happy(t)
        return "fetched by the owner"
    t.say("""
        {Hero~} had to tell {the elder}, and that was harder than any storm.
            {Hero~} musste es {dem elder} sagen, und das war schwerer als jeder Sturm.
        {The elder} did not scold, but {he elder} turned away.
            {Der elder} schimpfte nicht, aber {er elder} wandte sich ab.
        For (weeks|days) {hero} called its name {at place}, but nothing answered.
            (Wochenlang|Tagelang) rief {hero} {in place} nach {ihm thing}, aber nichts antwortete.
    """)
    scenes.close_sad(t)
    return "lost"


def _found(t: Teller, way: str) -> str:
    t.plan("stuck", STUCK)
    t.say(
        """
        They heard a (faint|sad) cry and found {the thing} <stuck:{stuck}>.
            Sie hörten einen (schwachen|traurigen) Laut und fanden {den thing} {stuck}.
        A flash of lightning showed them {the thing}, <stuck:{stuck}>.
            Ein Blitz zeigte ihnen {den thing} {stuck}.
    """
        if way == "help"
        else """
        {He} heard a (faint|sad) cry and found {the thing} <stuck:{stuck}>.
            {Er} hörte einen (schwachen|traurigen) Laut und fand {den thing} {stuck}.
        A flash of lightning showed {him} {the thing}, <stuck:{stuck}>.
            Ein Blitz zeigte {ihm} {den thing} {stuck}.
        {The thing} was trembling <stuck:{stuck}> and could not get away.
            {Der thing} stand zitternd {stuck} und kam nicht fort.
    """
    )
    t.meet("hero", "thing")
    if t.branch(out=5 + t.lean("patience"), no=1) == "no":
        t.say("""
            Just then a tree crashed down, and {the thing} ran off into the dark.
                Da krachte ein Baum herunter, und {der thing} rannte in die Dunkelheit davon.
            It tore itself free in terror and vanished in the night.
                {Er thing} riss sich voller Angst los und verschwand in der Nacht.
        """)
        t.say("""
            They looked for it for many days, but it was never found.
                Viele Tage lang wurde {er thing} gesucht, aber {er thing} blieb verschwunden.
            {The elder} thanked {hero} all the same. "You tried," {he elder} said.
                {Der elder} dankte {hero} trotzdem. "Du hast es versucht", sagte {er elder}.
        """)
        scenes.close_sad(t)
        return "ran away"
    t.say("""
        {Hero~} spoke (softly|quietly) to it and pulled until it was free.
            {Hero~} redete leise mit {ihm thing} und zog, bis {er thing} frei war.
        With (cold|stiff|wet) fingers {hero~} pulled it out, bit by bit.
            Mit (kalten|steifen|nassen) Fingern zog {hero~} {ihn thing} Stück für Stück heraus.
        {Hero~} sang to calm it, and at last it came along.
            {Hero~} sang, um {ihn thing} zu beruhigen, und endlich kam {er thing} mit.
    """)
    t.say("""
        They spent the rest of the night in the barn, warm in the hay.
            Den Rest der Nacht verbrachten sie in der Scheune, warm im Heu.
        When the sun rose, they walked home through the wet grass.
            Als die Sonne aufging, gingen sie durch das nasse Gras nach Hause.
        The storm was already moving on when they came home.
            Der Sturm zog schon weiter, als sie nach Hause kamen.
    """)
    t.move("hero", "home")
    t.pass_time()
    t.say("""
        {The elder} gave {hero} <reward:a silver (button|spoon|coin)> and shook {his} hand.
            {Der elder} gab {hero} (einen silbernen Knopf|einen silbernen Löffel|eine silberne Münze) und \
                schüttelte {ihm} die Hand.
        "You have (a lion's|a brave) heart," said {the elder}.
            "Du hast ein (Löwenherz|tapferes Herz)", sagte {der elder}.
        Since that night {the thing} has followed {hero} everywhere.
            Seit jener Nacht folgt {der thing} {hero} überallhin.
        {The elder} baked <reward:a cake> for {him}, and {the thing} got a double supper.
            {Der elder} backte {ihm} einen Kuchen, und {der thing} bekam doppeltes Futter.
    """)
    scenes.close_happy(t)
    return "rescued"


PLOT = Plot(
    "storm",
    things.FARM_ANIMALS,
    tell,
    {
        "rescued": ("happy", "{Hero} saves {a thing} from a storm."),
        "fetched by the owner": ("happy", "{Hero} hides from a storm, but {the elder} saves {the thing}."),
        "lost": ("sad", "{Hero} is too afraid to save {a thing} from a storm."),
        "ran away": ("sad", "{Hero} tries to save {a thing} from a storm, but it runs away."),
    },
    {
        "owner": "To whom did {the thing} belong?",
        "outside": "Where was {the thing} when the storm came?",
        "companion": "Who went out with {hero}?",
        "tool": "What was taken along into the storm?",
        "stuck": "Where was {the thing} found?",
        "reward": "What did {hero} get from {the elder}?",
    },
)
