"""Documents that say what a model, a data set or a user wants: JSON, YAML, names."""

from __future__ import annotations

from pathlib import Path

import torch
from doors import Door, door, file_reader
from hostile import TEXTS, damaged_bytes, damaged_json
from hypothesis import strategies as st
from PIL import Image

from segpipe import load_dataset
from segpipe.checkpoints import read_foreign_settings
from segpipe.configuration import decode_configuration, load_preset, override, to_document
from segpipe.data.rle import compress_counts, decode_mask
from segpipe.hub.manifest import check_folder, parse_manifest
from segpipe.hub.references import parse_reference
from segpipe.models.building import build_model


@door
def configurations(folder: Path) -> Door:
    def read(text: bytes) -> None:
        configuration = decode_configuration(text, origin="fuzz")
        with torch.device("meta"):
            build_model(configuration.model)

    presets = ("segformer-b0-camvid", "segmenter-tiny-ade20k", "unept-res50-ade20k", "mit-b0-imagenet")
    return Door(damaged_json([to_document(load_preset(name)) for name in presets]), read)


@door
def overrides(folder: Path) -> Door:
    """What `--set` takes, and what it leads to."""
    preset = load_preset("segformer-b0-camvid")
    keys = (
        "model.variant",
        "model.encoder.dims",
        "train.optimizer.lr",
        "inference.scales",
        "labels.names[0]",
        "x.y",
        "",
    )
    texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=30), damaged_json([[1, 2], {"a": 1}, 5, "x"]).map(repr))
    lines = st.builds(lambda key, text: f"{key}={text}", st.sampled_from(keys) | st.text(max_size=20), texts)
    return Door(lines, lambda line: override(preset, [line]))


@door
def huggingface_configurations(folder: Path) -> Door:
    config = {
        "architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer", "num_channels": 3,
        "num_encoder_blocks": 4, "depths": [2, 2, 2, 2], "sr_ratios": [8, 4, 2, 1], "hidden_sizes": [32, 64, 160, 256],
        "patch_sizes": [7, 3, 3, 3], "strides": [4, 2, 2, 2], "num_attention_heads": [1, 2, 5, 8],
        "mlp_ratios": [4, 4, 4, 4], "hidden_act": "gelu", "decoder_hidden_size": 256, "drop_path_rate": 0.1,
        "classifier_dropout_prob": 0.1, "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1},
    }  # fmt: skip
    preprocessor = {
        "image_processor_type": "SegformerImageProcessor", "do_resize": True, "size": {"height": 64, "width": 64},
        "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_reduce_labels": False,
    }  # fmt: skip

    def read(texts: tuple[bytes, bytes]) -> None:
        (folder / "config.json").write_bytes(texts[0])
        (folder / "preprocessor_config.json").write_bytes(texts[1])
        read_foreign_settings(folder)

    return Door(st.tuples(damaged_json([config]), damaged_json([preprocessor])), read)


@door
def easycv_recipes(folder: Path) -> Door:
    """What a folder of ModelScope's, or a script for it, says of a run."""
    from segpipe.compat.modelscope import Config
    from segpipe.compat.modelscope.keys import own_changes

    preset = load_preset("segformer-b0-cocostuff")
    groups = {"norm": {"decay_mult": 0.0}, "head": {"lr_mult": 10.0}}
    document = {
        "train": {
            "max_epochs": 30, "dataloader": {"batch_size_per_gpu": 2, "workers_per_gpu": 2},
            "optimizer": {"type": "AdamW", "lr": 6e-05, "paramwise_options": {"custom_keys": groups}, "options": {}},
            "lr_scheduler": {"policy": "poly", "warmup": "linear", "warmup_iters": 1500, "by_epoch": False},
            "hooks": [{"type": "EvaluationHook", "interval": 1}, {"type": "TextLoggerHook", "interval": 50}],
        },
        "model": {"decode_head": {"norm_cfg": {"type": "BN"}}, "test_cfg": {"mode": "whole"}},
        "evaluation": {"dataloader": {"batch_size_per_gpu": 1}, "metrics": {"type": "EasyCVMetric"}},
    }  # fmt: skip

    def read(path: Path) -> None:
        config = Config.from_file(path)
        config.merge_from_dict({"train.hooks": [{"type": "TextLoggerHook", "interval": 5}]})
        override(preset, own_changes(config.to_dict()))

    return Door(damaged_json([document]), file_reader(folder / "configuration.json", read))


