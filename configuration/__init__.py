"""Documents: what a `configuration.json` can say, how it is read, written, changed and where presets are."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .codec import (
        build_configuration as build_configuration,
        decode_configuration as decode_configuration,
        encode_configuration as encode_configuration,
        read_configuration as read_configuration,
        to_document as to_document,
        write_configuration as write_configuration,
    )
    from .description import (
        describe_inference as describe_inference,
        describe_multiscale as describe_multiscale,
        describe_preprocessing as describe_preprocessing,
        describe_scores as describe_scores,
    )
    from .explain import find_path as find_path, json_schema as json_schema, parse_path as parse_path
    from .fields import PositiveFloat as PositiveFloat, Section as Section, Share as Share, Size as Size
    from .model_section import (
        HALF_MEAN as HALF_MEAN,
        HALF_STD as HALF_STD,
        IMAGENET_MEAN as IMAGENET_MEAN,
        IMAGENET_STD as IMAGENET_STD,
        MAX_CLASSES as MAX_CLASSES,
        MODELS as MODELS,
        Blocks as Blocks,
        Channels as Channels,
        Classes as Classes,
        Dialect as Dialect,
        Factor as Factor,
        ModelConfig as ModelConfig,
        change_model as change_model,
        model_type as model_type,
    )
    from .overrides import override as override
    from .presets import (
        load_preset as load_preset,
        preset_names as preset_names,
        unknown_preset_message as unknown_preset_message,
    )
    from .schema import (
        FORMAT_VERSION as FORMAT_VERSION,
        Configuration as Configuration,
        CropResize as CropResize,
        ExactResize as ExactResize,
        InferenceConfig as InferenceConfig,
        LabelSet as LabelSet,
        PipelineConfig as PipelineConfig,
        PreprocessorConfig as PreprocessorConfig,
        PublishedScores as PublishedScores,
        Rounding as Rounding,
        ShortSideResize as ShortSideResize,
        WeightsConfig as WeightsConfig,
    )
    from .strict_json import (
        Count as Count,
        Document as Document,
        Sha256 as Sha256,
        Text as Text,
        decode_document as decode_document,
        parse_json as parse_json,
        read_json as read_json,
    )
    from .strict_yaml import parse_yaml as parse_yaml, read_yaml as read_yaml, read_yaml_text as read_yaml_text
    from .training import (
        AdamW as AdamW,
        BoundaryLoss as BoundaryLoss,
        BoundaryMapSource as BoundaryMapSource,
        CheckpointConfig as CheckpointConfig,
        ConstantSchedule as ConstantSchedule,
        CosineSchedule as CosineSchedule,
        CrossEntropyLoss as CrossEntropyLoss,
        DatasetConfig as DatasetConfig,
        DiceLoss as DiceLoss,
        EvaluationConfig as EvaluationConfig,
        ExponentialSchedule as ExponentialSchedule,
        FocalLoss as FocalLoss,
        Loss as Loss,
        LossConfig as LossConfig,
        LossScale as LossScale,
        MixedDataConfig as MixedDataConfig,
        MultistepSchedule as MultistepSchedule,
        OhemLoss as OhemLoss,
        Optimizer as Optimizer,
        OptimizerConfig as OptimizerConfig,
        ParallelConfig as ParallelConfig,
        ParameterGroup as ParameterGroup,
        PixelLossConfig as PixelLossConfig,
        PolySchedule as PolySchedule,
        Schedule as Schedule,
        ScheduleConfig as ScheduleConfig,
        Sgd as Sgd,
        SoftCrossEntropyLoss as SoftCrossEntropyLoss,
        SplitConfig as SplitConfig,
        StepSchedule as StepSchedule,
        TrainConfig as TrainConfig,
        Warmup as Warmup,
    )
    from .transforms import (
        Affine as Affine,
        AlignedResize as AlignedResize,
        AutoContrast as AutoContrast,
        CenterCrop as CenterCrop,
        Clahe as Clahe,
        ColorJitter as ColorJitter,
        Equalize as Equalize,
        Gamma as Gamma,
        GaussianBlur as GaussianBlur,
        Grayscale as Grayscale,
        Pad as Pad,
        PadToMultiple as PadToMultiple,
        PhotometricDistortion as PhotometricDistortion,
        Posterize as Posterize,
        RandAugment as RandAugment,
        RandomAreaCrop as RandomAreaCrop,
        RandomCrop as RandomCrop,
        RandomErasing as RandomErasing,
        RandomFlip as RandomFlip,
        RandomResize as RandomResize,
        RandomResizedCrop as RandomResizedCrop,
        RandomRotation as RandomRotation,
        Rerange as Rerange,
        Resize as Resize,
        ResizeBetween as ResizeBetween,
        ResizeChoice as ResizeChoice,
        ResizePad as ResizePad,
        Sharpness as Sharpness,
        Transform as Transform,
        TransformConfig as TransformConfig,
    )
    from .values import (
        decode_label_set as decode_label_set,
        parse_hex_color as parse_hex_color,
        parse_value as parse_value,
        read_class_names as read_class_names,
        read_colors as read_colors,
        read_labels as read_labels,
        read_named_values as read_named_values,
        read_values as read_values,
    )

__getattr__, __dir__, __all__ = lazy_names(__name__)
