"""Translation and summarisation: read one text, write another (Vaswani et al. 2017).

    pairs of texts → token ids → Transformer, source in, target out → beam search → BLEU and chrF, or ROUGE

The two differ in what they are trained on and in how what they write is measured; that is all that stands here twice.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from torch import nn

from llmasos.datasets import open_pairs, open_summaries
from llmasos.errors import UserError
from llmasos.evaluation import Score, bleu, choose_mistakes, chrf, rouge, show_mistakes
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate_from
from llmasos.models import ModelConfig
from llmasos.objectives import EncodedPair, Seq2Seq, encode_pair
from llmasos.tasks.base import Report
from llmasos.tasks.examples import ExamplesTask
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class SequenceToSequence(ExamplesTask):
    """Write the target that belongs to a source."""

    families = ("transformer",)
    unit = "tokens"

    def texts(self) -> Iterable[str]:
        """Both sides: they share one vocabulary, as in the paper."""
        for pair in self.data.train:
            yield pair.source
            yield pair.target

    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = config or self.model_config(self.recipe, tokenizer)
        self.objective = Seq2Seq(tokenizer, self.recipe.label_smoothing)

    def prepare(self) -> None:
        train, val = self.encode("train"), self.encode("val")
        self.set_examples(train, val, lambda pair: len(pair.source) + len(pair.target), "pairs")

    def encode(self, split: str) -> list[EncodedPair]:
        """The pairs of a split as token ids. One that is too long for the model is an error, or skipped if asked."""
        encoded = []
        for number, pair in enumerate(getattr(self.data, split)):
            try:
                encoded.append(encode_pair(pair, self.tokenizer, self.config.context_length))
            except UserError as error:
                sentence = f"{self.data.name}, {split} pair {number + 1} ({pair.source[:40]!r} …): {error}"
                if not self.recipe.skip_bad:
                    raise UserError(f"{sentence} Or leave such pairs out with --skip-bad.") from error
                self.data.skipped.append(sentence)
        return encoded

    def write(self, model: nn.Module, sources: Sequence[str], beams: int) -> list[str]:
        """What the model makes of each source."""
        longest = max(len(self.tokenizer.encode(source)) for source in sources)
        length = min(self.config.context_length, 2 * longest + 10)  # nothing sensible is longer
        if beams == 1:
            options = SamplingOptions(max_new_tokens=length, temperature=0.0)
            return [written.text for written in generate_from(model, self.tokenizer, sources, options)]
        options = BeamOptions(beams=beams, length_penalty=self.recipe.length_penalty, max_new_tokens=length)
        return [best.text for best, *_ in beam_search(model, self.tokenizer, sources, options)]

    def sample(self, model: nn.Module) -> str:
        pair = self.data.val[0]
        return f"{self.write(model, [pair.source], beams=1)[0].strip()}   [in truth: {pair.target}]"

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        pairs = self.split(split)
        references = [self.reference(pair.target) for pair in pairs]
        written = [text.strip() for text in self.write(model, [pair.source for pair in pairs], self.recipe.beams)]
        wrong = [text != reference for text, reference in zip(written, references, strict=True)]
        chosen = choose_mistakes(wrong, n=5)
        shown = show_mistakes(chosen, [pair.source for pair in pairs], references, written, width=300)
        return Report(self.scores(written, references), mistakes=shown)

    def reference(self, text: str) -> str:
        """The text that is compared with: in small letters if the tokenizer knows no others."""
        return text.lower() if self.tokenizer.lowercase else text

    @abstractmethod
    def scores(self, written: list[str], references: list[str]) -> list[Score]:
        """How good the written texts are."""


class Translate(SequenceToSequence):
    """Write a text in another language."""

    def __init__(self, recipe: Recipe):
        self.set_data(recipe, open_pairs, languages=recipe.languages)

    def scores(self, written: list[str], references: list[str]) -> list[Score]:
        return [bleu(written, references), chrf(written, references)]


class Summarise(SequenceToSequence):
    """Write what a text says in one sentence."""

    def __init__(self, recipe: Recipe):
        self.set_data(recipe, open_summaries)

    def scores(self, written: list[str], references: list[str]) -> list[Score]:
        scores = rouge(written, references)
        return [scores["ROUGE-L"], scores["ROUGE-1"], scores["ROUGE-2"]]
