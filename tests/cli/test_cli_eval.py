"""`segpipe eval`: scores as a table and as JSON, overlays, and the files of benchmarks."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from training_material import data_root, recipe  # noqa: F401

from segpipe import distributed, evaluate, load_dataset, pipeline
from segpipe.cli.main import main
from segpipe.configuration import LabelSet
from segpipe.data import dataset_labels
from segpipe.devices import join_processes
from segpipe.errors import InputError, UnknownNameError
from segpipe.evaluation.submissions import submission_values, write_submission

MODEL = "segformer-b0-camvid"


@pytest.fixture
def camvid(tmp_path):
    """Two drawn streets as CamVid's folder has them."""
    from segpipe.scenes.street import draw_street_scene

    for seed in range(2):
        scene = draw_street_scene(seed, (64, 80))
        for kind, pixels in (("val", scene.image), ("valannot", scene.label)):
            (tmp_path / "camvid" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "camvid" / kind / f"street-{seed}.png")
    return tmp_path / "camvid"


def arguments(camvid, *more):
    return ["eval", MODEL, "--data", "camvid", str(camvid), "--device", "cpu", *more]


def test_the_table_has_a_line_for_each_class(camvid, capsys):
    assert main(arguments(camvid)) == 0
    said = capsys.readouterr().out
    scores = evaluate(MODEL, load_dataset("camvid", camvid, "val"), device="cpu")
    assert f"{MODEL} on camvid val: 2 images in " in said
    for line in scores.table().splitlines():
        assert line in said


def test_json_has_the_scores_alone_on_stdout(camvid, capsys):
    assert main(arguments(camvid, "--json", "--boundary")) == 0
    document = json.loads(capsys.readouterr().out)
    expected = evaluate(MODEL, load_dataset("camvid", camvid, "val"), device="cpu", boundary_ratio=0.02)
    assert document["scores"] == json.loads(json.dumps(expected.to_dict()))
    assert (document["dataset"], document["split"], document["pictures"]) == ("camvid", "val", 2)


def test_scales_flips_and_windows_are_what_the_pipeline_does_with_them(camvid, capsys):
    options = ["--scales", "0.5", "1", "--flip", "--window", "256", "256", "--stride", "192", "192"]
    assert main(arguments(camvid, *options, "--json")) == 0
    found = json.loads(capsys.readouterr().out)["scores"]
    inference = {"mode": "slide", "window": [256, 256], "stride": [192, 192], "scales": [0.5, 1], "flip": True}
    segment = pipeline("image-segmentation", MODEL, overrides={"inference": inference})
    data = load_dataset("camvid", camvid, "val")
    right = sum(int((segment(one.image).label_map == one.label).sum()) for one in data)
    assert found["pixel_accuracy"] == right / sum(int((one.label != 255).sum()) for one in data)


def test_overlays_and_scores_are_written_beside_one_another(camvid, capsys, tmp_path):
    assert main(arguments(camvid, "--output", "results", "--overlays")) == 0
    assert "Written: scores.json, overlays/ in results" in capsys.readouterr().out
    written = sorted(path.name for path in (tmp_path / "results" / "overlays").iterdir())
    assert written == ["street-0-overlay.png", "street-1-overlay.png"]
    assert Image.open(tmp_path / "results" / "overlays" / written[0]).size == (80, 64)
    assert json.loads((tmp_path / "results" / "scores.json").read_text())["model"] == MODEL


def test_overlays_look_as_those_of_the_pipeline(camvid, tmp_path):
    options = ["--legend", "--names", "--opacity", "0.6", "--brighten"]
    assert main(arguments(camvid, "--output", "results", "--overlays", *options)) == 0
    result = pipeline("image-segmentation", MODEL)(camvid / "val" / "street-0.png")
    expected = result.overlay(0.6, legend=True, names=True, brighten=True)
    assert np.array_equal(np.asarray(Image.open("results/overlays/street-0-overlay.png")), expected)


def test_overlays_show_the_picture_as_the_data_set_reads_it(camvid, tmp_path):
    path = camvid / "val" / "street-0.png"
    bright = np.asarray(Image.open(path).convert("L"), np.uint16)
    options = ["--overlays", "--split", "val"]
    Image.fromarray(bright.astype(np.uint8)).save(path)
    assert main(arguments(camvid, *options, "--output", str(tmp_path / "plain"))) == 0
    Image.fromarray(bright << 4).save(path)
    assert main(arguments(camvid, *options, "--output", str(tmp_path / "deep"), "--option", "bit_depth=12")) == 0
    plain, deep = (tmp_path / name / "overlays/street-0-overlay.png" for name in ("plain", "deep"))
    assert plain.read_bytes() == deep.read_bytes()


