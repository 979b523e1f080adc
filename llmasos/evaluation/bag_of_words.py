"""A baseline without a neural network: naive Bayes over the words of a text, in any order.

    log p(label | text)  =  log p(label)  +  Σ over the words w of the text  log p(w | label)  +  constant
    p(w | label)         =  (count of w in the texts of the label + 1) / (words in the texts of the label + V)

The added 1 (Laplace) prevents a word never seen with a label from ruling that label out; words that are in no training
text are skipped (McCallum and Nigam 1998, the multinomial model). A classifier that reads order and context should beat
it.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from llmasos.evaluation.classification_metrics import accuracy
from llmasos.evaluation.metric import Metric, check_pairs
from llmasos.evaluation.words import words_and_punctuation as words


class NaiveBayes:
    """Word counts of each label, turned into log-probabilities.

    >>> model = NaiveBayes(["good fun", "good film", "bad film"], ["+", "+", "-"])
    >>> model.predict(["a good one", "bad"])
    ['+', '-']

    Args:
        texts: N training texts.
        labels: the label of each.

    Raises:
        UserError: unequal numbers of texts and labels, or none at all.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str]):
        check_pairs(texts, labels)
        self.labels = sorted(set(labels))
        number = {label: i for i, label in enumerate(self.labels)}
        self.vocabulary = {word: i for i, word in enumerate(dict.fromkeys(w for text in texts for w in words(text)))}
        counts = np.ones((len(self.labels), len(self.vocabulary)))  # Laplace's 1 for every word
        for text, label in zip(texts, labels, strict=True):
            for word, count in Counter(words(text)).items():
                counts[number[label], self.vocabulary[word]] += count
        self.log_words = np.log(counts / counts.sum(axis=1, keepdims=True))  # (labels, V): log p(w | label)
        self.log_prior = np.log([labels.count(label) / len(labels) for label in self.labels])  # (labels,)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most likely label of each text."""
        return [self.labels[int(self.log_probabilities(text).argmax())] for text in texts]

    def log_probabilities(self, text: str) -> np.ndarray:
        """log p(label | text) for each label, up to a constant: (labels,)."""
        ids = [self.vocabulary[word] for word in words(text) if word in self.vocabulary]
        return self.log_prior + self.log_words[:, ids].sum(axis=1)


def bag_of_words_baseline(
    training: Sequence[str], labels: Sequence[str], texts: Sequence[str], references: Sequence[str]
) -> Metric:
    """The accuracy of naive Bayes, trained on some texts and their labels, on others."""
    predictions = NaiveBayes(training, list(labels)).predict(texts)
    return accuracy(predictions, references, name="bag-of-words baseline")
