"""Training: from a configuration and data to a model folder."""

from .building import TRAINERS, build_trainer
from .callbacks import Callback
from .precision import amp_level
from .tensorboard import TensorBoard

__all__ = ["TRAINERS", "Callback", "TensorBoard", "amp_level", "build_trainer"]
