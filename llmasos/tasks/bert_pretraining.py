"""BERT pretraining: masked language modeling and next-sentence prediction (Devlin et al. 2019, section 3.1).

    documents of sentences → pairs of segments, half of which belong together → [CLS] a [SEP] b [SEP] → BERT

The accuracies come with baselines that need no model: the most frequent token, and a coin toss. Without next sentences
(`--no-next-sentence`, for text that has no documents) this is masked language modeling alone, as in RoBERTa.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import torch

from llmasos.capabilities import check_capability
from llmasos.datasets import SentencePair, SentencePairs, Windows, build_tokens, documents_of_sentences
from llmasos.datasets.source import SPLITS
from llmasos.errors import UserError
from llmasos.evaluation import proportion
from llmasos.models import Model, ModelConfig
from llmasos.nn import eval_mode
from llmasos.objectives import IGNORE_INDEX, EncodedSentencePair, MaskedLM, MaskedLMAndNextSentence
from llmasos.objectives.masked import MASK
from llmasos.tasks.language_modeling import PlainTextTask, short_text_note, text_splits
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import EncodedInput, Tokenizer
from llmasos.training.recipe import Recipe

MAX_SHOWN = 300  # the most characters of a text that is shown with predictions


class BertPretraining(PlainTextTask):
    """Fill in masked tokens, and predict whether one text follows the other."""

    sample_arguments = ("--prompt", f"TEXT {MASK}")

    @property
    def next_sentence(self) -> bool:
        """Whether next-sentence prediction is part of the objective."""
        return self.recipe.training.next_sentence

    @classmethod
    def make_objective(
        cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig
    ) -> MaskedLM | MaskedLMAndNextSentence:
        settings = recipe.training
        objective = MaskedLMAndNextSentence if settings.next_sentence else MaskedLM
        return objective(tokenizer, settings.mask_prob, settings.whole_word_masking)

    @cached_property
    def train(self) -> "EncodedPairs | EncodedWindows":
        if self.next_sentence:
            return self.pairs("train")
        tokens = self.tokens("train")
        return EncodedWindows(Windows(tokens, self.fitting_length(self.window_length, len(tokens))), self.tokenizer)

    @cached_property
    def val(self) -> Sequence[EncodedSentencePair | EncodedInput]:
        return self.examples("val")

    def summarize_data(self) -> list[str]:
        n_val = len(self.val)
        if isinstance(self.train, EncodedPairs):
            sizes = f"{len(self.train.pairs.documents):,} documents of sentences to train on, {n_val:,} pairs"
        else:
            sizes = f"{len(self.tokens('train')):,} tokens to train on, {len(self.tokens('val')):,}"
        lines = [f"tokens   {self.tokenizer.kind}, vocabulary of {self.tokenizer.vocab_size:,}: {sizes} held out"]
        if self.next_sentence and self.negatives != self.recipe.data.negatives:
            lines.append("pairs    that do not follow each other come from one text, because there is no other")
        if isinstance(self.train, EncodedWindows) and self.train.windows.context_length < self.window_length:
            lines.append(short_text_note(self.train.windows.context_length, self.config.context_length))
        return lines

    def examples(self, split: str) -> Sequence[EncodedSentencePair | EncodedInput]:
        """Fixed examples of one split: pairs, or windows of the text."""
        if self.next_sentence:
            return self.pairs(split).validation()
        windows = Windows(self.tokens(split), self.window_length, split="val").validation_windows()
        return [self.tokenizer.build_inputs(window) for window in windows]

    @cached_property
    def negatives(self) -> str:
        """Where negative segments come from: also from the same document, if a split has only one document."""
        n_documents = [len(list(islice(documents_of_sentences(self.data, split), 2))) for split in SPLITS]
        return self.recipe.data.negatives if min(n_documents) == 2 else "same"

    def pairs(self, split: str) -> "EncodedPairs":
        """The pairs of segments of one split."""
        documents = [
            [np.array(self.tokenizer.encode(sentence), dtype=np.int32) for sentence in document]
            for name in text_splits(split)
            for document in documents_of_sentences(self.data, name)
        ]
        length = self.config.context_length - self.tokenizer.n_special_tokens(2)
        try:
            return EncodedPairs(SentencePairs(documents, length, self.negatives), self.tokenizer)
        except UserError as error:
            problem = str(error).removesuffix(".")
            remedy = "or train on masked tokens alone, with --no-next-sentence"
            raise UserError(f"{self.data.name}, split {split}: {problem}, {remedy}.") from error

    def tokens(self, split: str) -> np.ndarray:
        """The token ids of one split."""
        data = build_tokens(self.data, self.tokenizer)
        return np.concatenate([getattr(data, name).tokens for name in text_splits(split)])

    @property
    def window_length(self) -> int:
        """The length for `Windows`, whose windows are one token longer: with special tokens, a window fills the
        context.
        """
        context = self.config.context_length
        length = context - self.tokenizer.n_special_tokens(1) - 1
        if length < 1:
            raise UserError(f"a context of {context} tokens has no room for a text; use a longer one.")
        return length

    def sample(self, model: Model) -> str:
        """A held-out text with the model's predictions for its masked tokens."""
        return self.predictions(model, self.val[:1])[0].show(self.tokenizer)

    def evaluate(self, model: Model, split: str = "val") -> Report:
        """The accuracy on masked tokens and on pairs, each with its baseline."""
        predictions = self.predictions(model, self.examples(split))
        labels = np.concatenate([prediction.labels for prediction in predictions])
        correct = labels == np.concatenate([prediction.tokens for prediction in predictions])
        frequent = self.most_frequent_token()
        always = f"always {piece(self.tokenizer, frequent)!r}"
        metrics = [
            proportion("masked-LM accuracy", int(correct.sum()), len(correct)),
            proportion("unigram baseline", int((labels == frequent).sum()), len(correct), always),
        ]
        if self.next_sentence:
            is_next = np.array([prediction.is_next for prediction in predictions])
            predicted = np.array([prediction.predicts_next for prediction in predictions])
            n, n_majority = len(is_next), max(int(is_next.sum()), int((~is_next).sum()))
            metrics += [
                proportion("next-sentence accuracy", int((predicted == is_next).sum()), n),
                proportion("chance baseline", n_majority, n, "always one"),
            ]
        wrong = [prediction for prediction in predictions if (prediction.tokens != prediction.labels).any()]
        mistakes = [f"{i + 1}. {prediction.show(self.tokenizer)}" for i, prediction in enumerate(wrong[:3])]
        legend = "(each masked token as [prediction], or as [prediction, not LABEL])"
        return Report(metrics, mistakes=[legend, *mistakes])

    def predictions(self, model: Model, examples: Sequence) -> list["Prediction"]:
        """The model's predictions for some examples, in which the same tokens are masked every time."""
        predictions = []
        for chunk, batch in batches(self.objective, examples, self.recipe.training.seed, model):
            masked = batch["targets"] != IGNORE_INDEX  # (B, T), N of them True
            output = model(batch["ids"], batch["attention_mask"], batch["segments"], predict=masked)
            tokens = output.masked.argmax(-1).split(masked.sum(dim=1).tolist())  # for each row (n,)
            follows = None if output.next_sentence is None else output.next_sentence.argmax(-1) == 0
            for i, example in enumerate(chunk):
                positions = masked[i].nonzero()[:, 0].cpu().numpy()
                inputs, is_next = example if self.next_sentence else (example, True)
                predicts_next = follows is None or bool(follows[i])
                prediction = Prediction(inputs, positions, tokens[i].cpu().numpy(), is_next, predicts_next)
                predictions.append(prediction)
        return predictions

    def most_frequent_token(self) -> int:
        """The most frequent token of the training text, special tokens aside."""
        counts = np.bincount(self.tokens("train"), minlength=self.tokenizer.vocab_size)
        return int(np.where(self.tokenizer.special_mask, 0, counts).argmax())


