"""Fresh processes: import, and the first call with an empty and with a filled cache of compiled code."""

import os
import subprocess
import sys
import tempfile

from .common import paired_ratio

FIRST_CALL = """
import numpy as np
import fastnn
fastnn.gradient(fastnn.mlp(64, 32, 10, seed=0), np.ones((32, 64)), np.ones((32, 10)))
"""


class Startup:
    number = 1  # a second import in the same process is free
    repeat = 5

    def timeraw_import(self):
        return "import fastnn"

    def timeraw_import_numba(self):
        """The floor of the one above."""
        return "import numba"

    def track_import_over_numba(self):
        """The median of paired runs, each import in a process of its own, from bytecode."""

        def load(name):
            return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True, env=kept)

        with tempfile.TemporaryDirectory() as folder:
            kept = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
            load("fastnn")()
            return paired_ratio(load("fastnn"), load("numba"))

    track_import_over_numba.unit = "times"


class FirstCall:
    number = 1
    repeat = 3
    timeout = 600

    def setup(self):
        subprocess.run([sys.executable, "-c", FIRST_CALL], check=True)  # fill the cache

    def timeraw_gradient_warm_cache(self):
        return FIRST_CALL

    def timeraw_gradient_cold_cache(self):
        room = "import os, tempfile; room = tempfile.TemporaryDirectory(); os.environ['NUMBA_CACHE_DIR'] = room.name"
        return FIRST_CALL, room

    timeraw_gradient_cold_cache.repeat = 1
    # asv would compile four times: a warm-up and a sample in each of two rounds.
    timeraw_gradient_cold_cache.rounds = 1
    timeraw_gradient_cold_cache.warmup_time = 0
