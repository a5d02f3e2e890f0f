"""Images that are arrays or tensors already, brought to RGB of 8 bits."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any, Literal

import numpy as np

from segpipe.errors import ImageDecodeError, InputError
from segpipe.extras import import_opencv

from .eight_bits import alpha_to_8_bits, build_mapping
from .reading import Reading
from .rgb import band_takes_many_values, rgb_of_bands, warn_of_kept_alpha

cv2 = import_opencv()

ChannelOrder = Literal["rgb", "bgr"]


def rgb_of_array(array: np.ndarray, channel_order: ChannelOrder, name: str, reading: Reading) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of an array; it may be the array itself. InputError where it is not an image."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise InputError(
            f"{name} has shape {array.shape}; one picture is (H, W), (H, W, 3) or (H, W, 4). {_advice(array)}"
        )
    has_alpha = array.ndim == 3 and array.shape[2] == 4
    colors = array[:, :, :3] if has_alpha else array
    pixels = np.ascontiguousarray(_to_uint8(colors, name, reading))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if has_alpha and reading.alpha != "drop":
        pixels = _composite_array(pixels, array[:, :, 3], name, reading)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if channel_order == "bgr" else pixels


def is_tensor(source: object) -> bool:
    """Whether it is a torch tensor; never imports torch, since without torch there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def array_of_tensor(tensor: Any) -> np.ndarray:
    """Return a tensor's values with channels last."""
    tensor = tensor.detach().cpu()
    if tensor.dtype.is_floating_point:
        tensor = tensor.float()  # NumPy has no bfloat16
    array: np.ndarray = tensor.numpy()
    has_channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
    return np.moveaxis(array, 0, 2) if has_channels_first else array


def _composite_array(pixels: np.ndarray, alpha: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    bits = reading.bit_depth if isinstance(reading.bit_depth, int) else 16
    mapping = partial(alpha_to_8_bits, bits=bits)
    if reading.alpha == "auto" and band_takes_many_values(alpha):
        warn_of_kept_alpha(name)
    return rgb_of_bands((pixels, alpha), lambda part: part, mapping)


def _advice(array: np.ndarray) -> str:
    if array.size == 0:
        return "This one is empty."
    if array.ndim == 4:
        return "For a batch, give its pictures one by one."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "For channels first, give array.transpose(1, 2, 0)."
    return "Reshape it."


def _to_uint8(array: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype != np.uint16 and array.dtype.kind != "f":
        raise InputError(
            f"{name} has dtype {array.dtype}; pictures are uint8 in 0–255, uint16, or float in 0–1. "
            "Scale the values and convert with .astype('uint8')."
        )
    try:
        return build_mapping(array, reading.bit_depth, name)(array)
    except ImageDecodeError as error:
        raise InputError(str(error)) from None
