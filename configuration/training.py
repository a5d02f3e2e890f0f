"""The sections of a `configuration.json` that training and evaluation read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .fields import Name, NonNegative, NonNegativeFloat, Positive, PositiveFloat, Section, Share
from .transforms import TransformConfig

Times = Annotated[int, Meta(ge=1, le=1000)]


class SplitConfig(Section, frozen=True, kw_only=True):
    """One split of a data set."""

    split: Name
    """Name of the split, as the data set knows it: train, val, …"""
    times: Times = 1
    """How often each image comes in an epoch, to outweigh what is mixed in."""


class MixedDataConfig(Section, frozen=True, kw_only=True):
    """Data of the same classes that is trained on beside the main data."""

    type: Name
    """A registered data set, e.g. street-scenes."""
    root: str | None = None
    """Folder of the data set; null: given when training."""
    split: Name = "train"
    """Which of its splits."""
    times: Times = 1
    """How often each image comes in an epoch."""


class DatasetConfig(Section, frozen=True, kw_only=True):
    """The data a model is trained and evaluated on."""

    type: Name
    """A registered data set, e.g. coco-stuff164k."""
    root: str | None = None
    """Folder of the data set; null: given when training."""
    train: SplitConfig = SplitConfig(split="train")
    """The part that weights are learnt from."""
    eval: SplitConfig = SplitConfig(split="val")
    """The part that scores are measured on."""
    mixed: tuple[MixedDataConfig, ...] = ()
    """What is mixed into the training part."""
    val_share: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None
    """Share of the training part that is held out by the names of its samples and evaluated on, instead of `eval`."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Options of the data set, such as {"names": ["sky", "road"]}.

    One that holds for a single split has its name in front: {"train.split_file": "a.txt", "val.split_file": "b.txt"}.
    """


class Loss(Section, tag_field="type", frozen=True, kw_only=True):
    """A training loss over the pixels that are not ignored."""

    class_weights: tuple[NonNegativeFloat, ...] | None = None
    """Weight of each class, by class index; null: all the same."""
    weight: NonNegativeFloat = 1.0
    """Factor of the whole loss."""
    auxiliary_weights: tuple[NonNegativeFloat, ...] = ()
    """Factor of each auxiliary head's loss, for networks that give several logits in training."""


class CrossEntropyLoss(Loss, tag="cross_entropy", frozen=True, kw_only=True):
    """Mean cross-entropy."""


class OhemLoss(Loss, tag="ohem", frozen=True, kw_only=True):
    """Cross-entropy over the hardest pixels."""

    threshold: Share = 0.7
    """Pixels whose true class has a probability below it count."""
    min_share: Share = 0.0625
    """At least this share of the pixels counts."""


class DiceLoss(Loss, tag="dice", frozen=True, kw_only=True):
    """One minus Tversky's index of each image and class, averaged; the index is Dice's where `delta` is 0.5."""

    smooth: NonNegativeFloat = 1e-6
    """Added to both sides of the fraction; towards 1, a class that is absent and hardly predicted costs less."""
    delta: Share = 0.5
    """Weight of missed pixels; pixels found by mistake have 1 - delta."""


class FocalLoss(Loss, tag="focal", frozen=True, kw_only=True):
    """Cross-entropy weighted by (1 - p)^gamma."""

    gamma: NonNegativeFloat = 2.0
    """How strongly easy pixels are played down; 0: plain cross-entropy."""
    alpha: Share | None = None
    """Factor of the loss; null: 1."""


class SoftCrossEntropyLoss(Section, tag="soft_cross_entropy", tag_field="type", frozen=True, kw_only=True):
    """Mean cross-entropy over images with one class each, which may be mixed by twos; for image-classification."""

    mixup: NonNegativeFloat = 0.0
    """Alpha of the beta distribution that two images' shares are drawn from; 0: no mixup (Zhang et al. 2018)."""
    cutmix: NonNegativeFloat = 0.0
    """The same for a box of one image in another; 0: no CutMix (Yun et al. 2019)."""
    mixing_probability: Share = 1.0
    """How often a batch is mixed."""
    cutmix_probability: Share = 0.5
    """How often a batch that is mixed gets CutMix, where there are both."""
    smoothing: Share = 0.0
    """Share of each target that is spread over all classes."""


BoundaryMapSource = Literal["any", "prepared", "computed"]


