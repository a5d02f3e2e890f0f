"""Acc@1 and Acc@5: counted by hand, matched by name, the same over processes and batches."""

import numpy as np
import pytest
import torch

from segpipe.configuration import CropResize, LabelSet, PreprocessorConfig
from segpipe.configuration.schema import Configuration
from segpipe.data import Sample
from segpipe.errors import InputError, NumericalError
from segpipe.evaluation import EvaluationStopped, evaluate_classifier
from segpipe.evaluation.classifier_scores import rank_of, scores_of
from segpipe.inference.preprocessing import resize_image, resized_size
from segpipe.models import MitConfig, SegpipeNetwork

NAMES = tuple("abcdefg")


class Scripted(SegpipeNetwork):
    """A network whose logits are the first pixels of the picture's first row, of red."""

    def forward(self, images):
        return images[:, 0, 0, : self.num_classes].float()


class Pictures(list):
    labels = LabelSet(names=NAMES)


def network():
    return Scripted(MitConfig(num_classes=7))


def picture(logits, class_index, width=8):
    image = np.zeros((4, width, 3), np.uint8)
    image[0, :7, 0] = logits
    return Sample(image, None, f"picture of {class_index}", class_index=class_index)


PICTURES = Pictures(
    [
        picture([9, 1, 2, 3, 4, 5, 6], 0),  # first
        picture([9, 1, 2, 3, 4, 5, 6], 3),  # fifth
        picture([9, 1, 2, 3, 4, 5, 6], 2, width=9),  # sixth
        picture([5, 5, 0, 0, 0, 0, 0], 1),  # second: of equal ones the lower index is first
    ]
)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_by_hand(batch_size):
    scores = evaluate_classifier(network(), PICTURES, batch_size=batch_size)
    assert (scores.acc1, scores.acc5, scores.num_pictures) == (0.25, 0.75, 4)
    assert scores.accuracy["a"] == 1.0
    assert np.isnan(scores.accuracy["g"])
    assert scores.mean_accuracy == 0.25  # of the four classes that have pictures
    assert scores.to_dict()["accuracy"]["g"] is None
    assert "Acc@5                 75.00" in scores.table()


def test_ranks_agree_with_a_stable_sort():
    logits = torch.randint(0, 4, (50, 9), generator=torch.Generator().manual_seed(0)).float()
    classes = torch.arange(50) % 9
    order = np.argsort(-logits.numpy(), axis=1, kind="stable")
    expected = [int(np.flatnonzero(row == own)[0]) for row, own in zip(order, classes.tolist(), strict=True)]
    assert rank_of(logits, classes).tolist() == expected


def test_classes_are_matched_by_name():
    labels = LabelSet(names=tuple(reversed(NAMES)))
    configuration = Configuration(task="image-classification", model=MitConfig(num_classes=7), labels=labels)
    mirrored = Pictures([picture([0, 0, 0, 0, 0, 0, 9], 0)])  # its last output is "a"
    assert evaluate_classifier(network(), mirrored, configuration=configuration).acc1 == 1.0


def test_counts_of_a_million_pictures_add_up_exactly():
    counts = np.array([[2**40, 2**39, 2**40], [2**40, 1, 1]], np.int64)
    scores = scores_of(counts, ("x", "y"))
    assert scores.acc1 == (2**39 + 1) / 2**41


def test_what_cannot_be_scored_is_explained():
    with pytest.raises(InputError, match="has no images"):
        evaluate_classifier(network(), Pictures())
    with pytest.raises(InputError, match="has no class"):
        evaluate_classifier(network(), Pictures([Sample(PICTURES[0].image, None, "bare")]))
    broken = network()
    broken.forward = lambda images: torch.full((len(images), 7), torch.nan)
    with pytest.raises(NumericalError, match="picture of 0"):
        evaluate_classifier(broken, PICTURES)


def test_an_evaluation_can_be_stopped_and_leaves_modes_alone():
    model = network().train()
    with pytest.raises(EvaluationStopped):
        evaluate_classifier(model, PICTURES, should_stop=lambda: True)
    assert model.training


def test_pictures_are_resized_and_cropped_as_torchvision_does():
    config = PreprocessorConfig(resize=CropResize(size=256, crop=(224, 224)))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 451, 3)).astype(np.uint8)
    from PIL import Image

    resized = np.asarray(
        Image.fromarray(pixels).resize((384, 256), Image.Resampling.BICUBIC)
    )  # 451 · 256 / 300 = 384.9
    np.testing.assert_array_equal(resize_image(pixels, config), resized[16:240, 80:304])
    assert resized_size((300, 451), config) == (224, 224)
    small = resize_image(pixels[:20, :20], config)
    assert small.shape == (224, 224, 3)
