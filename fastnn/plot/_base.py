"""What pictures share: colours, sizes of texts, legends."""

from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes

from fastnn._support import validate

BLUE, RED, ORANGE = "#3d8fc9", "#d8504d", "#e08e1b"  # legible on white and on black
# Smaller letters, in points, are not drawn.
LEGIBLE = 5.0
# Of a letter: its width in its size, at most on average over a title.
LETTER = 0.64
# In axes of fewer inches across, texts beside curves are smaller in proportion.
WIDE = 3.5


def write(ax: Any, spot: Any, text: str, size: float, **style: Any) -> bool:
    """Write text around a spot, unless there is none or it would be illegible, and return whether it was."""
    written = text != "" and size >= LEGIBLE
    if written:
        ax.text(*spot, text, size=size, **{"ha": "center", "va": "center"} | style)
    return written


def sign(weight: float) -> str:
    return BLUE if weight >= 0 else RED


def ground(ax: Axes) -> Any:
    """Return the colour behind a drawing without frame: the figure's."""
    return ax.figure.get_facecolor()


def find_axes(ax: Axes | None, width: float, height: float, layout: str | None = "constrained") -> Axes:
    """Return the Axes that are given, or those of a new figure of that size in inches."""
    found: Any = pyplot.subplots(figsize=(width, height), layout=layout)[1] if ax is None else ax
    if not isinstance(found, Axes):
        given = validate.show(found)
        raise TypeError(f"ax must be matplotlib's Axes, such as figure, ax = pyplot.subplots() has, got {given}")
    return found


def find_bare_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the Axes that are given, or some that are all of a new figure of that size in inches."""
    found = find_axes(ax, width, height, layout=None)
    if ax is None:
        found.set_position((0, 0, 1, 1))
    return found


def finish_drawing(ax: Any, across: tuple[float, float], up: tuple[float, float]) -> Axes:
    """Have Axes show a drawing of those limits, in its proportions."""
    ax.set(xlim=across, ylim=up, aspect="equal")
    ax.set_axis_off()
    found: Axes = ax
    return found


def draw_arrow(ax: Any, start: Any, end: Any, colour: Any, head: float, zorder: int = 1, **style: Any) -> None:
    """Draw an arrow, with a head of so many points."""
    arrow = {"arrowstyle": "-|>", "mutation_scale": head, "color": colour, "shrinkA": 0, "shrinkB": 0, **style}
    ax.annotate("", xy=end, xytext=start, arrowprops=arrow, zorder=zorder)


def fit_texts(ax: Any, *beside: Any) -> float | None:
    """Make the texts of narrow axes, and of others beside them, smaller; return their size in points, or None."""
    share = ax.get_window_extent().width / ax.figure.dpi / WIDE
    if share >= 1:
        return None
    size: float = max(LEGIBLE, share * ax.xaxis.label.get_size())
    for axes in (ax, *beside):
        axes.tick_params(which="both", labelsize=size)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_size(size)
    return size


def add_legend(ax: Any, lines: list[Any], n_columns: int, size: float | None, share: float = 0.5) -> None:
    """Put a legend above the curves, as inside there is no place that they always leave free.

    None where it would be wider than they, or take more than a share of their height.
    """
    room = ax.get_window_extent()
    for columns in range(n_columns, 0, -1):
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns, "frameon": False}
        legend = ax.legend(handles=lines, fontsize=size, **place)
        box = legend.get_window_extent()
        if box.width <= room.width and box.height <= room.height * share:
            return
    legend.remove()
