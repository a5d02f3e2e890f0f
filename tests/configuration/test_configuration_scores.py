"""Every preset runs the procedure whose score it shows: the catalogue against the code that measured the scores."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from segpipe.configuration import (
    Configuration,
    InferenceConfig,
    PreprocessorConfig,
    ShortSideResize,
    decode_configuration,
    describe_inference,
    describe_preprocessing,
    describe_scores,
    encode_configuration,
    load_preset,
    override,
    preset_names,
)
from segpipe.hub.model_card import card_text
from segpipe.inference import resized_size, window_starts

MMSEG = InferenceConfig(scale_rounding="down", upsampling="two-step")
"""All publishers bring logits to the network's input first, average probabilities over scales and flips, and cut scaled
sides to whole pixels, as mmsegmentation 0.x does."""


@dataclass(frozen=True)
class Procedure:
    """How a score was measured.

    Attributes:
        fit: img_scale as (short side, long side).
        align: the multiple that a side is then resized up to.
        pad: the multiple that a side is padded to with zeros.
        window: side of the square windows and their step; None: the whole image.
        small: what happens to an image smaller than the window.
        several: scales of the multi-scale score, each mirrored too.
        library: whose resize.
        rest: of `inference`.
    """

    fit: tuple[int, int]
    align: int | None = None
    pad: int = 1
    window: tuple[int, int] | None = None
    small: str = "keep"
    several: tuple[float, ...] | None = None
    library: str = "opencv"
    rest: InferenceConfig = MMSEG

    def preprocessor(self) -> PreprocessorConfig:
        short, longest = self.fit
        resize = ShortSideResize(size=short, max_long_side=longest, multiple=self.align, library=self.library)
        return PreprocessorConfig(resize=resize)

    def inference(self) -> InferenceConfig:
        if self.window is None:
            return self.rest
        window, stride = ((side, side) for side in self.window)
        return replace(self.rest, mode="slide", window=window, stride=stride, small_picture=self.small)


SIX = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
ADE_SCALES = (0.75, 0.875, 1.0, 1.125, 1.25)
# NVlabs' SegFormer: local_configs/_base_/datasets/ade20k_repeat.py, B5/segformer.b5.640x640.ade.160k.py,
# cityscapes_1024x1024_repeat.py, test_cfg of B*/segformer.b*.1024x1024.city.160k.py, img_ratios of tools/test.py.
NVLABS_ADE = Procedure(fit=(512, 2048), align=32, several=ADE_SCALES)
NVLABS_ADE_640 = Procedure(fit=(640, 2048), align=32, several=ADE_SCALES)
NVLABS_CITY = Procedure(fit=(1024, 2048), window=(1024, 768), several=(*SIX, 2.0))
# ModelScope's model cards, whose configurations have img_scale (2048, 512), B5's (2048, 640).
MODELSCOPE = Procedure(fit=(512, 2048), pad=32)
MODELSCOPE_640 = Procedure(fit=(640, 2048), pad=32)
# Segmenter's segm/eval/miou.py, where the step is the crop less 32, and the scales of its data sets.
SEGMENTER_ADE = Procedure(fit=(512, 2048), pad=16, window=(512, 480), small="enlarge", several=SIX)
# The MindSpore model zoo's segmenter.yaml: infer_image_size, window_size, window_stride.
MINDSPORE = Procedure(fit=(1024, 2048), pad=16, window=(768, 512), small="enlarge")
# UN-EPT's configurations: crop 480, stride 160, small windows filled with zeros.
UNEPT_ADE = Procedure(fit=(512, 2048), pad=16, window=(480, 160), small="pad", several=SIX)
# Our own, measured by tests/test_camvid_scores.py.
CAMVID = Procedure(fit=(360, 2048), pad=32, library="pillow", rest=InferenceConfig())

FACTS: dict[str, tuple[Procedure, float | None, float | None]] = {
    "segformer-b0-ade20k": (NVLABS_ADE, 37.4, 38.0),
    "segformer-b1-ade20k": (NVLABS_ADE, 42.2, 43.1),
    "segformer-b2-ade20k": (NVLABS_ADE, 46.5, 47.5),
    "segformer-b3-ade20k": (NVLABS_ADE, 49.4, 50.0),
    "segformer-b4-ade20k": (NVLABS_ADE, 50.3, 51.1),
    "segformer-b5-ade20k": (NVLABS_ADE_640, 51.0, 51.8),
    "segformer-b0-cityscapes": (NVLABS_CITY, 76.2, 78.1),
    "segformer-b1-cityscapes": (NVLABS_CITY, 78.5, 80.0),
    "segformer-b2-cityscapes": (NVLABS_CITY, 81.0, 82.2),
    "segformer-b3-cityscapes": (NVLABS_CITY, 81.7, 83.3),
    "segformer-b4-cityscapes": (NVLABS_CITY, 82.3, 83.9),
    "segformer-b5-cityscapes": (NVLABS_CITY, 82.4, 84.0),
    "segformer-b0-camvid": (CAMVID, 65.39, None),
    "segformer-b0-cocostuff": (MODELSCOPE, 35.91, None),
    "segformer-b1-cocostuff": (MODELSCOPE, 40.53, None),
    "segformer-b2-cocostuff": (MODELSCOPE, 44.53, None),
    "segformer-b3-cocostuff": (MODELSCOPE, 45.49, None),
    "segformer-b4-cocostuff": (MODELSCOPE, 46.27, None),
    "segformer-b5-cocostuff": (MODELSCOPE_640, 46.75, None),
    "segmenter-tiny-ade20k": (SEGMENTER_ADE, 38.1, 38.8),
    "segmenter-small-ade20k": (SEGMENTER_ADE, 45.3, 46.9),
    "segmenter-base-ade20k": (SEGMENTER_ADE, 48.5, 50.0),
    "segmenter-base-patch8-ade20k": (Procedure((512, 2048), None, 8, (512, 480), "enlarge", SIX), 49.5, 50.5),
    "segmenter-deit-base-ade20k": (SEGMENTER_ADE, 48.7, 50.1),
    "segmenter-deit-base-linear-ade20k": (SEGMENTER_ADE, 47.1, 48.1),
    "segmenter-large-ade20k": (Procedure((640, 2560), None, 16, (640, 608), "enlarge", SIX), 51.8, 53.6),
    "segmenter-large-pascal-context": (Procedure((520, 4160), None, 16, (480, 448), "enlarge", SIX), 58.1, 59.0),
    "segmenter-large-cityscapes": (Procedure((1024, 2048), None, 16, (768, 736), "enlarge", SIX), 79.1, 81.3),
    "segmenter-large-cityscapes-mindspore": (MINDSPORE, 79.18, None),
    "unept-deit-base-ade20k": (UNEPT_ADE, None, 50.5),
    "unept-deit-base-pascal-context": (Procedure((520, 520), None, 16, (480, 160), "pad", SIX), None, 55.2),
    "unept-res50-ade20k": (Procedure((512, 2048), None, 8, (480, 160), "pad", SIX), None, 46.1),
}


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_preset_runs_the_procedure_whose_score_it_shows(name: str) -> None:
    preset, (procedure, miou, several) = load_preset(name), FACTS[name]
    assert preset.preprocessor == procedure.preprocessor()
    assert preset.inference == procedure.inference()
    assert preset.model.size_multiple == procedure.pad
    scores = preset.weights.scores
    assert (scores.miou, scores.miou_multiscale, scores.multiscale) == (miou, several, procedure.several)
    assert scores.reported_by


@pytest.mark.parametrize("name", sorted(set(preset_names()) - set(FACTS)))
def test_any_other_preset_shows_no_score(name: str) -> None:
    scores = load_preset(name).weights.scores
    figures = (scores.miou, scores.miou_multiscale, scores.pixel_accuracy, scores.reported_by) if scores else ()
    assert not any(figures)


def test_what_the_networks_see_of_usual_images() -> None:
    """By hand: 640 · 512 / 480 = 683 → 704; 640 · 640 / 480 = 853 → 864; 1024 × 2048 begins windows at 0, 768, 1024."""
    assert resized_size((480, 640), load_preset("segformer-b0-ade20k").preprocessor) == (512, 704)
    assert resized_size((480, 640), load_preset("segformer-b5-ade20k").preprocessor) == (640, 864)
    city = load_preset("segformer-b0-cityscapes")
    assert resized_size((1024, 2048), city.preprocessor) == (1024, 2048)
    assert city.inference.window == (1024, 1024)
    starts = (window_starts(*each) for each in zip((1024, 2048), (1024, 1024), city.inference.stride, strict=True))
    assert list(starts) == [[0], [0, 768, 1024]]
    segmenter = load_preset("segmenter-large-cityscapes").inference
    assert window_starts(2048, segmenter.window[1], segmenter.stride[1]) == [0, 736, 1280]


def test_the_shown_procedure_is_made_of_the_configuration() -> None:
    city = load_preset("segformer-b0-cityscapes")
    assert describe_preprocessing(city) == "short side to 1024 pixels, long side at most 2048 (opencv)"
    assert describe_inference(city.inference) == "windows of 1024 × 1024, step 768, two-step upsampling"
    assert describe_scores(city.weights.scores) == (
        "On cityscapes val: mIoU 76.2 %, mIoU 78.1 % with inference.scales=[0.5,0.75,1,1.25,1.5,1.75,2] and "
        "inference.flip=true; by the preprocessing and inference above, as reported by the SegFormer paper."
    )
    ade = load_preset("segformer-b0-ade20k")
    assert describe_preprocessing(ade) == (
        "short side to 512 pixels, long side at most 2048, then each side up to a multiple of 32 (opencv)"
    )
    assert "padded with zeros to a multiple of 32" in describe_preprocessing(load_preset("segformer-b0-cocostuff"))
    card = card_text(city, "city")
    assert "Inference: windows of 1024 × 1024, step 768, two-step upsampling." in card
    assert r"Several scales: inference.scales=\[0.5,0.75,1,1.25,1.5,1.75,2\] and inference.flip=true." in card


@pytest.mark.parametrize(
    "change",
    [
        'preprocessor.resize={"mode": "exact", "size": [1024, 1024]}',
        "inference.mode=whole",
        "inference.stride=[512, 512]",
        "inference.flip=true",
        "model.size_multiple=32",
    ],
)
def test_a_changed_procedure_shows_no_score(change: str) -> None:
    preset = load_preset("segformer-b0-cityscapes")
    changed = override(preset, [change])
    assert changed.weights.scores is None
    assert changed.weights.source == preset.weights.source
    assert "76.2" not in card_text(changed, "city").partition("## Source")[0]
    given = override(preset, [change, "weights.scores.miou=70.5"])
    assert given.weights.scores.miou == 70.5
    assert override(preset, ["train.max_steps=7"]).weights == preset.weights


def test_a_document_that_says_in_words_how_it_was_measured_still_opens() -> None:
    """As segpipe 0.1.0 wrote them; its words are shown, and nothing is said about the configuration's procedure."""
    preset = load_preset("segformer-b0-cityscapes")
    words = "As the SegFormer paper reports it: sliding windows."
    scores = replace(preset.weights.scores, reported_by=None, multiscale=None, how=words)
    old = encode_configuration(replace(preset, weights=replace(preset.weights, scores=scores))).decode()
    for line in ('"multiscale": null,', '"reported_by": null,'):
        assert line in old
        old = old.replace(line, "")
    opened: Configuration = decode_configuration(old, origin="a folder")
    assert describe_scores(opened.weights.scores) == (
        f"On cityscapes val: mIoU 76.2 %, mIoU 78.1 % with several scales and mirrored views. {words}"
    )
    assert words in card_text(opened, "city")
    assert "Inference:" not in card_text(opened, "city")


@pytest.mark.parametrize("name", [name for name in preset_names() if name.endswith(("-ade20k", "-cityscapes"))])
def test_the_cheaper_way_that_a_note_names_is_one_that_works(name: str) -> None:
    preset = load_preset(name)
    if not name.startswith("segformer-"):
        return
    side = 1024 if "cityscapes" in name else preset.preprocessor.resize.size
    changes = [f'preprocessor.resize={{"mode":"exact","size":[{side},{side}]}}']
    assert changes[0] in preset.weights.note
    if "cityscapes" in name:
        changes.append("inference.mode=whole")
        assert changes[1] in preset.weights.note
    assert resized_size((500, 2000), override(preset, changes).preprocessor) == (side, side)
    assert preset.weights.source in preset.weights.note
