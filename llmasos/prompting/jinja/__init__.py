"""Chat templates of published models: Jinja programs, run by `jinja2` in our own sandbox.

Read `template.py` first (a program and its tree), then `sandbox.py` (what it can do), then `cost.py` (its limits).
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.prompting.jinja.cost import Refusal, TemplateError, UnsupportedTemplate
    from llmasos.prompting.jinja.template import Rendered, Template

__all__ = ["Refusal", "Rendered", "Template", "TemplateError", "UnsupportedTemplate"]
lazy_exports(__name__)