class BoundaryLoss(Section, tag="boundary", tag_field="type", frozen=True, kw_only=True):
    """Cross-entropies of classes, of boundaries and of directions away from them, for networks that give all of them.

    As UN-EPT is trained (Zhu et al. 2021), whose factors are the defaults.
    """

    class_weights: tuple[NonNegativeFloat, ...] | None = None
    """Weight of each class, by class index; null: all the same."""
    class_factor: NonNegativeFloat = 0.8
    """Of the classes."""
    boundary_factor: NonNegativeFloat = 5.0
    """Of whether a pixel is at a boundary; both answers weigh what the other's share in the batch is."""
    direction_factor: NonNegativeFloat = 0.6
    """Of the direction to the inside, in eight bins, at pixels that the network takes for a boundary."""
    refined_factor: NonNegativeFloat = 1.0
    """Of the classes where boundary pixels take those of their neighbor in the network's direction."""
    width: Annotated[int, Meta(ge=1, le=1024)] = 5
    """A boundary's pixels are no farther from it."""
    maps: BoundaryMapSource = "any"
    """Where distances and directions come from.

    any: from files where there are some, else computed.
    prepared: from files alone, see segpipe data prepare boundaries.
    computed: from each label as it is read, some tens of milliseconds an image.
    """


PixelLossConfig = CrossEntropyLoss | OhemLoss | DiceLoss | FocalLoss
LossConfig = PixelLossConfig | SoftCrossEntropyLoss | BoundaryLoss


class ParameterGroup(Section, frozen=True, kw_only=True):
    """Parameters whose name contains `match`; the longest match wins, of equally long ones the first in the list."""

    match: Name
    """Part of the parameter's name."""
    weight_decay: NonNegativeFloat | None = None
    """Null: the optimizer's."""
    lr_factor: NonNegativeFloat = 1.0
    """Factor of the learning rate."""


class Optimizer(Section, tag_field="type", frozen=True, kw_only=True):
    """The rule by which weights follow gradients."""

    lr: NonNegativeFloat
    """Learning rate before the schedule."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of parameters that no group changes."""
    vector_weight_decay: NonNegativeFloat | None = None
    """Weight decay of parameters with one dimension (norms, biases), but for a group's own; null: the optimizer's."""
    groups: tuple[ParameterGroup, ...] = ()
    """Exceptions for some parameters."""

    def group_of(self, parameter: str) -> ParameterGroup | None:
        """Return the group that a parameter's name falls into, or None."""
        matching = [group for group in self.groups if group.match in parameter]
        return max(matching, key=lambda group: len(group.match), default=None)  # max keeps the first of equals


class AdamW(Optimizer, tag="adamw", frozen=True, kw_only=True):
    """AdamW (Loshchilov and Hutter)."""

    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay rates of the running mean and the running mean square."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""


class Sgd(Optimizer, tag="sgd", frozen=True, kw_only=True):
    """Stochastic gradient descent with momentum."""

    momentum: Share = 0.9
    """Share of the last step that is repeated."""
    nesterov: bool = False
    """Look ahead along the momentum."""

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("`nesterov` needs a `momentum` greater than 0, e.g. 0.9")


OptimizerConfig = AdamW | Sgd


class Warmup(Section, frozen=True, kw_only=True):
    """The start of the learning rate."""

    type: Literal["linear", "constant", "exponential"] = "linear"
    """Shape of the way up."""
    steps: NonNegative
    """Length in optimizer steps."""
    ratio: Share = 1e-6
    """Share of the learning rate at step 0."""
    join: Literal["over", "before", "into"] = "over"
    """How the schedule follows.

    over: it runs from step 0 and is multiplied by the warm-up (mmsegmentation).
    before: it begins when the warm-up is over.
    into: it runs from step 0, and the warm-up leads from ratio · lr to what it is after `steps` (LiBai).
    """


class Schedule(Section, tag_field="type", frozen=True, kw_only=True):
    """The course of the learning rate over the steps."""

    min_lr: NonNegativeFloat = 0.0
    """What the learning rate ends at; in steps and exponentials, what it does not fall below."""
    warmup: Warmup | None = None
    """How it starts; null: at once."""


class PolySchedule(Schedule, tag="poly", frozen=True, kw_only=True):
    """(lr - min_lr) · (1 - step/steps)^power + min_lr."""

    power: PositiveFloat = 1.0
    """1: a straight line; more: faster at first."""
    every: Positive = 1
    """Steps for which the learning rate stays the same."""


class StepSchedule(Schedule, tag="step", frozen=True, kw_only=True):
    """lr · gamma^(step // every)."""

    every: Positive
    """Steps between two drops."""
    gamma: PositiveFloat = 0.1
    """Factor of a drop."""


class MultistepSchedule(Schedule, tag="multistep", frozen=True, kw_only=True):
    """lr · gamma^(number of milestones passed)."""

    milestones: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    """Steps at which the learning rate drops."""
    gamma: PositiveFloat = 0.1
    """Factor of a drop."""


class ExponentialSchedule(Schedule, tag="exponential", frozen=True, kw_only=True):
    """lr · gamma^step."""

    gamma: PositiveFloat
    """Factor per step."""


class CosineSchedule(Schedule, tag="cosine", frozen=True, kw_only=True):
    """Half a cosine from lr to min_lr."""


class ConstantSchedule(Section, tag="constant", tag_field="type", frozen=True, kw_only=True):
    """lr throughout."""

    warmup: Warmup | None = None
    """How it starts; null: at once."""


