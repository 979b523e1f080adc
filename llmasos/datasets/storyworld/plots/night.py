"""A noise in the night; fear, courage, and a small cause that explains it all, or is never found."""

from llmasos.datasets.storyworld import scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import FAMILY
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

NOISES = [  # German with the verb at the end
    Word("scratching", "kratzte"),
    Word("knocking", "klopfte"),
    Word("rustling", "raschelte"),
    Word("creaking", "knarrte"),
    Word("groaning", "stöhnte"),
    Word("clattering", "klapperte"),
]
SOURCES = [
    Word("in the attic", "auf dem Dachboden"),
    Word("behind the wall", "hinter der Wand"),
    Word("at the window", "am Fenster"),
    Word("in the kitchen", "in der Küche"),
    Word("under the roof", "unter dem Dach"),
    Word("in the cellar", "im Keller"),
    Word("on the stairs", "auf der Treppe"),
]
FEARS = [
    Word("a ghost", "ein Gespenst"),
    Word("a robber", "ein Räuber"),
    Word("a wolf", "ein Wolf"),
    Word("a giant", "ein Riese"),
    Word("a dragon", "ein Drache"),
    Word("a witch", "eine Hexe"),
]
WEAPONS = [  # German in the dative
    Word("a wooden spoon", "einem Holzlöffel"),
    Word("a broom", "einem Besen"),
    Word("a candle", "einer Kerze"),
    Word("a frying pan", "einer Bratpfanne"),
    Word("an umbrella", "einem Regenschirm"),
    Word("a pillow", "einem Kissen"),
    Word("a lantern", "einer Laterne"),
]


def tell(t: Teller) -> str:
    t.plan("noise", NOISES)
    t.plan("source", SOURCES)
    t.say("""
        One night {he} woke up because something was <noise:{noise}> <where:{source}>.
            Eines Nachts wachte {er} auf, weil {source} etwas {noise}.
        In the middle of the night {he} heard something <noise:{noise}> <where:{source}>.
            Mitten in der Nacht hörte {er}, wie {source} etwas {noise}.
        It was long past midnight when {he} noticed that something was <noise:{noise}> <where:{source}>.
            Es war lange nach Mitternacht, als {er} merkte, dass {source} etwas {noise}.
    """)
    t.maybe(
        """
        The moon shone on the floor, and the clock struck (one|two|three).
            Der Mond schien auf den Boden, und die Uhr schlug (eins|zwei|drei).
        It stopped, and then it began again, a little louder.
            Es hörte auf, und dann fing es wieder an, ein wenig lauter.
        The house was dark and the stairs were cold.
            Das Haus war dunkel, und die Treppe war kalt.
    """,
        0.6,
    )
    t.plan("fear", FEARS)
    t.say("""
        "That must be <fear:{fear}>," thought {hero} and pulled up the blanket.
            "Das muss {fear} sein", dachte {hero} und zog die Decke hoch.
        "What if it is <fear:{fear}>?" {hero} whispered.
            "Was, wenn es {fear} ist?", flüsterte {hero}.
        {Hero~} was quite sure that it was <fear:{fear}>.
            {Hero~} war ganz sicher, dass es {fear} war.
    """)
    t.plan("giver", FAMILY)
    t.put("giver", "home")
    courage = t.lean("courage")
    way = t.branch(alone=2 + courage, together=2, hide=1.5 - courage)
    if way == "hide":
        return _hidden(t)
    t.plan("weapon", WEAPONS)
    if way == "alone":
        t.say("""
            But {he} got up, armed {himself} with <weapon:{weapon}> and tiptoed through the dark.
                Aber {er} stand auf, bewaffnete sich mit {weapon} und schlich durch die Dunkelheit.
            {He} counted to (ten|twenty), took hold of <weapon:{weapon}> and opened the door.
                {Er} zählte bis (zehn|zwanzig), griff nach {weapon} und öffnete die Tür.
        """)
    else:
        t.say("""
            {He} ran to wake <companion:{giver}>, who came along with <weapon:{weapon}>.
                {Er} lief los und weckte {giver}, {relativ giver} mit {weapon} mitkam.
            "Come quickly," {he} said to <companion:{giver}>, who picked up <weapon:{weapon}>.
                "Komm schnell", sagte {er} zu {giver}, {relativ giver} nach {weapon} griff.
        """)
    t.put("thing", "home")
    t.meet("hero", "thing")
    return _solved(t)


