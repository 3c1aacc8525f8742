"""What perturbation does: a weight that is nudged, and a line that approaches its points."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.choices import LossName
from fastnn.model.network import LETTERS, Network
from fastnn.plot._base import BLUE, ORANGE, RED, add_legend, find_axes, fit_texts
from fastnn.training.gradients import Backprop, gradient
from fastnn.training.trainer import Trainer

N_POINTS = 121  # of a curve


def loss_along(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    weight: tuple[int, ...] = (0, 0, 0),
    *,
    eps: float = 0.5,
    loss: LossName = "squared_error",
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss against one weight, all others held, with what a nudge tells of its slope.

    The weight's own place is a dot. A nudge of eps, drawn large here, goes to the right, the difference of the loss up
    or down from there; the line through both points has the slope that perturbation measures, the other one that of
    the derivative. The smaller eps, the nearer the two.

    Parameters
    ----------
    network : Network
        Left as it is.
    X, y : array_like
        As for `fastnn.gradient`.
    weight : tuple of int, default (0, 0, 0)
        Which of `network.weights`, and where in it: (0, 0, 0) is the first weight of ``W1``, (1, 0) the first bias.
    eps : float, default 0.5
        The nudge.
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
        If the arguments do not fit together, or there is no such weight.

    Examples
    --------
    >>> import fastnn, fastnn.plot
    >>> ax = fastnn.plot.loss_along(fastnn.mlp(1, 2, 1, seed=0), [[1.0], [2.0]], [3.0, 6.0])
    """
    validate.instance("network", network, (Network,))
    eps = validate.number("eps", eps, low=0.0, open_low=True)
    arrays = network.weights
    sizes = [len(arrays), *(arrays[weight[0]].shape if weight and weight[0] in range(len(arrays)) else ())]
    if len(weight) != len(sizes) or any(k not in range(size) for k, size in zip(weight, sizes, strict=True)):
        shapes = [array.shape for array in arrays]
        raise ValueError(f"weight must be (array, row, column), of arrays of shapes {shapes}, got {weight}")
    which, place = weight[0], weight[1:]
    slope = float(gradient(network, X, y, loss=loss, method=Backprop())[which][place])
    twin = copy.deepcopy(network)
    trainer = Trainer(twin, loss=loss)
    here = float(arrays[which][place])

    def measure(value: float) -> float:
        twin.weights[which][place] = value
        return trainer.evaluate(X, y).loss

    along = here + np.linspace(-2 * eps, 2 * eps, N_POINTS)
    start, end = measure(here), measure(here + eps)
    difference = (end - start) / eps
    ax = find_axes(ax, 6.4, 4.0)
    lines: list[Any] = ax.plot(along, [measure(value) for value in along], color=BLUE, linewidth=2, label="loss")
    low, high = ax.get_ylim()
    lines += ax.plot(along, start + difference * (along - here), color=ORANGE, label=f"difference: {difference:.3g}")
    lines += ax.plot(along, start + slope * (along - here), "--", color=RED, label=f"derivative: {slope:.3g}")
    ax.plot([here, here + eps], [start, start], ":", color=ORANGE)
    ax.plot([here + eps] * 2, [start, end], ":", color=ORANGE)
    ax.plot([here, here + eps], [start, end], "o", color=BLUE)
    ax.set(xlabel=_name_weight(network, weight), ylabel="loss", ylim=(low, high))
    size = fit_texts(ax)
    ax.annotate(
        f"nudge {eps:g}",
        (here + eps / 2, start),
        (0, 3 if difference < 0 else -3),
        textcoords="offset points",
        ha="center",
        va="bottom" if difference < 0 else "top",
        fontsize=size,
        color=ORANGE,
    )
    add_legend(ax, lines, 3, size)
    return ax


def _name_weight(network: Network, weight: tuple[int, ...]) -> str:
    """Return what a weight is called in mathematics."""
    named = [(LETTERS[name], k) for k, layer in enumerate(network.layers, 1) for name in layer.parameters]
    letter, layer = named[weight[0]]
    return f"{letter}{layer}[{', '.join(map(str, weight[1:]))}]"


def approach(networks: Mapping[int, Network], X: ArrayLike, y: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw what a network of one input and one output predicts after some epochs, and the points that it learns.

    Parameters
    ----------
    networks : mapping of int to Network
        Copies, by the epochs that they were trained for. The more, the darker.
    X, y : array_like, shape (n_samples, 1) or (n_samples,)
        The points.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        If a network has more inputs or outputs, or none is given.

    Examples
    --------
    >>> import copy, fastnn, fastnn.plot
    >>> X, y = [[1.0], [3.0], [4.0]], [3.0, 9.0, 12.0]
    >>> trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0))
    >>> networks = {0: copy.deepcopy(trainer.network)}
    >>> for epochs in (1, 10):
    ...     history = trainer.fit(X, y, epochs - trainer.n_epochs)
    ...     networks[epochs] = copy.deepcopy(trainer.network)
    >>> ax = fastnn.plot.approach(networks, X, y)
    """
    given: Any = networks
    if not isinstance(given, Mapping):
        shown = validate.show(given)
        raise TypeError(f"networks must be a dict of copies by their epochs, such as {{0: network}}, got {shown}")
    if not networks:
        raise ValueError("networks is empty: give copies of a network by their epochs, such as {0: network}")
    for epochs, network in networks.items():
        validate.instance(f"networks[{epochs}]", network, (Network,))
        if (network.input_shape, network.output_shape) != ((1,), (1,)):
            raise ValueError(
                f"networks[{epochs}] must have one input and one output, and its samples are "
                f"{network.input_shape} and {network.output_shape}"
            )
    kind = np.dtype(np.float64)
    points, truths = validate.array("X", X, kind).ravel(), validate.array("y", y, kind).ravel()
    if points.shape != truths.shape:
        raise ValueError(f"X has {points.size} points and y {truths.size}")
    ax = find_axes(ax, 6.4, 4.0)
    reach = 0.1 * np.ptp(points) or 1.0
    along = np.linspace(points.min() - reach, points.max() + reach, N_POINTS)
    # The middle of the map: its ends are too near to white and to black.
    shades = pyplot.get_cmap("viridis")(np.linspace(0.85, 0.25, len(networks)))
    lines: list[Any] = []
    for (epochs, network), shade in zip(sorted(networks.items()), shades, strict=True):
        label = f"{epochs:,} epoch{'s' * (epochs != 1)}"
        lines += ax.plot(along, network.predict(along[:, None]), color=shade, label=label)
    lines += ax.plot(points, truths, "o", color=ORANGE, label="samples", zorder=3)
    ax.set(xlabel="x", ylabel="y")
    add_legend(ax, lines, 3, fit_texts(ax))
    return ax
