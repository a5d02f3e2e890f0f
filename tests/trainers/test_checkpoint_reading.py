"""Checkpoints that somebody changed: extra files, damaged or special ones, forged numbers and tensors."""

import json
import math
import os
import shutil

import pytest
import torch
from runs import build

from segpipe.errors import CacheError, ConfigurationError, CorruptWeightsError, SegpipeError
from segpipe.hub.manifest import build_manifest, write_manifest
from segpipe.trainers import Callback
from segpipe.trainers.run.checkpoint import CHECKPOINTS, list_checkpoints
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.resume import resume

FILES = ("model.safetensors", "optimizer.pt", "progress.json", "configuration.json", "manifest.json")


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, report):
        if trainer.progress.step == self.step:
            trainer._stop()


@pytest.fixture
def stopped(recipe, data_root, tmp_path):
    """A function that builds the trainer of a run with the checkpoints of steps 2 and 4."""
    work_dir = tmp_path / "run"
    with pytest.raises(SystemExit):
        build(recipe, data_root, work_dir, callbacks=[StopAt(4)]).train()
    return lambda **arguments: build(recipe, data_root, work_dir, **arguments)


def checkpoints(run):
    return list_checkpoints(run.parts.work_dir / CHECKPOINTS)


def names(run):
    return sorted(path.name for path in (run.parts.work_dir / CHECKPOINTS).iterdir())


def seal(path):
    """Write the digests of what the checkpoint holds now, as a forger would."""
    (path / "manifest.json").unlink(missing_ok=True)
    write_manifest(path, build_manifest(path, sorted(set(FILES) - {"manifest.json"})))


def forge_progress(path, **values):
    file = path / "progress.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    seal(path)


def forge_state(path, change):
    state = torch.load(path / "optimizer.pt", weights_only=True)
    change(state)
    torch.save(state, path / "optimizer.pt")
    seal(path)


def put(path, kind):
    """Replace a file by something else."""
    content = path.read_bytes()
    path.unlink()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nowhere"))


KINDS = ("gone", "empty", "cut", "changed", "folder", "pipe", "device", "dangling link")


@pytest.mark.parametrize(
    "extra", [".DS_Store", "._model.safetensors", "Thumbs.db", "progress.json~", ".progress.json.swp", "old/model.pt"]
)
def test_files_beside_those_of_a_checkpoint_are_ignored(stopped, extra):
    run = stopped()
    for path in checkpoints(run):
        (path / extra).parent.mkdir(exist_ok=True)
        (path / extra).write_bytes(b"\0")
    assert resume(run.parts).step == 4
    assert names(run) == ["step-00000002", "step-00000004"]


