"""Right or wrong, and why: the observations of a student's function beside those of the reference.

The first case that fails is the smallest, because authors put the small ones first. If some misconception gives the
student's output on every case that fails, that is the mistake, and it has a name. If none does, what can be said in
general is said: an exception, a shape, an input that was changed, a gradient that does not arrive.
"""

import ast
import difflib
from dataclasses import dataclass, field
from functools import cache

from lessons.machinery.comparison import Foreign, decode, difference, encode, show
from lessons.machinery.discovery import Lesson
from lessons.machinery.execution import Failure, Observation, is_float, observe
from lessons.machinery.exercises import Case, Exercise, Misconception, Written
from lessons.machinery.forbidden import find_forbidden
from lessons.machinery.runner import Run

RIGHT, WRONG, NOT_DONE = "right", "wrong", "not done"
IF_THE_NUMBERS_ARE_RIGHT = ("inputs changed in place", "gradient does not flow", "wrong gradient")


@dataclass
class Verdict:
    """What is to be said about one exercise.

    Attributes:
        task: which exercise.
        status: RIGHT, WRONG or NOT_DONE.
        mistake: what the mistake is called: a misconception's name, or one of the general ones ("wrong shape").
        why: what was done, and what follows from it.
        hint: what to think about next.
        section: the section of the lesson to read again.
        example: the smallest case that fails, with the student's output beside the expected one.
        failing, cases: how many cases fail, of how many.
        notes: what else is worth knowing and costs nothing.
        printed: what the code printed in that case.
    """

    task: Exercise | Written
    status: str
    mistake: str = ""
    why: str = ""
    hint: str = ""
    section: str = ""
    example: str = ""
    failing: int = 0
    cases: int = 0
    notes: list[str] = field(default_factory=list)
    printed: str = ""

    @property
    def score(self) -> float:
        """The points that were earned."""
        return self.task.points if self.status == RIGHT else 0.0


@dataclass(frozen=True)
class Fault:
    """What is wrong in one case, in general terms: the name of the mistake, why, and a hint."""

    mistake: str
    why: str
    hint: str = ""


# Before anything is run


def read_source(source: str, where: str) -> ast.Module | Fault:
    """The syntax tree of a student's file, or what keeps Python from reading it."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        shown = f"\n    {line}" if line else ""
        return Fault("syntax error", f"Python cannot read {where}, line {error.lineno}: {error.msg}.{shown}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Fault("syntax error", f"Python cannot read {where}: {error}.")


def before_running(tree: ast.Module, stub: ast.Module, exercise: Exercise, where: str) -> Fault | None:
    """What the text alone tells: the function is missing, takes other arguments, or uses what it must not."""
    definitions = top_level(tree)
    if exercise.name not in definitions:
        others = [name for name in definitions if name not in top_level(stub)]
        near = difflib.get_close_matches(exercise.name, others, n=1, cutoff=0.5) or others[:1]
        renamed = f"; if {near[0]!r} is what it is called now, give it its old name back" if near else ""
        return Fault("not there", f"{where} has no {exercise.name!r}, which is what the checks call{renamed}.")
    wanted, got = top_level(stub).get(exercise.name), definitions[exercise.name]
    if isinstance(got, ast.FunctionDef) and isinstance(wanted, ast.FunctionDef):
        n, (least, most) = len(wanted.args.args), arity(got)
        if not least <= n <= most or got.args.kwonlyargs and not all(d is not None for d in got.args.kw_defaults):
            ours, theirs = ast.unparse(wanted.args), ast.unparse(got.args)
            return Fault(
                "wrong signature",
                f"{exercise.name}({theirs}) in line {got.lineno} cannot be called as the checks call it: "
                f"{exercise.name}({ours}).",
                "Keep the first line of the function as it was given.",
            )
    found = find_forbidden(tree, exercise)
    if found is not None:
        name, reason, line = found
        return Fault("not allowed", f"{where}, line {line} uses {name}, which is not allowed here: {reason}.")
    return None


def top_level(tree: ast.Module) -> dict[str, ast.stmt]:
    """What a file defines: name → statement."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name): node for alias in node.names if alias.asname}
    return found


