"""Models by name: finding, downloading, caching, verifying and publishing model folders. Bytes, never tensors."""

from __future__ import annotations

from .cache import Cache, CachedModel, Checked, Pruned
from .client import Hub, download, publish
from .folder import ModelFolder, is_model_folder
from .manifest import FileEntry, Manifest, Problem
from .retries import Limits
from .sealing import seal_folder
from .settings import VARIABLES, Settings, describe_variables, read_settings
from .storage import atomic_folder
from .transport import Transport, fetch_bytes

__all__ = [
    "VARIABLES",
    "Cache",
    "CachedModel",
    "Checked",
    "FileEntry",
    "Hub",
    "Limits",
    "Manifest",
    "ModelFolder",
    "Problem",
    "Pruned",
    "Settings",
    "Transport",
    "atomic_folder",
    "describe_variables",
    "download",
    "fetch_bytes",
    "is_model_folder",
    "publish",
    "read_settings",
    "seal_folder",
]
