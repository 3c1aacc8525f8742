"""Embeddings, of inputs that are whole numbers."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.model.layers import Embedding

TORCH, PARAMETERS = "Embedding", ("weight",)


def shape(layer: Embedding, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the sequence, of which each input is a step."""
    return below[0], layer.n_units


def to_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W, as it is."""
    return arrays


from_others = to_others


def to_torch(nn: Any, layer: Embedding, below: tuple[int, ...]) -> list[Any]:
    """Return an Embedding."""
    return [nn.Embedding(layer.n_tokens, layer.n_units)]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> Embedding:
    """Return what an Embedding is."""
    if module.max_norm is not None or module.padding_idx is not None:
        raise ValueError("and fastnn's Embedding has no max_norm and no padding_idx")
    return Embedding(*arrays[0].shape)


def to_onnx(graph: Any, layer: Embedding, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a Gather."""
    name: str = graph.add("Gather", [arrays[0], value], axis=0)
    return name


def carry_error(layer: Embedding, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return that nothing is off."""
    return np.zeros((*inputs.shape, layer.n_units))
