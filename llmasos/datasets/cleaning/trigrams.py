"""Language identification by character trigrams.

A model that predicts a character from the two before it is among the oldest language models (Shannon 1948). With one
such model per language, each trained on a paragraph, the one that gives a sentence the highest probability names its
language (Cavnar & Trenkle 1994 did this with ranks).

The model's alphabet is that below, in lower case; all digits are one symbol of it, and so are all white space and all
other characters. Languages with a script of their own are recognized by their characters alone.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

ALPHABET = "abcdefghijklmnopqrstuvwxyzàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþßąćęłńśźżčďěňřšťůžğışőűœățș"
DIGIT, SPACE, OTHER = len(ALPHABET), len(ALPHABET) + 1, len(ALPHABET) + 2
SIZE = len(ALPHABET) + 3  # of the alphabet
LONG = 20_000  # characters; the beginning of a longer text is enough
SHORT = 12  # letters; the language of a shorter text is not decided

SCRIPTS = {  # first and last character → language
    ("\u0370", "\u03ff"): "el",
    ("\u0400", "\u04ff"): "ru",
    ("\u0590", "\u05ff"): "he",
    ("\u0600", "\u06ff"): "ar",
    ("\u0900", "\u097f"): "hi",
    ("\u0e00", "\u0e7f"): "th",
    ("\u3040", "\u30ff"): "ja",  # kana; a Japanese text has some between its Chinese characters
    ("\u4e00", "\u9fff"): "zh",
    ("\uac00", "\ud7af"): "ko",
}
UKRAINIAN = "іїєґІЇЄҐ"

SAMPLES: Mapping[str, str] = {  # a paragraph in each language, written for this project
    "en": """
When the summer was over, the two children walked back to the village with their grandmother. They had found a small
boat near the bridge, and nobody knew whose it was. "We should ask the baker," said the girl, "he knows everything
that happens around here." But the baker only shook his head and went on with his work. In the evening it began to
rain, and they thought about the boat that was lying out there in the dark. Which of you would have gone back? They
put on their coats, took the lamp from the kitchen, and ran down the road through the wind. It was still there, full
of water, and under the seat they discovered a letter that had been written many years ago for someone who never
came to read it.""",
    "de": """
Als der Sommer vorbei war, gingen die beiden Kinder mit ihrer Großmutter zurück ins Dorf. Sie hatten in der Nähe der
Brücke ein kleines Boot gefunden, und niemand wusste, wem es gehörte. „Wir sollten den Bäcker fragen“, sagte das
Mädchen, „der weiß alles, was hier geschieht.“ Aber der Bäcker schüttelte nur den Kopf und arbeitete weiter. Am
Abend fing es an zu regnen, und sie dachten an das Boot, das dort draußen im Dunkeln lag. Wer von euch wäre noch
einmal hingegangen? Sie zogen ihre Mäntel an, nahmen die Lampe aus der Küche und liefen durch den Wind die Straße
hinunter. Es war noch da, voller Wasser, und unter der Bank entdeckten sie einen Brief, der vor vielen Jahren
geschrieben worden war.""",
    "fr": """
