"""Running a chat template: a Jinja program from the internet, in a sandbox without access to anything.

`jinja2` reads and runs it, with the settings of `transformers`, so it writes what `transformers` writes. Its sandbox
keeps a program from changing things. Two things are added, because a program may come from anybody:

- **Only data.** `value.name` is a key, or one of a few methods without side effects; never an attribute of a Python
  object. Filters, tests and functions are those in the tables of `sandbox.py`. `plain_data` copies the variables.
- **Everything is counted.** Everything that a program reads or creates costs steps (`cost.py`), and values that would
  be too large are rejected before they are created. jinja2 asks its environment for attributes, calls and arithmetic
  (`Sandbox`); for the rest, `bound` puts filters of ours around what loops run through, what is compared, and lists and
  texts that are made.

So every program ends within about a second, with a text or an error message.
"""

from collections.abc import Mapping
from traceback import walk_tb
from typing import Any, NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from llmasos.prompting.jinja.cost import MADE, MAX_DATA_DEPTH, RUN, Run, TemplateError, UnsupportedTemplate
from llmasos.prompting.jinja.sandbox import BEGIN, END, FILTERS, TESTS, sandbox

MAX_SOURCE, MAX_PARTS = 60_000, 12_000  # characters and parts of a program; the longest published ones have a third
MAX_NESTING = 100  # of the parts of a program
MAX_OUTPUT = 2_000_000  # characters


class Rendered(NamedTuple):
    """The output of a template.

    Attributes:
        text: the text of the whole conversation.
        generated: (start, end), in characters, of the parts inside {% generation %}, which the assistant writes.
    """

    text: str
    generated: list[tuple[int, int]]


class Template:
    """A program that is ready to run.

    >>> Template("{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\\n{% endfor %}").render(
    ...     {"messages": [{"role": "user", "content": " Hi! "}]}
    ... ).text
    '[user] Hi!\\n'

    Args:
        source: the program.

    Raises:
        UnsupportedTemplate: it cannot be read, or uses something that is not supported.
    """

    def __init__(self, source: str):
        if len(source) > MAX_SOURCE:
            raise UnsupportedTemplate(f"the program has more than {MAX_SOURCE:,} characters", 1)
        environment = sandbox()
        try:
            tree = bound(environment.parse(source))
            code = environment.compile(tree)
        except TemplateError:
            raise
        except TemplateSyntaxError as error:
            raise UnsupportedTemplate(error.message or "it is not Jinja", error.lineno) from error
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            problem = "it nests too much" if isinstance(error, RecursionError | MemoryError) else str(error)
            raise UnsupportedTemplate(f"the program cannot be read ({problem})", 1) from error
        self.template = environment.template_class.from_code(environment, code, environment.make_globals(None))

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        """Run the program.

        Args:
            variables: name → JSON-like data.

        Raises:
            TemplateError: the program refuses these variables (`raise_exception`), cannot compute something, or
                exceeds a limit; with the line.
        """
        context = self.template.new_context({name: plain_data(value) for name, value in variables.items()})
        token = RUN.set(Run())
        pieces, length, starts, generated = [], 0, [], []
        try:
            for piece in self.template.root_render_func(context):
                if piece is BEGIN:
                    starts.append(length)
                elif piece is END:
                    generated.append((starts.pop(), length))
                pieces.append(piece)
                length += len(piece)
                if length > MAX_OUTPUT:
                    raise TemplateError(f"the program writes more than {MAX_OUTPUT:,} characters")
            return Rendered("".join(pieces), generated)
        except Exception as error:  # whatever jinja2 and Python say about the program
            words = "the program nests too much" if isinstance(error, RecursionError) else str(error)
            problem = error if isinstance(error, TemplateError) else TemplateError(words or type(error).__name__)
            problem.line = self.line_of(error)
            raise problem from None
        finally:
            RUN.reset(token)

    def line_of(self, error: Exception) -> int:
        """The line of the program that was running when an error was raised."""
        lines = [n for frame, n in walk_tb(error.__traceback__) if "__jinja_template__" in frame.f_globals]
        return self.template.get_corresponding_lineno(lines[-1]) if lines else 1


