import numpy as np

import fastnn

from .common import paired_ratio


class DropIn:
    """The tutorial's y = 3x: 5 points, 2 weights, 1,000 epochs."""

    def setup(self):
        x = np.array([[1], [3], [4], [8], [10]])
        self.arguments = x, 3 * x, np.array([[[2.269]], [[1.01]]]), 1000
        self.time_update_weights()  # compile

    def time_update_weights(self):
        fastnn.update_weights(*self.arguments)

    def track_speedup_over_numpy(self):
        from fastnn._demo import numpy_update_weights  # here, so that commits before it keep their other benchmarks

        return paired_ratio(lambda: numpy_update_weights(*self.arguments), self.time_update_weights)

    track_speedup_over_numpy.unit = "times"
