"""Question answering: find the answer in a text, or predict that there is none (Rajpurkar et al. 2016, 2018).

    questions about texts → overlapping windows → any family with a question-answering head → exact match and F1

The baseline never answers, which is right for every question without an answer.
"""

from collections.abc import Iterable, Sequence

from llmasos.capabilities import check_capability
from llmasos.datasets import QA, Splits
from llmasos.evaluation import Metric, choose_mistakes, proportion, show_mistakes, squad, squad_values
from llmasos.models import Model, ModelConfig
from llmasos.objectives import BestAnswer, ContextWindow, SpanExtraction, best_answer, make_windows, predict_spans
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.task import Report
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class QuestionAnswering(ExampleTask):
    """Answer a question with a span of its context."""

    unit = "windows"
    example_name = "questions"
    sample_arguments = ("--prompt", "QUESTION", "--context", "text.txt")

    @classmethod
    def texts(cls, data: Splits) -> Iterable[str]:
        yield from dict.fromkeys(question.context for question in data.train)  # each context once
        for question in data.train:
            yield question.question

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> SpanExtraction:
        return SpanExtraction(tokenizer)

    def encode(self, example: QA) -> list[ContextWindow]:
        """All windows of a question's context."""
        length = self.config.context_length
        return make_windows(example, self.tokenizer, length, stride_of(length))

    def examples(self, split: str) -> list[ContextWindow]:
        return [window for question in self.split(split) for window in self.encode(question)]

    def length(self, encoded: ContextWindow) -> int:
        return len(encoded.inputs.ids)

    def summarize_data(self) -> list[str]:
        windows = f"windows  {len(self.train):,} to train on, {len(self.val):,} held out"
        return [*super().summarize_data(), windows]

    def sample(self, model: Model) -> str:
        question = self.split("val")[0]
        answer = answer_questions(model, self.tokenizer, [question])[0].text
        reference = question.answers[0].text if question.answers else ""
        return f"{question.question}  {answer or '(no answer)'}   [reference: {reference or '(no answer)'}]"

    def evaluate(self, model: Model, split: str = "val") -> Report:
        questions = self.split(split)
        answers = answer_questions(model, self.tokenizer, questions)
        predictions = [answer.text for answer in answers]
        references = [[answer.text for answer in question.answers] for question in questions]
        values = squad_values(predictions, references)  # (N, 2): exact match and F1 of each
        margins = [abs(answer.score - answer.null_score) for answer in answers]
        mistakes = choose_mistakes(values[:, 1] == 0, margins, n=5)
        texts = [f"{question.question} | {question.context}" for question in questions]
        first_references = [answers[0] if answers else "" for answers in references]
        return Report(
            [*squad(predictions, references).values(), never_answering(questions)],
            mistakes=show_mistakes(mistakes, texts, first_references, predictions, width=300),
            outcomes=100 * values[:, 0],
        )


def answer_questions(
    model: Model, tokenizer: Tokenizer, questions: Sequence[QA], batch_size: int = 64
) -> list[BestAnswer]:
    """The model's answer to each question; an empty text means that the context contains none.

    Args:
        model: a `SpanExtractor`, on any device, in any mode.
        tokenizer: the one it was trained with.
        questions: questions with their texts, which may be longer than the model's context; their `answers` are
            ignored.
        batch_size: the number of windows computed at once; only affects speed and memory.

    Raises:
        UserError: the model has not learned to answer questions.
    """
    check_capability("question-answering", model.config.family, model.config.head)
    length = model.config.context_length
    unlabeled = [QA(question.context, question.question, ()) for question in questions]
    windows = [make_windows(question, tokenizer, length, stride_of(length)) for question in unlabeled]
    flat = [window for group in windows for window in group]
    logits = iter(predict_spans(model, SpanExtraction(tokenizer), flat, batch_size))
    return [
        best_answer(question.context, group, [next(logits) for _ in group])
        for question, group in zip(questions, windows, strict=True)
    ]


def stride_of(context_length: int) -> int:
    """The overlap of neighboring windows in tokens: a quarter of the context, like 128 of 512 in the original."""
    return context_length // 4


def never_answering(questions: Sequence[QA]) -> Metric:
    """The exact match of a model that never answers."""
    n = sum(not question.answers for question in questions)
    return proportion("baseline", n, len(questions), "never answers", scale=100, digits=1)
