"""fastnn: train neural networks on the CPU by perturbing every weight."""

import importlib
import typing

from fastnn import callbacks as callbacks
from fastnn import hardware as hardware
from fastnn._support.names import refuse_of_package as _refuse
from fastnn.interop.imports import from_sklearn as from_sklearn
from fastnn.interop.imports import from_torch as from_torch
from fastnn.model.layers import GRU as GRU
from fastnn.model.layers import LSTM as LSTM
from fastnn.model.layers import RNN as RNN
from fastnn.model.layers import AveragePool2D as AveragePool2D
from fastnn.model.layers import Conv2D as Conv2D
from fastnn.model.layers import Dense as Dense
from fastnn.model.layers import Dropout as Dropout
from fastnn.model.layers import Embedding as Embedding
from fastnn.model.layers import Flatten as Flatten
from fastnn.model.layers import MaxPool2D as MaxPool2D
from fastnn.model.layers import Repeat as Repeat
from fastnn.model.network import Forward as Forward
from fastnn.model.network import Network as Network
from fastnn.model.network import load as load
from fastnn.model.network import mlp as mlp
from fastnn.training.comparison import Comparison as Comparison
from fastnn.training.comparison import compare as compare
from fastnn.training.gradients import Backprop as Backprop
from fastnn.training.gradients import Perturbation as Perturbation
from fastnn.training.gradients import gradient as gradient
from fastnn.training.grasp import grasp as grasp
from fastnn.training.history import Evaluation as Evaluation
from fastnn.training.history import History as History
from fastnn.training.optimizers import SGD as SGD
from fastnn.training.optimizers import Adagrad as Adagrad
from fastnn.training.optimizers import Adam as Adam
from fastnn.training.optimizers import AdamW as AdamW
from fastnn.training.optimizers import RMSprop as RMSprop
from fastnn.training.range_test import RangeTest as RangeTest
from fastnn.training.range_test import learning_rate_range_test as learning_rate_range_test
from fastnn.training.schemes import ForwardGradient as ForwardGradient
from fastnn.training.schemes import NodePerturbation as NodePerturbation
from fastnn.training.schemes import RandomDirections as RandomDirections
from fastnn.training.trainer import Trainer as Trainer
from fastnn.tutorial import feed_forward as feed_forward
from fastnn.tutorial import update_weights as update_weights

if typing.TYPE_CHECKING:
    from fastnn.blackbox.minimize import minimize as minimize
    from fastnn.blackbox.minimizer import Minimizer as Minimizer
    from fastnn.blackbox.reading import Query as Query
    from fastnn.blackbox.result import Minimum as Minimum
    from fastnn.blackbox.spall import Spall as Spall
else:
    # Imported when they are first asked for: their kernels would have an import of fastnn take longer.
    _LATE = {
        "minimize": "fastnn.blackbox.minimize",
        "Minimizer": "fastnn.blackbox.minimizer",
        "Query": "fastnn.blackbox.reading",
        "Minimum": "fastnn.blackbox.result",
        "Spall": "fastnn.blackbox.spall",
    }

    def __getattr__(name):
        if name not in _LATE:
            raise AttributeError(_refuse(name, __dir__()))
        globals()[name] = found = getattr(importlib.import_module(_LATE[name]), name)
        return found

    def __dir__():
        return sorted({*globals(), *_LATE})


__version__ = "0.1.0"
