"""Units that are dropped: against plain NumPy that drops the same, and what must not depend on anything."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from conftest import ELEMENTWISE, Case
from test_gradients import DTYPES, ROUNDINGS, bound, largest_difference
from test_schemes import flat, is_near, masked, widened

import fastnn
from fastnn.training.gradients import TOLERANCE, TOLERANCE32

KEY = 2**62 + 12345
HEADS = [("squared_error", "identity"), ("categorical_cross_entropy", "softmax"), ("squared_error", "softmax")]


class Dropped(Case):
    """A network whose hidden units are dropped, in gradients too, as in the first step of a run of that key."""

    def __init__(self, head, body, dtype="float64", rates=(0.5, 0.25, 0.3), seed=0, n_samples=5):
        super().__init__(head, body, dtype, seed, n_samples)
        dense, weights = self.network.layers, self.network.weights
        self.rates = rates[: len(dense) - 1]
        pairs = zip(dense, map(fastnn.Dropout, self.rates), strict=False)
        layers = [*(layer for pair in pairs for layer in pair), dense[-1]]
        self.network = fastnn.Network(3, layers, dtype=dtype)
        self.network.weights = weights
        self.network._layout = self.network._drop(KEY)
        self.activations = self.layers = self.twin(range(n_samples))

    def twin(self, places, step=0, key=KEY):
        """Return the naive layers, with the masks of a step."""
        layers, first = [], self.network.n_inputs
        for layer in self.network.layers:
            if isinstance(layer, fastnn.Dropout):
                size = layers_size
                layers.append(naive.Dropout(naive.draw_mask(layer.rate, key, step, places, first, size, self.x.dtype)))
                first += size
            else:
                layers_size = layer.n_units
                layers.append(layer.activation)
        return layers


@pytest.mark.grid
@pytest.mark.parametrize("hidden", ELEMENTWISE)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_differences_are_those_of_plain_numpy(head, depth, hidden):
    for dtype in DTYPES:
        case = Dropped(head, (hidden, depth), dtype)
        for scheme, eps in (("forward", 1e-4), ("central", 1e-4), ("forward", 1.0)):
            expected, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = bound(case, sizes, eps, dtype)
            measured = case.gradient(fastnn.Perturbation(eps, scheme, "direct"))
            assert largest_difference(measured, expected) <= allowed
            tolerance = TOLERANCE if dtype == "float64" else TOLERANCE32
            allowed += tolerance * len(case.x) * max(float(s.max()) for s in sizes)
            assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme)), expected) <= allowed
        # As in test_gradients.py, for central differences at 1e-6.
        expected, sizes = case.truth(eps=1e-6, scheme="central")
        allowed = 1e-11 if dtype == "float64" else ROUNDINGS * np.finfo(dtype).eps
        allowed *= max(1.0, *(float(s.max()) for s in sizes))
        assert largest_difference(case.gradient(fastnn.Backprop()), expected) <= allowed


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("hidden", ["tanh", "relu", "silu", "softplus", "elu"])
def test_estimates_are_those_of_plain_numpy(hidden, scheme):
    """With the tolerances of test_schemes.py."""
    q, seed = 3, 11
    for dtype in DTYPES:
        case = Dropped(HEADS[1], (hidden, 2), dtype)
        truth = 100 * float(np.finfo(np.longdouble).eps) * (1 + case.mean_loss())
        for eps in (1e-5, 0.3):
            method = fastnn.RandomDirections(q, eps, scheme=scheme, seed=seed)
            wanted = naive.along_directions(*widened(case), "rademacher", seed, 0, q, eps, scheme)
            size = max(q * np.abs(flat(wanted)).max(), 10 * eps)
            assert is_near(case.gradient(method), wanted, dtype, size, truth / eps * case.network._theta.size)
            noise = naive.unit_noise("gaussian", seed, 0, range(5), [len(b) for b in case.network.weights[1::2]])
            for layers in ("together", "each"):
                method = fastnn.NodePerturbation(eps, "gaussian", layers, scheme, seed)
                wanted = naive.node_perturbation(*widened(case), noise, eps, layers, scheme)
                size = max(np.abs(flat(wanted)).max(), 10 * eps) * len(case.x)
                assert is_near(case.gradient(method), wanted, dtype, size, truth / eps)
        exact = [g.astype(float) for g in case.gradient(fastnn.Backprop())]
        found = case.gradient(fastnn.ForwardGradient(q, seed=seed))
        assert is_near(found, naive.projected(exact, "rademacher", seed, 0, q), dtype, 3 * np.abs(flat(exact)).sum())
        method = fastnn.Perturbation(1e-4, scheme, fraction=0.3, seed=9)
        whole = flat(case.gradient(replace(method, fraction=1.0)))
        np.testing.assert_array_equal(flat(case.gradient(method)), whole * masked(case, method, (0.3,) * 3))
