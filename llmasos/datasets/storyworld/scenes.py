"""Scenes for every plot: the opening, the hero's reaction to trouble, and the close."""

from __future__ import annotations

from functools import cache

from llmasos.datasets.storyworld.entities import Word
from llmasos.datasets.storyworld.people import TRAITS
from llmasos.datasets.storyworld.places import DAYS, HOMES, TIMES, WEATHER
from llmasos.datasets.storyworld.teller import Teller

QUESTIONS = {
    "home": "Where did {hero} live?",
    "trait": "What was {hero} like?",
    "friend": "Who was {hero's} friend?",
}


def opening(t: Teller) -> None:
    """Introduce the hero: name, character and perhaps home."""
    t.plan("hero", t.world.children)
    if t.world.bias:
        t.plan("trait", TRAITS, given="hero", weights=t.world.trait_weights)
    else:
        t.plan("trait", TRAITS)
    t.plan("home", HOMES)
    t.say("""
        {Hero~} was <trait:{a trait hero.child}> who lived <home:{home}>.
            {Hero~} war {ein trait hero.child}, {relativ hero.child} {home} wohnte.
        {Hero~} lived <home:{home}> and was <trait:{a trait hero.child}>.
            {Hero~} wohnte {home} und war {ein trait hero.child}.
        {Home} there lived <trait:{a trait hero.child}> named {hero}.
            {Home} wohnte {ein trait hero.child} namens {hero}.
        Everyone in the valley knew {hero}, {the trait hero.child} who lived <home:{home}>.
            Jeder im Tal kannte {hero}, {den trait hero.child}, {relativ hero.child} {home} wohnte.
        Once there was <trait:{a trait hero.child}> called {hero}, who lived <home:{home}>.
            Es war einmal {ein trait hero.child} namens {hero}, {relativ hero.child} {home} wohnte.
        {Hero} was small and <trait:{trait}> and lived <home:{home}>.
            {Hero} war klein und {trait} und wohnte {home}.
        This is the story of {hero}, <trait:{a trait hero.child}> from the valley.
            Dies ist die Geschichte von {hero}, {einem trait hero.child} aus dem Tal.
    """)


def plan_day(t: Teller, weather: str = " ".join(WEATHER), time: str = " ".join(TIMES)) -> None:
    """Let `{day}` be drawn from these types of weather and times of day."""
    t.plan("day", _days(weather, time))


@cache
def _days(weather: str, time: str) -> list[Word]:
    return [DAYS[w, hour] for w in weather.split() for hour in time.split()]


def plan_friend(t: Teller) -> None:
    """Let `{friend}` be any child except the hero."""
    t.plan("friend", t.world.others[t.resolve("hero")])
    t.put("friend", "home")


TROUBLE = {
    "brave": """
        {Hero~} swallowed hard, but {he} did not cry.
            {Hero~} schluckte schwer, aber {er} weinte nicht.
        "I am not giving up," said {hero}.
            "Ich gebe nicht auf", sagte {hero}.
    """,
    "shy": """
        {Hero~} was too shy to tell anybody about it.
            {Hero~} war zu schüchtern, um jemandem davon zu erzählen.
        {Hero~} wished {he} were invisible.
            {Hero~} wünschte sich, unsichtbar zu sein.
    """,
    "patient": """
        {Hero~} took a deep breath and thought for a while.
            {Hero~} holte tief Luft und dachte eine Weile nach.
        "One thing after the other," said {hero}.
            "Eins nach dem anderen", sagte {hero}.
    """,
    "impatient": """
        {Hero~} stamped {his} foot with anger.
            {Hero~} stampfte vor Wut mit dem Fuß auf.
        "Why does it always have to be me?" cried {hero}.
            "Warum muss das immer mir passieren?", rief {hero}.
    """,
    "careful": """
        "I am always so careful!" said {hero} sadly.
            "Ich passe doch immer so gut auf!", sagte {hero} traurig.
        {Hero~} had thought of everything, but not of that.
            {Hero~} hatte an alles gedacht, aber daran nicht.
    """,
    "dreamy": """
        "I must have been dreaming again," sighed {hero}.
            "Ich habe wohl wieder geträumt", seufzte {hero}.
        {Hero~} rubbed {his} eyes, but it was no dream.
            {Hero~} rieb sich die Augen, aber es war kein Traum.
    """,
    "kind": """
        {Hero~} was not angry with anybody, only very sad.
            {Hero~} war auf niemanden böse, nur sehr traurig.
        "(Nobody|No one) meant any harm," said {hero}.
            "Das hat niemand böse gemeint", sagte {hero}.
    """,
    "proud": """
        {Hero~} turned away so that (nobody|no one) could see {his} tears.
            {Hero~} drehte sich weg, damit niemand {seine} Tränen sehen konnte.
        "I do not care at all," said {hero}, but that was not true.
            "Das ist mir ganz egal", sagte {hero}, aber das stimmte nicht.
    """,
    "curious": """
        "How could that happen?" {hero} wondered.
            "Wie konnte das nur passieren?", fragte sich {hero}.
        {Hero~} wanted to know exactly how it had come about.
            {Hero~} wollte genau wissen, wie es dazu gekommen war.
    """,
    "cheerful": """
        For once {hero~} did not feel like singing.
            Ausnahmsweise wollte {hero~} nicht singen.
        {Hero~} tried to laugh about it, but it sounded wrong.
            {Hero~} versuchte, darüber zu lachen, aber es klang falsch.
    """,
}


