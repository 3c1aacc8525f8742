"""Large samples are trained on where they are."""

import sys

import pytest

PROGRAM = """
import sys, threading, time, numpy as np, fastnn
kind, path = sys.argv[1:]
shape = (200_000, 100)

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

trainer = fastnn.Trainer(fastnn.mlp(shape[1], 8, 1, seed=0), gradient=fastnn.Backprop(), batch_size=1000)
trainer.fit(np.zeros((2000, shape[1])), np.zeros(2000))  # compiled
if kind == "array":
    X = np.full(shape, 0.5)
else:
    X = np.lib.format.open_memmap(path, "w+", "f8", shape)
    X[:] = 0.5
    X.flush()
    X = np.load(path, mmap_mode="r")
y = np.zeros(len(X))
before = peak = anonymous()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.001)
thread = threading.Thread(target=watch)
thread.start()
trainer.fit(X, y, 2)
done = True
thread.join()
print(X.nbytes / 2**20, peak - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("kind", ["array", "memmap"])
def test_fit_takes_a_fifth_of_the_data_at_most(start, report, tmp_path, kind):
    """Beyond the data: orders of the samples, and room for a block of them."""
    out, error = start(PROGRAM, kind, tmp_path / "x.npy").communicate(timeout=300)
    assert out, error
    data, more = map(float, out.split())
    report(f"{kind}: {data:.0f} MB of samples, fit takes {more:.0f} MB more")
    assert more < 0.2 * data
