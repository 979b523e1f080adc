"""BM25: rank documents for a question by the words they share with it (Robertson & Zaragoza 2009, section 3).

    score(q, d) = Σ over the words w of q   idf(w) · tf · (k₁ + 1) / (tf + k₁ · (1 − b + b · |d| / mean |d|))
    idf(w)      = ln(1 + (N − n + ½) / (n + ½))

for N documents, n of which contain w; tf is how often w occurs in d. A rare word is more informative than a common one
(idf). A word that occurs twice does not count twice (k₁: the fraction tends to k₁ + 1). A long document contains more
words by chance (b = 1 divides by its length, b = 0 ignores it). The "1 +" in the idf is Lucene's: without it, a word in
more than half of the documents would count against those that contain it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from llmasos.errors import UserError, check_number
from llmasos.evaluation.porter import stem
from llmasos.evaluation.words import unicode_words


def stemmed_words(text: str) -> list[str]:
    """The words of a text in lower case, without their English endings.

    >>> stemmed_words("Renting: who rents?")
    ['rent', 'who', 'rent']
    """
    return [stem(word) for word in unicode_words(text)]


class BM25:
    """An index of documents by their words.

    >>> index = BM25(["The fox ran.", "The dog slept.", "The fox and the dog"])
    >>> index.scores("Where is the fox?").argmax()
    np.int64(0)

    Args:
        documents: N texts.
        k1: how quickly further occurrences of a word stop counting: the smaller, the sooner.
        b: how much the length of a document counts, from 0 to 1.
        words: turns a text into its words.

    Attributes:
        idf: word → its inverse document frequency.

    Raises:
        UserError: there is no document, none has a word in it, or k1 or b is out of range.
    """

    def __init__(
        self,
        documents: Sequence[str],
        k1: float = 1.2,
        b: float = 0.75,
        words: Callable[[str], list[str]] = stemmed_words,
    ):
        check_number("k1", k1, at_least=0)
        check_number("b", b, at_least=0, at_most=1)
        if isinstance(documents, str):
            raise UserError("the documents are one string; they must be a list of strings, for example [text].")
        self.words = words
        counts = [Counter(words(document)) for document in documents]
        lengths = np.array([count.total() for count in counts], dtype=np.float64)
        if not lengths.any():
            raise UserError("the index is empty: no document has a word in it; give at least one text with words.")
        self.n_documents = len(counts)
        holders = Counter(word for count in counts for word in count)  # n of each word
        self.idf = {word: self._idf(n) for word, n in holders.items()}
        norms = k1 * (1 - b + b * lengths / lengths.mean())
        self.postings: dict[str, tuple[list[int], list[float]]] = {word: ([], []) for word in holders}
        for number, count in enumerate(counts):
            for word, tf in count.items():
                numbers, values = self.postings[word]
                numbers.append(number)
                values.append(self.idf[word] * tf * (k1 + 1) / (tf + norms[number]))

    def _idf(self, n: int) -> float:
        return math.log(1 + (self.n_documents - n + 0.5) / (n + 0.5))

    def scores(self, question: str) -> np.ndarray:
        """The score of each document: (N,), 0 if it shares no word with the question."""
        scores = np.zeros(self.n_documents)
        for word in self.words(question):
            numbers, values = self.postings.get(word, ([], []))
            scores[numbers] += values
        return scores

    def coverage(self, question: str) -> np.ndarray:
        """How much of the question each document covers: (N,), from 0 to 1.

        The summed idf of the question's distinct words that the document contains, as a fraction of that of all its
        words. Words that are in no document have the greatest idf, so no document covers a question about something
        else.
        """
        total, covered = 0.0, np.zeros(self.n_documents)
        for word in set(self.words(question)):
            idf = self.idf.get(word, self._idf(0))
            total += idf
            covered[self.postings.get(word, ([], []))[0]] += idf
        return covered / total if total else covered
