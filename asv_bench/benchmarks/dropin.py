import numpy as np

import fastnn

from .common import paired_ratio

# In a row they take about as long as NumPy's one, so that what else the machine does meets
# both alike. One alone, after 25 ms of anything else, takes half as long again: its code
# has to come back into the caches.
CALLS = 40


class DropIn:
    """The tutorial's y = 3x: 5 points, 2 weights, 1,000 epochs."""

    def setup(self):
        x = np.array([[1], [3], [4], [8], [10]])
        self.arguments = x, 3 * x, np.array([[[2.269]], [[1.01]]]), 1000
        self.time_update_weights()  # compile

    def time_update_weights(self):
        fastnn.update_weights(*self.arguments)

    def track_speedup_over_numpy(self):
        from fastnn._cli.demo import numpy_update_weights  # here, so that commits before it keep their other benchmarks

        def ours():
            for _ in range(CALLS):
                self.time_update_weights()

        return CALLS * paired_ratio(lambda: numpy_update_weights(*self.arguments), ours)

    track_speedup_over_numpy.unit = "times"
