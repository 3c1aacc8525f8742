"""Pictures, drawn with matplotlib (the extra ``plot``). Each returns the Axes and accepts one."""

import copy
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.choices import LossName
from fastnn._support.validate import Array
from fastnn.model.layers import AveragePool2D, Conv2D, Dense, Flatten, MaxPool2D
from fastnn.model.network import Network
from fastnn.training.comparison import Comparison
from fastnn.training.gradients import Backprop, Perturbation, gradient
from fastnn.training.history import History
from fastnn.training.trainer import Trainer

with validate.optional("fastnn.plot", "plot"):
    from matplotlib import pyplot
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle, Rectangle
    from matplotlib.ticker import MaxNLocator

BLUE, RED, ORANGE = "#3d8fc9", "#d8504d", "#e08e1b"  # legible on white and on black
# Of a level of more units the first and the last are drawn, with dots between.
MAX_UNITS = 8
# Distances in a drawing of a network, in its data units.
RADIUS, BETWEEN_UNITS, BETWEEN_LEVELS = 0.42, 1.25, 3.6
# Of a level of more images the first ones are drawn, one behind the other: by how much they are shifted, and how large
# the inputs are at most.
MAX_IMAGES, SHIFT, LARGEST_IMAGE = 4, 0.2, 2.2
DRAWN = (Dense, Conv2D, MaxPool2D, AveragePool2D, Flatten)
# Weights stand on the arrows where this is the smaller number of units of two levels.
MAX_LABELLED = 3
# Smaller letters, in points, are not drawn.
LEGIBLE = 5.0
# Of a letter: its width in its size, at most on average over a title.
LETTER = 0.64
# In axes of fewer inches across, texts beside curves are smaller in proportion.
WIDE = 3.5
# Weights that `gradient_check` measures: enough for a norm, few enough for a plain loop.
MAX_CHECKED = 64


