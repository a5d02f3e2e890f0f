"""The options of a pipeline: how it reads and groups images, and which values are valid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from segpipe.data import Alpha, BitDepth, ChannelOrder, Reading
from segpipe.errors import InputError
from segpipe.names import unknown_name_message

OnError = Literal["raise", "skip"]
CHOICES = {"on_error": get_args(OnError), "channel_order": get_args(ChannelOrder)}


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Options of reading and grouping images.

    Attributes:
        batch_size: images of one input size that go through the network together on a GPU, even where a few others
            come between them; a CPU takes single images side by side, which is faster.
        on_error: raise stops at an image that cannot be read; skip logs it and leaves it out of the results.
        channel_order: of arrays and tensors; OpenCV's are bgr.
        keep_image: whether results hold their image, which overlays need; False saves memory in long lists.
        max_pixels: images with more are refused before they are decoded. If None, 200 million.
        max_bytes: larger files and answers are refused. If None, 512 MiB, and 64 MiB from URLs.
        alpha: what is composited on white: auto, keep or drop, see `segpipe.data.Reading`.
        bit_depth: the bits that images of more than 8 bits use, or "min-max". If None, the high byte of 16.
        timeout: seconds to connect, and between two pieces of an answer.
        deadline: seconds for a whole download.
        readers: threads that read and resize images ahead of the network. If None, 2 where it computes on the CPU, else
            one for each core, at most 8.
    """

    batch_size: int = 1
    on_error: OnError = "raise"
    channel_order: ChannelOrder = "rgb"
    keep_image: bool = True
    max_pixels: int | None = None
    max_bytes: int | None = None
    alpha: Alpha = "auto"
    bit_depth: BitDepth = None
    timeout: tuple[float, float] = (10.0, 30.0)
    deadline: float = 60.0
    readers: int | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _require(name, value, f"one of {', '.join(map(repr, choices))}", value in choices)
        _require("batch_size", self.batch_size, "a whole number, at least 1", _is_count(self.batch_size))
        for name in ("max_pixels", "max_bytes", "readers"):
            value = getattr(self, name)
            _require(name, value, "None or a whole number, at least 1", value is None or _is_count(value))
        is_pair = isinstance(self.timeout, tuple | list) and len(self.timeout) == 2
        _require(
            "timeout", self.timeout, "two numbers of seconds above 0", is_pair and all(map(_is_time, self.timeout))
        )
        Reading(self.alpha, self.bit_depth).check()
        _require("deadline", self.deadline, "a number of seconds above 0", _is_time(self.deadline))

    def reading(self) -> dict[str, Any]:
        """Return those that `segpipe.data.read_source` takes."""
        names = ("channel_order", "max_pixels", "max_bytes", "timeout", "deadline", "alpha", "bit_depth")
        return {name: getattr(self, name) for name in names}


def replace_options(
    options: PipelineOptions, changes: dict[str, Any], *, besides: Iterable[str] = ()
) -> PipelineOptions:
    """Return options with some changed; an unknown one is refused by name, with what the caller takes besides."""
    if not changes:
        return options
    known = [field.name for field in fields(options)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise InputError(unknown_name_message("option", unknown[0], [*known, *besides]))
    return replace(options, **changes)


def _require(name: str, value: object, right: str, is_right: bool) -> None:
    if not is_right:
        raise InputError(f"{name} is {value!r}; it must be {right}.")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
