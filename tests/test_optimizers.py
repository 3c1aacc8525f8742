"""Optimisers against the plain NumPy formulas, bit for bit."""

import naive
import numpy as np
import pytest

import fastnn


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        fastnn.SGD(0.1),
        fastnn.SGD(0.1, momentum=0.9),
        fastnn.SGD(0.1, momentum=0.9, nesterov=True),
        fastnn.Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6),
    ],
    ids=repr,
)
def test_steps_are_exact(make_case, optimizer, shuffle):
    """Five steps over two calls, each gradient fastnn's own, each update NumPy's."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    trainer = fastnn.Trainer(case.network, optimizer=optimizer, batch_size=None, shuffle=shuffle)
    weights = [w.copy() for w in case.network.weights]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step in range(1, 6):
        g = case.gradient(fastnn.Perturbation())
        if isinstance(optimizer, fastnn.Adam):
            options = (optimizer.lr, optimizer.beta1, optimizer.beta2, optimizer.epsilon)
            weights, first, second = naive.adam(weights, g, first, second, step, *options)
        elif optimizer.momentum:
            options = (optimizer.lr, optimizer.momentum, optimizer.nesterov)
            weights, first = naive.momentum_sgd(weights, g, first, *options)
        else:
            weights = naive.sgd(weights, g, optimizer.lr)
        trainer.fit(case.x, case.y)
        for ours, theirs in zip(case.network.weights, weights, strict=True):
            # Adam's beta**step is a power of libm's, not NumPy's; plain SGD adds the products to the weights.
            if isinstance(optimizer, fastnn.Adam) or not optimizer.momentum:
                np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15)
            else:
                np.testing.assert_array_equal(ours, theirs)
    assert trainer.n_steps == 5


def test_float32_stays_float32(make_case):
    for optimizer in (fastnn.SGD(0.1, 0.9), fastnn.Adam()):
        case = make_case(("squared_error", "identity"), ("tanh", 1), "float32")
        trainer = fastnn.Trainer(case.network, optimizer=optimizer)
        before = [w.copy() for w in case.network.weights]
        trainer.fit(case.x, case.y, epochs=3)
        assert all(w.dtype == np.float32 for w in case.network.weights)
        assert all((now != then).any() for now, then in zip(case.network.weights, before, strict=True))


def test_learning_rate_zero_leaves_the_weights(make_case):
    for optimizer in (fastnn.SGD(0.0), fastnn.SGD(0.0, 0.9), fastnn.Adam(0.0)):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        before = [w.copy() for w in case.network.weights]
        fastnn.Trainer(case.network, optimizer=optimizer).fit(case.x, case.y, epochs=2)
        for now, then in zip(case.network.weights, before, strict=True):
            np.testing.assert_array_equal(now, then)
