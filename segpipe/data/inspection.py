"""Inspect one image and its label: whether they decode and fit, and which values the label holds."""

from __future__ import annotations

import functools
import hashlib
import io
import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from segpipe.configuration import LabelSet
from segpipe.errors import ImageDecodeError, SegpipeError
from segpipe.files import read_file
from segpipe.limits import limit

from .datasets.dataset import Pair
from .findings import Finding
from .image_formats import image_format
from .label_encoding import encode_label
from .label_sets import without_raw_ids
from .orientation import read_orientation
from .sample import Sample, size_text

_NO_VALUE = -1
"""What readers of JSON annotations give where there is no object: ignored on purpose."""
_RAMP_SHARE = 0.15
"""Of CamVid's labels at most 0.02 of the edges lead through a value in between; resized with a filter 0.3 and more."""
_LEAST_RAMPS = 10
_MANY_VALUES = 16
_LEFT_OVER_SHARE = 0.25
_REPLACE = "Replace the file, or leave the image out: a list of those to use (the option split_file) names all others."
_END = b"\xff\xd9"
_GRAIN = 4
"""Places (8 × 8 pixels each) that may differ: some encoders leave out the last bits, which cannot be seen."""


@dataclass(frozen=True)
class Stray:
    """A raw value that is not a class, and where it is first."""

    value: int
    pixels: int
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class Inspection:
    """Findings and counts of one image and its label.

    Attributes:
        pair: the files.
        findings: what is wrong with them, apart from strays.
        image_digest: of the decoded pixels, which lossless formats do not change. If None, unreadable.
        label_digest: of the raw values. If None, unreadable.
        pixels: (K,) int64, pixels of each class. If None, the label is unreadable.
        ignored: pixels that become `ignore_index`.
        void: pixels whose raw value is `ignore_index` itself.
        strays: other raw values that are not a class, ascending.
    """

    pair: Pair
    findings: tuple[Finding, ...] = ()
    image_digest: bytes | None = None
    label_digest: bytes | None = None
    pixels: np.ndarray | None = None
    ignored: int = 0
    void: int = 0
    strays: tuple[Stray, ...] = ()

    @property
    def is_smoothed(self) -> bool:
        """Whether the label's values come from smoothing, so that strays say little."""
        return any(finding.kind == "smoothed" for finding in self.findings)


def inspect_pair(pair: Pair, labels: LabelSet) -> Inspection:
    """Read an image and its label; what cannot be read is a finding, not an error."""
    image = _read_image(pair)
    raw = _read_raw(pair)
    findings = [part for part in (image, raw) if isinstance(part, Finding)]
    if isinstance(image, np.ndarray):
        findings += _look_at_end(pair)
    if isinstance(image, np.ndarray) and isinstance(raw, np.ndarray):
        findings += _compare_sizes(pair, image, raw)
    digest = None if isinstance(image, Finding) else _digest(image)
    if isinstance(raw, Finding):
        return Inspection(pair, tuple(findings), digest)
    try:
        encoded = encode_label(raw, labels, origin=pair.label)
    except SegpipeError as error:
        return Inspection(pair, (*findings, _unreadable_label(pair, error)), digest)
    return _with_counts(Inspection(pair, tuple(findings), digest), raw, encoded, labels)


def inspect_sample(dataset: Any, index: int) -> Inspection:
    """Inspect a sample of any data set, whose label is encoded already or is one class."""
    try:
        sample: Sample = dataset[index]
    except Exception as error:  # a data set of a third party may raise anything
        pair = Pair(f"sample {index}", f"sample {index}")
        what = str(error) or type(error).__name__
        return Inspection(pair, (Finding("unreadable-picture", None, what, _REPLACE),))
    pair, num_classes = Pair(sample.name, sample.name), len(dataset.labels.names)
    if sample.class_index is not None:
        return _classified(pair, sample.class_index, num_classes)
    if sample.label is None:
        return Inspection(pair, (Finding("unreadable-label", pair.label, "there is no label", _REPLACE),))
    label, classes = np.asarray(sample.label), without_raw_ids(dataset.labels)
    findings = tuple(_compare_sizes(pair, sample.image, label)) if label.shape != sample.image.shape[:2] else ()
    try:
        encoded = encode_label(label, classes, origin=pair.label)
    except SegpipeError as error:
        return Inspection(pair, (*findings, _unreadable_label(pair, error)))
    return _with_counts(Inspection(pair, findings), label, encoded, classes)