@door
def yaml_documents(folder: Path) -> Door:
    """Segmenter's variant.yml."""
    from segpipe.checkpoints.segmenter_official import read_segmenter_variant

    text = (
        b"algorithm: {optimizer: sgd, lr: 0.01}\nversion: normal\n"
        b"dataset_kwargs: {dataset: ade20k, image_size: 512, crop_size: 512, batch_size: 8}\n"
        b"net_kwargs:\n  backbone: vit_tiny_patch16_384\n  d_model: 192\n  decoder:\n    drop_path_rate: 0.0\n"
        b"    dropout: 0.1\n    n_cls: 150\n    n_layers: 2\n    name: mask_transformer\n  distilled: false\n"
        b"  drop_path_rate: 0.1\n  dropout: 0.0\n  image_size:\n  - 512\n  - 512\n  n_cls: 150\n  n_heads: 3\n"
        b"  n_layers: 12\n  normalization: vit\n  patch_size: 16\n"
        b"inference_kwargs:\n  im_size: 512\n  window_size: 512\n  window_stride: 512\n"
    )
    extras = [
        b"a: &x [1]\nb: *x\n",
        b"? [a]\n: 1\n",
        b"[" * 500,
        b"a: !!python/object:os.system x\n",
        b" " * 20000 + b"a: 1",
    ]
    return Door(damaged_bytes([text, text, text, *extras]), file_reader(folder / "variant.yml", read_segmenter_variant))


@door
def manifests(folder: Path) -> Door:
    entry = {"path": "model.safetensors", "size": 5, "sha256": "0" * 64}
    document = {"format_version": 1, "source": "hf:a/b", "files": [entry, {**entry, "path": "a/b/c.json"}]}

    def read(text: bytes) -> None:
        (folder / "manifest.json").write_bytes(text)
        check_folder(folder)
        parse_manifest(text, "fuzz")

    return Door(damaged_json([document, {**document, "files": [{**entry, "path": "/".join("a" * 400)}]}]), read)


@door
def names(folder: Path) -> Door:
    """What a user or a configuration may give as a model's name."""
    pieces = st.sampled_from(
        ("hf:", "modelscope:", "https://", "file://", "host", "/", "@", "a/b", "..", ":", "%2e", "é", "#")
    )
    texts = st.lists(pieces | st.text(max_size=8), max_size=8).map("".join)
    return Door(texts, parse_reference)


@door
def annotations(folder: Path) -> Door:
    """COCO's JSON, to the last label."""
    (folder / "images/train").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (60, 40)).save(folder / "images/train" / name)
    box = [[5, 5, 25, 5, 25, 25, 5, 25]]
    runs = compress_counts([100, 50, 2250])
    document = {
        "images": [
            {"id": number, "file_name": name, "height": 40, "width": 60}
            for number, name in enumerate(("a.png", "b.png"), start=1)
        ],
        "categories": [{"id": 1, "name": "cat", "color": [1, 2, 3]}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": box, "bbox": [5, 5, 20, 20], "iscrowd": 0, "id": 1},
            {"image_id": 1, "category_id": 2, "segmentation": {"counts": [100, 50, 2250], "size": [40, 60]}, "id": 2},
            {"image_id": 2, "category_id": 2, "segmentation": {"counts": runs, "size": [40, 60]}, "id": 3},
            {"image_id": 2, "category_id": 1, "segmentation": [], "bbox": [30, 5, 20, 20], "id": 4},
        ],
    }  # fmt: skip

    def read(text: bytes) -> None:
        (folder / "annotations/train.json").write_bytes(text)
        dataset = load_dataset("coco-annotations", folder, background="other")
        for index in range(min(2, len(dataset))):
            dataset[index]

    return Door(damaged_json([document]), read)


