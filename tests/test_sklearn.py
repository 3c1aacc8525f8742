"""The estimators, held to scikit-learn's own checks and used the way its users do."""

import inspect
import pickle
import signal
import subprocess
import sys

import naive
import numba
import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn._engine import loop
from fastnn.sklearn import PerturbationClassifier, PerturbationRegressor

# Few epochs are asked for in most tests.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BOTH = [PerturbationClassifier, PerturbationRegressor]


@pytest.mark.late(kept=8)
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
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_the_same_as_the_trainer(iris, two, loss, alpha):
    X, y = (a[:100] for a in iris) if two else iris
    model = quick(loss=loss, activation="logistic", solver="sgd", batch_size=30, max_iter=3, shuffle=False, tol=0.0)
    model.set_params(alpha=alpha).fit(X, y)
    seed = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1))
    output, n_outputs, name = ("sigmoid", 1, "binary") if two else ("softmax", 3, "categorical")
    network = fastnn.mlp(4, 5, n_outputs, hidden="sigmoid", output=output, seed=seed)
    trainer = fastnn.Trainer(
        network,
        loss=f"{name}_cross_entropy" if loss == "log_loss" else loss,
        gradient=fastnn.Perturbation(1e-6),
        optimizer=fastnn.SGD(0.02, 0.9, nesterov=True, weight_decay=alpha / 30),
        batch_size=30,
        shuffle=False,
    )
    targets = y if two or loss == "log_loss" else np.eye(3)[y]
    history = trainer.fit(X, targets, epochs=3)
    if not alpha:
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
        quick(gradient=g, eps=1e-4, scheme="central").fit(*iris) for g in ("perturbation", "backprop")
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
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    # The last epochs brought nothing, by the rule that stopped them.
    assert max(model.validation_scores_[-4:]) < max(model.validation_scores_[:-4]) + model.tol


def test_early_stopping_of_two_classes(iris):
    X, y = (a[:100] for a in iris)
    model = quick(early_stopping=True).fit(X, y)
    assert max(model.validation_scores_) == 1.0


def test_training_stops_when_the_loss_no_longer_falls():
    X = np.linspace(-1, 1, 50).reshape(-1, 1)
    model = quick(PerturbationRegressor, hidden_layer_sizes=(), max_iter=10_000, learning_rate_init=0.2, alpha=0.0)
    model.set_params(solver="sgd", momentum=0.0).fit(X, X.ravel())
    # Mean x^2 is 0.35, so that an epoch multiplies the loss by (1 - 0.07)^2 = 0.86: it falls by less than
    # tol = 1e-4 an epoch from 7e-4 on, for 10 epochs more.
    assert 1e-5 < model.loss_ < 7e-4
    assert model.validation_scores_ is model.best_validation_score_ is None
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.n_iter_ == len(model.loss_curve_)


