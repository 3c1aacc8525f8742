"""The estimators, held to scikit-learn's own checks and used the way its users do."""

import pickle
import signal
import subprocess
import sys

import numba
import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import _loop
from fastnn.sklearn import PerturbationClassifier, PerturbationRegressor

# Few epochs are asked for in most tests.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BOTH = [PerturbationClassifier, PerturbationRegressor]


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="minutes in plain Python, for lines that the other tests run")
@parametrize_with_checks([PerturbationClassifier(), PerturbationRegressor()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def quick(kind=PerturbationClassifier, **options):
    return kind(**{"hidden_layer_sizes": (5,), "max_iter": 20, "learning_rate_init": 0.02, "random_state": 0} | options)


def test_fastnn_alone_does_not_import_scikit_learn():
    code = "import sys, fastnn; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("two", [True, False])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_the_same_as_the_trainer(iris, two, loss):
    X, y = (a[:100] for a in iris) if two else iris
    model = quick(loss=loss, activation="logistic", solver="sgd", batch_size=30, max_iter=3, shuffle=False, tol=0.0)
    model.fit(X, y)
    seed = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1))
    output, n_outputs, name = ("sigmoid", 1, "binary") if two else ("softmax", 3, "categorical")
    network = fastnn.mlp(4, 5, n_outputs, hidden="sigmoid", output=output, seed=seed)
    trainer = fastnn.Trainer(
        network,
        loss=f"{name}_cross_entropy" if loss == "log_loss" else loss,
        gradient=fastnn.Perturbation(1e-6),
        optimizer=fastnn.SGD(0.02, 0.9, nesterov=True),
        batch_size=30,
        shuffle=False,
    )
    targets = y if two or loss == "log_loss" else np.eye(3)[y]
    history = trainer.fit(X, targets, epochs=3)
    assert model.loss_curve_ == history.loss.tolist()
    for ours, theirs in zip(
        model.coefs_ + model.intercepts_, network.weights[::2] + network.weights[1::2], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    probabilities = network.predict(X)
    if two:
        probabilities = np.hstack([1 - probabilities, probabilities])
    np.testing.assert_array_equal(model.predict_proba(X), probabilities)
    np.testing.assert_array_equal(model.predict(X), probabilities.argmax(axis=1))


def test_perturbation_and_backprop_both_learn(iris):
    perturbed, backprop = (
        quick(gradient=g, eps=1e-6, scheme="central").fit(*iris) for g in ("perturbation", "backprop")
    )
    np.testing.assert_allclose(perturbed.loss_curve_, backprop.loss_curve_, rtol=1e-6)
    assert perturbed.loss_curve_ != backprop.loss_curve_


@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_keeps_the_best_weights(iris, kind):
    X, y = iris
    model = quick(kind, early_stopping=True, validation_fraction=0.3, n_iter_no_change=3, max_iter=300).fit(X, y)
    assert model.n_iter_ < 300
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == len(model.loss_curve_) == model.n_iter_
    stratify = y if kind is PerturbationClassifier else None
    random = np.random.RandomState(0)
    random.randint(2**31 - 1)
    _, X_held, _, y_held = train_test_split(X, y, test_size=0.3, random_state=random, stratify=stratify)
    assert model.score(X_held, y_held) == pytest.approx(max(model.validation_scores_), abs=1e-12)
    # The last epochs brought nothing, by the rule that stopped them.
    assert max(model.validation_scores_[-4:]) < max(model.validation_scores_[:-4]) + model.tol


def test_early_stopping_of_two_classes(iris):
    X, y = (a[:100] for a in iris)
    model = quick(early_stopping=True).fit(X, y)
    assert max(model.validation_scores_) == 1.0


def test_training_stops_when_the_loss_no_longer_falls():
    X = np.linspace(-1, 1, 50).reshape(-1, 1)
    model = quick(PerturbationRegressor, hidden_layer_sizes=(), max_iter=10_000, learning_rate_init=0.1)
    model.set_params(solver="sgd", momentum=0.0).fit(X, X.ravel())
    # Mean x^2 is 0.35, so that an epoch multiplies the loss by (1 - 0.07)^2 = 0.86: it falls by less than
    # tol = 1e-4 an epoch from 7e-4 on, for 10 epochs more.
    assert 1e-5 < model.loss_curve_[-1] < 7e-4
    assert model.validation_scores_ is None
    assert model.n_iter_ == len(model.loss_curve_)


@pytest.mark.filterwarnings("error")
def test_a_warning_when_the_epochs_run_out(iris):
    from sklearn.exceptions import ConvergenceWarning

    with pytest.warns(ConvergenceWarning, match="took max_iter=2 epochs"):
        quick(max_iter=2).fit(*iris)


@pytest.mark.parametrize("kind", BOTH)
def test_partial_fit_goes_on_where_fit_stopped(iris, kind):
    X, y = iris
    whole = quick(kind, max_iter=3, tol=0.0).fit(X, y)
    parts = quick(kind)
    for k in range(3):
        parts.partial_fit(X, y, *([[0, 1, 2]] if kind is PerturbationClassifier and k != 1 else []))
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.n_iter_ == 3
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": (0,)}, "n_units must be an integer >= 1"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"gradient": "backpropagation"}, "did you mean 'backprop'"),
        ({"solver": "lbfgs"}, "solver must be one of 'sgd', 'adam'"),
        ({"loss": "logloss"}, "did you mean 'log_loss'"),
        ({"eps": 0.0}, "eps must be a finite number > 0"),
        ({"batch_size": "all"}, "batch_size must be one of 'auto'"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1"),
        (
            {"early_stopping": True, "validation_fraction": 1.0},
            "validation_fraction must be a finite number > 0 and < 1",
        ),
    ],
)
def test_bad_parameters(iris, options, message):
    with pytest.raises(ValueError, match=message):
        quick(**options).fit(*iris)


