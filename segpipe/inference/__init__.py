"""From logits to label maps: placement, views, the exact label map; resizing before, running in between."""

from .label_maps import LabelMap, label_map
from .placement import Axis, Placement, place_picture
from .resizing import resize_image, resized_size
from .views import Prediction, View
from .whole import PreparedImage, check_supported, predict_images, prepare_image

__all__ = [
    "Axis",
    "LabelMap",
    "Placement",
    "Prediction",
    "PreparedImage",
    "View",
    "check_supported",
    "label_map",
    "place_picture",
    "predict_images",
    "prepare_image",
    "resize_image",
    "resized_size",
]
