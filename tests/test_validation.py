"""Every refusal: what was expected, what came, what to do. And nothing has changed."""

import numpy as np
import pytest

import fastnn
from fastnn._support import validate

X, Y, LABELS = np.ones((4, 3)), np.ones((4, 2)), np.array([0, 1, 1, 0])


class Sparse:
    """What scipy.sparse arrays have, and lists and arrays have not."""

    def toarray(self):
        return X


class Frame:
    """What pandas' and polars' frames have: columns of one kind each."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self.values = columns

    def __getitem__(self, key):
        return self.values[key]

    def __array__(self, dtype=None, copy=None):
        return np.array(list(zip(*self.values.values(), strict=True)), object)


class Lazy:
    def collect(self):
        return X


def network(output="identity"):
    return fastnn.mlp(3, 4, 2, output=output, seed=0)


CONSTRUCTIONS = [
    (lambda: fastnn.Dense(0, "relu"), ValueError, "n_units must be an integer >= 1, got 0"),
    (lambda: fastnn.Dense(2.5, "relu"), TypeError, "n_units must be an integer, got 2.5"),
    (lambda: fastnn.Dense(True, "relu"), TypeError, "n_units must be an integer, got True"),
    (lambda: fastnn.Dense(2, "sigmoidd"), ValueError, "got 'sigmoidd'; did you mean 'sigmoid'?"),
    (lambda: fastnn.Dense(2, "Tanh"), ValueError, "did you mean 'tanh'?"),
    (lambda: fastnn.Dense(2, "xyz"), ValueError, "activation must be one of 'identity', .*, got 'xyz'$"),
    (lambda: fastnn.Dense(2, None), ValueError, "activation must be one of"),
    (lambda: fastnn.Network(0, [fastnn.Dense(1, "relu")]), ValueError, "n_inputs must be an integer >= 1"),
    (lambda: fastnn.Network(1, []), ValueError, "layers is empty"),
    (lambda: fastnn.Network(1, fastnn.Dense(1, "relu")), TypeError, "layers must be a list of fastnn.Dense"),
    (lambda: fastnn.Network(1, [3]), TypeError, r"layers\[0\] must be a fastnn.Dense, .* or \w+, got 3"),
    (
        lambda: fastnn.mlp(3, 4, 2, hidden="softmax"),
        ValueError,
        r"layers\[0\] is softmax, which is for the output layer",
    ),
    (
        lambda: fastnn.mlp(2**40, 2**20),
        ValueError,
        r"Dense\(1048576, identity\) has 1099511627776 inputs each unit: so m",
    ),
    (lambda: fastnn.mlp(10**30, 3), ValueError, "so many weights take more memory than there is"),
    (lambda: fastnn.mlp(3, 10**30, 1), ValueError, "so many weights take more memory than there is"),
    (lambda: fastnn.mlp(3), ValueError, r"mlp needs at least .*got sizes \(3,\)"),
    (lambda: fastnn.mlp(3, 2, dtype="float16"), ValueError, "dtype must be float64 or float32, got 'float16'"),
    (lambda: fastnn.mlp(3, 2, dtype=complex), ValueError, "dtype must be float64 or float32"),
    (lambda: fastnn.mlp(3, 2, dtype="spam"), ValueError, "dtype must be float64 or float32, got 'spam'"),
    (lambda: fastnn.mlp(3, 2, init="xavier"), ValueError, "init must be one of .*; did you mean 'glorot_normal'"),
    (lambda: fastnn.mlp(3, 2, init=3), ValueError, "init must be one of 'fan_in', 'standard_normal'"),
    (lambda: fastnn.mlp(3, 2, init=lambda rng, shape: 1.0), ValueError, r"weights\[0\] must have shape \(3, 2\)"),
    (lambda: fastnn.mlp(3, 2, hidden=["relu"]), ValueError, "hidden must be one activation, or 0, one for each"),
    (lambda: fastnn.mlp(3, 2, 1, hidden=None), ValueError, "activation must be one of .*, got None"),
    (lambda: fastnn.mlp(3, 2, 1, hidden=3), ValueError, "activation must be one of .*, got 3"),
    (lambda: fastnn.mlp(3, 4, 2, hidden=["spam"]), ValueError, "activation must be one of"),
    (lambda: fastnn.mlp(3, 2, seed=-1), ValueError, "seed must be an integer >= 0, got -1"),
    (lambda: fastnn.mlp(3, 2, seed="a"), TypeError, "seed must be an integer, got 'a'"),
    (lambda: fastnn.Perturbation(0), ValueError, "eps must be a finite number > 0, got 0"),
    (lambda: fastnn.Perturbation(-1e-4), ValueError, "eps must be a finite number > 0"),
    (lambda: fastnn.Perturbation(np.inf), ValueError, "eps must be a finite number > 0, got inf"),
    (lambda: fastnn.Perturbation(np.nan), ValueError, "eps must be a finite number > 0, got nan"),
    (lambda: fastnn.Perturbation("a"), TypeError, "eps must be a real number, got 'a'"),
    (lambda: fastnn.Perturbation(scheme="centre"), ValueError, "did you mean 'central'?"),
    (lambda: fastnn.Perturbation(evaluate="directly"), ValueError, "did you mean 'direct'?"),
    (lambda: fastnn.SGD(-0.1), ValueError, "lr must be a finite number >= 0, got -0.1"),
    (lambda: fastnn.SGD(1j), TypeError, "lr must be a real number"),
    (lambda: fastnn.SGD(0.1, 1.0), ValueError, "momentum must be a finite number >= 0 and < 1, got 1.0"),
    (lambda: fastnn.SGD(0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0"),
    (lambda: fastnn.SGD(0.1, 0.9, nesterov=1), TypeError, "nesterov must be True or False, got 1"),
    (lambda: fastnn.Adam(-1), ValueError, "lr must be"),
    (lambda: fastnn.Adam(beta1=1), ValueError, "beta1 must be a finite number >= 0 and < 1"),
    (lambda: fastnn.Adam(beta2=-0.1), ValueError, "beta2 must be"),
    (lambda: fastnn.Adam(epsilon=0), ValueError, "epsilon must be a finite number > 0"),
    (lambda: fastnn.Trainer("network"), TypeError, "network must be a fastnn.Network, got 'network'"),
    (lambda: fastnn.Trainer(network(), gradient="backprop"), TypeError, "a fastnn.Perturbation, fastnn.Backprop, "),
    (lambda: fastnn.Trainer(network(), gradient=fastnn.Backprop), TypeError, r"write Backprop\(...\)"),
    (lambda: fastnn.Trainer(network(), optimizer=0.1), TypeError, "optimizer must be a fastnn.SGD, fastnn.Adam, "),
    (lambda: fastnn.Trainer(network(), batch_size=0), ValueError, "batch_size must be an integer >= 1, got 0"),
    (lambda: fastnn.Trainer(network(), shuffle="yes"), TypeError, "shuffle must be True or False"),
    (lambda: fastnn.Trainer(network(), loss="mse"), ValueError, "loss must be one of 'squared_error', "),
    (lambda: fastnn.Trainer(network(), loss="squared_eror"), ValueError, "did you mean 'squared_error'?"),
    (
        lambda: fastnn.Trainer(network(), loss="categorical_cross_entropy"),
        ValueError,
        "needs a softmax output layer, .* ends in identity; .*, or use one of: squared_error, huber, absolute_error$",
    ),
    (
        lambda: fastnn.Trainer(network("softmax"), loss="binary_cross_entropy"),
        ValueError,
        "needs a sigmoid output layer, and this network ends in softmax; .*: squared_error, categorical_cross_entropy",
    ),
]


@pytest.mark.parametrize(("construct", "error", "message"), CONSTRUCTIONS)
def test_bad_construction(construct, error, message):
    with pytest.raises(error, match=message.replace("'?", r"'\?")):
        construct()


DATA = [
    (X[:, :2], Y, ValueError, r"X must have shape \(n_samples, 3\), got \(4, 2\)$"),
    (X[0], Y, ValueError, r"got \(3,\); one sample is X.reshape\(1, -1\)"),
    (X[None], Y, ValueError, r"X must have shape \(n_samples, 3\), got \(1, 4, 3\)"),
    (1.0, Y, ValueError, r"X must have shape \(n_samples, 3\), got \(\)"),
    (np.zeros((0, 3)), Y, ValueError, r"X is empty: shape \(0, 3\)"),
    ([], Y, ValueError, "X is empty"),
    ([[1, 2, 3], [4, 5]], Y, ValueError, "X must be a rectangular array of numbers"),
    ([["a", "b", "c"]], Y, TypeError, "X must be real numbers, got dtype <U1"),
    (X.astype(complex), Y, TypeError, "X must be real numbers, got dtype complex128"),
    (X.astype(np.float16), Y, TypeError, r"X is float16, .* pass X.astype\('float32'\)"),
    (X.astype(object), Y, TypeError, r"X must be real numbers, got dtype object; .* pass X.astype\(float\)"),
    ({1, 2}, Y, TypeError, "X must be real numbers, got dtype object$"),
    (Frame(a=[1, 2], b=["c", "d"], e=[1, 2]), Y, TypeError, r"X\['b'\] must be real numbers, got dtype <U1"),
    (Lazy(), Y, TypeError, r"X is a lazy frame; pass X.collect\(\)"),
    (np.ma.masked_array(X, X == 1), Y, ValueError, "X has masked values; fill them, or drop such samples"),
    (None, Y, TypeError, "X must be real numbers"),
    (X, Sparse(), TypeError, r"y is a sparse matrix; pass y.toarray\(\)"),
    (np.where(np.eye(4, 3) > 0, np.nan, X), Y, ValueError, r"X has NaN or infinity, first at index \(0, 0\)"),
    (np.where(np.arange(12).reshape(4, 3) == 7, -np.inf, X), Y, ValueError, r"first at index \(2, 1\)"),
    (X, Y[:3], ValueError, "X has 4 samples and y has 3"),
    (X, np.ones((4, 3)), ValueError, r"y must have shape \(4, 2\), got \(4, 3\)"),
    (X, np.ones(4), ValueError, r"got \(4,\); integer labels go with loss 'categorical_cross_entropy'"),
    (X, 1.0, ValueError, r"y must have shape \(4, 2\), got \(\)"),
    (X, np.where(np.eye(4, 2) > 0, np.nan, Y), ValueError, "y has NaN or infinity"),
    (X, [["a", "b"]] * 4, TypeError, "y must be real numbers, got dtype <U1; "),
]


@pytest.mark.parametrize(("x", "y", "error", "message"), DATA)
def test_bad_data(x, y, error, message):
    net = network()
    before = [w.copy() for w in net.weights]
    trainer = fastnn.Trainer(net)
    for call in (
        lambda: trainer.fit(x, y),
        lambda: trainer.fit(X, Y, validation_data=(x, y)),
        lambda: trainer.evaluate(x, y),
        lambda: fastnn.gradient(net, x, y),
    ):
        with pytest.raises(error, match=message):
            call()
    if message.startswith("X has NaN") or message.startswith("X must"):
        with pytest.raises(error, match=message):
            net.predict(x)
        with pytest.raises(error, match=message):
            net.forward(x)
    for now, then in zip(net.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert trainer.n_steps == 0


CLASSES = [
    ("softmax", [0, 1, 2, 0], "labels in y must be 0 to 1 for 2 outputs, got values from 0 to 2"),
    ("softmax", [0, -1, 1, 0], "got values from -1 to 1"),
    ("softmax", [0, 1e300, 1, 0], r"got values from 0 to 1e\+300"),
    ("softmax", [0, 0.5, 1, 0], "integer labels or one-hot rows, got fractions in a vector"),
    ("softmax", np.full((4, 2), 0.3), "rows of y must be one-hot or sum to 1; row 0 sums to 0.6"),
    ("softmax", [[2, -1]] * 4, "y must lie between 0 and 1 for categorical_cross_entropy, got values from -1 to 2"),
    ("softmax", np.eye(2)[[0, 1, 1, 0]] * 2, r"from 0 to 2; rows of y are one-hot .* labels have shape \(4,\)$"),
    ("softmax", np.ones((4, 3)), r"y must have shape \(4, 2\), got \(4, 3\), or integer labels of shape \(4,\)"),
    ("sigmoid", [[2, 0]] * 4, "y must lie between 0 and 1 .* from 0 to 2; an output's target is 0 or 1, or a prob"),
    ("sigmoid", [0, 1, 1, 0], r"y must have shape \(4, 2\), got \(4,\)"),
]


@pytest.mark.parametrize(("output", "y", "message"), CLASSES)
def test_bad_targets(output, y, message):
    loss = {"softmax": "categorical_cross_entropy", "sigmoid": "binary_cross_entropy"}[output]
    with pytest.raises(ValueError, match=message):
        fastnn.Trainer(network(output), loss=loss).fit(X, y)


def test_text_labels_say_what_to_do():
    trainer = fastnn.Trainer(network("softmax"), loss="categorical_cross_entropy")
    with pytest.raises(TypeError, match="number the classes 0, 1, "):
        trainer.fit(X, ["a", "b", "a", "b"])


def test_numbers_beyond_float32():
    small = fastnn.mlp(3, 2, dtype="float32")
    with pytest.raises(ValueError, match="X has values beyond the range of float32"):
        small.predict(X * 1e300)
    with pytest.raises(ValueError, match="X has NaN or infinity"):
        small.predict(X * np.inf)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(poison):
    net = network()
    net.weights[2][1, 0] = poison
    for call in (
        lambda: net.predict(X),
        lambda: net.forward(X),
        lambda: fastnn.gradient(net, X, Y),
        lambda: fastnn.Trainer(net).fit(X, Y),
        lambda: fastnn.Trainer(net).evaluate(X, Y),
    ):
        with pytest.raises(ValueError, match=r"network.weights\[2\] has NaN or infinity, first at index \(1, 0\)"):
            call()


def test_bad_fit_arguments():
    trainer = fastnn.Trainer(network())
    with pytest.raises(ValueError, match="epochs must be an integer >= 0, got -1"):
        trainer.fit(X, Y, epochs=-1)
    with pytest.raises(TypeError, match=r"validation_data must be \(X, y\) or \(X, y, sample_weight\), got ndarray"):
        trainer.fit(X, Y, validation_data=X)
    with pytest.raises(
        TypeError,
        match=r"method must be a fastnn.Perturbation, fastnn.Backprop, .* or fastnn.ForwardGradient, got 'direct'",
    ):
        fastnn.gradient(trainer.network, X, Y, method="direct")
    with pytest.raises(TypeError, match="network must be a fastnn.Network"):
        fastnn.gradient(trainer, X, Y)


def test_whatever_holds_numbers_is_accepted():
    net = network("softmax")
    trainer = fastnn.Trainer(net, loss="categorical_cross_entropy")
    expected = trainer.evaluate(X, LABELS)
    one_hot = np.eye(2)[LABELS]
    for x in (
        X.astype(int),
        X.astype(bool),
        X.tolist(),
        np.asfortranarray(X),
        X.astype(">f8"),
        X[::-1],
        X.astype(">i2"),
    ):
        assert trainer.evaluate(x, LABELS) == expected
    for y in (
        LABELS.tolist(),
        LABELS.astype(float),
        LABELS.astype(bool),
        one_hot,
        one_hot.astype(bool),
        one_hot.T.copy().T,
    ):
        assert trainer.evaluate(X, y) == expected
    X.flags.writeable = False
    assert trainer.fit(X, LABELS).accuracy is not None
    X.flags.writeable = True
    column = fastnn.Trainer(fastnn.mlp(3, 1, seed=0))
    assert column.evaluate(X, Y[:, 0]) == column.evaluate(X, Y[:, :1])


def test_large_arrays_are_not_copied_at_the_door():
    from fastnn._support import validate

    assert np.shares_memory(validate.features(X, 3, np.dtype(np.float64)), X)


KINDS = {
    "list": lambda x: x.tolist(),
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: x[::-1][::-1],
    "fortran": np.asfortranarray,
    "big-endian": lambda x: x.astype(">f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "integers": lambda x: x.astype(np.int16),
    "unsigned": lambda x: x.astype(np.uint8),
    "nothing masked": np.ma.masked_array,
    "frame of several kinds": lambda x: Frame(a=x[:, 0], b=x[:, 1].astype(int), c=x[:, 2].astype(bool)),
    "pandas": lambda x: pytest.importorskip("pandas").DataFrame(x),
    "pandas, several kinds": lambda x: pytest.importorskip("pandas").DataFrame(
        {"a": x[:, 0], "b": x[:, 1] == 1, "c": pytest.importorskip("pandas").array(x[:, 2].astype(int), dtype="Int64")}
    ),
    "polars": lambda x: pytest.importorskip("polars").DataFrame(x),
    "polars, several kinds": lambda x: pytest.importorskip("polars").DataFrame(
        {"a": x[:, 0], "b": x[:, 1] == 1, "c": x[:, 2].astype(int)}
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_the_same_whatever_holds_them(kind):
    x = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [3.0, 1.0, 1.0], [2.0, 0.0, 0.0]])
    y = x[:, :2]
    trained = []
    for data in (x, KINDS[kind](x)):
        net = network()
        fastnn.Trainer(net, batch_size=2).fit(data, y, 2)
        trained.append(net._theta.tobytes())
    assert trained[0] == trained[1]


def test_read_only_and_mapped_arrays_are_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for x in (X, mapped, mapped[1:]):
        x = x.view()
        x.flags.writeable = False
        assert np.shares_memory(validate.features(x, 3, np.dtype("f8")), x)
        fastnn.Trainer(network()).fit(x, Y[: len(x)])


def test_a_large_copy_is_not_silent(monkeypatch):
    monkeypatch.setattr(validate, "LARGE", 1000)
    trainer = fastnn.Trainer(fastnn.mlp(2, 1, seed=0))
    whole = np.ones((100, 2))
    trainer.fit(whole, np.ones(100))  # as it stands
    with pytest.warns(
        UserWarning, match="X is float32, and copied whole: 0 MB. A C-contiguous array of float64 is not"
    ):
        trainer.fit(whole.astype(np.float32), np.ones(100))
    with pytest.warns(UserWarning, match="X is float64, not C-contiguous, and copied whole") as caught:
        trainer.evaluate(np.asfortranarray(whole), np.ones(100))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", [None, 3, "", "fastnn_of_mine", "__main__"])
def test_a_caller_of_any_name_or_none_is_warned(monkeypatch, name):
    """What exec runs has the names that it is given; a package of a like name is the caller's."""
    monkeypatch.setattr(validate, "LARGE", 1000)
    names = {"network": fastnn.mlp(2, 1, seed=0), "x": np.ones((100, 2), np.float32)}
    if name is not None:
        names["__name__"] = name
    with pytest.warns(UserWarning, match="copied whole") as caught:
        exec(compile("network.predict(x)", "here.py", "exec"), names)
    assert caught[0].filename == "here.py"