def _hidden(t: Teller) -> str:
    t.say("""
        {He} crept under the blanket and did not move until the cock crowed.
            {Er} kroch unter die Decke und rührte sich nicht, bis der Hahn krähte.
        {He} put the pillow over {his} ears and counted (sheep|stars|cows).
            {Er} legte sich das Kissen auf die Ohren und zählte (Schafe|Sterne|Kühe).
    """)
    t.pass_time()
    if t.branch(morning=2, never=2) == "morning":
        t.say("""
            In the morning {giver} laughed: "That was only <cause:{a thing}>!"
                Am Morgen lachte {giver}: "Das war doch nur {ein thing}!"
            When it was light, {he} saw what it had been: <cause:{a thing}>, nothing else.
                Als es hell war, sah {er}, was es gewesen war: {ein thing}, sonst nichts.
        """)
        t.say("""
            {Hero~} laughed too, but a little later than the others.
                Auch {hero~} lachte, aber ein wenig später als die anderen.
            "I knew it all along," said {hero}, and (nobody|no one) believed {him}.
                "Das wusste ich die ganze Zeit", sagte {hero}, und niemand glaubte es.
        """)
        scenes.close_happy(t)
        return "explained"
    t.say("""
        It came back the next night, and the night after that.
            Es kam in der nächsten Nacht wieder, und auch in der übernächsten.
        Since then {he} has been afraid of the dark.
            Seitdem hat {er} Angst im Dunkeln.
    """)
    t.say("""
        It was only <cause:{a thing}>, but (nobody|no one) ever told {him}.
            Es war nur {ein thing}, aber das hat {ihm} nie jemand gesagt.
        If {he} had looked, {he} would have found <cause:{a thing}>.
            Hätte {er} nachgesehen, dann hätte {er} {einen thing} gefunden.
    """)
    scenes.close_sad(t)
    return "never explained"


def _solved(t: Teller) -> str:
    t.say("""
        And there, in a patch of moonlight, was <cause:{a thing}>.
            Und dort, in einem Fleck Mondlicht, war {ein thing}.
        It was nothing but <cause:{a thing}>.
            Es war nichts weiter als {ein thing}.
        What a surprise: it was only <cause:{a thing}>!
            Was für eine Überraschung: Es war nur {ein thing}!
    """)
    alive = t.roles["thing"].tags["alive"]
    if not alive:
        t.say("""
            The wind moved it to and fro.
                Der Wind bewegte {ihn thing} hin und her.
            It knocked against the house whenever the wind blew.
                {Er thing} schlug gegen das Haus, sooft der Wind wehte.
        """)
    else:
        t.say("""
            It was just eating the cake that was meant for (Sunday|the birthday).
                {Er thing} fraß gerade den Kuchen, der für (Sonntag|den Geburtstag) bestimmt war.
            It had got in through the cellar and could not find the way out.
                {Er thing} war durch den Keller hereingekommen und fand nicht mehr hinaus.
            It was more afraid than {hero}.
                {Er thing} hatte noch mehr Angst als {hero}.
        """)
    if alive and t.branch(feed=2 + t.lean("kindness"), out=2) == "feed":
        t.say("""
            {Hero~} sat down beside it and was not afraid any more.
                {Hero~} setzte sich daneben und hatte keine Angst mehr.
            {Hero~} fetched a bowl of (milk|water), and it drank every drop.
                {Hero~} holte eine Schale (Milch|Wasser), und {er thing} trank bis auf den letzten Tropfen alles aus.
        """)
    elif alive:
        t.say("""
            {Hero~} opened the door, and it slipped out into the night.
                {Hero~} öffnete die Tür, und {er thing} schlüpfte in die Nacht hinaus.
            "Good night," said {hero} politely and held the door open.
                "Gute Nacht", sagte {hero} höflich und hielt die Tür auf.
        """)
    else:
        t.say("""
            {Hero~} tied it up with a (shoelace|rope|scarf), and there was peace.
                {Hero~} band {ihn thing} mit einem (Schnürsenkel|Seil|Schal) fest, und es war Ruhe.
            {Hero~} laughed so loudly that the whole house woke up.
                {Hero~} lachte so laut, dass das ganze Haus aufwachte.
        """)
    t.say("""
        "Most ghosts are like that," said {giver} at breakfast.
            "So sind die meisten Gespenster", sagte {giver} beim Frühstück.
        Since then {he} has liked the sounds of the night.
            Seitdem mag {er} die Geräusche der Nacht.
        And then {hero~} slept until noon.
            Und dann schlief {hero~} bis zum Mittag.
        The next time something moves, {he} will look first.
            Wenn sich das nächste Mal etwas bewegt, sieht {er} zuerst nach.
    """)
    return "solved"


PLOT = Plot(
    "night",
    things.NIGHT_NOISES,
    tell,
    {
        "solved": ("happy", "{Hero} is afraid of a noise at night and finds {a thing}."),
        "explained": ("happy", "{Hero} hides from a noise at night that was only {a thing}."),
        "never explained": ("sad", "{Hero} hides from a noise at night and stays afraid."),
    },
    {
        "noise": "What did {hero} hear?",
        "where": "Where did the noise come from?",
        "fear": "What did {hero} think it was?",
        "weapon": "What was taken along?",
        "companion": "Who came along?",
        "cause": "What had really made the noise?",
    },
)
