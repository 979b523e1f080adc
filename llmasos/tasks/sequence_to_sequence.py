"""Translation and summarization: read one text, write another (Vaswani et al. 2017).

    pairs of texts → token ids → Transformer, source in, target out → beam search → BLEU and chrF, or ROUGE

The two differ only in their data and metrics.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from llmasos.datasets import Pair, Splits
from llmasos.errors import UserError
from llmasos.evaluation import Metric, bleu, choose_mistakes, chrf, is_mostly_unspaced, rouge, show_mistakes
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate_from
from llmasos.models import Model, ModelConfig
from llmasos.objectives import EncodedPair, Seq2Seq, encode_pair
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class SequenceToSequence(ExampleTask):
    """Generate the target of a source text."""

    unit = "tokens"
    example_name = "pairs"

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        """Both sides: they share one vocabulary, as in the paper."""
        for pair in data.train:
            yield pair.source
            yield pair.target

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> Seq2Seq:
        return Seq2Seq(tokenizer, recipe.training.label_smoothing)

    def encode(self, example: Pair) -> EncodedPair:
        """A pair as token ids. Raises UserError if it is too long for the model."""
        return encode_pair(example, self.tokenizer, self.config.context_length)

    def length(self, encoded: EncodedPair) -> int:
        return len(encoded.source) + len(encoded.target)

    def problem(self, example: Pair) -> str:
        try:
            self.encode(example)
        except UserError as error:
            return str(error)
        return ""

    def write(self, model: Model, sources: Sequence[str], beams: int) -> list[str]:
        """The model's target for each source."""
        length = self.config.context_length  # the same for every text, so that the rest of its batch does not matter
        if beams == 1:
            options = SamplingOptions(max_new_tokens=length, temperature=0.0)
            return [generation.text for generation in generate_from(model, self.tokenizer, sources, options)]
        penalty = self.recipe.output.length_penalty
        search = BeamOptions(beams=beams, length_penalty=penalty, max_new_tokens=length)
        return [best.text for best, *_ in beam_search(model, self.tokenizer, sources, search)]

    def sample(self, model: Model) -> str:
        pair = self.split("val")[0]
        return f"{self.write(model, [pair.source], beams=1)[0].strip()}   [reference: {pair.target}]"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        pairs = self.split(split)
        sources = [pair.source for pair in pairs]
        references = [self.reference(pair.target) for pair in pairs]
        predictions = [text.strip() for text in self.write(model, sources, self.recipe.output.beams)]
        wrong = [a != b for a, b in zip(predictions, references, strict=True)]
        mistakes = show_mistakes(choose_mistakes(wrong, n=5), sources, references, predictions, width=300)
        return Report(self.text_metrics(predictions, references), mistakes=mistakes)

    def reference(self, text: str) -> str:
        """The reference to compare with, in lowercase if the tokenizer is."""
        return text.lower() if self.tokenizer.lowercase else text

    @abstractmethod
    def text_metrics(self, predictions: list[str], references: list[str]) -> list[Metric]:
        """The metrics of the generated texts."""


class Translation(SequenceToSequence):
    """Translate a text into another language."""

    def text_metrics(self, predictions: list[str], references: list[str]) -> list[Metric]:
        tokenize = "char" if is_mostly_unspaced(references) else "13a"  # Chinese, Japanese or Thai has no spaces
        return [bleu(predictions, references, tokenize), chrf(predictions, references)]


class Summarization(SequenceToSequence):
    """Summarize a text in one sentence."""

    def text_metrics(self, predictions: list[str], references: list[str]) -> list[Metric]:
        metrics = rouge(predictions, references)
        return [metrics["ROUGE-L"], metrics["ROUGE-1"], metrics["ROUGE-2"]]
