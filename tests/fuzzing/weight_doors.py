"""Weights: safetensors, pickles, archives of NumPy, several files with an index."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from doors import Door, door, file_reader
from hostile import damaged_bytes, damaged_json
from hypothesis import strategies as st

from segpipe.checkpoints.state_dicts import read_tensors, read_weights

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.zeros(3), "n": torch.tensor(3)}


@door
def safetensors(folder: Path) -> Door:
    from safetensors.torch import save

    return Door(damaged_bytes([save(TENSORS), save({})]), file_reader(folder / "m.safetensors", read_tensors))


@door
def pickles(folder: Path) -> Door:
    contents = [TENSORS, {"state_dict": TENSORS, "meta": {"CLASSES": ["a"]}}, {"model": TENSORS, "epoch": 3}, [1], 5]
    seeds = [saved(content) for content in contents]
    seeds += [saved(TENSORS, _use_new_zipfile_serialization=False), b"\x80\x02", b"\x80\x02}q\x00.", b"PK", b""]
    return Door(damaged_bytes(seeds), file_reader(folder / "m.pth", read_tensors))


class Plain:
    """Pickled by its attributes."""


class OwnDict(dict):
    """Pickled by its items."""


@door
def foreign_pickles(folder: Path) -> Door:
    """Checkpoints of trainers: nested, behind prefixes, beside objects of classes that are not known."""
    named = {f"model.encoder.stages.0.embed.proj.{key}": torch.ones(2) for key in ("weight", "bias")}
    plain = Plain()
    plain.__dict__ = {"history": np.arange(4.0), "function": functools.partial(max, 1), "options": OwnDict(a=[1])}
    values = plain, argparse.Namespace(a=1), collections.defaultdict(list, a=[2]), np.float32(1), collections.deque([1])
    contents: list[Any] = [
        {
            "model_state_dict": named,
            "message_hub": dict(enumerate(values)),
            "meta": {"dataset_meta": OwnDict(classes="ab")},
        },
        {"checkpoint": {"net": OwnDict(named)}, "ema": {"shadow": named}, "config": values[2]},
        {"state_dict": {**named, "model.odd": argparse.Namespace(tensor=torch.ones(1))}},
        torch.nn.Linear(1, 1),
    ]
    seeds = [saved(content, _use_new_zipfile_serialization=is_zip) for content in contents for is_zip in (True, False)]
    programs = damaged_bytes([_program(seed) for seed in seeds[::2]])
    inputs = st.one_of(damaged_bytes(seeds), programs.map(functools.partial(_with_program, seeds[0])))
    return Door(inputs, file_reader(folder / "m.ckpt", read_weights))


def _program(saved: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def _with_program(saved: bytes, program: bytes) -> bytes:
    """The file with another pickle, in an archive whose checksums are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, program if name.endswith("/data.pkl") else old.read(name))
    return buffer.getvalue()


@door
def weight_indexes(folder: Path) -> Door:
    """The index of weights in several files."""
    from safetensors.torch import save

    names = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    for number, name in enumerate(names):
        (folder / name).write_bytes(save({f"t{number}": torch.ones(2)}))
    index = {"metadata": {"total_size": 16}, "weight_map": {"t0": names[0], "t1": names[1]}}
    others = [{"weight_map": {}}, {"weight_map": {f"t{number}": f"{number}.bin" for number in range(100)}}]
    return Door(damaged_json([index, *others]), file_reader(folder / "model.safetensors.index.json", read_tensors))


@door
def numpy_archives(folder: Path) -> Door:
    buffers = io.BytesIO(), io.BytesIO()
    arrays = {key: tensor.numpy() for key, tensor in TENSORS.items()}
    np.savez(buffers[0], **arrays)
    np.savez_compressed(buffers[1], **arrays)
    return Door(damaged_bytes([buffer.getvalue() for buffer in buffers]), file_reader(folder / "m.npz", read_tensors))


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()
