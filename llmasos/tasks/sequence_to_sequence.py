"""Translation and summarisation: read one text, write another (Vaswani et al. 2017).

    pairs of texts → token ids → Transformer, source in, target out → beam search → BLEU and chrF, or ROUGE

The two differ in what they are trained on and in how what they write is measured; that is all that stands here twice.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from torch import nn

from llmasos.datasets import Pair
from llmasos.errors import UserError
from llmasos.evaluation import Metric, bleu, choose_mistakes, chrf, rouge, show_mistakes
from llmasos.generation import BeamOptions, SamplingOptions, beam_search, generate_from
from llmasos.models import ModelConfig
from llmasos.objectives import EncodedPair, Seq2Seq, encode_pair
from llmasos.tasks.example_task import ExamplesTask
from llmasos.tasks.task import Report
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
        train, val = self.encoded("train"), self.encoded("val")
        self.set_examples(train, val, lambda pair: len(pair.source) + len(pair.target), "pairs")

    def encode(self, pair: Pair) -> EncodedPair:
        """A pair as token ids. Raises UserError if it is too long for the model."""
        return encode_pair(pair, self.tokenizer, self.config.context_length)

    def problem(self, example: Pair) -> str:
        try:
            self.encode(example)
        except UserError as error:
            return str(error)
        return ""

    def write(self, model: nn.Module, sources: Sequence[str], beams: int) -> list[str]:
        """What the model makes of each source."""
        length = self.config.context_length  # of each alike, so that the others in its batch change nothing
        if beams == 1:
            options = SamplingOptions(max_new_tokens=length, temperature=0.0)
            return [written.text for written in generate_from(model, self.tokenizer, sources, options)]
        options = BeamOptions(beams=beams, length_penalty=self.recipe.length_penalty, max_new_tokens=length)
        return [best.text for best, *_ in beam_search(model, self.tokenizer, sources, options)]

    def sample(self, model: nn.Module) -> str:
        pair = self.split("val")[0]
        return f"{self.write(model, [pair.source], beams=1)[0].strip()}   [in truth: {pair.target}]"

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        pairs = self.split(split)
        references = [self.reference(pair.target) for pair in pairs]
        written = [text.strip() for text in self.write(model, [pair.source for pair in pairs], self.recipe.beams)]
        wrong = [text != reference for text, reference in zip(written, references, strict=True)]
        chosen = choose_mistakes(wrong, n=5)
        shown = show_mistakes(chosen, [pair.source for pair in pairs], references, written, width=300)
        return Report(self.metrics(written, references), mistakes=shown)

    def reference(self, text: str) -> str:
        """The text that is compared with: in small letters if the tokenizer knows no others."""
        return text.lower() if self.tokenizer.lowercase else text

    @abstractmethod
    def metrics(self, written: list[str], references: list[str]) -> list[Metric]:
        """How good the written texts are."""


class Translation(SequenceToSequence):
    """Write a text in another language."""

    def __init__(self, recipe: Recipe, whole: bool = False):
        self.set_data(recipe, "pairs", languages=recipe.languages, eval_only=whole)

    def metrics(self, written: list[str], references: list[str]) -> list[Metric]:
        return [bleu(written, references), chrf(written, references)]


class Summarization(SequenceToSequence):
    """Write what a text says in one sentence."""

    def __init__(self, recipe: Recipe, whole: bool = False):
        self.set_data(recipe, "summaries", eval_only=whole)

    def metrics(self, written: list[str], references: list[str]) -> list[Metric]:
        scores = rouge(written, references)
        return [scores["ROUGE-L"], scores["ROUGE-1"], scores["ROUGE-2"]]