@pytest.mark.parametrize(
    "fit",
    [
        lambda model, X, y: model.fit(X, y),
        lambda model, X, y: make_pipeline(StandardScaler(), model).fit(X, y),
        lambda model, X, y: cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=2),
        lambda model, X, y: GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2).fit(X, y),
    ],
    ids=["alone", "pipeline", "cross-validation", "search"],
)
def test_a_warning_when_the_epochs_run_out(iris, fit):
    with pytest.warns(ConvergenceWarning, match="took max_iter=2 epochs") as caught:
        fit(quick(max_iter=2), *iris)
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, fit.__code__.co_firstlineno)}


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
        (
            {"activation": None},
            "activation must be one of 'identity', .*'hard_sigmoid', 'logistic', got None; did you mean 'identity'",
        ),
        ({"activation": 3}, "activation must be one of .*, got 3"),
        ({"activation": "linear"}, "'hard_sigmoid', 'logistic', got 'linear'; did you mean 'identity'"),
        ({"activation": "softmax"}, "activation must be one of [^;]*'logistic', got 'softmax'"),
        ({"learning_rate": 0.1}, "learning_rate must be one of 'constant', 'invscaling', 'adaptive', got 0.1"),
        ({"alpha": -1.0}, "alpha must be a finite number >= 0, got -1.0"),
        ({"learning_rate_init": 0.0}, "learning_rate_init must be a finite number > 0"),
        ({"power_t": -0.5}, "power_t must be a finite number >= 0"),
        ({"momentum": 1.0}, "momentum must be a finite number >= 0 and < 1"),
        ({"beta_1": 1.0}, "beta_1 must be a finite number >= 0 and < 1"),
        ({"beta_2": -0.1}, "beta_2 must be a finite number >= 0 and < 1"),
        ({"epsilon": 0.0}, "epsilon must be a finite number > 0"),
        ({"verbose": -1}, "verbose must be an integer >= 0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be an integer >= 1"),
        ({"loss": "logloss"}, "did you mean 'log_loss'"),
        ({"loss": "poisson"}, "loss must be one of 'log_loss', 'squared_error'"),
        ({"eps": 0.0}, "eps must be a finite number > 0"),
        ({"batch_size": "all"}, "batch_size must be one of 'auto'"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"validation_fraction": 2}, "validation_fraction must be a finite number > 0 and < 1, got 2"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1"),
        (
            {"early_stopping": True, "validation_fraction": 1.0},
            "validation_fraction must be a finite number > 0 and < 1",
        ),
    ],
)
def test_bad_parameters(iris, options, message):
    X, y = iris
    model = quick(max_iter=1).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).fit(X[:, :2], y > 0)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    if "early_stopping" not in options:
        with pytest.raises(ValueError, match=message):
            quick(**options).partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("kind", BOTH)
def test_arguments_that_there_are_not(kind):
    """Whose constructor is shared is called by its own name."""
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__}\(\) takes no argument 'hidden_sizes'; did you mean 'hidden_"
    ):
        kind(hidden_sizes=(3,))
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(\) takes hidden_layer_sizes and activation by place"):
        kind((3,), "relu", "log_loss")


def test_class_weight_is_the_classifiers():
    with pytest.raises(TypeError, match="PerturbationRegressor.* 'class_weight': numbers have no classes: fit takes s"):
        PerturbationRegressor(class_weight={})
    with pytest.raises(ValueError, match="loss must be one of 'log_loss', .*; did you mean 'log_loss'"):
        PerturbationClassifier(loss="cross_entropy").fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("name", ["warm_start", "shuffle", "nesterovs_momentum", "early_stopping"])
def test_bad_flags(iris, name):
    with pytest.raises(TypeError, match=f"{name} must be True or False, got 'no'"):
        quick(**{name: "no"}).fit(*iris)


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


@pytest.mark.late
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
    real = loop.run_steps

    def run_steps(*arguments):
        signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(loop, "run_steps", run_steps)
    with pytest.raises(KeyboardInterrupt):
        quick().fit(*iris)


def test_a_batch_of_all_samples(iris):
    whole, many = (quick(batch_size=size).fit(*iris) for size in (None, 1000))
    assert whole.loss_curve_ == many.loss_curve_
    assert whole.loss_curve_ != quick(batch_size=30).fit(*iris).loss_curve_


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
    weighed = quick().fit(X[:120], y[:120], sample_weight=np.array([0.8, 0.8, 2])[y[:120]])  # 1 on the average
    np.testing.assert_allclose(balanced.loss_curve_, weighed.loss_curve_, rtol=1e-10)
    same = quick().fit(X, y, sample_weight=3.0)
    np.testing.assert_array_equal(same.loss_curve_, quick().fit(X, y).loss_curve_)


def test_balanced_classes_count_the_same_whatever_their_samples_do(iris):
    X, y = iris
    counts = np.array([2.0, 1.0, 0.5])[y] * (np.arange(len(y)) % 5 > 0)  # 80, 40, 20 and fifths of 0
    balanced = quick(class_weight="balanced").fit(X, y, sample_weight=counts)
    # Which leaves the mean at 14 / 15, by which alpha is divided.
    weighed = quick().fit(X, y, sample_weight=14 / 15 * 1.25 * (counts > 0))
    np.testing.assert_allclose(balanced.loss_curve_, weighed.loss_curve_, rtol=1e-10)
    two = quick(class_weight="balanced").fit(X, y, sample_weight=1.0 * (y < 2))  # of the third nothing counts
    plain = quick().fit(X, y, sample_weight=1.0 * (y < 2))
    np.testing.assert_allclose(two.loss_curve_, plain.loss_curve_, rtol=1e-10)
    for weights, message in (
        (-np.ones(len(y)), "sample_weight must not be negative"),
        (np.zeros(len(y)), "all 0|non-zero"),
    ):
        with pytest.raises(ValueError, match=message):
            quick(class_weight="balanced").fit(X, y, sample_weight=weights)


