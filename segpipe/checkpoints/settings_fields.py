"""Take typed values out of another library's document, and say its JSON path when one is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from segpipe.configuration import EncoderConfig, LabelSet, NormEps, Variant, load_preset, parse_path
from segpipe.errors import ConfigurationError

# One preset for each data set whose names are well known.
_DATASET_PRESETS = ("segformer-b0-cocostuff", "segformer-b0-ade20k", "segformer-b0-cityscapes", "segformer-b0-camvid")

_WIDE = (64, 128, 320, 512)
VARIANTS: dict[tuple[tuple[int, ...], tuple[int, ...]], Variant] = {
    ((32, 64, 160, 256), (2, 2, 2, 2)): "b0",
    (_WIDE, (2, 2, 2, 2)): "b1",
    (_WIDE, (3, 4, 6, 3)): "b2",
    (_WIDE, (3, 4, 18, 3)): "b3",
    (_WIDE, (3, 8, 27, 3)): "b4",
    (_WIDE, (3, 6, 40, 3)): "b5",
}
"""Channels and blocks of the four stages → variant (Xie et al. 2021, table 6)."""
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
MLP_RATIO = 4


@dataclasses.dataclass(frozen=True)
class ForeignDocument:
    """A parsed document and where it came from; each getter takes a path like `decode_head.channels`."""

    root: Any
    origin: str

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a path; the default where it is missing or null."""
        value = self.root
        for key in parse_path(path):
            value = value.get(key) if isinstance(value, dict) else None
        return default if value is None else value

    def integer(self, path: str, default: int | None = None) -> int:
        """A positive integer."""
        value = self.get(path, default)
        if not _is_integer(value) or not 1 <= value < 2**31:
            raise self.error(path, f"{_shown(value)} is not a positive integer", "Correct it")
        return value

    def number(self, path: str, default: float) -> float:
        """An integer or a float."""
        value = self.get(path, default)
        if not _is_number(value):
            raise self.error(path, f"{_shown(value)} is not a number", "Correct it")
        return float(value)

    def share(self, path: str, default: float) -> float:
        """A number from 0 to 1."""
        value = self.number(path, default)
        if not 0 <= value <= 1:
            raise self.error(path, f"{value} is not between 0 and 1", "Correct it")
        return value

    def switch(self, path: str, default: bool) -> bool:
        """true or false."""
        value = self.get(path, default)
        if not isinstance(value, bool):
            raise self.error(path, f"{_shown(value)} is neither true nor false", "Correct it")
        return value

    def four(self, path: str, default: tuple[int, ...] | None = None) -> tuple[int, int, int, int]:
        """Four positive integers, one per stage."""
        value = self.get(path, default)
        if (
            not isinstance(value, list | tuple)
            or len(value) != 4
            or not all(_is_integer(item) and item > 0 for item in value)
        ):
            raise self.error(
                path, f"{_shown(value)} is not a list of four positive integers, one per stage", "Correct it"
            )
        first, second, third, fourth = value
        return first, second, third, fourth

    def three(self, path: str, default: tuple[float, ...]) -> tuple[float, float, float]:
        """Three numbers, one per colour channel."""
        value = self.get(path, default)
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(map(_is_number, value)):
            raise self.error(path, f"{_shown(value)} is not a list of three numbers, red, green and blue", "Correct it")
        red, green, blue = value
        return float(red), float(green), float(blue)

    def require(self, path: str, allowed: tuple[Any, ...], *, default: Any) -> None:
        """Refuse every value of a key that would compute something else than segpipe does."""
        value = self.get(path, default)
        value = tuple(value) if isinstance(value, list) else value
        if value not in allowed:
            listing = " or ".join(_shown(item) for item in allowed)
            raise self.error(path, f"{_shown(value)} is not supported; supported is {listing}", "Use another model")

    def error(self, path: str, problem: str, advice: str) -> ConfigurationError:
        """A ConfigurationError that begins with the origin and the path."""
        return ConfigurationError(f"{self.origin}: {path}: {problem}. {advice}.")


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """The numbers that tell one Mix Transformer from another."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    reductions: tuple[int, int, int, int]
    mlp_ratio: int

    @property
    def variant(self) -> Variant:
        """The variant with these channels and blocks; b0 where there is none (every number is then written out)."""
        return VARIANTS.get((self.dims, self.depths), "b0")

    def encoder(self, *, drop_path_rate: float, norm_eps: NormEps) -> EncoderConfig:
        """The encoder section; what follows from the variant stays null."""
        known = (self.dims, self.depths) in VARIANTS
        return EncoderConfig(
            drop_path_rate=drop_path_rate,
            norm_eps=norm_eps,
            dims=None if known else self.dims,
            depths=None if known else self.depths,
            heads=None if self.heads == HEADS else self.heads,
            reductions=None if self.reductions == REDUCTIONS else self.reductions,
            mlp_ratio=self.mlp_ratio,
        )


def check_heads(shape: EncoderShape, document: ForeignDocument, path: str) -> None:
    """Refuse channels that the attention heads cannot share evenly."""
    if any(dim % heads for dim, heads in zip(shape.dims, shape.heads, strict=True)):
        raise document.error(
            path,
            f"{_shown(shape.heads)} heads cannot share {_shown(shape.dims)} channels evenly",
            "Correct one of the two",
        )


def known_labels(names: tuple[str, ...]) -> LabelSet | None:
    """The labels of the well-known data set that has exactly these names."""
    for preset in _DATASET_PRESETS:
        labels = load_preset(preset).labels
        if labels is not None and labels.names == names:
            return labels
    return None


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names without blanks around them; a name that comes again, or is empty, gets its class index."""
    seen: set[str] = set()
    distinct = []
    for index, name in enumerate(names):
        clean = name.strip()[:180] or "class"
        unique = clean if clean not in seen and name.strip() else f"{clean} {index}"
        while unique in seen:
            unique = f"{unique}_"
        seen.add(unique)
        distinct.append(unique)
    return tuple(distinct)


def numbered_names(count: int) -> tuple[str, ...]:
    """`class 0`, `class 1`, … for a document that names no classes."""
    return tuple(f"class {index}" for index in range(count))


def with_nothing(name: str) -> tuple[str, str]:
    """The names of two classes for a network with one output: nothing, and what it finds."""
    return ("background" if name == "nothing" else "nothing"), name


def ignore_index_for(count: int, wanted: int = 255) -> int:
    """The wanted value where it is no class, else the next free one that labels of 16 bits can hold."""
    return wanted if wanted >= count else 65535


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else f"{text[:80]}…"
