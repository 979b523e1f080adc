"""The hero plants something and protects it from hail, goats and slugs until the harvest and the market."""

from llmasos.datasets.storyworld import scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import GARDENER, GRANDFATHER, GRANDMOTHER, MILLER
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

DANGERS = {
    "slugs": """
        Then <danger:the slugs> came, (fat|slow|slimy) and hungry.
            Dann kamen die Schnecken, (dick|langsam|schleimig) und hungrig.
        One morning <danger:slugs> had eaten half of the leaves.
            Eines Morgens hatten Schnecken die Hälfte der Blätter gefressen.
    """,
    "goat": """
        Then <danger:the goat> of the neighbours jumped over the fence.
            Dann sprang die Ziege der Nachbarn über den Zaun.
        One morning <danger:a goat> stood in the bed and chewed.
            Eines Morgens stand eine Ziege im Beet und kaute.
    """,
    "hail": """
        Then the sky turned yellow, and <danger:hail> fell, as big as (nuts|eggs|cherries).
            Dann wurde der Himmel gelb, und Hagel fiel, groß wie (Nüsse|Eier|Kirschen).
        One night there was <danger:a hailstorm>.
            Eines Nachts gab es einen Hagelsturm.
    """,
    "drought": """
        Then came <danger:the great heat>, and the well was almost dry.
            Dann kam die große Hitze, und der Brunnen war fast leer.
        For (four|five|six) weeks there was <danger:no rain> at all.
            (Vier|Fünf|Sechs) Wochen lang fiel überhaupt kein Regen.
    """,
}
RESCUES = {
    "slugs": """
        {Hero~} collected them by lantern light and carried them to the forest.
            {Hero~} sammelte sie beim Licht einer Laterne ein und trug sie in den Wald.
        {Hero~} put a ring of ash around {the thing}, and no slug crossed it.
            {Hero~} streute einen Ring aus Asche um {den thing}, und keine Schnecke kam hinüber.
    """,
    "goat": """
        {Hero~} tempted it away with (an apple|a carrot|salt) and built a higher fence.
            {Hero~} lockte sie mit (einem Apfel|einer Möhre|Salz) weg und baute einen höheren Zaun.
        {Hero~} pulled it out by the horns just in time.
            {Hero~} zog sie gerade noch rechtzeitig an den Hörnern hinaus.
    """,
    "hail": """
        {Hero~} ran out and held a tin tub over {the thing} until it was over.
            {Hero~} lief hinaus und hielt eine Blechwanne über {den thing}, bis es vorbei war.
        {Hero~} bent over {the thing} and let the ice drum on {his} back.
            {Hero~} beugte sich über {den thing} und ließ das Eis auf {seinen} Rücken prasseln.
    """,
    "drought": """
        {Hero~} gave {the thing} every drop of {his} own washing water.
            {Hero~} gab {dem thing} jeden Tropfen vom eigenen Waschwasser.
        Every evening {hero} carried two buckets up from the (lake|stream).
            Jeden Abend trug {hero} zwei Eimer vom (See|Bach) herauf.
    """,
}
LOSSES = {
    "slugs": """
        {Hero~} only noticed when nothing but a bare stalk was left.
            {Hero~} merkte es erst, als nur noch ein kahler Stängel übrig war.
    """,
    "goat": """
        Before {hero} could shout, there was nothing left but a few roots.
            Bevor {hero} rufen konnte, waren nur noch ein paar Wurzeln übrig.
    """,
    "hail": """
        {Hero~} was not at home, and in the evening everything was smashed.
            {Hero~} war nicht zu Hause, und am Abend war alles zerschlagen.
    """,
    "drought": """
        {Hero~} forgot to water for a few days, and everything dried up.
            {Hero~} vergaß ein paar Tage lang das Gießen, und alles vertrocknete.
    """,
}
CORNERS = [
    Word("behind the house", "hinter dem Haus"),
    Word("under the kitchen window", "unter dem Küchenfenster"),
    Word("next to the well", "neben dem Brunnen"),
    Word("in an old wheelbarrow", "in einer alten Schubkarre"),
    Word("in a cracked pot", "in einem gesprungenen Topf"),
    Word("beside the gate", "neben dem Tor"),
    Word("between the stones of the yard", "zwischen den Steinen im Hof"),
    Word("at the sunny wall", "an der sonnigen Mauer"),
]
FINDINGS = [
    Word("in a drawer", "in einer Schublade"),
    Word("in a coat pocket", "in einer Manteltasche"),
    Word("in a bird's nest", "in einem Vogelnest"),
]


