"""A meal is cooked for somebody; an ingredient is missing; neighbors help and are invited; or the meal burns."""

from llmasos.datasets.storyworld import scenery, scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import CAT, DOG, FAMILY, GOAT, NEIGHBORS
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller

REASONS = [  # German with the verb at the end
    Word("was ill in bed", "krank im Bett lag"),
    Word("had a birthday", "Geburtstag hatte"),
    Word("had worked in the fields since dawn", "seit dem Morgengrauen auf dem Feld gearbeitet hatte"),
    Word("had come back from a long journey", "von einer langen Reise zurückgekommen war"),
    Word("had been sad for days", "seit Tagen traurig war"),
]


def _brought(en: str, accusative: str, dative: str) -> Word:
    return Word(en, accusative, {"dative": Word(en, dative)})


BROUGHT = [
    _brought("a basket of cherries", "einen Korb Kirschen", "einem Korb Kirschen"),
    _brought("a jug of apple juice", "einen Krug Apfelsaft", "einem Krug Apfelsaft"),
    _brought("a round cheese", "einen runden Käse", "einem runden Käse"),
    _brought("a jar of honey", "ein Glas Honig", "einem Glas Honig"),
    _brought("an old fiddle", "eine alte Fiedel", "einer alten Fiedel"),
    _brought("a bunch of flowers", "einen Blumenstrauß", "einem Blumenstrauß"),
    _brought("a pot of jam", "einen Topf Marmelade", "einem Topf Marmelade"),
]


def tell(t: Teller) -> str:
    scenes.plan_day(t)
    t.plan("giver", FAMILY)
    t.plan("reason", REASONS)
    t.say("""
        {Day} {he} decided to make {a thing} for <guest:{giver}>, who <reason:{reason}>.
            {Day} beschloss {er}, {einen thing} für {giver} zu machen, {relativ giver} {reason}.
        {Day} {he} wanted to surprise <guest:{giver}>, who <reason:{reason}>, with {a thing}.
            {Day} wollte {er} {giver}, {relativ giver} {reason}, mit {einem thing} überraschen.
    """)
    t.put("giver", "home")
    scenery.sky(t, 0.3)
    t.plan("missing", [things.FOODSTUFF[key] for key in t.roles["thing"].tags["missing"]])
    t.say("""
        The fire was already burning when {he} saw that there was no <missing:{missing}> left.
            Das Feuer brannte schon, als {er} merkte, dass {missing.none} mehr da war.
        {He} looked into every cupboard, but there was no <missing:{missing}> in the house.
            {Er} sah in jeden Schrank, aber im Haus war {missing.none}.
        "Oh no," said {hero}, "we have run out of <missing:{missing}>!"
            "O nein", sagte {hero}, "wir haben {missing.none} mehr!"
    """)
    t.plan("elder", NEIGHBORS)
    t.say("""
        So {he} ran across the street and knocked on the door of <helper:{the elder}>.
            Also lief {er} über die Straße und klopfte bei {dem elder} an die Tür.
        So {he} went to ask <helper:{the elder}>.
            Also ging {er} {zum elder}, um zu fragen.
        "<helper:{The elder}> must have some," thought {hero} and set off.
            "{Der elder} hat bestimmt etwas davon", dachte {hero} und ging los.
    """)
    scenery.on_the_way(t, 0.3)
    t.put("elder", t.place("hero"))
    answer = t.branch(gift=3, guest=3, no=1 - t.lean("courage") / 2)
    if answer == "gift":
        t.say("""
            "Take as much as you need," said {the elder}.
                "Nimm, so viel du brauchst", sagte {der elder}.
            {The elder} gave {him} more than enough and would not take a coin for it.
                {Der elder} gab {ihm} mehr als genug und wollte keine Münze dafür.
        """)
    elif answer == "guest":
        t.say("""
            "You may have some of mine," said {the elder}, "if I may eat with you."
                "Du kannst etwas von mir haben", sagte {der elder}, "wenn ich mitessen darf."
            {The elder} had plenty, but (nobody|no one) to eat with. "Then come to us!" said {hero}.
                {Der elder} hatte genug davon, aber niemanden zum Mitessen. "Dann komm zu uns!", sagte {hero}.
        """)
    else:
        t.say("""
            But {the elder} had none either, so {he} cooked without it.
                Aber auch {der elder} hatte nichts davon, also kochte {er} ohne.
            "I need mine myself," grumbled {the elder}, and {hero} had to cook without it.
                "Ich brauche alles selbst", brummte {der elder}, und {hero} musste ohne kochen.
        """)
    return _at_the_stove(t, answer)


