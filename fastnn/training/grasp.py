"""How many weights of each layer to perturb, by what they do to the gradient."""

import copy

import numpy as np
from numpy.typing import ArrayLike

from fastnn._engine.workspace import layer_sizes
from fastnn._support import validate
from fastnn._support.choices import LossName
from fastnn.model.network import Network
from fastnn.training.gradients import gradient
from fastnn.training.schemes import RandomDirections


def grasp(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: LossName = "squared_error",
    fraction: float,
    q: int = 192,
    eps: float = 5e-3,
    seed: int = 0,
) -> tuple[float, ...]:
    """Return a fraction for each layer, for `Perturbation`: where a network's gradient flows through its weights.

    Weights are kept by their scores ``-w * (H g)``, the lowest first, g the gradient and H the curvature [1]_: without
    those of the highest scores the gradient loses least. Both are estimated from losses alone, along the same random
    directions at two places [2]_, at ``4 q`` queries.

    Parameters
    ----------
    network : Network
        With its initial weights. Left as it is.
    X, y : array_like
        As for `gradient`.
    loss : str, default "squared_error"
        See `Trainer`.
    fraction : float
        Of all weights, how many are to be perturbed; above 0 and at most 1.
    q : int, default 192
        Directions.
    eps : float, default 5e-3
        The size of an entry's nudge, and of the step along g to the second place.
    seed : int, default 0
        For the directions.

    Returns
    -------
    tuple of float
        One for each layer with weights; a layer keeps one at least.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together.
    FloatingPointError
        If the loss overflows.

    References
    ----------
    .. [1] Wang, Zhang, Grosse, "Picking winning tickets before training by preserving gradient flow", 2020.
    .. [2] Chen and others, "DeepZero: scaling up zeroth-order optimization for deep model training", 2024.

    Examples
    --------
    >>> import fastnn
    >>> network = fastnn.mlp(4, 8, 1, hidden="tanh", seed=0)
    >>> X, y = [[0.1, 0.2, 0.3, 0.4], [0.4, -0.3, 0.2, 0.1]], [1.0, -1.0]
    >>> fractions = fastnn.grasp(network, X, y, fraction=0.5)
    >>> trainer = fastnn.Trainer(network, gradient=fastnn.Perturbation(fraction=fractions))
    >>> len(fractions)
    2
    """
    validate.instance("network", network, (Network,))
    fraction = validate.share("fraction", fraction)
    method = RandomDirections(q, eps, "gaussian", seed=seed)
    here = np.concatenate([part.ravel() for part in gradient(network, X, y, loss=loss, method=method)])
    other = copy.deepcopy(network)
    other._theta += method.eps / (float(np.abs(here).max()) or 1.0) * here
    there = np.concatenate([part.ravel() for part in gradient(other, X, y, loss=loss, method=method)])
    scores = -network._theta * (there - here)
    kept = np.zeros(scores.size, bool)
    kept[np.argsort(scores, kind="stable")[: max(1, round(fraction * scores.size))]] = True
    sizes = layer_sizes(network._layout)
    parts = np.split(kept, np.cumsum(sizes)[:-1])
    return tuple(max(1, int(part.sum())) / size for part, size in zip(parts, sizes, strict=True))
