"""The shipped model on real pictures: the published figures, and Hugging Face's own pipeline beside ours."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe import pipeline
from segpipe.checkpoints import convert_back
from segpipe.configuration import load_preset
from segpipe.evaluation import ConfusionMatrix

SHARED = Path(__file__).parents[2] / "shared"
CAMVID = SHARED / "data" / "camvid"
ORIGINAL = SHARED / "models" / "hf-segformer-b0-camvid"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside this checkout"),
]


def measure(model):
    """mIoU, pixel accuracy and IoU by class on val, in percent, of the label maps that the pipeline gives."""
    segment = pipeline("image-segmentation", model)
    matrix = ConfusionMatrix(num_classes=11, ignore_index=11)
    for result in segment(CAMVID / "images" / "val"):
        label = np.asarray(Image.open(CAMVID / "labels" / "val" / f"{Path(result.source).stem}.png"))
        matrix.update(prediction=result.label_map, label=label)
    scores = matrix.scores(segment.labels.names)
    return 100 * scores.miou, 100 * scores.pixel_accuracy, {name: 100 * iou for name, iou in scores.iou.items()}


def test_a_model_of_hugging_faces_has_the_score_that_its_own_code_gave_it():
    miou, pixel_accuracy, iou = measure(ORIGINAL)
    published = json.loads((ORIGINAL / "score.json").read_text())["val"]
    assert miou == pytest.approx(published["miou"], abs=0.05)
    assert pixel_accuracy == pytest.approx(published["pixel_accuracy"], abs=0.05)
    assert iou == pytest.approx(published["iou"], abs=0.1)


def test_the_shipped_model_has_the_score_that_it_claims_and_beats_that_of_hugging_faces_classes():
    miou, pixel_accuracy, _ = measure("segformer-b0-camvid")
    claimed = load_preset("segformer-b0-camvid").weights.scores
    assert (miou, pixel_accuracy) == pytest.approx((claimed.miou, claimed.pixel_accuracy), abs=0.02)
    published = json.loads((ORIGINAL / "score.json").read_text())["val"]
    assert miou > published["miou"] + 6
    assert pixel_accuracy > published["pixel_accuracy"] + 2


@pytest.mark.peer
@pytest.mark.parametrize("model", [ORIGINAL, "segformer-b0-camvid"], ids=["theirs", "shipped in half precision"])
def test_label_maps_agree_with_hugging_faces_pipeline_which_does_not_pad(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = model if model == ORIGINAL else convert_back(model, tmp_path / "theirs", dialect="huggingface")
    theirs = transformers.pipeline("image-segmentation", str(folder))
    ours = pipeline("image-segmentation", model, overrides=["model.size_multiple=1"])
    names = list(ours.labels.names)
    equal = total = 0
    for path in sorted((CAMVID / "images" / "val").iterdir()):
        expected = np.full((360, 480), 255, dtype=np.uint8)
        for segment in theirs(str(path)):
            expected[np.asarray(segment["mask"]) > 0] = names.index(segment["label"])
        equal += int((ours(path).label_map == expected).sum())
        total += expected.size
    assert equal / total > 0.999
