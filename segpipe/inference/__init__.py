"""From logits to label maps: placement, views, the exact label map; resizing before, running in between."""

from .label_maps import LabelMap, label_map
from .looks import predict
from .network import Network
from .placement import Axis, Placement, place_picture
from .resizing import resize_image, resized_size, scale_preprocessor
from .views import Mosaic, Prediction, View
from .whole import PreparedImage, is_whole, predict_images, prepare_image
from .windows import share_windows, window_starts

__all__ = [
    "Axis",
    "LabelMap",
    "Mosaic",
    "Network",
    "Placement",
    "Prediction",
    "PreparedImage",
    "View",
    "is_whole",
    "label_map",
    "place_picture",
    "predict",
    "predict_images",
    "prepare_image",
    "resize_image",
    "resized_size",
    "scale_preprocessor",
    "share_windows",
    "window_starts",
]
