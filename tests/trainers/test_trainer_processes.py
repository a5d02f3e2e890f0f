"""Two processes of one run: the faults of one are told by both, and one that dies takes the other with it, soon."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fault_server import FaultServer
from safetensors.torch import load_file, save
from training_material import CONFIGURATION, write_pictures

from segpipe.configuration import decode_configuration
from segpipe.models import build_model

ROOT = Path(__file__).parents[2]
PREPARE = """
import os, signal, sys
from pathlib import Path
import torch
from segpipe import build_trainer, load_dataset
from segpipe.distributed import rank
from segpipe.errors import SegpipeError
recipe, root, work_dir = map(Path, sys.argv[1:4])
data = {split: load_dataset("folder", root, split, names=("left", "right", "top")) for split in ("train", "val")}

def trainer(name, train=data["train"], **options):
    return build_trainer(cfg_file=recipe, train_dataset=train, eval_dataset=data["val"][:1], work_dir=work_dir / name,
                         device="cpu", **options)
"""
SCENES = """
def train_and_note(name, run):
    try:
        run.train()
        text = "trained"
    except SegpipeError as error:
        text = str(error)
    (work_dir / f"{name}-{rank()}.txt").write_text(text)

train_and_note("fetched", trainer("fetched", model="hf:team/street", max_steps=1))
train_and_note("few", trainer("few", data["train"][:1]))  # one picture to train on and one to evaluate on
train_and_note("unshared", trainer("few" if rank() == 0 else "elsewhere", data["train"][:1]))

run = trainer("loss")
step = run.parts.engine.step
def poisoned(batches, number):
    if number == 3 and rank() == 1:
        run.model.head.classifier.bias.data.fill_(float("nan"))
    return step(batches, number)
run.parts.engine.step = poisoned
train_and_note("loss", run)

run = trainer("gradient")
if rank() == 1:
    run.model.head.classifier.weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
train_and_note("gradient", run)
"""
ENDLESS = """
trainer("endless", max_steps=10**6).train()
"""
DYING_ONCE = """
from torch.distributed.elastic.multiprocessing.errors import record
@record
def main():
    run, mark = trainer("run"), work_dir / "died"
    step = run.parts.engine.step
    def step_or_die(batches, number):
        if number == 3 and rank() == 1 and sys.argv[4] == "dying" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return step(batches, number)
    run.parts.engine.step = step_or_die
    run.train()
main()
"""


def environment(**more):
    """Without what other tests or a launcher left; without threads that wait busily on a small machine."""
    mine = ("SEGPIPE_", "HF_", "MODELSCOPE_", "SLURM_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", **more}


def start_two(code, *arguments, port, **more):
    common = environment(MASTER_PORT=str(port + os.getpid() % 300), WORLD_SIZE="2", **more)
    command = [sys.executable, "-c", PREPARE + code, *map(str, arguments)]
    return [
        subprocess.Popen(
            command,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Recipe, pictures, work directory."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "recipe.json").write_text(CONFIGURATION)
    (folder / "work").mkdir()
    return folder / "recipe.json", write_pictures(folder / "data"), folder / "work"


@pytest.fixture(scope="module")
def scenes(material):
    """All scenes one after another in the same two processes; what each said, and what they asked the server for."""
    configuration = decode_configuration(CONFIGURATION.encode(), origin="test")
    tensors = {key: tensor.contiguous() for key, tensor in build_model(configuration.model).state_dict().items()}
    with FaultServer() as server:
        server.add_model(
            "team/street", {"configuration.json": CONFIGURATION.encode(), "model.safetensors": save(tensors)}
        )
        home = str(material[2] / "home")
        processes = start_two(SCENES, *material, port=29900, HF_ENDPOINT=server.url, SEGPIPE_HOME=home)
        errors = [process.communicate(timeout=200)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        texts = {path.stem: path.read_text() for path in material[2].glob("*.txt")}
        return texts, [seen.path.rpartition("/")[2] for seen in server.seen]


def test_one_process_of_a_machine_downloads(scenes):
    texts, asked = scenes
    assert texts["fetched-0"] == texts["fetched-1"] == "trained"
    assert asked.count("model.safetensors") == asked.count("configuration.json") == 1


def test_fewer_pictures_than_processes_train_and_evaluate(scenes, material):
    assert scenes[0]["few-0"] == scenes[0]["few-1"] == "trained"
    lines = [json.loads(line) for line in (material[2] / "few" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "evaluation"] == [3, 6]


def test_a_work_directory_that_the_machines_do_not_share_stops_all_processes(scenes, material):
    first, second = (scenes[0][f"unshared-{rank}"] for rank in range(2))
    assert first.startswith(f"The processes of the run see different checkpoints in {material[2] / 'few'}: process 0 ")
    assert second.partition(": ")[2] == first.partition(": ")[2]
    assert "process 0 that of step 6 (" in first
    assert "process 1 none. It must be on a disk that all machines share" in first


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_in_one_process_stops_both_with_the_same_words(scenes, material, what):
    first, second = (scenes[0][f"{what}-{rank}"] for rank in range(2))
    assert first == second
    number, last = (3, f"The last checkpoint is {material[2] / 'loss' / 'checkpoints' / 'step-00000002'}.")
    if what == "gradient":
        number, last = (0, "There is no checkpoint yet.")
    assert first.startswith(f"Step {number}: the {what} is ")
    assert first.endswith(last)
    assert first.count(".png") == 2  # one picture of each process


@pytest.mark.slow
def test_a_killed_process_takes_the_other_with_it_soon(material):
    processes = start_two(ENDLESS, *material, port=30300)
    log = material[2] / "endless" / "log.jsonl"
    deadline = time.monotonic() + 100
    while not log.exists() or '"step", ' not in log.read_text():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGKILL)
    error = processes[0].communicate(timeout=30)[1]
    processes[1].communicate()
    assert processes[0].returncode == 1
    last = error.strip().splitlines()[-1]
    assert "SegpipeError: Another process of the run ended or no longer answers (" in last
    assert "start the run again with the same command, and it goes on from the last checkpoint" in last


@pytest.mark.slow
def test_torchrun_starts_a_run_again_in_which_a_process_died(tmp_path):
    (tmp_path / "recipe.json").write_text(CONFIGURATION)
    write_pictures(tmp_path / "data")
    (tmp_path / "train.py").write_text(PREPARE + DYING_ONCE)
    weights = []
    for name in ("calm", "dying"):
        (tmp_path / name).mkdir()
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
        launch += ["--master-addr", "127.0.0.1", "--master-port", str(30700 + os.getpid() % 300)]
        arguments = [tmp_path / "train.py", tmp_path / "recipe.json", tmp_path / "data", tmp_path / name, name]
        command = [sys.executable, *launch, *map(str, arguments)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        weights.append(load_file(tmp_path / name / "run" / "model" / "model.safetensors"))
    assert (tmp_path / "dying" / "died").exists()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
