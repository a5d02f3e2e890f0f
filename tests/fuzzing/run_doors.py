"""State that a run reads back."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from doors import Door, door
from hostile import damaged_bytes, damaged_json
from hypothesis import strategies as st

from segpipe.configuration import load_preset, to_document
from segpipe.hub.manifest import build_manifest, write_manifest


@door
def run_checkpoints(folder: Path) -> Door:
    """One file of a run's only checkpoint is damaged, with digests that fit."""
    from segpipe.trainers.run.checkpoint import Checkpoint, save_checkpoint
    from segpipe.trainers.run.checkpoint_reading import load_newest
    from segpipe.trainers.run.data_record import DataRecord, SplitRecord
    from segpipe.trainers.run.progress import Progress

    configuration = json.dumps(to_document(load_preset("segformer-b0-camvid"))).encode()
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    data = DataRecord(train=SplitRecord(count=4, digest="0" * 64, names=("a", "b", "c", "d")))
    checkpoint = Checkpoint(Progress(step=3, samples=12), {"a": torch.zeros(3)}, configuration, optimizer, data)
    whole = save_checkpoint(checkpoint, folder, keep=2)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    kinds = {
        "progress.json": damaged_json([json.loads(files["progress.json"])]),
        "data.json": damaged_json([json.loads(files["data.json"])]),
        "optimizer.pt": damaged_bytes([files["optimizer.pt"]]),
        "model.safetensors": damaged_bytes([files["model.safetensors"]]),
        "manifest.json": damaged_json([json.loads(files["manifest.json"])]),
    }

    def read(item: tuple[str, bytes]) -> None:
        name, data = item
        for other, content in files.items():
            (whole / other).write_bytes(content)
        (whole / name).write_bytes(data)
        if name != "manifest.json":
            write_manifest(whole, build_manifest(whole, [known for known in files if known != "manifest.json"]))
        load_newest(folder)

    return Door(st.one_of([st.tuples(st.just(name), kind) for name, kind in kinds.items()]), read)


@door
def run_logs(folder: Path) -> Door:
    """log.jsonl of a run, to the drawn curves."""
    from segpipe.trainers import compare_runs, read_runs

    steps = [{"event": "step", "time": 1.5 + step, "step": step, "epoch": 0.1, "loss": 1.0} for step in (1, 2, 3)]
    lines = [
        {"event": "start", "time": 1.0, "step": 0, "max_steps": 3},
        *steps,
        {"event": "evaluation", "time": 5.0, "step": 3, "miou": 0.5},
    ]

    def read(texts: list[bytes]) -> None:
        (folder / "log.jsonl").write_bytes(b"\n".join(texts))
        for axis in ("step", "time"):
            compare_runs(read_runs([folder]), x=axis)

    return Door(st.tuples(*(damaged_json([line]) for line in lines)).map(list), read)
