"""Find the state dict in a file of weights, which mapping and behind which prefix, and bring it into our names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from segpipe.errors import CorruptWeightsError
from segpipe.log import get_logger
from segpipe.names import listing

from .detecting import IMPLEMENTATIONS, detect_dialect, find_dialect, translate
from .key_map import Tensors
from .weight_files import CheckpointMeta, Place, WeightFile, may_be_weight, ordinary_tensors, read_weight_file

logger = get_logger(__name__)

USUAL = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "network",
    "net",
    "segmentor",
    "weights",
    "params",
    "teacher",
)
"""What trainers call a model's weights. Of several that fit, the first is taken; other names come after."""
SECOND_CHOICE = re.compile(r"(?:^|_)(?:ema|swa|shadow|averaged?|momentum|target|student)(?:_|$)", re.IGNORECASE)
"""Averages and copies, which are taken where nothing else fits."""
PREFIX_PARTS = 5
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile and its like put into names, anywhere."""
_PLAIN_PLACES = ((), ("state_dict",), ("model",))


@dataclass(frozen=True)
class Weights:
    """A network's tensors from a file of weights.

    Attributes:
        tensors: in our names; keys that no rule knows keep theirs.
        dialect: whose names they had.
        meta: what the file says of its classes.
    """

    tensors: Tensors
    dialect: str
    meta: CheckpointMeta


def read_weights(path: Path, dialect: str | None = None) -> Weights:
    """Read the weights of one network, and log in one line what was chosen where a file leaves a choice.

    A file may hold several mappings of tensors, at its top or up to two levels below. One whose names a dialect has is
    taken, after any common prefix (`model.`, `module.`, `net.`, …), the shortest that fits. If several fit, the order
    of `USUAL` decides, and averages (`ema…`) come last. Tensors outside the prefix are left out.

    Args:
        path: see `read_weight_file`.
        dialect: whose names the tensors have. If None, it is recognized. In "segpipe" names are taken as they are.

    Raises:
        UnknownDialectError: dialect is None, and nothing in the file has names that are known.
        CorruptWeightsError, WeightsError: see `read_weight_file` and `ordinary_tensors`.
    """
    file = read_weight_file(path)
    searched = list(IMPLEMENTATIONS) if dialect is None else [] if dialect == "segpipe" else [dialect]
    choice = _choose(file, searched, path)
    taken = ordinary_tensors(choice.inside, path)
    _tell(path, file, choice)
    found = choice.dialect or dialect or detect_dialect(taken, origin=str(path))
    return Weights(translate(taken, found), found, file.meta)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by the names that it gives them, on the CPU.

    Of several mappings that of the most usual name is taken (see `USUAL`), and `module.` is dropped where all tensors
    have it. Each tensor has its numbers in memory, one for each of its elements.

    Raises:
        CorruptWeightsError, WeightsError: see `read_weight_file` and `ordinary_tensors`.
    """
    mappings = read_weight_file(path).mappings
    tensors = ordinary_tensors(mappings[min(mappings, key=_rank)], path)
    if all(key.startswith("module.") for key in tensors):
        return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return tensors


@dataclass(frozen=True)
class _Choice:
    """What is taken of a file: `inside` has the members behind the prefix, without it."""

    place: Place
    prefix: str
    dialect: str | None
    inside: Mapping[str, object]
    outside: tuple[str, ...]


def _choose(file: WeightFile, dialects: Collection[str], path: Path) -> _Choice:
    places = sorted(file.mappings, key=_rank)
    for place in places if dialects else ():
        members = _unwrapped(file.mappings[place], path)
        tensors = [key for key, value in members.items() if isinstance(value, Tensor)]
        fit = _fitting_prefix(tensors, dialects)
        if fit is not None:
            prefix, dialect = fit
            inside = {key[len(prefix) :]: value for key, value in members.items() if key.startswith(prefix)}
            outside = tuple(key for key in tensors if not key.startswith(prefix) and may_be_weight(members[key]))
            return _Choice(place, prefix, dialect, inside, outside)
    return _Choice(places[0], "", None, file.mappings[places[0]], ())


def _rank(parts: Place) -> int:
    """Return the place of a mapping, or of a prefix, in the order of choice; the worst of its parts decides."""
    return max(map(_rank_of, parts), default=len(USUAL))


def _rank_of(part: str) -> int:
    if SECOND_CHOICE.search(part):
        return len(USUAL) + 2
    return USUAL.index(part) if part in USUAL else len(USUAL) + 1


def _unwrapped(members: Mapping[str, object], path: Path) -> dict[str, object]:
    """Return the members without what wrappers of torch put into their names."""
    result = {WRAPPERS.sub("", key): value for key, value in members.items()}
    if len(result) != len(members):
        raise CorruptWeightsError(
            f"{path} holds tensors twice, with and without a name of torch.compile or its like (_orig_mod). "
            "Save one of the two."
        )
    return result


def _fitting_prefix(keys: list[str], dialects: Collection[str]) -> tuple[str, str] | None:
    """Return the shortest prefix behind which a key has a dialect's signature, and that dialect, or None."""
    for count in range(PREFIX_PARTS + 1):
        behind: dict[str, list[str]] = {}
        for key in keys:
            parts = key.split(".", count)
            if len(parts) > count:
                behind.setdefault(key[: len(key) - len(parts[count])], []).append(parts[count])
        for prefix in sorted(behind, key=lambda prefix: _rank(tuple(prefix.split(".")[:-1]))):
            dialect = find_dialect(set(behind[prefix]), dialects)
            if dialect is not None:
                return prefix, dialect
    return None


def _tell(path: Path, file: WeightFile, choice: _Choice) -> None:
    """Say what was taken where there was a choice, and what was not run; a warning where tensors are left out."""
    others = [_short(".".join(place)) or "its top" for place in file.mappings if place != choice.place]
    if choice.place in _PLAIN_PLACES and not (others or choice.prefix or file.unknown):
        return
    place = f"its {_short('.'.join(choice.place))}" if choice.place else "its top"
    parts = [f"the weights are those of {place}" + (f", without the prefix {choice.prefix!r}" if choice.prefix else "")]
    if choice.outside:
        parts.append(f"left out, since they do not begin with it: {listing(list(map(_short, choice.outside)))}")
    if others:
        parts.append(f"not taken: {listing(others)}")
    if file.unknown:
        parts.append(f"unknown, and not run: {listing(list(map(_short, file.unknown)), 30)}")
    log = logger.warning if choice.outside else logger.info
    log("%s: %s", path.name, "; ".join(parts))


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:79]}…"
