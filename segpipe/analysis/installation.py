"""Examining this installation: versions, devices, OpenCV, the cache, the network's settings."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from segpipe import __version__
from segpipe.errors import MissingExtraError, SegpipeError
from segpipe.extras import import_opencv
from segpipe.hub import Hub, describe_variables, read_settings
from segpipe.limits import LIMITS, limit
from segpipe.names import nearest_name
from segpipe.text import first_line, format_bytes

OPENCV_BUILDS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
REQUIRED = {
    "torch": "2.10",
    "numpy": "1.24",
    "pillow": "10.1",
    "requests": "2.32.2",
    "filelock": "3.12",
    "safetensors": "0.4.3",
    "tqdm": "4.65",
    "msgspec": "0.18.6",
    "pyyaml": "6.0",
    "matplotlib": "3.8",
}
"""Oldest versions, as setup.py has them; a test compares."""
COMPILERS = ("g++", "clang++", "c++", "cl")
RUNTIME_PACKAGES = {
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
"""What each runtime needs, as its format has it; the first ones export. A test compares."""
LITTLE_SPACE = 2 * 10**9
PROXIES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
)


@dataclass(frozen=True)
class Finding:
    """A fault of the installation, with the command that mends it."""

    severity: Literal["broken", "warning"]
    """broken: segpipe cannot work like this."""
    sentence: str


@dataclass(frozen=True)
class Section:
    """One part of the examination."""

    title: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = ()


def examine() -> tuple[Section, ...]:
    """Examine everything; no socket is opened."""
    return tuple(_examined(title, look) for title, look in _PARTS.items())


def examine_versions() -> Section:
    """List installed packages, and those that are missing or too old."""
    facts = [("python", platform.python_version()), ("segpipe", __version__), ("system", platform.platform(terse=True))]
    findings = []
    for package, oldest in REQUIRED.items():
        version = _installed(package)
        facts.append((package, version or "missing"))
        if version is None or _numbers(version) < _numbers(oldest):
            state = "not installed" if version is None else f"{version}, older than {oldest}"
            findings.append(Finding("broken", f'{package} is {state}. Run pip install "{package}>={oldest}".'))
    return Section("versions", tuple(facts), tuple(findings))


def examine_opencv() -> Section:
    """Report which build is installed, whether two are, and whether it starts."""
    builds = [(name, version) for name in OPENCV_BUILDS if (version := _installed(name))]
    facts, findings = list(builds), []
    if len(builds) > 1:
        names = [name for name, _ in builds]
        findings.append(
            Finding(
                "warning",
                f"{' and '.join(names)} overwrite one another's files. Keep one: "
                f"pip uninstall -y {' '.join(names)} && pip install {names[0]}.",
            )
        )
    try:
        facts.append(("cv2", str(import_opencv().__version__)))
    except MissingExtraError as error:
        facts.append(("cv2", "does not start"))
        findings.append(Finding("broken", str(error)))
    return Section("opencv", tuple(facts), tuple(findings))


def examine_devices() -> Section:
    """List processors and GPUs as torch sees them."""
    try:
        import torch
    except Exception as error:  # a damaged installation raises OSError and others
        sentence = f"torch cannot start: {first_line(error)}. Run pip install --force-reinstall torch."
        return Section("devices", (("torch", "does not start"),), (Finding("broken", sentence),))
    facts = [
        ("cpu", f"{torch.get_num_threads()} of {os.cpu_count()} threads, {torch.backends.cpu.get_cpu_capability()}")
    ]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        facts.append((f"cuda:{index}", f"{properties.name}, {format_bytes(properties.total_memory)}"))
    if not torch.cuda.device_count():
        facts.append(("cuda", "no GPU" if torch.version.cuda else "no GPU, and a torch without CUDA"))
    if torch.cuda.device_count() or torch.version.cuda or not shutil.which("nvidia-smi"):
        return Section("devices", tuple(facts))
    sentence = "This machine has an NVIDIA driver, but torch was built without CUDA. Run pip install --upgrade torch."
    return Section("devices", tuple(facts), (Finding("warning", sentence),))


def examine_runtimes() -> Section:
    """List what besides torch can execute a network here; a missing one is not a finding."""
    facts = [("compiled", next(filter(None, map(shutil.which, COMPILERS)), None) or "no C++ compiler")]
    for name, packages in RUNTIME_PACKAGES.items():
        missing = ", ".join(package for package in packages if _installed(package) is None)
        extra = "openvino" if name == "openvino" else "onnx"
        facts.append((name, f'no {missing}: pip install "segpipe[{extra}]"' if missing else str(_installed(name))))
    return Section("runtimes", tuple(facts))


def examine_cache() -> Section:
    """Report where the cache is, whether it can be written, how much it holds and how much more would fit."""
    home = Hub().cache.home
    models = Hub().cached()
    above = next(folder for folder in (home, *home.absolute().parents) if os.path.exists(folder))
    free = shutil.disk_usage(above).free
    is_writable = os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)
    facts = (
        ("folder", str(home)),
        ("writable", ("yes" if os.path.isdir(home) else "yes, made when it is needed") if is_writable else "no"),
        ("holds", f"{len(models)} folders, {format_bytes(sum(model.size for model in models))}"),
        ("free space", format_bytes(free)),
    )
    findings = []
    if not is_writable:
        findings.append(
            Finding("broken", f"{above} cannot be written. Run export SEGPIPE_HOME=… with a folder of yours.")
        )
    if free < LITTLE_SPACE:
        findings.append(
            Finding("warning", f"Only {format_bytes(free)} are free. Run segpipe cache prune --keep-last 1.")
        )
    return Section("cache", facts, tuple(findings))


def examine_hub() -> Section:
    """Report where models come from, and the variables that say so."""
    settings = read_settings()
    facts = [
        ("bare names", _without_password(settings.hub or "modelscope:")),
        ("ModelScope", _without_password(settings.modelscope_endpoint)),
        ("Hugging Face", _without_password(settings.hf_endpoint)),
        ("offline", "yes: no socket is opened" if settings.offline else "no"),
    ]
    variables = describe_variables()
    facts += [(name, _without_password(value)) for name, value, _ in variables if value != "not set"]
    unset = [name for name, value, _ in variables if value == "not set"]
    return Section("hub", (*facts, ("not set", ", ".join(unset) or "none")))


def examine_network() -> Section:
    """List proxies and certificates that requests will use."""
    names = [name for upper in PROXIES for name in dict.fromkeys((upper, upper.lower())) if os.environ.get(name)]
    facts = [(name, _without_password(os.environ[name])) for name in names]
    findings = [
        Finding("broken", f"{name} names {os.environ[name]}, which does not exist. Run unset {name}.")
        for name in names
        if name.upper().endswith(("_BUNDLE", "_FILE")) and not os.path.exists(os.environ[name])
    ]
    return Section("network", tuple(facts) or (("proxies", "none"),), tuple(findings))


def examine_limits() -> Section:
    """List limits that environment variables replace, and variables that are named like one and replace none."""
    known = {entry.variable: entry for entry in LIMITS.values()}
    given = sorted(name for name in os.environ if name.startswith("SEGPIPE_MAX_"))
    facts = tuple((name, f"{limit(known[name].name):,} {known[name].unit}") for name in given if name in known)
    findings = tuple(
        Finding(
            "warning",
            f"{name} replaces no limit.{_suggestion(name)} docs/limits.md lists all. Run unset {name}.",
        )
        for name in given
        if name not in known
    )
    return Section("limits", facts or (("replaced", "none"),), findings)


def _suggestion(name: str) -> str:
    nearest = nearest_name(name.removeprefix("SEGPIPE_MAX_"), LIMITS)
    return f" Did you mean {LIMITS[nearest].variable}?" if nearest else ""


_PARTS: dict[str, Callable[[], Section]] = {
    "versions": examine_versions,
    "opencv": examine_opencv,
    "devices": examine_devices,
    "runtimes": examine_runtimes,
    "cache": examine_cache,
    "hub": examine_hub,
    "network": examine_network,
    "limits": examine_limits,
}


def _examined(title: str, look: Callable[[], Section]) -> Section:
    """Return a section; an error that keeps it from being examined is a finding, too."""
    try:
        return look()
    except (SegpipeError, OSError) as error:
        return Section(title, (), (Finding("broken", str(error)),))


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return (2, 13, 0) for 2.13.0+cpu."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else (sys.maxsize,)


def _without_password(value: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", value) if "//" in value else re.sub(r"^[^/@]*:[^/@]*@", "…@", value)
