"""A network over sequences, unrolled: a column a step, a row a layer."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from fastnn.model.layers import GRU, LSTM, RNN, Flatten, Repeat
from fastnn.model.network import Network
from fastnn.plot._base import BLUE, LEGIBLE, LETTER, ORANGE, draw_arrow, find_bare_axes, finish_drawing, ground, write

# Of more steps the first ones and the last one are drawn, with dots between.
MAX_STEPS, FIRST_STEPS = 5, 3
# Boxes, and distances between columns and rows, in data units.
WIDTH, HEIGHT, COLUMN, ROW = 1.2, 0.7, 2.0, 1.5


def draw_steps(network: Network, ax: Axes | None) -> Axes:
    """Draw a network's levels from below to above, each as a box a step, or as one if it is no sequence."""
    levels = [network.input_shape, *network._level_shapes]
    n_steps = max((shape[0] for shape in levels if len(shape) == 2), default=network.input_shape[0])
    slots: list[int | None] = [*range(n_steps)]
    if n_steps > MAX_STEPS:
        slots = [*range(FIRST_STEPS), None, n_steps - 1]
    is_embedded = len(network.input_shape) == 1 and len(levels[1]) == 2 and not isinstance(network.layers[0], Repeat)
    names = [f"x, {' x '.join(map(str, network.input_shape))}", *(_shorten(str(layer)) for layer in network.layers)]
    label = 0.12 * max(map(len, names))
    width, height = COLUMN * (len(slots) - 1) + WIDTH + label + 0.6, ROW * (len(levels) - 1) + HEIGHT + 0.4
    ax = find_bare_axes(ax, min(0.8 * width, 16), min(0.8 * height, 10))
    box = ax.get_window_extent()
    unit = 72 / ax.figure.dpi * min(box.width / width, box.height / height)
    ink = ax.xaxis.label.get_color()
    arrow: dict[str, Any] = {"head": 0.25 * unit, "linewidth": 0.03 * unit, "zorder": 2}
    below: dict[int, float] = {}
    for k, (shape, name) in enumerate(zip(levels, names, strict=True)):
        layer = network.layers[k - 1] if k else None
        is_sequence = len(shape) == 2 or (k == 0 and is_embedded)
        last = len(slots) - 1
        column = 0 if k == 0 or (below == {0: 0.0} and last) else last  # what is flat stands above what it comes from
        columns = [c for c, step in enumerate(slots) if step is not None] if is_sequence else [column]
        here = {c: COLUMN * c for c in columns}
        up = ROW * k
        recurrent = isinstance(layer, RNN | GRU | LSTM)
        if recurrent and not is_sequence:  # all steps are there, and the last one goes on
            here = {c: COLUMN * c for c, step in enumerate(slots) if step is not None}
        for c, across in here.items():
            text = _name(k, c, slots, layer, is_sequence or recurrent, shape)
            _draw_box(ax, (across, up), text, BLUE if recurrent else ORANGE if k == 0 else ink, unit, ink)
        for across, start in _find_arrows(here, below, layer):
            draw_arrow(ax, (start, up - ROW + HEIGHT / 2), (across, up - HEIGHT / 2), ink, **arrow)
        if recurrent:
            for c in [*here][:-1]:
                after = c + 1 + (c + 1 not in here)
                draw_arrow(ax, (here[c] + WIDTH / 2, up), (here[after] - WIDTH / 2, up), BLUE, **arrow)
        if None in slots and len(here) > 1:
            write(ax, (COLUMN * FIRST_STEPS, up - 0.22), "...", max(LEGIBLE, 0.3 * unit), color=ink, va="bottom")
        write(ax, (-WIDTH / 2 - 0.2, up), name, min(0.2 * unit, 12.0), color=ink, ha="right")
        below = here if is_sequence or not recurrent else {[*here][-1]: [*here.values()][-1]}
    left, down = -WIDTH / 2 - label - 0.4, -HEIGHT / 2 - 0.2
    return finish_drawing(ax, (left, left + width), (down, down + height))


def _find_arrows(here: dict[int, float], below: dict[int, float], layer: Any) -> list[tuple[float, float]]:
    """Return where arrows between two levels end and begin: step by step, from one to all, or from all to one."""
    if isinstance(layer, Repeat | Flatten) or len(below) == 1 or len(here) == 1:
        return [(across, start) for across in here.values() for start in below.values()]
    return [(across, below[c]) for c, across in here.items() if c in below]


def _name(k: int, column: int, slots: list[int | None], layer: Any, is_step: bool, shape: tuple[int, ...]) -> str:
    """Return what stands in a box."""
    step = slots[column]
    if k == 0:
        return f"x{step + 1}" if is_step and step is not None else "x"
    if isinstance(layer, RNN | GRU | LSTM):
        return f"h{step + 1}" if step is not None else "h"
    return f"{shape[-1]}"


def _shorten(text: str) -> str:
    """Return a layer's description without what the picture shows."""
    return text.replace(", return_sequences=True", "")


def _draw_box(ax: Any, spot: tuple[float, float], text: str, colour: Any, unit: float, ink: Any) -> None:
    """Draw a box with its text."""
    across, up = spot
    style: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.12", "linewidth": 0.03 * unit, "zorder": 3}
    corner = (across - WIDTH / 2, up - HEIGHT / 2)
    ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, facecolor=ground(ax), edgecolor=colour, **style))
    size = 0.26 * unit
    if size < LEGIBLE and LEGIBLE * LETTER * len(text) < WIDTH * unit:
        size = LEGIBLE
    write(ax, spot, text, size, color=ink, zorder=4)
