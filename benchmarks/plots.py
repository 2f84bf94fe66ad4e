"""How plots look: a sentence on top that says what to conclude, and labels that lie apart."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

# Letters of a line of the title, for each inch of the plot.
LETTERS = 11


def new_plot(
    title: str, *, panels: int = 1, width: float = 7.5, height: float = 4.5
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, side by side.

    Args:
        title: Sentence that says what to conclude.
        panels: Number of axes.
        width: Inches.
        height: Inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(title, round(LETTERS * width)), fontsize=11)
    axes = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    for each in axes:
        each.grid(alpha=0.3)
    return figure, axes


def label_points(
    figure: Figure, axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]
) -> None:
    """Write labels beside points, but none that would lie on an earlier one.

    Args:
        figure: The figure.
        axes: Axes with everything else drawn.
        points: Where.
        texts: What, the most important first.
    """
    figure.draw_without_rendering()  # so that everything has its place
    taken: list[Bbox] = []
    for point, text in zip(points, texts, strict=True):
        label = axes.annotate(text, point, textcoords="offset points", xytext=(5, 5), fontsize=8)
        box = label.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            label.remove()
        else:
            taken.append(box)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, the same file for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