def network(network: Network, x: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Draw a network as circles and arrows, and what an input does in it.

    Weights are blue where positive and red where negative, the wider the larger, and
    stand on the arrows where there is room; biases other than 0 stand beneath the
    circles. Of a level of more than 8 units the first four and the last three are drawn, of one of more than 4 images
    the first four. Texts are as large as there is room for; those smaller than 5 points are left out.

    Parameters
    ----------
    network : Network
    x : array_like, shape (n_inputs,) or (height, width, channels), optional
        One sample. The circles then hold the values of their units: above, small, the
        sum z; below it the activated value. Images show theirs, the largest of a level in white.
    ax : matplotlib.axes.Axes, optional
        Where to draw, sized before; default a new figure.

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
    if len(network.input_shape) == 3 and all(isinstance(layer, DRAWN) for layer in network.layers):
        return _draw_network_of_images(network, x, ax)
    layers = network.dense_layers("plot.network")
    network.check_weights()
    sizes = [network.n_inputs, *(layer.n_units for layer in layers)]
    texts = [[""] * size for size in sizes] if x is None else _describe_values(network, x)
    levels = [_place_units(size, BETWEEN_LEVELS * k) for k, size in enumerate(sizes)]
    width = BETWEEN_LEVELS * (len(sizes) - 1) + 2.4
    top = max(up for level in levels for _, up in level.values()) + RADIUS
    height = 2 * top + 1.3
    ax, unit, ink = _prepare(ax, width, height)
    for k in range(len(layers)):
        _draw_weights(ax, network.weights[2 * k], levels[k], levels[k + 1], unit)
        _write_biases(ax, network.weights[2 * k + 1], levels[k + 1], unit)
    titles = [f"{sizes[0]} input" + "s" * (sizes[0] > 1), *map(_title, layers)]
    _write_titles(ax, titles, top, unit, ink)
    for level, size, lines in zip(levels, sizes, texts, strict=True):
        _draw_units(ax, level, size, lines, unit, ink)
    ax.set(xlim=(-1.2, width - 1.2), ylim=(top + 0.8 - height, top + 0.8), aspect="equal")
    ax.set_axis_off()
    return ax


def _draw_network_of_images(network: Network, x: ArrayLike | None, ax: Axes | None) -> Axes:
    """Draw images one behind the other, and the dense layers above as others are."""
    sample = np.zeros(network.input_shape) if x is None else _sample_of_images(network, x)
    passed = network.forward(sample[None])
    layers = [layer for layer in network.layers if not isinstance(layer, Flatten)]
    values = [a[0] for layer, a in zip(network.layers, passed.activations, strict=True) if layer in layers]
    sums = [z[0] for layer, z in zip(network.layers, passed.pre_activations, strict=True) if layer in layers]
    images = [sample, *(level for level in values if level.ndim == 3)]
    largest = max(network.input_shape[:2])
    sides = [LARGEST_IMAGE * np.sqrt(np.array(level.shape[:2]) / largest) for level in images]
    units = [
        _place_units(level.size, BETWEEN_LEVELS * (len(images) + k))
        for k, level in enumerate(values[len(images) - 1 :])
    ]
    n_levels = len(images) + len(units)
    width = BETWEEN_LEVELS * (n_levels - 1) + LARGEST_IMAGE + 2.0
    tops = [up + RADIUS for level in units for _, up in level.values()]
    top = max([*tops, *(height / 2 + SHIFT * (MAX_IMAGES - 1) / 2 for height, _ in sides)])
    height = 2 * top + 1.3
    ax, unit, ink = _prepare(ax, width, height)
    edges = [
        _draw_images(ax, level if x is not None else None, level.shape[2], BETWEEN_LEVELS * k, side, ink, unit)
        for k, (level, side) in enumerate(zip(images, sides, strict=True))
    ]
    style: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 0.18 * unit,
        "color": ink,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    for k, layer in enumerate(layers[: len(images) - 1]):
        start, end = edges[k][1] + 0.15, edges[k + 1][0] - 0.15
        ax.annotate("", xy=(end, 0), xytext=(start, 0), arrowprops=style, zorder=1)
        size: Any = layer.kernel_size if isinstance(layer, Conv2D) else getattr(layer, "pool_size", None)
        _write(ax, ((start + end) / 2, 0.12), f"{size[0]} x {size[1]}", 0.2 * unit, color=ink, va="bottom")
    for across, up in units[0].values():
        arrow = {**style, "linewidth": 0.02 * unit, "alpha": 0.6}
        ax.annotate("", xy=(across - RADIUS, up), xytext=(edges[-1][1] + 0.15, 0), arrowprops=arrow, zorder=1)
    weights = network.weights[-2 * len(units) :]
    for k, level in enumerate(units):
        if k:
            _draw_weights(ax, weights[2 * k], units[k - 1], level, unit)
        _write_biases(ax, weights[2 * k + 1], level, unit)
        z, a = sums[len(images) - 1 + k], values[len(images) - 1 + k]
        _draw_units(ax, level, a.size, [""] * a.size if x is None else _describe(z, a), unit, ink)
    titles = ["input", *map(_title, layers)]
    for k, level in enumerate(images):
        titles[k] = f"{level.shape[0]} x {level.shape[1]} x {level.shape[2]} {titles[k]}"
    _write_titles(ax, titles, top, unit, ink)
    left = LARGEST_IMAGE / 2 + 0.6
    ax.set(xlim=(-left, width - left), ylim=(top + 0.8 - height, top + 0.8), aspect="equal")
    ax.set_axis_off()
    return ax


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
        colours = (
            {"facecolor": _ground(ax), "edgecolor": ink} if images is None else {"fill": False, "edgecolor": "0.5"}
        )
        frame = Rectangle((left, bottom), width, height, linewidth=0.025 * unit, zorder=order, **colours)
        ax.add_patch(frame)
    half = width / 2 + SHIFT * (n_drawn - 1) / 2
    return across - half, across + half


def _prepare(ax: Axes | None, width: float, height: float) -> tuple[Axes, float, Any]:
    """Return where a network of that size is drawn, how many points a unit of it has there, and the colour of texts."""
    if ax is None:
        ax = _new_axes(min(0.9 * width, 16), min(0.9 * height, 9), layout=None)
        ax.set_position((0, 0, 1, 1))
    box = ax.get_window_extent()
    unit = 72 / ax.figure.dpi * min(box.width / width, box.height / height)
    return ax, unit, ax.xaxis.label.get_color()


def _title(layer: Any) -> str:
    """Return what stands above a layer's level, but for an image's size."""
    if isinstance(layer, Dense):
        return f"{layer.n_units} {layer.activation.replace('_', ' ')}"
    names = {MaxPool2D: "max pool", AveragePool2D: "average pool"}
    return names.get(type(layer)) or layer.activation.replace("_", " ")


def _write_titles(ax: Axes, titles: list[str], top: float, unit: float, ink: Any) -> None:
    """Write a title above each level, if all have room."""
    size = max(LEGIBLE, 0.24 * unit)
    if LETTER * size * max(map(len, titles)) < BETWEEN_LEVELS * unit:
        for k, title in enumerate(titles):
            _write(ax, (BETWEEN_LEVELS * k, top + 0.3), title, size, color=ink, va="baseline")


def _write_biases(ax: Axes, biases: Array, level: dict[int, tuple[float, float]], unit: float) -> None:
    """Write biases other than 0 beneath their units."""
    for j, (across, up) in level.items():
        bias = biases[j]
        if bias:
            _write(ax, (across, up - RADIUS - 0.03), f"{bias:+.2g}", 0.17 * unit, color=_sign(bias), va="top")


def _draw_units(
    ax: Axes, level: dict[int, tuple[float, float]], size: int, lines: list[str], unit: float, ink: Any
) -> None:
    """Draw a level's circles with their texts, and dots for those that are left out."""
    for j, spot in level.items():
        _draw_unit(ax, spot, lines[j], unit, ink)
    if len(level) < size:
        across, above = level[MAX_UNITS // 2 - 1]
        for shift in (-0.2, 0.0, 0.2):
            ax.plot(across, above - BETWEEN_UNITS + shift, ".", color=ink, markersize=0.14 * unit)


def _describe_values(network: Network, x: ArrayLike) -> list[list[str]]:
    """Return what stands in each circle for the sample x, as "value" or "sum, newline, value"."""
    sample = validate.array("x", x, network.dtype)
    if sample.shape != (network.n_inputs,):
        raise ValueError(f"x must be one sample of shape ({network.n_inputs},), got {sample.shape}")
    passed = network.forward(sample[None])
    return [[_short(value) for value in sample], *(_describe(z[0], a[0]) for z, a in zip(*passed, strict=True))]


def _describe(z: Array, a: Array) -> list[str]:
    """Return what stands in the circles of a level."""
    return [f"{_short(s)}\n{_short(value)}" for s, value in zip(z, a, strict=True)]


def _short(value: float) -> str:
    """Return value in three digits, or in fewer where they would not fit into a circle."""
    for digits, longest in ((3, 5), (2, 6)):
        text = f"{value:.{digits}g}"
        if len(text) <= longest:
            return text
    return f"{value:.1g}"


def _place_units(size: int, across: float) -> dict[int, tuple[float, float]]:
    """Return where the units of a level stand that are drawn, the first one on top."""
    slots = {j: j for j in range(size)}
    if size > MAX_UNITS:  # slot 4 is for the dots
        above = MAX_UNITS // 2
        slots = {j: j for j in range(above)} | {size - MAX_UNITS + slot: slot for slot in range(above + 1, MAX_UNITS)}
    top = (min(size, MAX_UNITS) - 1) / 2
    return {j: (across, BETWEEN_UNITS * (top - slot)) for j, slot in slots.items()}


def _draw_weights(ax: Axes, w: Array, starts: dict[int, Any], ends: dict[int, Any], unit: float) -> None:
    """Draw the arrows from one level to the next."""
    largest = float(np.abs(w).max()) or 1.0
    # At this share of the way the arrows pass at equal distances, so that no two weights meet.
    share = len(starts) / (len(starts) + 1) if len(starts) <= len(ends) else 1 / (len(ends) + 1)
    labelled = min(len(starts), len(ends)) <= MAX_LABELLED
    for i, start in starts.items():
        for j, end in ends.items():
            strength = abs(float(w[i, j])) / largest
            along = np.subtract(end, start)
            edge = RADIUS * along / np.hypot(*along)
            arrow = {
                "arrowstyle": "-|>",
                "mutation_scale": 0.18 * unit,
                "color": _sign(w[i, j]),
                "shrinkA": 0,
                "shrinkB": 0,
            }
            arrow |= {
                "linewidth": unit * (0.01 + 0.035 * strength),
                "alpha": 1.0 if labelled else 0.15 + 0.75 * strength,
            }
            ax.annotate("", xy=end - edge, xytext=start + edge, arrowprops=arrow, zorder=1)
            if labelled:
                frame = {"boxstyle": "round,pad=0.12", "facecolor": _ground(ax), "edgecolor": "none"}
                label, colour = f"{w[i, j]:.2g}", _sign(w[i, j])
                _write(ax, start + share * along, label, 0.2 * unit, color=colour, zorder=2, bbox=frame)


def _draw_unit(ax: Axes, spot: tuple[float, float], text: str, unit: float, ink: Any) -> None:
    """Draw one circle with its text."""
    ax.add_patch(Circle(spot, RADIUS, facecolor=_ground(ax), edgecolor=ink, linewidth=0.025 * unit, zorder=3))
    above, _, value = text.rpartition("\n")
    across, up = spot
    down = 0.1 if _write(ax, (across, up + 0.17), above, 0.15 * unit, color=ink, zorder=4, alpha=0.75) else 0.0
    _write(ax, (across, up - down), value, 0.21 * unit, color=ink, zorder=4)


def _write(ax: Any, spot: Any, text: str, size: float, **style: Any) -> bool:
    """Write text around a spot, unless there is none or it would be illegible, and return whether it was."""
    written = text != "" and size >= LEGIBLE
    if written:
        ax.text(*spot, text, size=size, **{"ha": "center", "va": "center"} | style)
    return written


def _sign(weight: float) -> str:
    return BLUE if weight >= 0 else RED


def _ground(ax: Axes) -> Any:
    """Return the colour behind a drawing without frame: the figure's."""
    return ax.figure.get_facecolor()


def _new_axes(width: float, height: float, layout: str | None = "constrained") -> Axes:
    """Return the Axes of a new figure of that size in inches."""
    axes: Axes = pyplot.subplots(figsize=(width, height), layout=layout)[1]
    return axes


def _fit_texts(ax: Any, *beside: Any) -> float | None:
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


def _add_legend(ax: Any, lines: list[Any], n_columns: int, size: float | None) -> None:
    """Put a legend above the curves, as inside there is no place that they always leave free.

    None where it would be wider than they, or take more than half of their height.
    """
    room = ax.get_window_extent()
    for columns in range(n_columns, 0, -1):
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns, "frameon": False}
        legend = ax.legend(handles=lines, fontsize=size, **place)
        box = legend.get_window_extent()
        if box.width <= room.width and box.height <= room.height / 2:
            return
    legend.remove()


def history(history: History, ax: Axes | None = None, *, x: Literal["epoch", "seconds", "queries"] = "epoch") -> Axes:
    """Draw the loss of each epoch and, on a second scale, the accuracy.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.
    x : {"epoch", "seconds", "queries"}, default "epoch"
        What they are drawn against: by the end of each epoch, the epochs, their time since the first one began,
        or the queries, if they were counted.

    Returns
    -------
    matplotlib.axes.Axes
        That of the loss, on a logarithmic scale.

    Raises
    ------
    TypeError, ValueError
        If history is something else, of no epochs, or without what x asks for.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0))
    >>> ax = fastnn.plot.history(trainer.fit([[1], [2]], [3, 6], epochs=5))
    """
    validate.instance("history", history, (History,))
    if not len(history):
        raise ValueError("history has no epochs to draw")
    validate.choice("x", x, ("epoch", "seconds", "queries"))
    if x == "queries" and history.queries is None:
        raise ValueError("history has no queries: they are counted where readings of the loss could tell the gradient")
    if ax is None:
        ax = _new_axes(6.4, 4.0)
    along: Any = {"seconds": np.cumsum(history.seconds), "queries": history.queries}.get(x)
    if along is None:
        along = np.arange(1, len(history) + 1)
    style: dict[str, Any] = {"marker": "o" if len(history) == 1 else ""}
    lines = ax.plot(along, history.loss, color=BLUE, label="loss", **style)
    if history.validation_loss is not None:
        lines += ax.plot(along, history.validation_loss, "--", color=BLUE, label="validation loss", **style)
    ax.set(xlabel=x, ylabel="loss", yscale="log")
    ax.yaxis.label.set_color(BLUE)
    if x == "epoch":
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    beside = []
    if history.accuracy is not None:
        right = ax.twinx()
        beside.append(right)
        lines += right.plot(along, history.accuracy, color=ORANGE, label="accuracy", **style)
        if history.validation_accuracy is not None:
            lines += right.plot(
                along, history.validation_accuracy, "--", color=ORANGE, label="validation accuracy", **style
            )
        right.set_ylabel("accuracy", color=ORANGE)
    size = _fit_texts(ax, *beside)
    if len(lines) > 1:
        _add_legend(ax, lines, 2, size)
    return ax


def comparison(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the cosine between estimates and the gradient, against the queries that they cost.

    Bars are two standard errors. What readings cannot tell costs no queries, and is a line across.

    Parameters
    ----------
    comparison : Comparison
        See `fastnn.compare`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If comparison is something else.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> network = fastnn.mlp(2, 3, 1, hidden="tanh", seed=0)
    >>> schemes = [fastnn.Perturbation(), fastnn.RandomDirections(4)]
    >>> found = fastnn.compare(network, [[1.0, 2.0]], [1.0], methods=schemes)
    >>> ax = fastnn.plot.comparison(found)
    """
    validate.instance("comparison", comparison, (Comparison,))
    if ax is None:
        ax = _new_axes(6.4, 4.0)
    lines: list[Any] = []
    for k, name in enumerate(comparison.methods):
        style: dict[str, Any] = {"color": f"C{k}", "label": name}
        if np.isnan(comparison.queries[k]):
            lines.append(ax.axhline(comparison.cosine[k], linestyle="--", **style))
        else:
            spot = comparison.queries[k], comparison.cosine[k]
            lines.append(ax.errorbar(*spot, yerr=2 * comparison.cosine_error[k], marker="o", capsize=3, **style))
    ax.set(xscale="log", xlabel="queries", ylabel="cosine with the gradient")
    _add_legend(ax, lines, 2, _fit_texts(ax))
    return ax


def gradient_check(
    network: Network, X: ArrayLike, y: ArrayLike, *, loss: LossName = "squared_error", ax: Axes | None = None
) -> Axes:
    """Draw how far perturbation is from back-propagation, against the nudge eps.

    Truncation grows with eps (forward) or its square (central). The rounding of a
    plain loop, which subtracts two losses, grows with 1 / eps; fastnn never subtracts
    them, and goes down to the network's own precision.

    Parameters
    ----------
    network : Network
        Left as it is. Of more than 64 weights, 64 are measured, spread evenly.
    X, y : array_like
        As for `fastnn.gradient`.
    loss : str, default "squared_error"
        See `fastnn.Trainer`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together, or the gradient is 0.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> ax = fastnn.plot.gradient_check(fastnn.mlp(1, 2, 1, seed=0), [[1.0], [2.0]], [0.5, 1.0])
    """

    def measure(method: Perturbation | Backprop) -> Array:
        flat = np.concatenate([g.ravel() for g in gradient(network, X, y, loss=loss, method=method)])
        chosen: Array = flat[checked].astype(np.float64)
        return chosen

    checked = np.unique(np.linspace(0, network.n_parameters - 1, MAX_CHECKED).astype(int))
    truth = measure(Backprop())
    size = np.linalg.norm(truth)
    if not size:
        raise ValueError("the gradient is 0 at these samples: there is nothing to compare with")
    eps = np.logspace(-10, 0, 31)
    curves = {
        "subtracting losses": [_plain_differences(network, X, y, loss, e, checked) for e in eps],
        "forward": [measure(Perturbation(e, "forward", "direct")) for e in eps],
        "central": [measure(Perturbation(e, "central", "direct")) for e in eps],
    }
    if ax is None:
        ax = _new_axes(6.4, 4.0)
    lines = []
    for (label, found), colour, style in zip(curves.items(), (RED, BLUE, ORANGE), (":", "-", "--"), strict=True):
        difference = np.linalg.norm(np.array(found) - truth, axis=1) / size
        lines += ax.plot(eps, difference, style, color=colour, label=label, linewidth=2)
    ax.set(xscale="log", yscale="log", xlabel="eps", ylabel="relative difference")
    _add_legend(ax, lines, 3, _fit_texts(ax))
    return ax


def _plain_differences(
    network: Network, X: ArrayLike, y: ArrayLike, loss: LossName, eps: float, checked: Array
) -> Array:
    """Return forward differences as a plain loop finds them, rounding and all."""
    twin = copy.deepcopy(network)
    trainer = Trainer(twin, loss=loss)
    before = trainer.evaluate(X, y).loss
    found = np.empty(len(checked))
    arrays = twin.weights
    ends = np.cumsum([array.size for array in arrays])
    for k, place in enumerate(checked):
        which = int(np.searchsorted(ends, place, side="right"))
        array = arrays[which].reshape(-1)
        at = place - ends[which]  # counted from the array's end
        saved = array[at]
        array[at] += eps
        found[k] = (trainer.evaluate(X, y).loss - before) / eps
        array[at] = saved
    return found


def weights(network: Network, layer: int, image_shape: tuple[int, int], ax: Axes | None = None) -> Axes:
    """Draw the weights that lead into each unit of a layer as an image.

    Parameters
    ----------
    network : Network
    layer : int
        0 is the first one, whose inputs may be pixels.
    image_shape : (int, int)
        Rows and columns of one image: as many pixels as the layer has inputs.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of all images; red is negative, blue positive, on one scale.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, or its inputs do not make such an image.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> ax = fastnn.plot.weights(fastnn.mlp(64, 12, 10, seed=0), 0, (8, 8))
    """
    validate.instance("network", network, (Network,))
    n_layers = len(network.dense_layers("plot.weights"))
    if validate.integer("layer", layer, low=0) >= n_layers:
        raise ValueError(f"layer must be 0 to {n_layers - 1}, got {layer}")
    w = network.weights[2 * layer]
    rows, columns = (validate.integer("image_shape", length, low=1) for length in image_shape)
    if rows * columns != w.shape[0]:
        raise ValueError(
            f"image_shape {image_shape} has {rows * columns} pixels, and layer {layer} {w.shape[0]} inputs"
        )
    return _draw_weight_images(w.T.reshape(-1, rows, columns), _near_square(w.shape[1]), ax)


def filters(network: Network, layer: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the filters of a convolution as images.

    Parameters
    ----------
    network : Network
    layer : int, default 0
        Which of `network.layers`, a Conv2D.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of all filters; red is negative, blue positive, on one scale. Over one channel they stand
        side by side, over more each in a column, a row a channel.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, or it is no Conv2D.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> layers = [fastnn.Conv2D(8, 3, "relu"), fastnn.Dense(10, "softmax")]
    >>> ax = fastnn.plot.filters(fastnn.Network((8, 8, 1), layers, seed=0))
    """
    validate.instance("network", network, (Network,))
    chosen = _choose_layer(network, layer)
    if not isinstance(chosen, Conv2D):
        raise ValueError(f"layer {layer} is {chosen}, which has no filters: those of a Conv2D are drawn")
    n_before = sum(hasattr(other, "activation") for other in network.layers[:layer])
    w = network.weights[2 * n_before]
    images = w.transpose(2, 3, 0, 1).reshape(-1, *w.shape[:2])
    return _draw_weight_images(images, w.shape[3] if w.shape[2] > 1 else _near_square(w.shape[3]), ax)


def feature_maps(network: Network, x: ArrayLike, layer: int = 0, ax: Axes | None = None) -> Axes:
    """Draw what a layer over images makes of one.

    Parameters
    ----------
    network : Network
    x : array_like, shape (height, width, channels)
        One sample.
    layer : int, default 0
        Which of `network.layers`, a Conv2D or a pool.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one mosaic of all channels; the brighter, the larger, on one scale.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, it puts out no images, or x is no sample.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> layers = [fastnn.Conv2D(8, 3, "relu"), fastnn.Dense(10, "softmax")]
    >>> network = fastnn.Network((8, 8, 1), layers, seed=0)
    >>> ax = fastnn.plot.feature_maps(network, [[[k * j / 49] for k in range(8)] for j in range(8)])
    """
    validate.instance("network", network, (Network,))
    chosen = _choose_layer(network, layer)
    maps = network.forward(_sample_of_images(network, x)[None]).activations[layer][0]
    if maps.ndim < 3:
        raise ValueError(f"layer {layer} is {chosen}, which puts out no images")
    mosaic = _lay_out(np.moveaxis(maps, -1, 0), _near_square(maps.shape[-1]))
    return _show(mosaic, "activation", ax, cmap="gray")


def _sample_of_images(network: Network, x: ArrayLike) -> Array:
    """Return one sample, (height, width, channels); one channel need not be said."""
    sample = validate.array("x", x, network.dtype)
    shape = network.input_shape
    if sample.shape not in (shape, *([shape[:-1]] if shape[-1] == 1 else [])):
        raise ValueError(f"x must be one sample of shape {shape}, got {sample.shape}")
    return sample.reshape(shape)


def _choose_layer(network: Network, layer: int) -> Any:
    """Return a layer by its number."""
    n_layers = len(network.layers)
    if validate.integer("layer", layer, low=0) >= n_layers:
        raise ValueError(f"layer must be 0 to {n_layers - 1}, got {layer}")
    return network.layers[layer]


def _near_square(n_images: int) -> int:
    """Return how many images stand side by side where the whole is to be half as wide again as it is high."""
    return int(np.ceil(np.sqrt(n_images * 1.5)))


def _lay_out(images: Array, across: int) -> Array:
    """Return a mosaic of images (n, rows, columns), so many side by side, with gaps of nan."""
    n_images, rows, columns = images.shape
    down = -(-n_images // across)
    gap = max(1, columns // 10)
    mosaic = np.full((down * (rows + gap) - gap, across * (columns + gap) - gap), np.nan)
    for k, image in enumerate(images):
        top, left = k // across * (rows + gap), k % across * (columns + gap)
        mosaic[top : top + rows, left : left + columns] = image
    return mosaic


def _draw_weight_images(images: Array, across: int, ax: Axes | None) -> Axes:
    """Draw weights (n, rows, columns), red where negative and blue where positive."""
    largest = float(np.abs(images).max()) or 1.0
    return _show(_lay_out(images, across), "weight", ax, cmap="RdBu", vmin=-largest, vmax=largest)


def _show(mosaic: Array, label: str, ax: Axes | None, **scale: Any) -> Axes:
    """Draw a mosaic with its scale beside it."""
    if ax is None:
        ax = _new_axes(7.2, 7.2 * mosaic.shape[0] / mosaic.shape[1] * 0.9)
    shown = ax.imshow(mosaic, interpolation="nearest", **scale)
    bar = ax.figure.colorbar(shown, ax=ax, shrink=0.8, label=label)
    _fit_texts(ax, bar.ax)
    ax.set_axis_off()
    return ax
