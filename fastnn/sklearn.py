"""Estimators for scikit-learn (the extra ``sklearn``): a classifier and a regressor.

From scikit-learn 1.9 on they call what `set_callbacks` is given, such as
`sklearn.callback.ProgressBar`: a task for each epoch, which may stop training.
"""

import copy
import numbers
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnn import _validate
from fastnn._validate import Array
from fastnn.gradients import Backprop, Perturbation
from fastnn.network import mlp
from fastnn.optimizers import SGD, Adam
from fastnn.trainer import Trainer

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # pragma: no cover (before scikit-learn 1.9 there are none to call)
    from fastnn._no_callbacks import CallbackSupportMixin, with_callbacks

SOLVERS = ("sgd", "adam")
GRADIENTS = ("perturbation", "backprop")
LOSSES = ("log_loss", "squared_error")


class _Perturbed(CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """What the classifier and the regressor share: parameters, and epochs until nothing improves."""

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        activation: str = "relu",
        *,
        gradient: str = "perturbation",
        eps: float = 1e-6,
        scheme: str = "forward",
        solver: str = "adam",
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.gradient = gradient
        self.eps = eps
        self.scheme = scheme
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each layer, (n_in, n_out): views into ``network_``."""
        return self.network_.weights[::2]

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each layer, (n_out,): views into ``network_``."""
        return self.network_.weights[1::2]

    def _start(self, n_inputs: int, n_outputs: int, dtype: np.dtype[Any], output: str, loss: str) -> None:
        """Check the parameters; build the network and its trainer."""
        max_iter = _validate.integer("max_iter", self.max_iter, low=1)
        _validate.integer("n_iter_no_change", self.n_iter_no_change, low=1)
        _validate.number("tol", self.tol, low=0.0)
        if _validate.flag("early_stopping", self.early_stopping):
            _validate.number(
                "validation_fraction", self.validation_fraction, low=0, high=1, open_low=True, open_high=True
            )
        solver = _validate.choice("solver", self.solver, SOLVERS)
        gradient = _validate.choice("gradient", self.gradient, GRADIENTS)
        hidden = self.hidden_layer_sizes
        sizes = (hidden,) if np.ndim(hidden) == 0 else tuple(hidden)  # type: ignore[arg-type]
        batch_size = self.batch_size
        if isinstance(batch_size, str):
            _validate.choice("batch_size", batch_size, ["auto"])
            batch_size = 200  # scikit-learn's; the Trainer takes fewer where there are fewer samples
        optimizer: SGD | Adam = Adam(self.learning_rate_init)
        if solver == "sgd":
            nesterov = self.nesterovs_momentum and self.momentum > 0
            optimizer = SGD(self.learning_rate_init, self.momentum, nesterov)
        self._random = check_random_state(self.random_state)
        rng = np.random.default_rng(self._random.randint(2**31 - 1))
        activation = "sigmoid" if self.activation == "logistic" else self.activation
        network = mlp(n_inputs, *sizes, n_outputs, hidden=activation, output=output, seed=rng, dtype=dtype)
        self._trainer = Trainer(
            network,
            loss=loss,
            gradient=Backprop() if gradient == "backprop" else Perturbation(self.eps, self.scheme),
            optimizer=optimizer,
            batch_size=batch_size,
            shuffle=self.shuffle,
            seed=rng,
        )
        self.network_ = network
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = [] if self.early_stopping else None
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self._max_iter = max_iter

    def _epoch(self, X: Array, targets: Array, weights: Array | None) -> float:
        """Train for one epoch and return its loss; a search or a pipeline must see a Ctrl-C, too."""
        history = self._trainer.fit(X, targets, sample_weight=weights, progress=False)
        self.loss_curve_ += history.loss.tolist()
        self.n_iter_ += len(history)
        if history.interrupted:
            raise KeyboardInterrupt
        return self.loss_curve_[-1]

    def _fit(self, X: Array, y: Array, targets: Array, weights: Array | None) -> None:
        """Train until nothing has improved by tol for n_iter_no_change epochs, a callback says so, or max_iter."""
        if self.early_stopping:
            rows, rows_held = train_test_split(
                np.arange(len(X)),
                test_size=self.validation_fraction,
                random_state=self._random,
                stratify=y if isinstance(self, ClassifierMixin) else None,
            )
            X_held, held, weights_held = X[rows_held], targets[rows_held], None
            X, y, targets = X[rows], y[rows], targets[rows]
            if weights is not None:
                weights, weights_held = weights[rows], weights[rows_held]
        told = {"estimator": self, "X": X, "y": y, "metadata": None if weights is None else {"sample_weight": weights}}
        fit = self._init_callback_context(max_subtasks=self._max_iter).call_on_fit_task_begin(**told)
        best, waited = -np.inf, 0
        best_weights: list[Array] = []
        for _ in range(self._max_iter):
            epoch = fit.subcontext("epoch").call_on_fit_task_begin(**told)
            merit = -self._epoch(X, targets, weights)
            if self.validation_scores_ is not None and self.validation_loss_curve_ is not None:
                self.validation_loss_curve_.append(self._trainer.evaluate(X_held, held, weights_held).loss)
                merit = self._merit(held, self.network_.predict(X_held), weights_held)
                self.validation_scores_.append(merit)
            waited = waited + 1 if merit < best + self.tol else 0
            if merit > best:
                best = merit
                if self.early_stopping:
                    best_weights = [w.copy() for w in self.network_.weights]
            stop = epoch.call_on_fit_task_end(**told, reconstruction_attributes=self._freeze)
            if stop or waited > self.n_iter_no_change:
                break
        else:
            warnings.warn(
                f"{type(self).__name__} took max_iter={self._max_iter} epochs and was still improving; "
                "raise max_iter or learning_rate_init",
                ConvergenceWarning,
                stacklevel=3,
            )
        if best_weights:
            self.network_.weights = best_weights
        fit.call_on_fit_task_end(**told, reconstruction_attributes=self._freeze)

    def _freeze(self) -> dict[str, Any]:
        """Return copies of what further training changes, for callbacks."""
        names = ("network_", "loss_curve_", "validation_loss_curve_", "validation_scores_")
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def _weigh(self, X: Array, sample_weight: ArrayLike | None) -> Array | None:
        """Return checked weights of samples; None and a number, as scikit-learn has it, weigh all alike."""
        if sample_weight is None or isinstance(sample_weight, numbers.Number):
            return None
        weights: Array = _check_sample_weight(sample_weight, X, dtype=np.float64)
        return weights

    @abstractmethod
    def _merit(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        """Return the score of outputs, the larger the better."""

    def _refuse_early_stopping(self) -> None:
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it sees a part of the data at a time")

    def _outputs(self, X: ArrayLike) -> Array:
        """Return the network's outputs on checked X."""
        check_is_fitted(self)
        return self.network_.predict(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))


class PerturbationClassifier(ClassifierMixin, _Perturbed):  # type: ignore[misc]
    """A neural-network classifier trained by perturbing every weight.

    Parameters are named as in `sklearn.neural_network.MLPClassifier`. There is no
    penalty on the weights.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default (100,)
        Units of the hidden layers; an empty tuple for none.
    activation : str, default "relu"
        Of the hidden layers: "identity", "sigmoid" (scikit-learn's "logistic" is
        the same), "tanh", "relu", "leaky_relu" or "softplus".
    loss : {"log_loss", "squared_error"}, default "log_loss"
        The squared error is that of the probabilities, also called Brier score.
    class_weight : dict, "balanced" or None, default None
        What the samples of each class count, besides sample_weight: 1 for classes that
        are not named; "balanced" has every class count the same.
    gradient : {"perturbation", "backprop"}, default "perturbation"
    eps : float, default 1e-6
        The nudge; see `fastnn.Perturbation`. Smaller than the default there: nudges that
        take a rectifier across its kink, where rounding is magnified by 1 / eps, are rare.
    scheme : {"forward", "central"}, default "forward"
        See `fastnn.Perturbation`.
    solver : {"adam", "sgd"}, default "adam"
    learning_rate_init : float, default 0.001
        The learning rate, the same throughout.
    momentum : float, default 0.9
        For "sgd", at least 0 and below 1.
    nesterovs_momentum : bool, default True
        For "sgd" with momentum.
    batch_size : int or "auto", default "auto"
        Samples a step; "auto" is ``min(200, n_samples)``.
    max_iter : int, default 200
        Largest number of epochs.
    shuffle : bool, default True
        Visit the samples in a new order each epoch.
    random_state : int, RandomState or None, default None
        For the initial weights, the order and the validation split.
    tol : float, default 1e-4
        Smaller improvements count as none.
    early_stopping : bool, default False
        Hold out some samples, stop when the score on them no longer improves, and
        keep the best weights. Otherwise the training loss decides.
    validation_fraction : float, default 0.1
        The share held out, stratified by class, between 0 and 1.
    n_iter_no_change : int, default 10
        Epochs without improvement that are borne before training stops.

    Attributes
    ----------
    network_ : fastnn.Network
        The trained network: one sigmoid output for two classes, else softmax.
    classes_ : ndarray, shape (n_classes,)
    coefs_, intercepts_ : list of ndarray
        Views into the network's weights, (n_in, n_out), and biases, (n_out,).
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float
        Training loss of each epoch.
    validation_loss_curve_, validation_scores_ : list of float, or None
        Loss and accuracy on the held-out samples after each epoch; None without
        early stopping.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X came with names.

    Raises
    ------
    TypeError, ValueError
        From `fit` and `partial_fit`, if a parameter or the data do not fit.
    FloatingPointError
        From both, if the loss overflows; see `fastnn.Trainer.fit`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import PerturbationClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = PerturbationClassifier((10,), learning_rate_init=0.02, tol=1e-3, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | tuple[int, ...] = (100,),
        activation: str = "relu",
        *,
        loss: str = "log_loss",
        class_weight: Mapping[Any, float] | str | None = None,
        gradient: str = "perturbation",
        eps: float = 1e-6,
        scheme: str = "forward",
        solver: str = "adam",
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            gradient=gradient,
            eps=eps,
            scheme=scheme,
            solver=solver,
            learning_rate_init=learning_rate_init,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            batch_size=batch_size,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
        )
        self.loss = loss
        self.class_weight = class_weight

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            float32 is kept; anything else is cast to float64.
        y : array_like, shape (n_samples,)
            Labels, at least two different ones.
        sample_weight : array_like, shape (n_samples,), or None
            Numbers >= 0; see `fastnn.Trainer.fit`.

        Returns
        -------
        PerturbationClassifier
            The estimator itself.
        """
        x, labels = self._check(X, y, reset=True)
        weights = self._weigh_classes(labels, self._weigh(x, sample_weight))
        self._begin(x, np.unique(labels))
        self._fit(x, labels, self._encode(labels), weights)
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
        X : array_like, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
        classes : array_like, shape (n_classes,), or None
            Every label there will be. Needed in the first call only; later it
            may be left out.
        sample_weight : array_like, shape (n_samples,), or None
            As for `fit`; one call's weights say nothing about another's.

        Returns
        -------
        PerturbationClassifier
            The estimator itself.
        """
        self._refuse_early_stopping()
        first = not hasattr(self, "network_")
        if first and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError("partial_fit does not see all labels: class_weight must be a dict or None, not 'balanced'")
        x, labels = self._check(X, y, reset=first)
        weights = self._weigh_classes(labels, self._weigh(x, sample_weight))
        if first:
            self._begin(x, np.unique(np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}, got {classes}")
        self._epoch(x, self._encode(labels), weights)
        return self

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if len(self.classes_) == 2 else outputs

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable label.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,)
        """
        codes = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[codes]
        return labels

    def _check(self, X: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[Array, Array]:
        x, labels = validate_data(self, X, y, dtype=(np.float64, np.float32), reset=reset)
        check_classification_targets(labels)
        return x, column_or_1d(labels, warn=True)

    def _weigh_classes(self, labels: Array, weights: Array | None) -> Array | None:
        """Return the weights of samples times those of their classes."""
        if self.class_weight is None:
            return weights
        of_classes: Array = compute_sample_weight(self.class_weight, labels)
        return of_classes if weights is None else weights * of_classes

    def _begin(self, X: Array, classes: Array) -> None:
        loss = _validate.choice("loss", self.loss, LOSSES)
        if len(classes) < 2:
            raise ValueError(f"y must have samples of at least 2 classes, got one class: {classes[0]!r}")
        self.classes_ = classes
        two = len(classes) == 2
        if loss == "log_loss":
            loss = "binary_cross_entropy" if two else "categorical_cross_entropy"
        self._start(X.shape[1], 1 if two else len(classes), X.dtype, "sigmoid" if two else "softmax", loss)

    def _encode(self, y: Array) -> Array:
        """Return labels as the network's targets, (n_samples, n_outputs)."""
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(f"y has labels that are not in classes: {unknown}")
        encoded = y[:, None] == (self.classes_[1:] if len(self.classes_) == 2 else self.classes_)
        targets: Array = encoded.astype(self.network_.dtype)
        return targets

    def _merit(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        if len(self.classes_) == 2:
            right = ((targets > 0.5) == (outputs > 0.5)).ravel()
        else:
            right = targets.argmax(axis=1) == outputs.argmax(axis=1)
        return float(np.average(right, weights=weights))


class PerturbationRegressor(MultiOutputMixin, RegressorMixin, _Perturbed):  # type: ignore[misc]
    """A neural-network regressor trained by perturbing every weight.

    Parameters are named as in `sklearn.neural_network.MLPRegressor`. The loss is the
    squared error, without its factor of one half, and without a penalty on the weights.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default (100,)
        Units of the hidden layers; an empty tuple for none.
    activation : str, default "relu"
        Of the hidden layers: "identity", "sigmoid" (scikit-learn's "logistic" is
        the same), "tanh", "relu", "leaky_relu" or "softplus".
    gradient : {"perturbation", "backprop"}, default "perturbation"
    eps : float, default 1e-6
        The nudge; see `fastnn.Perturbation`. Smaller than the default there: nudges that
        take a rectifier across its kink, where rounding is magnified by 1 / eps, are rare.
    scheme : {"forward", "central"}, default "forward"
        See `fastnn.Perturbation`.
    solver : {"adam", "sgd"}, default "adam"
    learning_rate_init : float, default 0.001
        The learning rate, the same throughout.
    momentum : float, default 0.9
        For "sgd", at least 0 and below 1.
    nesterovs_momentum : bool, default True
        For "sgd" with momentum.
    batch_size : int or "auto", default "auto"
        Samples a step; "auto" is ``min(200, n_samples)``.
    max_iter : int, default 200
        Largest number of epochs.
    shuffle : bool, default True
        Visit the samples in a new order each epoch.
    random_state : int, RandomState or None, default None
        For the initial weights, the order and the validation split.
    tol : float, default 1e-4
        Smaller improvements count as none.
    early_stopping : bool, default False
        Hold out some samples, stop when the score on them no longer improves, and
        keep the best weights. Otherwise the training loss decides.
    validation_fraction : float, default 0.1
        The share held out, between 0 and 1.
    n_iter_no_change : int, default 10
        Epochs without improvement that are borne before training stops.

    Attributes
    ----------
    network_ : fastnn.Network
        The trained network, with identity outputs.
    coefs_, intercepts_ : list of ndarray
        Views into the network's weights, (n_in, n_out), and biases, (n_out,).
    n_iter_ : int
        Epochs trained.
    loss_curve_ : list of float
        Training loss of each epoch.
    validation_loss_curve_, validation_scores_ : list of float, or None
        Loss and R² on the held-out samples after each epoch; None without early
        stopping.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X came with names.

    Raises
    ------
    TypeError, ValueError
        From `fit` and `partial_fit`, if a parameter or the data do not fit.
    FloatingPointError
        From both, if the loss overflows; see `fastnn.Trainer.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import PerturbationRegressor
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> model = PerturbationRegressor((), learning_rate_init=0.05, random_state=0).fit(X, 3 * X.ravel() + 1)
    >>> model.predict([[2.0]]).round(1)
    array([7.])
    """

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            float32 is kept; anything else is cast to float64.
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, shape (n_samples,), or None
            Numbers >= 0; see `fastnn.Trainer.fit`.

        Returns
        -------
        PerturbationRegressor
            The estimator itself.
        """
        x, targets = self._check(X, y, reset=True)
        self._fit(x, targets.ravel() if self._flat else targets, targets, self._weigh(x, sample_weight))
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Go on training, for one epoch over these samples.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like, shape (n_samples,), or None
            As for `fit`; one call's weights say nothing about another's.

        Returns
        -------
        PerturbationRegressor
            The estimator itself.
        """
        self._refuse_early_stopping()
        x, targets = self._check(X, y, reset=not hasattr(self, "network_"))
        self._epoch(x, targets, self._weigh(x, sample_weight))
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            As y was in `fit`.
        """
        outputs = self._outputs(X)
        return outputs.ravel() if self._flat else outputs

    def _check(self, X: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[Array, Array]:
        """Return X and y as 2-D arrays; with reset, for a new network."""
        x, values = validate_data(
            self, X, y, dtype=(np.float64, np.float32), reset=reset, y_numeric=True, multi_output=True
        )
        targets = values.reshape(len(values), -1)
        if reset:
            self._flat = values.ndim == 1
            self._start(x.shape[1], targets.shape[1], x.dtype, "identity", "squared_error")
        return x, targets

    def _merit(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        return float(r2_score(targets, outputs, sample_weight=weights))
