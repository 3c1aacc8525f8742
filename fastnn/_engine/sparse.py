"""Inputs most of which are zero: those that come as sparse rows, and those that are found to be so."""

from typing import Any

import numpy as np

from fastnn._engine.plan import find_plan
from fastnn._support.validate import Array
from fastnn.kernels.layout import Layout
from fastnn.kernels.sparse import Listed
from fastnn.kernels.work import Data, Work

# Listed where at most this share of the inputs is not zero, and where there are so many of them. 784-100-10, batch 32:
# at 0.1, 0.2, 0.33 and 0.5 a step takes 0.57, 0.73, 1.00 and 1.28 of the dense one (float64, Perturbation; one thread,
# AVX2), in float32 0.66, 0.81, 1.10 and 1.33; with 64 inputs at 0.2 0.95 and 1.06.
MOST = 0.25
FEWEST = 256
N_ROWS = 64  # that are looked at, from all over the samples: 0.1 ms for images of 784, once in some 20 ms


def is_mostly_zero(x: Array) -> bool:
    """Return whether lists pay; what comes of them has the same bits."""
    if x.shape[1] < FEWEST:
        return False
    rows = x[:: -(-len(x) // N_ROWS)]
    return bool(np.count_nonzero(rows) <= MOST * rows.size)


def list_inputs(layout: Layout, data: Data, work: Work) -> tuple[Data, Listed | tuple[()]]:
    """Return what kernels are handed of samples, of which x may be sparse rows, and room for lists if these pay."""
    x: Any = data.x
    starts, columns = np.empty(0, np.int64), np.empty(0, np.int32)
    if not isinstance(x, np.ndarray):
        starts, columns = x.indptr.astype(np.int64), x.indices.astype(np.int32, copy=False).view()
        numbers = x.data.reshape(-1, 1)
        numbers.flags.writeable = False
        data = data._replace(x=numbers)
    elif find_plan(layout) or not is_mostly_zero(x):
        return data, ()
    columns.flags.writeable = False
    block, n_inputs = work.measured.shape[1], int(layout.sizes[0])
    room = Listed(
        starts=starts,
        columns=columns,
        inputs=np.empty((block, n_inputs), np.int32),
        n_inputs=np.empty((2, block), np.int64),
        samples=np.empty((n_inputs, block), np.int32),
        n_samples=np.empty(n_inputs, np.int64),
    )
    return data, room
