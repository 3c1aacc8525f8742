import os
import subprocess
import sys

import numba

import fastnn

from .common import make_network, make_samples, paired_ratio

# Ends with whoever started it, whatever becomes of that.
OCCUPY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(10**6):
        pass
"""


class Busy:
    """A fit with the default number of threads against one on one thread, beside so many busy processes a core."""

    params = ([0, 1],)
    param_names = ("processes_a_core",)
    timeout = 600

    def setup(self, processes_a_core):
        self.network = make_network("784-100-10", dtype="float32")
        self.X, self.y = make_samples(self.network, 3200)
        self.fit()  # compile
        n_processes = processes_a_core * (os.cpu_count() or 1)
        self.processes = [subprocess.Popen([sys.executable, "-c", OCCUPY]) for _ in range(n_processes)]

    def teardown(self, processes_a_core):
        for process in self.processes:
            process.kill()
            process.wait()

    def fit(self, n_threads=numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(n_threads)
        try:
            fastnn.Trainer(self.network, optimizer=fastnn.SGD(1e-4)).fit(self.X, self.y, epochs=5)
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)

    def track_default_over_one_thread(self, processes_a_core):
        return paired_ratio(self.fit, lambda: self.fit(1))

    track_default_over_one_thread.unit = "times"
