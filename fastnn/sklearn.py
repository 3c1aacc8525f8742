"""Estimators for scikit-learn (the extra ``sklearn``): a classifier and a regressor.

From scikit-learn 1.9 on they call what `set_callbacks` is given, such as
`sklearn.callback.ProgressBar`: a task for each epoch, which may stop training.
"""

import copy
import math
import numbers
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from fastnn._support import validate
from fastnn._support.choices import ActivationName, HiddenName, LossName, SchemeName
from fastnn._support.names import named_arguments
from fastnn._support.validate import Array
from fastnn.model.network import mlp
from fastnn.training.gradients import Backprop, Perturbation, check_data
from fastnn.training.optimizers import SGD, Adam, Optimizer
from fastnn.training.trainer import Trainer

with validate.optional("fastnn.sklearn", "sklearn"):
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

if TYPE_CHECKING:
    from fastnn._support.no_callbacks import CallbackSupportMixin, with_callbacks
else:
    try:
        from sklearn.callback import CallbackSupportMixin, with_callbacks
    except ImportError:  # pragma: no cover (before scikit-learn 1.9 there are none to call)
        from fastnn._support.no_callbacks import CallbackSupportMixin, with_callbacks

GradientName: TypeAlias = Literal["perturbation", "backprop"]
SolverName: TypeAlias = Literal["sgd", "adam"]
RatesName: TypeAlias = Literal["constant", "invscaling", "adaptive"]
CHOICES = {
    "activation": (*get_args(HiddenName), "logistic"),
    "gradient": get_args(GradientName),
    "solver": get_args(SolverName),
    "learning_rate": get_args(RatesName),
}
RANGES: dict[str, dict[str, Any]] = {
    "alpha": {"low": 0.0},
    "learning_rate_init": {"low": 0.0, "open_low": True},
    "power_t": {"low": 0.0},
    "tol": {"low": 0.0},
    "momentum": {"low": 0.0, "high": 1.0, "open_high": True},
    "validation_fraction": {"low": 0.0, "high": 1.0, "open_low": True, "open_high": True},
    "beta_1": {"low": 0.0, "high": 1.0, "open_high": True},
    "beta_2": {"low": 0.0, "high": 1.0, "open_high": True},
    "epsilon": {"low": 0.0, "open_low": True},
}
FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
# An adaptive learning rate that is no larger is not divided any more; scikit-learn's.
LEAST_RATE = 1e-6