def arity(function: ast.FunctionDef) -> tuple[int, float]:
    """The least and the greatest number of arguments that it can be called with by position."""
    arguments = function.args
    n = len(arguments.posonlyargs) + len(arguments.args)
    return n - len(arguments.defaults), float("inf") if arguments.vararg else n


def is_not_done(tree: ast.Module, name: str) -> bool:
    """Whether the function is still as in the stub: it does nothing but raise NotImplementedError."""
    node = top_level(tree).get(name)
    if isinstance(node, ast.ClassDef):
        return any(is_not_done(ast.Module([inner], []), inner.name) for inner in node.body if hasattr(inner, "name"))
    if not isinstance(node, ast.FunctionDef):
        return False
    last = node.body[-1]
    raised = last.exc if isinstance(last, ast.Raise) else None
    raised = raised.func if isinstance(raised, ast.Call) else raised
    return len(node.body) <= 2 and isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


# After running


@cache
def expected(exercise: Exercise) -> list[Observation]:
    """What the reference does on every case."""
    return watch(exercise, exercise.reference)


@cache
def of_misconception(exercise: Exercise, misconception: Misconception) -> list[list[Observation]]:
    """What each variant of the misconception does on every case."""
    return [watch(exercise, code) for code in (misconception.code, *misconception.variants)]


def watch(exercise: Exercise, function) -> list[Observation]:
    """Observe code of our own on every case, here in this process, as if it had been sent from another."""
    return [arrived(observe(function, case, exercise.gradients)) for case in exercise.cases]


def arrived(seen: Observation) -> Observation:
    """The observation as it is after it was sent."""
    return Observation.from_json(seen.to_json())


def judge(exercise: Exercise, run: Run, source: str, where: str) -> Verdict:
    """The verdict on one exercise from what was observed.

    Args:
        exercise: which.
        run: what was observed of the student's file.
        source: its text, to show a line of it.
        where: what to call it.
    """
    if run.unloadable is not None:
        fault = of_failure(run.unloadable, source, where)
        why = f"{where} cannot be imported. {fault.why}"
        return Verdict(exercise, WRONG, fault.mistake, why, fault.hint, printed=run.printed)
    observations = run.observations.get(exercise.name, [])
    return judge_observations(exercise, observations, source, where)


def judge_observations(
    exercise: Exercise, observations: list[Observation], source: str = "", where: str = ""
) -> Verdict:
    """The verdict on one exercise from the observations of its cases, as far as there are any."""
    faults = [
        fault_of(exercise, case, right, seen, source, where)
        for case, right, seen in zip(exercise.cases, expected(exercise), observations, strict=False)
    ]
    n_cases = len(exercise.cases)
    failing = [i for i, fault in enumerate(faults) if fault is not None]
    if not failing and len(observations) >= n_cases:
        notes = sorted({f"A note: {seen.device}" for seen in observations if seen.device})
        return Verdict(exercise, RIGHT, cases=n_cases, notes=notes)
    if not failing:
        return Verdict(exercise, WRONG, "no answer", "The checks of it did not come to an end.", cases=n_cases)
    first = failing[0]
    if faults[first].mistake in IF_THE_NUMBERS_ARE_RIGHT:  # in every case, not only in the smallest
        first = next((i for i in failing if faults[i].mistake in ("wrong values", "wrong shape")), first)
    seen, fault = observations[first], faults[first]
    if seen.failure is not None and seen.failure.kind == "NotImplementedError":
        return Verdict(exercise, NOT_DONE, cases=n_cases)
    limits = seen.failure is not None and seen.failure.kind in ("Forbidden", "Refused", "Died")
    verdict = Verdict(
        exercise, WRONG, fault.mistake, fault.why, fault.hint, exercise.section,
        "" if limits else example_of(exercise.cases[first], expected(exercise)[first], seen),
        len(failing) + n_cases - len(observations), n_cases, printed=seen.printed,
    )  # fmt: skip
    known = recognise(exercise, observations, failing)
    if known is not None:
        verdict.mistake, verdict.why, verdict.hint, verdict.section = known.name, known.why, known.hint, known.section
    return verdict


