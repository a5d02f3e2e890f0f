"""Uploading a folder to Hugging Face and ModelScope through their own clients, which are extras."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Protocol

from segpipe.errors import AccessDeniedError, HubError, OfflineError
from segpipe.extras import import_extra
from segpipe.progress_bars import is_watched

from .references import Reference
from .settings import Settings

MESSAGE = "Upload a model folder of segpipe"
"""Of the commits."""


class Client(Protocol):
    """The client of a hub, signed in as the environment says, else as its user has signed in with it."""

    default_branch: str
    variable: str
    """Where its token is looked for first."""

    def upload(self, folder: Path, name: str, branch: str, licence: str | None) -> None:
        """Commit all files of `folder` to a branch of the repository `name`, which is created if it is not there."""


def open_client(reference: Reference, settings: Settings) -> Client:
    """Return the client for a reference of the kind `hf` or `modelscope`.

    Raises:
        OfflineError: no request may be made.
        MissingExtraError: the client is not installed.
    """
    reason = settings.offline_reason(reference.kind)
    if reason:
        raise OfflineError(f"Publishing to {reference.label} would need requests and {reason}.")
    return HuggingFaceClient(settings) if reference.kind == "hf" else ModelScopeClient(settings)


def upload_folder(client: Client, folder: Path, reference: Reference, branch: str, *, licence: str | None) -> None:
    """Upload all files of a folder to a branch, in one commit.

    Raises:
        AccessDeniedError: the token may not write there, or there is none.
        HubError: the client failed for another reason.
    """
    try:
        client.upload(folder, reference.location, branch, licence)
    except Exception as error:  # each client has a tree of its own, with errors of the network beside it
        raise _explained(error, reference, client.variable) from error


class HuggingFaceClient:
    """`huggingface_hub`."""

    default_branch = "main"
    variable = "HF_TOKEN"

    def __init__(self, settings: Settings) -> None:
        self._library = import_extra("huggingface_hub", extra="huggingface")
        self._settings = settings

    def upload(self, folder: Path, name: str, branch: str, licence: str | None) -> None:
        settings = self._settings
        api = self._library.HfApi(endpoint=settings.hf_endpoint, token=settings.hf_token)
        api.create_repo(name, exist_ok=True)
        if branch != self.default_branch:
            api.create_branch(name, branch=branch, exist_ok=True)
        with nullcontext() if _has_bars(settings) else _without_bars():
            api.upload_folder(repo_id=name, folder_path=folder, revision=branch, commit_message=MESSAGE)


class ModelScopeClient:
    """`modelscope_hub`, by which the package `modelscope` talks to its hub."""

    default_branch = "master"
    variable = "MODELSCOPE_API_TOKEN"

    def __init__(self, settings: Settings) -> None:
        self._library = import_extra("modelscope_hub", extra="modelscope")
        self._settings = settings

    def upload(self, folder: Path, name: str, branch: str, licence: str | None) -> None:
        settings = self._settings
        config = self._library.HubConfig(endpoint=settings.modelscope_endpoint, token=settings.modelscope_token)
        api = self._library.HubApi(config)
        if not api.repo_exists(name, "model"):
            api.create_repo(name, "model", license=licence or "other")  # its default is Apache-2.0
        with redirect_stdout(io.StringIO()):  # it prints a report
            api.upload_folder(
                name,
                "model",
                folder,
                revision=branch,
                commit_message=MESSAGE,
                use_cache=False,
                disable_tqdm=not _has_bars(settings),
            )


def _has_bars(settings: Settings) -> bool:
    return settings.progress and is_watched()


@contextmanager
def _without_bars() -> Iterator[None]:
    """Switch the progress bars of `huggingface_hub` off meanwhile."""
    switches = import_extra("huggingface_hub.utils", extra="huggingface")
    if switches.are_progress_bars_disabled():
        yield
        return
    switches.disable_progress_bars()
    try:
        yield
    finally:
        switches.enable_progress_bars()


def _explained(error: Exception, reference: Reference, variable: str) -> HubError:
    """Return our error for what a client raised."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    lines = str(error).strip().splitlines()
    reason = lines[0].rstrip(". :")[:300] if lines else type(error).__name__
    if status in (401, 403):
        return AccessDeniedError(
            f"{reference.label} may not be written to: {reason}. It needs a token of its owner's that may write. Set "
            f"{variable}, or sign in with the hub's own client.",
            status=status,
            key=reference.label,
        )
    return HubError(
        f"Publishing to {reference.label} failed: {reason}. Check the name, the branch and the network, and publish "
        "again; files that the hub has already are not sent twice.",
        status=status,
        key=reference.label,
    )