def trouble(t: Teller, probability: float = 0.6) -> None:
    """Perhaps show the hero's reaction to a misfortune; it depends on the trait."""
    t.maybe(TROUBLE[t.roles["trait"].en], probability)


HAPPY = """
    The valley had seldom seen a happier {hero.child}.
        Selten hatte das Tal {einen glücklicher hero.child} gesehen.
    {Hero~} could not have wished for more.
        Mehr hätte {hero~} sich nicht wünschen können.
    {Hero~} felt as light as a feather.
        {Hero~} fühlte sich leicht wie eine Feder.
    It still makes {him} smile today.
        Noch heute muss {er} darüber lächeln.
    And that was just as it should be.
        Und genau so sollte es sein.
"""
HAPPY_DAY = """
    That night {hero~} fell asleep with a smile.
        In dieser Nacht schlief {hero~} mit einem Lächeln ein.
    It had been a good day after all.
        Am Ende war es doch ein guter Tag gewesen.
    In the evening there was cake for everyone.
        Am Abend gab es Kuchen für alle.
    And nobody wanted to go to bed that evening.
        Und an diesem Abend wollte niemand ins Bett.
    In the evening the whole valley knew about it.
        Am Abend wusste das ganze Tal davon.
"""
HAPPY_AWAY = """
    {Hero~} sang all the way home.
        Auf dem ganzen Heimweg sang {hero~}.
    {Hero~} skipped home over every puddle.
        {Hero~} hüpfte über alle Pfützen nach Hause.
"""
HAPPY_LATER = """
    And the story is still told in the valley.
        Und im Tal erzählt man sich die Geschichte noch heute.
    {Hero~} never forgot that time.
        {Hero~} hat diese Zeit nie vergessen.
"""
CHANGED = {
    "shy": """
        From that day on {hero~} was a little less shy.
            Von diesem Tag an war {hero~} ein wenig weniger schüchtern.
    """,
    "impatient": """
        And {hero~} had learned that some things take time.
            Und {hero~} hatte gelernt, dass manche Dinge Zeit brauchen.
    """,
    "proud": """
        And {hero~} was not too proud to say thank you.
            Und {hero~} war nicht zu stolz, um danke zu sagen.
    """,
    "brave": """
        But {hero~} is still afraid of spiders.
            Nur vor Spinnen hat {hero~} immer noch Angst.
    """,
    "patient": """
        "All in good time," said {hero}.
            "Alles zu seiner Zeit", sagte {hero}.
    """,
    "careful": """
        And {hero~} wrote it all down very carefully.
            Und {hero~} schrieb alles ganz sorgfältig auf.
    """,
    "dreamy": """
        And {hero~} dreamed about it for a long time.
            Und {hero~} träumte noch lange davon.
    """,
    "kind": """
        And {hero~} wanted to hug the whole world.
            Und {hero~} wollte die ganze Welt umarmen.
    """,
    "curious": """
        And the next day {hero~} was already full of new questions.
            Und am nächsten Tag war {hero~} schon wieder voller neuer Fragen.
    """,
    "cheerful": """
        And {hero~} laughed so much that {he} got the hiccups.
            Und {hero~} lachte so sehr, dass {er} Schluckauf bekam.
    """,
}
SAD = """
    {Hero~} wished that {he} could turn back the clock.
        {Hero~} wünschte sich, {er} könnte die Uhr zurückdrehen.
    There was nothing more to be done.
        Da war nichts mehr zu machen.
    {Hero~} did not feel like playing for a long (time|while).
        Lange hatte {hero~} keine Lust mehr zu spielen.
    Some things cannot be put right.
        Manche Dinge kann man nicht wiedergutmachen.
    It hurt for a long (time|while).
        Es tat noch lange weh.
"""
SAD_DAY = """
    That night {hero~} could not sleep for a long (time|while).
        In dieser Nacht konnte {hero~} lange nicht einschlafen.
    That evening there was no singing in the house.
        An diesem Abend sang niemand im Haus.
"""
SAD_AWAY = """
    {Hero~} went home alone and did not say a word.
        {Hero~} ging allein nach Hause und sagte kein Wort.
    {Hero~} walked home very slowly.
        Ganz langsam ging {hero~} nach Hause.
"""
SAD_HOME = """
    {Hero~} sat by the window until it was dark.
        {Hero~} saß am Fenster, bis es dunkel war.
    {Hero~} lay on the bed and looked at the ceiling.
        {Hero~} lag auf dem Bett und sah an die Decke.
"""


def close_happy(t: Teller) -> None:
    """End a story that went well, in a way that fits the hero's trait, the place and the time that has passed."""
    blocks = [HAPPY, CHANGED[t.roles["trait"].en]]
    blocks.append(HAPPY_LATER if t.days_passed else HAPPY_DAY)
    if t.place("hero") != "home":
        blocks.append(HAPPY_AWAY)
    t.say(*blocks)


def close_sad(t: Teller) -> None:
    """End a story that went badly."""
    blocks = [SAD, SAD_HOME if t.place("hero") == "home" else SAD_AWAY]
    if not t.days_passed:
        blocks.append(SAD_DAY)
    t.say(*blocks)
