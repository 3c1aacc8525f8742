"""A network as circles and arrows, as stacks of images, or step by step; and what an input does in it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.kernels.activations import Activation
from fastnn.model.layers import AveragePool2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D
from fastnn.model.network import Network
from fastnn.plot._base import (
    BLUE,
    LEGIBLE,
    LETTER,
    RED,
    draw_arrow,
    find_bare_axes,
    finish_drawing,
    ground,
    sign,
    write,
)
from fastnn.plot._classes import check_names
from fastnn.plot._images import check_image_shape, sample_of_images
from fastnn.plot._steps import draw_steps

# Of a level of more units the first and the last are drawn, with dots between.
MAX_UNITS = 8
# Distances in a drawing of a network, in its data units; levels stand nearer to one another in narrow Axes.
RADIUS, BETWEEN_UNITS, BETWEEN_LEVELS, NEAREST_LEVELS = 0.42, 1.25, 3.6, 2.2
# Of a level of more images the first ones are drawn, one behind the other: by how much they are shifted, and how large
# the inputs are at most.
MAX_IMAGES, SHIFT, LARGEST_IMAGE = 4, 0.2, 2.2
DRAWN = (Dense, Conv2D, MaxPool2D, AveragePool2D, Flatten, Dropout)
# Weights stand on the arrows between two levels if no more arrows than this are drawn, and if the smaller level has no
# more units than this: they would touch. How wide one is.
MAX_LABELS, MAX_LABELLED, LABEL = 20, 4, 0.8
# Beside the outputs, room for a bar; below all, for the key.
BAR, KEY = 1.6, 0.5


def network(
    network: Network,
    x: ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Axes:
    """Draw a network, and what an input does in it.

    Dense layers are circles and arrows. Weights are blue where positive and red where negative, the wider the larger,
    and stand on the arrows if those are 20 at most; biases other than 0 stand in the circles, or, where
    these hold values, beneath them. Of a level of more than 8 units the first four and the last three are drawn, of one
    of more than 4 images the first four. Networks over sequences are drawn step by step, of more than five the first
    three and the last. Texts are as large as there is room for; those that would be smaller than 5 points are left out.

    Parameters
    ----------
    network : Network
    x : array_like, shape (n_inputs,) or (height, width, channels), optional
        One sample. The circles then hold the values of their units: above, small, the
        sum z; below it the activated value. Images show theirs, the largest of a level in white. Probabilities are
        bars beside the outputs.
    ax : matplotlib.axes.Axes, optional
        Where to draw, sized before; default a new figure.
    image_shape : (int, int), optional
        Rows and columns of an image that a network of dense layers takes as a vector: it is drawn as one.
    feature_names, class_names : sequence of str, optional
        What stands beside inputs and outputs.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> ax = fastnn.plot.network(fastnn.mlp(2, 3, 1, seed=0), x=[1, 1])
    """
    validate.instance("network", network, (Network,))
    network.check_weights()
    classes = check_names("class_names", class_names, network.output_layer.n_units)
    features = check_names("feature_names", feature_names, network.n_inputs)
    if len(network.input_shape) == 3 and all(isinstance(layer, DRAWN) for layer in network.layers):
        if features:
            raise ValueError("feature_names are of single inputs, and this network takes images")
        return _draw_network_of_images(network, x, ax, classes)
    if not network._is_plain():
        if x is not None or features or classes:
            raise ValueError("a network over sequences is drawn step by step, without a sample and without names")
        return draw_steps(network, ax)
    layers = network.dense_layers("plot.network")
    sizes = [network.n_inputs, *(layer.n_units for layer in layers)]
    texts = [[""] * size for size in sizes] if x is None else _describe_values(network, x)
    levels = [_place_units(size) for size in sizes]
    picture = None
    if image_shape is not None:
        picture = check_image_shape(image_shape, network.n_inputs, "the network")
        levels[0] = {}
    left = 1.2 if picture is None else LARGEST_IMAGE / 2 + 0.2
    left += 0.11 * max(map(len, features), default=0) * (picture is None)
    values = None if x is None or not _has_probabilities(network) else network.predict(np.reshape(x, (1, -1)))[0]
    right = 1.2 + (BAR if values is not None else 0.0) + 0.11 * max(map(len, classes), default=0)
    tops = [LARGEST_IMAGE / 2 * (picture is not None), *(up + RADIUS for level in levels for up in level.values())]
    top = max(tops)
    nearest = max([NEAREST_LEVELS, *(_find_distance(*pair) for pair in pairwise(levels) if _is_labelled(*pair))])
    ax, unit, ink, between = _prepare(ax, len(sizes), left + right, 2 * top + 1.3 + KEY, nearest)
    places = [{j: (between * k, up) for j, up in level.items()} for k, level in enumerate(levels)]
    if picture is not None:
        side = LARGEST_IMAGE * np.array(picture) / max(picture)
        pixels = None if x is None else validate.array("x", x, network.dtype).reshape(*picture, 1)
        _, edge = _draw_images(ax, pixels, 1, 0.0, side, ink, unit)
        _draw_fan(ax, edge, places[1], unit, ink)
    for k in range(len(layers)):
        _draw_weights(ax, network.weights[2 * k], places[k], places[k + 1], unit)
        _write_biases(ax, network.weights[2 * k + 1], places[k + 1], unit, x is not None)
    titles = [f"{sizes[0]} input" + "s" * (sizes[0] > 1), *map(_title, layers)]
    _write_titles(ax, titles, top, unit, ink, between)
    for place, size, lines in zip(places, sizes, texts, strict=True):
        if place:
            _draw_units(ax, place, size, lines, unit, ink)
    for j, (across, up) in places[0].items():
        if features:
            _write(ax, (across - RADIUS - 0.12, up), features[j], 0.2 * unit, unit, color=ink, ha="right")
    _draw_outputs(ax, places[-1], classes, values, unit, ink)
    _draw_key(ax, -top - 0.4, between * (len(sizes) - 1) / 2, unit, ink)
    width = left + between * (len(sizes) - 1) + right
    return finish_drawing(ax, (-left, width - left), (-top - 0.5 - KEY, top + 0.8))


def _has_probabilities(network: Network) -> bool:
    """Return whether the outputs are probabilities."""
    return network.output_layer.code in (Activation.SOFTMAX, Activation.SIGMOID)


def _draw_fan(ax: Any, start: float, ends: dict[int, tuple[float, float]], unit: float, ink: Any) -> None:
    """Draw arrows from an image to the units of the next level."""
    for across, up in ends.values():
        draw_arrow(ax, (start + 0.15, 0), (across - RADIUS, up), ink, 0.18 * unit, linewidth=0.02 * unit, alpha=0.6)


def _draw_outputs(
    ax: Any, level: dict[int, tuple[float, float]], names: list[str], values: Array | None, unit: float, ink: Any
) -> None:
    """Write what outputs are called beside them, and draw probabilities as bars."""
    for j, (across, up) in level.items():
        spot = across + RADIUS + 0.15
        if values is not None:
            frame: dict[str, Any] = {"linewidth": 0.015 * unit, "zorder": 2}
            ax.add_patch(Rectangle((spot, up - 0.12), BAR - 0.2, 0.24, fill=False, edgecolor="0.5", **frame))
            width = (BAR - 0.2) * float(values[j])
            ax.add_patch(Rectangle((spot, up - 0.12), width, 0.24, facecolor=BLUE, edgecolor="none", **frame))
            spot += BAR - 0.1
        if names:
            _write(ax, (spot, up), names[j], 0.2 * unit, unit, color=ink, ha="left")


def _draw_key(ax: Any, up: float, middle: float, unit: float, ink: Any) -> None:
    """Say what the colours are, if there is room for it."""
    for k, (colour, text) in enumerate(((BLUE, "positive"), (RED, "negative"))):
        across = middle + 1.5 * (k - 1) + 0.3
        if _write(ax, (across + 0.1, up - 0.2), text, 0.17 * unit, unit, color=ink, ha="left", room=1.0):
            ax.plot([across - 0.35, across], [up - 0.2] * 2, color=colour, linewidth=0.045 * unit)


def _draw_network_of_images(network: Network, x: ArrayLike | None, ax: Axes | None, classes: list[str]) -> Axes:
    """Draw images one behind the other, and the dense layers above as others are."""
    sample = np.zeros(network.input_shape) if x is None else sample_of_images(network, x)
    passed = network.forward(sample[None])
    layers = [layer for layer in network.layers if not isinstance(layer, Flatten | Dropout)]
    values = [a[0] for layer, a in zip(network.layers, passed.activations, strict=True) if layer in layers]
    sums = [z[0] for layer, z in zip(network.layers, passed.pre_activations, strict=True) if layer in layers]
    images = [sample, *(level for level in values if level.ndim == 3)]
    largest = max(network.input_shape[:2])
    sides = [LARGEST_IMAGE * np.sqrt(np.array(level.shape[:2]) / largest) for level in images]
    units = [_place_units(level.size) for level in values[len(images) - 1 :]]
    n_levels = len(images) + len(units)
    shown = values[-1] if x is not None and _has_probabilities(network) else None
    left = LARGEST_IMAGE / 2 + 0.6
    right = 1.2 + (BAR if shown is not None else 0.0) + 0.11 * max(map(len, classes), default=0)
    tops = [up + RADIUS for level in units for up in level.values()]
    top = max([*tops, *(height / 2 + SHIFT * (MAX_IMAGES - 1) / 2 for height, _ in sides)])
    ax, unit, ink, between = _prepare(ax, n_levels, left + right, 2 * top + 1.3, nearest=BETWEEN_LEVELS)
    places = [{j: (between * (len(images) + k), up) for j, up in level.items()} for k, level in enumerate(units)]
    edges = [
        _draw_images(ax, level if x is not None else None, level.shape[2], between * k, side, ink, unit)
        for k, (level, side) in enumerate(zip(images, sides, strict=True))
    ]
    for k, layer in enumerate(layers[: len(images) - 1]):
        start, end = edges[k][1] + 0.15, edges[k + 1][0] - 0.15
        draw_arrow(ax, (start, 0), (end, 0), ink, 0.18 * unit)
        size: Any = layer.kernel_size if isinstance(layer, Conv2D) else getattr(layer, "pool_size", None)
        _write(ax, ((start + end) / 2, 0.12), f"{size[0]} x {size[1]}", 0.2 * unit, unit, color=ink, va="bottom")
    _draw_fan(ax, edges[-1][1], places[0], unit, ink)
    weights = network.weights[-2 * len(units) :]
    for k, level in enumerate(places):
        if k:
            _draw_weights(ax, weights[2 * k], places[k - 1], level, unit)
        _write_biases(ax, weights[2 * k + 1], level, unit, x is not None)
        z, a = sums[len(images) - 1 + k], values[len(images) - 1 + k]
        _draw_units(ax, level, a.size, [""] * a.size if x is None else _describe(z, a), unit, ink)
    titles = ["input", *map(_title, layers)]
    for k, level in enumerate(images):
        titles[k] = f"{level.shape[0]} x {level.shape[1]} x {level.shape[2]} {titles[k]}"
    _write_titles(ax, titles, top, unit, ink, between)
    _draw_outputs(ax, places[-1], classes, shown, unit, ink)
    width = left + between * (n_levels - 1) + right
    return finish_drawing(ax, (-left, width - left), (-top - 0.5, top + 0.8))


def _draw_images(
    ax: Any, images: Array | None, n_images: int, across: float, side: Array, ink: Any, unit: float
) -> tuple[float, float]:
    """Draw a level's first images, or frames for them, the first in front; return where they begin and end."""
    n_drawn = min(n_images, MAX_IMAGES)
    height, width = side
    for k in reversed(range(n_drawn)):
        shift = SHIFT * (k - (n_drawn - 1) / 2)
        left, bottom = across + shift - width / 2, shift - height / 2
        order = 3 + n_drawn - k
        if images is not None:
            scale = {"cmap": "gray", "vmin": images.min(), "vmax": images.max(), "interpolation": "nearest"}
            ax.imshow(images[:, :, k], extent=(left, left + width, bottom, bottom + height), zorder=order, **scale)
        # Grey tells black images from one another, and white ones from the ground.
        colours = {"facecolor": ground(ax), "edgecolor": ink} if images is None else {"fill": False, "edgecolor": "0.5"}
        frame = Rectangle((left, bottom), width, height, linewidth=0.025 * unit, zorder=order, **colours)
        ax.add_patch(frame)
    half = width / 2 + SHIFT * (n_drawn - 1) / 2
    return across - half, across + half