def test_a_submission_has_the_label_ids_of_what_the_pipeline_sees(recipe, data_root, tmp_path):  # noqa: F811
    for path in data_root.glob("labels/*/*.png"):
        Image.fromarray(np.array([7, 8, 11], np.uint8)[np.asarray(Image.open(path))]).save(path)
    data = ["--data", "folder", str(data_root), "--option", "label_set=cityscapes", "--device", "cpu"]
    assert main(["train", "--config", str(recipe), "--max-steps", "20", *data]) == 0
    assert main(["eval", "work_dir/model", *data, "--output", "results", "--submission", "cityscapes"]) == 0
    result = pipeline("image-segmentation", "work_dir/model")(data_root / "images" / "val" / "1.png")
    written = np.asarray(Image.open(tmp_path / "results" / "submission-cityscapes" / "1.png"))
    assert np.array_equal(written, np.array(dataset_labels("cityscapes").raw_ids)[result.label_map])


def test_a_submission_of_other_classes_is_refused_before_any_work(camvid, capsys):
    assert main(arguments(camvid, "--output", "results", "--submission", "cityscapes")) == 1
    assert "The network has 11 outputs and the data set 19 classes" in capsys.readouterr().err


def test_two_pictures_of_one_name_cannot_be_submitted(recipe, data_root, capsys):  # noqa: F811
    data = ["--data", "folder", str(data_root), "--device", "cpu"]
    assert main(["train", "--config", str(recipe), "--max-steps", "1", *data]) == 0
    for kind in ("images", "labels"):
        (data_root / kind / "val" / "again").mkdir()
        shutil.copy(data_root / kind / "val" / "0.png", data_root / kind / "val" / "again")
    assert main(["eval", "work_dir/model", *data, "--output", "results", "--submission", "ade20k"]) == 1
    assert "1 names are those of several images, '0' for one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overlays"], "Give --output DIR"),
        (["--window", "32", "32"], "Give both"),
        (["--legend", "--output", "results"], "--legend is about overlays"),
    ],
)
def test_options_that_need_others_say_so(camvid, capsys, options, message):
    assert main(arguments(camvid, *options)) == 2
    assert message in capsys.readouterr().err


def test_cityscapes_takes_label_ids_named_after_the_picture(tmp_path):
    values = submission_values("cityscapes", dataset_labels("cityscapes"), 19)
    label_map = np.array([[0, 1], [13, 18]], np.uint8)  # road, sidewalk, car, bicycle
    path = write_submission(tmp_path / "new", "berlin/berlin_000000_000019_leftImg8bit.png", label_map, values)
    assert path == tmp_path / "new" / "berlin_000000_000019_leftImg8bit.png"
    picture = Image.open(path)
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[7, 8], [26, 33]]


def test_ade20k_takes_the_class_plus_one(tmp_path):
    values = submission_values("ade20k", None, 150)
    path = write_submission(tmp_path, "ADE_val_00000001.jpg", np.array([[0, 149]], np.uint8), values)
    assert path.name == "ADE_val_00000001.png"
    assert np.asarray(Image.open(path)).tolist() == [[1, 150]]


def test_classes_are_matched_by_name_and_those_the_benchmark_lacks_are_none(tmp_path):
    theirs = dataset_labels("cityscapes").names
    values = submission_values("cityscapes", LabelSet(names=("dog", *reversed(theirs))), 21)
    assert values.tolist() == [0, *reversed(dataset_labels("cityscapes").raw_ids), 0]


def test_what_cannot_be_a_submission_says_so(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'cityscapes'"):
        submission_values("cityscape", None, 19)
    with pytest.raises(InputError, match="has the class 19; there are values for classes 0 to 18"):
        write_submission(tmp_path, "x.png", np.array([[19]], np.uint8), submission_values("cityscapes", None, 19))


def test_under_a_launcher_the_only_gpu_that_a_process_sees_is_its_own(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed, "join", lambda device_type: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert join_processes(None) == torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert join_processes(None) == torch.device("cuda:1")


def test_the_argument_of_torchs_old_launcher_is_taken(camvid, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert main(arguments(camvid, "--local-rank=0")) == 0
