"""What models are trained for, from the data to the result. Read `task` (what a task is), then any of the others.

`llmasos/capabilities.py` lists the tasks. A task's file is imported when the task is first used, so a run loads its own
task only.
"""

import importlib

from llmasos.tasks.task import Report, Task, check_model, task_class

EXPORTS = {  # name → the module that defines it
    "answer_questions": "question_answering",
    "classify": "text_classification",
    "embed": "embedding",
    "fill_masks": "bert_pretraining",
    "reply": "instruction_tuning",
    "respond": "responses",
}
__all__ = ["Report", "Task", "check_model", "task_class", *EXPORTS]


def __getattr__(name: str):
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{EXPORTS[name]}"), name)
