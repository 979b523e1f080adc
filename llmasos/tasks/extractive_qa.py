"""Question answering: find the answer in a text, or say that it is not there (Rajpurkar et al. 2016, 2018).

    questions about texts → overlapping windows → any family with a span extractor on top → exact match and F1

The scores stand beside that of never answering, which is right for every question without an answer.
"""

from collections.abc import Iterable, Sequence

from torch import nn

from llmasos.datasets import QA
from llmasos.evaluation import Metric, choose_mistakes, proportion, show_mistakes, squad, squad_values
from llmasos.models import ModelConfig
from llmasos.objectives import BestAnswer, ContextWindow, SpanExtraction, best_answer, make_windows, predict_spans
from llmasos.tasks.example_task import ExamplesTask
from llmasos.tasks.task import Report
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class QuestionAnswering(ExamplesTask):
    """Answer questions about a text with a piece of it."""

    head = "question_answering"
    unit = "windows"

    def __init__(self, recipe: Recipe, whole: bool = False):
        self.set_data(recipe, "questions", eval_only=whole)

    def texts(self) -> Iterable[str]:
        yield from dict.fromkeys(question.context for question in self.data.train)  # each context once
        for question in self.data.train:
            yield question.question

    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = config or self.model_config(self.recipe, tokenizer)
        self.objective = SpanExtraction(tokenizer)

    def prepare(self) -> None:
        train, val = self.encoded("train"), self.encoded("val")
        self.set_examples(train, val, lambda window: len(window.inputs.ids), "questions")
        self.lines.append(f"windows  {len(train):,} to train on, {len(val):,} held out")

    def encoded(self, split: str) -> list[ContextWindow]:
        return self.windows(self.split(split))

    def windows(self, questions: Sequence[QA]) -> list[ContextWindow]:
        """All windows of some questions."""
        length = self.config.context_length
        return [window for qa in questions for window in make_windows(qa, self.tokenizer, length, stride_of(length))]

    def sample(self, model: nn.Module) -> str:
        qa = self.split("val")[0]
        said = answer_questions(model, self.tokenizer, [qa])[0].text
        truth = qa.answers[0].text if qa.answers else ""
        return f"{qa.question}  {said or '(no answer)'}   [in truth: {truth or '(no answer)'}]"

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        questions = self.split(split)
        answers = answer_questions(model, self.tokenizer, questions)
        said = [answer.text for answer in answers]
        truths = [[answer.text for answer in qa.answers] for qa in questions]
        values = squad_values(said, truths)  # (N, 2): exact match and F1 of each
        margins = [abs(answer.score - answer.null_score) for answer in answers]
        chosen = choose_mistakes(values[:, 1] == 0, margins, n=5)
        texts = [f"{qa.question} | {qa.context}" for qa in questions]
        shown = show_mistakes(chosen, texts, [truth[0] if truth else "" for truth in truths], said, width=300)
        return Report(
            [*squad(said, truths).values(), never_answering(questions)],
            mistakes=shown,
            outcomes=100 * values[:, 0],
        )


def answer_questions(
    model: nn.Module, tokenizer: Tokenizer, questions: Sequence[QA], batch_size: int = 64
) -> list[BestAnswer]:
    """The model's answer to each question; an empty text means that the context holds none.

    Args:
        model: a `SpanExtractor`, on any device, in any mode.
        tokenizer: the one it was trained with.
        questions: with their contexts, which may be longer than the model's; their `answers` are not looked at.
        batch_size: how many windows are computed at once; changes speed and memory only.
    """
    length = model.config.context_length
    unlabelled = [QA(qa.context, qa.question, ()) for qa in questions]
    windows = [make_windows(qa, tokenizer, length, stride_of(length)) for qa in unlabelled]
    flat = [window for some in windows for window in some]
    logits = iter(predict_spans(model, SpanExtraction(tokenizer), flat, batch_size))
    return [
        best_answer(qa.context, some, [next(logits) for _ in some]) for qa, some in zip(questions, windows, strict=True)
    ]


def stride_of(context_length: int) -> int:
    """How many tokens neighbouring windows share: a quarter of the context, as 128 of 512 in the original."""
    return context_length // 4


def never_answering(questions: Sequence[QA]) -> Metric:
    """The exact match of saying "no answer" to every question."""
    n = sum(not qa.answers for qa in questions)
    return proportion("baseline", n, len(questions), "never answers", scale=100, digits=1)
