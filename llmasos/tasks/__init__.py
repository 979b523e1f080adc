"""What models are for, from the data to the result. Read `base` (what a task is), then any of the others."""

from llmasos.tasks.answer import AnswerQuestions, answer_questions
from llmasos.tasks.base import Report, Task, init_folder
from llmasos.tasks.bert import Bert, fill_masks
from llmasos.tasks.chat import Chat, reply
from llmasos.tasks.classify import Classify, classify
from llmasos.tasks.respond import respond
from llmasos.tasks.sequence import Summarise, Translate
from llmasos.tasks.text import Text
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
