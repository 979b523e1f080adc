"""Tasks: what models are trained for, from the data to the result. Read `task` (the interface), then any of the others.

`llmasos/capabilities.py` lists the tasks. A task's file is imported when the task is first used, so a run loads its own
task only.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.tasks.bert_pretraining import fill_masks
    from llmasos.tasks.evaluate import evaluation_recipe, setup_evaluation
    from llmasos.tasks.instruction_tuning import reply, reply_to_prompts
    from llmasos.tasks.question_answering import answer_questions
    from llmasos.tasks.reinforcement_learning import register_reward
    from llmasos.tasks.responses import respond
    from llmasos.tasks.reward_modeling import score
    from llmasos.tasks.run import run_recipe
    from llmasos.tasks.storyworld_chat_suite import run_suite
    from llmasos.tasks.task import Report, Task, check_model, task_class
    from llmasos.tasks.text_classification import classify
    from llmasos.tasks.text_embedding import embed
    from llmasos.tasks.token_classification import Entity, find_entities
    from llmasos.tasks.tool_use import ToolReply, reply_with_tools

__all__ = [
    "Entity", "Report", "Task", "ToolReply", "answer_questions", "check_model", "classify", "embed",
    "evaluation_recipe", "fill_masks", "find_entities", "register_reward", "reply", "reply_to_prompts",
    "reply_with_tools", "respond", "run_recipe", "run_suite", "score", "setup_evaluation", "task_class",
]  # fmt: skip
lazy_exports(__name__)
