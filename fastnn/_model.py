"""A model: a network, and the columns of a table that it was trained on; what the command line trains and writes."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from fastnn import _files
from fastnn._columns import Category, Column, Number, encode_inputs
from fastnn._validate import Array
from fastnn.network import Network, restore_network
from fastnn.trainer import Trainer


@dataclass(frozen=True)
class Model:
    """A network that predicts one column of a table from others.

    Parameters
    ----------
    network : Network
        Its outputs are probabilities (softmax) where the target is a `Category`, else
        one standardised number.
    inputs : tuple of Number or Category
        In the order of the network's inputs.
    target : Number or Category
    notes : mapping of str to str, int or float
        How it was trained, and what was measured.

    Raises
    ------
    TypeError, ValueError
        If the parts do not fit together.
    """

    network: Network
    inputs: tuple[Column, ...]
    target: Column
    notes: Mapping[str, str | int | float]

    def __post_init__(self) -> None:
        names = [column.name for column in (*self.inputs, self.target)]
        if len(set(names)) < len(names):
            raise ValueError(f"column {max(names, key=names.count)!r} comes twice")
        width = sum(column.width for column in self.inputs)
        if width != self.network.n_inputs:
            raise ValueError(f"its columns make {width} inputs, and its network takes {self.network.n_inputs}")
        output = self.network.layers[-1]
        wanted = (self.target.width, "softmax" if isinstance(self.target, Category) else "identity")
        if (output.n_units, output.activation) != wanted:
            raise ValueError(f"its output layer is {output}, which does not go with target {self.target.name!r}")
        for name, note in self.notes.items():
            if not (isinstance(note, str) or (isinstance(note, int | float) and math.isfinite(note))):
                raise TypeError(f"note {name!r} is neither text nor a finite number: {note!r}")

    @property
    def loss(self) -> str:
        """The loss that goes with the target."""
        return "categorical_cross_entropy" if isinstance(self.target, Category) else "squared_error"

    def encode(self, frame: Any) -> tuple[Array, Array]:
        """Return a table as what the network trains on: X, and y as class numbers or (n, 1)."""
        column = frame[self.target.name]
        y = self.target.find(column) if isinstance(self.target, Category) else self.target.encode(column)
        return encode_inputs(self.inputs, frame), y

    def predict(self, frame: Any) -> tuple[Array, Array]:
        """Return a prediction a row, and the network's outputs (n_rows, n_outputs): for classes, probabilities."""
        outputs = self.network.predict(encode_inputs(self.inputs, frame))
        if isinstance(self.target, Category):
            return np.array(self.target.values, object)[outputs.argmax(axis=1)], outputs
        return self.target.decode(outputs[:, 0]), outputs

    def measure(self, X: Array, y: Array) -> dict[str, float]:
        """Return loss and accuracy of classes, or loss, R2 and RMSE in the target's units, of encoded rows.

        R2 is nan where the target is constant.
        """
        evaluation = Trainer(self.network, loss=self.loss).evaluate(X, y)
        if isinstance(self.target, Category):
            return {"loss": evaluation.loss, "accuracy": float(evaluation.accuracy or 0.0)}
        spread = float(np.var(y))
        r2 = 1.0 - evaluation.loss / spread if spread else math.nan
        return {"loss": evaluation.loss, "R2": r2, "RMSE": math.sqrt(evaluation.loss) * self.target.scale}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one file; it is checked, and nothing in it run, when `load` reads it."""
        self.network.check_weights()
        description = {
            "network": self.network._describe(),
            "inputs": [asdict(column) for column in self.inputs],
            "target": asdict(self.target),
            "notes": dict(self.notes),
        }
        _files.write(path, "model", description, self.network._arrays(), Model.load)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote.

        Raises
        ------
        ImportError
            Without safetensors.
        OSError
            If there is nothing to read.
        ValueError
            If the file is damaged, or something else.
        """
        _, description, arrays = _files.read(path, "model")
        network = restore_network(path, description.get("network", {}), arrays)
        with _files.restoring(path, "model"):
            inputs = tuple(_restore(column) for column in description["inputs"])
            return cls(network, inputs, _restore(description["target"]), dict(description["notes"]))


def _restore(described: dict[str, Any]) -> Column:
    """Return a column from what `asdict` made of it."""
    return Category(**described) if "values" in described else Number(**described)
