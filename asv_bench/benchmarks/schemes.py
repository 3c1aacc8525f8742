import numba

import fastnn

from .common import METHODS, make_network, make_samples

SCHEMES = {
    "spsa": fastnn.RandomDirections(10),
    "gaussian": fastnn.RandomDirections(10, directions="gaussian"),
    "node perturbation": fastnn.NodePerturbation(),
    "forward gradient": fastnn.ForwardGradient(),
}


class Epoch:
    """Epochs along estimates of the gradient; the last has readings with noise."""

    params = (["64-32-10", "784-100-10"], [*SCHEMES, "readout"], ["float64", "float32"])
    param_names = ("sizes", "scheme", "dtype")

    def setup(self, sizes, scheme, dtype):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        network = make_network(sizes, "categorical_cross_entropy", dtype)
        self.X, self.y = make_samples(network, 1024)
        readout = fastnn.hardware.Readout(noise=1e-6) if scheme == "readout" else None
        gradient, optimizer = SCHEMES.get(scheme, METHODS["perturbation"]), fastnn.SGD(1e-4)
        options = {"loss": "categorical_cross_entropy", "gradient": gradient, "optimizer": optimizer}
        self.trainer = fastnn.Trainer(network, readout=readout, **options)
        self.trainer.fit(self.X, self.y)  # compile

    def time_epoch(self, sizes, scheme, dtype):
        self.trainer.fit(self.X, self.y)
