"""`--teacher`: the model whose probabilities a student learns (`objectives/distillation.py`)."""

from llmasos.errors import UserError
from llmasos.hub import load_pretrained
from llmasos.models import Model
from llmasos.tasks.init_from import find_pretrained
from llmasos.tasks.task import Task, check_model


def load_teacher(task: Task) -> Model:
    """The teacher of a task's model, on the CPU.

    Raises:
        UserError: there is no such model, it is for another task, or it has another vocabulary, other labels or a
            shorter context than the student.
    """
    name = task.recipe.training.teacher
    assert name is not None
    if not hasattr(task.objective, "predictions"):
        raise UserError(
            f"--teacher is for tasks with one prediction for each token or text, and {task.recipe.task} has another "
            "objective: leave it out."
        )
    model, tokenizer = load_pretrained(find_pretrained(name), say=lambda text: None)
    student, teacher = task.config, model.config
    check_model(task.recipe.task, teacher, name)
    if (tokenizer.fingerprint(), teacher.vocab_size) != (task.tokenizer.fingerprint(), student.vocab_size):
        raise UserError(
            f"the teacher {name} has another vocabulary than the student, so its probabilities are about other tokens: "
            "choose a teacher with the same, or leave out --init-from."
        )
    if teacher.labels != student.labels:
        raise UserError(
            f"the teacher {name} knows the labels {', '.join(teacher.labels)}, and the data has "
            f"{', '.join(student.labels)}: choose a teacher with the same."
        )
    if teacher.context_length < student.context_length:
        raise UserError(
            f"the teacher {name} reads at most {teacher.context_length} tokens, and the student "
            f"{student.context_length}: give the student --context-length {teacher.context_length}, or choose another "
            "teacher."
        )
    return model