Quand l'été fut fini, les deux enfants rentrèrent au village avec leur grand-mère. Ils avaient trouvé une petite
barque près du pont, et personne ne savait à qui elle était. « Nous devrions demander au boulanger, dit la fille, il
connaît tout ce qui se passe ici. » Mais le boulanger secoua seulement la tête et continua son travail. Le soir, il
commença à pleuvoir, et ils pensaient à la barque qui restait là-bas dans le noir. Lequel d'entre vous y serait
retourné ? Ils mirent leurs manteaux, prirent la lampe de la cuisine et coururent sur la route dans le vent. Elle
était encore là, pleine d'eau, et sous le banc ils découvrirent une lettre qui avait été écrite il y a bien des
années pour quelqu'un.""",
    "es": """
Cuando terminó el verano, los dos niños volvieron al pueblo con su abuela. Habían encontrado una barca pequeña cerca
del puente, y nadie sabía de quién era. «Deberíamos preguntar al panadero», dijo la niña, «él conoce todo lo que
pasa aquí». Pero el panadero solamente movió la cabeza y siguió con su trabajo. Por la noche empezó a llover, y
ellos pensaban en la barca que estaba allí fuera en la oscuridad. ¿Quién de vosotros habría vuelto? Se pusieron los
abrigos, cogieron la lámpara de la cocina y corrieron por el camino contra el viento. Todavía estaba allí, llena de
agua, y debajo del asiento descubrieron una carta que había sido escrita hace muchos años para alguien que nunca
vino a leerla.""",
    "it": """
Quando finì l'estate, i due bambini tornarono al paese con la nonna. Avevano trovato una piccola barca vicino al
ponte, e nessuno sapeva di chi fosse. «Dovremmo chiedere al fornaio», disse la ragazza, «lui sa tutto quello che
succede qui». Ma il fornaio scosse soltanto la testa e continuò il suo lavoro. La sera cominciò a piovere, e
pensavano alla barca che era rimasta là fuori nel buio. Chi di voi sarebbe tornato indietro? Si misero i cappotti,
presero la lampada dalla cucina e corsero lungo la strada contro il vento. Era ancora lì, piena d'acqua, e sotto il
sedile scoprirono una lettera che era stata scritta molti anni prima per qualcuno che non venne mai a leggerla.""",
    "pt": """
Quando o verão acabou, as duas crianças voltaram para a aldeia com a avó. Tinham encontrado um pequeno barco perto
da ponte, e ninguém sabia de quem era. «Devíamos perguntar ao padeiro», disse a menina, «ele sabe tudo o que
acontece por aqui.» Mas o padeiro apenas abanou a cabeça e continuou o seu trabalho. À noite começou a chover, e
eles pensavam no barco que estava lá fora na escuridão. Qual de vocês teria voltado? Vestiram os casacos, tiraram a
lâmpada da cozinha e correram pela estrada contra o vento. Ainda lá estava, cheio de água, e debaixo do banco
descobriram uma carta que tinha sido escrita há muitos anos para alguém que nunca veio a lê-la. Então não disseram
nada a ninguém.""",
    "nl": """
Toen de zomer voorbij was, liepen de twee kinderen met hun grootmoeder terug naar het dorp. Ze hadden bij de brug
een kleine boot gevonden, en niemand wist van wie die was. „We moeten het aan de bakker vragen,” zei het meisje,
„hij weet alles wat hier gebeurt.” Maar de bakker schudde alleen zijn hoofd en ging door met zijn werk. 's Avonds
begon het te regenen, en ze dachten aan de boot die daar buiten in het donker lag. Wie van jullie zou er nog eens
heen zijn gegaan? Ze trokken hun jassen aan, namen de lamp uit de keuken en renden door de wind de weg af. Hij lag
er nog, vol water, en onder de bank ontdekten ze een brief die vele jaren geleden was geschreven voor iemand die hem
nooit kwam lezen.""",
    "sv": """
När sommaren var över gick de två barnen tillbaka till byn med sin mormor. De hade hittat en liten båt nära bron,
och ingen visste vems den var. ”Vi borde fråga bagaren”, sade flickan, ”han vet allt som händer här.” Men bagaren
skakade bara på huvudet och fortsatte med sitt arbete. På kvällen började det regna, och de tänkte på båten som låg
där ute i mörkret. Vem av er skulle ha gått tillbaka? De tog på sig sina rockar, hämtade lampan från köket och
sprang nedför vägen genom blåsten. Den var kvar, full av vatten, och under bänken upptäckte de ett brev som hade
skrivits för många år sedan till någon som aldrig kom för att läsa det. Då sade de ingenting till någon annan.""",
    "pl": """
Kiedy lato się skończyło, dwoje dzieci wróciło z babcią do wsi. Znalazły koło mostu małą łódkę i nikt nie wiedział,
do kogo należy. „Powinniśmy zapytać piekarza”, powiedziała dziewczynka, „on wie wszystko, co się tutaj dzieje”. Ale
piekarz tylko potrząsnął głową i pracował dalej. Wieczorem zaczął padać deszcz, a one myślały o łódce, która leżała
tam w ciemności. Kto z was poszedłby jeszcze raz? Włożyły płaszcze, wzięły lampę z kuchni i pobiegły drogą pod
wiatr. Jeszcze tam była, pełna wody, a pod ławką odkryły list, który został napisany wiele lat temu do kogoś, kto
nigdy nie przyszedł go przeczytać. Więc nie powiedziały o tym nikomu.""",
    "tr": """
Yaz bittiğinde iki çocuk büyükanneleriyle birlikte köye döndüler. Köprünün yakınında küçük bir kayık bulmuşlardı ve
kimse onun kime ait olduğunu bilmiyordu. “Fırıncıya sormalıyız,” dedi kız, “o burada olan her şeyi bilir.” Ama
fırıncı sadece başını salladı ve işine devam etti. Akşam yağmur yağmaya başladı, onlar da dışarıda karanlıkta duran
kayığı düşünüyorlardı. Hanginiz geri dönerdi? Paltolarını giydiler, mutfaktan lambayı aldılar ve rüzgâra karşı
yoldan aşağı koştular. Hâlâ oradaydı, su doluydu ve oturağın altında yıllar önce onu okumaya hiç gelmeyen biri için
yazılmış bir mektup buldular. Bunu kimseye söylemediler.""",
    "fi": """
Kun kesä oli ohi, kaksi lasta palasi isoäitinsä kanssa kylään. He olivat löytäneet sillan läheltä pienen veneen,
eikä kukaan tiennyt, kenen se oli. ”Meidän pitäisi kysyä leipurilta”, sanoi tyttö, ”hän tietää kaiken, mitä täällä
tapahtuu.” Mutta leipuri vain pudisti päätään ja jatkoi työtään. Illalla alkoi sataa, ja he ajattelivat venettä,
joka oli siellä ulkona pimeässä. Kuka teistä olisi mennyt takaisin? He pukivat takit ylleen, ottivat lampun
keittiöstä ja juoksivat tietä pitkin tuulta vastaan. Se oli vielä siellä, täynnä vettä, ja penkin alta he löysivät
kirjeen, joka oli kirjoitettu monta vuotta sitten jollekulle, joka ei koskaan tullut lukemaan sitä. Silloin he eivät
kertoneet siitä kenellekään.""",
}
LANGUAGES = (*SAMPLES, *dict.fromkeys(SCRIPTS.values()), "uk")


