"""From a model of ours to a file of weights that another implementation reads."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from segpipe.atomic import atomic_folder, remove_folder
from segpipe.checkpoints.huggingface_documents import huggingface_config, huggingface_preprocessor
from segpipe.configuration import Configuration, WeightsConfig, write_configuration
from segpipe.errors import InputError
from segpipe.files import check_vacant
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.models import build_outline, fit_tensors

from .converting import check_target, open_checkpoint, sidecar_of
from .dialects.rules import Tensors
from .dialects.segformer import NORM_EPS
from .dialects.writing import WRITTEN_DIALECTS, write_dialect
from .reading import tensors_of
from .tensor_files import write_pickle, write_tensors

logger = get_logger(__name__)

PICKLES = (".pth", ".pt", ".bin")
MMCV_DIALECTS = ("nvlabs", "mmseg", "easycv", "unept")


def convert_back(source: str | Path, to: str | Path, *, dialect: str, overwrite: bool = False) -> Path:
    """Write a model's weights in another implementation's names.

    A .safetensors file has the tensors alone. In a .pth file they lie where that implementation looks for them:
    under "state_dict", with class names and colours in "meta" (NVlabs, mmsegmentation, EasyCV, UN-EPT), under "model"
    (Segmenter), or as they are (LiBai, Hugging Face, timm).

    No such file says how images are resized, seen and labelled. The whole configuration is written beside it, as
    FILE.json (in Hugging Face's folder as configuration.json), from which `convert` makes the same model again.

    Args:
        source: a folder, a model's name or a file, in any dialect.
        to: the file to write, .safetensors, .pth, .pt or .bin; it must not exist yet. For "huggingface" also a folder,
            which `from_pretrained` opens.
        dialect: "nvlabs", "mmseg", "easycv", "huggingface", "libai", "segmenter", "unept"; "vit" and "resnet" for the
            encoder alone.
        overwrite: whether files that are there are replaced.
    """
    target = Path(to)
    if dialect == "huggingface" and not target.suffix:
        return _write_huggingface_folder(source, target, overwrite=overwrite)
    if target.suffix not in (*PICKLES, ".safetensors"):
        raise InputError(f"{target} ends in none of .safetensors, {', '.join(PICKLES)}. Name a file that does.")
    beside = sidecar_of(target)
    for path in (target, beside):
        check_vacant(path, overwrite=overwrite, error=InputError)
    folder = open_checkpoint(source)
    tensors = write_dialect(own_tensors(folder), dialect)
    _warn_of_eps(folder.configuration, dialect)
    written = target.with_name(f".{uuid.uuid4().hex[:8]}-{target.name}") if overwrite else target
    if target.suffix == ".safetensors":
        write_tensors(tensors, written)
    else:
        write_pickle(_wrapped(tensors, dialect, folder.configuration), written)
    os.replace(written, target)
    if dialect == "segpipe" or WRITTEN_DIALECTS[dialect].has_head:
        write_configuration(replace(folder.configuration, weights=None), beside)
    return target


def _write_huggingface_folder(source: str | Path, target: Path, *, overwrite: bool) -> Path:
    """The weights with Hugging Face's two documents, and ours beside them."""
    check_target(target, overwrite=overwrite)
    folder = open_checkpoint(source)
    documents = {
        "config.json": huggingface_config(folder.configuration),
        "preprocessor_config.json": huggingface_preprocessor(folder.configuration),
    }
    tensors = write_dialect(own_tensors(folder), "huggingface")
    _warn_of_eps(folder.configuration, "huggingface")
    with atomic_folder(target) as in_progress:
        write_tensors(tensors, in_progress / "model.safetensors")
        for name, document in documents.items():
            (in_progress / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        weights = WeightsConfig(source=None, file="model.safetensors", dialect="huggingface")
        write_configuration(replace(folder.configuration, weights=weights), in_progress / "configuration.json")
        if overwrite:
            remove_folder(target)
    return target


def own_tensors(folder: ModelFolder) -> Tensors:
    """A folder's tensors in our names and in our shapes, all accounted for."""
    return fit_tensors(build_outline(folder.configuration.model), tensors_of(folder), origin=str(folder.weights))


def _wrapped(tensors: Tensors, dialect: str, configuration: Configuration) -> dict[str, Any]:
    """The content of a pickle; each tensor has memory of its own."""
    own = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    if dialect == "segmenter":
        return {"model": own, "n_cls": configuration.model.num_classes}
    if dialect not in MMCV_DIALECTS:
        return dict(own)
    labels = configuration.labels
    meta: dict[str, Any] = {"CLASSES": list(labels.names)} if labels is not None else {}
    if labels is not None and labels.palette is not None:
        meta["PALETTE"] = [list(color) for color in labels.palette]
    return {"meta": meta, "state_dict": own}


def _warn_of_eps(configuration: Configuration, dialect: str) -> None:
    """Names say nothing of LayerNorm's eps, which that implementation has fixed."""
    theirs = NORM_EPS.get(dialect)
    ours = getattr(configuration.model.encoder, "norm_eps", None)
    if theirs is not None and ours != theirs:
        logger.warning(
            "These weights were made for other LayerNorm eps than %s computes with: its logits will differ a little",
            dialect,
        )