def test_bad_calls_of_partial_fit(iris):
    X, y = iris
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        quick().partial_fit(X, y)
    with pytest.raises(ValueError, match="labels that are not in classes: \\[2\\]"):
        quick().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="samples of at least 2 classes, got one class: "):
        quick().partial_fit(X, y, classes=[1])
    model = quick().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, y, classes=[0, 1])
    for kind in BOTH:
        with pytest.raises(ValueError, match="does not support early_stopping=True"):
            quick(kind, early_stopping=True).partial_fit(X, y)


def test_outputs_and_dtypes(iris):
    X, y = iris
    model = quick(PerturbationRegressor).fit(X.astype("float32"), np.column_stack([y, -y]))
    assert model.predict(X).shape == (150, 2)
    assert model.predict(X.astype("float32")).dtype == model.network_.dtype == np.float32
    labels = np.array(["a", "b", "c"])[y]
    assert set(quick().fit(X, labels).predict(X)) <= set("abc")


def test_feature_names(iris):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(iris[0], columns=list("abcd"))
    model = quick(max_iter=1).fit(X, iris[1])
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[list("bacd")])


def test_in_scikit_learns_tools(iris):
    X, y = iris
    scaled = make_pipeline(StandardScaler(), quick())
    grid = {"perturbationclassifier__learning_rate_init": [1e-6, 0.02]}
    search = GridSearchCV(scaled, grid, n_jobs=2, cv=2).fit(X, y)  # loky
    assert search.best_params_ == {"perturbationclassifier__learning_rate_init": 0.02}
    assert cross_val_score(scaled, X, y, cv=3).min() > 0.7
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    informative = np.column_stack([X[:, 2], np.zeros(150)])
    importance = permutation_importance(quick().fit(informative, y), informative, y, random_state=0)
    assert importance.importances_mean[0] > 0.2
    assert importance.importances_mean[1] == 0


