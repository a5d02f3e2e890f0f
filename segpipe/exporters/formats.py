"""The formats: what writes a traced graph, how its file is called, and which packages take part."""

from __future__ import annotations

import importlib.metadata
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import ExportedProgram

from segpipe.errors import InputError
from segpipe.extras import import_extra
from segpipe.names import unknown_name_message

from .graph import INPUT_NAME, OUTPUT_NAME, quiet_torch


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: as users write it.
        suffix: of the file.
        companions: suffixes of the files that are written beside it.
        packages: besides torch, what writes and runs it.
        extra: of segpipe, which brings the packages.
        write: puts a traced graph into a file.
        min_size: the smallest side of a picture that the file takes.
        from_onnx: puts an ONNX file into one of the format; None where that cannot be.
    """

    name: str
    suffix: str
    companions: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str
    write: Callable[[ExportedProgram, Path], None]
    min_size: int = 1
    from_onnx: Callable[[Path, Path], None] | None = None

    def files(self, path: Path) -> tuple[Path, ...]:
        """The file and those beside it; the one that the others belong to comes last."""
        return (*(path.with_suffix(suffix) for suffix in self.companions), path)

    def versions(self) -> str:
        """The versions of the packages that take part."""
        return " ".join(f"{package}={_version(package)}" for package in ("torch", *self.packages))

    def require_packages(self) -> None:
        """MissingExtraError where one is not installed."""
        for package in self.packages:
            import_extra(package, extra=self.extra)


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """An ONNX file with the weights inside."""
    with torch.no_grad(), quiet_torch():
        exported = torch.onnx.export(
            program, (), dynamo=True, input_names=[INPUT_NAME], output_names=[OUTPUT_NAME], verbose=False
        )
    assert exported is not None
    exported.save(path)


def write_openvino(program: ExportedProgram, path: Path) -> None:
    """OpenVINO's .xml, with its .bin beside it, by way of ONNX: OpenVINO's converter from torch reports home."""
    between = path.with_suffix(".onnx")
    write_onnx(program, between)
    try:
        convert_to_openvino(between, path)
    finally:
        between.unlink()


def convert_to_openvino(source: Path, path: Path) -> None:
    """OpenVINO's .xml, with its .bin beside it, from an ONNX file."""
    openvino = import_extra("openvino", extra="openvino")
    openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=False)


def write_torch(program: ExportedProgram, path: Path) -> None:
    """What `torch.export.load` opens."""
    content = io.BytesIO()
    with quiet_torch():
        torch.export.save(program, content)
    path.write_bytes(content.getbuffer())  # by name, torch's writer would end the process on a full disk


FORMATS = {
    format.name: format
    for format in (
        Format("onnx", ".onnx", (), ("onnx", "onnxscript", "onnxruntime"), "onnx", write_onnx, from_onnx=os.replace),
        Format(
            "openvino",
            ".xml",
            (".bin",),
            ("onnx", "onnxscript", "openvino"),
            "openvino",
            write_openvino,
            from_onnx=convert_to_openvino,
        ),
        # torch.export keeps what it assumed while tracing: that no map has only one row or column.
        Format("torch", ".pt2", (), (), "", write_torch, min_size=64),
    )
}


def find_format(name: str) -> Format:
    """The format of a name; InputError has the list."""
    if name not in FORMATS:
        raise InputError(unknown_name_message("format", name, FORMATS))
    return FORMATS[name]


def format_for(path: Path) -> str:
    """The name of the format whose files end as the path does; InputError has the list."""
    found = next((format.name for format in FORMATS.values() if format.suffix == path.suffix.lower()), None)
    if found is None:
        raise InputError(
            f"{path} ends in {path.suffix or 'no suffix'}, which is not that of a format: {describe_formats()}. "
            f"Write e.g. {path.with_suffix('.onnx')}."
        )
    return found


def describe_formats() -> str:
    """The names of the formats with what their files end in."""
    return ", ".join(f"{format.name} ({format.suffix})" for format in FORMATS.values())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
