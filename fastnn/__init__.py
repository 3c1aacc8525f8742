"""fastnn: train neural networks on the CPU by perturbing every weight."""

from fastnn import callbacks as callbacks
from fastnn.exchange import from_sklearn as from_sklearn
from fastnn.exchange import from_torch as from_torch
from fastnn.gradients import Backprop as Backprop
from fastnn.gradients import Perturbation as Perturbation
from fastnn.gradients import gradient as gradient
from fastnn.layers import Dense as Dense
from fastnn.network import Forward as Forward
from fastnn.network import Network as Network
from fastnn.network import load as load
from fastnn.network import mlp as mlp
from fastnn.optimizers import SGD as SGD
from fastnn.optimizers import Adam as Adam
from fastnn.trainer import Evaluation as Evaluation
from fastnn.trainer import History as History
from fastnn.trainer import Trainer as Trainer
from fastnn.tutorial import feed_forward as feed_forward
from fastnn.tutorial import update_weights as update_weights

__version__ = "0.1.0"
