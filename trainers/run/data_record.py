"""The names of the data that a run trains on, kept in its checkpoints: other data does not go unnoticed."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from segpipe.configuration import decode_document
from segpipe.data import ClassificationDataset, SegmentationDataset
from segpipe.errors import CorruptWeightsError
from segpipe.names import listing

MOST_NAMES = 50_000
"""Of a larger data set the names are not kept, only their number and digest: a change is noticed, but not listed."""
MOST_SHOWN = 3


class SplitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The samples of one data set."""

    count: Annotated[int, Meta(ge=0)]
    """Samples of an epoch."""
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the names of all samples in their order; null where a data set of the user's own has no names."""
    names: tuple[str, ...] | None = None
    """The names, each with its label's; null in large data sets."""
    reading: Annotated[str, Meta(max_length=2**20)] | None = None
    """How the files are read: alpha, bit_depth and the raw ids of the classes; null where it is not known."""


class DataRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a run."""

    train: SplitRecord
    eval: SplitRecord | None = None


def record_data(train: Any, evaluation: Any) -> DataRecord:
    """Record the data of a run.

    Names are those below the folder that an image and its label share, so that a data set may move as a whole.
    """
    return DataRecord(train=_record(train), eval=None if evaluation is None else _record(evaluation))


def encode_record(record: DataRecord) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(record)


def decode_record(data: bytes, *, origin: str) -> DataRecord:
    """Read a record as if a stranger had written it. CorruptWeightsError where it is not one."""
    try:
        return decode_document(data, DataRecord)
    except ValueError as error:
        message = f"{origin} is not a record of data: {error}. Use an older checkpoint."
        raise CorruptWeightsError(message, path=origin) from None


def describe_changes(before: DataRecord, now: DataRecord) -> str | None:
    """Say in a phrase what differs between the data of a checkpoint and that of today, or return None."""
    pairs = (("training", before.train, now.train), ("evaluation", before.eval, now.eval))
    changes = [
        f"the {kind} data {_change(then, today)}"
        for kind, then, today in pairs
        if then is not None and today is not None and _differ(then, today)  # a run may get evaluation data later
    ]
    return " and ".join(changes) or None


def _differ(then: SplitRecord, today: SplitRecord) -> bool:
    pairs = ((then.digest, today.digest), (then.reading, today.reading))
    return then.count != today.count or any(before != now for before, now in pairs if None not in (before, now))


def _change(then: SplitRecord, today: SplitRecord) -> str:
    if (then.count, then.digest) == (today.count, today.digest):
        return f"was read by {(then.reading or '')[:200]} and is read by {(today.reading or '')[:200]}"
    counts = f"had {then.count:,} samples and has {today.count:,}" if then.count != today.count else "has other names"
    if then.names is None or today.names is None:
        return counts
    gone, new = _without(then.names, today.names), _without(today.names, then.names)
    if not gone and not new:
        return counts if then.count != today.count else f"has its {today.count:,} samples in another order"
    parts = [f"{word}: {_shown(names)}" for word, names in (("gone", gone), ("new", new)) if names]
    return f"{counts} ({'; '.join(parts)})"


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _shown(names: Sequence[str]) -> str:
    return listing([name[:120] for name in names], MOST_SHOWN)


def _record(dataset: Any) -> SplitRecord:
    digest = hashlib.sha256(b"%d\n" % getattr(dataset, "times", 1))
    if isinstance(dataset, ClassificationDataset):
        # The arrays as they are: ImageNet's names take a tenth of a second so, and some seconds one by one.
        digest.update(dataset.paths.tobytes())
        digest.update(dataset.classes.tobytes())
        few = zip(dataset.paths[: MOST_NAMES + 1], dataset.classes, strict=False)
        names = tuple(f"{_readable(os.fsdecode(path))} as class {index}" for path, index in few)
    elif isinstance(dataset, SegmentationDataset):
        names = tuple(_pair_names(dataset))
        for name in names:
            digest.update(f"{name}\n".encode())
    else:
        return SplitRecord(count=len(dataset))
    kept = names if len(names) <= MOST_NAMES else None
    return SplitRecord(count=len(dataset), digest=digest.hexdigest(), names=kept, reading=_reading(dataset))


def _reading(dataset: ClassificationDataset | SegmentationDataset) -> str:
    if isinstance(dataset, SegmentationDataset):
        readings, raw_ids = {pair.reading for pair in dataset.pairs}, dataset.labels.raw_ids
    else:
        readings, raw_ids = {dataset.reading}, None
    texts = sorted(f"alpha={each.alpha} bit_depth={each.bit_depth}" for each in readings)
    return " and ".join(texts) + (f" raw_ids={','.join(map(str, raw_ids))}" if raw_ids else "")


def _pair_names(dataset: SegmentationDataset) -> Iterable[str]:
    for pair in dataset.pairs:
        image, label = (str(path).replace("\\", "/").split("/") for path in (pair.image, pair.label))
        shared = sum(
            1 for _ in itertools.takewhile(lambda parts: parts[0] == parts[1], zip(image, label, strict=False))
        )
        yield f"{_short(image, shared)} with {_short(label, shared)}"


def _short(parts: Sequence[str], shared: int) -> str:
    """Return a path below the last folder that the image and its label share; at least its folder and its name."""
    return _readable("/".join(parts[min(shared, max(len(parts) - 2, 0)) :]))


def _readable(name: str) -> str:
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