@dataclass(frozen=True)
class Prediction:
    """A model's predictions for one text.

    Attributes:
        inputs: the text, without masks.
        positions: (n,) of the masked tokens.
        tokens: (n,) the predicted tokens.
        is_next: whether the second text follows the first.
        predicts_next: whether the model predicts that it does.
    """

    inputs: EncodedInput
    positions: np.ndarray
    tokens: np.ndarray
    is_next: bool
    predicts_next: bool

    @property
    def labels(self) -> np.ndarray:
        """(n,) the tokens that were masked."""
        return np.array(self.inputs.ids)[self.positions]

    def show(self, tokenizer: Tokenizer) -> str:
        """The text with every masked token in brackets: [prediction], or [prediction, not LABEL]."""
        predicted = dict(zip(self.positions.tolist(), self.tokens.tolist(), strict=True))
        words = []
        for position, id in enumerate(self.inputs.ids):
            word = piece(tokenizer, id)
            if position in predicted:
                prediction = piece(tokenizer, predicted[position])
                word = f"[{prediction}]" if predicted[position] == id else f"[{prediction}, not {word}]"
            elif tokenizer.special_mask[id]:
                word = "/" if 0 < position < len(self.inputs.ids) - 1 else ""
            words.append(word)
        text = join_pieces(words)
        return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + " …"


