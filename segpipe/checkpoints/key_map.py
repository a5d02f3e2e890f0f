"""Rules between another implementation's tensor names and ours: written once, used both ways.

A pattern of names has `{name}` for a number, `{name+1}` for the same number counted from 1, and `*` for any text.
Rules are applied in their order when a file is read, and backwards when one is written. So a rule that refines what
another one made stands below it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]
CLASSIFIER_WEIGHT, CLASSIFIER_BIAS = "head.classifier.weight", "head.classifier.bias"


class Rule:
    """One difference between their tensors and ours."""

    def read(self, tensors: Tensors) -> Tensors:
        """Bring their tensors closer to ours."""
        return tensors

    def write(self, tensors: Tensors) -> Tensors:
        """Bring our tensors closer to theirs; `read` brings them back."""
        return tensors


@dataclass(frozen=True)
class KeyMap:
    """How one implementation names its tensors.

    Attributes:
        signature: names that only its files have, each by itself; one is enough.
        rules: from their tensors to ours.
        needs: a name of ours that a network must have to be written like this.
        excluded: patterns of our names that it has no place for; a network with one is refused.
        has_head: whether its files have heads. If not, the encoder alone is written.
    """

    signature: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    needs: str = ""
    excluded: tuple[str, ...] = ()
    has_head: bool = True

    def recognizes(self, names: Collection[str]) -> bool:
        """Return whether a file with these names is this implementation's."""
        return any(name in names for name in self.signature)

    def read(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Translate their tensors to ours; names that no rule knows stay."""
        translated = dict(tensors)
        for rule in self.rules:
            translated = rule.read(translated)
        return translated

    def write(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Translate our tensors to theirs."""
        translated = {key: tensor for key, tensor in tensors.items() if self.has_head or key.startswith("encoder.")}
        for rule in reversed(self.rules):
            translated = rule.write(translated)
        return translated

    def refusal(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Say why a network cannot be written like this. If None, it can."""
        strange = next((key for key in tensors for pattern in self.excluded if _regex(pattern).fullmatch(key)), None)
        if strange is not None:
            return f"it has no place for {strange}"
        return None if self.needs in tensors else "its networks have other layers"


@dataclass(frozen=True)
class Rename(Rule):
    """Another name for the same tensor."""

    theirs: str
    ours: str

    def read(self, tensors: Tensors) -> Tensors:
        return _renamed(tensors, self.theirs, self.ours)

    def write(self, tensors: Tensors) -> Tensors:
        return _renamed(tensors, self.ours, self.theirs)


@dataclass(frozen=True)
class Spelling(Rule):
    """Another spelling of a name, which is read and never written."""

    other: str
    usual: str

    def read(self, tensors: Tensors) -> Tensors:
        return _renamed(tensors, self.other, self.usual)


@dataclass(frozen=True)
class Prefix(Rule):
    """What their encoder's names begin with, which files of an encoder alone may leave out.

    Attributes:
        prefix: with its dot.
        starts: what the encoder's names begin with behind it.
        beside: the start of a name beside which the prefix is written. If None, it always is.
    """

    prefix: str
    starts: tuple[str, ...]
    beside: str | None = None

    def read(self, tensors: Tensors) -> Tensors:
        return {key.removeprefix(self.prefix): tensor for key, tensor in tensors.items()}

    def write(self, tensors: Tensors) -> Tensors:
        if self.beside is not None and not any(key.startswith(self.beside) for key in tensors):
            return tensors
        return {f"{self.prefix if key.startswith(self.starts) else ''}{key}": t for key, t in tensors.items()}


@dataclass(frozen=True)
class Split(Rule):
    """One tensor of theirs that is several of ours, along its first dimension.

    Attributes:
        theirs: pattern of the whole.
        ours: patterns of the pieces.
        ratio: the sizes of the pieces in proportion.
    """

    theirs: str
    ours: tuple[str, ...]
    ratio: tuple[int, ...]

    def read(self, tensors: Tensors) -> Tensors:
        return _cut(tensors, self.theirs, self.ours, ratio=self.ratio)

    def write(self, tensors: Tensors) -> Tensors:
        return _join(tensors, self.ours, self.theirs)


@dataclass(frozen=True)
class Pack(Rule):
    """Several tensors of theirs, of one size, that are one of ours.

    Attributes:
        theirs: patterns of the pieces.
        ours: pattern of the whole.
        dim: along which the pieces lie one after another.
    """

    theirs: tuple[str, ...]
    ours: str
    dim: int = 0

    def read(self, tensors: Tensors) -> Tensors:
        return _join(tensors, self.theirs, self.ours, dim=self.dim)

    def write(self, tensors: Tensors) -> Tensors:
        return _cut(tensors, self.ours, self.theirs, ratio=(1,) * len(self.theirs), dim=self.dim)


@dataclass(frozen=True)
class Pointwise(Rule):
    """A linear layer of ours, (E, D), that is a 1x1 convolution there, (E, D, 1, 1)."""

    ours: str

    def read(self, tensors: Tensors) -> Tensors:
        return _changed(tensors, self.ours, lambda weight: weight[..., 0, 0] if weight.shape[2:] == (1, 1) else weight)

    def write(self, tensors: Tensors) -> Tensors:
        return _changed(tensors, self.ours, lambda weight: weight[..., None, None] if weight.dim() == 2 else weight)


@dataclass(frozen=True)
class Permute(Rule):
    """A tensor whose dimensions have another order there.

    Attributes:
        ours: pattern of its name.
        dims: the place in theirs of each dimension of ours.
    """

    ours: str
    dims: tuple[int, ...]

    def read(self, tensors: Tensors) -> Tensors:
        return _changed(tensors, self.ours, lambda tensor: tensor.permute(self.dims))

    def write(self, tensors: Tensors) -> Tensors:
        back = [self.dims.index(dim) for dim in range(len(self.dims))]
        return _changed(tensors, self.ours, lambda tensor: tensor.permute(back))


@dataclass(frozen=True)
class Heads(Rule):
    """A dimension of ours that is two there: attention heads and the channels of one.

    Attributes:
        ours: pattern of the tensor's name.
        dim: the dimension.
        channels: of one head.
    """

    ours: str
    dim: int
    channels: int

    def read(self, tensors: Tensors) -> Tensors:
        return _changed(tensors, self.ours, lambda tensor: tensor.flatten(self.dim, self.dim + 1))

    def write(self, tensors: Tensors) -> Tensors:
        return _changed(tensors, self.ours, lambda tensor: tensor.unflatten(self.dim, (-1, self.channels)))


@dataclass(frozen=True)
class Unused(Rule):
    """Tensors of theirs that no network of ours needs: not read."""

    theirs: str

    def read(self, tensors: Tensors) -> Tensors:
        return {key: tensor for key, tensor in tensors.items() if not _regex(self.theirs).fullmatch(key)}


@dataclass(frozen=True)
class Absent(Rule):
    """Tensors of ours that their files do not have: not written."""

    ours: str

    def write(self, tensors: Tensors) -> Tensors:
        return {key: tensor for key, tensor in tensors.items() if not _regex(self.ours).fullmatch(key)}


@dataclass(frozen=True)
class OneOutput(Rule):
    """A segmentation head with one output, trained as a sigmoid against a threshold t, read as one of two classes.

    The output z becomes the logits 0 and z - log(t / (1 - t)): softmax over [0, z] is sigmoid(z), and the second class
    is the larger exactly where sigmoid(z) > t, at whatever size, since interpolation keeps constants.
    """

    threshold: float

    def read(self, tensors: Tensors) -> Tensors:
        import torch

        weight, bias = tensors.get(CLASSIFIER_WEIGHT), tensors.get(CLASSIFIER_BIAS)
        if weight is None or bias is None or len(weight) != 1 or bias.shape != (1,):
            return tensors
        shift = math.log(self.threshold / (1 - self.threshold))
        return {
            **tensors,
            CLASSIFIER_WEIGHT: torch.cat([torch.zeros_like(weight), weight]),
            CLASSIFIER_BIAS: torch.cat([torch.zeros_like(bias), bias - shift]),
        }


def has_one_output(tensors: Tensors) -> bool:
    """Return whether a head is what `OneOutput` made."""
    weight, bias = tensors.get(CLASSIFIER_WEIGHT), tensors.get(CLASSIFIER_BIAS)
    return weight is not None and bias is not None and len(weight) == 2 and not (weight[0].any() or bias[0].any())


def _renamed(tensors: Tensors, source: str, target: str) -> Tensors:
    regex = _regex(source)
    renamed: Tensors = {}
    for key, tensor in tensors.items():
        match = regex.fullmatch(key)
        renamed[_filled(target, match) if match else key] = tensor
    return renamed


def _changed(tensors: Tensors, pattern: str, change: Callable[[Tensor], Tensor]) -> Tensors:
    regex = _regex(pattern)
    return {key: change(tensor) if regex.fullmatch(key) else tensor for key, tensor in tensors.items()}


def _cut(tensors: Tensors, whole: str, pieces: tuple[str, ...], *, ratio: tuple[int, ...], dim: int = 0) -> Tensors:
    """Cut each tensor whose name fits; the last piece takes what cannot be divided."""
    result: Tensors = {}
    for key, tensor in tensors.items():
        match = _regex(whole).fullmatch(key)
        if match is None:
            result[key] = tensor
            continue
        unit = tensor.shape[dim] // sum(ratio)
        sizes = [unit * part for part in ratio[:-1]]
        parts = tensor.split([*sizes, tensor.shape[dim] - sum(sizes)], dim)
        result |= {_filled(piece, match): part for piece, part in zip(pieces, parts, strict=True)}
    return result


def _join(tensors: Tensors, pieces: tuple[str, ...], whole: str, *, dim: int = 0) -> Tensors:
    """Join the tensors whose names fit, where all pieces of one are there; others stay."""
    import torch

    result = dict(tensors)
    for key in tensors:
        match = _regex(pieces[0]).fullmatch(key)
        names = [_filled(piece, match) for piece in pieces] if match else []
        if match and all(name in tensors for name in names):
            result[_filled(whole, match)] = torch.cat([result.pop(name) for name in names], dim)
    return result


_TOKEN = re.compile(r"(\*)|\{(\w+)(\+1)?\}")


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of names; a number counted from 1 is never 0."""
    parts, end, texts = [], 0, 0
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[end : token.start()]))
        if token[1]:
            parts.append(f"(?P<text{texts}>.*)")
            texts += 1
        else:
            parts.append(f"(?P<{token[2]}_from_1>[1-9][0-9]*)" if token[3] else f"(?P<{token[2]}>[0-9]+)")
        end = token.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]), re.DOTALL)


def _filled(pattern: str, match: re.Match[str]) -> str:
    """Fill a pattern with the numbers and texts of another one's match."""
    found = match.groupdict()
    texts = iter([text for group, text in found.items() if group.startswith("text")])

    def fill(token: re.Match[str]) -> str:
        if token[1]:
            return str(next(texts))
        name, wants_one = token[2], bool(token[3])
        if f"{name}_from_1" in found:
            return found[f"{name}_from_1"] if wants_one else str(int(found[f"{name}_from_1"]) - 1)
        return str(int(found[name]) + 1) if wants_one else found[name]

    return _TOKEN.sub(fill, pattern)