def _prepare(
    ax: Axes | None, n_levels: int, margins: float, height: float, nearest: float
) -> tuple[Axes, float, Any, float]:
    """Return where a network is drawn, how many points a unit has there, the colour of texts, and the levels' distance.

    Margins are what is beside the first and the last level.
    """
    width = margins + BETWEEN_LEVELS * (n_levels - 1)
    ax = find_bare_axes(ax, min(0.9 * width, 16), min(0.9 * height, 9))
    box = ax.get_window_extent()
    steps = n_levels - 1
    between = min(BETWEEN_LEVELS, max(nearest, (height * box.width / box.height - margins) / steps))
    unit = 72 / ax.figure.dpi * min(box.width / (margins + between * steps), box.height / height)
    return ax, unit, ax.xaxis.label.get_color(), between


def _title(layer: Any) -> str:
    """Return what stands above a layer's level, but for an image's size."""
    if isinstance(layer, Dense):
        return f"{layer.n_units} {layer.activation.replace('_', ' ')}"
    names = {MaxPool2D: "max pool", AveragePool2D: "average pool"}
    return names.get(type(layer)) or layer.activation.replace("_", " ")


def _write_titles(ax: Axes, titles: list[str], top: float, unit: float, ink: Any, between: float) -> None:
    """Write a title above each level, if all have room."""
    size = max(LEGIBLE, 0.24 * unit)
    size = max(LEGIBLE, min(size, between * unit / (LETTER * max(map(len, titles)))))
    if LETTER * size * max(map(len, titles)) <= between * unit * 1.001:
        for k, title in enumerate(titles):
            write(ax, (between * k, top + 0.3), title, size, color=ink, va="baseline")


