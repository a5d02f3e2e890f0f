"""Signals and accidents in the middle of a run: it ends soon, says why, and goes on to the very same weights."""

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
import time

import pytest
import torch
from torch.utils.data import _utils as torch_workers

from segpipe import build_trainer, load_dataset
from segpipe.data import loader
from segpipe.errors import CacheError, InputError, SegpipeError
from segpipe.hub import ModelFolder
from segpipe.trainers.run import checkpoint as checkpoints, progress
from segpipe.trainers.run.checkpoint import list_checkpoints
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.run_log import read_log

NAMES = ("left", "right", "top")


class Repeated:
    """The pictures of a data set again and again; each reading is told first."""

    def __init__(self, data_root, length, split="val"):
        self.dataset = load_dataset("folder", data_root, split, names=NAMES)
        self.labels, self.length, self.reads = self.dataset.labels, length, 0
        self.tell = lambda index: None

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.reads += 1
        self.tell(index)
        return self.dataset[index % len(self.dataset)]


def trainer(recipe, data_root, work_dir, **arguments):
    data = load_dataset("folder", data_root, "train", names=NAMES)
    defaults = {"train_dataset": data, "device": "cpu", "check_data": False}  # some count what is read
    return build_trainer(cfg_file=recipe, work_dir=work_dir, **{**defaults, **arguments})


def before_step(run, number, act):
    """Act once, before the step of this number."""
    step = run.parts.engine.step

    def act_and_step(batches, current):
        if current == number:
            act()
        return step(batches, current)

    run.parts.engine.step = act_and_step


def stop(run):
    with pytest.raises(SystemExit) as stopped:
        run.train()
    assert stopped.value.code == 75


def assert_same_weights(first, second):
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


def evaluations(work_dir):
    lines = read_log(work_dir / "log.jsonl")
    return [(line["step"], line["miou"]) for line in lines if line["event"] == "evaluation"]


def end_all_processes():
    """As SLURM and systemd do: each process of the run gets the signal."""
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_to_the_workers_too_saves_and_goes_on(recipe, data_root, tmp_path):
    options = {"train.workers": 2, "train.max_steps": 4, "train.checkpoint.every": 100}
    whole = trainer(recipe, data_root, tmp_path / "whole", cfg_options=options)
    whole.train()
    run = trainer(recipe, data_root, tmp_path / "run", cfg_options=options)
    before_step(run, 1, end_all_processes)
    stop(run)
    assert load_newest(tmp_path / "run" / "checkpoints").progress.step == 2
    resumed = trainer(recipe, data_root, tmp_path / "run", cfg_options=options)
    resumed.train()
    assert_same_weights(whole, resumed)


def test_ctrl_c_saves_first_and_interrupts_at_once_the_second_time(recipe, data_root, tmp_path, caplog):
    run = trainer(recipe, data_root, tmp_path / "run")
    before_step(run, 1, lambda: signal.raise_signal(signal.SIGINT))
    stop(run)
    assert load_newest(tmp_path / "run" / "checkpoints").progress.step == 2
    assert "Saving after this step; Ctrl-C again stops without saving" in caplog.text
    again = trainer(recipe, data_root, tmp_path / "run")
    before_step(again, 3, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        again.train()


@pytest.mark.slow
def test_sigterm_in_an_evaluation_ends_it_and_it_comes_first_on_resuming(recipe, data_root, tmp_path):
    whole = trainer(recipe, data_root, tmp_path / "whole", eval_dataset=Repeated(data_root, 40))
    whole.train()
    pictures = Repeated(data_root, 40)
    pictures.tell = lambda index: index == 5 and os.kill(os.getpid(), signal.SIGTERM)
    stop(trainer(recipe, data_root, tmp_path / "run", eval_dataset=pictures))
    assert pictures.reads < 15
    assert load_newest(tmp_path / "run" / "checkpoints").progress.step == 3
    stop(trainer(recipe, data_root, tmp_path / "run", eval_dataset=pictures))  # again, in the same evaluation
    resumed = trainer(recipe, data_root, tmp_path / "run", eval_dataset=Repeated(data_root, 40))
    resumed.train()
    assert evaluations(tmp_path / "run") == evaluations(tmp_path / "whole")
    assert [step for step, _ in evaluations(tmp_path / "run")] == [3, 6]
    assert resumed.progress == whole.progress
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("call", ["write_tensors", "write_manifest"])
def test_two_sigterms_in_a_save_let_it_end(recipe, data_root, tmp_path, monkeypatch, call):
    whole = trainer(recipe, data_root, tmp_path / "whole")
    whole.train()
    run = trainer(recipe, data_root, tmp_path / "run")
    original = getattr(checkpoints, call)

    def write(*arguments):
        if not list_checkpoints(tmp_path / "run" / "checkpoints"):  # a third one would end the run at once
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(checkpoints, call, write)
    stop(run)
    monkeypatch.setattr(checkpoints, call, original)
    names = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(names) == ["step-00000002", "step-00000003"]
    resumed = trainer(recipe, data_root, tmp_path / "run")
    resumed.train()
    assert_same_weights(whole, resumed)


def test_a_killed_worker_ends_the_run_at_once_and_is_explained(recipe, data_root, tmp_path):
    """As the kernel does when memory is full; torch may tell of it at any point of the run."""
    run = trainer(recipe, data_root, tmp_path / "run", cfg_options={"train.workers": 2, "train.max_steps": 1000})
    before_step(run, 2, lambda: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL))
    begin = time.monotonic()
    with pytest.raises(SegpipeError, match=r"(?s)A loader worker exited without an error message.*Use fewer workers"):
        run.train()
    assert time.monotonic() - begin < 30
    assert not multiprocessing.active_children()