def test_special_files_beside_those_of_a_checkpoint_are_ignored(stopped):
    run = stopped()
    os.mkfifo(checkpoints(run)[-1] / "pipe")
    (checkpoints(run)[-1] / "link").symlink_to("nowhere")
    assert resume(run.parts).step == 4


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(stopped, caplog, name, kind):
    run = stopped()
    put(checkpoints(run)[-1] / name, kind)
    assert resume(run.parts).step == 2
    assert names(run) == ["damaged-step-00000004", "step-00000002"]
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([line for line in lines if "Going on from step-00000002" in line and "step-00000004" in line]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stops_where_no_checkpoint_can_be_read(stopped, kind):
    run = stopped()
    for path, name in zip(checkpoints(run), ("progress.json", "manifest.json"), strict=True):
        put(path / name, kind)
    with pytest.raises(CorruptWeightsError, match=r"None of the 2 checkpoints.*nothing in it was changed.*work_dir"):
        run.train()
    assert names(run) == ["step-00000002", "step-00000004"]
    assert not (run.parts.work_dir / "model").exists()


def test_a_run_stops_where_all_checkpoints_were_set_aside(stopped):
    run = stopped()
    for path in checkpoints(run):
        path.rename(path.with_name(f"damaged-{path.name}"))
    with pytest.raises(CorruptWeightsError, match="was set aside by an earlier run"):
        run.train()


@pytest.mark.parametrize("kind", ["file", "pipe", "dangling link"])
def test_a_run_stops_where_its_checkpoints_folder_is_something_else(stopped, kind):
    run = stopped()
    place = run.parts.work_dir / CHECKPOINTS
    shutil.rmtree(place)
    if kind == "file":
        place.write_text("")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/nowhere/at/all")
    with pytest.raises(CacheError, match=r"checkpoints (cannot be read|links to a folder that is not there)"):
        run.train()


def test_a_run_whose_checkpoints_were_removed_begins_afresh_and_says_so(stopped, caplog):
    run = stopped()
    shutil.rmtree(run.parts.work_dir / CHECKPOINTS)
    assert resume(run.parts).step == 0
    assert "holds the log of a run that came to step 4 and no checkpoint of it" in caplog.text


def test_a_checkpoint_behind_a_link_is_read_and_only_the_link_removed(stopped, tmp_path):
    run = stopped(cfg_options={"train.checkpoint.keep": 1})
    newest = checkpoints(run)[-1]
    newest.rename(tmp_path / "elsewhere")
    newest.symlink_to(tmp_path / "elsewhere")
    run.train()
    assert names(run) == ["step-00000006"]
    assert (tmp_path / "elsewhere" / "model.safetensors").is_file()


def test_a_checkpoint_that_a_kill_left_under_its_first_name_is_found(stopped):
    run = stopped()
    newest = checkpoints(run)[-1]
    newest.rename(newest.with_name(f".fresh-{newest.name}"))
    assert resume(run.parts).step == 4


@pytest.mark.parametrize(
    "values",
    [
        {"step": -5},
        {"step": 2**70},
        {"step": 5},
        {"step": 10**9, "samples": 2 * 10**9},
        {"samples": -1},
        {"samples": 7},
        {"worse_evaluations": -1},
        {"best_step": 99, "best_score": 0.5},
        {"best_step": -1, "best_score": 0.5},
        {"best_score": None},
        {"best_step": None},
        {"first_score": 1e400},
    ],
    ids=str,
)
def test_forged_numbers_are_damage(stopped, values):
    run = stopped()
    forge_progress(checkpoints(run)[-1], **values)
    assert resume(run.parts).step == 2


@pytest.mark.parametrize(
    "text", ['{"step": NaN, "samples": 8}', "[]", "", "{", "\xff", "[" * 5000, '{"step": 1e400, "samples": 8}']
)
def test_a_progress_that_is_not_json_is_damage_or_stops(stopped, text):
    run = stopped()
    newest = checkpoints(run)[-1]
    (newest / "progress.json").write_text(text, encoding="latin-1")
    seal(newest)
    try:
        assert resume(run.parts).step == 2
    except ConfigurationError as error:
        assert "another version of segpipe" in str(error)  # noqa: PT017
        assert names(run) == ["step-00000002", "step-00000004"]


@pytest.mark.parametrize("key", ["step", "samples"])
@pytest.mark.parametrize("value", ["4", 4.5, 1e300, True, [4], "absent"])
def test_a_number_of_another_type_is_said_and_changes_nothing(stopped, key, value):
    run = stopped()
    newest = checkpoints(run)[-1]
    document = {**json.loads((newest / "progress.json").read_text()), key: value}
    if value == "absent":
        del document[key]
    (newest / "progress.json").write_text(json.dumps(document))
    seal(newest)
    with pytest.raises(ConfigurationError, match="another version of segpipe"):
        run.train()
    assert names(run) == ["step-00000002", "step-00000004"]


def set_first(name, value):
    def change(state):
        state["optimizer"]["state"][0][name] = value

    return change


STATES = {
    "no groups": lambda state: state["optimizer"].pop("param_groups"),
    "other groups": lambda state: state["optimizer"]["param_groups"][0].update(params=[0]),
    "no state": lambda state: state.pop("optimizer"),
    "a text": lambda state: state.update(optimizer="state"),
    "another parameter": lambda state: state["optimizer"]["state"].update({9999: {}}),
    "nothing of a parameter": lambda state: state["optimizer"]["state"].update({0: {}}),
    "another shape": set_first("exp_avg", torch.zeros(3)),
    "another type": set_first("exp_avg", torch.zeros(8, 3, 7, 7, dtype=torch.bool)),
    "sparse": set_first("exp_avg", torch.zeros(8, 3, 7, 7).to_sparse()),
    "meta": set_first("exp_avg", torch.zeros(8, 3, 7, 7, device="meta")),
    "not a number": set_first("exp_avg", torch.full((8, 3, 7, 7), math.nan)),
    "a negative square": set_first("exp_avg_sq", torch.full((8, 3, 7, 7), -1.0)),
    "a negative step": set_first("step", torch.tensor(-5.0)),
    "a step without end": set_first("step", torch.tensor(math.inf)),
    "no tensor": set_first("exp_avg", "zeros"),
    "another scale": lambda state: state.update(scaler={"scale": -1.0}),
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_a_state_of_the_optimizer_that_cannot_be_is_damage(stopped, change):
    run = stopped()
    forge_state(checkpoints(run)[-1], change)
    before = {key: tensor.clone() for key, tensor in run.model.state_dict().items()}
    older = load_newest(run.parts.work_dir / CHECKPOINTS, lambda found: None if found.progress.step == 2 else refuse())
    assert resume(run.parts).step == 2
    assert all(torch.equal(tensor, older.model[key]) for key, tensor in run.model.state_dict().items())
    assert any(not torch.equal(tensor, before[key]) for key, tensor in run.model.state_dict().items())


def refuse():
    raise CorruptWeightsError("not this one")


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"PK\x05\x06" + bytes(18), b"pickle", bytes(1000)])
def test_a_file_that_is_no_state_is_damage(stopped, content):
    run = stopped()
    newest = checkpoints(run)[-1]
    (newest / "optimizer.pt").write_bytes(content)
    seal(newest)
    assert resume(run.parts).step == 2


def test_weights_of_another_network_are_damage(stopped, recipe, data_root, tmp_path):
    build(recipe, data_root, tmp_path / "other", cfg_options={"model.head.channels": 8}, max_steps=4).train()
    run = stopped()
    newest = checkpoints(run)[-1]
    shutil.copy(tmp_path / "other" / CHECKPOINTS / newest.name / "model.safetensors", newest)
    seal(newest)
    assert resume(run.parts).step == 2


def test_a_log_that_is_a_named_pipe_stops_before_the_first_step(recipe, data_root, tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "log.jsonl")
    with pytest.raises(SegpipeError, match=r"log\.jsonl .*regular file"):
        build(recipe, data_root, tmp_path / "run").train()
