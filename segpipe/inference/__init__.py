"""From logits to label maps: placement, views, the exact label map; resizing before, running in between."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .label_maps.exact import LabelMap as LabelMap, label_map as label_map
    from .label_maps.fused_upsampling import (
        AxisArrays as AxisArrays,
        class_block as class_block,
        read_logits as read_logits,
        send_axis as send_axis,
    )
    from .looks import predict as predict
    from .network import Network as Network
    from .placement import Axis as Axis, Placement as Placement, place_picture as place_picture
    from .resizing import (
        resize_image as resize_image,
        resized_size as resized_size,
        scale_preprocessor as scale_preprocessor,
    )
    from .runtimes.choices import RUNTIMES as RUNTIMES, check_runtime as check_runtime
    from .runtimes.compiled import CompiledNetwork as CompiledNetwork, require_compiler as require_compiler
    from .runtimes.exported import ExportedNetwork as ExportedNetwork, pixel_array as pixel_array
    from .runtimes.opening import open_session as open_session
    from .views import Mosaic as Mosaic, Prediction as Prediction, View as View
    from .whole import (
        PreparedImage as PreparedImage,
        is_whole as is_whole,
        predict_images as predict_images,
        prepare_image as prepare_image,
    )
    from .windows import share_windows as share_windows, window_starts as window_starts

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "label_maps.exact": "LabelMap label_map",
        "label_maps.fused_upsampling": "AxisArrays class_block read_logits send_axis",
        "looks": "predict",
        "network": "Network",
        "placement": "Axis Placement place_picture",
        "resizing": "resize_image resized_size scale_preprocessor",
        "runtimes.choices": "RUNTIMES check_runtime",
        "runtimes.compiled": "CompiledNetwork require_compiler",
        "runtimes.exported": "ExportedNetwork pixel_array",
        "runtimes.opening": "open_session",
        "views": "Mosaic Prediction View",
        "whole": "PreparedImage is_whole predict_images prepare_image",
        "windows": "share_windows window_starts",
    },
)