def test_classes_that_are_not_named_count_1(iris):
    X, y = iris
    for kept in (y < 2, y == 1, y >= 0):
        named, weighed = (quick(class_weight=weight) for weight in ({0: 2.0, 2: 3.0}, None))
        named.partial_fit(X[kept], y[kept], classes=[0, 1, 2])
        weighed.partial_fit(X[kept], y[kept], [0, 1, 2], np.array([2.0, 1.0, 3.0])[y[kept]])
        assert named.loss_curve_ == weighed.loss_curve_


def test_class_weights_of_classes_that_are_not_there(iris):
    X, y = iris
    names = np.array(["se", "ve", "vi"])[y]
    message = r"class_weight has keys that are no classes, \['xx'\]: the classes are \['se', 've', 'vi'\]"
    with pytest.raises(ValueError, match=message):
        quick(class_weight={"se": 2.0, "xx": 1.0}).fit(X, names)
    with pytest.raises(ValueError, match=message):
        quick(class_weight={"xx": 1.0}).partial_fit(X, names, classes=["se", "ve", "vi"])
    # All are named: these samples lack one.
    quick(class_weight={"se": 2.0, "ve": 1.0, "vi": 1.0}).fit(X[y < 2], names[y < 2])
    with pytest.raises(ValueError, match=r"class_weight\['se'\] must be a finite number >= 0, got -1.0"):
        quick(class_weight={"se": -1.0}).fit(X, names)
    with pytest.raises(ValueError, match="did you mean 'balanced'"):
        quick(class_weight="balance").fit(X, names)
    with pytest.raises(TypeError, match="class_weight must be a dict, 'balanced' or None, got 3"):
        quick(class_weight=3).fit(X, names)


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
    model = quick()
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        model.fit(X, y, sample_weight=-np.ones(len(y)))
    assert not hasattr(model, "network_")
    model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="the weights of the samples are all 0"):
        model.set_params(class_weight=dict.fromkeys(range(3), 0.0)).partial_fit(X, y)
    assert model.n_iter_ == 1
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
    from fastnn._support import no_callbacks

    class Older(no_callbacks.CallbackSupportMixin, PerturbationClassifier):
        fit = no_callbacks.with_callbacks(PerturbationClassifier.fit)

    options = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
    older = Older()
    for name, value in options.items():
        setattr(older, name, value)
    assert older.fit(*iris).loss_curve_ == PerturbationClassifier(**options).fit(*iris).loss_curve_


# What theirs have and these do not: the solver "lbfgs", which takes its steps by a search along a line over all
# samples.
MISSING = {"max_fun"}
OWN = {"gradient", "eps", "scheme", "loss", "class_weight"}
PAIRS = [(PerturbationClassifier, MLPClassifier), (PerturbationRegressor, MLPRegressor)]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_parameters_and_attributes_are_scikit_learns(iris, ours, theirs, early_stopping):
    options = {"early_stopping": early_stopping, "max_iter": 2}
    parameters, wanted = ours().get_params(), theirs().get_params()
    assert set(wanted) - set(parameters) <= MISSING
    assert set(parameters) - set(wanted) <= OWN
    assert {name: parameters[name] for name in wanted.keys() & parameters.keys()} == {
        name: wanted[name] for name in wanted.keys() & parameters.keys()
    }
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    # From scikit-learn 1.7 on, their regressor has its loss before these; here it is said by its name.
    assert [p.name for p in inspect.signature(ours).parameters.values() if p.kind == positional] == [
        p.name for p in inspect.signature(theirs).parameters.values() if p.kind == positional and p.name != "loss"
    ]
    fitted, model = theirs(**options).fit(*iris), ours(**options).fit(*iris)
    for name in vars(fitted):
        if name.endswith("_") and not name.startswith("_"):
            value, wanted = getattr(model, name), getattr(fitted, name)
            assert isinstance(wanted, type(value)), name  # their floats are NumPy's
            if isinstance(value, int | str):
                assert value == wanted, name
            elif isinstance(value, list):
                assert [np.shape(part) for part in value] == [np.shape(part) for part in wanted], name
    methods = {name for name in dir(fitted) if callable(getattr(fitted, name)) and not name.startswith("_")}
    assert methods <= set(dir(model))


