import numba

import fastnn

from .common import METHODS, make_network, make_samples


class Epoch:
    params = (list(METHODS), ["squared_error", "categorical_cross_entropy"])
    param_names = ("method", "loss")

    def setup(self, method, loss):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        network = make_network("64-32-10", loss)
        self.X, self.y = make_samples(network, 1024)
        self.trainer = fastnn.Trainer(network, loss=loss, gradient=METHODS[method])
        self.trainer.fit(self.X, self.y)  # compile

    def time_epoch(self, method, loss):
        self.trainer.fit(self.X, self.y)


class LongEpoch:
    """One epoch over 6,000 images' worth of samples, a tenth of MNIST, in float32."""

    params = (["perturbation", "backprop"],)
    param_names = ("method",)

    def setup(self, method):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        network = make_network("784-100-10", "categorical_cross_entropy", "float32")
        self.X, self.y = make_samples(network, 6000)
        self.trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", gradient=METHODS[method])
        self.trainer.fit(self.X, self.y)  # compile

    def time_epoch(self, method):
        self.trainer.fit(self.X, self.y)


class Learning:
    """Accuracy on held-out samples after a few epochs."""

    params = (list(METHODS),)
    param_names = ("method",)

    def track_test_accuracy(self, method):
        network = make_network("64-32-10", "categorical_cross_entropy")
        X, y = make_samples(network, 1024)
        trainer = fastnn.Trainer(
            network, loss="categorical_cross_entropy", gradient=METHODS[method], optimizer=fastnn.SGD(0.3)
        )
        trainer.fit(X[:768], y[:768], epochs=10)
        return trainer.evaluate(X[768:], y[768:]).accuracy

    track_test_accuracy.unit = "share of samples"