@door
def exported_annotations(folder: Path) -> Door:
    """COCO's JSON as tools export it, and the names of files in it."""
    for name in ("train/a.png", "train/sub/b.png", "valid/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(folder / name)
    document = {
        "images": [
            {"id": "x#1", "file_name": "C:\\data\\a.png", "height": 40.0, "width": "60"},
            {"id": 2.0, "file_name": "/data/local-files/?d=images/sub%2Fb.png", "height": None, "width": 0},
        ],
        "categories": [
            {"id": 0, "name": "pets", "supercategory": "none", "color": "#a60f2f"},
            {"id": "1", "name": "cat", "supercategory": "pets", "color": [1.5, 2, 3]},
            {"id": 70000, "name": 7, "supercategory": 5, "color": "rgb(1, 2, 3)"},
        ],
        "annotations": [
            {"image_id": "x#1", "category_id": 1.0, "segmentation": [5, 5, 25, 5, 25, 25]},
            {"image_id": 2, "category_id": "70000", "segmentation": [[[5, 5], [25, 5], [25, 25]], [30, 20]]},
            {"image_id": "2", "category_id": 1, "segmentation": {}, "bbox": ["5", 5.0, 20, 20], "area": float("nan")},
            {"image_id": "2", "category_id": 1, "segmentation": {"counts": [100.0, 50, 2250], "size": ["40", 60.0]}},
        ],
    }

    def read(text: bytes) -> None:
        (folder / "train/_annotations.coco.json").write_bytes(text)
        dataset = load_dataset("coco-annotations", folder, background="other")
        for index in range(min(2, len(dataset))):
            dataset[index]

    return Door(damaged_json([document]), read)


@door
def panoptic_annotations(folder: Path) -> Door:
    (folder / "annotations/panoptic_val2017").mkdir(parents=True)
    (folder / "val2017").mkdir()
    Image.new("RGB", (6, 4)).save(folder / "val2017/a.png")
    Image.new("RGB", (6, 4), (44, 1, 0)).save(folder / "annotations/panoptic_val2017/a.png")
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 300, "category_id": 5}]}],
        "categories": [{"id": 5, "name": "cat", "color": [1, 2, 3]}],
    }

    def read(text: bytes) -> None:
        (folder / "annotations/panoptic_val2017.json").write_bytes(text)
        load_dataset("coco-panoptic", folder, "val")[0]

    return Door(damaged_json([document]), read)


@door
def class_tables(folder: Path) -> Door:
    from segpipe.data.label_sets import read_class_table

    texts = [b"Pixel Value, Class\n0, a\n1, b\n", b"name;r;g;b\na;1;2;3\nb;4;5;6\n", "id\tname\n1\tä".encode("utf-16")]
    return Door(damaged_bytes(texts), file_reader(folder / "_classes.csv", read_class_table))