@pytest.mark.parametrize("kind", BOTH)
def test_clone_and_pickle(iris, kind):
    X, y = iris
    model = quick(kind, max_iter=3).fit(X, y)
    fresh = clone(model)
    assert not hasattr(fresh, "network_")
    assert not hasattr(fresh, "coefs_")
    np.testing.assert_array_equal(fresh.fit(X, y).predict(X), model.predict(X))
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    # Training goes on with the same bits, and `coefs_` shows it.
    model.partial_fit(X, y)
    np.testing.assert_array_equal(copy.partial_fit(X, y).coefs_[0], model.coefs_[0])


@pytest.mark.slow
def test_as_good_as_scikit_learns_own():
    """Held-out scores of ten splits, each split and seed the same for both; with -s, prints the README's table."""
    from time import perf_counter

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import MinMaxScaler

    common = {"hidden_layer_sizes": (32,), "learning_rate_init": 0.01, "max_iter": 100}
    # A regression of 10 noisy features is over-fitted without early stopping, and needs a target of size 1.
    held = {"early_stopping": True, "validation_fraction": 0.2}
    classifiers, regressors = (PerturbationClassifier, MLPClassifier), (PerturbationRegressor, MLPRegressor)
    tasks = [
        ("digits, scaled to 0 to 1", load_digits, MinMaxScaler(), classifiers, {}),
        ("digits, standardised", load_digits, StandardScaler(), classifiers, {}),
        ("breast cancer, standardised", load_breast_cancer, StandardScaler(), classifiers, {}),
        ("diabetes, standardised (R²)", load_diabetes, StandardScaler(), regressors, held),
    ]
    table = ["| task | fastnn | scikit-learn | difference | fastnn, s | scikit-learn, s |", "|---|---|---|---|---|---|"]
    worse = []
    for name, load, scaler, kinds, options in tasks:
        X, y = load(return_X_y=True)
        scores, seconds = np.empty((2, 10, 2))
        for seed in range(10):
            X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
            for k, kind in enumerate(kinds):
                model = make_pipeline(scaler, kind(**common, **options, random_state=seed))
                if kinds is regressors:
                    model = TransformedTargetRegressor(model, transformer=StandardScaler())
                start = perf_counter()
                model.fit(X_train, y_train)
                seconds[seed, k] = perf_counter() - start
                scores[seed, k] = model.score(X_test, y_test)
        # The noise is the standard error of the mean difference of the ten pairs.
        differences = scores[:, 0] - scores[:, 1]
        difference, noise = differences.mean(), differences.std(ddof=1) / np.sqrt(10)
        ours, theirs = scores.mean(axis=0)
        times = " | ".join(f"{median:.2f}" for median in np.median(seconds, axis=0))  # the first one compiles
        table.append(f"| {name} | {ours:.3f} | {theirs:.3f} | {difference:+.3f} ± {noise:.3f} | {times} |")
        if difference < -3 * noise:
            worse.append(name)
    print("", *table, sep="\n")  # noqa: T201
    assert not worse


def test_ctrl_c_ends_a_fit(iris, monkeypatch):
    """A search that runs fits one after another must not go on with the next one."""
    real = _loop.run_steps

    def run_steps(*arguments):
        signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(_loop, "run_steps", run_steps)
    with pytest.raises(KeyboardInterrupt):
        quick().fit(*iris)


