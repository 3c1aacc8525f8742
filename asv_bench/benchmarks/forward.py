import fastnn

from .common import make_samples


class Forward:
    params = ([16, 64, 256], [32, 1024])
    param_names = ("width", "n_samples")

    def setup(self, width, n_samples):
        self.network = fastnn.mlp(64, width, 10, output="softmax", seed=0)
        self.X, _ = make_samples(self.network, n_samples)
        self.network.predict(self.X)  # compile

    def time_predict(self, width, n_samples):
        self.network.predict(self.X)
