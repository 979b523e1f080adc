"""A present is made by hand for a birthday; something goes wrong; the present turns out not to be what matters."""

from llmasos.datasets.storyworld import phrases, scenes, things
from llmasos.datasets.storyworld.people import CAT, CROW, DOG, FAMILY, GOAT, NEIGHBORS
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller


def tell(t: Teller) -> str:
    t.plan("giver", FAMILY)
    t.plan("look", phrases.NEW_LOOKS)
    t.say("""
        <receiver:{Giver}> was going to be (sixty|seventy), and {hero} wanted to make {a look thing}.
            {Giver} wurde (sechzig|siebzig), und {hero} wollte {einen look thing} machen.
        For the birthday of <receiver:{giver}> {he} wanted to make {a look thing} {himself}.
            Zum Geburtstag von {giver} wollte {er} selbst {einen look thing} machen.
        {He} had no money for a present, so {he} (began|started) to make {a look thing} for <receiver:{giver}>.
            {Er} hatte kein Geld für ein Geschenk, also fing {er} an, {einen look thing} für {giver} zu machen.
    """)
    t.put("giver", "home")
    t.put("thing", "hero")
    t.plan("elder", NEIGHBORS)
    t.plan("long", phrases.LONG)
    t.say("""
        <helper:{The elder}> showed {him} how to do it.
            {Der elder} zeigte {ihm}, wie man das macht.
        {He} worked on it in secret <long:{long}>.
            {Er} arbeitete {long} heimlich daran.
        Every evening {he} hid {the thing} (under {his} bed|behind the stove|in the cupboard).
            Jeden Abend versteckte {er} {den thing} (unter {seinem} Bett|hinter dem Ofen|im Schrank).
    """)
    t.say("""
        It was a little (crooked|strange|rough), but it was made with love.
            Es war ein wenig (schief|seltsam|rau), aber mit Liebe gemacht.
        {He} hurt {his} finger (twice|three times|five times), but {he} did not give up.
            (Zweimal|Dreimal|Fünfmal) verletzte {er} sich am Finger, aber {er} gab nicht auf.
        {He} had never made anything so beautiful.
            {Er} hatte noch nie etwas so Schönes gemacht.
    """)
    t.maybe(
        """
        "What are you doing there?" asked {giver}. "Nothing!" said {hero} quickly.
            "Was machst du da?", fragte {giver}. "Nichts!", sagte {hero} schnell.
        {Giver} pretended not to notice anything.
            {Giver} tat so, als wäre nichts.
    """,
        0.6,
    )
    t.pass_time()
    event = t.branch(ruined=4 - t.lean("care"), fine=1.5 + t.lean("care"), given=1 + t.lean("kindness"))
    return {"ruined": _ruined, "fine": _fine, "given": _given_away}[event](t)


def _fine(t: Teller) -> str:
    t.say("""
        On the birthday {hero} put {the thing} on the breakfast table.
            Am Geburtstag stellte {hero} {den thing} auf den Frühstückstisch.
        When the great day came, {hero's} hands trembled so much that {he} almost dropped {the thing}.
            Als der große Tag kam, zitterten {hero's} Hände so sehr, dass {er} {den thing} beinahe fallen ließ.
    """)
    return _received(t)


def _received(t: Teller) -> str:
    t.say("""
        {Giver} looked at it from all sides and had to sniff.
            {Giver} betrachtete {ihn thing} von allen Seiten und musste schniefen.
        "(Nobody|No one) has ever given me anything like this," said {giver}.
            "So etwas hat mir noch nie jemand geschenkt", sagte {giver}.
        {Giver} has not let {the thing} out of sight since that day.
            {Giver} lässt {den thing} seit diesem Tag nicht mehr aus den Augen.
    """)
    scenes.close_happy(t)
    return "given"