def _write_biases(
    ax: Axes, biases: Array, level: dict[int, tuple[float, float]], unit: float, has_values: bool
) -> None:
    """Write biases other than 0 into their circles, or beneath circles with values, clear of the arrows' heads."""
    for j, (across, up) in level.items():
        text = f"+{_round(biases[j], 2)}".replace("+-", "-")
        if float(text):
            style: dict[str, Any] = {"color": sign(biases[j]), "zorder": 4}
            if has_values:
                frame = {"boxstyle": "round,pad=0.05", "facecolor": ground(ax), "edgecolor": "none"}
                spot = (across, up - RADIUS - 0.1)
                _write(ax, spot, text, 0.17 * unit, unit, va="top", bbox=frame, **style)
            else:
                _write(ax, (across, up), text, 0.19 * unit, unit, room=1.8 * RADIUS, **style)


def _draw_units(
    ax: Axes, level: dict[int, tuple[float, float]], size: int, lines: list[str], unit: float, ink: Any
) -> None:
    """Draw a level's circles with their texts, and dots for those that are left out, with their number."""
    for j, spot in level.items():
        _draw_unit(ax, spot, lines[j], unit, ink)
    if len(level) < size:
        across, above = level[MAX_UNITS // 2 - 1]
        middle = above - BETWEEN_UNITS
        for shift in (-0.2, 0.0, 0.2):
            ax.plot(across, middle + shift, ".", color=ink, markersize=0.14 * unit)
        frame = {"boxstyle": "round,pad=0.1", "facecolor": ground(ax), "edgecolor": "none"}
        text, spot = f"{size - len(level):,} more", (across + 0.2, middle)
        _write(ax, spot, text, 0.19 * unit, unit, color=ink, ha="left", zorder=2, bbox=frame)


def _describe_values(network: Network, x: ArrayLike) -> list[list[str]]:
    """Return what stands in each circle for the sample x, as "value" or "sum, newline, value"."""
    sample = validate.array("x", x, network.dtype)
    if sample.shape != (network.n_inputs,):
        raise ValueError(f"x must be one sample of shape ({network.n_inputs},), got {sample.shape}")
    passed = zip(network.layers, *network.forward(sample[None]), strict=True)
    levels = [_describe(z[0], a[0]) for layer, z, a in passed if isinstance(layer, Dense)]
    return [[_short(value) for value in sample], *levels]


def _describe(z: Array, a: Array) -> list[str]:
    """Return what stands in the circles of a level."""
    return [f"{_short(s)}\n{_short(value)}" for s, value in zip(z, a, strict=True)]


def _round(value: float, digits: int) -> str:
    """Return value in so many digits; zero has no sign."""
    text = f"{value:.{digits}g}"
    return "0" if float(text) == 0 else text


def _short(value: float) -> str:
    """Return value in three digits, or in fewer where they would not fit into a circle."""
    for digits, longest in ((3, 5), (2, 6)):
        text = _round(value, digits)
        if len(text) <= longest:
            return text
    return _round(value, 1)


def _place_units(size: int) -> dict[int, float]:
    """Return how far up the units of a level stand that are drawn, the first one on top."""
    slots = {j: j for j in range(size)}
    if size > MAX_UNITS:  # slot 4 is for the dots
        above = MAX_UNITS // 2
        slots = {j: j for j in range(above)} | {size - MAX_UNITS + slot: slot for slot in range(above + 1, MAX_UNITS)}
    top = (min(size, MAX_UNITS) - 1) / 2
    return {j: BETWEEN_UNITS * (top - slot) for j, slot in slots.items()}


def _is_labelled(starts: dict[int, Any], ends: dict[int, Any]) -> bool:
    """Return whether weights stand on the arrows between two levels."""
    return 0 < len(starts) * len(ends) <= MAX_LABELS and min(len(starts), len(ends)) <= MAX_LABELLED


def _find_distance(starts: dict[int, Any], ends: dict[int, Any]) -> float:
    """Return how far apart two levels are at least, for weights on the arrows to be clear of circles."""
    return min(BETWEEN_LEVELS, (RADIUS + LABEL / 2) * (min(len(starts), len(ends)) + 1))


def _draw_weights(ax: Axes, w: Array, starts: dict[int, Any], ends: dict[int, Any], unit: float) -> None:
    """Draw the arrows from one level to the next."""
    largest = float(np.abs(w).max()) or 1.0
    # At this share of the way the arrows pass at equal distances, so that no two weights meet.
    share = len(starts) / (len(starts) + 1) if len(starts) <= len(ends) else 1 / (len(ends) + 1)
    room = BETWEEN_UNITS / (min(len(starts), len(ends)) + 1)  # up and down, from one text to the next
    labelled = _is_labelled(starts, ends) and 0.8 * room * unit > LEGIBLE
    for i, start in starts.items():
        for j, end in ends.items():
            strength = abs(float(w[i, j])) / largest
            along = np.subtract(end, start)
            edge = RADIUS * along / np.hypot(*along)
            colour = sign(w[i, j])
            width, alpha = unit * (0.01 + 0.035 * strength), 1.0 if labelled else 0.15 + 0.75 * strength
            draw_arrow(ax, start + edge, end - edge, colour, 0.18 * unit, linewidth=width, alpha=alpha)
            if labelled:
                frame = {"boxstyle": "round,pad=0.12", "facecolor": ground(ax), "edgecolor": "none"}
                label = _round(w[i, j], 2)
                _write(
                    ax,
                    start + share * along,
                    label,
                    min(0.2, 0.7 * room) * unit,
                    unit,
                    color=colour,
                    zorder=2,
                    bbox=frame,
                )


def _draw_unit(ax: Axes, spot: tuple[float, float], text: str, unit: float, ink: Any) -> None:
    """Draw one circle with its text."""
    ax.add_patch(Circle(spot, RADIUS, facecolor=ground(ax), edgecolor=ink, linewidth=0.025 * unit, zorder=3))
    above, _, value = text.rpartition("\n")
    across, up = spot
    small: dict[str, Any] = {"color": ink, "zorder": 4, "alpha": 0.75, "room": 1.5 * RADIUS}
    down = 0.1 if _write(ax, (across, up + 0.17), above, 0.15 * unit, unit, **small) else 0.0
    _write(ax, (across, up - down), value, 0.21 * unit, unit, color=ink, zorder=4, room=1.9 * RADIUS)


def _write(ax: Any, spot: Any, text: str, size: float, unit: float, room: float = 1.2, **style: Any) -> bool:
    """Write text that is to be of a size, or of the least legible one if that fits into so many units of room."""
    if size < LEGIBLE and LETTER * LEGIBLE * len(text) <= room * unit and unit > LEGIBLE / RADIUS:
        size = LEGIBLE
    return write(ax, spot, text, size, **style)
