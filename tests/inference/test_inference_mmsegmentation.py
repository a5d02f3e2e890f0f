"""Converted checkpoints beside live mmsegmentation 1.2: whole, through windows, at several scales and mirrored.

It runs where mmsegmentation is installed beside segpipe, as in the environment that `.ci/run` makes for it:

    pip install ".[test]" mmsegmentation==1.2.2 mmengine mmcv-lite==2.1.0 ftfy regex

mmsegmentation imports mmcv's compiled operators even for networks that have none. Empty modules are put in place of
those that mmcv-lite leaves out.
"""

import sys
import types

import cv2
import numpy as np
import pytest
import torch

from segpipe import pipeline
from segpipe.checkpoints import convert

pytest.importorskip("mmengine")
pytest.importorskip("mmcv")

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SIZES = [(360, 480), (333, 500), (257, 301), (512, 683), (481, 321)]
NUM_CLASSES = 19
RESIZED = {"type": "Resize", "scale": (2048, 512), "keep_ratio": True}
WINDOWS = {"mode": "slide", "crop_size": (256, 256), "stride": (171, 171)}
SLIDE = ["inference.mode=slide", "inference.window=[256,256]", "inference.stride=[171,171]"]
NATIVE = ["preprocessor.resize=null"]
SCALES = (0.5, 0.75, 1.25)

ROUNDING = 2e-4
"""Two ways to add k terms differ by about √k · 2⁻²⁴ of their size. The longest sums of a B1 have 2,048 terms, and some
60 products follow each other, whose errors add like a random walk: √2048 · √60 · 2⁻²⁴ = 2e-5 of the largest logit. Ten
times that is a tie."""


class Stub(types.ModuleType):
    """A module whose every name is an empty class."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture(scope="module")
def mmseg():
    """mmsegmentation's API."""
    import mmcv

    for name in ("_ext", "ops"):
        try:
            __import__(f"mmcv.{name}")
        except ImportError:
            sys.modules[f"mmcv.{name}"] = Stub(f"mmcv.{name}")
            setattr(mmcv, name, sys.modules[f"mmcv.{name}"])
    from mmseg import apis

    return apis


def document(steps=(), test_cfg=None, padding=None):
    """That library's configuration of SegFormer-B1."""
    return {
        "model": {
            "type": "EncoderDecoder",
            "data_preprocessor": {
                "type": "SegDataPreProcessor",
                "mean": [123.675, 116.28, 103.53],
                "std": [58.395, 57.12, 57.375],
                "bgr_to_rgb": True,
                "test_cfg": padding,
            },
            "backbone": {
                "type": "MixVisionTransformer",
                "embed_dims": 64,
                "num_layers": [2, 2, 2, 2],
                "num_heads": [1, 2, 5, 8],
                "patch_sizes": [7, 3, 3, 3],
                "sr_ratios": [8, 4, 2, 1],
                "out_indices": (0, 1, 2, 3),
            },
            "decode_head": {
                "type": "SegformerHead",
                "in_channels": [64, 128, 320, 512],
                "in_index": [0, 1, 2, 3],
                "channels": 256,
                "num_classes": NUM_CLASSES,
                "norm_cfg": {"type": "BN"},
                "align_corners": False,
            },
            "test_cfg": test_cfg or {"mode": "whole"},
        },
        "test_pipeline": [{"type": "LoadImageFromFile"}, *steps, {"type": "PackSegInputs"}],
    }


@pytest.fixture(scope="module")
def checkpoint(mmseg, tmp_path_factory):
    """A B1 whose label maps have boundaries everywhere, as mmengine saves it."""
    from mmengine import Config
    from mmengine.runner.checkpoint import save_checkpoint

    torch.manual_seed(0)
    model = mmseg.init_model(Config(document()), None, device="cpu")
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2.0)
            module.running_mean.normal_(std=0.3)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=0.2)
    path = tmp_path_factory.mktemp("mmseg") / "iter_1.pth"
    meta = {"mmseg_version": "1.2.2", "dataset_meta": {"classes": [f"class {k}" for k in range(NUM_CLASSES)]}}
    save_checkpoint({"meta": meta, "state_dict": model.state_dict()}, str(path))
    return path


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    return convert(checkpoint, tmp_path_factory.mktemp("converted") / "b1")


