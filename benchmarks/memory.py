"""Peak memory of one call, each contestant in a process of its own (Linux).

The peak is what the resident set grows to while one picture is segmented, beyond what it is when the
library, the weights and the picture are loaded and a tiny first picture has been through.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
TINY = (64, 64)
CLEAR_PEAK = "5"
"""Written to /proc/self/clear_refs it sets VmHWM to VmRSS (proc(5))."""


class Peak(msgspec.Struct, frozen=True):
    """MiB of the resident set."""

    before: float
    peak: float

    @property
    def beyond(self) -> float:
        """What the call needed."""
        return self.peak - self.before


def measure_peak(contestant: str, folder: Path, picture: Path, *, threads: int) -> Peak:
    """Start a process that measures one contestant on the picture in a .png file."""
    return measure_apart("benchmarks.memory", contestant, [folder, picture, threads])


def measure_apart(module: str, contestant: str, arguments: Sequence[object]) -> Peak:
    """Start a process, `python -m module contestant arguments…`, that measures and calls `print_peak`."""
    command = [sys.executable, "-m", module, contestant, *map(str, arguments)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"Measuring the memory of {contestant} failed:\n{finished.stderr.strip()[-2000:]}")
    return msgspec.json.decode(finished.stdout.splitlines()[-1], type=Peak)


def peak_of(call: Callable[[], object]) -> Peak:
    """Make the call in this process, which should be warm, and see how far it grows."""
    _give_back_free_memory()
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK, encoding="ascii")
    before = _status_mib("VmRSS")
    call()
    return Peak(before, _status_mib("VmHWM"))


def print_peak(peak: Peak) -> None:
    """As one line of JSON, for the process that asked."""
    sys.stdout.write(msgspec.json.encode(peak).decode() + "\n")


def is_supported() -> bool:
    """Whether this system can say what a process's peak was."""
    return Path("/proc/self/clear_refs").exists()


def main() -> None:
    """Measure in this process and print one line of JSON."""
    parser = argparse.ArgumentParser(description="Peak memory of one contestant.")
    parser.add_argument("contestant")
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    print_peak(_measure_here(arguments))


def _measure_here(arguments: argparse.Namespace) -> Peak:
    from PIL import Image

    from .contestants import build_call, use_threads

    use_threads(arguments.threads)
    call = build_call(arguments.contestant, arguments.folder)
    picture = Image.open(arguments.picture).convert("RGB")
    call(picture.resize(TINY[::-1]))
    return peak_of(lambda: call(picture))


def _give_back_free_memory() -> None:
    """What is free but not given back would hide a part of the peak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(kilobytes) / 1024


if __name__ == "__main__":
    main()
