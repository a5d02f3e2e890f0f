"""Which of a data set's classes each output of a network stands for."""

from __future__ import annotations

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import InputError
from segpipe.log import get_logger

logger = get_logger(__name__)


def match_classes(model: LabelSet | None, num_classes: int, dataset: LabelSet) -> np.ndarray | None:
    """Return the data set's class for each of the network's, or None where they are the same.

    Classes are matched by name where the network knows all names of the data set, else by index where there are as
    many; what the data set does not have becomes an index past its last class, which is always wrong.

    Args:
        model: the network's labels. If None, they are unknown.
        num_classes: the network's outputs.
        dataset: the data set's labels.
    """
    if num_classes < len(dataset.names):
        raise InputError(
            f"The network has {num_classes} outputs and the data set {len(dataset.names)} classes; it must have one "
            f"for each. {_advice(model, dataset)}"
        )
    if model is None or model.names == dataset.names:
        return None
    if set(dataset.names) <= set(model.names):
        logger.info("Matching the classes of the network and the data set by name")
        index_of = {name: index for index, name in enumerate(dataset.names)}
        matched = [index_of.get(name, len(dataset.names)) for name in model.names]
        return np.array(matched + [len(dataset.names)] * (num_classes - len(matched)))
    missing = next(name for name in dataset.names if name not in set(model.names))
    if len(model.names) != len(dataset.names):
        raise InputError(
            f"The data set has the class {missing!r}, and the network, with {len(model.names)} classes, has none "
            f"of that name. It must know all {len(dataset.names)} classes. {_advice(model, dataset)}"
        )
    logger.warning("The data set's class %r has another name in the network; classes are matched by index", missing)
    return None


def _advice(model: LabelSet | None, dataset: LabelSet) -> str:
    common = [name for name in dataset.names if model is not None and name in model.names]
    if not common:
        return "Name another model."
    return (
        f"Name another model, or open the data set with the classes that both have: {advice.option('classes', common)}."
    )
