"""Files for benchmarks, written by `segpipe eval` and judged by the benchmarks' own rules."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe import pipeline
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.cli.main import main
from segpipe.configuration import decode_configuration
from segpipe.data import dataset_labels
from segpipe.hub import seal_folder
from segpipe.models import build_model

SIZE = (64, 128)
NEVER_PREDICTED = "train"


@pytest.fixture(autouse=True)
def own_place(monkeypatch, tmp_path):
    """Files are written here."""
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def write_network(folder, names):
    """A model folder with random weights, each class as likely as the others, but for `NEVER_PREDICTED`."""
    encoder = {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "heads": [1, 2, 3, 4]}
    model = {"type": "segformer", "num_classes": len(names), "head": {"type": "mlp", "channels": 16}}
    document = {"model": {**model, "encoder": encoder}, "labels": {"names": list(names)}}
    configuration = decode_configuration(json.dumps(document), origin="test")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model(configuration.model)
        with torch.no_grad():
            logits = network.eval()(torch.randint(256, (4, 3, *SIZE)).float())
    deviation, mean = torch.std_mean(logits, dim=(0, 2, 3))
    network.head.classifier.weight.data /= deviation[:, None, None, None]
    network.head.classifier.bias.data = (network.head.classifier.bias.data - mean) / deviation
    if NEVER_PREDICTED in names:
        network.head.classifier.bias.data[names.index(NEVER_PREDICTED)] = -1e6
    folder.mkdir()
    write_tensors(network.state_dict(), folder / "model.safetensors")
    return seal_folder(folder, configuration).path


def write_pair(image_path, label_path, values, seed):
    """A picture of coloured blocks and a label of blocks with these values."""
    rng, block = np.random.default_rng(seed), np.ones((8, 8), np.uint8)
    image = np.kron(rng.integers(0, 256, (8, 16, 3), dtype=np.uint8), block[..., None])
    label = np.kron(rng.choice(np.array(values, np.uint8), (8, 16)), block)
    for path, pixels in ((image_path, image), (label_path, label)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def write_cityscapes(root):
    """Three pictures with all label ids but those of train, which nothing predicts, and bus, which the network does."""
    values = [value for value in range(34) if value not in (28, 31)]
    for number, city in enumerate(("bonn", "bonn", "ulm")):
        stem = f"{city}_{number:06}_000019"
        image = root / "leftImg8bit" / "val" / city / f"{stem}_leftImg8bit.png"
        write_pair(image, root / "gtFine" / "val" / city / f"{stem}_gtFine_labelIds.png", values, number)


def evaluate_by_command(model, name, root, capsys):
    """The scores that `segpipe eval --submission` says."""
    arguments = ["eval", str(model), "--data", name, str(root), "--device", "cpu", "--json"]
    assert main([*arguments, "--output", "results", "--submission", name]) == 0
    return json.loads(capsys.readouterr().out)["scores"]


def cityscapes_own_scores(root, predictions):
    """What the benchmark's script makes of the files; it finds them by their names."""
    script = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    script.args.predictionPath, script.args.predictionWalk = str(predictions), None
    script.args.evalInstLevelScore = script.args.JSONOutput = False
    script.args.quiet = True
    labels = [str(path) for path in sorted(root.glob("gtFine/val/*/*_gtFine_labelIds.png"))]
    return script.evaluateImgLists([script.getPrediction(script.args, path) for path in labels], labels, script.args)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("others", [(), ("dog", "cat")])
def test_cityscapes_own_script_gives_the_same_scores(tmp_path, capsys, others):
    """With the benchmark's classes, and with these among others in another order.

    Both leave pixels of ignored ids out, and a class out of the mean that neither labels nor predictions have; the
    script has no license plate, -1, since no PNG can.
    """
    names = dataset_labels("cityscapes").names
    write_cityscapes(tmp_path / "cityscapes")
    model = write_network(tmp_path / "model", (*others, *reversed(names)) if others else names)
    ours = evaluate_by_command(model, "cityscapes", tmp_path / "cityscapes", capsys)
    theirs = cityscapes_own_scores(tmp_path / "cityscapes", tmp_path / "results" / "submission-cityscapes")
    known = {name: iou for name, iou in ours["iou"].items() if iou is not None}
    assert known == pytest.approx({name: theirs["classScores"][name] for name in known}, abs=1e-9)
    assert ours["miou"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
    assert set(names) - set(known) == {NEVER_PREDICTED}
    assert all(np.isnan(theirs["classScores"][name]) for name in set(theirs["classScores"]) - set(known))
    assert ours["iou"]["bus"] == 0.0
    assert sum(iou > 0 for iou in known.values()) >= 10


def ade20k_own_iou(labels, predictions):
    """Per class 1 … 150 as the scene parsing challenge counts: unlabelled pixels, 0, are no prediction either."""
    areas = np.zeros((3, 150))
    for path in labels:
        label = np.asarray(Image.open(path)).astype(int)
        prediction = np.asarray(Image.open(predictions / path.name)).astype(int) * (label > 0)
        common = prediction * (prediction == label)
        areas += [np.histogram(values, bins=150, range=(1, 150))[0] for values in (common, prediction, label)]
    with np.errstate(invalid="ignore"):
        return areas[0] / (areas[1] + areas[2] - areas[0])


def test_ade20ks_files_hold_the_class_plus_one_under_the_pictures_names(tmp_path, capsys):
    root, names = tmp_path / "ade", dataset_labels("ade20k").names
    for number in range(2):
        stem = f"ADE_val_{number + 1:08}"
        image = root / "images" / "validation" / f"{stem}.jpg"
        write_pair(image, root / "annotations" / "validation" / f"{stem}.png", range(0, 151, 2), number)
    model = write_network(tmp_path / "model", names)
    scores = evaluate_by_command(model, "ade20k", root, capsys)
    written = sorted((tmp_path / "results" / "submission-ade20k").iterdir())
    assert [path.name for path in written] == ["ADE_val_00000001.png", "ADE_val_00000002.png"]
    results = pipeline("image-segmentation", model, device="cpu")(sorted((root / "images" / "validation").iterdir()))
    for path, result in zip(written, results, strict=True):
        picture = Image.open(path)
        assert (picture.mode, picture.size) == ("L", (128, 64))
        assert np.array_equal(np.asarray(picture), result.label_map + 1)
    expected = ade20k_own_iou(sorted((root / "annotations" / "validation").iterdir()), written[0].parent)
    assert [np.nan if iou is None else iou for iou in scores["iou"].values()] == pytest.approx(expected, nan_ok=True)
