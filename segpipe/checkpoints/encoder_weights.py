"""Weights of an encoder alone, as ImageNet training leaves them: to begin training with, or as a file of their own."""

from __future__ import annotations

import math
import os
from pathlib import Path

from torch import Tensor, nn

from segpipe.errors import InputError, WeightMismatchError
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.models import Grid, Resampling, SegpipeNetwork, VitTrunk, fit_tensors, mistyped_tensors, resize_positions

from .opening import open_folder
from .reading import read_weights
from .tensor_files import write_pickle, write_tensors

logger = get_logger(__name__)

ENCODER = "encoder."
POSITIONS = "positions.weight"
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz", ".ckpt")


def encoder_tensors(source: str | Path | ModelFolder, network: SegpipeNetwork) -> dict[str, Tensor]:
    """Return what a file or a model has for a network's encoder, in the network's own names.

    Every tensor is accounted for. A ViT's table of positions is brought to the network's grid: bicubic from .npz
    files, as timm since 0.4.9, else as the network's encoder says. What belongs to heads is left out, and so is a last
    norm that the encoder does not have.

    Args:
        source: .npz of the augreg series, a .pth of DeiT or timm, NVlabs' mit_b0.pth or another checkpoint whose
            encoder is the network's; or a folder or the name of such a model.
        network: has an `encoder`.

    Returns:
        "encoder.…" → tensor, all that the encoder has: `{**network.state_dict(), **encoder_tensors(…)}` is whole.

    Raises:
        WeightMismatchError: with the missing, the unexpected and the misshapen tensors by name.
    """
    path, encoder = _find_weights(source), getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise InputError(f"{type(network).__name__} has no encoder that {source} could be for. Name another model.")
    tensors, dialect = _read_encoder(path)
    if isinstance(encoder, VitTrunk):
        mode = _resampling(dialect, encoder.resampling)
        tensors = _without_unused_norm(_with_grid(tensors, encoder.positions.grid, mode, path), encoder)
    fitted = fit_tensors(encoder, tensors, origin=str(path))
    return {f"{ENCODER}{key}": tensor for key, tensor in fitted.items()}


def convert_encoder(
    source: str | Path, to: str | Path, *, image_size: tuple[int, int] | None = None, prefix: str = ENCODER
) -> Path:
    """Write an encoder's tensors in our names to a file, without the classifier of ImageNet.

    Args:
        source: a file of weights in any dialect, such as the augreg series' .npz.
        to: .safetensors, or .pth with the tensors under "model".
        image_size: (height, width) of the images that a ViT's table of positions will be for. If None, it stays.
        prefix: before each name. `encoder_tensors` reads the file if it ends in "encoder.".
    """
    target = Path(to)
    if target.suffix not in (".safetensors", ".pth"):
        raise InputError(f"{target} is neither .safetensors nor .pth. Name a file that ends in one of them.")
    if os.path.exists(target):
        raise InputError(f"{target} exists. Name a new file, or remove it first.")
    path = Path(source)
    tensors, dialect = _read_encoder(path)
    if image_size is not None:
        tensors = _with_image_size(tensors, image_size, dialect, path)
    named = {f"{prefix}{key}": tensor.contiguous() for key, tensor in tensors.items()}
    if target.suffix == ".safetensors":
        write_tensors(named, target)
    else:
        write_pickle({"model": named}, target)
    return target


def _find_weights(source: str | Path | ModelFolder) -> Path:
    """Return the file of weights that a path, a folder or a model's name stands for."""
    if not isinstance(source, ModelFolder) and (os.path.isfile(source) or Path(source).suffix in WEIGHTS_SUFFIXES):
        return Path(source)
    folder = open_folder(source)
    if folder.weights is None:
        raise InputError(f"{folder.name} has no weights, only a configuration. Name a model or a file that has.")
    return folder.weights


def _read_encoder(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the encoder's tensors without "encoder.", and the dialect of the file."""
    found = read_weights(path)
    encoder = {key.removeprefix(ENCODER): value for key, value in found.tensors.items() if key.startswith(ENCODER)}
    mistyped = mistyped_tensors(encoder)
    if mistyped:
        raise WeightMismatchError(
            f"{path} has no floating numbers for {', '.join(mistyped[:3])}. Save them as float32, e.g. tensor.float()."
        )
    return encoder, found.dialect


def _resampling(dialect: str, otherwise: Resampling) -> Resampling:
    return "bicubic" if dialect == "augreg" else otherwise


def _with_image_size(
    tensors: dict[str, Tensor], image_size: tuple[int, int], dialect: str, path: Path
) -> dict[str, Tensor]:
    if POSITIONS not in tensors:
        raise InputError(f"{path} has no table of positions that image_size={image_size} could be for. Leave it out.")
    patch_size = tensors["embed.weight"].shape[-1]
    grid = image_size[0] // patch_size, image_size[1] // patch_size
    if min(grid) < 1:
        raise InputError(f"image_size={image_size} is less than one patch of {patch_size} pixels. Give a larger one.")
    return _with_grid(tensors, grid, _resampling(dialect, VitTrunk.resampling), path)


def _with_grid(tensors: dict[str, Tensor], grid: Grid, mode: Resampling, path: Path) -> dict[str, Tensor]:
    """Return the tensors with their table of positions for a grid."""
    if POSITIONS not in tensors:
        return tensors
    table = tensors[POSITIONS]
    patches = table.shape[1] - 1 - ("distillation_token" in tensors)
    side = math.isqrt(max(patches, 0))
    if side * side != patches and patches != grid[0] * grid[1]:
        raise WeightMismatchError(
            f"{path} has positions for {patches} patches, which is no square, and the network has some for "
            f"{grid[0]} × {grid[1]}. Set model.encoder.image_size to the size that the file was trained with."
        )
    old = (side, side) if side * side == patches else grid
    if old == grid:
        return tensors
    logger.info("Positions of %s are resized from %s to %s patches, %s", path.name, old, grid, mode)
    return {**tensors, POSITIONS: resize_positions(table, old, grid, mode=mode)}


def _without_unused_norm(tensors: dict[str, Tensor], encoder: VitTrunk) -> dict[str, Tensor]:
    """Leave out the last norm for a trunk whose blocks are read directly, and which has none."""
    if hasattr(encoder, "norm"):
        return tensors
    return {key: tensor for key, tensor in tensors.items() if not key.startswith("norm.")}