def test_a_hanging_worker_is_waited_for_with_a_warning_and_then_given_up(
    recipe, data_root, tmp_path, monkeypatch, caplog
):
    for name, seconds in (("LOOK_AROUND", 0.2), ("PATIENCE", 0.4), ("HANGING", 1.0)):
        monkeypatch.setattr(loader, name, seconds)
    monkeypatch.setattr(torch_workers, "MP_STATUS_CHECK_INTERVAL", 0.1)  # how long torch waits for it at the end
    data = Repeated(data_root, 5, split="train")
    data.tell = lambda index: threading.Event().wait(60)
    run = trainer(recipe, data_root, tmp_path / "run", train_dataset=data, cfg_options={"train.workers": 1})
    with pytest.raises(SegpipeError, match=r"No batch came for 1 seconds; its images are Sample \d, Sample \d\."):
        run.train()
    assert "still waiting for Sample" in caplog.text
    for worker in multiprocessing.active_children():
        worker.join(5)
    assert not multiprocessing.active_children()


def test_a_deleted_work_directory_ends_in_a_whole_model_folder(recipe, data_root, tmp_path, caplog):
    whole = trainer(recipe, data_root, tmp_path / "whole")
    whole.train()
    run = trainer(recipe, data_root, tmp_path / "run")
    before_step(run, 3, lambda: shutil.rmtree(tmp_path / "run"))
    assert ModelFolder.open(run.train().path).verify() == ()
    assert "log.jsonl was deleted during the run" in caplog.text
    steps = [line["step"] for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "step"]
    assert steps == [4, 5, 6]
    assert_same_weights(whole, run)


def test_deleted_best_weights_are_not_claimed(recipe, data_root, tmp_path, caplog, monkeypatch):
    """The card of a model names the step that its weights come from."""
    run = trainer(recipe, data_root, tmp_path / "run", eval_dataset=Repeated(data_root, 2))
    before_step(run, 4, lambda: shutil.rmtree(tmp_path / "run"))
    scores = iter([0.9, 0.1])
    monkeypatch.setattr("segpipe.trainers.trainer.with_score", lambda p, _: progress.with_score(p, next(scores)))
    card = (run.train().path / "README.md").read_text()
    assert "The weights of the best step 3 are gone" in caplog.text
    assert "step 6" in card
    assert "step 3" not in card


def test_a_full_disk_is_named_and_nothing_half_written_stays(recipe, data_root, tmp_path):
    """A limit on the size of files, which the operating system itself enforces."""
    run = trainer(recipe, data_root, tmp_path / "run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))

    before_step(run, 2, limit)
    try:
        with pytest.raises(CacheError, match=r"step-00000004 cannot be written: .*too large.*\. Older checkpoints"):
            run.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]


@pytest.mark.parametrize("call", ["mkdir", "touch"])
def test_a_work_directory_that_is_read_only_is_refused_before_the_first_step(
    recipe, data_root, tmp_path, monkeypatch, call
):
    run = trainer(recipe, data_root, tmp_path / "run")

    def refuse(path, *arguments, **options):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(f"pathlib.Path.{call}", refuse)
    with pytest.raises(InputError, match=r"work directory .*run cannot be written: Read-only file system\. It must"):
        run.train()


def test_a_clock_that_jumps_back_changes_nothing(recipe, data_root, tmp_path, monkeypatch):
    whole = trainer(recipe, data_root, tmp_path / "whole")
    whole.train()
    now = iter(range(10**9, 0, -1000))
    monkeypatch.setattr("time.time", lambda: float(next(now)))
    monkeypatch.setattr("tqdm.std.time", time.time)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)  # so that there is a progress bar
    run = trainer(recipe, data_root, tmp_path / "run")
    run.train()
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == [
        "step-00000004",
        "step-00000006",
    ]
    assert_same_weights(whole, run)


def test_no_pictures_to_evaluate_on_is_said_when_the_trainer_is_built(recipe, data_root, tmp_path):
    data = load_dataset("folder", data_root, "val", names=NAMES)
    with pytest.raises(InputError, match="eval_dataset is empty"):
        trainer(recipe, data_root, tmp_path / "run", eval_dataset=data[:0])
    with pytest.raises(InputError, match="train_dataset is empty"):
        trainer(recipe, data_root, tmp_path / "run", train_dataset=data[:0])
