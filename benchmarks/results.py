"""What a run of the benchmark found: raw values, their medians and ratios, and the JSON file that keeps them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import msgspec

OURS = "segpipe"
AGREEMENT_WANTED = 0.999
"""In float32."""
AGREEMENT_WANTED_OF_HALF = 0.99
"""In bfloat16."""
PACKAGES = ("segpipe", "torch", "transformers", "onnxruntime", "openvino", "numpy", "pillow", "opencv-python")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement with all its contestants. Lower values are better, whatever the unit."""

    table: str
    """One of those in tables.py."""
    network: str
    size: tuple[int, int]
    """(height, width) of the picture."""
    what: str
    """What was measured, in a few words."""
    unit: str
    """ms (for throughput, training, loading, label maps and streams: per picture) or MiB."""
    runs: dict[str, tuple[float, ...]]
    """Raw values by contestant; the n-th of each were taken in turn, in the same round."""
    agreement: float | None = None
    """Least share of pixels on which segpipe's label maps agree with transformers'."""
    boundary_share: float | None = None
    """Share of the logits' grid at which more than one class wins among four neighbouring cells."""
    classes: int | None = None
    """How many classes the label map has."""
    agreement_wanted: float = AGREEMENT_WANTED
    """Less than this is an error."""
    multiply_adds: float | None = None
    """Of one picture through the network."""
    notes: tuple[str, ...] = ()
    """What a reader of the table must know beside the figures."""

    @property
    def key(self) -> tuple[str, str, tuple[int, int], str]:
        """What makes two rows of different runs the same measurement."""
        return self.table, self.network, self.size, self.what


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run took place."""

    processor: str
    cores: int
    memory_gib: int | None
    system: str
    python: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    date: str
    machine: Machine
    versions: dict[str, str]
    threads: int
    rows: tuple[Row, ...]
    format_version: int = 1


class Spread(msgspec.Struct, frozen=True):
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """The distance between the quartiles, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def spread_of(values: Sequence[float]) -> Spread:
    """Median and quartiles; one value is all three."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio_of(row: Row, contestant: str) -> Spread | None:
    """How many times a contestant's value is ours, round by round; None where one of both is missing.

    The ratios of single rounds are what noise that lasts longer than a round leaves alone.
    """
    if OURS not in row.runs or contestant not in row.runs:
        return None
    pairs = zip(row.runs[contestant], row.runs[OURS], strict=True)
    return spread_of([theirs / max(ours, 1e-9) for theirs, ours in pairs])


def inverse_of(ratio: Spread) -> Spread:
    """Of a ratio: the other way round."""
    return Spread(1 / ratio.median, 1 / ratio.high, 1 / ratio.low)


def read_result(path: Path) -> Result:
    """A run from its file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except FileNotFoundError:
        known = ", ".join(sorted(file.name for file in path.parent.glob("*.json"))) or "none"
        raise SystemExit(f"There is no {path}. Beside it: {known}. Name one of those.") from None
    except msgspec.ValidationError as error:
        raise SystemExit(f"{path} is no result of this benchmark: {error}. Name one that it wrote.") from error


def write_result(result: Result, path: Path) -> None:
    """Write a run; values keep four significant digits."""
    rows = tuple(msgspec.structs.replace(row, runs=_rounded(row.runs)) for row in result.rows)
    text = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(result, rows=rows)), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text + b"\n")


def describe_machine() -> Machine:
    """The machine this runs on, without its name."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )


def installed_versions() -> dict[str, str]:
    """Versions of the packages that matter; segpipe's own is that of the checkout."""
    import segpipe

    versions = {"segpipe": segpipe.__version__}
    for package in PACKAGES[1:]:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _rounded(runs: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(float(f"{value:.4g}") for value in values) for name, values in runs.items()}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory_gib() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, ValueError, OSError):
        return None