def interleave(model):
    return [w for pair in zip(model.coefs_, model.intercepts_, strict=True) for w in pair]


def from_the_same_weights(iris, task, **options):
    """Return scikit-learn's network and ours, begun with the same weights, and the samples."""
    X, y = iris
    X, y = X[30:120], y[30:120]  # 20, 50 and 20 of each class
    kind = 0
    if task == "two":
        y = y > 0
    elif task == "labels":
        y = np.column_stack([y > 0, y > 1, X[:, 0] > 0]).astype(int)
    elif task == "target":
        X, y, kind = X[:, 1:], X[:, 0], 1
    elif task == "targets":
        X, y, kind = X[:, 2:], X[:, :2], 1
    options = {
        "hidden_layer_sizes": (6,),
        "activation": "tanh",
        "learning_rate_init": 0.05,
        "shuffle": False,
        "tol": 0.0,
        "random_state": 0,
        "warm_start": True,
        "batch_size": 90,
        "epsilon": 1e-20,
        **options,
    }
    ours, theirs = PAIRS[kind]
    theirs = theirs(**options).set_params(max_iter=1).fit(X, y)
    ours = ours(**options, gradient="backprop").set_params(max_iter=1).fit(X, y)
    ours.network_.weights = interleave(theirs)
    return ours, theirs, X, y


TASKS = ["two", "three", "labels", "target", "targets"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 20.0])
@pytest.mark.parametrize("batch_size", [90, 30])
def test_steps_are_scikit_learns(iris, task, solver, alpha, batch_size):
    ours, theirs, X, y = from_the_same_weights(iris, task, solver=solver, alpha=alpha, batch_size=batch_size)
    for model in (ours, theirs):
        model.set_params(max_iter=5).fit(X, y)
    # 15 steps of 0.05 at most. SGD's go, by momentum ten times as far, along gradients of size 10 at most, right to
    # 100 roundings. Adam's divide by the gradient's size: one of 1e-6 is right to 1e-8 of itself.
    atol = 15 * 0.05 * (10 * 10 * 100 * np.finfo(float).eps if solver == "sgd" else 1e-8)
    for here, there in zip(interleave(ours), interleave(theirs), strict=True):
        np.testing.assert_allclose(here, there, rtol=0, atol=atol)
    if task == "targets":  # scikit-learn's loss is the mean over the outputs, but its steps go down the sum
        return
    # Between the ends of an epoch of several steps, the penalty is taken to change evenly.
    rtol = 1e-7 if batch_size == 90 or not alpha else 0.05
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=rtol)
    assert ours.loss_ == ours.loss_curve_[-1]
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


def test_the_loss_of_several_targets_is_their_sum(iris):
    ours, _, X, y = from_the_same_weights(iris, "targets", alpha=20.0)
    weights = [w.copy() for w in ours.network_.weights]
    ours.fit(X, y)
    losses = naive.losses(weights, ["tanh", "identity"], "squared_error", X, y)
    penalty = sum(np.square(w).sum() for w in weights[::2])
    assert ours.loss_ == pytest.approx(losses.mean() / 2 + 20.0 / 2 * penalty / 90, rel=1e-13)