def tell(t: Teller) -> str:
    t.plan("elder", [GARDENER, GRANDFATHER, GRANDMOTHER, MILLER])
    t.plan("corner", CORNERS)
    t.plan("finding", FINDINGS)
    t.say("""
        In spring <giver:{the elder}> gave {him} a single seed, and {he} planted it <where:{corner}>.
            Im Frühling gab {der elder} {ihm} ein einziges Samenkorn, und {er} pflanzte es {corner} ein.
        In spring {he} found a seed {finding}, and <giver:{the elder}> helped {him} to plant it <where:{corner}>.
            Im Frühling fand {er} {finding} ein Samenkorn, und {der elder} half {ihm}, es {corner} einzupflanzen.
        "This will be {a thing} one day," said <giver:{the elder}>, and {he} planted the seed <where:{corner}>.
            "Daraus wird einmal {ein thing}", sagte {der elder}, und {er} pflanzte das Samenkorn {corner} ein.
    """)
    t.put("thing", "home")
    t.pass_time()
    t.say("""
        For a long time nothing happened at all.
            Lange Zeit geschah überhaupt nichts.
        Every morning before school {he} looked to see if anything had come up.
            Jeden Morgen vor der Schule sah {er} nach, ob schon etwas herausgekommen war.
        {He} watered it, talked to it and waited.
            {Er} goss es, redete mit ihm und wartete.
    """)
    if t.lean("patience") < 0:
        t.maybe("""
            Twice {he} dug it up again to see if it was growing.
                Zweimal grub {er} es wieder aus, um zu sehen, ob es wuchs.
        """)
    t.say("""
        After (two|three) weeks a tiny green leaf looked out of the earth, the beginning of {a thing}.
            Nach (zwei|drei) Wochen schaute ein winziges grünes Blatt aus der Erde, der Anfang von {einem thing}.
        Then a green tip came up, and by summer there was {a thing}.
            Dann kam eine grüne Spitze hervor, und im Sommer war daraus {ein thing} geworden.
        It turned out to be {a thing}, and soon it was taller than the (cat|dog|watering can).
            Es wurde {ein thing}, und bald war {er thing} höher als (die Katze|der Hund|die Gießkanne).
    """)
    danger = t.branch(slugs=1, goat=1, hail=1, drought=1)
    t.say(DANGERS[danger])
    if t.branch(saved=4 + t.lean("care") + t.lean("patience"), lost=1.5 - t.lean("care")) == "lost":
        return _lost(t, danger)
    t.say(RESCUES[danger])
    return _harvest(t)