def recognise(exercise: Exercise, observations: list[Observation], failing: list[int]) -> Misconception | None:
    """The misconception whose outputs are the student's on every case that fails.

    Of several the one that also agrees where the student is right is the better explanation; else the first.
    """
    grader_says = ("TimeUp", "Died", "Forbidden", "Refused", "MemoryError")
    if any(observations[i].failure and observations[i].failure.kind in grader_says for i in failing):
        return None
    candidates = []
    for misconception in exercise.misconceptions:
        for theirs in of_misconception(exercise, misconception):
            same = [alike(exercise, a, b) for a, b in zip(theirs, observations, strict=False)]
            if all(same[i] for i in failing) and any(tells_something(theirs[i], observations[i]) for i in failing):
                candidates.append((-sum(same), len(candidates), misconception))
    return min(candidates)[2] if candidates else None


def tells_something(a: Observation, b: Observation) -> bool:
    """Whether it means anything that two functions did the same: many mistakes end in some RuntimeError."""
    return a.failure is None or a.failure.message == b.failure.message


def alike(exercise: Exercise, a: Observation, b: Observation) -> bool:
    """Whether two functions did the same on a case."""
    if (a.failure and a.failure.kind) != (b.failure and b.failure.kind):
        return False
    if a.failure:
        return True
    if a.changed != b.changed or a.unstable != b.unstable or a.flows != b.flows:
        return False
    return difference(a.output, b.output, exercise.rtol, exercise.atol) is None


def fault_of(
    exercise: Exercise, case: Case, right: Observation, seen: Observation, source: str, where: str
) -> Fault | None:
    """What is wrong in one case, or None."""
    if right.failure is not None:
        if seen.failure is not None and seen.failure.kind == right.failure.kind:
            return None
        if seen.failure is None:
            return Fault("no exception", f"It should raise {right.failure.kind} here, and returned something instead.")
    if seen.failure is not None:
        return of_failure(seen.failure, source, where)
    wrong = difference(right.output, seen.output, exercise.rtol, exercise.atol)
    if wrong is not None and seen.unstable and not right.unstable:
        return Fault(
            "uncontrolled randomness",
            "Called twice with the same inputs, it gives two different results.",
            "Something draws from the global random generator, or remembers the last call. Use the generator that is "
            "passed in, or none.",
        )
    if wrong is not None:
        sentence = wrong.message[0].upper() + wrong.message[1:]
        if wrong.kind == "shape":
            return Fault("wrong shape", sentence, "Write the shape of every intermediate result beside its line.")
        if wrong.kind == "dtype":
            return Fault("wrong dtype", sentence)
        if wrong.kind == "type":
            return Fault("wrong type", sentence)
        return Fault("wrong values", sentence, "Work through this example by hand, and compare step by step.")
    if set(seen.changed) - set(right.changed):
        names = " and ".join(sorted(set(seen.changed) - set(right.changed)))
        return Fault(
            "inputs changed in place",
            f"The result is right, but {names} is no longer what it was: the caller's own was changed.",
            "`x += …`, `x[…] = …`, `del x[…]`, tensor methods that end in an underscore and list methods such as "
            "`append` and `pop` write into what was passed in. Make a new one instead.",
        )
    if seen.unstable and not right.unstable:
        return Fault("uncontrolled randomness", "Called twice with the same inputs, it gives two different results.")
    return gradient_fault(exercise, case, right, seen, source, where)


