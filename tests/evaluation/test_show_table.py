"""Results are shown as tables: by print, in a console, and in a notebook."""

import math

from llmasos.evaluation.metric import Metric
from llmasos.tasks import Report

REPORT = Report(
    [Metric("accuracy", 0.912, 0.893, 0.929, 1000), Metric("F1 <1>", 0.5, math.nan, math.nan, 1, "of one & only")],
    ["a  b\n1  2"],
    ["a mistake <b>"],
)


def test_print_and_a_console_show_aligned_columns():
    lines = str(REPORT).splitlines()
    assert lines[:3] == [
        "metric    value  95 % interval  n",
        "accuracy  0.912  0.893–0.929    1,000",
        "F1 <1>    0.500                 1      of one & only",
    ]
    assert lines[3:] == ["", "a  b", "1  2", "", "Some of its mistakes:", "a mistake <b>"]
    assert repr(REPORT) == str(REPORT)


def test_a_notebook_shows_html_without_anything_of_the_texts_as_markup():
    html = REPORT._repr_html_()
    assert html.startswith("<table><tr><th>metric</th><th>value</th><th>95 % interval</th><th>n</th><th></th></tr>")
    assert "<tr><td>F1 &lt;1&gt;</td><td>0.500</td><td></td><td>1</td><td>of one &amp; only</td></tr></table>" in html
    assert "a mistake &lt;b&gt;</pre>" in html and "<b>" not in html
    assert "<pre>" not in Report(REPORT.metrics)._repr_html_()
