"""A small, safe interpreter of the template language Jinja, for the chat templates that published models bring.

Read `syntax.py` (lexer and parser), then `values.py` (filters, tests, methods), then `interpreter.py`.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.prompting.jinja.interpreter import Rendered, Template
    from llmasos.prompting.jinja.syntax import UnsupportedTemplate
    from llmasos.prompting.jinja.values import Refusal, TemplateError

__all__ = ["Refusal", "Rendered", "Template", "TemplateError", "UnsupportedTemplate"]
lazy_exports(__name__)