@pytest.fixture
def counts():
    """Rates that a softplus of a line has, and counts drawn from them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    rates = np.logaddexp(0, X @ [1.0, -2.0, 0.5] + 1.0)
    return X, rng.poisson(rates), rates


def test_counts(counts):
    """A regression of counts is the trainer's, after softplus, and finds the rates that they were drawn from."""
    X, y, rates = counts
    model = quick(PerturbationRegressor, loss="poisson", hidden_layer_sizes=(), solver="sgd", batch_size=50, alpha=0.0)
    model.set_params(shuffle=False, max_iter=100, n_iter_no_change=np.inf).fit(X, y)
    seed = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1))
    network = fastnn.mlp(3, 1, output="softplus", seed=seed)
    optimizer = fastnn.SGD(0.02, 0.9, nesterov=True)
    trainer = fastnn.Trainer(network, loss="poisson", optimizer=optimizer, batch_size=50, shuffle=False)
    assert model.loss_curve_ == trainer.fit(X, y, epochs=100).loss.tolist()
    np.testing.assert_array_equal(model.predict(X), network.predict(X)[:, 0])
    assert (model.out_activation_, model.n_outputs_) == ("softplus", 1)
    # The likelihood's curvature says how well so many counts tell a line's numbers, and so its rates.
    lines, slopes = np.column_stack([X, np.ones(400)]), -np.expm1(-rates)
    covariance = np.linalg.inv((lines * (slopes**2 / rates)[:, None]).T @ lines)
    deviations = slopes * np.sqrt(((lines @ covariance) * lines).sum(axis=1))
    assert (abs(model.predict(X) - rates) < 5 * deviations).all()
    assert quick(PerturbationRegressor, loss="poisson").fit(X, np.column_stack([y, y])).predict(X).shape == (400, 2)


def test_counts_that_are_none(counts):
    X, y, _ = counts
    model = quick(PerturbationRegressor, loss="poisson").fit(X, y)
    before = model.predict(X)
    for call in (model.fit, model.partial_fit, quick(PerturbationRegressor, loss="poisson").partial_fit):
        with pytest.raises(ValueError, match="y must not be negative for poisson, got -1"):
            call(X, y - 1)
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match=r"goes on with the network of the last fit, of layers .*softplus.*identity"):
        model.set_params(warm_start=True, loss="squared_error").fit(X, y)


@pytest.mark.parametrize(("task", "kind"), [("three", MLPClassifier), ("target", MLPRegressor)])
def test_weighted_steps_are_scikit_learns(iris, task, kind):
    if "sample_weight" not in inspect.signature(kind.fit).parameters:
        pytest.skip("of scikit-learn 1.7")
    # As above, of five steps.
    atol = 5 * 0.05 * 10 * 10 * 100 * np.finfo(float).eps
    ours, theirs, X, y = from_the_same_weights(iris, task, solver="sgd", alpha=20.0, batch_size=30)
    weights = np.random.default_rng(0).uniform(0, 3, len(X))
    alike = (weights.reshape(-1, 30) / weights.reshape(-1, 30).sum(axis=1, keepdims=True)).ravel()
    for given, is_same in ((alike, True), (weights, False)):  # a batch is divided by the sum of its own weights there
        for model in (ours, theirs):
            model.set_params(max_iter=1).fit(X, y, sample_weight=given)
        pairs = zip(interleave(ours), interleave(theirs), strict=True)
        assert all(np.allclose(*pair, rtol=0, atol=atol) for pair in pairs) == is_same
    ours, theirs, X, y = from_the_same_weights(iris, task, solver="sgd", alpha=20.0)
    for model in (ours, theirs):
        model.set_params(max_iter=5).fit(X, y, sample_weight=weights)
    for here, there in zip(interleave(ours), interleave(theirs), strict=True):
        np.testing.assert_allclose(here, there, rtol=0, atol=atol)
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-12)