def plain_data(value: Any, depth: int = 0) -> Any:
    """A copy of data that holds nothing but plain texts, numbers, booleans, none, lists and dictionaries.

    Raises:
        TemplateError: it holds something else, or too much nesting.
    """
    if depth > MAX_DATA_DEPTH:
        raise TemplateError(f"the data has more than {MAX_DATA_DEPTH} lists and objects within each other")
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item, depth + 1) for item in value]
    raise TemplateError(f"the data holds a {type(value).__name__}; a template takes text, numbers, lists and objects")


# ---- The tree of a program -------------------------------------------------------------------------------------------

STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With,
              nodes.Assign, nodes.AssignBlock, nodes.Scope, nodes.Break, nodes.Continue)  # fmt: skip
TAGS = {"FromImport": "from", "ScopedEvalContextModifier": "autoescape"}


def bound(tree: nodes.Template) -> nodes.Template:
    """A program that pays for what it does.

    Raises:
        UnsupportedTemplate: there is something in it, whether it is reached or not, that is not supported.
    """
    pending: list[tuple[nodes.Node, int, bool]] = [(child, 1, False) for child in tree.body]
    for node, depth, in_loop in pending:  # which grows
        name, problem = getattr(node, "name", ""), ""
        if depth > MAX_NESTING or len(pending) > MAX_PARTS:
            problem = f"the program has more than {MAX_PARTS:,} parts, or {MAX_NESTING} within each other"
        elif isinstance(node, nodes.Stmt) and not isinstance(node, STATEMENTS):
            tag = type(node).__name__
            problem = f"the statement {{% {TAGS.get(tag, tag.lower())} %}} is not supported"
        elif isinstance(node, nodes.Filter | nodes.Test) and name not in (FILTERS, TESTS)[isinstance(node, nodes.Test)]:
            problem = f"the {type(node).__name__.lower()} {name!r} is not supported"
        elif isinstance(node, nodes.Break | nodes.Continue) and not in_loop:
            problem = f"{{% {type(node).__name__.lower()} %}} is not in a loop"
        if problem:
            raise UnsupportedTemplate(problem, node.lineno)
        in_loop = isinstance(node, nodes.For) or in_loop and not isinstance(node, nodes.Macro | nodes.CallBlock)
        pending += [(child, depth + 1, in_loop) for child in node.iter_child_nodes()]
    return Bound().visit(tree)


def filtered(node: Any, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    """An expression with a filter of ours around it."""
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=getattr(node, "lineno", 1))


def size(node: nodes.Node | None) -> nodes.Const:
    """About how many steps a part of a program takes."""
    parts = [] if node is None else [node, *node.find_all(nodes.Node)]
    n_characters = sum(len(getattr(part, "data", "")) for part in parts)
    return nodes.Const(1 + len(parts) // 6 + n_characters // MADE)


class Bound(NodeTransformer):
    """Puts our filters into a tree."""

    def unless_constant(self, node: nodes.Expr, name: str) -> nodes.Expr:
        return node if isinstance(node, nodes.Const) else filtered(node, name)

    def pay(self, node: Any) -> Any:
        steps = nodes.ExprStmt(filtered(size(node), "#pay"), lineno=node.lineno)
        self.generic_visit(node)
        node.body.insert(0, steps)
        return node

    visit_Macro = visit_CallBlock = pay

    def visit_For(self, node: nodes.For) -> nodes.For:
        n = size(node.test)
        self.pay(node).iter = filtered(node.iter, "#items", n)
        return node

    def make(self, node: Any) -> Any:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else filtered(node, "#made")

    visit_List = visit_Tuple = visit_Dict = make

    def visit_Getitem(self, node: nodes.Getitem) -> Any:  # jinja2 does not ask the environment for slices
        return self.make(node) if isinstance(node.arg, nodes.Slice) else self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        node.nodes = [self.unless_constant(part, "#text") for part in node.nodes]
        return filtered(node, "#made")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        parts: list[Any] = [node, *node.ops]
        for part in parts:
            part.expr = self.unless_constant(part.expr, "#read")
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        self.generic_visit(node)
        node.key = self.unless_constant(node.key, "#read")
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.AssignBlock:
        self.generic_visit(node)
        node.filter = filtered(node.filter, "#made")
        return node
