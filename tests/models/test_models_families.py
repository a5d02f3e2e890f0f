"""What a family says of itself holds for its networks."""

import pytest

from segpipe.configuration import MODELS
from segpipe.errors import InputError
from segpipe.models import (
    EncoderConfig,
    Family,
    HeadConfig,
    MitConfig,
    SegformerConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    VitConfig,
    build_outline,
    family_of,
    num_parameters,
)

UNUSUAL = EncoderConfig(
    dims=(8, 16, 24, 32), depths=(1, 2, 1, 1), heads=(1, 2, 3, 4), reductions=(4, 2, 1, 1), mlp_ratio=2
)
SECTIONS = [
    *(MitConfig(variant=variant) for variant in MODELS.get("mit").variants),
    *(
        SegformerConfig(variant=variant, num_classes=7, head=HeadConfig(type=kind))
        for variant in MODELS.get("segformer").variants
        for kind in ("mlp", "conv")
    ),
    *(SegmenterConfig(variant=variant, num_classes=7) for variant in MODELS.get("segmenter").variants),
    SegformerConfig(num_classes=3, encoder=UNUSUAL, head=HeadConfig(channels=48)),
    SegmenterConfig(
        num_classes=3,
        head=SegmenterHeadConfig(type="linear"),
        encoder=VitConfig(image_size=(100, 70), patch_size=8, distilled=True, dim=32, depth=3, mlp_ratio=2),
    ),
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{type(section).__name__}-{section.variant}")
def test_numbers_are_counted_as_a_built_network_has_them(section):
    built = sum(parameter.numel() for parameter in build_outline(section).parameters())
    assert num_parameters(section) == built


@pytest.mark.parametrize("name", MODELS)
def test_a_family_is_registered_under_the_tag_of_its_section(name):
    family = MODELS.get(name)
    assert isinstance(family, Family)
    assert family.config.__struct_config__.tag == name
    assert family_of(family.config(num_classes=2)) is family


def test_a_section_without_what_every_family_has_is_refused():
    with pytest.raises(InputError, match=r"VitConfig lacks variant, num_classes, pixel_mean.*each a field or"):
        Family(config=VitConfig, network="x:y")