def test_weights_of_samples_and_classes(iris):
    X, y = iris
    counts = np.random.default_rng(0).integers(0, 4, len(y))
    repeated = quick(batch_size=1000).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    for model in (
        quick(batch_size=1000).fit(X, y, sample_weight=counts),
        quick(batch_size=1000, class_weight={0: 0.5, 2: 2.0}).fit(
            X, y, sample_weight=counts * np.array([2, 1, 0.5])[y]
        ),
    ):
        # One batch an epoch, so only roundings differ: 20 steps of Adam, each dividing by their gradient's size.
        np.testing.assert_allclose(model.loss_curve_, repeated.loss_curve_, rtol=1e-10)
    balanced = quick(class_weight="balanced").fit(X[:120], y[:120])
    weighed = quick().fit(X[:120], y[:120], sample_weight=np.array([1, 1, 2.5])[y[:120]])
    np.testing.assert_allclose(balanced.loss_curve_, weighed.loss_curve_, rtol=1e-10)
    same = quick().fit(X, y, sample_weight=3.0)
    np.testing.assert_array_equal(same.loss_curve_, quick().fit(X, y).loss_curve_)


@pytest.mark.parametrize("kind", BOTH)
def test_held_out_samples_are_weighted_too(iris, kind):
    X, y = iris
    weights = np.where(np.arange(len(y)) % 2, 1e-9, 1.0)
    model = quick(kind, early_stopping=True, validation_fraction=0.5).fit(X, y, sample_weight=weights)
    plain = quick(kind, early_stopping=True, validation_fraction=0.5).fit(X, y)
    assert model.validation_scores_ != plain.validation_scores_
    assert model.validation_loss_curve_ != plain.validation_loss_curve_


@pytest.mark.parametrize("kind", BOTH)
def test_partial_fit_takes_weights(iris, kind):
    X, y = iris
    counts = np.random.default_rng(0).integers(0, 4, len(y))
    options = {"classes": np.unique(y)} if kind is PerturbationClassifier else {}
    weighted, repeated = quick(kind, batch_size=1000), quick(kind, batch_size=1000)
    for _ in range(3):
        weighted.partial_fit(X, y, sample_weight=counts, **options)
        repeated.partial_fit(np.repeat(X, counts, axis=0), np.repeat(y, counts), **options)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)


def test_weights_that_are_none(iris):
    X, y = iris
    with pytest.raises(ValueError, match="sample_weight"):
        quick().fit(X, y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        quick().fit(X, y, sample_weight=-np.ones(len(y)))
    with pytest.raises(ValueError, match="class_weight must be a dict or None, not 'balanced'"):
        quick(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


class Witness:
    """A callback that keeps what it is told, and stops after some epochs."""

    def __init__(self, stop_after=1000):
        self.stop_after, self.events, self.scores = stop_after, [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_callbacks(iris, kind, early_stopping):
    pytest.importorskip("sklearn.callback", reason="of scikit-learn 1.9")
    X, y = iris
    witness = Witness()
    model = quick(kind, max_iter=5, early_stopping=early_stopping).set_callbacks(witness).fit(X, y)
    epochs = ["begin epoch", "end epoch"] * 5
    assert witness.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    if not early_stopping:
        assert witness.scores[-1] == witness.scores[-2] == model.score(X, y)
    assert len(set(witness.scores)) > 1  # each epoch's own network
    stopped = quick(kind, max_iter=50).set_callbacks(Witness(3)).fit(X, y, sample_weight=np.ones(len(y)))
    assert stopped.n_iter_ == 3


def test_a_progress_bar_of_scikit_learns(iris, capsys):
    callback = pytest.importorskip("sklearn.callback", reason="of scikit-learn 1.9")
    pytest.importorskip("rich", reason="draws the bar")
    quick(max_iter=3).set_callbacks(callback.ProgressBar()).fit(*iris)
    assert "PerturbationClassifier - fit" in capsys.readouterr().out


def test_without_callbacks_training_is_the_same(iris):
    """What stands in before scikit-learn 1.9."""
    from fastnn import _no_callbacks

    class Older(_no_callbacks.CallbackSupportMixin, PerturbationClassifier):
        fit = _no_callbacks.with_callbacks(PerturbationClassifier.fit)

    options = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
    older = Older()
    for name, value in options.items():
        setattr(older, name, value)
    assert older.fit(*iris).loss_curve_ == PerturbationClassifier(**options).fit(*iris).loss_curve_