def digest_image(pair: Pair) -> bytes | None:
    """Return what `Inspection.image_digest` would be, without reading the label."""
    image = _read_image(pair)
    return None if isinstance(image, Finding) else _digest(image)


def missing_share(data: bytes) -> float:
    """Return the share of a JPEG's pixels, from the top left, that its data does not reach, or 0 where it is whole.

    Once libjpeg meets the end-of-image marker, it fills what is missing with gray or a blur and reports nothing. So the
    image is decoded a second time with noise before that marker, which a whole image never reads.

    Args:
        data: an encoded JPEG that can be decoded.
    """
    if not data.endswith(_END):
        return 0.0
    try:
        plain, noisy = (_decode_small(part) for part in (data, data[:-2] + _filler() + _END))
    except OSError:  # the end-of-image marker stands in the middle of a table
        return 1.0
    changed = (plain != noisy).reshape(*plain.shape[:2], -1).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    if np.count_nonzero(changed) <= _GRAIN:
        return 0.0
    return float(1.0 - rows[0] / len(changed))


def _classified(pair: Pair, index: int, num_classes: int) -> Inspection:
    if not 0 <= index < num_classes:
        return Inspection(pair, pixels=np.zeros(num_classes, np.int64), strays=(Stray(index, 1, 0, 0),))
    return Inspection(pair, pixels=np.bincount([index], minlength=num_classes))


def _read_image(pair: Pair) -> np.ndarray | Finding:
    try:
        return pair.read_image()
    except (SegpipeError, OSError, ValueError, LookupError) as error:
        return Finding("unreadable-picture", pair.image, str(error) or type(error).__name__, _REPLACE)


def _look_at_end(pair: Pair) -> list[Finding]:
    """Return a warning if the image is a JPEG that was cut and closed again, which no decoder reports."""
    try:
        data = read_file(pair.image, max_bytes=limit("image_bytes"), error=ImageDecodeError)
        share = missing_share(data) if image_format(data) == "JPEG" else 0.0
    except Exception:  # what cannot be read is another finding
        return []
    if share == 0.0:
        return []
    what = f"the JPEG's data ends early: from {1 - share:.0%} of its height on, its pixels are made up"
    return [Finding("cut-picture", pair.image, what, _REPLACE)]


def _read_raw(pair: Pair) -> np.ndarray | Finding:
    try:
        return pair.read(pair.label)
    except (SegpipeError, OSError, ValueError, LookupError) as error:  # readers may be a plugin's
        return _unreadable_label(pair, error)


def _unreadable_label(pair: Pair, error: Exception) -> Finding:
    return Finding("unreadable-label", pair.label, str(error) or type(error).__name__, _REPLACE)


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _compare_sizes(pair: Pair, image: np.ndarray, raw: np.ndarray) -> list[Finding]:
    orientation = read_orientation(pair.image)
    if raw.shape != image.shape[:2]:
        is_turned = orientation >= 5 and raw.shape == image.shape[1::-1]
        what = f"the label is {size_text(raw)}, its image {pair.image} is {size_text(image)} (height × width)"
        if is_turned:
            what += f" after turning by its EXIF orientation {orientation}"
        return [Finding("size", pair.label, what, _FIX_TURNED if is_turned else _FIX_SIZE)]
    # With another size than before turning, the label would not fit unless it was upright.
    if orientation == 1 or (orientation >= 5 and image.shape[0] != image.shape[1]):
        return []
    what = f"the image is turned or mirrored by its EXIF orientation {orientation}, and the sizes do not say whether"
    return [Finding("orientation", pair.image, f"{what} the label is too", _FIX_ORIENTATION)]


