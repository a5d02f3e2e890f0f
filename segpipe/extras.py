"""Packages that may be missing or broken: imported in one place, whose error says the command that mends it."""

from __future__ import annotations

import importlib
import re
from typing import Any

from segpipe.errors import MissingExtraError

_REINSTALL_OPENCV = (
    "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless"
    " (OpenCV without windows)"
)
_SYSTEM_PACKAGES = {"libGL.so": "libgl1", "libgthread-2.0.so": "libglib2.0-0", "libglib-2.0.so": "libglib2.0-0"}


def import_opencv() -> Any:
    """Return the module `cv2`; MissingExtraError with what to do when it is missing or cannot start."""
    try:
        return importlib.import_module("cv2")
    except Exception as error:  # a damaged installation raises AttributeError and others
        raise MissingExtraError(explain_opencv(str(error).strip().rstrip("."))) from None


def import_extra(module: str, *, extra: str) -> Any:
    """Return a module that one of segpipe's extras brings; MissingExtraError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        why = str(error).strip().rstrip(".")
        raise MissingExtraError(f'{module} cannot be imported: {why}. Run pip install "segpipe[{extra}]".') from None


def explain_opencv(reason: str) -> str:
    """Say what the failed import's own message means, and the command that mends it."""
    library = re.match(r"(lib[\w.+-]+?\.so)[.\d]*: cannot open shared object", reason)
    if library:
        package = _SYSTEM_PACKAGES.get(library[1])
        apt = f"apt-get install -y {package}, or " if package else ""
        return f"OpenCV cannot start because the system has no {library[1]}. Run {apt}{_REINSTALL_OPENCV}."
    if "No module named 'cv2'" in reason:
        return "OpenCV is not installed. Run pip install opencv-python, or opencv-python-headless on a server."
    return f"OpenCV cannot start: {reason}. Run {_REINSTALL_OPENCV}."