@door
def label_maps_of_cvat(folder: Path) -> Door:
    from segpipe.data.label_sets import read_class_table

    texts = [b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,0::\n"]
    return Door(damaged_bytes(texts), file_reader(folder / "labelmap.txt", read_class_table))


@door
def run_lengths(folder: Path) -> Door:
    """pycocotools' compressed strings."""
    seeds = [compress_counts([100, 50, 2250]).encode(), compress_counts([0, 2400]).encode()]
    return Door(damaged_bytes(seeds), lambda data: decode_mask(data.decode("latin-1"), (40, 60)))


@door
def label_sets(folder: Path) -> Door:
    from segpipe.data.label_sets import read_label_set

    document = {"names": ["a", "b"], "palette": [[0, 0, 0], [1, 2, 3]], "raw_ids": [0, 7], "ignore_index": 255}
    return Door(damaged_json([document]), file_reader(folder / "labels.json", read_label_set))


@door
def lists_of_labels(folder: Path) -> Door:
    """What `convert --labels` reads."""
    from segpipe.configuration.values import read_labels

    documents = damaged_json([["a", "b"], {"names": ["a", "b"], "palette": [[0, 0, 0], [1, 2, 3]]}])
    return Door(documents, file_reader(folder / "labels.json", lambda path: read_labels(str(path))))


@door
def lists_of_images(folder: Path) -> Door:
    """Lists of one and two columns, opened with and without faults collected."""
    from segpipe.data import check_splits

    for name in ("images/a b.png", "images/c.png", "labels/a b.png", "labels/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 4)).save(folder / name)
    texts = [
        b"a b\nc.png  # good\n",
        b"image,mask\nimages/a b.png,labels/a b.png\n",
        b"images/c.png labels/c.png\n.\\images\\a b.png\t/x/labels/a b.png\n",
    ]

    def read(path: Path) -> None:
        check_splits("folder", folder, ["train"], names=["a", "b"], progress=lambda done, total: None)
        load_dataset("folder", folder, names=["a", "b"])

    return Door(damaged_bytes(texts), file_reader(folder / "train.txt", read))


@door
def names_of_files(folder: Path) -> Door:
    """What names of images and labels have in common."""
    from segpipe.data.datasets.pairing import find_marks, other_suffixes, tell_apart

    words = st.sampled_from(["a", "b_", "mask", "_mask", "image_", "-", ".", "1", "/", "Mask", "gt", "é", ""])
    keys = st.lists(st.lists(words | st.text(max_size=4), max_size=6).map("".join), max_size=6)

    def read(value: tuple[list[str], list[str]]) -> None:
        images, labels = value
        marks = find_marks(images, labels)
        assert all(mark.take_off(mark.put_on("x/y")) == "x/y" for mark in marks)
        other_suffixes(images, labels)
        tell_apart({key: [key] for key in images}, {key: [key] for key in labels})

    return Door(st.tuples(keys, keys), read)


@door
def notes(folder: Path) -> Door:
    """What the cache notes of a revision: anything else is no note, and no error."""
    from segpipe.hub.snapshots import Shelf

    shelf = Shelf(folder)
    shelf.point("main", folder / ("0" * 20))
    note = next((folder / "refs").iterdir())

    def read(path: Path) -> None:
        shelf.find("main")
        shelf.revisions()

    return Door(
        damaged_json([{"revision": "main", "weights_file": None, "snapshot": "0" * 20}]), file_reader(note, read)
    )


@door
def indexes_of_results(folder: Path) -> Door:
    """A results.csv that a command goes on with."""
    from segpipe.pipelines.outputs.results_index import COLUMNS, ResultsIndex

    head = ",".join(COLUMNS).encode()
    row = b'a.png,a-overlay.png,,4,6,"{""road"": 0.25}",\n'

    def read(path: Path) -> None:
        with ResultsIndex(path.parent, ["b.png"]) as index:
            index.add("b.png", size=(4, 6), shares={"road": 1.0})
        assert path.read_bytes().startswith(head + b"\n")
        with ResultsIndex(path.parent, []):
            pass

    seeds = [head + b"\n" + row * 2, head + b"\nb.png,,,,,,why\n" + row, head + b"\n" + row[:20]]
    return Door(damaged_bytes(seeds), file_reader(folder / "results.csv", read))


@door
def names_of_outputs(folder: Path) -> Door:
    """What files are called that are written for sources of any name."""
    from segpipe.pipelines.outputs.output_naming import output_names

    words = st.sampled_from(["a", "A", "/", ".", "..", ".png", "https://h/", "\\", "é", "e\u0301", "天" * 90, " "])
    sources = st.lists(st.lists(words | st.text(max_size=4), max_size=5).map("".join), max_size=8)

    def read(sources: list[str]) -> None:
        names = output_names(sources, ["-overlay.png"])
        assert len({name.casefold() for name in names}) == len(sources)
        for name in names:
            (folder / f"{name}-overlay.png").write_bytes(b"")
        assert len(list(folder.iterdir())) == len(sources)
        for path in folder.iterdir():
            path.unlink()

    return Door(sources, read)
