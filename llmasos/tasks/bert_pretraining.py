"""Pre-training a BERT: which token stood here, and does the second text follow the first (Devlin et al. 2019, 3.1).

    documents of sentences → pairs of segments, half of which belong together → [CLS] a [SEP] b [SEP] → BERT

Its scores stand beside what needs no model: always guessing the most frequent token, and tossing a coin. Without next
sentences (`--no-next-sentence`, for text that has no documents) it is masked language modelling alone, as in RoBERTa.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from llmasos.datasets import SentencePair, SentencePairs, Windows, build_tokens, documents_of_sentences
from llmasos.errors import UserError
from llmasos.evaluation import proportion
from llmasos.models import ModelConfig
from llmasos.nn import eval_mode
from llmasos.objectives import IGNORE_INDEX, BERTPretraining, EncodedSentencePair, MaskedLM
from llmasos.objectives.masked import MASK
from llmasos.tasks.language_modeling import RunningText, text_splits
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import EncodedInput, Tokenizer

SHOWN = 300  # characters of a text with guesses


class BertPretraining(RunningText):
    """Fill in masked tokens, and tell whether two texts belong together."""

    families = ("bert",)
    head = "pretraining"

    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = config or self.model_config(self.recipe, tokenizer)
        objective = BERTPretraining if self.recipe.next_sentence else MaskedLM
        self.objective = objective(tokenizer, self.recipe.mask_prob, self.recipe.whole_word_masking)

    def prepare(self) -> None:
        self.val = self.encoded("val")
        if self.recipe.next_sentence:
            self.train = self.pairs("train")
            what = f"{len(self.train.pairs.documents):,} documents of sentences to train on, {len(self.val):,} pairs"
        else:
            self.train = EncodedWindows(Windows(self.tokens("train"), self.window_length), self.tokenizer)
            what = f"{len(self.tokens('train')):,} tokens to train on, {len(self.tokens('val')):,}"
        self.lines = [f"tokens   {self.tokenizer.kind}, {self.tokenizer.vocab_size:,} kinds; {what} held out"]

    def encoded(self, split: str) -> Sequence[EncodedSentencePair | EncodedInput]:
        """Examples of one split that are the same every time: pairs, or windows of the text."""
        if self.recipe.next_sentence:
            return self.pairs(split).validation()
        windows = Windows(self.tokens(split), self.window_length, split="val").validation_windows()
        return [self.tokenizer.build_inputs(window) for window in windows]

    def pairs(self, split: str) -> "EncodedPairs":
        """The pairs of segments of one split."""
        documents = [
            [np.array(self.tokenizer.encode(sentence), dtype=np.int32) for sentence in document]
            for name in text_splits(split)
            for document in documents_of_sentences(self.source, name)
        ]
        room = self.config.context_length - self.tokenizer.n_special_tokens(2)
        try:
            return EncodedPairs(SentencePairs(documents, room, self.recipe.negatives), self.tokenizer)
        except UserError as error:
            remedy = "Or learn to fill in words alone, with --no-next-sentence."
            raise UserError(f"{self.name}, split {split}: {error} {remedy}") from error

    def tokens(self, split: str) -> np.ndarray:
        """The tokens of one split in a row."""
        data = build_tokens(self.source, self.tokenizer, progress=False)
        return np.concatenate([getattr(data, name).tokens for name in text_splits(split)])

    @property
    def window_length(self) -> int:
        """For `Windows`, whose windows are one token longer: a frame of one is as long as the context."""
        context = self.config.context_length
        length = context - self.tokenizer.n_special_tokens(1) - 1
        if length < 1:
            raise UserError(f"a context of {context} tokens has no room for a text; use a longer one.")
        return length

    def sample(self, model: nn.Module) -> str:
        """A held-out text as the model fills it in."""
        return self.guesses(model, self.val[:1])[0].show(self.tokenizer)

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        """The share of right guesses for hidden tokens and for pairs, each beside its baseline."""
        guesses = self.guesses(model, self.encoded(split))
        truths = np.concatenate([guess.truths for guess in guesses])
        right = truths == np.concatenate([guess.tokens for guess in guesses])
        usual = self.most_frequent_token()
        always = f"always {piece(self.tokenizer, usual)!r}"
        scores = [
            proportion("masked-LM accuracy", int(right.sum()), len(right)),
            proportion("unigram baseline", int((truths == usual).sum()), len(right), always),
        ]
        if self.recipe.next_sentence:
            follows = np.array([guess.follows for guess in guesses])
            said = np.array([guess.says_follows for guess in guesses])
            scores += [
                proportion("next-sentence accuracy", int((said == follows).sum()), len(follows)),
                proportion("chance baseline", max(int(follows.sum()), int((~follows).sum())), len(follows), "always one"),
            ]
        wrong = [guess for guess in guesses if (guess.tokens != guess.truths).any()]
        shown = [f"{i + 1}. {guess.show(self.tokenizer)}" for i, guess in enumerate(wrong[:3])]
        return Report(metrics, mistakes=["(each hidden token as [guess], or as [guess, not TRUTH])", *shown])

    def guesses(self, model: nn.Module, examples: Sequence) -> list["Guess"]:
        """What the model makes of the hidden tokens of some examples; the same ones are hidden every time."""
        guesses = []
        for some, batch in batches(self.objective, examples, self.recipe.seed, model):
            hidden = batch["targets"] != IGNORE_INDEX  # (B, T), N of them True
            output = model(batch["ids"], batch["attention_mask"], batch["segments"], predict=hidden)
            tokens = output.masked.argmax(-1).split(hidden.sum(dim=1).tolist())  # for each row (n,)
            follows = output.next_sentence.argmax(-1) == 0
            for i, example in enumerate(some):
                places = hidden[i].nonzero()[:, 0].cpu().numpy()
                inputs, truth = example if self.recipe.next_sentence else (example, True)
                guesses.append(Guess(inputs, places, tokens[i].cpu().numpy(), truth, bool(follows[i])))
        return guesses

    def most_frequent_token(self) -> int:
        """The ordinary token that occurs most in the training text."""
        counts = np.bincount(self.tokens("train"), minlength=self.tokenizer.vocab_size)
        return int(np.where(self.tokenizer.special_mask, 0, counts).argmax())


@dataclass(frozen=True)
class Guess:
    """A model's guesses at the hidden tokens of one text."""

    inputs: EncodedInput
    places: np.ndarray  # (n,) where tokens were hidden
    tokens: np.ndarray  # (n,) what the model says
    follows: bool  # whether the second text follows the first
    says_follows: bool

    @property
    def truths(self) -> np.ndarray:
        """(n,) what stood there."""
        return np.array(self.inputs.ids)[self.places]

    def show(self, tokenizer: Tokenizer) -> str:
        """The text with every hidden token in brackets: [guess], or [guess, not TRUTH]."""
        said = dict(zip(self.places.tolist(), self.tokens.tolist(), strict=True))
        words = []
        for place, id in enumerate(self.inputs.ids):
            word = piece(tokenizer, id)
            if place in said:
                guess = piece(tokenizer, said[place])
                word = f"[{guess}]" if said[place] == id else f"[{guess}, not {word}]"
            elif tokenizer.special_mask[id]:
                word = "/" if 0 < place < len(self.inputs.ids) - 1 else ""
            words.append(word)
        text = glue(words)
        return text if len(text) <= SHOWN else text[:SHOWN] + " …"