def _at_the_stove(t: Teller, answer: str) -> str:
    end = t.branch(good=5 + t.lean("care"), burnt=1 - t.lean("care") / 2, eaten=1)
    if end == "burnt":
        t.say("""
            {Hero~} stirred and looked out of the window, and then everything smelled of smoke.
                {Hero~} rührte und sah aus dem Fenster, und auf einmal roch alles nach Rauch.
            While {hero} was setting the table, black smoke came out of the kitchen.
                Während {hero} den Tisch deckte, kam schwarzer Rauch aus der Küche.
        """)
        t.say("""
            {The thing} was as black as (coal|night|a boot), and not even the hens wanted it.
                {Der thing} war schwarz wie (Kohle|die Nacht|ein Stiefel), und nicht einmal die Hühner wollten \
                    {ihn thing} haben.
        """)
    elif end == "eaten":
        t.plan("thief", [DOG, CAT, GOAT])
        t.say("""
            {Hero~} only turned round for a moment, but <thief:{the thief}> was quicker, and {the thing} was gone.
                {Hero~} drehte sich nur kurz um, aber {der thief} war schneller, und {der thing} war weg.
            When {hero} came back with the plates, <thief:{the thief}> was licking its mouth.
                Als {hero} mit den Tellern zurückkam, leckte sich {der thief} das Maul.
        """)
    if end != "good":
        if t.branch(laugh=3 + t.lean("courage"), cry=2) == "cry":
            t.say("""
                There was nothing but dry bread for supper that day.
                    An diesem Tag gab es nur trockenes Brot zum Abendessen.
                "I only wanted to make you happy," {hero} wept.
                    "Ich wollte dir doch nur eine Freude machen", weinte {hero}.
            """)
            scenes.close_sad(t)
            return "spoiled"
        t.say("""
            {Giver} laughed until {his giver} eyes were wet, and then they all ate bread and (jam|butter|honey).
                {Giver} lachte Tränen, und dann aßen alle Brot mit (Marmelade|Butter|Honig).
            "Never mind," said {giver}, "bread and cheese taste best with you."
                "Macht nichts", sagte {giver}, "mit dir schmecken Brot und Käse am besten."
        """)
        scenes.close_happy(t)
        return "laughed off"
    if answer == "no":
        t.say("""
            It tasted a little strange, but {giver} ate (two|three) helpings.
                Es schmeckte ein wenig seltsam, aber {giver} aß (zwei|drei) Portionen.
        """)
    else:
        t.say("""
            Soon the whole house smelled (wonderful|of Sunday|of summer).
                Bald duftete das ganze Haus (herrlich|nach Sonntag|nach Sommer).
            {Hero~} stirred, tasted and (hummed|whistled) a song.
                {Hero~} rührte, kostete und (summte|pfiff) ein Lied.
            When it was ready, {hero} carried {the thing} to the table with both hands.
                Als alles fertig war, trug {hero} {den thing} mit beiden Händen zum Tisch.
        """)
    if t.branch(more=2 + t.lean("kindness"), few=2) == "more":
        t.plan("elder2", [other for other in NEIGHBORS if other is not t.roles["elder"]])
        t.plan("brought", BROUGHT)
        t.say("""
            The smell brought {the elder2} to the door, and {he elder2} had brought <brought:{brought}>.
                Der Duft lockte {den elder2} an die Tür, und {er elder2} hatte {brought} mitgebracht.
            Then {the elder2} looked in with <brought:{brought}>, and (nobody|no one) was sent away.
                Da schaute {der elder2} mit {brought.dative} herein, und niemand wurde fortgeschickt.
        """)
    t.say("""
        They ate and told stories until the candle had burnt down.
            Sie aßen und erzählten Geschichten, bis die Kerze heruntergebrannt war.
        "This is the best {thing} in the whole valley," said {giver}.
            "Besser schmeckt es im ganzen Tal nirgends", sagte {giver} und lobte {den thing}.
        There was just enough for (everybody|everyone), and not a crumb was left.
            Es reichte genau für alle, und kein Krümel blieb übrig.
    """)
    scenes.close_happy(t)
    return "shared"


PLOT = Plot(
    "meal",
    things.DISHES,
    tell,
    {
        "shared": ("happy", "{Hero} makes {a thing} for {giver}, and everybody enjoys it."),
        "laughed off": ("happy", "{Hero} makes {a thing} for {giver}; it is ruined, and they laugh about it."),
        "spoiled": ("sad", "{Hero} makes {a thing} for {giver}, but it is ruined."),
    },
    {
        "guest": "For whom did {hero} want to cook?",
        "reason": "What had happened to {giver}?",
        "missing": "What was missing in the kitchen?",
        "helper": "Which neighbour did {hero} ask?",
        "thief": "Who ate {the thing}?",
        "brought": "What did {the elder2} bring?",
    },
)
