"""The hero finds a hurt wild animal, nurses it, and has to let it go."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import FAMILY
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

BEDS = [
    Word("in a box by the stove", "in einer Kiste am Ofen"),
    Word("in an old basket", "in einem alten Korb"),
    Word("in a woollen hat", "in einer Wollmütze"),
    Word("in the attic", "auf dem Dachboden"),
    Word("under the kitchen table", "unter dem Küchentisch"),
    Word("on a soft cushion", "auf einem weichen Kissen"),
]
FOOD = {
    **dict.fromkeys(["hedgehog", "sparrow", "swallow", "robin", "duck"], Word("worms", "Würmer")),
    **dict.fromkeys(["rabbit", "hare"], Word("roots", "Wurzeln")),
    "squirrel": Word("nuts", "Nüsse"),
}
LATER = [Word("in spring", "im Frühling"), Word("after a month", "nach einem Monat")]
NAMES = [Word(name, name) for name in "Pip Button Snow Captain Pepper Major Cloud Prince Biscuit Star".split()]


def tell(t: Teller) -> str:
    scenes.plan_day(t)
    t.plan("place", [PLACES[key] for key in ("forest", "meadow", "bridge", "hill", "garden", "lake")])
    t.begins("{Day} {he}", "{Day} {a thing}")
    wings = t.resolve("thing").tags["wings"]
    t.say(
        """
        {Day} {he} found {a thing} with a broken wing <where:{at place}>.
            {Day} fand {er} {in place} {einen thing} mit einem gebrochenen Flügel.
        {Day} {he} heard something flutter <where:{at place}>: {a thing} could not fly any more.
            {Day} hörte {er} {in place} etwas flattern: {Ein thing} konnte nicht mehr fliegen.
        {Day} {a thing} lay <where:{at place}> and did not fly away when {he} came.
            {Day} lag {ein thing} {in place} und flog nicht weg, als {er} kam.
    """
        if wings
        else """
        {Day} {he} found {a thing} with a hurt leg <where:{at place}>.
            {Day} fand {er} {in place} {einen thing} mit einem verletzten Bein.
        {Day} {he} heard a soft sound <where:{at place}>: {a thing} was caught in a wire.
            {Day} hörte {er} {in place} einen leisen Laut: {Ein thing} hing in einem Draht fest.
        {Day} {a thing} lay <where:{at place}> and did not run away when {he} came.
            {Day} lag {ein thing} {in place} und lief nicht weg, als {er} kam.
    """
    )
    t.put("thing", t.roles["place"].en)
    t.move("hero", t.roles["place"])
    scenery.sky(t, 0.3)
    t.plan("bed", BEDS)
    t.take("hero", "thing")
    t.say("""
        {He} wrapped it in {his} (scarf|jacket|shirt) and made a bed for it <bed:{bed}>.
            {Er} wickelte {ihn thing} in (einen Schal|eine Jacke|ein Hemd) und machte {ihm thing} ein Bett {bed}.
        Very carefully {he} carried it home and let it sleep <bed:{bed}>.
            Ganz vorsichtig trug {er} {ihn thing} nach Hause und ließ {ihn thing} {bed} schlafen.
    """)
    t.move("hero", "home")
    t.plan("name", NAMES)
    t.maybe(
        """
        {He} called it <name:{name}>.
            {Er} nannte {ihn thing} {name}.
        "I will call you <name:{name}>," {he} whispered.
            "Ich nenne dich {name}", flüsterte {er}.
    """,
        0.7,
    )
    t.plan("giver", FAMILY)
    t.put("giver", "home")
    t.set("food", FOOD[t.roles["thing"].en])
    t.pass_time()
    t.say("""
        <adviser:{Giver}> showed {him} how to bandage it.
            {Giver} zeigte {ihm}, wie man so ein Tier verbindet.
        "It needs warmth, water and quiet," said <adviser:{giver}>.
            "Ein krankes Tier braucht Wärme, Wasser und Ruhe", sagte {giver}.
        "It is a wild animal," <adviser:{giver}> warned {him}. "You cannot keep it for ever."
            "Das ist ein wildes Tier", warnte {giver}. "Du kannst es nicht für immer behalten."
    """)
    t.say("""
        Every (two|three) hours, day and night, {hero} gave it something to eat.
            Alle (zwei|drei) Stunden, Tag und Nacht, gab {hero} {ihm thing} etwas zu fressen.
        {Hero~} looked for {food} until {his} hands were black.
            {Hero~} suchte {food}, bis {seine} Hände schwarz waren.
        At first it would not eat, but on the (second|third) day it ate from {his} hand.
            Zuerst wollte {er thing} nicht fressen, aber am (zweiten|dritten) Tag fraß {er thing} {ihm} aus der Hand.
        {Hero~} sat beside it and sang all the songs {he} knew.
            {Hero~} saß daneben und sang alle Lieder, die {er} kannte.
    """)
    end = t.branch(free=4 + t.lean("patience"), keep=1.5 - t.lean("kindness") / 2, dies=1)
    if end == "dies":
        return _dies(t)
    t.plan("soon", [*phrases.SOON[3:6], *LATER])
    if end == "keep":
        return _kept(t)
    t.say("""
        And <healed:{soon}> it was well again and looked longingly out of the window.
            Und {soon} war {er thing} wieder gesund und sah sehnsüchtig aus dem Fenster.
        Then, <healed:{soon}>, it could move without pain.
            Dann, {soon}, konnte {er thing} sich wieder ohne Schmerzen bewegen.
    """)
    t.move("hero", t.roles["place"])
    t.say("""
        {Hero~} took it {to place} and opened {his} hands.
            {Hero~} brachte {ihn thing} {nach place} und öffnete die Hände.
        With a heavy heart {hero~} carried it back {to place}.
            Mit schwerem Herzen trug {hero~} {ihn thing} zurück {nach place}.
    """)
    t.leave("hero", "thing")
    t.say(
        """
        It circled once above {his} head and was gone.
            {Er thing} kreiste einmal über {seinem} Kopf und war fort.
        First it sat still, then it flew up into the (blue|grey|wide) sky.
            Erst saß {er thing} still, dann flog {er thing} in den (blauen|grauen|weiten) Himmel hinauf.
    """
        if wings
        else """
        It looked at {him} once more and vanished (in the grass|behind a bush).
            {Er thing} sah {ihn} noch einmal an und verschwand (im Gras|hinter einem Busch).
        First it sat still, then it was gone.
            Erst saß {er thing} still, dann war {er thing} fort.
    """
    )
    if t.branch(back=3, alone=1.5) == "alone":
        t.say("""
            {Hero~} waited for it every evening, but it did not come back.
                {Hero~} wartete jeden Abend, aber {er thing} kam nicht zurück.
            The bed stayed empty, and {hero} cried a little.
                Das Bett blieb leer, und {hero} weinte ein wenig.
        """)
        scenes.close_sad(t)
        return "let go"
    t.say("""
        (A year|Two years) later {a thing} sat on the windowsill, and it was not afraid at all.
            (Ein Jahr|Zwei Jahre) später saß {ein thing} auf der Fensterbank und hatte überhaupt keine Angst.
        Sometimes it still comes to the garden, and once it brought its young.
            Manchmal kommt {er thing} noch in den Garten, und einmal brachte {er thing} Junge mit.
        "That is how one loves wild things," said {giver}, "with open hands."
            "So liebt man wilde Tiere", sagte {giver}, "mit offenen Händen."
    """)
    scenes.close_happy(t)
    return "healed"


def _dies(t: Teller) -> str:
    t.say("""
        But one morning it lay quite still and did not wake up any more.
            Aber eines Morgens lag {er thing} ganz still und wachte nicht mehr auf.
        But it was too weak, and in the night it died.
            Aber {er thing} war zu schwach, und in der Nacht starb {er thing}.
    """)
    t.say("""
        They buried it under the (apple|pear|cherry) tree and put a white stone there.
            Sie begruben {ihn thing} unter dem (Apfelbaum|Birnbaum|Kirschbaum) und legten einen weißen Stein darauf.
        "It was not alone," said {giver}, "because you were there."
            "{Er thing} war nicht allein", sagte {giver}, "denn du warst da."
    """)
    scenes.close_sad(t)
    return "died"


def _kept(t: Teller) -> str:
    t.say("""
        And <healed:{soon}> it was well, but {hero} did not want to let it go and built a cage.
            Und {soon} war {er thing} gesund, aber {hero} wollte {ihn thing} nicht gehen lassen und baute einen Käfig.
        Then, <healed:{soon}>, it was strong again, but {hero} kept it in a cage.
            Dann, {soon}, war {er thing} wieder kräftig, aber {hero} hielt {ihn thing} in einem Käfig.
    """)
    t.say("""
        It stopped eating and sat in the corner all day.
            {Er thing} fraß nicht mehr und saß den ganzen Tag in der Ecke.
        It looked through the bars and made no sound.
            {Er thing} sah durch die Stäbe und gab keinen Laut von sich.
    """)
    if t.branch(open=3, late=1) == "open":
        t.say("""
            That was more than {hero} could bear, and {he} opened the cage.
                Das konnte {hero} nicht ertragen, und {er} öffnete den Käfig.
            "Go," said {hero} at last and opened the little door.
                "Geh", sagte {hero} endlich und öffnete die kleine Tür.
        """)
        t.gone("thing")
        t.say("""
            It went, and {hero} had never been so sad and so glad at once.
                {Er thing} verschwand, und {hero} war noch nie so traurig und so froh zugleich gewesen.
            Outside something called, and something answered.
                Draußen rief etwas, und etwas antwortete.
        """)
        scenes.close_happy(t)
        return "set free at last"
    t.say("""
        One night it bit through a bar and fled without looking back.
            Eines Nachts brach {er thing} aus und floh, ohne sich umzusehen.
        One day the cage was open and empty.
            Eines Tages war der Käfig offen und leer.
    """)
    scenes.close_sad(t)
    return "fled"


PLOT = Plot(
    "rescue",
    things.WILD_ANIMALS,
    tell,
    {
        "healed": ("happy", "{Hero} nurses {a thing} and sets it free."),
        "let go": ("sad", "{Hero} nurses {a thing}, sets it free and misses it."),
        "died": ("sad", "{Hero} nurses {a thing}, but it dies."),
        "set free at last": ("happy", "{Hero} nurses {a thing}, keeps it in a cage and sets it free at last."),
        "fled": ("sad", "{Hero} nurses {a thing} and keeps it in a cage until it flees."),
    },
    {
        "where": "Where did {hero} find {the thing}?",
        "bed": "Where did {the thing} sleep?",
        "name": "What did {hero} call {the thing}?",
        "adviser": "Who knew about animals?",
        "healed": "When was {the thing} well again?",
    },
)
