"""TensorBoard's curves, read back from the event files: the log's numbers, once each, also after a resumption."""

import sys

import pytest
from runs import build

from segpipe.cli.main import main
from segpipe.errors import MissingExtraError
from segpipe.trainers import Callback, TensorBoard
from segpipe.trainers.run.run_log import read_log

pytestmark = pytest.mark.peer


@pytest.fixture
def many_files(monkeypatch):
    """Files of one second are told apart by a number and read in alphabetical order: it begins with four digits."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    monkeypatch.setattr(writer, "_global_uid", writer.AtomicCounter(1000))


def points(folder):
    """{tag: [(step, value)]} of what TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


class Breaking(Callback):
    """Breaks a run off in a step, as a kill does: nothing is saved or closed."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, report):
        if trainer.progress.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("many_files")
def test_the_curves_are_those_of_the_log(recipe, data_root, tmp_path):
    build(recipe, data_root, tmp_path / "run", callbacks=[TensorBoard()], cfg_options={"train.log_every": 2}).train()
    found, lines = points(tmp_path / "run" / "tensorboard"), read_log(tmp_path / "run" / "log.jsonl")
    steps, scores = ([line for line in lines if line["event"] == kind] for kind in ("step", "evaluation"))
    for tag in ("loss", "lr", "grad_norm"):
        assert found[f"train/{tag}"] == [(line["step"], pytest.approx(line[tag])) for line in steps]
    for tag in ("miou", "pixel_accuracy", "mean_accuracy"):
        assert found[f"eval/{tag}"] == [(line["step"], pytest.approx(line[tag])) for line in scores]
    assert [step for step, _ in found["train/loss"]] == [2, 4, 6]
    assert found["eval/iou/top"] == [(line["step"], pytest.approx(line["iou"]["top"])) for line in scores]


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("broken", [4, 5])
def test_a_resumed_run_has_no_gap_and_no_double_point(recipe, data_root, tmp_path, broken):
    """Checkpoints are at 2, 4 and 6: steps after the last one are done, and drawn, again."""
    place = tmp_path / "curves"
    build(recipe, data_root, tmp_path / "whole", callbacks=[TensorBoard()]).train()
    with pytest.raises(KeyboardInterrupt):
        build(recipe, data_root, tmp_path / "run", callbacks=[TensorBoard(place), Breaking(broken)]).train()
    build(recipe, data_root, tmp_path / "run", callbacks=[TensorBoard(place)]).train()
    assert points(place) == points(tmp_path / "whole" / "tensorboard")
    assert [step for step, _ in points(place)["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in points(place)["eval/miou"]] == [3, 6]


@pytest.mark.usefixtures("many_files")
def test_an_evaluation_that_was_stopped_is_drawn_by_the_resumed_run(recipe, data_root, tmp_path):
    class Stopping(Callback):
        def on_step(self, trainer, report):
            if trainer.progress.step == 3:
                trainer._stop()

    with pytest.raises(SystemExit):
        build(recipe, data_root, tmp_path / "run", callbacks=[TensorBoard(), Stopping()]).train()
    build(recipe, data_root, tmp_path / "run", callbacks=[TensorBoard()]).train()
    found = points(tmp_path / "run" / "tensorboard")
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in found["eval/miou"]] == [3, 6]


@pytest.mark.usefixtures("many_files")
def test_a_trainer_that_trains_again_takes_its_own_points_back(recipe, data_root, tmp_path):
    breaking = Breaking(5)
    run = build(recipe, data_root, tmp_path / "run", callbacks=[TensorBoard(), breaking])
    with pytest.raises(KeyboardInterrupt):
        run.train()
    breaking.step = None
    run.train()
    assert [step for step, _ in points(tmp_path / "run" / "tensorboard")["train/lr"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("many_files")
def test_the_command_writes_curves_where_it_says(recipe, data_root, tmp_path, capsys):
    arguments = ["--config", str(recipe), "--data", "folder", str(data_root), "--device", "cpu", "--tensorboard"]
    changes = [
        "--set",
        'train.freeze=["encoder"]',
        "--set",
        "evaluation.patience=9",
        "--work-dir",
        str(tmp_path / "run"),
    ]
    assert main(["train", *arguments, *changes]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for expected in (f"tensorboard --logdir {tmp_path / 'run'}", "over after 9 without a better one", "frozen: "):
        assert expected in said
    assert len(points(tmp_path / "run" / "tensorboard")["train/loss"]) == 6


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r'pip install "segpipe\[tensorboard\]"'):
        TensorBoard()
