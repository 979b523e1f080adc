"""The hero finds a hidden place and tells one friend, who can keep a secret, or cannot."""

from llmasos.datasets.storyworld import phrases, scenes, things
from llmasos.datasets.storyworld.places import PLACES
from llmasos.datasets.storyworld.plots.plot import Plot
from llmasos.datasets.storyworld.teller import Teller


def tell(t: Teller) -> str:
    scenes.plan_day(t, "sunny warm foggy rainy", "morning afternoon")
    t.begins("{Day} {he}")
    t.plan("place", [PLACES[key] for key in t.resolve("thing").tags["places"].split()])
    t.say(
        """
        {Day} {he} was following a (butterfly|dragonfly|deer) when {he} discovered {a thing} <where:{at place}>.
            {Day} folgte {er} (einem Schmetterling|einer Libelle|einem Reh) und entdeckte {in place} {einen thing}.
        {Day} {he} lost {his} way <where:{at place}> and found {a thing} that (nobody|no one) knew.
            {Day} verlief {er} sich {in place} und fand {einen thing}, {den- thing} niemand kannte.
        {Day} {he} crept through a hedge <where:{at place}>, and behind it was {a thing}.
            {Day} kroch {er} {in place} durch eine Hecke, und dahinter war {ein thing}.
    """
        if t.resolve("day").tags["weather"] in ("sunny", "warm")
        else """
        {Day} {he} lost {his} way <where:{at place}> and found {a thing} that (nobody|no one) knew.
            {Day} verlief {er} sich {in place} und fand {einen thing}, {den- thing} niemand kannte.
        {Day} {he} looked for shelter <where:{at place}> and discovered {a thing}.
            {Day} suchte {er} {in place} einen Unterschlupf und entdeckte {einen thing}.
    """
    )
    t.put("thing", t.roles["place"].en)
    t.move("hero", t.roles["place"])
    t.say("""
        {His} heart beat faster, because it was the most beautiful thing {he} had ever seen.
            {Sein} Herz schlug schneller, denn etwas so Schönes hatte {er} noch nie gesehen.
        {He} sat there without moving until {his} feet were numb.
            {Er} saß da, ohne sich zu rühren, bis {ihm} die Füße einschliefen.
        "This is my secret," {he} whispered.
            "Das ist mein Geheimnis", flüsterte {er}.
        Every day after that {he} came back and did not tell a soul.
            Von da an kam {er} jeden Tag wieder und sagte keiner Menschenseele etwas.
    """)
    t.pass_time()
    scenes.plan_friend(t)
    t.plan("soon", phrases.SOON)
    t.move("hero", "home")
    t.say("""
        But a secret is heavy, and <when:{soon}> {he} told <friend:{friend}>.
            Aber ein Geheimnis ist schwer, und {soon} erzählte {er} {friend} davon.
        Only <friend:{friend}> was allowed to know, and <when:{soon}> {hero} told {him friend} everything.
            Nur {friend} durfte es wissen, und {soon} erzählte {hero} {ihm friend} alles.
    """)
    t.say("""
        "I will be as silent as a (fish|stone|grave)," promised {friend}.
            "Ich werde schweigen wie ein (Fisch|Stein|Grab)", versprach {friend}.
        {Friend} put a hand on {his friend} heart and swore to say nothing.
            {Friend} legte eine Hand auf {seine of friend} Brust und schwor, nichts zu sagen.
        "You can trust me," said {friend}.
            "Du kannst dich auf mich verlassen", sagte {friend}.
    """)
    if t.branch(kept=3, told=3) == "kept":
        return _kept(t)
    return _told(t)