def _lost(t: Teller, danger: str) -> str:
    t.say(LOSSES[danger])
    scenes.trouble(t, 0.5)
    if t.branch(again=2 + t.lean("patience"), end=2) == "again":
        t.say("""
            But in the earth {he} found one last seed, and {he} began again.
                Aber in der Erde fand {er} ein letztes Samenkorn, und {er} fing von vorn an.
            "Then we will sow again," said {the elder} and opened a paper bag.
                "Dann säen wir eben noch einmal", sagte {der elder} und öffnete eine Papiertüte.
        """)
        t.say("""
            In the second year {the thing} grew bigger than anybody had expected.
                Im zweiten Jahr wurde {der thing} größer, als irgendjemand erwartet hatte.
            This time {he} watched over {the thing} like a (dragon|hawk|hen), and nothing could harm it.
                Diesmal wachte {er} über {den thing} wie (ein Drache|ein Falke|eine Henne), und nichts konnte \
                    {ihm thing} etwas anhaben.
        """)
        scenes.close_happy(t)
        return "second try"
    t.say("""
        Whenever {he} saw {a thing} after that, {he} had to swallow.
            Immer wenn {er} danach {einen thing} sah, musste {er} schlucken.
        {He} pulled out what was left of {the thing} and smoothed the earth.
            {Er} riss heraus, was von {dem thing} noch übrig war, und strich die Erde glatt.
        There was no {thing} that year, and {he} never planted anything again.
            In jenem Jahr gab es {keinen thing}, und {er} pflanzte nie wieder etwas.
    """)
    scenes.close_sad(t)
    return "lost"


def _harvest(t: Teller) -> str:
    end = t.branch(market=2, share=2 + t.lean("kindness"), gift=2)
    if end == "market":
        t.set("place", PLACES["market"])
        t.say("""
            In autumn {he} took {the thing} to the market, and (everybody|everyone) gathered round.
                Im Herbst brachte {er} {den thing} zum Markt, und alle liefen zusammen.
            At the harvest fair {the thing} was weighed, measured and admired.
                Beim Erntefest wurde {der thing} gewogen, gemessen und bewundert.
        """)
        t.move("hero", "market")
        t.plan("award", [Word("a blue ribbon", "ein blaues Band"), Word("the first prize", "den ersten Preis")])
        t.say("""
            {Hero~} got <prize:{award}> for {the thing} and bowed (twice|three times).
                {Hero~} bekam {award} für {den thing} und verbeugte sich (zwei|drei)mal.
            {Hero~} did not win, but {he} would not have swapped {the thing} for anything.
                {Hero~} gewann nicht, aber {er} hätte {den thing} gegen nichts in der Welt getauscht.
        """)
    elif end == "share":
        t.say("""
            In autumn {he} gave a seed of it to every child in the valley.
                Im Herbst schenkte {er} jedem Kind im Tal ein Samenkorn davon.
            {He} invited all the neighbours to come and look at it.
                {Er} lud alle Nachbarn ein, sich {den thing} anzusehen.
        """)
        t.say("""
            The next summer there was {a thing} in front of every house.
                Im nächsten Sommer wuchs {ein thing} vor jedem Haus.
            "It all began with one {thing}," people still say.
                "Alles fing mit {einem thing} an", sagen die Leute noch heute.
        """)
    else:
        t.say("""
            When {the thing} was ready, {he} put it on {the elder's} doorstep.
                Als {der thing} so weit war, legte {er} {ihn thing} {dem elder} vor die Tür.
            {He} gave {the thing} to {the elder}, who could not believe it.
                {Er} schenkte {den thing} {dem elder}, {relativ elder} es kaum glauben konnte.
        """)
        t.say("""
            "I only gave you the watering can," {he elder} said and laughed.
                "Von mir hattest du doch nur die Gießkanne", sagte {er elder} und lachte.
            {The elder} put it in the middle of the table.
                {Der elder} stellte {ihn thing} mitten auf den Tisch.
        """)
    scenes.close_happy(t)
    return "grown"


PLOT = Plot(
    "grow",
    things.PLANTS,
    tell,
    {
        "grown": ("happy", "{Hero} plants a seed and grows {a thing}."),
        "second try": ("happy", "{Hero} loses {a thing} and grows another one."),
        "lost": ("sad", "{Hero} plants a seed, but loses the plant."),
    },
    {
        "giver": "Who knew about the seed?",
        "where": "Where did {hero} plant the seed?",
        "danger": "What threatened the plant?",
        "prize": "What did {hero} get at the fair?",
    },
)
