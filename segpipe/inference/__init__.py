"""From logits to label maps: placement, views, the exact label map; resizing before, running in between."""

from .label_maps import LabelMap, label_map
from .placement import Axis, Placement, place_picture
from .views import Prediction, View

__all__ = ["Axis", "LabelMap", "Placement", "Prediction", "View", "label_map", "place_picture"]
