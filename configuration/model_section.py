"""The section `model` of a configuration: that of the network family that its `type` names in `MODELS`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, Protocol, TypeVar, cast, runtime_checkable

import msgspec
from msgspec import Meta

from segpipe.errors import InputError
from segpipe.registry import Registry

MAX_CLASSES = 65534
Classes = Annotated[int, Meta(ge=1, le=MAX_CLASSES)]
# The limits keep a document from asking for more memory than any machine has.
Channels = Annotated[int, Meta(ge=1, le=16384)]
Blocks = Annotated[int, Meta(ge=1, le=128)]
Factor = Annotated[int, Meta(ge=1, le=256)]
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
HALF_MEAN = (127.5, 127.5, 127.5)
HALF_STD = (127.5, 127.5, 127.5)
Dialect = Literal[
    "segpipe", "huggingface", "easycv", "mmseg", "nvlabs", "libai", "segmenter", "vit", "augreg", "unept", "resnet"
]
"""The implementation whose names the tensors of a file have."""


@runtime_checkable
class ModelConfig(Protocol):
    """The fields of every family's section; the rest is the family's own."""

    @property
    def variant(self) -> str: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def pixel_mean(self) -> tuple[float, float, float]: ...
    @property
    def pixel_std(self) -> tuple[float, float, float]: ...
    @property
    def size_multiple(self) -> int: ...


class ModelFamily(Protocol):
    """The part of a family that a configuration needs; `segpipe.models.Family` has the rest."""

    @property
    def config(self) -> type[msgspec.Struct]: ...


def _check_family(name: str, family: Any) -> None:
    """Refuse what the union of all sections cannot take, and a section that says another type than its family's."""
    struct = getattr(family, "config", None)
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        raise InputError(
            f"The model type {name!r} cannot be {family!r}. Register a segpipe.models.Family, whose config is a "
            "msgspec.Struct."
        )
    field, tag = struct.__struct_config__.tag_field, struct.__struct_config__.tag
    if (field, tag) != ("type", name):
        found = f"is read where {field!r} is {tag!r}" if field else "has no tag"
        raise InputError(
            f"The section of the model type {name!r}, {struct.__name__}, {found}. Write class {struct.__name__}("
            f"msgspec.Struct, tag={name!r})."
        )


MODELS: Registry[ModelFamily] = Registry(
    "model type",
    {
        "segformer": "segpipe.models.segformer:FAMILY",
        "mit": "segpipe.models.mit:FAMILY",
        "segmenter": "segpipe.models.segmenter:FAMILY",
        "unept": "segpipe.models.unept:FAMILY",
    },
    check=_check_family,
)
_Config = TypeVar("_Config", bound=ModelConfig)


def model_type(config: ModelConfig) -> str:
    """Return the name under which a section's family is registered."""
    return str(cast(msgspec.Struct, config).__struct_config__.tag)


def change_model(config: _Config, **values: Any) -> _Config:
    """Return a section with some fields changed; the values are not checked."""
    return cast(_Config, msgspec.structs.replace(cast(msgspec.Struct, config), **values))


def decode_model(section: Any) -> ModelConfig:
    """Return the section that a JSON value describes; msgspec.ValidationError says what is wrong with it."""
    name = section.get("type") if isinstance(section, Mapping) else None
    struct = MODELS.get(name).config if isinstance(name, str) and name in MODELS else any_model()
    return cast(ModelConfig, msgspec.convert(section, struct))


def any_model() -> Any:
    """Return the union of all families' sections, told apart by `type`."""
    return reduce(or_, (MODELS.get(name).config for name in MODELS))
