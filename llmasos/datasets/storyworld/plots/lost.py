"""Something dear is lost, looked for where the hero has been, and found by luck, by help, by wit, or never."""

from llmasos.datasets.storyworld import phrases, scenery, scenes, things
from llmasos.datasets.storyworld.people import FAMILY, NEIGHBORS
from llmasos.datasets.storyworld.places import ELSEWHERE, OUTDOORS, SPOTS
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller


def tell(t: Teller) -> str:
    t.plan("giver", FAMILY)
    t.plan("look", phrases.LOOKS)
    t.say("""
        <giver:{Giver}> had given {him} {a look thing}, and {he} took it everywhere.
            {Giver} hatte {ihm} {einen look thing} geschenkt, und {er} nahm {ihn thing} überallhin mit.
        {He} owned {a look thing} that had once belonged to <giver:{giver}>.
            {Er} besaß {einen look thing}, {relativ thing} früher einmal {giver} gehört hatte.
        Nothing was dearer to {him} than {a look thing} from <giver:{giver}>.
            Nichts war {ihm} lieber als {ein look thing} von {giver}.
        {He} always carried {a look thing}, a present from <giver:{giver}>.
            Immer trug {er} {einen look thing} bei sich, ein Geschenk von {giver}.
    """)
    t.put("giver", "home")
    t.put("thing", "hero")
    scenes.plan_day(t, time="morning afternoon")
    scenes.plan_friend(t)
    t.plan("place", OUTDOORS)
    t.say("""
        {Day} {he} played (tag|ball|marbles) {at place} with {his} friend <friend:{friend}>.
            {Day} spielte {er} {in place} mit {seinem friend.friend} {friend} (Fangen|Ball|Murmeln).
        {Day} {he} went {to place} to meet {his} friend <friend:{friend}>.
            {Day} ging {er} {nach place}, um {seinen friend.friend} {friend} zu treffen.
    """)
    t.move("hero", t.roles["place"])
    t.move("friend", t.roles["place"])
    scenery.sky(t)
    scenery.on_the_way(t, 0.3)
    t.plan("place2", ELSEWHERE[t.roles["place"]])
    t.say("""
        Later they played hide-and-seek {at place2} until they were (hungry|tired|out of breath).
            Später spielten sie {in place2} Verstecken, bis sie (hungrig|müde|außer Atem) waren.
        Then they raced each other {to place2} and back.
            Dann liefen sie um die Wette {nach place2} und zurück.
        In the end they sat {at place2} and told each other (stories|jokes|secrets).
            Zum Schluss saßen sie {in place2} und erzählten sich (Geschichten|Witze|Geheimnisse).
        Then they built a (house|tower|boat) of sticks {at place2}.
            Dann bauten sie {in place2} (ein Haus|einen Turm|ein Boot) aus Stöcken.
    """)
    t.set("spot", SPOTS[t.roles["place2"].en])
    t.move("hero", t.roles["place2"])
    t.leave("hero", "thing")  # nobody notices
    t.move("hero", "home")
    t.say("""
        At home {hero} reached for {the thing}, but it was (gone|not there).
            Zu Hause griff {hero} nach {dem thing}, aber {er thing} war (fort|nicht da).
        Only at the front door did {hero} notice that {the thing} was missing.
            Erst an der Haustür merkte {hero}, dass {der thing} fehlte.
    """)
    scenes.trouble(t)
    way = t.branch(alone=2 - t.lean("courage"), together=2 + t.lean("courage"))
    t.move("hero", t.roles["place"])
    t.move("friend", "home" if way == "alone" else t.roles["place"])
    if way == "together":
        t.plan("junk", things.JUNK)
        t.say("""
            {Friend} helped {him} to search {at place}, but all they found was <junk:{junk}>.
                {Friend} half {ihm}, {in place} zu suchen, aber sie fanden nur {junk}.
            The two friends searched {at place} and found <junk:{junk}>, but not {the thing}.
                Sie suchten zu zweit {in place} und fanden {junk}, aber nicht {den thing}.
        """)
    else:
        t.say("""
            First {he} searched {at place}, but there was nothing.
                Zuerst suchte {er} {in place}, aber da war nichts.
            {He} went back {to place} and looked everywhere, but in vain.
                {Er} ging zurück {nach place} und sah überall nach, aber vergeblich.
        """)
    end = t.branch(spot=3 + t.lean("care"), neighbour=3 + t.lean("courage"), crow=3, never=2 - t.lean("patience"))
    return {"spot": _in_its_spot, "neighbour": _neighbour, "crow": _crow, "never": _never}[end](t)


def _in_its_spot(t: Teller) -> str:
    t.move("hero", t.roles["place2"])
    t.take("hero", "thing")
    t.say("""
        Then {he} ran {to place2}, and there, <spot:{spot}>, lay {the thing}.
            Dann lief {er} {nach place2}, und dort, {spot}, lag {der thing}.
        (At last|Finally) {he} looked {at place2} too, and <spot:{spot}> {he} found {the thing}.
            Zuletzt suchte {er} auch {in place2}, und {spot} fand {er} {den thing}.
    """)
    if t.weather in ("rainy", "foggy"):
        t.maybe("""
            It was wet, but it was not broken.
                {Er thing} war nass, aber nicht kaputt.
        """)
    t.say("""
        {Hero~} hugged {the thing} like (an old friend|a baby|a treasure).
            {Hero~} drückte {den thing} an sich wie (einen alten Freund|ein kleines Kind|einen Schatz).
        "There you are at last!" cried {hero}.
            "Da bist du ja endlich!", rief {hero}.
        {Hero~} put it into {his} deepest pocket at once.
            {Hero~} steckte {ihn thing} sofort in {seine} tiefste Tasche.
    """)
    scenes.close_happy(t)
    return "found"