_FIX_TURNED = "Save the image upright without EXIF data, or turn the label."
_FIX_SIZE = "Check that they belong together; resize labels with nearest neighbors only."
_FIX_ORIENTATION = (
    "Look at it with segpipe data show. If they differ, save the image upright without EXIF data, or turn the label."
)


def _with_counts(seen: Inspection, raw: np.ndarray, encoded: np.ndarray, labels: LabelSet) -> Inspection:
    """Return the inspection with what the label's values say."""
    num_classes = len(labels.names)
    pixels = np.bincount(encoded.ravel(), minlength=num_classes)[:num_classes]
    ignored = raw.size - int(pixels.sum())
    is_void = (raw == labels.ignore_index) & (encoded == labels.ignore_index)
    is_stray = (encoded == labels.ignore_index) & ~is_void & (raw != _NO_VALUE)
    strays = _strays(raw, is_stray)
    findings = list(seen.findings)
    smoothed = _smoothing(raw, strays)
    if smoothed is not None:
        findings.append(Finding("smoothed", seen.pair.label, smoothed, _FIX_SMOOTHED))
    if ignored == raw.size:
        what = f"all {raw.size} pixels are ignored"
        findings.append(Finding("ignored-label", seen.pair.label, what, _FIX_IGNORED))
    return replace(
        seen,
        findings=tuple(findings),
        label_digest=_digest(raw),
        pixels=pixels,
        ignored=ignored,
        void=int(is_void.sum()),
        strays=strays,
    )


_FIX_SMOOTHED = (
    "Make the label again without anti-aliasing, resize it with nearest neighbors only, and never save it as JPEG."
)
_FIX_IGNORED = "Nothing can be learned from it. Leave the image out, or check the values that the classes have."


def _strays(raw: np.ndarray, is_stray: np.ndarray) -> tuple[Stray, ...]:
    places = np.flatnonzero(is_stray)
    if not places.size:
        return ()
    values, first, counts = np.unique(raw.ravel()[places], return_index=True, return_counts=True)
    width = raw.shape[1]
    return tuple(
        Stray(int(value), int(count), int(place) // width, int(place) % width)
        for value, place, count in zip(values, places[first], counts, strict=True)
    )


def _smoothing(raw: np.ndarray, strays: tuple[Stray, ...]) -> str | None:
    """Return why the label seems smoothed or compressed with loss, or None."""
    ramps, edges = (sum(numbers) for numbers in zip(_ramps(raw), _ramps(raw.T), strict=True))
    if ramps >= _LEAST_RAMPS and ramps > _RAMP_SHARE * edges:
        return (
            f"at {ramps} of {edges} places where the value changes it passes through a value in between, as edges do "
            f"that were smoothed; {len(strays)} of its values are not a class"
        )
    if len(strays) >= _MANY_VALUES and sum(stray.pixels for stray in strays) < _LEFT_OVER_SHARE * raw.size:
        few = ", ".join(str(stray.value) for stray in strays[:5])
        return f"{len(strays)} values that are not a class ({few}, …) on few pixels look like what JPEG leaves at edges"
    return None


def _ramps(raw: np.ndarray) -> tuple[int, int]:
    """Count pixels whose value lies between those left and right, and places where the value changes in a row."""
    left, middle, right = raw[:, :-2], raw[:, 1:-1], raw[:, 2:]
    is_between = ((left < middle) & (middle < right)) | ((left > middle) & (middle > right))
    return int(np.count_nonzero(is_between)), int(np.count_nonzero(raw[:, 1:] != raw[:, :-1]))


@functools.cache
def _filler() -> bytes:
    """Return noise as entropy-coded data that contains each restart marker."""
    chance = random.Random(0)
    noise = (bytes(chance.randrange(255) for _ in range(1024)) + bytes((0xFF, 0xD0 + index)) for index in range(8))
    return b"".join(noise)


def _decode_small(data: bytes) -> np.ndarray:
    """Decode at an eighth of the size, for which libjpeg needs less than half of the time.

    Scans of a progressive JPEG that refine it show at its full size only.
    """
    image: Image.Image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if "progressive" not in image.info:
        image.draft(image.mode, (1, 1))
    image.load()
    return np.asarray(image)