def _symbol_table() -> np.ndarray:
    """For each character up to U+024F, its symbol; (592,) uint8."""
    table = np.full(0x250 + 1, OTHER, np.uint8)
    for i in range(0x250):
        character = chr(i).lower()
        if character in ALPHABET:
            table[i] = ALPHABET.index(character)
        elif character.isdecimal():
            table[i] = DIGIT
        elif character.isspace():
            table[i] = SPACE
    return table


SYMBOLS = _symbol_table()


def characters(text: str) -> np.ndarray:
    """The code points of a text, (T,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def trigrams(codes: np.ndarray) -> np.ndarray:
    """The index of each trigram of a text, (T - 2,) int32, in 0 … SIZE³ - 1."""
    symbols = SYMBOLS[np.minimum(codes, len(SYMBOLS) - 1)].astype(np.int32)
    return (symbols[:-2] * SIZE + symbols[1:-1]) * SIZE + symbols[2:]


class TrigramModel:
    """The probability of a symbol given the two before it, smoothed by that of the shorter contexts.

        p₃(c | ab) = (n(abc) + λ·p₂(c | b)) / (n(ab) + λ),  and so on down to the uniform distribution

    (Jelinek & Mercer 1980, with Dirichlet weights; MacKay & Peto 1995.)
    """

    WEIGHT = 2.0  # λ, in symbols

    def __init__(self, text: str):
        counts = np.bincount(trigrams(characters(text)), minlength=SIZE**3).reshape(SIZE, SIZE, SIZE)
        probabilities = np.full(SIZE, 1 / SIZE)
        for n in (counts.sum((0, 1)), counts.sum(0), counts):  # (c), (b, c), (a, b, c)
            total = n.sum(-1, keepdims=True)
            probabilities = (n + self.WEIGHT * probabilities) / (total + self.WEIGHT)
        self.bits = -np.log2(probabilities).astype(np.float32).ravel()  # (SIZE³,)

    def bits_per_character(self, text: str) -> float:
        """The mean information of the text's characters under this model, in bits; 0 for fewer than three."""
        codes = characters(text)
        return float(self.bits[trigrams(codes)].mean()) if len(codes) > 2 else 0.0


@lru_cache(maxsize=1)
def language_models() -> tuple[tuple[str, ...], np.ndarray]:
    """The languages with a Latin script, and the bits of each trigram in them, (languages, SIZE³)."""
    return tuple(SAMPLES), np.stack([TrigramModel(sample).bits for sample in SAMPLES.values()])


def language_of(text: str) -> str | None:
    """The language of a text, one of `LANGUAGES`; None for a text with fewer than twelve letters.

    >>> language_of("It rained all day, and nobody went out."), language_of("Es regnete den ganzen Tag.")
    ('en', 'de')
    """
    codes = characters(text[:LONG])
    latin = SYMBOLS[np.minimum(codes, len(SYMBOLS) - 1)] < DIGIT
    by_script: dict[str, int] = {}
    if (codes > 0x36F).any():
        for (first, last), language in SCRIPTS.items():
            n = int(((codes >= ord(first)) & (codes <= ord(last))).sum())
            by_script[language] = by_script.get(language, 0) + n
        script = max(by_script, key=by_script.__getitem__)
        if by_script["ja"] * 10 > by_script["zh"] > 0:
            script, by_script["ja"] = "ja", by_script["ja"] + by_script["zh"]
        dense = 3 if script in ("zh", "ja", "ko") else 1  # one of these characters counts as several letters
        if by_script[script] * dense > latin.sum():
            if by_script[script] * dense < SHORT:
                return None
            return "uk" if script == "ru" and any(letter in text[:LONG] for letter in UKRAINIAN) else script
    if latin.sum() < SHORT:
        return None
    names, bits = language_models()
    return names[int(bits[:, trigrams(codes)].sum(axis=1).argmin())]