class EncodedPairs:
    """Pairs of segments as BERT reads them."""

    def __init__(self, pairs: SentencePairs, tokenizer: Tokenizer):
        self.pairs, self.tokenizer = pairs, tokenizer
        self.examples_per_epoch = pairs.examples_per_epoch

    def example(self, seed: int, index: int) -> EncodedSentencePair:
        return self.encode(self.pairs.example(seed, index))

    def validation(self) -> list[EncodedSentencePair]:
        """An epoch of pairs that are always the same."""
        return [self.encode(pair) for pair in self.pairs.validation(seed=0)]

    def encode(self, pair: SentencePair) -> EncodedSentencePair:
        return EncodedSentencePair(self.tokenizer.build_inputs(pair.first, pair.second), pair.follows)


class EncodedWindows:
    """Stretches of a long text, each in a frame of its own."""

    def __init__(self, windows: Windows, tokenizer: Tokenizer):
        self.windows, self.tokenizer = windows, tokenizer
        self.examples_per_epoch = windows.examples_per_epoch

    def example(self, seed: int, index: int) -> EncodedInput:
        return self.tokenizer.build_inputs(self.windows.example(seed, index))


def piece(tokenizer: Tokenizer, id: int) -> str:
    """How one token reads: a word, or a piece of one such as ##ing."""
    return tokenizer.token_text(id).strip()


def glue(words: Sequence[str]) -> str:
    """Words and pieces of words (##s) as a line of text.

    >>> glue(["the", "[house]", "##s", "/", "are", "old", "."])
    'the [house]s / are old .'
    """
    return " ".join(word for word in words if word).replace(" ##", "")


def fill_masks(model: nn.Module, tokenizer: Tokenizer, text: str, n: int = 5) -> list[list[tuple[str, float]]]:
    """For each [MASK] in a text, the n likeliest tokens with their probabilities. Raises as `masked_choices` does."""
    choices = masked_choices(model, tokenizer, text, n)
    return [[(tokenizer.decode([id]).strip(), p) for id, p in best] for best in choices]


def masked_choices(model: nn.Module, tokenizer: Tokenizer, text: str, n: int = 5) -> list[list[tuple[int, float]]]:
    """The same as ids.

    Raises:
        UserError: the text holds no [MASK], or is too long for the model, or the model has not learned to fill one in.
    """
    if model.config.family != "bert" or not model.config.is_pretraining:
        raise UserError(f"the model has not learned to fill in {MASK}; use a bert without another head.")
    inputs = tokenizer.build_inputs(tokenizer.encode(text, allow_special=True))
    device = next(model.parameters()).device
    ids = torch.tensor([inputs.ids], device=device)  # (1, T)
    hidden = ids == tokenizer.special_tokens[MASK]
    if not hidden.any():
        raise UserError(f"the text {text!r} holds no {MASK}; write {MASK} where the model shall say what stands there.")
    with eval_mode(model), torch.inference_mode():
        best = model(ids, predict=hidden).masked.softmax(-1).topk(n)  # (N, n)
    return [
        list(zip(some_ids, some_ps, strict=True))
        for some_ids, some_ps in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
