"""From an image to its label map: resize, run the network in one or more views, label each pixel exactly."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .geometry import (
        Axis as Axis,
        Mosaic as Mosaic,
        Placement as Placement,
        Prediction as Prediction,
        View as View,
        place_image as place_image,
    )
    from .label_maps.fused_upsampling import (
        AxisArrays as AxisArrays,
        class_block as class_block,
        locate_run as locate_run,
        read_logits as read_logits,
        send_axis as send_axis,
    )
    from .label_maps.labelling import (
        LabelMap as LabelMap,
        label_map as label_map,
        label_predictions as label_predictions,
    )
    from .network import Network as Network, in_evaluation_mode as in_evaluation_mode
    from .preprocessing import (
        resize_image as resize_image,
        resized_size as resized_size,
        scale_preprocessor as scale_preprocessor,
    )
    from .runtimes.choices import (
        DTYPES as DTYPES,
        RUNTIMES as RUNTIMES,
        Runtime as Runtime,
        check_runtime as check_runtime,
    )
    from .runtimes.compiled import CompiledNetwork as CompiledNetwork, require_compiler as require_compiler
    from .runtimes.exported import (
        ExportedNetwork as ExportedNetwork,
        channels_first as channels_first,
        open_session as open_session,
        pixel_tensor as pixel_tensor,
    )
    from .segmenting import (
        PreparedImage as PreparedImage,
        predict as predict,
        prepare_image as prepare_image,
        segment as segment,
    )
    from .sliding_window import share_windows as share_windows, window_starts as window_starts
    from .tta import predict_views as predict_views

__getattr__, __dir__, __all__ = lazy_names(__name__)
