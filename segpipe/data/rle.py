"""Encode and decode masks as COCO's run lengths, the form in which they travel as JSON.

Runs are taken column by column, begin with zeros (perhaps none of them), and alternate. The compressed string is the
one that pycocotools writes: each run but the first three as its difference to the run two before, in groups of five
bits. Layout: pycocotools, common/maskApi.c (rleEncode, rleToString).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segpipe.errors import InputError
from segpipe.limits import limit

_MAX_GROUPS = 13  # of five bits in an int64


def decode_mask(counts: str | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Decode the compressed string, or a list of run lengths, to (H, W) uint8 of 0 and 1.

    Raises:
        InputError: the runs do not fill the size exactly, or it is over `image_pixels`.
    """
    height, width = size
    most = limit("image_pixels")
    if min(height, width) < 0 or height * width > most:
        raise InputError(
            f"The mask has the size {height} × {width} (height × width); at most {most:,} pixels are decoded. "
            "Correct the size; docs/limits.md says how to raise the limit."
        )
    try:
        lengths = decompress_counts(counts) if isinstance(counts, str) else np.asarray(counts, dtype=np.int64)
    except (OverflowError, ValueError):  # over 64 bits, or lists in the list
        raise InputError(
            "These run lengths are not whole numbers of pixels. Give `counts` as it was written."
        ) from None
    # Each run is compared first, so that the sum cannot wrap around.
    is_run = lengths.ndim == 1 and bool(((lengths >= 0) & (lengths <= height * width)).all())
    if not is_run or lengths.sum() != height * width:
        covered = f"cover {lengths.sum()} pixels" if is_run else "are not all between 0 and the pixels of the mask"
        raise InputError(
            f"These runs {covered}, a mask of {height} × {width} has {height * width}. "
            "Give the size, (height, width), that was stored beside them."
        )
    values = np.arange(len(lengths), dtype=np.uint8) & 1
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)


def encode_label_map(label_map: np.ndarray, classes: Sequence[int]) -> list[str]:
    """Encode several classes of a label map (H, W) as compressed strings, in the order of `classes`.

    The image is read once, whatever the number of classes.
    """
    values, starts, ends = _runs(label_map)
    order = np.argsort(values, kind="stable")
    first = np.searchsorted(values[order], classes, side="left")
    last = np.searchsorted(values[order], classes, side="right")
    slices = (order[low:high] for low, high in zip(first, last, strict=True))
    return [compress_counts(_alternate(starts[runs], ends[runs], label_map.size)) for runs in slices]


def compress_counts(counts: Sequence[int] | np.ndarray) -> str:
    """Return run lengths as COCO's string."""
    lengths = np.asarray(counts, dtype=np.int64)
    rest = lengths.copy()
    rest[3:] -= lengths[1:-2]
    columns, is_used = [], []
    more = np.ones(len(rest), dtype=bool)
    while more.any():
        group = rest & 31
        rest >>= 5
        is_used.append(more)
        more = more & np.where(group & 16, rest != -1, rest != 0)
        columns.append((group | np.where(more, 32, 0)) + 48)
    if not columns:
        return ""
    characters = np.stack(columns, axis=1).astype(np.uint8)
    return characters[np.stack(is_used, axis=1)].tobytes().decode("ascii")


def decompress_counts(text: str) -> np.ndarray:
    """Return the run lengths (R,) int64 in COCO's string: zeros, ones, zeros, …"""
    groups = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((groups & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - starts + 1
    is_whole = text.isascii() and lengths.sum() == len(groups) and (lengths <= _MAX_GROUPS).all()
    if not is_whole or (groups < 0).any() or (groups > 63).any():
        raise InputError(f"{text[:40]!r} is not a COCO run-length string. Give `counts` as it was written, unchanged.")
    if not len(ends):
        return np.zeros(0, dtype=np.int64)
    places = np.arange(len(groups)) - np.repeat(starts, lengths)
    values = np.add.reduceat((groups & 31) << (5 * places), starts)
    is_negative = (groups[ends] & 16) != 0
    values[is_negative] |= np.int64(-1) << (5 * lengths[is_negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _runs(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return value, start and end of each run of equal pixels (H, W), taken column by column."""
    flat = pixels.T.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1)) if flat.size else np.zeros(0, np.int64)
    ends = np.append(starts[1:], flat.size) if flat.size else starts
    return flat[starts], starts, ends


def _alternate(starts: np.ndarray, ends: np.ndarray, num_pixels: int) -> np.ndarray:
    """Return the lengths outside and inside the runs [start, end), in turn; no trailing empty run."""
    bounds = np.empty(2 * len(starts) + 2, dtype=np.int64)
    bounds[0], bounds[-1] = 0, num_pixels
    bounds[1:-1:2], bounds[2:-1:2] = starts, ends
    counts = np.diff(bounds)
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts
