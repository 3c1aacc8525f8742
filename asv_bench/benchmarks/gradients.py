import numba
import numpy as np

import fastnn
from fastnn._engine.workspace import make_work
from fastnn.kernels.work import Method

from .common import METHODS, make_network, make_samples, numpy_step, paired_ratio


class Gradient:
    params = (list(METHODS), ["64-32-10", "784-100-10", "784-128-64-10"], ["float64", "float32"])
    param_names = ("method", "sizes", "dtype")

    def setup(self, method, sizes, dtype):
        if method == "direct" and sizes == "784-128-64-10":
            raise NotImplementedError  # a second a call
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see Threads
        self.network = make_network(sizes, dtype=dtype)
        self.X, self.y = make_samples(self.network, 32)
        self.time_gradient(method, sizes, dtype)  # compile

    def time_gradient(self, method, sizes, dtype):
        fastnn.gradient(self.network, self.X, self.y, method=METHODS[method])


class Accuracy:
    """How far central differences are from the derivative, relative to its largest entry."""

    params = (["float64", "float32"],)
    param_names = ("dtype",)
    unit = "relative error"

    def track_central_difference(self, dtype):
        network = make_network("64-32-10", dtype=dtype)
        X, y = make_samples(network, 32)
        exact = fastnn.gradient(network, X, y, method=fastnn.Backprop())
        measured = fastnn.gradient(network, X, y, method=fastnn.Perturbation(1e-4, scheme="central"))
        error = max(float(np.abs(a - b).max()) for a, b in zip(exact, measured, strict=True))
        return error / max(float(np.abs(a).max()) for a in exact)

    track_central_difference.unit = unit


class Threads:
    params = ([1, 2, 4],)
    param_names = ("n_threads",)

    def setup(self, n_threads):
        if n_threads > numba.config.NUMBA_NUM_THREADS:
            raise NotImplementedError
        self.network = make_network("784-100-10")
        self.X, self.y = make_samples(self.network, 128)
        numba.set_num_threads(n_threads)
        self.time_perturbation(n_threads)  # compile

    def teardown(self, n_threads):
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)

    def time_perturbation(self, n_threads):
        fastnn.gradient(self.network, self.X, self.y)


class Growth:
    """One hidden layer, about so many weights."""

    params = ([1_000, 10_000, 100_000, 1_000_000],)
    param_names = ("n_weights",)

    def setup(self, n_weights):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see Threads
        self.network = make_network(f"64-{n_weights // 75}-10")
        self.X, self.y = make_samples(self.network, 32)
        self.time_perturbation(n_weights)  # compile

    def time_perturbation(self, n_weights):
        fastnn.gradient(self.network, self.X, self.y)

    def track_workspace_bytes(self, n_weights):
        work = make_work(self.network._layout, len(self.X), Method.SERIES, self.network.dtype, n_chunks=1)
        return sum(array.nbytes for array in work)

    track_workspace_bytes.unit = "bytes"


class Price:
    """What perturbation costs beside back-propagation of the same batch."""

    params = (["784-100-10", "784-128-64-10", "784-512-512-10"], ["float64", "float32"])
    param_names = ("sizes", "dtype")
    timeout = 600

    def track_series_over_backprop(self, sizes, dtype):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see Threads
        network = make_network(sizes, dtype=dtype)
        X, y = make_samples(network, 128)

        def measure(method):
            return lambda: fastnn.gradient(network, X, y, method=METHODS[method])

        for method in ("perturbation", "backprop"):
            measure(method)()  # compile
        return paired_ratio(measure("perturbation"), measure("backprop"))

    track_series_over_backprop.unit = "times"


class NumPyStep:
    """The plain loop over every weight against one call of `gradient`."""

    timeout = 600

    def track_speedup_64_32_10(self):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see Threads
        network = make_network("64-32-10")
        X, y = make_samples(network, 32)
        weights = [w.copy() for w in network.weights]
        fastnn.gradient(network, X, y)  # compile
        return paired_ratio(lambda: numpy_step(weights, X, y), lambda: fastnn.gradient(network, X, y))

    track_speedup_64_32_10.unit = "times"

    def track_direct_over_series_784_100_10(self):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see Threads
        network = make_network("784-100-10")
        X, y = make_samples(network, 32)
        direct = METHODS["direct"]
        fastnn.gradient(network, X, y)  # compile
        fastnn.gradient(network, X, y, method=direct)
        return paired_ratio(
            lambda: fastnn.gradient(network, X, y, method=direct), lambda: fastnn.gradient(network, X, y)
        )

    track_direct_over_series_784_100_10.unit = "times"