@pytest.mark.parametrize("task", ["three", "target"])
@pytest.mark.parametrize(
    "schedule",
    [
        {"learning_rate": "invscaling", "power_t": 0.3, "batch_size": 30},
        # No epoch is good enough for that tol: the rate is divided by 5 every second one, down to 1e-6.
        {"learning_rate": "adaptive", "tol": 100.0, "n_iter_no_change": 1},
    ],
)
def test_learning_rates_are_scikit_learns(iris, task, schedule):
    ours, theirs, X, y = from_the_same_weights(iris, task, solver="sgd", momentum=0.0, **schedule)
    # A fit that goes on counts anew what brought nothing; theirs does not.
    theirs._no_improvement_count, theirs.best_loss_ = 0, np.inf
    for model in (ours, theirs):
        model.set_params(max_iter=30).fit(X, y)
    for here, there in zip(interleave(ours), interleave(theirs), strict=True):
        # 90 steps of 0.05 along gradients of size 10 at most, right to 100 roundings.
        np.testing.assert_allclose(here, there, rtol=0, atol=90 * 0.05 * 10 * 100 * np.finfo(float).eps)
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_adaptive_learning_rate(iris, capsys, early_stopping):
    model = quick(solver="sgd", learning_rate="adaptive", learning_rate_init=0.05, tol=100.0, n_iter_no_change=1)
    model.set_params(early_stopping=early_stopping, verbose=True, max_iter=100).fit(*iris)
    said = [line for line in capsys.readouterr().out.splitlines() if "consecutive" in line]
    what = "Validation score" if early_stopping else "Training loss"
    text = f"{what} did not improve more than tol=100.000000 for 1 consecutive epochs."
    # 0.05 divided by 5 seven times is the first that is not above 1e-6.
    rates = [0.05 / 5**k for k in range(1, 8)]
    assert said == [f"{text} Setting learning rate to {rate:f}" for rate in rates] + [f"{text} Stopping."]
    assert model.n_iter_ == 1 + 2 * 8
    capsys.readouterr()
    model.set_params(solver="adam").fit(*iris)  # which does not adapt
    assert model.n_iter_ == 3


@pytest.mark.parametrize("verbose", [True, 2, np.True_])
def test_verbose(iris, capsys, verbose):
    model = quick(max_iter=2, verbose=verbose, early_stopping=True).fit(*iris)
    expected = [
        line
        for k in range(2)
        for line in (
            f"Iteration {k + 1}, loss = {model.loss_curve_[k]:.8f}",
            f"Validation score: {model.validation_scores_[k]:f}",
        )
    ]
    assert capsys.readouterr().out.splitlines() == expected
    quick(max_iter=2).fit(*iris)
    assert capsys.readouterr().out == ""


def test_alpha_pulls_the_weights_to_zero(iris):
    X, y = iris
    sizes = [quick(alpha=alpha, max_iter=100).fit(X, y)._sum_squares() for alpha in (0.0, 1.0, 10.0, 100.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 10 * sizes[-1]


def test_parameters_may_change_between_calls_of_partial_fit(iris):
    """As scikit-learn's: alpha counts from the next call on."""
    X, y = iris
    one = quick(solver="sgd").partial_fit(X, y, classes=[0, 1, 2])
    two = pickle.loads(pickle.dumps(one)).set_params(alpha=1000.0)
    for model in (one, two):
        model.partial_fit(X, y)
    assert two._sum_squares() < one._sum_squares()


@pytest.mark.parametrize("kind", BOTH)
def test_warm_start(iris, kind):
    """A fit goes on with the weights of the last one, and nothing else of it: SGD without momentum cannot tell."""
    X, y = iris
    options = {"solver": "sgd", "momentum": 0.0, "shuffle": False, "tol": 0.0}
    whole = quick(kind, max_iter=6, **options).fit(X, y)
    parts = quick(kind, max_iter=2, warm_start=True, **options)
    network = None
    for k in range(3):
        parts.fit(X, y)
        assert network is None or parts.network_ is network
        network = parts.network_
        assert (parts.n_iter_, parts.t_, len(parts.loss_curve_)) == (2, 300 * (k + 1), 2 * (k + 1))
    assert parts.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))
    # Moments are not carried over, as scikit-learn has it.
    moving = quick(kind, max_iter=2, warm_start=True).fit(X, y)
    moving.fit(X, y)
    assert moving.loss_curve_ != quick(kind, max_iter=4).fit(X, y).loss_curve_
    cold = parts.set_params(warm_start=False).fit(X, y)
    assert cold.loss_curve_ == whole.loss_curve_[:2]
    assert cold.network_ is not network


