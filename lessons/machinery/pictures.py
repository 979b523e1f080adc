"""Pictures for lessons: a PNG in `runs/lessons/` if matplotlib is installed, otherwise text in the terminal.

In a notebook, matplotlib shows them inline.
"""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lessons.machinery.workspace import Workspace
from llmasos.storage.atomic import set_aside, write_file

MADE_BY = "llmasos lessons"  # in the metadata of every picture that a lesson saves

SHADES = " ░▒▓█"
MARKS = "●○×+◆△□"
PASTELS = ("#bcd7f0", "#f8d9a8", "#c9e7c3", "#eac6dd")


def heatmap(
    matrix: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], title: str, file: str
) -> None:
    """Draw numbers from 0 to 1 as shades, one row per line.

    Args:
        matrix: (R, C) numbers; the largest in a row is the darkest.
        rows, columns: the names of rows and columns. Column names longer than two characters are written vertically.
        title: the title.
        file: the PNG's name without the extension.
    """
    plot = pyplot()
    if plot is None:
        print(f"\n{title}")
        width = max(map(len, rows))
        height = max(map(len, columns))
        for letters in [columns] if height <= 2 else zip(*(column.rjust(height) for column in columns), strict=True):
            print((" " * width + "  " + "".join(f"{letter:<2}" for letter in letters)).rstrip())
        for name, values in zip(rows, matrix, strict=True):
            print(f"{name:>{width}}  " + "".join(shade(value) * 2 for value in values))
        return
    across, down = max(map(len, rows)), max(map(len, columns))  # characters in the longest names
    upright = down <= 2
    size = 1.5 + 0.08 * across + 0.22 * len(columns), 1.2 + 0.22 * len(rows) + (0 if upright else 0.08 * down)
    figure, axes = plot.subplots(figsize=size)
    axes.imshow(matrix, cmap="Blues", vmin=0, aspect="equal")
    axes.set_xticks(range(len(columns)), columns, family="monospace", rotation=0 if upright else 90)
    axes.set_yticks(range(len(rows)), rows, family="monospace")
    axes.set_title(title)
    save(plot, figure, file, title)


def curves(lines: dict[str, Sequence[tuple[float, float]]], title: str, x: str, y: str, file: str) -> None:
    """Draw named curves through points (x, y)."""
    plot = pyplot()
    if plot is not None:
        figure, axes = plot.subplots(figsize=(6.5, 4))
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) <= 8 else None)
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.legend()
        save(plot, figure, file, title)
        return
    width, height = 64, 16
    points = [point for line in lines.values() for point in line]
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*points, strict=True))
    canvas = [[" "] * (width + 1) for _ in range(height + 1)]
    for mark, line in zip(MARKS * len(lines), lines.values(), strict=False):
        for a, b in line:
            column = round((a - left) / ((right - left) or 1) * width)
            canvas[height - round((b - low) / ((high - low) or 1) * height)][column] = mark
    print(f"\n{title}   ({y} against {x})")
    for i, line in enumerate(canvas):
        label = f"{high - (high - low) * i / height:8.2f}" if i % 4 == 0 else " " * 8
        print(f"{label} │{''.join(line).rstrip()}")
    print(" " * 9 + "└" + "─" * (width + 1))
    print(f"{'':10}{left:<10g}{right:>{width - 9}g}")
    print("  ".join(f"{mark} {name}" for mark, name in zip(MARKS * len(lines), lines, strict=False)))


def pieces(rows: dict[str, Sequence[str]], title: str, file: str) -> None:
    """Draw texts cut into tokens, one text per line.

    Args:
        rows: name → the tokens of a text, in order. Represent invisible ones (a space, half a character) by something
            visible.
        title: the title.
        file: the PNG's name without the extension.
    """
    plot, margin = pyplot(), max(map(len, rows))
    if plot is None:
        print(f"\n{title}")
        for name, parts in rows.items():
            print(f"{name:>{margin}}  " + "|".join(parts))
        return
    width = max(sum(len(part) for part in parts) for parts in rows.values())
    figure, axes = plot.subplots(figsize=(0.6 + 0.095 * (margin + width), 0.7 + 0.33 * len(rows)))
    for y, parts in enumerate(rows.values()):
        left = 0
        for i, part in enumerate(parts):
            axes.barh(y, len(part), left=left, height=0.8, color=PASTELS[i % len(PASTELS)], edgecolor="white")
            axes.text(left + len(part) / 2, y, part, family="monospace", fontsize=9, ha="center", va="center")
            left += len(part)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlim=(0, width), xticks=[], ylim=(len(rows) - 0.5, -0.5), frame_on=False)
    save(plot, figure, file, title)


def choices(
    names: Sequence[str], values: Sequence[float], rules: dict[str, Sequence[bool]], title: str, file: str
) -> None:
    """Draw bars for a few items, largest first, and mark which ones each rule keeps.

    Args:
        names: the items' names.
        values: the lengths of their bars.
        rules: name of a rule → for each item, whether it is kept.
        title: the title.
        file: the PNG's name without the extension.
    """
    plot, margin = pyplot(), max(map(len, names))
    if plot is None:
        width = max(map(len, rules))
        print(f"\n{title}")
        print(f"{'':{margin + 8}}" + "  ".join(f"{rule:>{width}}" for rule in rules))
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            marks = "  ".join(f"{MARKS[0] if kept[i] else '·':>{width}}" for kept in rules.values())
            print(f"{name:>{margin}}  {value:4.2f}  {marks}  {'█' * round(value / max(values) * 30)}")
        return
    figure, (bars, marks) = plot.subplots(
        1, 2, sharey=True, figsize=(7.5, 0.9 + 0.24 * len(names)), width_ratios=(3, 1 + len(rules) / 2)
    )
    places = range(len(names))
    bars.barh(places, values, color="#7aa6d6")
    bars.set_yticks(places, names, family="monospace")
    bars.set(title=title, ylim=(len(names) - 0.5, -0.5))
    for x, kept in enumerate(rules.values()):
        marks.scatter([x] * len(names), places, c=["#d97706" if keep else "#e5e7eb" for keep in kept], s=45)
    marks.set_xticks(range(len(rules)), rules, rotation=45, ha="left")
    marks.tick_params(bottom=False, top=False, labelbottom=False, labeltop=True, left=False)
    marks.set(xlim=(-0.5, len(rules) - 0.5), frame_on=False)
    save(plot, figure, file, title)


def pyplot():
    """matplotlib's pyplot, or None if it is not installed or LLMASOS_TEXT_PICTURES is set."""
    if os.environ.get("LLMASOS_TEXT_PICTURES"):
        return None
    try:
        import matplotlib
    except ImportError:
        return None
    if "ipykernel" not in sys.modules:
        matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(plot, figure, file: str, title: str) -> None:
    """Save the PNG and print its path; in a notebook, also show it. A file from another program is renamed first."""
    path: Path = Workspace.default().runs / f"{file}.png"
    figure.tight_layout()
    if path.exists() and MADE_BY.encode() not in path.read_bytes():
        print(f"{path} was not written by a lesson; it is now {set_aside(path)}.")
    with write_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": MADE_BY})
    if "ipykernel" in sys.modules:
        plot.show()
    plot.close(figure)
    print(f"picture: {title} → {path}")


def shade(value: float) -> str:
    """A character as dark as the value, from 0 to 1."""
    if not math.isfinite(value):
        return "?"
    return SHADES[min(len(SHADES) - 1, max(0, math.ceil(value * (len(SHADES) - 1) - 0.1)))]
