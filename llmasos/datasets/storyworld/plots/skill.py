"""The hero wants to learn something hard; practice, setbacks and patience decide how it ends."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.people import FAMILY
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller


def tell(t: Teller) -> str:
    t.plan("giver", FAMILY)
    t.plan("look", phrases.LOOKS)
    t.begins("{He} wanted nothing", "In the", "{Giver} had")
    rides = t.resolve("thing").tags["how"] == "ride"
    t.say(
        """
        {He} wanted nothing more than to learn to ride {a thing}.
            {Er} wünschte sich nichts mehr, als auf {einem thing} fahren zu lernen.
        In the shed {he} found {a look thing}, and {he} wanted to learn to ride it.
            Im Schuppen fand {er} {einen look thing}, und {er} wollte lernen, damit zu fahren.
        <giver:{Giver}> had given {him} {a thing}, but {he} could not ride yet.
            {Giver} hatte {ihm} {einen thing} geschenkt, aber {er} konnte noch nicht fahren.
    """
        if rides
        else """
        {He} wanted nothing more than to play {the thing}.
            {Er} wünschte sich nichts mehr, als {einen thing} spielen zu können.
        In the attic {he} found {a look thing}, and {he} wanted to learn to play it.
            Auf dem Dachboden fand {er} {einen look thing}, und {er} wollte lernen, darauf zu spielen.
        <giver:{Giver}> had given {him} {a thing}, but {he} could not play a single note.
            {Giver} hatte {ihm} {einen thing} geschenkt, aber {er} konnte keinen einzigen Ton spielen.
    """
    )
    t.put("thing", "hero")
    t.put("giver", "home")
    scenes.plan_day(t, "sunny warm windy foggy cold", "morning afternoon")
    t.plan("place", [PLACES[key] for key in (("meadow", "hill") if rides else ("meadow", "hill", "barn", "mill"))])
    t.say("""
        {Day} {he} tried it for the first time <where:{at place}>.
            {Day} versuchte {er} es zum ersten Mal {in place}.
        {Day} {he} took {the thing} {to place}, where (nobody|no one) could watch.
            {Day} nahm {er} {den thing} mit {nach place}, wo niemand zusehen konnte.
        {Day} {he} (began|started) to practise <where:{at place}>.
            {Day} fing {er} an, {in place} zu üben.
    """)
    t.move("hero", t.roles["place"])
    scenery.sky(t, 0.3)
    scenery.on_the_way(t, 0.3)
    t.say(
        """
        {He} fell into the (nettles|mud|grass), and it hurt.
            {Er} fiel in (die Brennnesseln|den Schlamm|das Gras), und das tat weh.
        After (three|five) metres {he} lay on the ground.
            Nach (drei|fünf) Metern lag {er} am Boden.
        {He} wobbled to the left, then to the right, and then {he} sat in a puddle.
            {Er} schwankte nach links, dann nach rechts, und dann saß {er} in einer Pfütze.
        {He} got as far as the first tree and hit it.
            {Er} kam bis zum ersten Baum und prallte dagegen.
    """
        if rides
        else """
        {The thing} sounded like a (cat|cow|wolf) with a toothache.
            {Der thing} klang wie (eine Katze|eine Kuh|ein Wolf) mit Zahnweh.
        The first note was so terrible that the (hens|geese|cats) ran away.
            Der erste Ton war so schrecklich, dass die (Hühner|Gänse|Katzen) davonliefen.
        {The thing} squeaked like a rusty (door|gate|wheel).
            {Der thing} quietschte wie (eine rostige Tür|ein rostiges Tor|ein rostiges Rad).
        All the dogs in the village (began|started) to howl.
            Alle Hunde im Dorf fingen an zu heulen.
    """
    )
    scenes.plan_friend(t)
    seen = t.branch(laughed=2, helped=2, nobody=1)
    if seen != "nobody":
        t.move("friend", t.roles["place"])
        t.meet("hero", "friend")
    if seen == "laughed":
        t.say("""
            <laughed:{Friend}> from next door had seen everything and laughed out loud.
                {Friend} von nebenan hatte alles gesehen und lachte laut.
            "You will never learn that," called <laughed:{friend}> from next door.
                "Das lernst du nie", rief {friend} von nebenan.
        """)
    elif seen == "helped":
        t.say("""
            "(Nobody|No one) can do it on the first day," said <friend:{friend}>, {his} friend.
                "Am ersten Tag kann das niemand", sagte {friend}, {sein friend.friend}.
            But <friend:{friend}>, {his} friend, clapped. "That was a start," said {friend}.
                Aber {friend}, {sein friend.friend}, klatschte. "Das war ein Anfang", sagte {friend}.
        """)
    patience = t.lean("patience")
    if t.branch(on=4 + patience, stop=1.2 - patience) == "stop":
        t.say("""
            {Hero~} threw {the thing} down and did not touch it again.
                {Hero~} warf {den thing} hin und rührte {ihn thing} nicht mehr an.
            That same day {he} swapped {the thing} for a bag of (sweets|nuts|marbles).
                Noch am selben Tag tauschte {er} {den thing} gegen eine Tüte (Bonbons|Nüsse|Murmeln).
        """)
        t.say("""
            In summer, when the others went by, {he} looked the other way.
                Im Sommer, als die anderen vorbeikamen, sah {er} weg.
            Much later {he} wished that {he} had tried once more.
                Viel später wünschte {er} sich, {er} hätte es noch einmal versucht.
        """)
        t.move("hero", "home")
        scenes.close_sad(t)
        return "gave up"
    return _practice(t, rides)


def _practice(t: Teller, rides: bool) -> str:
    t.plan("long", phrases.LONG)
    t.say("""
        {Hero~} gritted {his} teeth and practised <long:{long}>.
            {Hero~} biss die Zähne zusammen und übte {long}.
        "Once more," said {hero}, and {he} practised <long:{long}>.
            "Noch einmal", sagte {hero} und übte {long}.
        {Hero~} came back every day and practised <long:{long}>.
            {Hero~} kam jeden Tag wieder und übte {long}.
    """)
    t.maybe(
        """
        "Look ahead, not at your feet," {giver} advised {him}.
            "Sieh nach vorn, nicht auf deine Füße", riet {giver} {ihm}.
        "Slowly is also a way to get there," {giver} used to say.
            "Langsam kommt man auch ans Ziel", sagte {giver} immer.
        In the evening {giver} put plasters on {his} knees.
            Am Abend klebte {giver} {ihm} Pflaster auf die Knie.
    """
        if rides
        else """
        "Play as if you were telling a story," {giver} advised {him}.
            "Spiel so, als ob du eine Geschichte erzählst", riet {giver} {ihm}.
        "Slowly is also a way to get there," {giver} used to say.
            "Langsam kommt man auch ans Ziel", sagte {giver} immer.
        {Giver} put cotton wool into both ears and smiled.
            {Giver} stopfte sich Watte in die Ohren und lächelte.
    """,
        0.6,
    )
    t.pass_time()
    t.plan("soon", phrases.SOON[1:6])
    t.say(
        """
        And <success:{soon}> {he} rode all the way to the (mill|lake|bridge) without falling.
            Und {soon} fuhr {er} bis (zur Mühle|zum See|zur Brücke), ohne hinzufallen.
        And <success:{soon}> the wheels turned as if by magic.
            Und {soon} drehten sich die Räder wie von selbst.
        Then, <success:{soon}>, it suddenly felt like (flying|dancing).
            Dann, {soon}, fühlte es sich plötzlich an wie (Fliegen|Tanzen).
    """
        if rides
        else """
        And <success:{soon}> a real song came out of {the thing}.
            Und {soon} kam ein richtiges Lied aus {dem thing}.
        Then, <success:{soon}>, even the birds stopped to listen.
            Dann, {soon}, hörten sogar die Vögel zu.
        And <success:{soon}> {he} could play a whole song by heart.
            Und {soon} konnte {er} ein ganzes Lied auswendig spielen.
    """
    )
    t.say(
        """
        At the summer fair everybody clapped, and (nobody|no one) laughed.
            Beim Sommerfest klatschten alle, und niemand lachte.
        When {giver} saw that, {he giver} had to wipe {his giver} eyes.
            Als {giver} das sah, musste {er giver} sich die Augen wischen.
        "Will you teach me?" asked {friend}, and {hero} nodded.
            "Bringst du es mir bei?", fragte {friend}, und {hero} nickte.
    """
        if "friend" in t.roles
        else """
        At the summer fair everybody clapped, and (nobody|no one) laughed.
            Beim Sommerfest klatschten alle, und niemand lachte.
        When {giver} saw that, {he giver} had to wipe {his giver} eyes.
            Als {giver} das sah, musste {er giver} sich die Augen wischen.
        (Soon|Before long) all the other children wanted to learn it too.
            Bald wollten es auch alle anderen Kinder lernen.
    """
    )
    scenes.close_happy(t)
    return "learned"


PLOT = Plot(
    "skill",
    things.SKILLS,
    tell,
    {
        "learned": ("happy", "{Hero} learns to master {a thing} by practising."),
        "gave up": ("sad", "{Hero} wants to master {a thing}, but gives up."),
    },
    {
        "giver": "Who had given {hero} {the thing}?",
        "where": "Where did {hero} practise?",
        "laughed": "Who laughed at {hero}?",
        "long": "How long did {hero} practise?",
        "success": "When did {hero} succeed?",
    },
)
