"""Weights: safetensors, pickles, archives of NumPy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from doors import Door, door, file_reader
from hostile import damaged_bytes

from segpipe.models import read_tensors

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
