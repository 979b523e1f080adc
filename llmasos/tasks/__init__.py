"""What models are for, from the data to the result. Read `base` (what a task is), then any of the others."""

from llmasos.tasks.bert_pretraining import BertPretraining, fill_masks
from llmasos.tasks.extractive_qa import QuestionAnswering, answer_questions
from llmasos.tasks.instruction_tuning import InstructionTuning, reply
from llmasos.tasks.language_modeling import LanguageModeling
from llmasos.tasks.respond import respond
from llmasos.tasks.sequence_to_sequence import Summarization, Translation
from llmasos.tasks.task import Report, Task, init_folder
from llmasos.tasks.text_classification import TextClassification, classify
from llmasos.training.recipe import Recipe

__all__ = [
    "TASKS", "AnswerQuestions", "Bert", "Chat", "Classify", "Report", "Summarise", "Task", "Text", "Translate",
    "answer_questions", "classify", "fill_masks", "init_folder", "open_task", "reply", "respond",
]  # fmt: skip

TASKS: dict[str, type[Task]] = {  # by the names in `training/recipe.py`
    "language-modeling": LanguageModeling,
    "bert-pretraining": BertPretraining,
    "text-classification": TextClassification,
    "question-answering": QuestionAnswering,
    "translation": Translation,
    "summarization": Summarization,
    "instruction-tuning": InstructionTuning,
}


def open_task(recipe: Recipe, whole: bool = False) -> Task:
    """The task of a recipe, with its data opened. Raises UserError if the data is not as it must be.

    Args:
        recipe: of a run.
        whole: hold out all of a file of the user's own, which is only to be measured on.
    """
    return TASKS[recipe.task](recipe, whole)
