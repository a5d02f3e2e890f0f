"""The shipped model on real pictures: the published figures, and Hugging Face's own pipeline beside ours."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe import pipeline
from segpipe.evaluation import ConfusionMatrix

SHARED = Path(__file__).parents[2] / "shared"
CAMVID = SHARED / "data" / "camvid"
ORIGINAL = SHARED / "models" / "hf-segformer-b0-camvid"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside this checkout"),
]


def test_the_shipped_model_has_the_score_of_the_original():
    segment = pipeline("image-segmentation", "segformer-b0-camvid")
    matrix = ConfusionMatrix(num_classes=11, ignore_index=11)
    for result in segment(CAMVID / "images" / "val"):
        label = np.asarray(Image.open(CAMVID / "labels" / "val" / f"{Path(result.source).stem}.png"))
        matrix.update(prediction=result.label_map, label=label)
    scores, published = matrix.scores(segment.labels.names), json.loads((ORIGINAL / "score.json").read_text())["val"]
    assert 100 * scores.miou == pytest.approx(published["miou"], abs=0.05)
    assert 100 * scores.pixel_accuracy == pytest.approx(published["pixel_accuracy"], abs=0.05)
    assert {name: 100 * value for name, value in scores.iou.items()} == pytest.approx(published["iou"], abs=0.1)


@pytest.mark.parametrize("model", [ORIGINAL, "segformer-b0-camvid"], ids=["float32", "shipped in half precision"])
def test_label_maps_agree_with_hugging_faces_pipeline(model):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.pipeline("image-segmentation", str(ORIGINAL))
    ours = pipeline("image-segmentation", model)
    names = list(ours.labels.names)
    equal = total = 0
    for path in sorted((CAMVID / "images" / "val").iterdir()):
        expected = np.full((360, 480), 255, dtype=np.uint8)
        for segment in theirs(str(path)):
            expected[np.asarray(segment["mask"]) > 0] = names.index(segment["label"])
        equal += int((ours(path).label_map == expected).sum())
        total += expected.size
    assert equal / total > 0.999
