"""Environment variables that the hub reads, each time it is asked: argument, then variable, then default."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from segpipe.errors import InputError

from .references import has_secrets, without_secrets
from .retries import Limits, check_seconds

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://modelscope.cn"


@dataclass(frozen=True)
class Variable:
    """One environment variable, for `segpipe doctor` and the documentation."""

    name: str
    description: str
    is_secret: bool = False


VARIABLES = (
    Variable("SEGPIPE_HOME", "folder of the cache; default: segpipe in the user's cache folder"),
    Variable("SEGPIPE_DATA", "folder whose sub-folders are data sets, by the names that ModelScope's scripts load"),
    Variable("SEGPIPE_HUB", "where bare owner/name models are: modelscope:, hf:, a static hub's URL or directory"),
    Variable("SEGPIPE_OFFLINE", "1: open no socket, use what is cached"),
    Variable("SEGPIPE_DOWNLOAD_TIMEOUT", "seconds without a byte after which a request is repeated; default 30"),
    Variable("SEGPIPE_LOCK_TIMEOUT", "seconds to wait for another process that downloads the same model; default 600"),
    Variable("SEGPIPE_FUSED", "0: plain torch on a GPU instead of Triton kernels"),
    Variable("SEGPIPE_PROGRESS", "0: no progress bars; they are off anyway where stderr is not a terminal"),
    Variable("HF_ENDPOINT", f"Hugging Face or a mirror of it; default {HUGGING_FACE}"),
    Variable("HF_TOKEN", "token for Hugging Face", is_secret=True),
    Variable("HF_HUB_OFFLINE", "1: no request to Hugging Face"),
    Variable("MODELSCOPE_ENDPOINT", f"ModelScope or a mirror of it; default {MODELSCOPE}"),
    Variable("MODELSCOPE_DOMAIN", "host name alone, where MODELSCOPE_ENDPOINT is not set"),
    Variable("MODELSCOPE_API_TOKEN", "token for ModelScope", is_secret=True),
)


@dataclass(frozen=True)
class Settings:
    """What the hub was told, by argument or by environment. Tokens are not in its repr."""

    home: Path
    hub: str | None
    offline: bool
    hf_offline: bool
    hf_endpoint: str
    modelscope_endpoint: str
    timeout: float
    lock_timeout: float
    hf_token: str | None = field(default=None, repr=False)
    modelscope_token: str | None = field(default=None, repr=False)
    data: Path | None = None

    @property
    def limits(self) -> Limits:
        """The bounds on a request."""
        return Limits(read_timeout=self.timeout, slow_window=self.timeout)

    def offline_reason(self, source: str) -> str | None:
        """Return why a source, e.g. "hf", may not be asked, or None if it may."""
        if self.offline:
            return "offline mode is on (SEGPIPE_OFFLINE)"
        return "HF_HUB_OFFLINE is set" if self.hf_offline and source == "hf" else None


def read_settings(cache_dir: str | Path | None = None, offline: bool | None = None) -> Settings:
    """Return the settings of this moment; the environment is read at each call."""
    if cache_dir is not None and "\0" in str(cache_dir):
        raise InputError(f"cache_dir is {str(cache_dir)!r}, which cannot be a path. Correct it.")
    data, domain = _text("SEGPIPE_DATA"), _text("MODELSCOPE_DOMAIN")
    return Settings(
        home=default_home() if cache_dir is None else Path(os.path.expanduser(cache_dir)),
        hub=_hub(),
        offline=_is_on("SEGPIPE_OFFLINE") if offline is None else offline,
        hf_offline=_is_on("HF_HUB_OFFLINE"),
        hf_endpoint=_endpoint("HF_ENDPOINT", HUGGING_FACE),
        modelscope_endpoint=_endpoint("MODELSCOPE_ENDPOINT", f"https://{domain}" if domain else MODELSCOPE),
        timeout=_seconds("SEGPIPE_DOWNLOAD_TIMEOUT", 30.0),
        lock_timeout=_seconds("SEGPIPE_LOCK_TIMEOUT", 600.0),
        hf_token=_text("HF_TOKEN"),
        modelscope_token=_text("MODELSCOPE_API_TOKEN"),
        data=None if data is None else Path(os.path.expanduser(data)),
    )


def default_home() -> Path:
    """Return SEGPIPE_HOME, else `segpipe` in the cache folder of this operating system's users."""
    home = _text("SEGPIPE_HOME")
    if home:
        return Path(os.path.expanduser(home))
    if sys.platform == "win32":
        return Path(_text("LOCALAPPDATA") or _user_home() / "AppData/Local") / "segpipe"
    if _text("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "segpipe"
    if sys.platform == "darwin":
        return _user_home() / "Library/Caches/segpipe"
    return _user_home() / ".cache/segpipe"


def _user_home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise InputError("This user has no home folder for the cache. Set SEGPIPE_HOME to a folder.") from None


def describe_variables() -> tuple[tuple[str, str, str], ...]:
    """Return (name, value, description) of every variable; a secret shows only whether it is set."""
    return tuple((variable.name, _shown(variable), variable.description) for variable in VARIABLES)


def _text(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _is_on(name: str) -> bool:
    return (_text(name) or "0").lower() not in ("0", "false", "no", "off")


def _seconds(name: str, default: float) -> float:
    value = _text(name)
    try:
        seconds = default if value is None else float(value)
    except ValueError:
        raise InputError(f"{name} is {value!r}. It needs a positive number of seconds, e.g. {default:g}.") from None
    return check_seconds(name, seconds)


def _endpoint(name: str, default: str) -> str:
    value = (_text(name) or default).rstrip("/")
    if not value.startswith(("https://", "http://")) or has_secrets(value):
        raise InputError(
            f"{name} is {without_secrets(value)!r}. It needs a URL without user, query and fragment, e.g. {default}."
        )
    return value


def _hub() -> str | None:
    value = _text("SEGPIPE_HUB")
    if value is not None and has_secrets(value):
        raise InputError(
            f"SEGPIPE_HUB is {without_secrets(value)!r}. It needs an address without user, query and fragment, "
            "e.g. https://models.example.org."
        )
    return value


def _shown(variable: Variable) -> str:
    value = _text(variable.name)
    if value is None:
        return "not set"
    return "set" if variable.is_secret else without_secrets(value)
