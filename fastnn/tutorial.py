"""The tutorial's two NumPy functions, compiled: change the import and nothing else."""

import numbers
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from fastnn._engine.loop import Diverged, Loop, draw_orders, forward
from fastnn._engine.threads import count_chunks
from fastnn._engine.workspace import make_data, make_layout, split, view
from fastnn._support import validate
from fastnn._support.choices import HiddenName
from fastnn._support.validate import Array
from fastnn.kernels.activations import Activation
from fastnn.kernels.layout import SHARED_BIAS, Layout
from fastnn.kernels.losses import Loss
from fastnn.kernels.work import A
from fastnn.training.gradients import Perturbation
from fastnn.training.optimizers import SGD

FLOAT64 = np.dtype(np.float64)


class Problem(NamedTuple):
    """The caller's arrays, as kernels see them."""

    x: Array
    y: Array
    layout: Layout
    theta: Array


def feed_forward(
    inputs: ArrayLike, outputs: ArrayLike, weights: Sequence[Any], *, hidden: HiddenName = "sigmoid"
) -> Array:
    """Return the squared error of every output of every sample.

    Parameters
    ----------
    inputs : array_like, shape (n_samples, n_inputs)
        A vector is one sample, or, for a network with one input, one input of many.
    outputs : array_like, shape (n_samples, n_outputs)
        The targets. A vector is one target of many samples, or all of one sample.
    weights : sequence
        ``[W1, b1, W2, b2, ...]``: ``W`` of shape (n_in, n_out), or a number for one
        input and one unit; ``b`` of shape (), (n_out,) or (1, n_out). An array of
        shape (2, 1, 1) is such a sequence.
    hidden : str, default "sigmoid"
        Activation of the hidden layers; the output layer has none.

    Returns
    -------
    ndarray, shape (n_samples, n_outputs)
        float64.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together. Nothing is broadcast.

    Examples
    --------
    >>> from fastnn import feed_forward
    >>> hidden_weights, output_weights = [[0.8, 0.4, 0.3], [0.2, 0.9, 0.5]], [[0.3], [0.5], [0.9]]
    >>> float(feed_forward([[1, 1]], [[0]], [hidden_weights, 0, output_weights, 0])[0, 0])
    1.520812...
    """
    problem = _read(inputs, outputs, weights, hidden)
    top = len(problem.layout.activations)
    errors = np.empty_like(problem.y)
    for part, work in forward(problem.layout, problem.theta, problem.x):
        errors[part] = view(problem.layout, work, A, top, len(errors[part])) - problem.y[part]
    return np.square(errors)


def update_weights(
    inputs: ArrayLike,
    outputs: ArrayLike,
    weights: Any,
    epochs: int,
    lr: float = 0.01,
    *,
    eps: float = 1e-4,
    each: Literal["weight", "array"] = "weight",
    hidden: HiddenName = "sigmoid",
    batch_size: int | None = None,
    seed: int | None = None,
) -> Any:
    """Train by perturbation and return the new weights; the caller's stay as they are.

    Every epoch, each weight is nudged by eps, the change of the squared error (summed
    over outputs, averaged over samples) is measured, and all weights are moved at
    once, by lr times the change per unit of nudge, against it.

    Parameters
    ----------
    inputs, outputs, weights, hidden
        As for `feed_forward`. A bias of shape () or (1,) that serves several units is one weight.
    epochs : int
        Passes over the samples; 0 returns the weights as they came.
    lr : float, default 0.01
        Learning rate, at least 0.
    eps : float, default 1e-4
        The nudge, positive.
    each : {"weight", "array"}, default "weight"
        "weight" nudges every number by itself. "array" nudges a whole W or b at once
        and moves all its entries by the same amount, which is what the tutorial's
        listing does, and the same where each array holds one number.
    batch_size : int or None, default None
        Samples a step; None is all of them.
    seed : int or None, default None
        For the order of the samples, which is drawn anew each epoch when there are
        several batches.

    Returns
    -------
    container like weights
        Arrays come back as arrays of the same shape, lists as lists, numbers as
        floats. Arrays of integers come back as float64, others in their own dtype;
        everything is computed in float64.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit together, or epochs is a learning rate: the tutorial's
        version for PyTorch takes that fourth.
    FloatingPointError
        If the loss or a weight overflows, with what to try.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import update_weights
    >>> x, y = [[1], [3], [4], [8], [10]], [[3], [9], [12], [24], [30]]
    >>> w = update_weights(x, y, np.array([[[2.269]], [[1.01]]]), 1000)
    >>> w.shape, w.ravel().round(7)
    ((2, 1, 1), array([2.9993365, 0.0044552]))
    """
    method = Perturbation(eps)
    optimizer = SGD(lr)
    epochs = _check_epochs(epochs)
    validate.choice("each", each, ("weight", "array"))
    if batch_size is not None:
        batch_size = validate.integer("batch_size", batch_size, low=1)
    problem = _read(inputs, outputs, weights, hidden)
    n_samples = len(problem.x)
    batch_size = min(batch_size or n_samples, n_samples)
    shuffles = batch_size < n_samples
    # A generator takes 20 us, as long as 40 steps of the tutorial's network.
    rng = validate.generator("seed", seed) if shuffles or seed is not None else None
    together = each == "array"
    if together or problem.layout.traits[SHARED_BIAS].any():
        method = replace(method, evaluate="direct")
    task = method.make_task(Loss.SQUARED_ERROR, FLOAT64, count_chunks(problem.layout, method.method, batch_size))
    task = task._replace(together=together)
    update = optimizer.make_update(problem.theta)
    loop = Loop(problem.layout, problem.theta, task, update, n_samples, batch_size)
    left = epochs
    try:
        while left:
            order = draw_orders(n_samples, left, rng if shuffles else None)
            ahead = len(order) if shuffles else left
            for _ in loop.run(make_data(problem.x, problem.y, order), 0, np.zeros((ahead, 2)), np.zeros(ahead)):
                pass
            left -= ahead
    except Diverged as event:
        raise FloatingPointError(
            f"{event.what} not finite at epoch {epochs - left + event.epoch + 1} with lr={optimizer.lr:g}; "
            "try a smaller lr, or inputs scaled to about 1"
        ) from None
    return _like(weights, split(problem.layout, problem.theta))