def _given_away(t: Teller) -> str:
    scenes.plan_friend(t)
    scenes.plan_day(t, "rainy cold foggy windy", "morning evening")
    t.say("""
        {Day} {hero} met <needy:{friend}>, who was crying because (nobody|no one) had thought of {his friend} birthday.
            {Day} traf {hero} {friend}, {relativ friend} weinte, weil niemand an {seinen of friend} Geburtstag \
                gedacht hatte.
        {Day} <needy:{friend}> sat on the steps, (ill and pale|tired and hungry|all alone) and sad.
            {Day} saß {friend} auf der Treppe, (krank und blass|müde und hungrig|ganz allein) und traurig.
    """)
    t.say("""
        {Hero~} thought for a moment and gave {the thing} to {him friend}.
            {Hero~} überlegte einen Augenblick und schenkte {ihm friend} {den thing}.
        "Here, this is for you," said {hero} and gave {the thing} away.
            "Hier, das ist für dich", sagte {hero} und gab {den thing} her.
    """)
    t.where["thing"] = "friend"
    t.say("""
        On the birthday {hero} had nothing but a story to tell.
            Am Geburtstag hatte {hero} nichts als eine Geschichte zu erzählen.
        "I have no present," {hero} confessed, and told what had happened.
            "Ich habe kein Geschenk", gestand {hero} und erzählte, was geschehen war.
    """)
    t.say("""
        "That is the best present you could give me," said {giver}.
            "Das ist das schönste Geschenk, das du mir machen konntest", sagte {giver}.
        {Giver} hugged {him}. "I am so proud of you."
            {Giver} umarmte {ihn}. "Ich bin so stolz auf dich."
    """)
    scenes.close_happy(t)
    return "given away"


def _ruined(t: Teller) -> str:
    t.plan("culprit", [DOG, CAT, GOAT, CROW])
    t.plan("place", [PLACES[key] for key in ("bridge", "well", "lake")])
    if t.branch(animal=2, water=1.5) == "animal":
        t.say("""
            But on the day before the birthday <culprit:{the culprit}> got hold of {the thing} and left nothing but \
                pieces.
                Aber am Tag vor dem Geburtstag bekam {der culprit} {den thing} zu fassen und ließ nur Stücke davon \
                    übrig.
            But when it was almost finished, <culprit:{the culprit}> ruined it.
                Aber als {er thing} fast fertig war, machte {der culprit} alles zunichte.
        """)
    else:
        t.say("""
            But <place:{at place}> {he} stumbled, and {the thing} fell into the water.
                Aber {in place} stolperte {er}, und {der thing} fiel ins Wasser.
        """)
    scenes.trouble(t, 0.7)
    way = t.branch(again=2 + t.lean("patience"), pieces=2, late=1.5 - t.lean("patience"))
    if way == "again":
        t.say("""
            {Hero~} sat up all night and began again from the beginning.
                {Hero~} blieb die ganze Nacht auf und fing noch einmal von vorn an.
            Then {the elder} came, and together they made a new one by morning.
                Da kam {der elder}, und zusammen schafften sie es bis zum Morgen noch einmal.
        """)
        return _received(t)
    if way == "pieces":
        t.say("""
            {Hero~} gave {giver} what was left, with a red face.
                Mit rotem Gesicht gab {hero~} {giver}, was noch übrig war.
            {Hero~} wrapped up the remains and put a letter with them.
                {Hero~} packte die Reste ein und legte einen Brief dazu.
        """)
        t.say("""
            "I see every hour you worked on it," said {giver} and kissed {him}.
                "Ich sehe jede Stunde, die du daran gearbeitet hast", sagte {giver} und küsste {ihn}.
            {Giver} (hung it on the wall, where it hangs|put it on the shelf, where it stands) to this day.
                {Giver} \
                    (hängte alles an die Wand, wo es bis heute hängt|stellte alles ins Regal, wo es bis heute steht).
        """)
        scenes.close_happy(t)
        return "ruined but loved"
    t.say("""
        On the birthday {hero} stayed in bed and pretended to be ill.
            Am Geburtstag blieb {hero} im Bett und stellte sich krank.
        {Hero~} came with empty hands and could not explain it.
            {Hero~} kam mit leeren Händen und konnte es nicht erklären.
    """)
    t.say("""
        {Giver} blew out the candles, and {he} was not there.
            {Giver} blies die Kerzen aus, und {er} war nicht dabei.
        {Giver} would have been glad about a single word.
            {Giver} hätte sich schon über ein einziges Wort gefreut.
    """)
    scenes.close_sad(t)
    return "no present"


PLOT = Plot(
    "gift",
    things.GIFTS,
    tell,
    {
        "given": ("happy", "{Hero} makes {a thing} for {giver}, who loves it."),
        "given away": ("happy", "{Hero} makes {a thing} for {giver}, but gives it to {friend}."),
        "ruined but loved": ("happy", "{Hero} makes {a thing} for {giver}; it is ruined, but {giver} loves it."),
        "no present": ("sad", "{Hero} makes {a thing} for {giver}, but it is ruined."),
    },
    {
        "receiver": "Who had a birthday?",
        "helper": "Who showed {hero} how to make {the thing}?",
        "long": "How long did {hero} work in secret?",
        "needy": "Who needed comfort?",
        "culprit": "Who ruined {the thing}?",
        "place": "Where did {hero} stumble?",
    },
)