def gradient_fault(
    exercise: Exercise, case: Case, right: Observation, seen: Observation, source: str, where: str
) -> Fault | None:
    """What is wrong with the gradients of one case, or None."""
    if right.gradients is None:
        return None
    if seen.gradient_failure is not None:
        if seen.gradient_failure.kind == "NotImplementedError":
            return None
        fault = of_failure(seen.gradient_failure, source, where)
        return Fault("gradient does not flow", f"The numbers are right, but with gradients it fails: {fault.why}")
    hint = "`.detach()`, `.data`, `.item()`, `torch.no_grad()`, NumPy and `torch.tensor(x)` cut off the gradient."
    if not seen.flows:
        why = "The numbers are right, but no gradient flows back from the result: a model with this part cannot learn."
        return Fault("gradient does not flow", why, hint)
    names = [name for name, value in case.inputs.items() if is_float(value)]
    for name, ours, theirs in zip(names, right.gradients, seen.gradients or [None] * len(names), strict=False):
        if ours is None:
            continue
        nothing = theirs is None
        if nothing and bool((ours.abs() > exercise.atol).any()):
            return Fault("gradient does not flow", f"The numbers are right, but no gradient reaches {name}.", hint)
        if not nothing and difference(ours, theirs, 10 * exercise.rtol, 10 * exercise.atol) is not None:
            return Fault("wrong gradient", f"The numbers are right, but the gradient of {name} is not.", hint)
    return None


def of_failure(failure: Failure, source: str, where: str) -> Fault:
    """What an exception means for the student, with their own line."""
    lines = source.splitlines()
    at = ""
    if failure.line is not None and 0 < failure.line <= len(lines):
        at = f"\n    line {failure.line} of {where}:  {lines[failure.line - 1].strip()}"
    message = failure.message.rstrip(".")
    if failure.kind == "TimeUp":
        return Fault("it does not come to an end", f"It was {message}, and was stopped.{at}", "Which loop never ends?")
    if failure.kind == "Died":
        return Fault("it ends the program", f"There was no answer: {message}.{at}")
    if failure.kind == "Forbidden":
        return Fault("not allowed", f"{message[0].upper()}{message[1:]}.{at}")
    if failure.kind == "Refused":
        return Fault("outside an exercise's limits", f"It was stopped, because {message}.{at}")
    if failure.kind == "MemoryError" or "can't allocate memory" in message:
        return Fault("too much memory", f"It asked for more memory than an exercise gets.{at}")
    if failure.kind == "NotImplementedError" and not at:
        return Fault("exception", f"torch says: {message}.")
    if not at:
        return Fault(f"exception ({failure.kind})", f"What it returned cannot be used: {failure.kind}: {message}.")
    return Fault(f"exception ({failure.kind})", f"It ends in {failure.kind}: {message}.{at}")


def example_of(case: Case, right: Observation, seen: Observation) -> str:
    """A case with its inputs, and the expected output above the student's."""
    wanted, got = right.output, seen.output
    lines = [f"case: {case.name}"]
    width = max([8, *map(len, case.inputs)])
    pad = " " * (width + 3)
    for name, value in case.inputs.items():
        lines.append(f"{name:>{width}} = {shown_input(value, pad)}")
    expectation = f"an exception, {right.failure.kind}" if right.failure else show(wanted, got, pad)
    lines.append(f"{'expected':>{width}} : {expectation}")
    if seen.failure is None:
        lines.append(f"{'yours':>{width}} : {show(got, wanted, pad)}")
    return "\n".join(lines)


def shown_input(value, pad: str) -> str:
    """An input for a person."""
    value = decode(encode(value))
    return show(value, None, pad) if not isinstance(value, Foreign) else value.description


def judge_written(task: Written, tree: ast.Module, stub: ast.Module, where: str) -> Verdict:
    """Whether an answer in words is there: a string of enough words, other than the stub's."""
    text, before = written_text(tree, task.name), written_text(stub, task.name)
    if text is None:
        return Verdict(task, WRONG, "not there", f"{where} has no text called {task.name}.")
    words = len(text.split())
    if text == before or not words:
        return Verdict(task, NOT_DONE)
    if words < task.words:
        why = f"Your answer has {words} words; about {task.words} are needed to say it."
        return Verdict(task, WRONG, "too short", why, section=task.section)
    return Verdict(task, RIGHT, notes=["A person reads this answer."])


def written_text(tree: ast.Module, name: str) -> str | None:
    """The string that a file assigns to `name`."""
    node = top_level(tree).get(name)
    value = getattr(node, "value", None)
    return value.value.strip() if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def explain_place(lesson: Lesson, section: str) -> str:
    """Where to read again, or nothing."""
    return lesson.place(section) if section in lesson.sections else ""
