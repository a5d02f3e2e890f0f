"""The differences between tasks in training: the network, the objective, the scores, the answer for an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from segpipe import distributed
from segpipe.configuration import BoundaryLoss, Configuration, SoftCrossEntropyLoss, TrainConfig, model_type
from segpipe.errors import ConfigurationError, InputError, NumericalError
from segpipe.evaluation import AnyScores, evaluate, evaluate_classifier
from segpipe.inference import in_evaluation_mode, resize_image, segment
from segpipe.models import SegmentationModel, SegpipeNetwork, family_of
from segpipe.names import Tasks, unknown_name_message

from .losses import build_loss
from .objectives import Objective, SegmentationObjective, build_boundary_objective, build_classification_objective
from .run.facts import recipe_of


@dataclass(frozen=True, eq=False)
class Task:
    """One task.

    Attributes:
        name: as configurations have it.
        trainer: the registered trainer for it.
        classifier: what the names of the tensors that stand for classes begin with: one of these.
        scores: keys of the scores that may choose the best checkpoint, the main one first.
        is_network: tells whether a network is one for the task.
        objective: network and configuration → the objective to minimize.
        evaluate: network, data and keywords → scores, as `segpipe.evaluate`.
        predict: network, (H, W, 3) uint8 RGB and configuration → the answer for the image.
    """

    name: str
    trainer: str
    classifier: tuple[str, ...]
    scores: tuple[str, ...]
    is_network: Callable[[SegpipeNetwork], bool]
    objective: Callable[[Any, Configuration], Objective]
    evaluate: Callable[..., AnyScores]
    predict: Callable[[Any, np.ndarray, Configuration], np.ndarray]


def task_of(configuration: Configuration, wanted: str | None = None) -> Task:
    """Return the configuration's task; InputError where another one is wanted."""
    name = configuration.task
    if name not in TASKS:
        raise InputError(unknown_name_message("task to train for", name, TASKS))
    task = TASKS[name]
    if wanted is not None and wanted != name:
        raise InputError(
            f"This is a model for {name}, not for {wanted}. Name another one, or build {task.trainer!r}: "
            f"train.trainer={task.trainer}."
        )
    return task


def check_best_score(configuration: Configuration, task: Task) -> None:
    """Refuse a score that the task's evaluation does not give."""
    evaluation = configuration.evaluation
    if evaluation is not None and evaluation.best not in task.scores:
        raise ConfigurationError(
            f"evaluation.best: {task.name} has no score {evaluation.best!r}; it has {', '.join(task.scores)}. "
            f"Set evaluation.best to {task.scores[0]!r}."
        )


def predict_label_map(model: SegmentationModel, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """Return (H, W) uint8, or uint16 with more than 256 classes, for an image (H, W, 3) uint8 RGB.

    The model sees it in evaluation mode and its modules are given back in the modes that they were in.
    """
    with in_evaluation_mode(model):
        [found] = segment(model, [pixels], configuration)
    if isinstance(found, NumericalError):
        raise found
    return found.numpy()


@torch.inference_mode()
def predict_probabilities(model: SegpipeNetwork, pixels: np.ndarray, configuration: Configuration) -> np.ndarray:
    """Return (K,) float32 probabilities of the classes for an image (H, W, 3) uint8 RGB; the model's mode stays."""
    image = torch.from_numpy(resize_image(pixels, configuration.preprocessor).copy()).permute(2, 0, 1)  # (3, h, w)
    with in_evaluation_mode(model):
        probabilities: np.ndarray = model(image[None].to(model.pixel_mean.device))[0].float().softmax(0).cpu().numpy()
    return probabilities


def _segmentation_objective(network: SegmentationModel, configuration: Configuration) -> Objective:
    assert configuration.labels is not None
    loss = recipe_of(configuration).loss
    if isinstance(loss, SoftCrossEntropyLoss):
        raise ConfigurationError(
            "train.loss.type: 'soft_cross_entropy' is for image-classification. Take 'cross_entropy', 'ohem', 'dice' "
            "or 'focal'."
        )
    if isinstance(loss, BoundaryLoss):
        return build_boundary_objective(network, loss, ignore_index=configuration.labels.ignore_index)
    kind, losses = loss.__struct_config__.tag, family_of(configuration.model).losses
    if kind not in losses:
        raise ConfigurationError(
            f"train.loss.type: {model_type(configuration.model)} is not trained with {kind!r}. Take one of "
            f"{', '.join(map(repr, sorted(losses)))}."
        )
    built = build_loss(loss, num_classes=network.num_classes, ignore_index=configuration.labels.ignore_index)
    return SegmentationObjective(network, built)


def _classification_objective(network: SegpipeNetwork, configuration: Configuration) -> Objective:
    config = recipe_of(configuration)
    _check_pairs(config)
    return build_classification_objective(config.loss, num_classes=network.num_classes)


def _check_pairs(config: TrainConfig) -> None:
    """Refuse an odd share of a batch, since images are mixed by twos in each process."""
    loss, share = config.loss, config.batch_size // distributed.world_size()
    if isinstance(loss, SoftCrossEntropyLoss) and (loss.mixup or loss.cutmix) and share % 2:
        raise ConfigurationError(
            f"train.batch_size: {config.batch_size} gives each of {distributed.world_size()} processes {share} "
            "images, and mixup and CutMix pair them. Choose a batch size that gives each an even number."
        )


TASKS = {
    task.name: task
    for task in (
        Task(
            name=Tasks.image_segmentation,
            trainer="segmentation",
            classifier=("head.classifier.", "classifier."),
            scores=("miou", "pixel_accuracy", "mean_accuracy"),
            is_network=lambda network: isinstance(network, SegmentationModel),
            objective=_segmentation_objective,
            evaluate=evaluate,
            predict=predict_label_map,
        ),
        Task(
            name=Tasks.image_classification,
            trainer="classification",
            classifier=("classifier.",),
            scores=("acc1", "acc5", "mean_accuracy"),
            is_network=lambda network: not isinstance(network, SegmentationModel),
            objective=_classification_objective,
            evaluate=evaluate_classifier,
            predict=predict_probabilities,
        ),
    )
}
