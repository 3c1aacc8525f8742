"""Pictures, drawn with matplotlib (the extra ``plot``). Each returns the Axes and accepts one."""

import copy
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.model.network import Network
from fastnn.training.comparison import Comparison
from fastnn.training.gradients import Backprop, Perturbation, gradient
from fastnn.training.history import History
from fastnn.training.trainer import Trainer

BLUE, RED, ORANGE = "#3d8fc9", "#d8504d", "#e08e1b"  # legible on white and on black
# Of a level of more units the first and the last are drawn, with dots between.
MAX_UNITS = 8
# Distances in a drawing of a network, in its data units.
RADIUS, BETWEEN_UNITS, BETWEEN_LEVELS = 0.42, 1.25, 3.6
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
    circles. Of a level of more than 8 units the first four and the last three are drawn.
    Texts are as large as there is room for; those smaller than 5 points are left out.

    Parameters
    ----------
    network : Network
    x : array_like, shape (n_inputs,), optional
        One sample. The circles then hold the values of their units: above, small, the
        sum z; below it the activated value.
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
    layers = network.dense_layers("plot.network")
    network.check_weights()
    sizes = [network.n_inputs, *(layer.n_units for layer in layers)]
    texts = [[""] * size for size in sizes] if x is None else _describe_values(network, x)
    levels = [_place_units(size, BETWEEN_LEVELS * k) for k, size in enumerate(sizes)]
    width = BETWEEN_LEVELS * (len(sizes) - 1) + 2.4
    top = max(up for level in levels for _, up in level.values()) + RADIUS
    height = 2 * top + 1.3
    if ax is None:
        ax = _new_axes(min(0.9 * width, 16), min(0.9 * height, 9), layout=None)
        ax.set_position((0, 0, 1, 1))
    box = ax.get_window_extent()
    unit = 72 / ax.figure.dpi * min(box.width / width, box.height / height)  # points
    ink = ax.xaxis.label.get_color()

    for k in range(len(layers)):
        _draw_weights(ax, network.weights[2 * k], levels[k], levels[k + 1], unit)
        for j, (across, up) in levels[k + 1].items():
            bias = network.weights[2 * k + 1][j]
            if bias:
                _write(ax, (across, up - RADIUS - 0.03), f"{bias:+.2g}", 0.17 * unit, color=_sign(bias), va="top")
    titles = [f"{sizes[0]} input" + "s" * (sizes[0] > 1)]
    titles += [f"{layer.n_units} {layer.activation.replace('_', ' ')}" for layer in layers]
    size = max(LEGIBLE, 0.24 * unit)
    if LETTER * size * max(map(len, titles)) < BETWEEN_LEVELS * unit:
        for k, title in enumerate(titles):
            _write(ax, (BETWEEN_LEVELS * k, top + 0.3), title, size, color=ink, va="baseline")
    for level, size, lines in zip(levels, sizes, texts, strict=True):
        for j, spot in level.items():
            _draw_unit(ax, spot, lines[j], unit, ink)
        if len(level) < size:
            across, above = level[MAX_UNITS // 2 - 1]
            for shift in (-0.2, 0.0, 0.2):
                ax.plot(across, above - BETWEEN_UNITS + shift, ".", color=ink, markersize=0.14 * unit)

    ax.set(xlim=(-1.2, width - 1.2), ylim=(top + 0.8 - height, top + 0.8), aspect="equal")
    ax.set_axis_off()
    return ax


def _describe_values(network: Network, x: ArrayLike) -> list[list[str]]:
    """Return what stands in each circle for the sample x, as "value" or "sum, newline, value"."""
    sample = validate.array("x", x, network.dtype)
    if sample.shape != (network.n_inputs,):
        raise ValueError(f"x must be one sample of shape ({network.n_inputs},), got {sample.shape}")
    passed = network.forward(sample[None])
    hidden = [
        [f"{_short(s)}\n{_short(value)}" for s, value in zip(z[0], a[0], strict=True)]
        for z, a in zip(*passed, strict=True)
    ]
    return [[_short(value) for value in sample], *hidden]


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


def history(history: History, ax: Axes | None = None, *, x: str = "epoch") -> Axes:
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
    network: Network, X: ArrayLike, y: ArrayLike, *, loss: str = "squared_error", ax: Axes | None = None
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


def _plain_differences(network: Network, X: ArrayLike, y: ArrayLike, loss: str, eps: float, checked: Array) -> Array:
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
    across = int(np.ceil(np.sqrt(w.shape[1] * 1.5)))
    down = -(-w.shape[1] // across)
    gap = max(1, columns // 10)
    mosaic = np.full((down * (rows + gap) - gap, across * (columns + gap) - gap), np.nan)
    for unit, image in enumerate(w.T.reshape(-1, rows, columns)):
        top, left = unit // across * (rows + gap), unit % across * (columns + gap)
        mosaic[top : top + rows, left : left + columns] = image
    if ax is None:
        ax = _new_axes(7.2, 7.2 * mosaic.shape[0] / mosaic.shape[1] * 0.9)
    largest = float(np.abs(w).max()) or 1.0
    shown = ax.imshow(mosaic, cmap="RdBu", vmin=-largest, vmax=largest, interpolation="nearest")
    bar = ax.figure.colorbar(shown, ax=ax, shrink=0.8, label="weight")
    _fit_texts(ax, bar.ax)
    ax.set_axis_off()
    return ax
