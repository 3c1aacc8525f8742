"""Inputs that are mostly zero: the same bits as with every zero multiplied, from dense arrays and from sparse ones."""

from itertools import pairwise

import numba
import numpy as np
import pytest
from test_products import SHAPES, make

import fastnn
from fastnn._engine import sparse as engine
from fastnn.kernels import sparse as kernel
from fastnn.kernels.products import add_listed_product, add_listed_series, add_product, add_series_product

scipy_sparse = pytest.importorskip("scipy.sparse")

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="NumPy's bits vary with the shape")


@numba.njit
def multiply(a, lists, counts, b, first, last, out):
    """Call the kernel by lists."""
    add_listed_product(a, lists, counts, b, first, last, out)


@numba.njit
def multiply_all(a, b, first, last, out):
    """Call the dense kernel."""
    add_product(a, b, first, last, out)


@numba.njit
def multiply_series(a, lists, counts, b1, b2, b3, n_terms, scale, out):
    """Call the kernel by lists."""
    add_listed_series(a, lists, counts, b1, b2, b3, n_terms, 0, out.shape[0], scale, out)


@numba.njit
def multiply_series_all(a, b1, b2, b3, n_terms, scale, out):
    """Call the dense kernel."""
    add_series_product(a, b1, b2, b3, n_terms, 0, out.shape[0], scale, out)


def list_entries(a):
    """Return which entries of each row are not zero, and how many."""
    lists, counts = np.zeros((len(a), a.shape[1] + 3), np.int32), np.count_nonzero(a, axis=1)
    for row, found in zip(lists, a, strict=True):
        row[: np.count_nonzero(found)] = np.flatnonzero(found)
    return lists, counts


def thin(a, share=0.2):
    """Set most entries to zero, whole rows and columns among them."""
    a = np.where(np.random.default_rng(1).random(a.shape) < share, a, 0).astype(a.dtype)
    a[::5], a[:, ::7] = 0, 0
    return a


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [*SHAPES, (4, 1100, 9)])
def test_product(shape, dtype):
    a, b, _, _, out = make(shape, dtype)
    a = thin(a)
    result, whole = out.copy(), out.copy()
    first, last = len(out) // 3, len(out)
    multiply(a, *list_entries(a), b, first, last, result)
    multiply_all(a, b, first, last, whole)
    if not numba.config.DISABLE_JIT:
        np.testing.assert_array_equal(result, whole)
    # As many roundings as additions, in each, of what is summed by then at most.
    allowed = 2 * (shape[1] + 1) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(out))
    assert (np.abs(result - whole) <= allowed).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_terms", [1, 2, 3])
def test_series_of_products(shape, dtype, n_terms):
    a, *terms, out = make(shape, dtype)
    a = np.asfortranarray(thin(a))
    result, whole = out.copy(), out.copy()
    multiply_series(a, *list_entries(a), *terms, n_terms, 0.5, result)
    multiply_series_all(a, *terms, n_terms, 0.5, whole)
    if not numba.config.DISABLE_JIT:
        np.testing.assert_array_equal(result, whole)
    sizes = sum(np.abs(a ** (k + 1)) @ np.abs(terms[k]) / 2 for k in range(n_terms))
    allowed = 2 * (shape[1] + 2 * n_terms) * np.finfo(dtype).eps * (sizes + np.abs(out))
    assert (np.abs(result - whole) <= allowed).all()


@compiled
@pytest.mark.parametrize("n_terms", [1, 3])
def test_a_last_panel_of_any_width(n_terms):
    for n_columns in range(1, 140):  # more than eight of the widest vectors
        a, *terms, out = make((6, 40, n_columns), "float32")
        a = np.asfortranarray(thin(a))
        result, whole = out.copy(), out.copy()
        multiply_series(a, *list_entries(a), *terms, n_terms, 0.5, result)
        multiply_series_all(a, *terms, n_terms, 0.5, whole)
        np.testing.assert_array_equal(result, whole, err_msg=f"{n_columns} columns")


@numba.njit
def list_share(layout, listed, n_samples, first, last):
    """Call the kernel."""
    kernel.list_samples(layout, listed, n_samples, first, last)


@pytest.mark.parametrize("edges", [(0, 300), (0, 56, 160, 300), (0, 152, 300), (40, 48), (296, 300)])
def test_samples_are_listed_of_a_share_of_the_inputs(edges):
    X, _ = make_samples(300, "float64")
    layout = fastnn.mlp(300, 2)._layout
    listed = kernel.Listed(
        starts=np.empty(0, np.int64),
        columns=np.empty(0, np.int32),
        inputs=np.zeros((50, 300), np.int32),
        n_inputs=np.zeros((2, 50), np.int64),
        samples=np.full((300, 50), -1, np.int32),
        n_samples=np.full(300, -1, np.int64),
    )
    for part, (begin, end) in enumerate([(0, 152), (152, 300)]):  # cut at eight
        listed.n_inputs[part] = np.count_nonzero(X[:, begin:end], axis=1)
        for n in range(50):
            listed.inputs[n, begin : begin + listed.n_inputs[part, n]] = np.flatnonzero(X[n, begin:end])
    for first, last in pairwise(edges):
        list_share(layout, listed, np.int64(50), np.int64(first), np.int64(last))
    for k in range(300):
        wanted = np.flatnonzero(X[:, k]) if edges[0] <= k < edges[-1] else np.empty(0)
        assert listed.n_samples[k] == (len(wanted) if edges[0] <= k < edges[-1] else -1)
        np.testing.assert_array_equal(listed.samples[k, : len(wanted)], wanted)


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(engine, "FEWEST", 64)


