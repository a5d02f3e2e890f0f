"""Callbacks: when they are called, and what they may do; predictions in the middle of a run."""

import numpy as np
import pytest
from PIL import Image
from runs import build

from segpipe import load_dataset, pipeline
from segpipe.trainers import Callback
from segpipe.trainers.run.run_log import read_log

NAMES = ("left", "right", "top")


class Diary(Callback):
    """Notes each call."""

    def __init__(self):
        self.lines = []

    def on_step(self, trainer, report):
        self.lines.append(("step", trainer.progress.step, report.loss > 0))

    def on_evaluation(self, trainer, scores):
        self.lines.append(("evaluation", trainer.progress.step, scores.miou))

    def on_checkpoint(self, trainer, path):
        self.lines.append(("checkpoint", trainer.progress.step, path.name))
        assert (path / "manifest.json").is_file()

    def on_end(self, trainer, folder):
        self.lines.append(("end", trainer.progress.step, folder.verify()))


def test_callbacks_are_called_in_the_order_of_events(recipe, data_root, tmp_path):
    diary = Diary()
    build(recipe, data_root, tmp_path / "run", callbacks=[diary], max_steps=4).train()
    scores = [line["miou"] for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "evaluation"]
    assert diary.lines == [
        ("step", 1, True), ("step", 2, True), ("checkpoint", 2, "step-00000002"),
        ("step", 3, True), ("evaluation", 3, scores[0]),
        ("step", 4, True), ("evaluation", 4, scores[1]), ("checkpoint", 4, "step-00000004"), ("end", 4, ()),
    ]  # fmt: skip


def test_a_run_that_stops_to_be_resumed_has_no_end(recipe, data_root, tmp_path):
    diary = Diary()
    run = build(recipe, data_root, tmp_path / "run", callbacks=[diary])
    run._stop()
    with pytest.raises(SystemExit):
        run.train()
    assert diary.lines == [("step", 1, True), ("checkpoint", 1, "step-00000001")]


def test_several_callbacks_keep_their_order_and_an_error_ends_the_run(recipe, data_root, tmp_path):
    class Refusing(Callback):
        def on_step(self, trainer, report):
            raise RuntimeError("enough")

    diary = Diary()
    with pytest.raises(RuntimeError, match="enough"):
        build(recipe, data_root, tmp_path / "run", callbacks=[diary, Refusing()]).train()
    assert diary.lines == [("step", 1, True)]


def test_the_log_has_all_means_of_an_evaluation(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", max_steps=1)
    run.train()
    [line] = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "evaluation"]
    scores = run.evaluate()
    assert line["miou"] == pytest.approx(scores.miou)
    assert line["mean_accuracy"] == pytest.approx(scores.mean_accuracy)
    assert line["pixel_accuracy"] == pytest.approx(scores.pixel_accuracy)


@pytest.mark.parametrize(
    "options", [{}, {"train.ema_decay": 0.9}, {"inference.flip": True, "inference.scales": [0.5, 1.0]}]
)
def test_predict_equals_the_pipeline_on_the_finished_folder(recipe, data_root, tmp_path, options):
    run = build(recipe, data_root, tmp_path / "run", max_steps=20, cfg_options=options)
    folder = run.train()
    path = data_root / "images" / "val" / "1.png"
    expected = pipeline("image-segmentation", folder.path, device="cpu")(path).label_map
    assert len(np.unique(expected)) == 3
    for image in (path, str(path), np.asarray(Image.open(path))):
        found = run.predict(image)
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected)


def test_predict_and_evaluate_take_the_averaged_weights(recipe, data_root, tmp_path):
    """The average sees class 2 everywhere, the network itself does not; and it is left as it was."""
    run = build(recipe, data_root, tmp_path / "run", cfg_options={"train.ema_decay": 0.9})
    own = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.parts.engine.average._average["head.classifier.bias"][2] = 1e6
    labels = [load_dataset("folder", data_root, "val", names=NAMES)[index].label for index in range(2)]
    assert np.all(run.predict(data_root / "images" / "val" / "0.png") == 2)
    assert run.evaluate().pixel_accuracy == pytest.approx(np.mean(np.stack(labels) == 2))
    assert all(np.array_equal(tensor, run.model.state_dict()[name]) for name, tensor in own.items())


def test_a_callback_may_predict_without_changing_the_run(recipe, data_root, tmp_path):
    class Looking(Callback):
        def on_step(self, trainer, report):
            assert trainer.model.training
            shapes.append(trainer.predict(data_root / "images" / "val" / "0.png").shape)
            assert trainer.model.training

    shapes = []
    quiet = build(recipe, data_root, tmp_path / "quiet")
    quiet.train()
    looking = build(recipe, data_root, tmp_path / "looking", callbacks=[Looking()])
    looking.train()
    assert shapes == [(40, 48)] * 6
    pairs = zip(quiet.model.parameters(), looking.model.parameters(), strict=True)
    assert all(np.array_equal(a.detach(), b.detach()) for a, b in pairs)