def test_warm_start_with_another_network(iris):
    X, y = iris
    model = quick(max_iter=1, warm_start=True).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"goes on with the classes of the last fit, \[0 1 2\], and y has \[0 1\]"):
        model.fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=r"goes on with the network of the last fit, of layers .*Dense\(n_units=5"):
        model.set_params(hidden_layer_sizes=(6,)).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.fit(X[:, :3], y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_warm_start_keeps_the_best_weights_of_all_fits(iris):
    X, y = iris
    model = quick(PerturbationRegressor, max_iter=1, warm_start=True, early_stopping=True, learning_rate_init=0.1)
    for _ in range(30):
        model.fit(X, y)
    assert len(model.validation_scores_) == 30
    random = np.random.RandomState(0)
    random.randint(2**31 - 1)
    _, X_held, _, y_held = train_test_split(X, y, test_size=0.1, random_state=random)
    assert model.score(X_held, y_held) == pytest.approx(model.best_validation_score_, abs=1e-12)
    assert model.validation_scores_[-1] < model.best_validation_score_
    model.set_params(early_stopping=False).fit(X, y)
    assert model.validation_scores_ is model.best_validation_score_ is None
    assert len(model.set_params(early_stopping=True).fit(X, y).validation_scores_) == 1


@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_of_too_few(iris, kind):
    X, _ = iris
    for theirs in (quick(kind, early_stopping=True), dict(PAIRS)[kind](early_stopping=True)):
        with pytest.raises(ValueError):  # noqa: PT011 (scikit-learn's message)
            theirs.fit(X[:9], np.arange(9) % 2)
    why = "a score takes 2" if kind is PerturbationRegressor else "there are 2 classes"
    message = f"validation_fraction=0.1 of 9 samples holds out 1, and {why}: raise validation_fraction, or fit more"
    with pytest.raises(ValueError, match=message):
        quick(kind, early_stopping=True).fit(X[:9], np.arange(9) % 2)
    quick(kind, early_stopping=True).fit(X[:11], np.arange(11) % 2)


@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_with_weights_of_zero(iris, kind):
    X, y = iris
    random = np.random.RandomState(0)
    random.randint(2**31 - 1)
    stratify = y if kind is PerturbationClassifier else None
    rows, rows_held = train_test_split(np.arange(len(X)), test_size=0.1, random_state=random, stratify=stratify)
    for zeros, message in (
        (rows_held, "the samples held out have weights of 0"),
        (rows, "are all 0: none of them counts"),
    ):
        weights = np.ones(len(X))
        weights[zeros] = 0.0
        model = quick(kind, early_stopping=True)
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, sample_weight=weights)
        assert not hasattr(model, "network_")


@pytest.fixture
def labelled():
    X, Y = make_multilabel_classification(200, 8, n_classes=4, random_state=0)
    return StandardScaler().fit_transform(X), Y


@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_several_labels_a_sample(labelled, loss):
    X, Y = labelled
    model = quick(loss=loss, max_iter=100).fit(X, Y)
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert (model.out_activation_, model.n_outputs_) == ("logistic", 4)
    proba = model.predict_proba(X)
    assert proba.shape == Y.shape
    np.testing.assert_array_equal(model.predict(X), proba > 0.5)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), proba, rtol=1e-12)
    assert model.score(X, Y) == np.mean((model.predict(X) == Y).all(axis=1)) > 0.35
    theirs = MLPClassifier((5,), learning_rate_init=0.02, max_iter=100, random_state=0).fit(X, Y)
    assert abs(model.score(X, Y) - theirs.score(X, Y)) < 0.15


def test_early_stopping_by_several_labels(labelled):
    X, Y = labelled
    model = quick(early_stopping=True, max_iter=30).fit(X, Y)
    random = np.random.RandomState(0)
    random.randint(2**31 - 1)
    _, X_held, _, Y_held = train_test_split(X, Y, test_size=0.1, random_state=random)
    assert model.score(X_held, Y_held) == pytest.approx(model.best_validation_score_, abs=1e-12)


