"""The project uses the words of the field: no private names, no outdated identifiers, error messages are sentences."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".yml", ".cff", ".toml"}
FOLDERS = ("llmasos", "lessons", "tests", "data", ".github", ".ci")
STORIES = "llmasos/datasets/storyworld/"  # the texts of its stories are data, and must not change
QUOTED = {  # file → a word that it quotes from the stories, or uses in its ordinary sense
    "lessons/02_tokens/lesson.py": "mended",
    "lessons/07_bert/checks.py": "mend",
    "lessons/08_classification/lesson.py": "mend",
    "lessons/10_translation/checks.py": "mended",
    "lessons/10_translation/lesson.py": "notices",
    "tests/helpers/lessons_helpers.py": "notices",
    "data/storyworld/chat_dialogues.py": "Summarise",
}

WORDS = {  # regular expression, matched in any case → what to write instead
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"shall": "must, should",
    r"who(ever|mever|soever)": "a user, anyone who",
    r"likeliest": "most likely",
    r"commonest": "most common",
    r"go(es|ing)? on with": "continue",
    r"(stands?|lies) beside": "comes with, is next to",
    r"is told": "receives",
    r"what (there is|does not fit)": "a noun",
    r"those that there are": "the existing ones",
    r"(?-i:Arguments:)": "Args:",
    r"who asks": "a user who wants",
    r"yardstick": "baseline",
    r"(normal|summar|initial|recogn|token|optim|memor|organ|synchron|general|util)is(e[sdr]?|ers|ing|ations?)": "-ize",
    r"(behavi|col|fav|neighb)our(s|ed|ing)?": "-or",
    r"(centre|licence|modelling|travelling)s?": "American spelling",
    r"(so many|so much) (tokens|texts|bytes|characters|steps|examples)": "this many, n",
}
IDENTIFIERS = {  # outdated name → its replacement
    "notices": "warnings",
    "IGNORED": "IGNORE_INDEX",
    "DialogueLM": "SupervisedFineTuning",
    "encode_spans": "encode_with_offsets",
    "StreamDecoder": "IncrementalDetokenizer",
    "SlotDecoder": "ContinuousBatch",
    "frame_size": "n_special_tokens",
    "load_body": "load_backbone",
    "read_body": "load_backbone",
    "source_real": "source_attention_mask",
    "join_world": "init_distributed",
    "tensors_to": "to_device",
    "last_checkpoint": "latest_checkpoint",
    "is_sound": "is_valid",
    "hold_out": "split_off_validation",
    "take_turns": "interleave",
    "share_heads": "repeat_kv",
    "generate_plain": "generate_naive",
    "encode_slowly": "encode_naive",
    "learn_merges_plainly": "learn_merges_naive",
    "recognise": "infer_format",
    "AnswerQuestions": "QuestionAnswering",
    "Summarise": "Summarization",
    "new-term": "reset",
    "--accumulation-steps": "--gradient-accumulation-steps",
    "--hide-share": "--mask-prob",
    "--whole-words": "--whole-word-masking",
    "/v1/fill_mask": "/v1/fill-mask",
    "/v1/look": "/v1/inspect",
    "/v1/answer": "/v1/question-answering",
    "summarise-storyworld": "summarize-storyworld",
    "llmasos/commands": "llmasos/cli",
    "llmasos.commands": "llmasos.cli",
    "serving/routes": "serving/api",
}
ANY_WORD = re.compile(rf"\b(?<!-)(?:{'|'.join(WORDS)})(?!\w)", re.IGNORECASE)  # \b once: ten times as fast
ANY_IDENTIFIER = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, IDENTIFIERS))})(?![\w-])")


@functools.cache
def texts() -> dict[str, str]:
    """All files in which people read or write words, read once for all tests: path from the root → text."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths += sorted((ROOT / folder).rglob("*"))
    names = {path.relative_to(ROOT): path for path in paths if path.suffix in SUFFIXES}
    return {
        name.as_posix(): path.read_text(encoding="utf-8")
        for name, path in names.items()
        if not {"__pycache__", "cache", "mine"} & set(name.parts)
    }


def matches(pattern: re.Pattern, name: str, text: str) -> list[str]:
    """Every match in a file, as FILE:LINE: word."""
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for match in pattern.finditer(text)
        if match[0] != QUOTED.get(name)
    ]


@pytest.mark.parametrize("pattern", [ANY_WORD, ANY_IDENTIFIER], ids=["words", "names"])
def test_no_word_that_the_field_does_not_use(pattern):
    results: list[str] = []
    for name, text in texts().items():
        if name != "tests/test_language.py" and not name.startswith(STORIES):
            results += matches(pattern, name, text)
    assert not results, f"{len(results)} matches; tests/test_language.py lists what to write:\n" + "\n".join(results)


@pytest.mark.parametrize("pattern, text, found", [
    (ANY_WORD, "# Anew\n\nself-mended, x_mends, or mends it", ["a.md:1: Anew", "a.md:3: mends"]),
    (ANY_WORD, "arguments: Arguments:\ncolour", ["a.md:1: Arguments:", "a.md:2: colour"]),
    (ANY_IDENTIFIER, "--whole-words x-notices\n/v1/look", ["a.md:1: --whole-words", "a.md:2: /v1/look"]),
])  # fmt: skip
def test_such_a_word_is_found(pattern, text, found):
    assert matches(pattern, "a.md", text) == found


def nodes(contain: str, but_not: str | tuple = ()) -> Iterator[tuple[str, ast.AST]]:
    """The syntax nodes of all Python files that match a regular expression; the other files are not parsed."""
    for name, text in texts().items():
        if name.endswith(".py") and not name.startswith(but_not) and re.search(contain, text):
            yield from ((name, node) for node in ast.walk(ast.parse(text)))


def test_no_docstring_starts_with_its_arguments():
    heading = "(Args|Arguments|Returns|Raises|Attributes):"
    results = []
    for name, node in nodes(rf"""["'][\s\\]*{heading}"""):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").split("\n")[0]
            if re.match(heading, first):
                results.append(f"{name}:{getattr(node, 'lineno', 1)}: {first}")
    assert not results, "\n".join(results)


def last_text(node: ast.expr) -> str | None:
    """The text at the end of a string expression; None if it ends with a value that is only known at run time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return last_text(node.values[-1]) if node.values else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return last_text(node.right)
    return None


def test_error_messages_end_with_a_period():
    results = []
    for name, node in nodes(r"\bUserError\(", but_not="tests/"):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError" and node.args:
            text = last_text(node.args[0])
            if text is not None and not text.rstrip().endswith((".", "!", "?")):
                results.append(f"{name}:{node.lineno}: …{text[-60:]}")
    assert not results, "\n".join(results)
