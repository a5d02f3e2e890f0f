"""Bounds on everything that comes from outside: one table, each value of which an environment variable replaces.

`docs/limits.md` shows the same table; a test compares the two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from segpipe.errors import InputError


@dataclass(frozen=True)
class Limit:
    """One bound, its default and what it protects."""

    name: str
    default: int
    unit: str
    bounds: str
    """What must not exceed it, in a phrase."""

    @property
    def variable(self) -> str:
        """The environment variable that replaces the default."""
        return f"SEGPIPE_MAX_{self.name.upper()}"


KIB, MIB, GIB = 2**10, 2**20, 2**30

_ALL = (
    # Documents.
    Limit("configuration_bytes", 4 * MIB, "bytes", "a configuration.json or another JSON document of a model folder"),
    Limit("configuration_depth", 64, "levels", "nested objects and lists of such a document"),
    Limit("yaml_bytes", 256 * KIB, "bytes", "a YAML file beside a checkpoint"),
    # The hub.
    Limit("manifest_bytes", 16 * MIB, "bytes", "a manifest.json"),
    Limit("listing_bytes", 32 * MIB, "bytes", "one JSON answer of a server, after decompression"),
    Limit("listed_files", 100_000, "files", "files that a server, a manifest or a folder lists for a model"),
    Limit("model_files", 256, "files", "files that are fetched for a model"),
    Limit("path_bytes", 1000, "bytes", "a path in a listing, a manifest or an archive, in UTF-8"),
    Limit("path_part_bytes", 200, "bytes", "one part of such a path"),
    Limit("path_depth", 32, "parts", "parts of such a path"),
    Limit("download_bytes", 64 * GIB, "bytes", "a file that is downloaded"),
    Limit("archive_files", 1_000_000, "files", "members of an archive"),
    Limit("archive_bytes", 256 * GIB, "bytes", "all members of an archive, unpacked"),
    # Weights.
    Limit("model_parameters", 1_000_000_000, "numbers", "the weights of a network that a configuration describes"),
    Limit("weights_bytes", 16 * GIB, "bytes", "a file of weights, or several that an index names, together"),
    Limit("index_bytes", 16 * MIB, "bytes", "the index of weights in several files"),
    Limit("pickle_names", 100, "names", "unknown classes and functions that a pickle of weights names"),
    Limit("pickle_objects", 100_000, "objects", "objects, tensors included, of a pickle of weights with such names"),
    Limit("weights_header_bytes", 16 * MIB, "bytes", "the header of a safetensors file"),
    Limit("weights_ratio", 100, "times", "the content of a compressed .npz over the size of its file"),
    # Images.
    Limit("image_pixels", 200_000_000, "pixels", "height × width of an image"),
    Limit("resized_pixels", 100_000_000, "pixels", "height × width of an image that a configuration enlarges"),
    Limit("windows", 20_000, "windows", "sliding windows over one image, at all scales"),
    Limit(
        "seen_pixels", 2_000_000_000, "pixels", "what the network sees of one image: windows, scales, mirrored views"
    ),
    Limit("image_side", 65_535, "pixels", "the longer side of an image"),
    Limit(
        "heavy_image_pixels",
        64_000_000,
        "pixels",
        "height × width of an image whose decoder needs much memory: JPEG 2000, AVIF, an animated WebP",
    ),
    Limit("jpeg_scan_pixels", 4_000_000_000, "pixels", "height × width × number of scans of a JPEG"),
    Limit("image_pieces", 4_000_000, "pieces", "chunks, blocks and runs of an encoded image"),
    Limit("tiff_pages", 10_000, "pages", "directories of a TIFF"),
    Limit("image_bytes", 512 * MIB, "bytes", "an encoded image in a file or in memory"),
    Limit("url_image_bytes", 64 * MIB, "bytes", "an encoded image that a URL answers with"),
    # Data sets.
    Limit("annotation_bytes", 2 * GIB, "bytes", "a JSON file of annotations, or a list of a data set's files"),
    Limit("drawn_pixels", 8 * GIB, "pixels", "areas of the objects of one label, added up"),
    Limit("polygon_crossings", 50_000_000, "crossings", "rows of pixels that the polygon edges of one label cross"),
    Limit("matlab_bytes", 256 * MIB, "bytes", "a .mat file, and all that it unpacks to"),
    # Training.
    Limit("batch_pixels", 2**36, "pixels", "the images of one training step, over all processes"),
    Limit("run_state_bytes", 64 * MIB, "bytes", "a JSON file of a run: its progress, its log"),
)

LIMITS: dict[str, Limit] = {entry.name: entry for entry in _ALL}


def check_limit(
    name: str,
    amount: int,
    what: str,
    *,
    error: Callable[[str], Exception],
    advice: str = "Check that it is the right file",
) -> None:
    """Raise `error` if what comes from outside is over a limit.

    Args:
        name: of the limit.
        amount: in its unit.
        what: the beginning of the message, with its verb, such as "FILE has".
        advice: what to do, without a full stop.
    """
    most = limit(name)
    if amount > most:
        raise error(
            f"{what} {amount:,} {LIMITS[name].unit}; at most {most:,} are taken. {advice}; docs/limits.md says how to "
            "raise the limit."
        )


def limit(name: str) -> int:
    """Return the value in force: the environment variable's, else the default.

    Raises:
        InputError: the variable does not hold a positive whole number.
    """
    entry = LIMITS[name]
    text = os.environ.get(entry.variable, "").strip()
    if not text:
        return entry.default
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) == 0:
        raise InputError(
            f"{entry.variable} is {text[:40]!r}; it must be a positive whole number of {entry.unit}, "
            f"e.g. {entry.default}. Correct or unset it.",
            key=entry.variable,
        )
    return int(text)