def _kept(t: Teller) -> str:
    t.move("hero", t.roles["place"])
    t.move("friend", t.roles["place"])
    t.plan("snack", phrases.SNACKS)
    t.say("""
        From then on they went there together and shared <snack:{snack}>.
            Von nun an gingen sie zusammen hin und teilten sich {snack}.
        The next day they sat there side by side and shared <snack:{snack}>.
            Am nächsten Tag saßen sie dort nebeneinander und teilten sich {snack}.
    """)
    t.maybe(
        """
        The others asked where they were going, but {friend} only smiled.
            Die anderen fragten, wohin sie gingen, aber {friend} lächelte nur.
        Once a big boy offered {friend} (ten marbles|five coins|a whole cake) for the secret, but {he friend} shook \
            {his friend} head.
            Einmal bot ein großer Junge {friend} (zehn Murmeln|fünf Münzen|einen ganzen Kuchen) für das Geheimnis, \
                aber {er friend} schüttelte den Kopf.
    """,
        0.6,
    )
    t.say("""
        Many years later {the thing} is still there, and only two people know the way.
            Viele Jahre später ist {der thing} immer noch da, und nur zwei Menschen kennen den Weg.
        {Hero~} had lost half of {his} secret and won a whole friend.
            {Hero~} hatte ein halbes Geheimnis verloren und {einen ganz friend.friend} gewonnen.
        They never told anybody, and so {the thing} stayed as it was.
            Sie verrieten es niemandem, und so blieb {der thing}, wie {er thing} war.
    """)
    scenes.close_happy(t)
    return "kept"


def _told(t: Teller) -> str:
    t.say("""
        But {friend} told {his friend} (brother|uncle), and he told the whole school.
            Aber {friend} erzählte es {seinem of friend} (Bruder|Onkel), und der erzählte es der ganzen Schule.
        But {friend} talked in {his friend} sleep, and soon (everybody|everyone) knew.
            Aber {friend} redete im Schlaf, und bald wussten es alle.
        But {friend} could not keep it in for a single day.
            Aber {friend} konnte es keinen einzigen Tag für sich behalten.
    """)
    t.say("""
        A crowd came to see {the thing}, and they trampled the moss and left paper lying about.
            Eine ganze Schar kam, um {den thing} zu sehen, und sie zertrampelten das Moos und ließen Papier liegen.
        Soon there were so many noisy people that every (bird|butterfly) flew away.
            Bald waren dort so viele laute Leute, dass alle (Vögel|Schmetterlinge) davonflogen.
    """)
    t.move("hero", t.roles["place"])
    t.say("""
        When {hero} saw that, {he} had to cry.
            Als {hero} das sah, musste {er} weinen.
        {Hero} stood there with (clenched|trembling) fists.
            {Hero} stand mit (geballten|zitternden) Fäusten da.
        "Now it is all ruined," thought {hero}.
            "Jetzt ist alles verdorben", dachte {hero}.
        {Hero} turned round and ran away.
            {Hero} drehte sich um und lief weg.
    """)
    end = t.branch(mend=3 + t.lean("kindness"), end=2 - t.lean("kindness"))
    if end == "end":
        t.say("""
            "I will never tell you anything again," said {hero}, and {he} kept {his} word.
                "Ich erzähle dir nie wieder etwas", sagte {hero} und hielt Wort.
            After that {hero} walked past {friend's} house without looking up.
                Danach ging {hero} an {friend's} Haus vorbei, ohne aufzusehen.
        """)
        scenes.close_sad(t)
        return "betrayed"
    t.say("""
        {Friend} came with red eyes. "I am sorry," {he friend} said.
            {Friend} kam mit roten Augen. "Es tut mir leid", sagte {er friend}.
        "I will put it right," said {friend} with tears in {his friend} eyes.
            "Ich bringe das wieder in Ordnung", sagte {friend} mit Tränen in den Augen.
        "It was my fault," said {friend}, and {he friend} meant it.
            "Es war meine Schuld", sagte {friend}, und {er friend} meinte es ernst.
    """)
    t.say("""
        Together they cleared everything up and put up a sign: "(Quiet|Slowly), please!"
            Zusammen räumten sie alles auf und stellten ein Schild auf: "Bitte (leise|langsam)!"
        Together they built a fence of branches, and in spring everything was green again.
            Zusammen bauten sie einen Zaun aus Ästen, und im Frühling war alles wieder grün.
    """)
    scenes.close_happy(t)
    return "put right"


PLOT = Plot(
    "secret",
    things.SECRETS,
    tell,
    {
        "kept": ("happy", "{Hero} finds {a thing}, and {friend} keeps the secret."),
        "betrayed": ("sad", "{Hero} finds {a thing}, and {friend} gives the secret away."),
        "put right": ("happy", "{Hero} finds {a thing}; {friend} gives the secret away and puts it right."),
    },
    {
        "where": "Where was {the thing}?",
        "when": "When did {hero} tell {friend} the secret?",
        "snack": "What did the two friends share?",
    },
)
