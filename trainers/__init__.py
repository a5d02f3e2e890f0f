"""Training: from a configuration and data to a model folder."""

from .building import TRAINERS, build_trainer

__all__ = ["TRAINERS", "build_trainer"]