def _neighbour(t: Teller) -> str:
    t.plan("elder", NEIGHBORS)
    t.say("""
        On the way home {he} met <finder:{the elder}>, who was holding something.
            Auf dem Heimweg traf {er} {den elder}, {relativ elder} etwas in der Hand hielt.
        Then <finder:{the elder}> came down the road and waved.
            Da kam {der elder} die Straße herunter und winkte.
    """)
    t.put("elder", t.place("hero"))
    t.where["thing"] = "elder"
    t.say("""
        "I found this {thing} {at place2}," said {the elder}. "Is it yours?"
            "Das habe ich {in place2} gefunden", sagte {der elder} und zeigte {den thing}. "Gehört es dir?"
        "Somebody left this {thing} <spot:{spot}>," said {the elder}.
            "Jemand hat das hier {spot} liegen lassen", sagte {der elder} und hob {den thing} hoch.
    """)
    t.give("elder", "thing", "hero")
    t.say("""
        {Hero~} was so glad that {he} hugged {the elder}.
            {Hero~} war so froh, dass {er} {den elder} umarmte.
        {Hero~} thanked {him elder} (three|ten) times and held {the thing} tight.
            {Hero~} bedankte sich (drei|zehn)mal und hielt {den thing} ganz fest.
    """)
    scenes.close_happy(t)
    return "returned"


def _crow(t: Teller) -> str:
    t.say("""
        Suddenly something croaked: <thief:a crow> sat in a tree with {the thing} in its beak.
            Plötzlich krächzte etwas: Eine Krähe saß auf einem Baum und hatte {den thing} im Schnabel.
        Then {he} saw <thief:a crow> on a branch, and in its beak was {the thing}.
            Da sah {er} eine Krähe auf einem Ast, und in ihrem Schnabel war {der thing}.
    """)
    t.put("crow", t.place("hero"))
    t.where["thing"] = "crow"
    way = t.branch(climb=2 + t.lean("courage"), swap=2 + t.lean("patience"), shout=2 - t.lean("patience"))
    together = t.place("friend") == t.place("hero")
    if way == "climb":
        t.say("""
            {Hero~} climbed up, and the startled bird let {the thing} fall.
                {Hero~} kletterte hinauf, und der erschrockene Vogel ließ {den thing} fallen.
        """)
    elif way == "swap":
        t.say("""
            {Hero~} put a piece of bread on the ground and waited, and the crow was hungry.
                {Hero~} legte ein Stück Brot auf den Boden und wartete, und die Krähe hatte Hunger.
            {Hero~} held up a shiny (button|coin|spoon), and the crow came down to swap.
                {Hero~} hielt (einen glänzenden Knopf|eine glänzende Münze|einen glänzenden Löffel) hoch, und die \
                    Krähe kam herunter, um zu tauschen.
        """)
    else:
        t.say("""
            {Hero~} shouted at the bird, and it flew away over the (hill|forest|roofs) with {the thing}.
                {Hero~} schrie den Vogel an, und er flog mit {dem thing} über (den Hügel|den Wald|die Dächer) davon.
        """)
        t.say(
            """
            (Nobody|No one) ever saw {the thing} again.
                Niemand hat {den thing} je wiedergesehen.
            "Shouting does not help," said {friend} (softly|quietly).
                "Schreien hilft nicht", sagte {friend} leise.
        """
            if together
            else """
            (Nobody|No one) ever saw {the thing} again.
                Niemand hat {den thing} je wiedergesehen.
            Shouting had not helped at all.
                Das Schreien hatte gar nicht geholfen.
        """
        )
        scenes.close_sad(t)
        return "stolen"
    t.leave("crow", "thing")
    t.take("hero", "thing")
    t.say("""
        So {hero~} got {the thing} back.
            So bekam {hero~} {den thing} zurück.
        Quickly {he} put {the thing} into {his} pocket.
            Schnell steckte {er} {den thing} in {seine} Tasche.
    """)
    scenes.close_happy(t)
    return "swapped"


def _never(t: Teller) -> str:
    t.pass_time()
    t.move("hero", "home")
    t.say("""
        For (three|four|five) days {he} searched, but {the thing} never came back.
            (Drei|Vier|Fünf) Tage lang suchte {er}, aber {der thing} kam nie wieder.
        It grew dark, and {he} had to give up the search.
            Es wurde dunkel, und {er} musste die Suche aufgeben.
    """)
    t.meet("hero", "giver")
    t.say("""
        "The {thing} is gone, but I am still here," said {giver} and hugged {him}.
            "{Der thing} ist fort, aber ich bin noch da", sagte {giver} und nahm {ihn} in den Arm.
        {Giver} was not angry, and that made {hero} even sadder.
            {Giver} war nicht böse, und das machte {hero} noch trauriger.
    """)
    scenes.close_sad(t)
    return "never"


PLOT = Plot(
    "lost",
    things.LOST,
    tell,
    {
        "found": ("happy", "{Hero} loses {a thing} and finds it again {at place2}."),
        "returned": ("happy", "{Hero} loses {a thing}, and {the elder} brings it back."),
        "swapped": ("happy", "{Hero} loses {a thing} and gets it back from a crow."),
        "stolen": ("sad", "{Hero} loses {a thing} to a crow and never gets it back."),
        "never": ("sad", "{Hero} loses {a thing} and never finds it again."),
    },
    {
        "giver": "From whom did {hero} have {the thing}?",
        "junk": "What did the friends find instead of {the thing}?",
        "spot": "Where exactly was {the thing}?",
        "finder": "Who had found {the thing}?",
        "thief": "Who had stolen {the thing}?",
    },
)