def image(size):
    """(H, W, 3) uint8 BGR: regions of several sizes, and some noise."""
    random = np.random.default_rng(sum(size))
    layers = [
        cv2.resize(
            random.uniform(0, 255, (cells, cells, 3)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC
        )
        for cells in (4, 9, 30)
    ]
    return np.clip(np.mean(layers, axis=0) + random.normal(0, 8, (*size, 3)), 0, 255).astype(np.uint8)


def logits_of(mmseg, checkpoint, pixels, **options):
    """(K, H, W) of that library's own `inference_model`, and its label map."""
    from mmengine import Config

    model = mmseg.init_model(Config(document(**options)), str(checkpoint), device="cpu")
    found = mmseg.inference_model(model, pixels)
    return found.seg_logits.data, found.pred_sem_seg.data[0].numpy()


def scores_at_scales(mmseg, checkpoint, pixels):
    """(K, H, W) mean probabilities of its TestTimeAug and SegTTAModel, their label map, and the largest logit."""
    from mmengine import Config
    from mmengine.dataset import Compose, pseudo_collate
    from mmseg.models import SegTTAModel

    class Watched(SegTTAModel):
        def merge_preds(self, data_samples_list):
            logits = [sample.seg_logits.data for sample in data_samples_list[0]]
            self.scores = sum(one.softmax(dim=0) for one in logits) / len(logits)
            self.largest = max(one.abs().max().item() for one in logits)
            return super().merge_preds(data_samples_list)

    scales = [{"type": "Resize", "scale_factor": scale, "keep_ratio": True} for scale in SCALES]
    flips = [{"type": "RandomFlip", "prob": prob, "direction": "horizontal"} for prob in (0.0, 1.0)]
    augmentation = {"type": "TestTimeAug", "transforms": [scales, flips, [{"type": "PackSegInputs"}]]}
    data = Compose([{"type": "LoadImageFromNDArray"}, augmentation])({"img": pixels})
    model = Watched(module=mmseg.init_model(Config(document()), str(checkpoint), device="cpu")).eval()
    with torch.no_grad():
        [found] = model.test_step(pseudo_collate([data]))
    return model.scores, found.pred_sem_seg.data.numpy(), model.largest


def assert_equal_beyond_ties(ours, theirs, values, bound):
    """Label maps are equal but where the two largest of `values` (K, H, W) are closer than `bound`, which is rare."""
    best = values.topk(2, dim=0).values
    is_tie = (best[0] - best[1] < bound).numpy()
    assert len(np.unique(theirs)) >= 5
    assert (theirs[:, 1:] != theirs[:, :-1]).mean() > 0.01
    assert is_tie.mean() < 0.005
    assert not ((ours != theirs) & ~is_tie).any()


def segment(folder, pixels, overrides=()):
    return pipeline("image-segmentation", folder, overrides=overrides)(pixels[..., ::-1]).label_map


@pytest.mark.parametrize("size", SIZES)
def test_a_converted_checkpoint_gives_mmsegmentations_label_map(mmseg, checkpoint, folder, size):
    """As converted: both resize the short side to 512, as mmsegmentation's configurations of ADE20K do."""
    pixels = image(size)
    logits, theirs = logits_of(mmseg, checkpoint, pixels, steps=[RESIZED])
    assert_equal_beyond_ties(segment(folder, pixels), theirs, logits, ROUNDING * logits.abs().max().item())


@pytest.mark.parametrize("size", SIZES)
def test_whole_images_that_are_not_resized_agree(mmseg, checkpoint, folder, size):
    pixels = image(size)
    logits, theirs = logits_of(mmseg, checkpoint, pixels)
    bound = ROUNDING * logits.abs().max().item()
    assert_equal_beyond_ties(segment(folder, pixels, NATIVE), theirs, logits, bound)
    padded = segment(folder, pixels, [*NATIVE, "model.size_multiple=32"])
    assert (padded == theirs).mean() < 0.95  # what 0.1.0 did is another label map


@pytest.mark.parametrize("size", SIZES)
def test_padding_is_that_of_mmsegmentation_where_it_is_asked_to_pad(mmseg, checkpoint, folder, size):
    pixels = image(size)
    logits, theirs = logits_of(mmseg, checkpoint, pixels, padding={"size_divisor": 32})
    ours = segment(folder, pixels, [*NATIVE, "model.size_multiple=32"])
    assert_equal_beyond_ties(ours, theirs, logits, ROUNDING * logits.abs().max().item())


@pytest.mark.parametrize("size", SIZES)
def test_sliding_windows_agree(mmseg, checkpoint, folder, size):
    pixels = image(size)
    logits, theirs = logits_of(mmseg, checkpoint, pixels, test_cfg=WINDOWS)
    bound = ROUNDING * logits.abs().max().item()
    assert_equal_beyond_ties(segment(folder, pixels, [*NATIVE, *SLIDE]), theirs, logits, bound)


@pytest.mark.parametrize("size", SIZES)
def test_several_scales_and_mirrored_views_agree(mmseg, checkpoint, folder, size):
    pixels = image(size)
    scores, theirs, largest = scores_at_scales(mmseg, checkpoint, pixels)
    overrides = [*NATIVE, f"inference.scales={list(SCALES)}", "inference.flip=true"]
    # A probability's logarithm changes by no more than twice what a logit changes by, and so does that of a mean.
    assert_equal_beyond_ties(segment(folder, pixels, overrides), theirs, scores.log(), ROUNDING * largest)


@pytest.mark.parametrize("size", [*SIZES, (10, 1000), (75, 101), (31, 33)])
def test_sizes_at_scales_are_those_of_mmcvs_resize(mmseg, size):
    from mmcv.transforms import Resize

    from segpipe.configuration import PreprocessorConfig
    from segpipe.inference import resized_size, scale_preprocessor

    for scale in np.arange(0.25, 3.0, 0.05).tolist():
        resized = Resize(scale_factor=scale, keep_ratio=True)({"img": np.zeros((*size, 3), np.uint8)})
        ours = resized_size(size, scale_preprocessor(PreprocessorConfig(), scale, size))
        assert ours == resized["img"].shape[:2], scale