def test_labels_of_any_kind(labelled):
    sparse = pytest.importorskip("scipy.sparse")
    X, Y = labelled
    model = quick(max_iter=2).fit(X, Y)
    for other in (Y.astype(bool), Y.astype(float), Y.tolist()):
        np.testing.assert_array_equal(quick(max_iter=2).fit(X, other).predict_proba(X), model.predict_proba(X))
    thin = quick(max_iter=2, early_stopping=True).fit(X, sparse.csr_matrix(Y))
    assert sparse.issparse(thin.predict(X))  # as scikit-learn has it
    assert thin.loss_curve_ == quick(max_iter=2, early_stopping=True).fit(X, Y).loss_curve_


def test_several_labels_in_parts(labelled):
    X, Y = labelled
    whole = quick(max_iter=3, tol=0.0).fit(X, Y)
    for classes in ([None] * 3, [range(4), None, range(4)]):
        parts = quick()
        for given in classes:
            parts.partial_fit(X, Y, classes=given)
        assert parts.loss_curve_ == whole.loss_curve_
    parts.partial_fit(X[:1], Y[:1])  # one sample
    with pytest.raises(ValueError, match="classes must be those of the first call, or the columns of y"):
        quick().partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="y must have shape \\(n_samples, 4\\), as in the first call, got \\(200,\\)"):
        parts.partial_fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="mismatch with the labels"):
        parts.partial_fit(X, Y[:, :2])
    with pytest.raises(ValueError, match="y must have shape \\(n_samples,\\), as in the first call, got \\(200, 4\\)"):
        quick().partial_fit(X, Y[:, 0], classes=[0, 1]).partial_fit(X, Y)


def test_what_are_not_several_labels(labelled):
    X, Y = labelled
    with pytest.raises(ValueError, match="several labels a sample must be 0 or 1, got 0 to 2"):
        quick().fit(X, 2 * Y)
    with pytest.raises(ValueError, match="indicator matrix of 0 and 1, .* got int64 of shape"):
        quick().fit(X, Y + np.arange(4))
    with pytest.raises(ValueError, match="class_weight goes with classes that exclude each other"):
        quick(class_weight="balanced").fit(X, Y)


@pytest.mark.parametrize("two", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logarithms_of_probabilities(iris, two, dtype):
    X, y = (a[:100] for a in iris) if two else iris
    X = X.astype(dtype)
    model = quick().fit(X, y)
    logs, proba = model.predict_log_proba(X), model.predict_proba(X)
    assert logs.dtype == dtype
    np.testing.assert_allclose(np.exp(logs), proba, rtol=100 * np.finfo(dtype).eps, atol=100 * np.finfo(dtype).eps)
    # A probability that no number holds has a logarithm all the same.
    logs = model.predict_log_proba(1e3 * X)
    assert (model.predict_proba(1e3 * X) == 0).any()
    assert np.isfinite(logs).all()
    assert logs.min() < np.log(np.finfo(dtype).tiny)
    with pytest.raises(NotFittedError):
        quick().predict_log_proba(X)


def test_divergence(iris):
    X, y = iris
    with pytest.raises(FloatingPointError, match="not finite in epoch .* learning_rate_init=100 and alpha=0.0001; try"):
        quick(PerturbationRegressor, solver="sgd", learning_rate_init=100.0, activation="identity").fit(X, y)


def test_ctrl_c_before_an_epoch_is_over(monkeypatch):
    X, y = load_iris(return_X_y=True)

    def fit(trainer, *_, **__):
        return fastnn.History(np.zeros(0), None, None, None, np.zeros(0), interrupted=True)

    monkeypatch.setattr(fastnn.Trainer, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        PerturbationClassifier((3,)).fit(X, y)


def test_waiting_without_end_and_a_column_of_labels():
    X, y = load_iris(return_X_y=True)
    model = PerturbationClassifier((3,), max_iter=2, n_iter_no_change=np.inf, random_state=0)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"), pytest.warns(ConvergenceWarning):
        model.fit(X, y[:, None])
    assert model.n_iter_ == 2
