"""Other libraries' documents: EasyCV's configuration.json, Hugging Face's config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segpipe.checkpoints import read_foreign_settings
from segpipe.configuration import (
    Configuration,
    ExactResize,
    ShortSideResize,
    load_preset,
    override,
    write_configuration,
)
from segpipe.errors import ConfigurationError
from segpipe.models import MitConfig, NormEps

HF_B0 = Path(__file__).parents[3] / "shared" / "models" / "hf-segformer-b0-camvid"
NORMALIZE = {"type": "MMNormalize", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}


def jsonplus_tuple(*values: Any) -> dict[str, Any]:
    return {"__class__": "tuple", "__value__": list(values)}


def easycv_document() -> dict[str, Any]:
    """Shaped like the file of damo/cv_segformer-b0_image_semantic-segmentation_coco-stuff164k."""
    labels = load_preset("segformer-b0-cocostuff").labels
    backbone = {
        "type": "MixVisionTransformer",
        "in_channels": 3,
        "embed_dims": 32,
        "num_stages": 4,
        "num_layers": [2, 2, 2, 2],
        "num_heads": [1, 2, 5, 8],
        "patch_sizes": [7, 3, 3, 3],
        "sr_ratios": [8, 4, 2, 1],
        "out_indices": jsonplus_tuple(0, 1, 2, 3),
        "mlp_ratio": 4,
        "qkv_bias": True,
        "drop_path_rate": 0.1,
    }
    head = {
        "type": "SegformerHead",
        "in_channels": [32, 64, 160, 256],
        "channels": 256,
        "dropout_ratio": 0.1,
        "num_classes": 172,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "align_corners": False,
    }
    test_step = {
        "type": "MMMultiScaleFlipAug",
        "img_scale": jsonplus_tuple(2048, 512),
        "flip": False,
        "transforms": [{"type": "MMResize", "keep_ratio": True}, NORMALIZE],
    }
    return {
        "task": "image-segmentation",
        "framework": "pytorch",
        "plugins": ["pai-easycv"],
        "allow_remote": True,
        "preprocessor": {},
        "model": {
            "type": "Segformer",
            "backbone": backbone,
            "decode_head": head,
            "train_cfg": {},
            "test_cfg": {"mode": "whole"},
        },
        "dataset": {"val": {"type": "SegDataset", "ignore_index": 255, "pipeline": [test_step]}},
        "pipeline": {"type": "easycv-segmentation"},
        "CLASSES": list(labels.names),
        "PALETTE": [list(color) for color in labels.palette],
    }


def huggingface_document(**changes: Any) -> dict[str, Any]:
    document = {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "hidden_sizes": [32, 64, 160, 256],
        "depths": [2, 2, 2, 2],
        "decoder_hidden_size": 256,
        "layer_norm_eps": 1e-6,
        "id2label": {"0": "road", "1": "sky"},
    }
    return document | changes


def read(folder: Path, name: str, document: Any, preprocessor: Any = None) -> Configuration:
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    foreign = read_foreign_settings(folder)
    assert foreign is not None
    assert foreign.dialect == ("easycv" if name == "configuration.json" else "huggingface")
    return foreign.configuration


def refusal(folder: Path, name: str, document: Any, preprocessor: Any = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, name, document, preprocessor)
    return str(caught.value)


def test_modelscope_b0_folder_equals_its_preset_but_for_the_padding_that_the_models_page_names(tmp_path: Path) -> None:
    found = read(tmp_path, "configuration.json", easycv_document())
    preset = load_preset("segformer-b0-cocostuff")
    assert (found.model.size_multiple, preset.model.size_multiple) == (1, 32)
    assert override(found, ["model.size_multiple=32"]).model == preset.model
    for section in ("labels", "preprocessor", "inference", "pipeline"):
        assert getattr(found, section) == getattr(preset, section)


@pytest.mark.parametrize(
    ("layers", "variant"),
    [([2, 2, 2, 2], "b1"), ([3, 4, 6, 3], "b2"), ([3, 4, 18, 3], "b3"), ([3, 8, 27, 3], "b4"), ([3, 6, 40, 3], "b5")],
)
def test_modelscope_variant_follows_from_width_and_layers(tmp_path: Path, layers: list[int], variant: str) -> None:
    document = easycv_document()
    document["model"]["backbone"] |= {"embed_dims": 64, "num_layers": layers}
    document["model"]["decode_head"]["channels"] = 256 if variant == "b1" else 768
    found = read(tmp_path, "configuration.json", document)
    assert override(found, ["model.size_multiple=32"]).model == load_preset(f"segformer-{variant}-cocostuff").model


def test_modelscope_padding_is_what_the_folders_own_pipeline_pads_to(tmp_path: Path) -> None:
    document = easycv_document()
    steps = document["dataset"]["val"]["pipeline"]
    steps.append({"type": "MMMultiScaleFlipAug", "transforms": [{"type": "MMPad", "size_divisor": 16}]})
    assert read(tmp_path, "configuration.json", document).model.size_multiple == 16


def test_modelscope_b5_scale_is_taken_from_its_pipeline(tmp_path: Path) -> None:
    document = easycv_document()
    document["dataset"]["val"]["pipeline"][0]["img_scale"] = jsonplus_tuple(2048, 640)
    resize = read(tmp_path, "configuration.json", document).preprocessor.resize
    assert resize == ShortSideResize(size=640, max_long_side=2048, library="opencv")


def test_modelscope_folder_of_unusual_shape_has_its_numbers_written_out(tmp_path: Path) -> None:
    document = easycv_document()
    document["model"]["backbone"] |= {"embed_dims": 16, "num_layers": [1, 1, 2, 1]}
    document["model"]["decode_head"] |= {"channels": 64, "num_classes": 3}
    document |= {"CLASSES": ["a", "b", "c"], "PALETTE": None, "dataset": {}}
    found = read(tmp_path, "configuration.json", document)
    assert found.model.encoder.dims == (16, 32, 80, 128)
    assert found.model.encoder.depths == (1, 1, 2, 1)
    assert found.labels.palette is None
    assert found.preprocessor.resize == ShortSideResize(size=512, max_long_side=2048, library="opencv")


def test_modelscope_sliding_window_is_read(tmp_path: Path) -> None:
    document = easycv_document()
    sliding = {"mode": "slide", "crop_size": jsonplus_tuple(512, 512), "stride": [384, 384]}
    document["model"]["test_cfg"] = sliding
    inference = read(tmp_path, "configuration.json", document).inference
    assert (inference.mode, inference.window, inference.stride) == ("slide", (512, 512), (384, 384))


@pytest.mark.parametrize(
    ("place", "value", "parts"),
    [
        (["model", "decode_head", "type"], "UPerHead", ["model.decode_head.type", "'UPerHead'", "'SegformerHead'"]),
        (["model", "decode_head", "align_corners"], True, ["align_corners", "true is not supported"]),
        (["model", "decode_head", "num_classes"], -1, ["model.decode_head.num_classes", "-1"]),
        (["model", "decode_head", "num_classes"], 20, ["CLASSES", "171 names for 20 outputs"]),
        (["model", "backbone", "num_layers"], [2, 2, 2], ["model.backbone.num_layers", "four positive integers"]),
        (["model", "backbone", "embed_dims"], 10**6, ["model.encoder.dims[0]", "1000000"]),
        (["model", "backbone", "out_indices"], {"__class__": "os.system", "__value__": ["ls"]}, ["'os.system'"]),
        (["PALETTE", 3], [1, 2, 999], ["PALETTE[3]", "[1, 2, 999]"]),
        (["CLASSES"], [1, 2], ["CLASSES", "list of class names"]),
    ],
)
def test_modelscope_document_that_asks_for_something_else_is_refused(
    tmp_path: Path, place: list[Any], value: Any, parts: list[str]
) -> None:
    document = easycv_document()
    here: Any = document
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    message = refusal(tmp_path, "configuration.json", document)
    assert message.startswith(str(tmp_path / "configuration.json"))
    assert all(part in message for part in parts), message


def test_other_modelscope_model_is_refused_by_its_type(tmp_path: Path) -> None:
    document = {"framework": "pytorch", "task": "image-segmentation", "model": {"type": "CascadeMaskRCNN"}}
    message = refusal(tmp_path, "configuration.json", document)
    assert "model.type: 'CascadeMaskRCNN'" in message
    assert "mit, segformer" in message


def test_own_folder_and_empty_folder_are_not_foreign(tmp_path: Path) -> None:
    assert read_foreign_settings(tmp_path) is None
    write_configuration(load_preset("segformer-b0-camvid"), tmp_path / "configuration.json")
    assert read_foreign_settings(tmp_path) is None


def test_modelscope_mirror_of_a_hugging_face_model_is_read_from_config_json(tmp_path: Path) -> None:
    (tmp_path / "configuration.json").write_text('{"framework": "pytorch", "task": "image-segmentation"}')
    assert read(tmp_path, "config.json", huggingface_document()).labels.names == ("road", "sky")


def test_hugging_face_folder_without_preprocessor_has_that_librarys_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "config.json", huggingface_document())
    assert found.preprocessor.resize == ExactResize(size=(512, 512), library="pillow")
    assert found.model.pixel_mean == (123.675, 116.28, 103.53)
    assert found.model.pixel_std == (58.395, 57.12, 57.375)
    assert found.model.encoder.norm_eps == NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
    assert (found.model.head.type, found.inference.upsampling) == ("mlp", "one-step")
    assert found.pipeline.type == "image-segmentation"


@pytest.mark.parametrize(
    ("preprocessor", "resize"),
    [
        ({"do_resize": False, "resample": 3}, None),
        ({"size": 640}, ExactResize(size=(640, 640), library="pillow")),
        ({"size": {"height": 256, "width": 512}}, ExactResize(size=(256, 512), library="pillow")),
        ({"size": {"shortest_edge": 384}}, ShortSideResize(size=384, rounding="down", library="pillow")),
        ({"size": None, "do_pad": None}, ExactResize(size=(512, 512), library="pillow")),
    ],
)
def test_hugging_face_sizes_are_read_in_every_spelling(tmp_path: Path, preprocessor: Any, resize: Any) -> None:
    assert read(tmp_path, "config.json", huggingface_document(), preprocessor).preprocessor.resize == resize


@pytest.mark.parametrize(
    ("preprocessor", "mean", "std"),
    [
        ({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5]}, 127.5, (127.5, 63.75, 127.5)),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "rescale_factor": 0.0078125}, 0.0, (128.0, 128.0, 128.0)),
        ({"image_mean": [5, 5, 5], "image_std": [2, 2, 2], "do_rescale": False}, 5.0, (2.0, 2.0, 2.0)),
        ({"do_normalize": False}, 0.0, (255.0, 255.0, 255.0)),
    ],
)
def test_hugging_face_statistics_are_brought_to_0_255(tmp_path: Path, preprocessor: Any, mean: float, std: Any) -> None:
    model = read(tmp_path, "config.json", huggingface_document(), preprocessor).model
    assert model.pixel_mean == (mean, mean, mean)
    assert model.pixel_std == std


@pytest.mark.parametrize("key", ["do_reduce_labels", "reduce_labels"])
def test_reduced_labels_become_raw_ids_from_one(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, "config.json", huggingface_document(), {key: True}).labels.raw_ids == (1, 2)


def test_names_of_a_known_data_set_bring_its_palette(tmp_path: Path) -> None:
    ade = load_preset("segformer-b0-ade20k")
    table = {str(index): name if name != "bed" else "bed " for index, name in enumerate(ade.labels.names)}
    found = read(tmp_path, "config.json", huggingface_document(id2label=table), {"do_reduce_labels": True})
    assert found.labels == ade.labels
    assert found.model == ade.model


def test_missing_names_are_numbered(tmp_path: Path) -> None:
    document = huggingface_document(num_labels=3, id2label=None)
    assert read(tmp_path, "config.json", document).labels.names == ("class 0", "class 1", "class 2")


def test_names_that_come_twice_get_their_index(tmp_path: Path) -> None:
    document = huggingface_document(id2label={"1": "crane", "0": "crane", "2": ""})
    assert read(tmp_path, "config.json", document).labels.names == ("crane", "crane 1", "class 2")


def test_classifier_becomes_a_mit_model(tmp_path: Path) -> None:
    document = huggingface_document(architectures=["SegformerForImageClassification"])
    found = read(tmp_path, "config.json", document)
    assert isinstance(found.model, MitConfig)
    assert (found.task, found.model.num_classes) == ("image-classification", 2)
    assert found.pipeline.type == "image-classification"


def test_variant_and_unusual_shapes_are_told_apart(tmp_path: Path) -> None:
    wide = {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 6, 40, 3], "decoder_hidden_size": 768}
    assert read(tmp_path, "config.json", huggingface_document(**wide)).model.variant == "b5"
    tiny = {"hidden_sizes": [16, 32, 64, 96], "num_attention_heads": [1, 2, 4, 8], "mlp_ratios": [2, 2, 2, 2]}
    encoder = read(tmp_path, "config.json", huggingface_document(**tiny)).model.encoder
    assert (encoder.dims, encoder.heads, encoder.mlp_ratio) == ((16, 32, 64, 96), (1, 2, 4, 8), 2)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"model_type": "mask2former"}, ["model_type", "'mask2former'", "'segformer'"]),
        ({"model_type": None}, ["model_type", "null"]),
        ({"architectures": ["UperNetForSemanticSegmentation"]}, ["architectures", "SegformerForSemanticSegmentation"]),
        ({"hidden_act": "relu"}, ["hidden_act", "'relu'", "'gelu'"]),
        ({"num_channels": 4}, ["num_channels", "4"]),
        ({"patch_sizes": [7, 3, 3, 5]}, ["patch_sizes", "[7, 3, 3, 5]"]),
        ({"mlp_ratios": [8, 8, 4, 4]}, ["mlp_ratios", "one ratio for all stages"]),
        ({"hidden_sizes": [32, 64, 160, -1]}, ["hidden_sizes", "four positive integers"]),
        ({"hidden_sizes": [32, 64, 161, 256]}, ["num_attention_heads", "evenly"]),
        ({"hidden_sizes": [10**8, 64, 160, 256]}, ["model.encoder.dims[0]", "100000000"]),
        ({"drop_path_rate": 2}, ["drop_path_rate", "between 0 and 1"]),
        ({"id2label": {"0": "a", "2": "b"}}, ["id2label", "class 1 of 2 has no name", "largest index is 2"]),
        ({"id2label": {"0": "a", "01": "b"}}, ["id2label", "'01' is not a class index"]),
        ({"id2label": {"0": "a", "one": "b"}}, ["id2label", "'one' is not a class index"]),
        ({"id2label": {"0": "a", "1": 7}}, ["id2label.1", "7 is not a text"]),
        ({"id2label": ["a", "b"]}, ["id2label", "an object of class index"]),
        ({"num_labels": 3}, ["id2label", "2 names, and num_labels is 3"]),
        ({"num_labels": 10**9, "id2label": None}, ["num_labels", "at most 65534"]),
    ],
)
def test_hugging_face_model_that_is_not_supported_is_refused(
    tmp_path: Path, changes: dict[str, Any], parts: list[str]
) -> None:
    message = refusal(tmp_path, "config.json", huggingface_document(**changes))
    assert message.startswith(str(tmp_path / "config.json"))
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("preprocessor", "parts"),
    [
        ({"resample": 3}, ["resample", "3 is not supported", "2"]),
        ({"do_center_crop": True}, ["do_center_crop", "true is not supported"]),
        ({"size": {"longest_edge": 5}}, ["size", "shortest_edge"]),
        ({"size": {"height": -1, "width": 5}}, ["size.height", "-1"]),
        ({"image_std": [0, 1, 1]}, ["image_std", "above 0"]),
        ({"image_mean": [0.5]}, ["image_mean", "three numbers"]),
        ({"rescale_factor": 0}, ["rescale_factor", "above 0"]),
        ({"do_resize": "yes"}, ["do_resize", "neither true nor false"]),
    ],
)
def test_hugging_face_preprocessor_that_is_not_supported_is_refused(
    tmp_path: Path, preprocessor: Any, parts: list[str]
) -> None:
    message = refusal(tmp_path, "config.json", huggingface_document(), preprocessor)
    assert message.startswith(str(tmp_path / "preprocessor_config.json"))
    assert all(part in message for part in parts), message


def test_index_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "segformer", "id2label": {"0": "a", "0": "b"}}')
    with pytest.raises(ConfigurationError, match=r"id2label\.0: this key is given twice"):
        read_foreign_settings(tmp_path)


@pytest.mark.shared
def test_real_hugging_face_folder_equals_the_camvid_preset() -> None:
    if not HF_B0.is_dir():
        pytest.skip("needs ../shared")
    foreign = read_foreign_settings(HF_B0)
    preset = load_preset("segformer-b0-camvid")
    assert foreign is not None
    assert foreign.dialect == "huggingface"
    # The preset also brings pictures of other sizes to the size that it was trained on, pads, and drops no paths.
    changes = ["model.encoder.drop_path_rate=0", "model.size_multiple=32"]
    assert foreign.configuration.model.size_multiple == 1
    assert override(foreign.configuration, changes).model == preset.model
    for section in ("labels", "inference"):
        assert getattr(foreign.configuration, section) == getattr(preset, section)
