"""Building the tiny run of `training_material`, in this process or as several, for the tests of single abilities."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from segpipe import build_trainer, load_dataset

NAMES = ("left", "right", "top")
RUN = """
import json, sys
from segpipe import build_trainer, load_dataset
from segpipe.trainers import Callback

class Note(Callback):
    def on_checkpoint(self, trainer, path):
        print("checkpoint", path.name, flush=True)

recipe, root, work_dir, options = sys.argv[1:]
train, val = (load_dataset("folder", root, split, names=("left", "right", "top")) for split in ("train", "val"))
trainer = build_trainer(cfg_file=recipe, train_dataset=train, eval_dataset=val, work_dir=work_dir, device="cpu",
                        cfg_options=json.loads(options), callbacks=[Note()])
trainer.train()
print("end", trainer.progress.step, flush=True)
"""


def build(recipe, data_root, work_dir, **arguments):
    """A trainer of the tiny run on the CPU."""
    data = {split: load_dataset("folder", data_root, split, names=NAMES) for split in ("train", "val")}
    defaults = {"train_dataset": data["train"], "eval_dataset": data["val"], "device": "cpu"}
    return build_trainer(cfg_file=recipe, work_dir=work_dir, **{**defaults, **arguments})


def train_in_processes(recipe, data_root, work_dir, options, ranks):
    """What each process printed; an error in one is an error here."""
    arguments = [str(recipe), str(data_root), str(work_dir), json.dumps(options)]
    return [out.splitlines() for out, _ in run_in_processes(RUN, arguments, ranks)]


def run_in_processes(code, arguments, ranks):
    """What each process wrote to stdout and to stderr; an error in one is an error here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-c", code, *arguments]
    processes = [
        subprocess.Popen(
            command,
            env={**common, "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks, said
    return said