ScheduleConfig = (
    PolySchedule | StepSchedule | MultistepSchedule | ExponentialSchedule | CosineSchedule | ConstantSchedule
)


class LossScale(Section, frozen=True, kw_only=True):
    """The factor of the loss in float16, which keeps small gradients; they are divided by it again.

    A step whose gradients overflow is left out, and the scale shrinks. What is multiplied is the sum of the losses of a
    process's pixels divided by 65536, so that a scale for their mean is the larger by (pixels / 65536).
    """

    initial: PositiveFloat = 65536.0
    """Of the first step."""
    growth: Annotated[float, Meta(gt=1.0, le=65536.0)] = 2.0
    """Factor after `interval` steps; an overflow divides by it."""
    interval: Positive = 2000
    """Steps in a row without an overflow after which the scale grows."""


class CheckpointConfig(Section, frozen=True, kw_only=True):
    """The intervals of saving the state of a run, and the number that are kept."""

    every: Positive = 4000
    """Optimizer steps between two checkpoints."""
    keep: Positive = 2
    """How many of the newest are kept."""


class TrainConfig(Section, frozen=True, kw_only=True):
    """A recipe."""

    trainer: Name | None = None
    """A registered trainer; null: the task's."""
    max_steps: Positive | None = None
    """Optimizer steps; this or max_epochs."""
    max_epochs: Positive | None = None
    """Passes over the data; this or max_steps."""
    batch_size: Positive
    """Images per step over all processes."""
    workers: Annotated[int, Meta(ge=0, le=1024)] = 4
    """Loader processes per training process."""
    seed: NonNegative = 42
    """Decides the order of the images, each transform and new weights."""
    transforms: tuple[TransformConfig, ...] = ()
    """The augmentation chain, in order."""
    loss: LossConfig = CrossEntropyLoss()
    """What is minimized."""
    optimizer: OptimizerConfig
    """How weights follow gradients."""
    schedule: ScheduleConfig = ConstantSchedule()
    """How the learning rate runs."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the forward pass computes in; weights and the optimizer stay in float32."""
    layer_norm_precision: Literal["float32", "same"] = "float32"
    """What layer norms compute in; same: as `precision` says, which is MindSpore's level O3."""
    loss_scale: LossScale = LossScale()
    """How gradients are kept in range; float16 alone has one."""
    clip_grad_norm: PositiveFloat | None = None
    """Greatest norm of all gradients together; null: no limit."""
    accumulate: Positive = 1
    """Batches per optimizer step."""
    ema_decay: Share | None = None
    """Decay of a moving average of the weights; null: there is none."""
    sync_batch_norm: bool = True
    """Batch statistics over all processes."""
    freeze: tuple[Name, ...] = ()
    """Parts of parameter names; parameters whose name contains one stay as they are."""
    activation_checkpointing: bool = False
    """Keep only each block's input, recompute the rest in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the network for training at the first step, which takes from half a minute to several."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When the state of the run is saved."""
    log_every: Positive = 50
    """Optimizer steps between two lines of the log."""

    def __post_init__(self) -> None:
        if (self.max_steps is None) == (self.max_epochs is None):
            raise ValueError("exactly one of `max_steps` and `max_epochs` is needed, the other null")


class ParallelConfig(Section, frozen=True, kw_only=True):
    """The spreading of a run over processes."""

    data: Literal["ddp", "fsdp"] = "ddp"
    """How the replicas share: ddp: each has all weights; fsdp: each has a part of them."""
    shard: Positive = 1
    """Processes that share the weights of one replica."""
    tensor: Positive = 1
    """Processes that share each layer."""
    stages: Positive = 1
    """Processes among which the layers are dealt out in turn."""
    microbatches: Positive = 1
    """Parts of a batch that are under way through the stages at once."""


class EvaluationConfig(Section, frozen=True, kw_only=True):
    """Evaluation during and after training."""

    every: Positive = 4000
    """Optimizer steps between two evaluations."""
    every_epochs: Positive | None = None
    """Instead of `every`: evaluate after the first pass over the data, then after every such number; null: by steps."""
    first_epochs: NonNegative = 0
    """With `every_epochs`: evaluate after each of this number of first passes besides."""
    last_share: Share = 0.0
    """With `every_epochs`: evaluate after each pass in this last share of the run besides."""
    before_training: bool = True
    """Evaluate before the first step, where weights for the same classes are taken over."""
    batch_size: Annotated[int, Meta(ge=1, le=4096)] = 1
    """Images at a time."""
    best: Literal["miou", "pixel_accuracy", "mean_accuracy", "acc1", "acc5"] = "miou"
    """The score that decides which checkpoint is the best; acc1 and acc5 are those of image-classification."""
    patience: Positive | None = None
    """Evaluations in a row without a better score after which the run ends; null: it never ends early."""

    def __post_init__(self) -> None:
        if self.every_epochs is None and (self.first_epochs or self.last_share):
            raise ValueError("`first_epochs` and `last_share` add to `every_epochs`, which is null; set it, e.g. to 1")