def _check_epochs(epochs: Any) -> int:
    """Return a checked number of epochs; a fraction is what another loop is called with."""
    if isinstance(epochs, numbers.Real) and epochs % 1:
        raise TypeError(
            f"epochs must be an integer, got {epochs!r}; the learning rate comes after it, "
            "update_weights(inputs, outputs, weights, epochs, lr), and the weights alone are returned. The tutorial's "
            "version for PyTorch takes lr fourth, one step a call, returns the weights and the loss, and averages "
            "that over the outputs, too. Its numbers are loss = feed_forward(inputs, outputs, weights).mean() and "
            "weights = update_weights(inputs, outputs, weights, 1, lr / n_outputs)"
        )
    return validate.integer("epochs", epochs, low=0)


def _read(inputs: ArrayLike, outputs: ArrayLike, weights: Any, hidden: str) -> Problem:
    """Return the caller's arrays as kernels see them, or say what does not fit."""
    validate.choice("hidden", hidden, get_args(HiddenName))
    if not isinstance(weights, Sequence | np.ndarray) or isinstance(weights, str) or not len(weights):
        raise TypeError(f"weights must be a list [W1, b1, W2, b2, ...], got {weights!r}")
    if len(weights) % 2:
        raise ValueError(f"weights must be [W1, b1, W2, b2, ...], a bias after each W (0 for none), got {len(weights)}")
    sizes: list[int] = []
    shared_biases: list[bool] = []
    flat: list[Array] = []
    for k in range(0, len(weights), 2):
        w = validate.array(f"weights[{k}]", weights[k], FLOAT64)
        if w.ndim == 0:
            w = w.reshape(1, 1)
        if w.ndim != 2:
            raise ValueError(f"weights[{k}] must have shape (n_in, n_out), got {w.shape}")
        n_in, n_out = w.shape
        if sizes and sizes[-1] != n_in:
            raise ValueError(f"weights[{k}] has {n_in} rows, but the layer before it has {sizes[-1]} units")
        b = validate.array(f"weights[{k + 1}]", weights[k + 1], FLOAT64)
        if b.shape not in ((), (1,), (1, 1), (n_out,), (1, n_out)):
            raise ValueError(
                f"weights[{k + 1}], the bias of {n_out} units, must have shape (), ({n_out},) or (1, {n_out}), "
                f"got {b.shape}"
            )
        sizes += [n_out] if sizes else [n_in, n_out]
        shared_biases.append(b.size < n_out)
        flat += [w.ravel(), np.repeat(b.ravel(), n_out // b.size)]
    n_layers = len(weights) // 2
    activations = [Activation[hidden.upper()]] * (n_layers - 1) + [Activation.IDENTITY]
    x = validate.array("inputs", inputs, FLOAT64)
    x = _rows(x, sizes[0])
    if x.ndim != 2 or x.shape[1] != sizes[0]:
        raise ValueError(f"inputs must have shape (n_samples, {sizes[0]}), as W1 has {sizes[0]} rows, got {x.shape}")
    y = validate.array("outputs", outputs, FLOAT64)
    y = _rows(y, sizes[-1])
    if y.shape != (len(x), sizes[-1]):
        raise ValueError(f"outputs must have shape ({len(x)}, {sizes[-1]}), one row a sample, got {y.shape}")
    return Problem(x, y, make_layout(sizes, activations, shared_biases), np.concatenate(flat))


def _rows(array: Array, n_columns: int) -> Array:
    """Return a number or a vector as (n_samples, n_columns), if it can be one."""
    if array.ndim < 2 and array.size % n_columns == 0 and (n_columns == 1 or array.size == n_columns):
        return array.reshape(-1, n_columns)
    return array


def _like(template: Any, arrays: list[Array]) -> Any:
    """Return arrays in the container that template is: a list, a tuple or an array of them."""
    results = [_like_one(template[k], array) for k, array in enumerate(arrays)]
    if isinstance(template, np.ndarray):
        if template.dtype == object:
            filled = np.empty(len(results), object)
            filled[:] = results
            return filled
        return np.array(results, _float_dtype(template)).reshape(template.shape)
    return type(template)(results) if type(template) in (list, tuple) else results


def _like_one(template: Any, array: Array) -> Any:
    """Return one array in the shape, dtype and nesting of template."""
    if isinstance(template, np.ndarray | np.generic):
        size = template.size
        shaped = array.ravel()[:size].reshape(template.shape).astype(_float_dtype(template))
        return shaped if isinstance(template, np.ndarray) else shaped[()]
    if isinstance(template, list | tuple):
        size = np.size(template)
        return array.ravel()[:size].reshape(np.shape(template)).tolist()
    return float(array.ravel()[0])


def _float_dtype(template: Any) -> np.dtype[Any]:
    """Return the template's dtype, or float64 if it cannot hold a fraction."""
    return template.dtype if template.dtype.kind == "f" else FLOAT64