class Samples(NamedTuple):
    """Some rows of the data: what a network is trained on, or held to."""

    X: Array
    y: Any  # as it came, for callbacks
    targets: Array  # (n_samples, n_outputs)
    weights: Array | None

    def take(self, rows: Array) -> "Samples":
        """Return some of them."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(self.X[rows], self.y[rows], self.targets[rows], weights)


class _Perturbed(CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """What the classifier and the regressor share: parameters, and epochs until nothing improves."""

    # What there is to choose from as loss, and what the trainer's is multiplied by to be scikit-learn's, 1 if not here.
    _losses: tuple[str, ...]
    _factors: ClassVar[Mapping[str, float]] = {}
    loss: Literal["log_loss", "squared_error", "poisson"]
    classes_: Array

    @named_arguments
    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        activation: Literal["identity", "logistic", HiddenName] = "relu",
        *,
        loss: Literal["squared_error", "poisson"] = "squared_error",
        gradient: GradientName = "perturbation",
        eps: float = 1e-6,
        scheme: SchemeName = "forward",
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] | None = "auto",
        learning_rate: RatesName = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss  # the regressor's: the classifier sets its own
        self.gradient = gradient
        self.eps = eps
        self.scheme = scheme
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each layer, (n_in, n_out): views into ``network_``."""
        return self.network_.weights[::2]

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer, (n_out,): views into ``network_``."""
        return self.network_.weights[1::2]

    @property
    def n_layers_(self) -> int:
        """Number of layers, the inputs counted as one."""
        return len(self.network_.layers) + 1

    @property
    def n_outputs_(self) -> int:
        """Number of outputs: one for two classes."""
        return self.network_.output_layer.n_units

    @property
    def out_activation_(self) -> str:
        """Activation of the outputs, by scikit-learn's name: "logistic", "softmax", "identity" or "softplus"."""
        name = self.network_.output_layer.activation
        return "logistic" if name == "sigmoid" else name

    @property
    def _factor(self) -> float:
        """What the loss of the trainer there is is multiplied by, to be scikit-learn's."""
        return self._factors.get(self._trainer.loss, 1.0)

    @property
    def loss_(self) -> float:
        """Training loss of the last epoch."""
        return self.loss_curve_[-1]

    @property
    def best_loss_(self) -> float | None:
        """Least training loss of an epoch; None with early stopping."""
        return min(self.loss_curve_) if self.validation_scores_ is None else None

    @property
    def best_validation_score_(self) -> float | None:
        """Best score on the held-out samples; None without early stopping."""
        return None if self.validation_scores_ is None else max(self.validation_scores_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Have a refusal leave the estimator as it was, also what scikit-learn notes of a new X."""
        before = self.__dict__.copy()
        try:
            yield
        except Exception:
            self.__dict__ = before
            raise

    def _check_parameters(self) -> None:
        """Refuse parameters that are not of the kind described, before anything else is done."""
        for name, choices in CHOICES.items():
            validate.choice(name, getattr(self, name), choices)
        validate.choice("loss", self.loss, self._losses)
        for name, limits in RANGES.items():
            validate.number(name, getattr(self, name), **limits)
        for name in FLAGS:
            validate.flag(name, getattr(self, name))
        validate.integer("max_iter", self.max_iter, low=1)
        if self.n_iter_no_change != math.inf:
            validate.integer("n_iter_no_change", self.n_iter_no_change, low=1)
        if not isinstance(self.verbose, bool | np.bool_):
            validate.integer("verbose", self.verbose, low=0)

    def _is_warm(self) -> bool:
        """Return if `fit` goes on with the network that there is."""
        return self.warm_start and hasattr(self, "network_")

    def _make_trainer(
        self, random: np.random.RandomState, samples: Samples, output: ActivationName, loss: LossName
    ) -> Trainer:
        """Return a trainer of a new network or, if it is warm, of the one that there is."""
        hidden = self.hidden_layer_sizes
        sizes = (hidden,) if np.ndim(hidden) == 0 else tuple(hidden)  # type: ignore[arg-type]
        batch_size = self.batch_size
        if isinstance(batch_size, str):
            validate.choice("batch_size", batch_size, ["auto"])
            batch_size = 200  # scikit-learn's; the Trainer takes fewer where there are fewer samples
        # A loss by one half is stepped along as fast by half the rate. Adam's steps do not depend on its size, but for
        # epsilon, which is added to it.
        factor = self._factors.get(loss, 1.0)
        optimizer: Optimizer = Adam(self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon / factor)
        if self.solver == "sgd":
            nesterov = self.nesterovs_momentum and self.momentum > 0
            optimizer = SGD(self.learning_rate_init * factor, self.momentum, nesterov)
        rng = np.random.default_rng(random.randint(2**31 - 1))
        activation: HiddenName = "sigmoid" if self.activation == "logistic" else self.activation
        n_inputs, n_outputs = samples.X.shape[1], samples.targets.shape[1]
        network = mlp(n_inputs, *sizes, n_outputs, hidden=activation, output=output, seed=rng, dtype=samples.X.dtype)
        if self._is_warm():
            if network.layers != self.network_.layers:
                raise ValueError(
                    f"warm_start=True goes on with the network of the last fit, of layers {self.network_.layers}, and "
                    f"the parameters and y ask for {network.layers}; set warm_start=False"
                )
            network = self.network_
        return Trainer(
            network,
            loss=loss,
            gradient=Backprop() if self.gradient == "backprop" else Perturbation(self.eps, self.scheme),
            optimizer=optimizer,
            batch_size=batch_size,
            shuffle=self.shuffle,
            seed=rng,
        )

    def _take_up(self, trainer: Trainer) -> None:
        """Make a trainer this estimator's; what is known of another network goes."""
        if trainer.network is not getattr(self, "network_", None):
            self.network_ = trainer.network
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: Any = None  # or a list, as the next one
            self.validation_scores_: Any = None
            self.t_ = 0
        self.n_iter_ = 0
        self._trainer = trainer
        if not self.early_stopping:
            self.validation_loss_curve_ = self.validation_scores_ = None
        elif self.validation_scores_ is None:
            self.validation_loss_curve_, self.validation_scores_ = [], []

    def _epoch(self, samples: Samples) -> None:
        """Train for one epoch; a search or a pipeline must see a Ctrl-C, too."""
        trainer, n_samples = self._trainer, samples.X.shape[0]
        batch_size = min(trainer._batch_size or n_samples, n_samples)
        # scikit-learn divides by the weights of a batch. Where they are all 0, the trainer says so.
        mean_weight = 1.0 if samples.weights is None else samples.weights.mean() or 1.0
        decay = self.alpha / (batch_size * mean_weight)
        trainer._update = trainer._update._replace(weight_decay=float(decay / self._factor))
        before = self._sum_squares()
        try:
            history = trainer.fit(samples.X, samples.targets, sample_weight=samples.weights, progress=False)
        except FloatingPointError:
            raise FloatingPointError(
                f"the loss is not finite in epoch {len(self.loss_curve_) + 1}, with "
                f"learning_rate_init={self.learning_rate_init:g} and alpha={self.alpha:g}; try smaller ones, or inputs "
                "(and, for a regressor, targets) scaled to about 1, as by StandardScaler"
            ) from None
        if not len(history):
            raise KeyboardInterrupt
        # A step's loss is that of the weights before it. Between an epoch's ends they are taken to move evenly.
        n_batches = -(-n_samples // batch_size)
        squares = before + (n_batches - 1) / (2 * n_batches) * (self._sum_squares() - before)
        self.loss_curve_.append(self._factor * float(history.loss[0]) + decay / 2 * squares)
        self.n_iter_ += 1
        self.t_ += n_samples
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            trainer.learning_rate = self._factor * self.learning_rate_init * (self.t_ + 1.0) ** -self.power_t
        self._tell(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        if history.interrupted:
            raise KeyboardInterrupt

    def _sum_squares(self) -> float:
        """Return the sum of the squared weights, biases left out."""
        return sum(float(np.square(w, dtype=np.float64).sum()) for w in self.coefs_)

    def _tell(self, line: str) -> None:
        if self.verbose:
            print(line)  # noqa: T201 (what verbose is for)

    def _prepare(
        self, samples: Samples, output: ActivationName, loss: LossName, stratify: Any = None
    ) -> tuple[Trainer, Samples, Samples | None]:
        """Return a trainer, the samples to train on and those held out; nothing has changed yet."""
        random = check_random_state(self.random_state)
        trainer = self._make_trainer(random, samples, output, loss)
        held = None
        if self.early_stopping:
            samples, held = self._split(samples, random, stratify)
        check_data(trainer.network, trainer._loss, samples.X, samples.targets, samples.weights)
        return trainer, samples, held

    def _run(self, samples: Samples, held: Samples | None) -> None:
        """Train until nothing has improved by tol for n_iter_no_change epochs, a callback says so, or max_iter."""
        weights = samples.weights
        told = {
            "estimator": self,
            "X": samples.X,
            "y": samples.y,
            "metadata": None if weights is None else {"sample_weight": weights},
        }
        fit = self._init_callback_context(max_subtasks=self.max_iter).call_on_fit_task_begin(**told)
        best, waited = max(self.validation_scores_ or [-math.inf]), 0
        best_weights = [w.copy() for w in self.network_.weights] if held else []
        for _ in range(self.max_iter):
            epoch = fit.subcontext("epoch").call_on_fit_task_begin(**told)
            self._epoch(samples)
            merit = self._measure(held) if held else -self.loss_
            waited = waited + 1 if merit < best + self.tol else 0
            if merit > best:
                best = merit
                if held:
                    best_weights = [w.copy() for w in self.network_.weights]
            stop = epoch.call_on_fit_task_end(**told, reconstruction_attributes=self._freeze)
            if waited > self.n_iter_no_change:
                stop = self._is_done() or stop
                waited = 0
            if stop:
                break
        else:
            warnings.warn(
                f"{type(self).__name__} took max_iter={self.max_iter} epochs and was still improving; "
                "raise max_iter or learning_rate_init",
                ConvergenceWarning,
                stacklevel=validate.find_caller(),
            )
        if held:
            self.network_.weights = best_weights
        fit.call_on_fit_task_end(**told, reconstruction_attributes=self._freeze)

    def _split(self, samples: Samples, random: np.random.RandomState, stratify: Any) -> tuple[Samples, Samples]:
        """Return the samples to train on, and those held out."""
        n_samples = samples.X.shape[0]
        n_held = math.ceil(self.validation_fraction * n_samples)
        n_needed = 2 if stratify is None else len(np.unique(stratify))
        if n_held < n_needed:
            why = "a score takes 2" if stratify is None else f"there are {n_needed} classes"
            raise ValueError(
                f"validation_fraction={self.validation_fraction:g} of {n_samples} samples holds out {n_held}, "
                f"and {why}: raise validation_fraction, or fit more samples"
            )
        rows, rows_held = train_test_split(
            np.arange(n_samples), test_size=self.validation_fraction, random_state=random, stratify=stratify
        )
        held = samples.take(rows_held)
        if held.weights is not None and not held.weights.any():
            raise ValueError("the samples held out have weights of 0: early_stopping has nothing to go by")
        return samples.take(rows), held

    def _measure(self, held: Samples) -> float:
        """Measure the network on the samples held out; return its score."""
        score = self._merit(held.targets, self.network_.predict(held.X), held.weights)
        loss = self._factor * self._trainer.evaluate(held.X, held.targets, held.weights).loss
        self.validation_loss_curve_.append(loss)
        self.validation_scores_.append(score)
        self._tell(f"Validation score: {score:f}")
        return score

    def _is_done(self) -> bool:
        """Return if training ends that has not improved for a while; an adaptive learning rate is divided first."""
        what = "Validation score" if self.early_stopping else "Training loss"
        rate = self._trainer.learning_rate / self._factor
        adapts = self.solver == "sgd" and self.learning_rate == "adaptive" and rate > LEAST_RATE
        if adapts:
            self._trainer.learning_rate /= 5
        then = f"Setting learning rate to {rate / 5:f}" if adapts else "Stopping."
        self._tell(
            f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs. {then}"
        )
        return not adapts

    def _freeze(self) -> dict[str, Any]:
        """Return copies of what further training changes, for callbacks."""
        names = ("network_", "loss_curve_", "validation_loss_curve_", "validation_scores_")
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def _weigh(self, X: Array, sample_weight: ArrayLike | None) -> Array | None:
        """Return checked weights of samples; None and a number, as scikit-learn has it, weigh all alike."""
        if sample_weight is None or isinstance(sample_weight, numbers.Number):
            return None
        weights: Array = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weights.min() < 0:  # before classes are balanced by their sums
            raise ValueError(f"sample_weight must not be negative, got {weights.min():g}")
        return weights

    @abstractmethod
    def _merit(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        """Return the score of outputs, the larger the better."""

    def _refuse_early_stopping(self) -> None:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it sees a part of the data at a time")

    def _forward(self, X: ArrayLike) -> tuple[Array, Array]:
        """Return the outputs' pre-activations, and the outputs, on checked X."""
        check_is_fitted(self)
        x = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        (logits,), (outputs,) = self.network_._run(x, levels=[len(self.network_.layers)])
        return logits, outputs


class PerturbationClassifier(ClassifierMixin, _Perturbed):  # type: ignore[misc]
    """A neural-network classifier trained by perturbing every weight.

    Parameters and attributes are those of `sklearn.neural_network.MLPClassifier`, with the
    same meaning, but for the solver "lbfgs" and its max_fun; loss, class_weight, gradient,
    eps and scheme are besides. From the same weights, gradient="backprop" takes the same
    steps, but for what is said of alpha, learning_rate and epsilon here, and of sample_weight
    in `fit`. X may be sparse.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default (100,)
        Units of the hidden layers; an empty tuple for none.
    activation : str, default "relu"
        Of the hidden layers: "identity", "sigmoid" (scikit-learn's "logistic" is
        the same), "tanh", "relu", "leaky_relu", "elu", "softplus", "silu",
        "gelu" or "hard_sigmoid".
    loss : {"log_loss", "squared_error"}, default "log_loss"
        The squared error is that of the probabilities, also called Brier score.
    class_weight : dict, "balanced" or None, default None
        What the samples of each class count, besides sample_weight: 1 for classes that
        are not named; "balanced" has every class count the same, by the sum of all weights.
    gradient : {"perturbation", "backprop"}, default "perturbation"
    eps : float, default 1e-6
        The nudge; see `fastnn.Perturbation`.
    scheme : {"forward", "central"}, default "forward"
        See `fastnn.Perturbation`.
    solver : {"adam", "sgd"}, default "adam"
    alpha : float, default 1e-4
        Strength of the L2 penalty: ``alpha / 2`` times the sum of the squared weights,
        biases left out, divided by the batch size (times the mean of sample_weight), is
        added to the loss. An epoch's last batch, if shorter, is penalised like the others,
        where scikit-learn divides by its own size.
    batch_size : int, "auto" or None, default "auto"
        Samples a step; "auto" is ``min(200, n_samples)``, None all of them.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For "sgd". "invscaling" divides learning_rate_init by ``(t_ + 1) ** power_t`` after
        each epoch; "adaptive" divides the rate by 5 where training would stop, until it is
        1e-6. With momentum, a new rate counts for all of the velocity, as in PyTorch.
    learning_rate_init : float, default 0.001
        The learning rate at first, positive.
    power_t : float, default 0.5
        For "invscaling".
    max_iter : int, default 200
        Largest number of epochs.
    shuffle : bool, default True
        Visit the samples in a new order each epoch.
    random_state : int, RandomState or None, default None
        For the initial weights, the order and the validation split.
    tol : float, default 1e-4
        Smaller improvements count as none.
    verbose : bool, default False
        Print the loss of each epoch, and why training stops.
    warm_start : bool, default False
        `fit` goes on with the weights of the last one, its optimiser anew.
    momentum : float, default 0.9
        For "sgd", at least 0 and below 1.
    nesterovs_momentum : bool, default True
        For "sgd" with momentum.
    early_stopping : bool, default False
        Hold out some samples, stop when the score on them no longer improves, and
        keep the best weights. Otherwise the training loss decides.
    validation_fraction : float, default 0.1
        The share held out, stratified by class (not by several labels), between 0 and 1.
    beta_1, beta_2 : float, default 0.9 and 0.999
        For "adam": decay of the running means of the gradient and of its square.
    epsilon : float, default 1e-8
        For "adam": added to the root of the latter, as in `fastnn.Adam`.
    n_iter_no_change : int, default 10
        Epochs without improvement that are borne before training stops.

    Attributes
    ----------
    network_ : fastnn.Network
        The trained network: one sigmoid output for two classes, one a label for several
        labels a sample, else softmax.
    classes_ : ndarray, shape (n_classes,)
        The labels; numbers from 0 for the columns of an indicator matrix.
    coefs_, intercepts_ : list of ndarray
        Views into the network's weights, (n_in, n_out), and biases, (n_out,).
    n_iter_ : int
        Epochs of the last `fit`, and of `partial_fit` since.
    t_ : int
        Samples seen.
    loss_curve_ : list of float
        Training loss of each epoch, and the penalty, taken to change evenly in between.
    loss_, best_loss_ : float
        The last and the least of these; ``best_loss_`` is None with early stopping.
    validation_loss_curve_, validation_scores_, best_validation_score_ : list of float, float, or None
        Loss, without the penalty, and accuracy on the held-out samples after each epoch, and
        the best of these scores; None without early stopping.
    n_layers_, n_outputs_, out_activation_ : int and str
        Layers, the inputs counted as one; outputs, one for two classes; and "logistic" for two
        classes and for several labels a sample, else "softmax".
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X came with names.

    Raises
    ------
    TypeError, ValueError
        From `fit` and `partial_fit`, if a parameter or the data do not fit.
    FloatingPointError
        From both, if the loss or a weight overflows; see `fastnn.Trainer.fit`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import PerturbationClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PerturbationClassifier((10,), learning_rate_init=0.02, tol=1e-3, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _losses = ("log_loss", "squared_error")

    @named_arguments
    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        activation: Literal["identity", "logistic", HiddenName] = "relu",
        *,
        loss: Literal["log_loss", "squared_error"] = "log_loss",
        class_weight: Mapping[Any, float] | str | None = None,
        gradient: GradientName = "perturbation",
        eps: float = 1e-6,
        scheme: SchemeName = "forward",
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] | None = "auto",
        learning_rate: RatesName = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            gradient=gradient,
            eps=eps,
            scheme=scheme,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
        )
        self.loss = loss
        self.class_weight = class_weight

    @with_callbacks
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)
            float32 is kept; anything else is cast to float64.
        y : array_like, shape (n_samples,), or indicator matrix, shape (n_samples, n_labels)
            Labels, at least two different ones; or, of several labels a sample, 1 where
            it has a label, else 0.
        sample_weight : array_like, shape (n_samples,), or None
            Numbers >= 0; see `fastnn.Trainer.fit`. A batch is divided by its size times the
            mean of all weights, where scikit-learn divides by the sum of its own.

        Returns
        -------
        PerturbationClassifier
            The estimator itself.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            warm = self._is_warm()
            x, labels = self._check(X, y, reset=not warm)
            binarizer = LabelBinarizer().fit(labels)
            if warm and not np.array_equal(binarizer.classes_, self.classes_):
                raise ValueError(
                    f"warm_start=True goes on with the classes of the last fit, {self.classes_}, and y has "
                    f"{binarizer.classes_}; set warm_start=False"
                )
            head = self._find_head(binarizer)
            samples = self._gather(x, labels, sample_weight, binarizer)
            trainer, train, held = self._prepare(samples, *head, stratify=None if labels.ndim == 2 else labels)
        self._take_up(trainer)
        self._binarizer, self.classes_ = binarizer, binarizer.classes_
        self._run(train, held)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on training, for one epoch over these samples.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,), or indicator matrix, shape (n_samples, n_labels)
        classes : array_like, shape (n_classes,), or None
            Every label there will be. Needed in the first call only; later, and with an
            indicator matrix, it may be left out.
        sample_weight : array_like, shape (n_samples,), or None
            As for `fit`; one call's weights say nothing about another's.

        Returns
        -------
        PerturbationClassifier
            The estimator itself.
        """
        with self._unchanged_on_error():
            self._refuse_early_stopping()
            self._check_parameters()
            if isinstance(self.class_weight, str):
                raise ValueError(
                    "partial_fit does not see all labels: class_weight must be a dict or None, not 'balanced'"
                )
            first = not hasattr(self, "network_")
            x, labels = self._check(X, y, reset=first)
            if not first:
                binarizer = self._binarizer
            elif labels.ndim == 2:
                binarizer = LabelBinarizer().fit(labels)
            elif classes is None:
                raise ValueError("classes must be given in the first call of partial_fit")
            else:
                binarizer = LabelBinarizer().fit(np.asarray(classes))
            if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), binarizer.classes_):
                raise ValueError(
                    f"classes must be those of the first call, or the columns of y, {binarizer.classes_}, got {classes}"
                )
            head = self._find_head(binarizer)
            samples = self._gather(x, labels, sample_weight, binarizer)
            if first:
                trainer, *_ = self._prepare(samples, *head)
        if first:
            self._take_up(trainer)
            self._binarizer, self.classes_ = binarizer, binarizer.classes_
        self._epoch(samples)
        return self

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        _, outputs = self._forward(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of the probability of each class, also where that is too small for a number.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        logits, _ = self._forward(X)
        logs: Array
        if self.out_activation_ == "softmax":
            logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            return logs
        both = np.hstack([-logits, logits]) if self.n_outputs_ == 1 else logits
        logs = -np.logaddexp(0, -both)
        return logs

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable label or, of several labels, those that are more probable than not.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_labels)
            As y was in `fit`.
        """
        _, outputs = self._forward(X)
        labels: Array = self._binarizer.inverse_transform(outputs)
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _check(self, X: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[Array, Array]:
        """Return X, and y as labels, (n_samples,), or as an indicator matrix, (n_samples, n_labels)."""
        wanted = {"accept_sparse": "csr", "dtype": (np.float64, np.float32), "multi_output": True}
        x, labels = validate_data(self, X, y, reset=reset, **wanted)
        check_classification_targets(labels)
        if labels.ndim == 1 or type_of_target(labels) == "multilabel-indicator":
            return x, labels
        if labels.shape[1] > 1:
            raise ValueError(
                "y must be labels, (n_samples,), or an indicator matrix of 0 and 1, (n_samples, n_labels), "
                f"got {labels.dtype} of shape {labels.shape} with other values"
            )
        return x, column_or_1d(labels, warn=True)

    def _gather(self, X: Array, labels: Array, sample_weight: ArrayLike | None, binarizer: LabelBinarizer) -> Samples:
        """Return the samples with labels as the network's targets, and with the weights of their classes."""
        several = binarizer.y_type_ == "multilabel-indicator"
        if (labels.ndim == 2) != several:
            wanted = f"(n_samples, {len(binarizer.classes_)})" if several else "(n_samples,)"
            raise ValueError(f"y must have shape {wanted}, as in the first call, got {labels.shape}")
        if not several and np.setdiff1d(labels, binarizer.classes_).size:
            raise ValueError(f"y has labels that are not in classes: {np.setdiff1d(labels, binarizer.classes_)}")
        targets = binarizer.transform(labels)
        if targets.min() < 0 or targets.max() > 1:
            raise ValueError(f"y of several labels a sample must be 0 or 1, got {targets.min()} to {targets.max()}")
        weights = self._weigh(X, sample_weight)
        if self.class_weight is not None:
            if several:
                raise ValueError("class_weight goes with classes that exclude each other: use sample_weight here")
            of_classes = self._weigh_classes(labels, binarizer.classes_, weights)
            weights = of_classes if weights is None else weights * of_classes
        return Samples(X, labels, targets.astype(X.dtype), weights)

    def _weigh_classes(self, labels: Array, classes: Array, weights: Array | None) -> Array:
        """Return the weight of each sample's class, where samples count as given besides."""
        numbers_of = np.searchsorted(classes, labels)
        if isinstance(self.class_weight, str):
            validate.choice("class_weight", self.class_weight, ["balanced"])
            counts = np.bincount(numbers_of, weights, len(classes))
            # These leave the mean of all weights as it is, which alpha is divided by.
            n_counted = np.count_nonzero(counts) or 1
            balanced: Array = counts.sum() / (n_counted * np.where(counts > 0, counts, 1.0))
            return balanced[numbers_of]
        if not isinstance(self.class_weight, Mapping):
            raise TypeError(f"class_weight must be a dict, 'balanced' or None, got {validate.show(self.class_weight)}")
        known = classes.tolist()
        strange = [label for label in self.class_weight if label not in known]
        # Where all classes have one, others are of classes that these samples lack, as in a part of a search.
        if strange and not set(known) <= set(self.class_weight):
            raise ValueError(f"class_weight has keys that are no classes, {strange}: the classes are {known}")
        of_class = np.ones(len(classes))
        for k, label in enumerate(known):
            of_class[k] = validate.number(f"class_weight[{label!r}]", self.class_weight.get(label, 1.0), low=0.0)
        chosen: Array = of_class[numbers_of]
        return chosen

    def _find_head(self, binarizer: LabelBinarizer) -> tuple[ActivationName, LossName]:
        """Return the output layer's activation, and the loss."""
        n_classes = len(binarizer.classes_)
        if n_classes < 2:
            raise ValueError(f"y must have samples of at least 2 classes, got one class: {binarizer.classes_.tolist()}")
        if n_classes > 2 and binarizer.y_type_ != "multilabel-indicator":
            return "softmax", "categorical_cross_entropy" if self.loss == "log_loss" else self.loss
        return "sigmoid", "binary_cross_entropy" if self.loss == "log_loss" else self.loss

    def _merit(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        if self.out_activation_ == "softmax":
            right = targets.argmax(axis=1) == outputs.argmax(axis=1)
        else:
            right = ((targets > 0.5) == (outputs > 0.5)).all(axis=1)
        return float(np.average(right, weights=weights))


class PerturbationRegressor(MultiOutputMixin, RegressorMixin, _Perturbed):  # type: ignore[misc]
    """A neural-network regressor trained by perturbing every weight.

    Parameters and attributes are those of `sklearn.neural_network.MLPRegressor`, with the
    same meaning, but for the solver "lbfgs" and its max_fun; gradient, eps and scheme are
    besides. From the same weights, gradient="backprop" takes the same steps, but for what is
    said of loss, alpha, learning_rate and epsilon here, and of sample_weight in `fit`. X may be
    sparse.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default (100,)
        Units of the hidden layers; an empty tuple for none.
    activation : str, default "relu"
        Of the hidden layers: "identity", "sigmoid" (scikit-learn's "logistic" is
        the same), "tanh", "relu", "leaky_relu", "elu", "softplus", "silu",
        "gelu" or "hard_sigmoid".
    loss : {"squared_error", "poisson"}, default "squared_error"
        Half the squared error, summed over the outputs: what the steps go down. Or, of counts and
        other targets that are not negative, the negative log-likelihood of rates, without what
        only the targets tell: the outputs are softplus, where scikit-learn has exp.
    gradient : {"perturbation", "backprop"}, default "perturbation"
    eps : float, default 1e-6
        The nudge; see `fastnn.Perturbation`.
    scheme : {"forward", "central"}, default "forward"
        See `fastnn.Perturbation`.
    solver : {"adam", "sgd"}, default "adam"
    alpha : float, default 1e-4
        Strength of the L2 penalty: ``alpha / 2`` times the sum of the squared weights,
        biases left out, divided by the batch size (times the mean of sample_weight), is
        added to the loss. An epoch's last batch, if shorter, is penalised like the others,
        where scikit-learn divides by its own size.
    batch_size : int, "auto" or None, default "auto"
        Samples a step; "auto" is ``min(200, n_samples)``, None all of them.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For "sgd". "invscaling" divides learning_rate_init by ``(t_ + 1) ** power_t`` after
        each epoch; "adaptive" divides the rate by 5 where training would stop, until it is
        1e-6. With momentum, a new rate counts for all of the velocity, as in PyTorch.
    learning_rate_init : float, default 0.001
        The learning rate at first, positive.
    power_t : float, default 0.5
        For "invscaling".
    max_iter : int, default 200
        Largest number of epochs.
    shuffle : bool, default True
        Visit the samples in a new order each epoch.
    random_state : int, RandomState or None, default None
        For the initial weights, the order and the validation split.
    tol : float, default 1e-4
        Smaller improvements count as none.
    verbose : bool, default False
        Print the loss of each epoch, and why training stops.
    warm_start : bool, default False
        `fit` goes on with the weights of the last one, its optimiser anew.
    momentum : float, default 0.9
        For "sgd", at least 0 and below 1.
    nesterovs_momentum : bool, default True
        For "sgd" with momentum.
    early_stopping : bool, default False
        Hold out some samples, stop when the score on them no longer improves, and
        keep the best weights. Otherwise the training loss decides.
    validation_fraction : float, default 0.1
        The share held out, between 0 and 1.
    beta_1, beta_2 : float, default 0.9 and 0.999
        For "adam": decay of the running means of the gradient and of its square.
    epsilon : float, default 1e-8
        For "adam": added to the root of the latter, as in `fastnn.Adam`.
    n_iter_no_change : int, default 10
        Epochs without improvement that are borne before training stops.

    Attributes
    ----------
    network_ : fastnn.Network
        The trained network, with identity outputs, or softplus with the Poisson loss.
    coefs_, intercepts_ : list of ndarray
        Views into the network's weights, (n_in, n_out), and biases, (n_out,).
    n_iter_ : int
        Epochs of the last `fit`, and of `partial_fit` since.
    t_ : int
        Samples seen.
    loss_curve_ : list of float
        Training loss of each epoch, and the penalty, taken to change evenly in between.
    loss_, best_loss_ : float
        The last and the least of these; ``best_loss_`` is None with early stopping.
    validation_loss_curve_, validation_scores_, best_validation_score_ : list of float, float, or None
        Loss, without the penalty, and R² on the held-out samples after each epoch, and the
        best of these scores; None without early stopping.
    n_layers_, n_outputs_, out_activation_ : int and str
        Layers, the inputs counted as one; outputs; and "identity", or "softplus".
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X came with names.

    Raises
    ------
    TypeError, ValueError
        From `fit` and `partial_fit`, if a parameter or the data do not fit.
    FloatingPointError
        From both, if the loss or a weight overflows; see `fastnn.Trainer.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import PerturbationRegressor
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> model = PerturbationRegressor((), learning_rate_init=0.05, random_state=0).fit(X, 3 * X.ravel() + 1)
    >>> model.predict([[2.0]]).round(1)
    array([7.])
    """

    _losses = ("squared_error", "poisson")
    _factors: ClassVar[Mapping[str, float]] = {"squared_error": 0.5}

    @with_callbacks
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)
            float32 is kept; anything else is cast to float64.
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, shape (n_samples,), or None
            Numbers >= 0; see `fastnn.Trainer.fit`. A batch is divided by its size times the
            mean of all weights, where scikit-learn divides by the sum of its own.

        Returns
        -------
        PerturbationRegressor
            The estimator itself.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            samples = self._gather(X, y, sample_weight, reset=not self._is_warm())
            trainer, train, held = self._prepare(samples, *self._find_head())
        self._take_up(trainer)
        self._flat = samples.y.ndim == 1
        self._run(train, held)
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Go on training, for one epoch over these samples.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, shape (n_samples,), or None
            As for `fit`; one call's weights say nothing about another's.

        Returns
        -------
        PerturbationRegressor
            The estimator itself.
        """
        first = not hasattr(self, "network_")
        with self._unchanged_on_error():
            self._refuse_early_stopping()
            self._check_parameters()
            samples = self._gather(X, y, sample_weight, reset=first)
            if first:
                trainer, *_ = self._prepare(samples, *self._find_head())
        if first:
            self._take_up(trainer)
            self._flat = samples.y.ndim == 1
        self._epoch(samples)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            As y was in `fit`.
        """
        _, outputs = self._forward(X)
        return outputs.ravel() if self._flat else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags

    def _gather(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool) -> Samples:
        """Return the samples, with targets as a matrix."""
        wanted = {"accept_sparse": "csr", "dtype": (np.float64, np.float32), "multi_output": True}
        x, values = validate_data(self, X, y, reset=reset, y_numeric=True, **wanted)
        return Samples(x, values, values.reshape(len(values), -1), self._weigh(x, sample_weight))

    def _find_head(self) -> tuple[ActivationName, LossName]:
        """Return the output layer's activation, and the loss."""
        return ("softplus", "poisson") if self.loss == "poisson" else ("identity", "squared_error")

    def _merit(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        return float(r2_score(targets, outputs, sample_weight=weights))