def make_samples(n_inputs, dtype, n=50):
    """Return inputs of which a fifth is not zero, some samples and columns without any, and labels."""
    rng = np.random.default_rng(2)
    return thin(rng.normal(size=(n, n_inputs)).astype(dtype)), rng.integers(0, 3, n)


def train(X, y, n_inputs, dtype, gradient, optimizer=None, **options):
    """Return the weights after two epochs, and what was measured."""
    network = fastnn.mlp(n_inputs, 9, 3, output="softmax", seed=0, dtype=dtype)
    options = {"batch_size": 8, "seed": 0} | options
    loss = "categorical_cross_entropy"
    trainer = fastnn.Trainer(network, loss=loss, gradient=gradient, optimizer=optimizer or fastnn.SGD(0.1), **options)
    history = trainer.fit(X, y, epochs=2, validation_data=(X[:20], y[:20]))
    return network.weights, [*history.loss, *history.validation_loss, *trainer.evaluate(X, y)]


def assert_same(one, other):
    """Compare bits; in plain Python, to the rounding of NumPy's other sums."""
    for a, b in zip([*one[0], one[1]], [*other[0], other[1]], strict=True):
        if numba.config.DISABLE_JIT:
            eps = max(np.finfo(x.dtype).eps for x in one[0])
            np.testing.assert_allclose(a, b, rtol=1e4 * eps, atol=1e4 * eps)
        else:
            np.testing.assert_array_equal(a, b)


GRADIENTS = [
    (fastnn.Perturbation(), None),
    (fastnn.Perturbation(scheme="central"), fastnn.Adam(0.01)),
    (fastnn.Backprop(), fastnn.SGD(0.1, momentum=0.9)),
    (fastnn.Perturbation(0.5), None),  # some measured directly
    (fastnn.Perturbation(evaluate="direct"), None),
    (fastnn.RandomDirections(q=2, seed=0), None),
    (fastnn.NodePerturbation(seed=0), None),
    (fastnn.ForwardGradient(seed=0), None),
    (fastnn.Perturbation(fraction=0.5), fastnn.Adam(0.01)),
]


@pytest.mark.filterwarnings("ignore:a step takes")  # of a fit that takes more than a second
@pytest.mark.grid
@pytest.mark.parametrize("n_inputs", [65, 300])  # in one part, and in two
@pytest.mark.parametrize(("gradient", "optimizer"), GRADIENTS)
def test_training(gradient, optimizer, n_inputs, monkeypatch):
    # In float32 what is compiled takes other types, and does the same: one case is enough.
    dtype = "float32" if optimizer == fastnn.SGD(0.1, momentum=0.9) else "float64"
    X, y = make_samples(n_inputs, dtype)
    assert engine.is_mostly_zero(X)
    found = train(X, y, n_inputs, dtype, gradient, optimizer)
    by_rows = train(scipy_sparse.csr_array(X), y, n_inputs, dtype, gradient, optimizer)
    monkeypatch.setattr(engine, "MOST", -1.0)
    assert not engine.is_mostly_zero(X)
    assert_same(found, train(X, y, n_inputs, dtype, gradient, optimizer))
    assert_same(by_rows, found)


@compiled
def test_threads():
    X, y = make_samples(300, "float64", n=400)
    runs = []
    before = numba.get_num_threads()
    try:
        for n_threads in (1, before):
            numba.set_num_threads(n_threads)
            runs.append(train(X, y, 300, "float64", fastnn.Perturbation(), batch_size=64))
    finally:
        numba.set_num_threads(before)
    assert_same(runs[0], runs[-1])


def test_what_is_dense_and_what_is_small_is_left_alone():
    rng = np.random.default_rng(0)
    assert not engine.is_mostly_zero(rng.normal(size=(1000, 100)))
    assert not engine.is_mostly_zero(np.zeros((1000, engine.FEWEST - 1)))
    assert engine.is_mostly_zero(np.zeros((3, engine.FEWEST)))


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_array", "csr_array"])
def test_kinds_of_matrices(kind):
    X, y = make_samples(65, "float64")
    sparse = getattr(scipy_sparse, kind)(X)
    network = fastnn.mlp(65, 9, 3, output="softmax", seed=0)
    loss = "categorical_cross_entropy"
    np.testing.assert_array_equal(network.predict(sparse), network.predict(X))
    np.testing.assert_array_equal(network.predict_labels(sparse), network.predict_labels(X))
    of_rows = fastnn.gradient(network, sparse, y, loss=loss)
    rounding = 1e-13 if numba.config.DISABLE_JIT else 0.0  # of sums of some 50 products, in another order
    for one, other in zip(of_rows, fastnn.gradient(network, X, y, loss=loss), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding)


