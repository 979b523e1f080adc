"""What models are for, from the data to the result. Read `base` (what a task is), then any of the others."""

from llmasos.tasks.bert_pretraining import Bert, fill_masks
from llmasos.tasks.extractive_qa import AnswerQuestions, answer_questions
from llmasos.tasks.instruction_tuning import Chat, reply
from llmasos.tasks.language_modeling import Text
from llmasos.tasks.respond import respond
from llmasos.tasks.sequence_to_sequence import Summarise, Translate
from llmasos.tasks.task import Report, Task, init_folder
from llmasos.tasks.text_classification import Classify, classify
from llmasos.training.recipe import Recipe

__all__ = [
    "TASKS", "AnswerQuestions", "Bert", "Chat", "Classify", "Report", "Summarise", "Task", "Text", "Translate",
    "answer_questions", "classify", "fill_masks", "init_folder", "open_task", "reply", "respond",
]  # fmt: skip

TASKS: dict[str, type[Task]] = {  # by the names in `training/recipe.py`
    "text": Text,
    "bert": Bert,
    "classify": Classify,
    "answer": AnswerQuestions,
    "translate": Translate,
    "summarise": Summarise,
    "chat": Chat,
}


def open_task(recipe: Recipe, whole: bool = False) -> Task:
    """The task of a recipe, with its data opened. Raises UserError if the data is not as it must be.

    Args:
        recipe: of a run.
        whole: hold out all of a file of the user's own, which is only to be measured on.
    """
    return TASKS[recipe.task](recipe, whole)
