"""A stranger comes through the valley in need; the hero helps, or does not."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.entities import Noun, Word
from llmasos.datasets.storyworld.people import FAMILY
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

STRANGERS = [
    Noun("sailor", "Seemann", "m", "he"),
    Noun("painter", "Malerin", "f", "she"),
    Noun("musician", "Musikant", "m", "he", oblique="Musikanten"),
    Noun("pedlar", "Händler", "m", "he"),
    Noun("soldier", "Soldat", "m", "he", oblique="Soldaten"),
    Noun("dancer", "Tänzerin", "f", "she"),
    Noun("juggler", "Gaukler", "m", "he"),
]
LOOKS = [
    Word("with holes in both shoes", "mit Löchern in beiden Schuhen"),
    Word("in a long grey coat", "in einem langen grauen Mantel"),
    Word("with a parrot on one shoulder", "mit einem Papagei auf der Schulter"),
    Word("with a heavy sack", "mit einem schweren Sack"),
    Word("with a bandage round the head", "mit einem Verband um den Kopf"),
    Word("with a little white dog", "mit einem kleinen weißen Hund"),
    Word("in a hat without a brim", "mit einem Hut ohne Krempe"),
    Word("with a red umbrella", "mit einem roten Regenschirm"),
]


def tell(t: Teller) -> str:
    scenes.plan_day(t, "windy rainy foggy cold")
    t.plan("stranger", STRANGERS)
    t.plan("looks", LOOKS)
    t.plan("place", [PLACES[key] for key in ("bridge", "well", "mill", "market", "hill", "lake", "forest")])
    t.say("""
        {Day} <where:{at place}> stood <stranger:{a stranger}> <looks:{looks}>.
            {Day} stand {in place} {ein stranger} {looks}.
        {Day} <where:{at place}> {he} met <stranger:{a stranger}> <looks:{looks}>.
            {Day} begegnete {er} {in place} {einem stranger} {looks}.
        {Day} {he} saw <stranger:{a stranger}> <looks:{looks}>, sitting all alone <where:{at place}>.
            {Day} sah {er} {einen stranger} {looks} ganz allein {in place} sitzen.
    """)
    t.put("stranger", t.roles["place"].en)
    t.move("hero", t.roles["place"])
    scenery.sky(t, 0.3)
    need = t.branch(hungry=2, lost=2, tired=2)
    t.say(
        {
            "hungry": """
        "I have not eaten for (two|three) days," said {the stranger}.
            "Ich habe seit (zwei|drei) Tagen nichts gegessen", sagte {der stranger}.
        "Could you spare a bite of bread?" asked {the stranger}.
            "Hast du vielleicht ein Stück Brot für mich?", fragte {der stranger}.
    """,
            "lost": """
        "Which way leads to the city?" asked {the stranger}. "I have been walking in circles."
            "Welcher Weg führt in die Stadt?", fragte {der stranger}. "Ich laufe immer im Kreis."
        "I have lost my way," said {the stranger}, "and it will soon be dark."
            "Ich habe mich verlaufen", sagte {der stranger}, "und bald wird es dunkel."
    """,
            "tired": """
        "All the doors were shut," said {the stranger}. "I only need a roof for one night."
            "Alle Türen waren zu", sagte {der stranger}. "Ich brauche nur für eine Nacht ein Dach."
        "My feet will not carry me any further," sighed {the stranger}.
            "Meine Füße tragen mich nicht weiter", seufzte {der stranger}.
    """,
        }[need]
    )
    t.maybe("""
        The people looked away and walked on.
            Die Leute sahen weg und gingen weiter.
        A dog barked, and (somebody|someone) closed a window.
            Ein Hund bellte, und jemand schloss ein Fenster.
        (Everybody|Everyone) had told {hero} not to talk to strangers.
            Alle hatten {hero} gesagt, man dürfe nicht mit Fremden reden.
    """)
    t.plan("giver", FAMILY)
    t.put("giver", "home")
    kindness = t.lean("kindness") + t.lean("courage") / 2
    if t.branch(help=4 + kindness, no=1.5 - kindness) == "no":
        return _refused(t)
    return _helped(t, need)


def _refused(t: Teller) -> str:
    t.say("""
        {Hero~} shook {his} head and hurried home.
            {Hero~} schüttelte den Kopf und eilte nach Hause.
        "I have no time," said {hero} and did not look back.
            "Ich habe keine Zeit", sagte {hero} und drehte sich nicht um.
        {Hero~} was afraid and ran away.
            {Hero~} bekam Angst und lief weg.
    """)
    t.move("hero", "home")
    t.say("""
        At night {he} lay awake and thought of {the stranger} out there.
            In der Nacht lag {er} wach und dachte an {den stranger} da draußen.
        At supper the bread stuck in {his} throat.
            Beim Abendessen blieb {ihm} das Brot im Hals stecken.
        When {giver} heard about it, {he giver} was silent for a long (time|while).
            Als {giver} davon hörte, schwieg {er giver} lange.
    """)
    t.pass_time()
    t.move("hero", t.roles["place"])
    t.say("""
        In the morning {he} ran back, but all {he} found was {a thing} in the mud.
            Am Morgen lief {er} zurück, aber {er} fand nur {einen thing} im Schlamm.
        When {he} went back with bread, nobody was there, only {a thing} lay (on a stone|in the grass|by the road).
            Als {er} mit Brot zurückkam, war niemand da, nur {ein thing} lag (auf einem Stein|im Gras|am Weg).
    """)
    t.say("""
        {He} kept it and wished that {he} had been kinder.
            {Er} behielt {ihn thing} und wünschte sich, {er} wäre freundlicher gewesen.
        {He} never found out whose it had been.
            {Er} erfuhr nie, wem {er thing} gehört hatte.
    """)
    scenes.close_sad(t)
    return "refused"


def _helped(t: Teller, need: str) -> str:
    t.plan("snack", phrases.SNACKS)
    if need == "lost":
        t.say("""
            {Hero~} took {the stranger} by the hand and showed {him stranger} the path to the big road.
                {Hero~} nahm {den stranger} an der Hand und zeigte {ihm stranger} den Weg zur großen Straße.
            "I know a short cut," said {hero} and walked ahead.
                "Ich kenne eine Abkürzung", sagte {hero} und ging voran.
            {Hero~} drew the way on the ground with a stick, with every bridge and every tree.
                {Hero~} zeichnete den Weg mit einem Stock auf den Boden, mit jeder Brücke und jedem Baum.
        """)
        t.say("""
            On the way they shared <meal:{snack}>.
                Unterwegs teilten sie sich {snack}.
            Before they parted, {hero} gave {him stranger} <meal:{snack}>.
                Bevor sie sich trennten, gab {hero} {ihm stranger} {snack}.
        """)
    else:
        t.say("""
            "Come with me," said {hero}. "There is room by our stove."
                "Komm mit", sagte {hero}. "An unserem Ofen ist Platz."
            {Hero~} took {the stranger} home, where {giver} had just lit the stove.
                {Hero~} nahm {den stranger} mit nach Hause, wo {giver} gerade den Ofen angezündet hatte.
        """)
        t.move("hero", "home")
        t.move("stranger", "home")
        t.say("""
            {Giver} asked no questions and put <meal:{snack}> on the table.
                {Giver} stellte keine Fragen, aber dafür {snack} auf den Tisch.
            There was <meal:{snack}> and a warm blanket.
                Dazu gab es eine warme Decke und {snack}.
        """)
        t.maybe(
            """
            Half the night {the stranger} told them about (ships|towers|elephants) and deserts.
                Die halbe Nacht erzählte {der stranger} von (Schiffen|Türmen|Elefanten) und Wüsten.
            {The stranger} could laugh so loudly that the (cups|windows|spoons) shook.
                {Der stranger} konnte so laut lachen, dass die (Tassen|Fenster|Löffel) zitterten.
        """,
            0.6,
        )
    t.say("""
        As a farewell {hero} got {a thing} from {the stranger}.
            Zum Abschied bekam {hero} von {dem stranger} {einen thing}.
        "This is for you," said {the stranger} and gave {hero} {a thing}. "It will bring \
            you (luck|friends|good dreams)."
            "Das ist für dich", sagte {der stranger} und gab {hero} {einen thing}. "Das bringt \
                dir (Glück|Freunde|gute Träume)."
        The next morning {the stranger} was gone, but on the doorstep lay {a thing}.
            Am nächsten Morgen war {der stranger} fort, aber auf der Türschwelle lag {ein thing}.
    """)
    t.put("thing", "hero")
    t.pass_time()
    t.say("""
        Years later a (letter|postcard|parcel) came from far away: "I have not forgotten you."
            Jahre später kam (ein Brief|eine Postkarte|ein Paket) von weit her: "Ich habe dich nicht vergessen."
        {Hero~} has kept {the thing} to this day.
            {Hero~} hat {den thing} bis heute behalten.
        Whenever {hero} held {the thing}, {he} thought of the wide world.
            Immer wenn {hero} {den thing} in der Hand hielt, dachte {er} an die weite Welt.
    """)
    scenes.close_happy(t)
    return "helped"


PLOT = Plot(
    "stranger",
    things.KEEPSAKES,
    tell,
    {
        "helped": ("happy", "{Hero} helps {a stranger} and gets {a thing} as a present."),
        "refused": ("sad", "{Hero} does not help {a stranger} and is sorry for it."),
    },
    {
        "stranger": "Whom did {hero} meet?",
        "looks": "What did {the stranger} look like?",
        "where": "Where was {the stranger}?",
        "meal": "What was there to eat or drink?",
    },
)