def test_rows_that_are_not_in_order_stay_as_they_are():
    data, columns, starts = np.array([1, 2, 3, 0, 5]), np.array([4, 0, 4, 1, 2]), np.array([0, 3, 3, 5])
    sparse = scipy_sparse.csr_array((data, columns, starts), shape=(3, 65))
    network = fastnn.mlp(65, 4, 2, output="identity", seed=0)
    trainer = fastnn.Trainer(network, batch_size=2)
    trainer.fit(sparse, np.ones((3, 2)), epochs=2)
    np.testing.assert_array_equal(sparse.data, [1, 2, 3, 0, 5])
    np.testing.assert_array_equal(sparse.indices, [4, 0, 4, 1, 2])
    dense = np.zeros((3, 65))
    dense[0, 4], dense[0, 0], dense[2, 2] = 4, 2, 5
    np.testing.assert_array_equal(network.predict(sparse), network.predict(dense))


def test_nothing_but_zeros():
    network = fastnn.mlp(65, 4, 2, output="identity", seed=0)
    w, b = network.weights[0].copy(), network.weights[1].copy()
    fastnn.Trainer(network).fit(scipy_sparse.csr_array((5, 65)), np.ones((5, 2)))
    np.testing.assert_array_equal(network.weights[0], w)
    assert (network.weights[1] != b).all()


def test_held_out_samples():
    X, y = make_samples(65, "float64")
    sparse = scipy_sparse.csr_array(X)
    runs = []
    for samples in (X, sparse):
        network = fastnn.mlp(65, 9, 3, output="softmax", seed=0)
        trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", seed=0, metrics=["f1"])
        history = trainer.fit(samples, y, epochs=3, validation_split=0.2, callbacks=[fastnn.callbacks.Alignment()])
        runs.append((network.weights, [*history.loss, *history.validation_loss, *history.metrics["validation_f1"]]))
    assert_same(*runs)


def move_an_index(X, to):
    X.indices[3] = to
    return X


def move_an_end(X):
    X.indptr[3] = X.indptr[5]
    X.indptr[4] = 0
    return X


BAD = [
    (lambda X: scipy_sparse.csr_array(np.where(X == 0, 0, np.nan)), ValueError, "X.data has NaN or infinity"),
    (lambda X: scipy_sparse.csr_array(X[:, :60]), ValueError, r"X must have shape \(n_samples, 65\), got \(50, 60\)"),
    (lambda X: scipy_sparse.csr_array(X.astype(complex)), TypeError, "X.data must be real numbers"),
    (lambda X: move_an_index(scipy_sparse.csr_array(X), 65), ValueError, "X is a damaged sparse matrix: ind"),
    (lambda X: move_an_index(scipy_sparse.csc_array(X), -1), ValueError, "X is a damaged sparse matrix: ind"),
    (lambda X: move_an_end(scipy_sparse.csr_array(X)), ValueError, "X is a damaged sparse matrix: indptr"),
    (lambda X: scipy_sparse.coo_array(X[0]), ValueError, r"X must have shape \(n_samples, n_inputs\), got \(65,\)"),
]


@pytest.mark.parametrize(("spoil", "error", "message"), BAD)
def test_bad_matrices(spoil, error, message):
    X, y = make_samples(65, "float64")
    network = fastnn.mlp(65, 9, 3, output="softmax", seed=0)
    before = [w.copy() for w in network.weights]
    with pytest.raises(error, match=message):
        fastnn.Trainer(network, loss="categorical_cross_entropy").fit(spoil(X), y)
    for one, other in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_range_test():
    """Of sparse samples as of dense ones."""
    samples, y = make_samples(65, "float64")
    found = []
    for X in (samples, scipy_sparse.csr_array(samples)):
        network = fastnn.mlp(65, 9, 3, output="softmax", seed=0)
        trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", seed=0, batch_size=8)
        found.append(fastnn.learning_rate_range_test(trainer, X, y, n_steps=10).losses)
    np.testing.assert_array_equal(*found)


def test_layers_over_images_take_dense_ones():
    network = fastnn.Network((8, 8, 1), [fastnn.Conv2D(2, 3, "relu"), fastnn.Dense(2, "identity")])
    with pytest.raises(TypeError, match=r"X is a sparse matrix; pass X.toarray\(\)"):
        network.predict(scipy_sparse.csr_array(np.ones((3, 64))))


@pytest.mark.filterwarnings("ignore:.*was still improving")
def test_estimators():
    pytest.importorskip("sklearn")
    from fastnn.sklearn import PerturbationClassifier, PerturbationRegressor

    X, y = make_samples(65, "float64")
    sparse = scipy_sparse.csr_array(X)
    options = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0, "early_stopping": True}
    for make_model, target in ((PerturbationClassifier, y), (PerturbationRegressor, X.sum(axis=1))):
        one, other = make_model(**options).fit(X, target), make_model(**options).fit(sparse, target)
        np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-12)  # those of two epochs
        np.testing.assert_allclose(other.predict(sparse), one.predict(X), rtol=1e-12)
