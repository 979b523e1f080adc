"""Pictures for lessons: as a PNG in `runs/lessons/` where matplotlib is installed, as text in the terminal otherwise.

In a notebook matplotlib shows them in place.
"""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lessons.machinery.workspace import Workspace

SHADES = " ░▒▓█"
MARKS = "●○×+◆"


def heatmap(
    matrix: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], title: str, file: str
) -> None:
    """Numbers from 0 to 1 as shades, one row a line.

    Args:
        matrix: (R, C) numbers; the largest of a row is darkest.
        rows, columns: what they are called; single characters are best.
        title: what to see.
        file: the PNG's name without ending.
    """
    plot = pyplot()
    if plot is None:
        print(f"\n{title}")
        width = max(map(len, rows))
        print(" " * width + "  " + "".join(f"{column[:2]:<2}" for column in columns))
        for name, values in zip(rows, matrix, strict=True):
            print(f"{name:>{width}}  " + "".join(shade(value) * 2 for value in values))
        return
    figure, axes = plot.subplots(figsize=(1.5 + 0.22 * len(columns), 1.2 + 0.22 * len(rows)))
    axes.imshow(matrix, cmap="Blues", vmin=0, aspect="equal")
    axes.set_xticks(range(len(columns)), columns, family="monospace")
    axes.set_yticks(range(len(rows)), rows, family="monospace")
    axes.set_title(title)
    save(plot, figure, file, title)


def curves(lines: dict[str, Sequence[tuple[float, float]]], title: str, x: str, y: str, file: str) -> None:
    """Curves through points (x, y), by name."""
    plot = pyplot()
    if plot is not None:
        figure, axes = plot.subplots(figsize=(6.5, 4))
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=name)
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


def pyplot():
    """matplotlib's pyplot, or None where it is not installed or LLMASOS_TEXT_PICTURES asks for text."""
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
    """Write the PNG and say where it is; in a notebook show it."""
    path: Path = Workspace.default().runs / f"{file}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    if "ipykernel" in sys.modules:
        plot.show()
    plot.close(figure)
    print(f"picture: {title} → {path}")


def shade(value: float) -> str:
    """A character as dark as the value, from 0 to 1."""
    if not math.isfinite(value):
        return "?"
    return SHADES[min(len(SHADES) - 1, max(0, math.ceil(value * (len(SHADES) - 1) - 0.1)))]
