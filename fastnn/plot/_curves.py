"""Curves: what was measured in training, estimates of the gradient, and the error of differences."""

import copy
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.choices import LossName
from fastnn._support.validate import Array
from fastnn.model.network import Network
from fastnn.plot._base import BLUE, ORANGE, RED, add_legend, find_axes, fit_texts
from fastnn.training.comparison import Comparison
from fastnn.training.gradients import Backprop, Perturbation, gradient
from fastnn.training.history import History
from fastnn.training.range_test import RangeTest
from fastnn.training.trainer import Trainer

# Weights that `gradient_check` measures: enough for a norm, few enough for a plain loop.
MAX_CHECKED = 64
# Of axes that are split, the share that parts two panels.
GAP = 0.06
Along = Literal["epoch", "seconds", "queries"]


def history(history: History, ax: Axes | None = None, *, x: Along = "epoch") -> Axes:
    """Draw the loss of each epoch and, in panels above, the accuracy and the trainer's own metrics.

    A dot marks the best epoch: that of the least validation loss, or without validation of the least loss.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    ax : matplotlib.axes.Axes, optional
        Where to draw, default a new figure. With an accuracy or metrics, these Axes become the lowest of the panels.
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
    validate.choice("x", x, get_args(Along))
    if x == "queries" and history.queries is None:
        raise ValueError("history has no queries: they are counted where readings of the loss could tell the gradient")
    columns = history.to_dict()
    own = [name.removeprefix("validation_") for name in history.metrics]
    names = ["loss", *["accuracy"] * ("accuracy" in columns), *own]
    ax = find_axes(ax, 6.4, 2.8 + 1.2 * len(names))
    along: Any = {"seconds": np.cumsum(history.seconds), "queries": history.queries}.get(x)
    if along is None:
        along = np.arange(1, len(history) + 1)
    panels = _split(ax, len(names))
    losses = history.loss if history.validation_loss is None else history.validation_loss
    best = int(np.argsort(losses, kind="stable")[0])  # nan sorts last
    lines: list[Any] = []
    for k, (panel, name) in enumerate(zip(panels, names, strict=True)):
        colour = {"loss": BLUE, "accuracy": ORANGE}.get(name, f"C{k + 2}")  # matplotlib's first two are much the same
        drawn: list[Any] = []
        for kind, dashes in ((name, "-"), (f"validation {name}", "--")):
            values = columns.get(kind.replace(" ", "_"))
            if values is not None:
                style = {"color": colour, "label": kind, "clip_on": False, "zorder": 3}
                drawn += panel.plot(along, values, dashes, marker="o" if len(history) == 1 else "", **style)
        # The last curve is that of the validation, if there is one.
        spot = along[best], drawn[-1].get_ydata()[best]
        marks = panel.plot(*spot, "o", color=colour, clip_on=False, zorder=4, label=f"best: epoch {best + 1:,}")
        panel.set_ylabel(name, color=colour)
        panel.grid(axis="y", alpha=0.25)
        if name == "accuracy":
            _bound(panel)
        if name not in own:  # those are alone in their panels, which have their names
            lines += drawn
    ax.set(xlabel=x, yscale="log")
    if x == "epoch":
        room = ax.get_window_extent().width / ax.figure.dpi
        ax.set_xticks(_find_ticks(len(history), max(2, int(1.5 * room))))
    size = fit_texts(ax, *panels[1:])
    if len(lines) > 1:
        add_legend(panels[-1], [*lines, *marks], 2, size, 0.5 * len(panels))
    return ax


def _split(ax: Any, n_panels: int) -> list[Any]:
    """Cut the place of Axes into panels, and return them, the Axes first, as the lowest, and new ones above."""
    if n_panels == 1:
        return [ax]
    figure, spec = ax.figure, ax.get_subplotspec()
    if spec is not None:
        *places, lowest = spec.subgridspec(n_panels, 1)
        ax.set_subplotspec(lowest)
        panels = [figure.add_subplot(place, sharex=ax) for place in reversed(places)]
    else:
        box = ax.get_position()
        height = (1 - (n_panels - 1) * GAP) / n_panels * box.height
        starts = [box.y0 + k * (height + GAP * box.height) for k in range(n_panels)]
        ax.set_position(Bbox.from_bounds(box.x0, box.y0, box.width, height))
        panels = [figure.add_axes((box.x0, start, box.width, height), sharex=ax) for start in starts[1:]]
    for panel in panels:
        panel.tick_params(labelbottom=False)
    return [ax, *panels]


def _bound(ax: Any) -> None:
    """Have a scale of accuracies end where they do: at 1, and at 0."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(0.0, low), min(1.0, high))


def _find_ticks(last: int, most: int) -> list[int]:
    """Return round numbers from 1 to the last one, so many at most."""
    steps = (digit * 10**power for power in range(len(str(last)) + 1) for digit in (1, 2, 5))
    step = next(step for step in steps if last <= step * most)
    return [1, *range(step, last + 1, step)] if step > 2 else [*range(1, last + 1, step)]


def range_test(range_test: RangeTest, ax: Axes | None = None) -> Axes:
    """Draw the loss against the learning rate, as it was and smoothed, and the rate that is suggested.

    Parameters
    ----------
    range_test : RangeTest
        See `fastnn.learning_rate_range_test`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If range_test is something else.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0))
    >>> ax = fastnn.plot.range_test(fastnn.learning_rate_range_test(trainer, [[1], [3], [4]], [3, 9, 12]))
    """
    validate.instance("range_test", range_test, (RangeTest,))
    ax = find_axes(ax, 6.4, 4.0)
    lines = ax.plot(range_test.rates, range_test.losses, color=BLUE, alpha=0.4, label="loss")
    lines += ax.plot(range_test.rates, range_test.smoothed, color=BLUE, label="smoothed")
    if not np.isnan(range_test.suggestion):
        label = f"suggestion {range_test.suggestion:.2g}"
        lines.append(ax.axvline(range_test.suggestion, color=ORANGE, linestyle="--", label=label))
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, 1.1 * range_test.smoothed[0]))
    add_legend(ax, lines, 1, fit_texts(ax))
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
    ax = find_axes(ax, 6.4, 4.0)
    lines: list[Any] = []
    for k, name in enumerate(comparison.methods):
        style: dict[str, Any] = {"color": f"C{k}", "label": name}
        if np.isnan(comparison.queries[k]):
            lines.append(ax.axhline(comparison.cosine[k], linestyle="--", **style))
        else:
            spot = comparison.queries[k], comparison.cosine[k]
            lines.append(ax.errorbar(*spot, yerr=2 * comparison.cosine_error[k], marker="o", capsize=3, **style))
    ax.set(xscale="log", xlabel="queries", ylabel="cosine with the gradient")
    add_legend(ax, lines, 2, fit_texts(ax))
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
    ax = find_axes(ax, 6.4, 4.0)
    lines = []
    for (label, found), colour, style in zip(curves.items(), (RED, BLUE, ORANGE), (":", "-", "--"), strict=True):
        difference = np.linalg.norm(np.array(found) - truth, axis=1) / size
        lines += ax.plot(eps, difference, style, color=colour, label=label, linewidth=2)
    default = Perturbation().eps
    mark: Any = ax.axvline(default, color="0.5", linewidth=1, label=f"the default, {default:g}")
    lines.append(mark)
    ax.set(xscale="log", yscale="log", xlabel="nudge eps", ylabel="relative error")
    add_legend(ax, lines, 4, fit_texts(ax))
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
