"""What recurrent layers have in common."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array

PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def shape(layer: Any, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of all steps or of the last one."""
    return (below[0], layer.n_units) if layer.return_sequences else (layer.n_units,)


def to_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W, U and two biases, of which here is the sum: the second one is zero."""
    w, u, b = arrays
    return [w.T, u.T, b, np.zeros_like(b)]


def from_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W, U and the sum of the biases."""
    w, u, *biases = arrays
    return [w.T, u.T, biases[0] + biases[1]]


def to_torch(make: Any, layer: Any, below: tuple[int, ...], **settings: Any) -> list[Any]:
    """Return a recurrent module, and what takes all steps or the last one of its tuple."""
    from fastnn.interop import steps

    module = make(below[-1], layer.n_units, batch_first=True, **settings)
    return [module, steps.AllSteps() if layer.return_sequences else steps.LastStep()]


def check(module: Any, arrays: list[Array], below: tuple[int, ...]) -> None:
    """Refuse settings that fastnn's recurrent layers do not have."""
    if not module.batch_first:
        raise ValueError("and fastnn has samples first, then steps: make it with batch_first=True")
    if module.num_layers > 1:
        raise ValueError(
            "and fastnn's have one layer each: put several of num_layers=1, each with AllSteps() behind it"
        )
    if module.bidirectional or module.dropout or module.proj_size:
        raise ValueError("and fastnn's have one direction, no dropout and no projection: make it without")
    if arrays[0].shape[1] != below[-1]:
        raise ValueError(f"and what comes in has {below[-1]} features, the last of input_shape (steps, features)")


def to_onnx(
    graph: Any, layer: Any, arrays: list[str], below: tuple[int, ...], value: str, order: list[int], **settings: Any
) -> str:
    """Add the operator of a layer's name, whose parts of the weights are in another order, steps first."""
    h, add = layer.n_units, graph.add
    rows = np.add.outer(np.array(order) * h, np.arange(h)).reshape(1, -1)
    w, u, *biases = arrays
    places = graph.constant(rows)
    b = add("Gather", [add("Concat", biases, axis=0), graph.constant(np.hstack([rows, rows + rows.size]))], axis=0)
    w, u = (add("Gather", [name, places], axis=0) for name in (w, u))
    found = add(
        type(layer).__name__, [add("Transpose", [value], perm=(1, 0, 2)), w, u, b], hidden_size=h, **settings
    )  # (steps, directions, samples, units)
    if layer.return_sequences:
        one_direction = add("Squeeze", [found, graph.constant(np.array([1]))])
        name: str = add("Transpose", [one_direction], perm=(1, 0, 2))
    else:
        last = add("Gather", [found, graph.constant(np.array(-1))], axis=0)
        name = add("Squeeze", [last, graph.constant(np.array([0]))])
    return name


def unroll_onnx(
    graph: Any, layer: Any, arrays: list[str], below: tuple[int, ...], value: str, step: Any, n_states: int = 1
) -> str:
    """Add every step from other operators, as onnxruntime has those of recurrent layers in float32 only.

    `step(graph, z, z_state, states)` adds one, of the products of W and of U, and returns its states.
    """
    add = graph.add
    w, u, b, b_state = arrays
    n_samples = add("Shape", [value], start=0, end=1)
    size = add("Concat", [n_samples, graph.constant(np.array([layer.n_units]))], axis=0)
    states = [add("Expand", [graph.constant(np.zeros((1, 1))), size])] * n_states
    found = []
    for t in range(below[0]):
        x = add("Gather", [value, graph.constant(np.array(t))], axis=1)
        z, z_state = add("Gemm", [x, w, b], transB=1), add("Gemm", [states[0], u, b_state], transB=1)
        states = step(graph, z, z_state, states)
        found.append(states[0])
    name: str = found[-1]
    if layer.return_sequences:
        axis = graph.constant(np.array([1]))
        name = add("Concat", [add("Unsqueeze", [state, axis]) for state in found], axis=1)
    return name


def select(layer: Any, steps: list[Array]) -> Array:
    """Return all steps, or the last one."""
    return np.stack(steps, axis=1) if layer.return_sequences else steps[-1]
