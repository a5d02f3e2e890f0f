"""ModelScope's drawing of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segpipe.drawing import complete_palette
from segpipe.errors import InputError


def semantic_seg_masks_to_image(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return an (H, W, 3) uint8 image with each mask in a colour of its own; a pixel without a mask is black.

    Colours go by a mask's place in the list, as in ModelScope. `result.save(path)` draws each class in its own colour.

    Args:
        masks: (H, W) arrays of 0 and 1, such as `result["masks"]`. Later ones lie over earlier ones.
    """
    arrays = [np.asarray(mask) for mask in masks]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"masks have the shapes {sorted(shapes) or 'of nothing'}; at least one is needed, all (H, W).")
    image = np.zeros((*arrays[0].shape, 3), np.uint8)
    for array, color in zip(arrays, complete_palette(None, len(arrays)), strict=True):
        image[array.astype(bool)] = color
    return image
