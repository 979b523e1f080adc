"""Show results as tables: aligned text for the terminal, HTML for a notebook."""

from collections.abc import Sequence
from html import escape

from llmasos.console import text_table


class ShownAsTable:
    """A result that `print` and a notebook show as a table. Subclasses define `table`, and perhaps `notes`."""

    def table(self) -> Sequence[Sequence[str]]:
        """Return the rows of cells; the first is the header."""
        raise NotImplementedError

    def notes(self) -> Sequence[str]:
        """Return texts to show below the table."""
        return ()

    def __str__(self) -> str:
        return "\n".join([text_table(self.table()), *self.notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:  # the name that Jupyter looks for
        notes = "\n".join(self.notes())
        return html_table(self.table()) + (f"<pre>{escape(notes)}</pre>" if notes else "")


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as an HTML table.

    >>> html_table([("metric",), ("F1 < 0.5",)])
    '<table><tr><th>metric</th></tr><tr><td>F1 &lt; 0.5</td></tr></table>'
    """
    tags = ["th", *["td"] * (len(rows) - 1)]
    lines = ["".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in zip(tags, rows, strict=True)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
