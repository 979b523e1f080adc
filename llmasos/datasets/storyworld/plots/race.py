"""A race: practice, a rival, a fall on the way, and a choice between winning and helping."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller


def _prize(en: str, nominative: str, accusative: str) -> Word:
    return Word(en, nominative, {"accusative": Word(en, accusative)})


PRIZES = [
    _prize("a golden cup", "ein goldener Pokal", "einen goldenen Pokal"),
    _prize("a basket of peaches", "ein Korb Pfirsiche", "einen Korb Pfirsiche"),
    _prize("a pair of red boots", "ein Paar rote Stiefel", "ein Paar rote Stiefel"),
    _prize("a ham as big as a cushion", "ein Schinken, groß wie ein Kissen", "einen Schinken, groß wie ein Kissen"),
    _prize("a sack of nuts", "ein Sack Nüsse", "einen Sack Nüsse"),
    _prize("a silver whistle", "eine silberne Pfeife", "eine silberne Pfeife"),
    _prize("a huge cheese", "ein riesiger Käse", "einen riesigen Käse"),
]


def tell(t: Teller) -> str:
    t.plan("prize", PRIZES)
    scenes.plan_friend(t)
    t.say("""
        Every year there was a {thing} race in the valley, and the prize was <prize:{prize}>.
            Jedes Jahr gab es im Tal ein Rennen, bei dem jeder {einen thing} brauchte, und der Preis war {prize}.
        {He} wanted to win the {thing} race, for the prize was <prize:{prize}>.
            {Er} wollte das große Rennen mit {dem thing} gewinnen, denn der Preis war {prize}.
    """)
    t.put("thing", "hero")
    t.plan("long", phrases.LONG)
    t.say("""
        {He} practised <practice:{long}>, even when {his} arms were tired.
            {Er} übte {long}, selbst wenn {ihm} die Arme müde wurden.
        But <rival:{friend}> from next door was the fastest {friend.child} in the valley.
            Aber {friend} von nebenan war {der schnellst friend.child} im Tal.
        "I will be faster than you," laughed <rival:{friend}>, {his} old rival.
            "Ich werde schneller sein als du", lachte {friend}, {sein alt friend.rival}.
    """)
    start = t.roles["thing"].tags["start"]
    t.set("place", PLACES[start])
    scenes.plan_day(t, t.roles["thing"].tags["weather"], "morning afternoon")
    t.say("""
        {Day} all the children met {at place}, and {friend} was there too.
            {Day} trafen sich alle Kinder {in place}, und auch {friend} war dabei.
        {Day} they stood at the start {at place}, {hero} next to {friend}.
            {Day} standen sie {in place} am Start, {hero} neben {friend}.
    """)
    t.move("hero", start)
    t.move("friend", start)
    scenery.sky(t)
    t.say("""
        The teacher waved a (red|white|blue) flag, and off they went.
            Die Lehrerin schwenkte eine (rote|weiße|blaue) Fahne, und los ging es.
        A whistle blew, and (everybody|everyone) cheered.
            Ein Pfiff ertönte, und alle jubelten.
        "Three, two, one, go!" shouted the (miller|baker|smith).
            "Drei, zwei, eins, los!", rief (der Müller|die Bäckerin|der Schmied).
    """)
    event = t.branch(fall=4, own=2 - t.lean("care"), close=2)
    if event == "close":
        t.say("""
            {Hero~} and {friend} were side by side until just before the finish.
                {Hero~} und {friend} lagen bis kurz vor dem Ziel gleichauf.
            First {friend} was ahead, then {hero}, then {friend} again.
                Erst lag {friend} vorn, dann {hero}, dann wieder {friend}.
        """)
        return _finish(t)
    if event == "own":
        t.say(
            """
            {Hero~} looked round to see the others, and that was the moment when {he} fell into a ditch.
                {Hero~} sah sich nach den anderen um, und in diesem Moment fiel {er} in einen Graben.
            Before the last bend {hero} was too fast and landed in a heap of (straw|leaves|hay).
                Vor der letzten Kurve war {hero} zu schnell und landete in einem Haufen (Stroh|Laub|Heu).
            A cat ran across the road, and {hero} swerved into a hedge.
                Eine Katze lief über den Weg, und {hero} wich aus und landete in einer Hecke.
        """
            if t.roles["place"].en != "lake"
            else """
            {Hero~} looked round to see the others, and that was the moment when {he} fell into the water.
                {Hero~} sah sich nach den anderen um, und in diesem Moment fiel {er} ins Wasser.
            A big wave came, and {hero} got stuck on a sandbank.
                Eine große Welle kam, und {hero} blieb auf einer Sandbank stecken.
        """
        )
        if t.branch(up=3 + t.lean("patience"), home=1.5 - t.lean("patience")) == "up":
            t.say(
                """
                {He} came last, wet and dirty, but {he} crossed the line, and (everybody|everyone) clapped.
                    {Er} kam als Letzter ins Ziel, nass und schmutzig, aber {er} kam an, und alle klatschten.
            """
                if t.roles["hero"].gender == "m"
                else """
                {He} came last, wet and dirty, but {he} crossed the line, and (everybody|everyone) clapped.
                    {Er} kam als Letzte ins Ziel, nass und schmutzig, aber {er} kam an, und alle klatschten.
            """
            )
            scenes.close_happy(t)
            return "last but there"
        t.say(
            """
            {He} was so angry that {he} went away and did not even see who won.
                {Er} war so wütend, dass {er} wegging und nicht einmal sah, wer gewann.
            {He} kicked {the thing} and cried with rage.
                {Er} trat gegen {den thing} und weinte vor Wut.
        """
            if t.roles["thing"].en not in ("pony", "donkey")
            else """
            {He} was so angry that {he} went away and did not even see who won.
                {Er} war so wütend, dass {er} wegging und nicht einmal sah, wer gewann.
        """
        )
        scenes.close_sad(t)
        return "gave up"
    return _rival_falls(t)


def _finish(t: Teller) -> str:
    if t.branch(won=2, lost=2) == "won":
        t.say("""
            In the end {hero} won by the tip of a nose and got <won:{prize}>.
                Am Ende gewann {hero} um eine Nasenlänge und bekam {prize.accusative}.
            {Hero~} won, and the first to shake {his} hand was {friend}.
                {Hero~} gewann, und {friend} schüttelte {ihm} als Erstes die Hand.
        """)
        scenes.close_happy(t)
        return "won"
    t.say("""
        In the end {friend} won by the tip of a nose.
            Am Ende gewann {friend} um eine Nasenlänge.
    """)
    if t.branch(glad=2 + t.lean("kindness"), sour=2 - t.lean("kindness")) == "glad":
        t.say("""
            "That was the best race of my life," said {hero} and hugged {friend}.
                "Das war das beste Rennen meines Lebens", sagte {hero} und umarmte {friend}.
            {Hero~} was the first to clap, and {friend} shared the prize with {him}.
                {Hero~} klatschte als Erstes, und {friend} teilte den Preis mit {ihm}.
        """)
        scenes.close_happy(t)
        return "good loser"
    t.say("""
        "You cheated," said {hero}, although it was not true, and {friend} turned away.
            "Du hast geschummelt", sagte {hero}, obwohl es nicht stimmte, und {friend} wandte sich ab.
        {Hero~} did not want to shake hands.
            {Hero~} wollte niemandem die Hand geben.
    """)
    scenes.close_sad(t)
    return "bad loser"


def _rival_falls(t: Teller) -> str:
    t.say(
        """
        {Hero~} and {friend} were ahead of all the others when {friend} fell and could not get up.
            {Hero~} und {friend} lagen vor allen anderen, als {friend} stürzte und nicht mehr aufstehen konnte.
        Just before the finish {friend} hit a stone and fell hard.
            Kurz vor dem Ziel stieß {friend} gegen einen Stein und fiel hart.
        {Hero~} was in front when {he} heard {friend} cry for help.
            {Hero~} lag vorn, als {er} {friend} um Hilfe rufen hörte.
    """
        if t.roles["place"].en != "lake"
        else """
        {Hero~} was in front when a wave threw {friend} into the water.
            {Hero~} lag vorn, als eine Welle {friend} ins Wasser warf.
        {Hero~} was in front when {he} heard {friend} cry for help.
            {Hero~} lag vorn, als {er} {friend} um Hilfe rufen hörte.
    """
    )
    t.meet("hero", "friend")
    if t.branch(help=3 + t.lean("kindness"), on=2 - t.lean("kindness")) == "help":
        t.say("""
            {Hero~} stopped at once and turned back.
                {Hero~} hielt sofort an und kehrte um.
            {Hero~} looked at the finish, then at {friend}, and turned back.
                {Hero~} sah zum Ziel, dann zu {friend}, und kehrte um.
        """)
        t.say("""
            "Hold on to me," said {hero}, and all the others overtook them.
                "Halt dich an mir fest", sagte {hero}, und alle anderen überholten sie.
            While {hero} was helping {friend}, (somebody|someone) else won the race.
                Während {hero} {friend} half, gewann jemand anderes das Rennen.
        """)
        t.say("""
            The winner took the prize and gave half of it to {hero}.
                Das Siegerkind nahm den Preis und gab {hero} die Hälfte davon.
            They came in last, arm in arm, and the people cheered for them the loudest.
                Sie kamen Arm in Arm als Letzte an, und ihnen jubelten die Leute am lautesten zu.
            Since that day {friend} has been {his} best friend.
                Seit diesem Tag ist {friend} {sein best friend.friend}.
        """)
        scenes.close_happy(t)
        return "helped"
    t.say("""
        {Hero~} did not stop and won <won:{prize}>.
            {Hero~} hielt nicht an und gewann {prize.accusative}.
        {Hero~} pretended not to hear and crossed the line first.
            {Hero~} tat so, als hätte {er} nichts gehört, und kam als Erstes ins Ziel.
    """)
    t.say("""
        But nobody clapped, and the prize felt (cold|heavy) in {his} hands.
            Aber niemand klatschte, und der Preis fühlte sich in {seinen} Händen (kalt|schwer) an.
        (Nobody|No one) wanted to celebrate with {him}.
            Niemand wollte mit {ihm} feiern.
    """)
    scenes.close_sad(t)
    return "won alone"


PLOT = Plot(
    "race",
    things.RACERS,
    tell,
    {
        "won": ("happy", "{Hero} wins the {thing} race against {friend}."),
        "good loser": ("happy", "{Hero} loses the {thing} race and is glad for {friend}."),
        "bad loser": ("sad", "{Hero} loses the {thing} race and quarrels with {friend}."),
        "helped": ("happy", "{Hero} gives up the {thing} race to help {friend}."),
        "won alone": ("sad", "{Hero} wins the {thing} race, but does not help {friend}."),
        "last but there": ("happy", "{Hero} falls in the {thing} race, but reaches the finish."),
        "gave up": ("sad", "{Hero} falls in the {thing} race and gives up."),
    },
    {
        "prize": "What was the prize of the race?",
        "practice": "How long did {hero} practise?",
        "rival": "Who was {hero's} rival?",
        "won": "What did {hero} win?",
    },
)