class EncodedPairs:
    """Pairs of segments as token ids."""

    def __init__(self, pairs: SentencePairs, tokenizer: Tokenizer):
        self.pairs, self.tokenizer = pairs, tokenizer
        self.examples_per_epoch = pairs.examples_per_epoch

    def example(self, seed: int, index: int) -> EncodedSentencePair:
        return self.encode(self.pairs.example(seed, index))

    def validation(self) -> list[EncodedSentencePair]:
        """An epoch of fixed pairs."""
        return [self.encode(pair) for pair in self.pairs.validation(seed=0)]

    def encode(self, pair: SentencePair) -> EncodedSentencePair:
        """A pair as token ids, with special tokens."""
        return EncodedSentencePair(self.tokenizer.build_inputs(pair.first, pair.second), pair.follows)


class EncodedWindows:
    """Windows of a long text, each with special tokens."""

    def __init__(self, windows: Windows, tokenizer: Tokenizer):
        self.windows, self.tokenizer = windows, tokenizer
        self.examples_per_epoch = windows.examples_per_epoch

    def example(self, seed: int, index: int) -> EncodedInput:
        return self.tokenizer.build_inputs(self.windows.example(seed, index))


def piece(tokenizer: Tokenizer, id: int) -> str:
    """The text of one token: a word, or a piece of one such as ##ing."""
    return tokenizer.token_text(id).strip()


def join_pieces(words: Sequence[str]) -> str:
    """Words and pieces of words (##s) as a line of text.

    >>> join_pieces(["the", "[house]", "##s", "/", "are", "old", "."])
    'the [house]s / are old .'
    """
    return " ".join(word for word in words if word).replace(" ##", "")


def fill_masks(model: Model, tokenizer: Tokenizer, text: str, n: int = 5) -> list[list[tuple[str, float]]]:
    """The n most likely tokens for each [MASK] in a text, with their probabilities. Raises as `fill_mask_ids` does."""
    choices = fill_mask_ids(model, tokenizer, text, n)
    return [[(tokenizer.decode([id]).strip(), p) for id, p in best] for best in choices]


def fill_mask_ids(model: Model, tokenizer: Tokenizer, text: str, n: int = 5) -> list[list[tuple[int, float]]]:
    """Do the same as `fill_mask`, but return token ids.

    Raises:
        UserError: the text has no [MASK], or is too long for the model, or the model is not a pretrained BERT.
    """
    check_capability("fill-mask", model.config.family, model.config.head)
    inputs = tokenizer.build_inputs(tokenizer.encode(text, allow_special=True))
    device = next(model.parameters()).device
    ids = torch.tensor([inputs.ids], device=device)  # (1, T)
    masked = ids == tokenizer.special_tokens[MASK]
    if not masked.any():
        raise UserError(f"the text {text!r} has no {MASK}; write {MASK} where the model should fill in a token.")
    with eval_mode(model), torch.inference_mode():
        best = model(ids, predict=masked).masked.softmax(-1).topk(min(n, model.config.vocab_size))  # (N, n)
    return [list(zip(*row, strict=True)) for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
