"""COCO run-length encoding, for results; the coder is the data room's, which reads labels in this form."""

from __future__ import annotations

from segpipe.data.rle import (
    compress_counts,
    counts_to_mask,
    decode_mask,
    decompress_counts,
    encode_label_map,
    encode_mask,
    mask_to_counts,
)

__all__ = [
    "compress_counts",
    "counts_to_mask",
    "decode_mask",
    "decompress_counts",
    "encode_label_map",
    "encode_mask",
    "mask_to_counts",
]
