"""One optimizer step: forward, loss, backward, clip, update; on one process or on many with DDP."""

from __future__ import annotations

import atexit
import contextlib
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segpipe import distributed
from segpipe.configuration import TrainConfig
from segpipe.data import Batch
from segpipe.errors import NumericalError
from segpipe.models import SegpipeNetwork

from .ema import WeightAverage
from .engine_state import check_engine_state, check_weights
from .freezing import frozen_norms
from .objectives import Objective
from .precision import PRECISIONS, build_scaler

LOSS_DIVISOR = 65536.0
"""Sums over pixels are divided by it, so that gradients in float16 stay in range, until the true count is known."""


@dataclass(frozen=True)
class StepReport:
    """The outcome of one step, over all processes.

    Attributes:
        loss: mean loss of the step's pixels, or of its images where each has one class.
        grad_norm: L2 norm of the gradients before clipping.
        is_skipped: whether the loss scale overflowed, in float16, and no update was made.
    """

    loss: float
    grad_norm: float
    is_skipped: bool = False


class LocalEngine:
    """Trains a network that fits into one process, alone or as one of several with DDP.

    The loss is a mean over all that counts in the step: over accumulated batches and all
    processes. So the gradients do not depend on how the step's samples are spread, except

    - with OHEM, which chooses its least share of hard pixels in each batch of each process, and divides the losses of
      auxiliary heads by the hard pixels there;
    - with the boundary loss, whose class weights come from each batch of each process;
    - by chance and by batch norms: what is dropped out differs by process, and statistics are those of each batch,
      or with `sync_batch_norm` of all processes' batches.
    """

    def __init__(
        self,
        model: SegpipeNetwork,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.model = model.to(device)
        self.objective = objective
        self.optimizer = optimizer
        self.device = device
        self.clip_grad_norm = config.clip_grad_norm
        self.seed = config.seed
        self.autocast_dtype = PRECISIONS[config.precision]
        self.scaler = build_scaler(config, device.type)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.frozen_norms = frozen_norms(self.model, config.freeze)
        self.average = WeightAverage(self.model, config.ema_decay) if config.ema_decay else None
        # Each size by itself, up to torch's limit of 8: its code for any size can fail to build, and crops have one
        # size. Evaluation takes images of many sizes and keeps to the plain model.
        self.network: Any = torch.compile(self.model, dynamic=False) if config.compile else self.model
        if distributed.world_size() > 1:
            _apply_plain_gradients(self.parameters)
            devices = [device] if device.type == "cuda" else None
            self.network = DistributedDataParallel(self.network, device_ids=devices)
            # DDP holds the process group, whose threads must end before Python does.
            atexit.register(_release, weakref.ref(self))

    def step(self, batches: Sequence[Batch], number: int) -> StepReport:
        """Train on this process's share of a step.

        Args:
            batches: to accumulate.
            number: of the step; together with the seed it decides what is dropped out.

        Raises:
            NumericalError: in all processes, when a loss or gradient is not finite in one.
        """
        torch.manual_seed(step_seed(self.seed, number, distributed.rank()))
        self.model.train()
        for module in self.frozen_norms:
            module.eval()
        self.optimizer.zero_grad(set_to_none=True)
        total, weight = self._accumulate(batches, number)
        self._check_finite(total, batches, number, "loss")
        self.scaler.unscale_(self.optimizer)
        # DDP has averaged over processes what must be a sum.
        factor = LOSS_DIVISOR * distributed.world_size() / max(weight, 1e-12)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_mul_(gradients, factor)
        norm = self._clip()
        if not self.scaler.is_enabled():
            self._check_finite(norm, batches, number, "gradient")
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        is_skipped = self.scaler.get_scale() < before
        if self.average is not None and not is_skipped:
            self.average.update(self.model)
        return StepReport(total / max(weight, 1e-12), norm, is_skipped)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """Give the model the averaged weights for the time of the block, where the recipe keeps them."""
        return contextlib.nullcontext() if self.average is None else self.average.swapped_into(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs beside the model's weights."""
        average = {} if self.average is None else self.average.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(), "average": average}

    def check_weights(self, tensors: Mapping[str, Any], *, origin: str) -> None:
        """Raise CorruptWeightsError unless the tensors are a state of the model."""
        check_weights(self.model, tensors, origin=origin)

    def check_state(self, state: object, *, origin: str) -> None:
        """Raise CorruptWeightsError unless `state_dict` could have given this state."""
        check_engine_state(self, state, origin=origin)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back that `state_dict` gave and `check_state` checked.

        What the recipe says stays: the optimizer's groups, and how the loss scale grows.
        """
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        scale = self.scaler.state_dict()
        taken: dict[str, Any] = {key: state["scaler"][key] for key in ("scale", "_growth_tracker") if key in scale}
        self.scaler.load_state_dict({**scale, **taken})
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _accumulate(self, batches: Sequence[Batch], number: int) -> tuple[float, float]:
        """Run all batches backward; return the sums of their losses and weights over all processes."""
        sums = torch.zeros(2, dtype=torch.float64)
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            with contextlib.nullcontext() if is_last else self._without_sync():
                loss = self.objective(self._forward, self._moved(batch), step_rng(self.seed, number, index))
                self.scaler.scale(loss.total / LOSS_DIVISOR).backward()
            sums += torch.stack([loss.total.detach(), loss.weight]).double().cpu()
        total, weight = distributed.all_sum(sums.to(self.device)).tolist()
        return total, weight

    def _moved(self, batch: Batch) -> Batch:
        images, labels = (tensor.to(self.device, non_blocking=True) for tensor in (batch.images, batch.labels))
        return replace(batch, images=images, labels=labels.long())

    def _forward(self, images: Tensor) -> Any:
        dtype = self.autocast_dtype
        with torch.autocast(self.device.type, dtype=dtype) if dtype else contextlib.nullcontext():
            return self.network(images)

    def _without_sync(self) -> contextlib.AbstractContextManager[Any]:
        if isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return contextlib.nullcontext()

    def _clip(self) -> float:
        limit = self.clip_grad_norm or math.inf
        return float(nn.utils.clip_grad_norm_(self.parameters, limit))

    def _check_finite(self, value: float, batches: Sequence[Batch], number: int, what: str) -> None:
        """Stop all processes where the value, the same in all, is not finite; each tells the others its images."""
        if math.isfinite(value):
            return
        names = ", ".join(distributed.gather_texts(", ".join(name for batch in batches for name in batch.names)))
        raise NumericalError(
            f"Step {number}: the {what} is {value}. Nothing was updated. "
            f"Look at these images and labels, or lower the learning rate: {names}."
        )


def _apply_plain_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Let the gradients of convolutions have the strides of their weights, as the memory that DDP keeps for them has.

    Those of depthwise and of 1 × 1 convolutions may come with the strides of channels-last memory, and DDP warns. Their
    values lie the same way, so none moves here; those of other convolutions are copied, as autograd would do next.
    """
    for parameter in parameters:
        if parameter.ndim == 4 and parameter.is_contiguous():
            parameter.register_hook(lambda gradient: gradient.flatten().view(gradient.shape))


def _release(engine: weakref.ref[LocalEngine]) -> None:
    """Let go of DDP, where the engine is still there."""
    found = engine()
    if found is not None:
        found.network = found.model


def step_seed(seed: int, number: int, rank: int) -> int:
    """Return the seed of one step in one process, which a resumed run needs instead of generator states."""
    return int(np.random.SeedSequence([seed, number, rank]).generate_state(1)[0])


def step_rng(seed: int, number: int, index: int) -> np.random.Generator:
    """Return the generator that mixes a step's batch: the same in all processes, another one for each batch."""
    return np.random.default_rng(np.random.SeedSequence([seed, number, index], spawn_key=(1,)))
