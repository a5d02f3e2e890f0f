"""The formats: what writes a traced graph, what its file is called, and which packages take part."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe import advice
from segpipe.atomic import move
from segpipe.errors import InputError
from segpipe.extras import import_extra
from segpipe.names import unknown_name_message

if TYPE_CHECKING:
    from .torch_export import Trace


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
        min_size: the smallest side of an image that the file takes.
        from_onnx: puts an ONNX file into one of the format, also an int8 one. If None, the format has no int8 files.
    """

    name: str
    suffix: str
    companions: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str
    write: Callable[[Trace, Path], None]
    min_size: int = 1
    from_onnx: Callable[[Path, Path], None] | None = None

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the file and those beside it; the one that the others belong to comes last."""
        return (*(path.with_suffix(suffix) for suffix in self.companions), path)

    def versions(self) -> str:
        """Return the versions of the packages that take part."""
        return " ".join(f"{package}={_version(package)}" for package in ("torch", *self.packages))

    def for_int8(self) -> Format:
        """Return the format for int8 files, which need ONNX Runtime's quantizer; InputError if it has none."""
        if self.from_onnx is None:
            raise InputError(
                f"The format {self.name!r} has no int8 files. Give {advice.argument('format', 'onnx')} or "
                f"{advice.argument('format', 'openvino')}."
            )
        packages = dict.fromkeys((*self.packages, "onnxruntime"))
        return replace(self, packages=tuple(packages), extra=",".join(dict.fromkeys(("onnx", self.extra))))

    def require_packages(self) -> None:
        """Raise MissingExtraError if one is not installed."""
        for package in self.packages:
            import_extra(package, extra=self.extra)


def _call_of(module: str, name: str) -> Callable[..., Any]:
    """Return a function that calls one of a module beside this one, which takes torch and is imported by the call."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f".{module}", __package__), name)(*arguments)

    return call


FORMATS = {
    format.name: format
    for format in (
        Format(
            "onnx",
            ".onnx",
            (),
            ("onnx", "onnxscript", "onnxruntime"),
            "onnx",
            _call_of("onnx", "write_onnx"),
            from_onnx=move,
        ),
        Format(
            "openvino",
            ".xml",
            (".bin",),
            ("onnx", "onnxscript", "openvino"),
            "openvino",
            _call_of("openvino", "write_openvino"),
            from_onnx=_call_of("openvino", "convert_to_openvino"),
        ),
        # torch.export keeps what it assumed while tracing: that no map has only one row or column.
        Format("torch", ".pt2", (), (), "", _call_of("torch_export", "write_torch"), min_size=64),
    )
}


def find_format(name: str) -> Format:
    """Return the format of a name; InputError has the list."""
    if name not in FORMATS:
        raise InputError(unknown_name_message("format", name, FORMATS))
    return FORMATS[name]


def format_for(path: Path) -> str:
    """Return the name of the format whose files end as the path does; InputError has the list."""
    found = next((format.name for format in FORMATS.values() if format.suffix == path.suffix.lower()), None)
    if found is None:
        raise InputError(
            f"{path} ends in {path.suffix or 'no suffix'}, which is not that of a format: {describe_formats()}. "
            f"Write e.g. {path.with_suffix('.onnx')}."
        )
    return found


def describe_formats() -> str:
    """Return the names of the formats with their suffixes."""
    return ", ".join(f"{format.name} ({format.suffix})" for format in FORMATS.values())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
