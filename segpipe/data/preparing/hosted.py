"""Fetch data sets that a hub holds, unpacked, into a folder that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from segpipe.atomic import (
    atomic_folder,
    check_free_space,
    is_finished,
    link_or_copy,
    move,
    remove_folder,
    replaced_folder,
    storage_errors,
    sync_disks,
)
from segpipe.errors import ModelNameError, ModelNotFoundError, OfflineError
from segpipe.hub import (
    Cache,
    FileEntry,
    Manifest,
    ModelScopeDataSource,
    Part,
    RemoteFile,
    Shelf,
    Source,
    Transport,
    check_model_name,
    check_relative_paths,
    check_revision,
    fetch_all,
    file_key,
    folder_lock,
    modelscope_credentials,
    read_settings,
    timestamp,
    touch,
    write_manifest,
)
from segpipe.log import get_logger
from segpipe.names import listing

from ..image_folders import IMAGE_SUFFIXES
from .published_archives import unpack

logger = get_logger(__name__)

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_TEXTS = (".txt", ".lst", ".json", ".csv", ".tsv", ".xml", ".md", ".mat")
_DATA = (*ARCHIVES, *_TEXTS, *IMAGE_SUFFIXES)


def modelscope_data(
    name: str,
    revision: str = "master",
    *,
    refresh: bool = False,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
) -> Path:
    """Return the folder of a data set on ModelScope. It is fetched once, and used without a request from then on.

    Archives are unpacked in place, into a folder of the archive's name if they hold no folder. Images, lists and other
    texts are kept as they are. Code is not fetched.

    Args:
        name: owner/name.
        revision: branch or tag.
        refresh: fetch it again.
        cache_dir: see `segpipe.hub.Hub`.
        offline: see `segpipe.hub.Hub`.

    Raises:
        ModelNotFoundError: there is no such data set, or it holds nothing that is data.
        DownloadError: the network or the server failed; the next call goes on with what came.
        IntegrityError: what came is not what the server lists, or an archive is damaged.
    """
    if not isinstance(name, str) or name.count("/") != 1:
        raise ModelNameError(
            f"{str(name)[:80]!r} is not a data set of ModelScope; one has an owner and a name. Give both."
        )
    check_model_name(name)
    check_revision(revision)
    settings = read_settings(cache_dir, offline)
    credentials = modelscope_credentials(settings.modelscope_token)
    source = ModelScopeDataSource(name, settings.modelscope_endpoint, credentials)
    cache = Cache(settings.home)
    shelf = cache.data_shelf(source.label)
    final = shelf.root / f"at-{file_key(revision)}"
    if is_finished(final) and not refresh:
        touch(final)
        return final
    if settings.offline:
        raise OfflineError(f"{source.label}@{revision} would need a request and offline mode is on (SEGPIPE_OFFLINE).")
    cache.prepare()
    with folder_lock(shelf.root, settings.lock_timeout):
        if refresh or not is_finished(final):  # another process may have fetched it while this one waited
            _fetch(source, shelf, Transport(settings.limits), revision, final)
    return final


def _fetch(source: Source, shelf: Shelf, transport: Transport, revision: str, final: Path) -> None:
    files = _select(source.list_files(transport, revision).files, source, revision)
    size = sum(file.size or 0 for file in files)
    check_free_space(shelf.root, 2 * size)  # packed and unpacked; images do not compress
    logger.info("Fetching %s@%s: %d files, %s bytes, into %s", source.label, revision, len(files), f"{size:,}", final)
    stored = fetch_all(source, shelf.parts, transport, files)
    try:
        with (replaced_folder if is_finished(final) else atomic_folder)(final, sync=sync_disks) as folder:
            for part, entry in stored:
                with storage_errors(final, entry.size):
                    _put(part, entry, folder)
            with storage_errors(final):
                write_manifest(folder, Manifest((), source.label, revision, None, timestamp()))
    except BaseException:
        for part, _ in stored:
            part.release()
        raise
    for part, _ in stored:
        part.discard()


def _select(files: Sequence[RemoteFile], source: Source, revision: str) -> list[RemoteFile]:
    """Select the files that are data, with paths that are safe."""
    chosen = [file for file in files if file.path.lower().endswith(_DATA)]
    passed_by = [file.path for file in files if not file.path.lower().endswith(_DATA)]
    if not any(file.path.lower().endswith((*ARCHIVES, *IMAGE_SUFFIXES)) for file in chosen):
        raise ModelNotFoundError(
            f"{source.label}@{revision} holds neither an archive nor an image: it lists "
            f"{listing([file.path for file in files]) or 'no files'}. Check the name and the revision."
        )
    if passed_by:
        logger.info("%s: %s are passed by", source.label, listing(passed_by))
    check_relative_paths([file.path for file in chosen])
    return chosen


def _put(part: Part, entry: FileEntry, folder: Path) -> None:
    """Give a fetched file, or what an archive holds, its place."""
    suffix = next((suffix for suffix in ARCHIVES if entry.path.lower().endswith(suffix)), None)
    if suffix is None:
        link_or_copy(part.path, folder / entry.path)
        return
    place = folder / entry.path
    packing = folder / ".packing"
    stem = place.name[: -len(suffix)]
    packed = packing / f"{stem}{suffix}"  # in lower case, by which `unpack` knows its kind
    link_or_copy(part.path, packed)
    unpack(packed, "", packing / "content")
    packed.unlink()
    has_folders = any(map(os.path.isdir, (packing / "content").iterdir()))
    _merge(packing / "content", place.parent if has_folders else place.parent / stem)
    remove_folder(packing)


def _merge(source: Path, target: Path) -> None:
    """Move what is in a folder into another one, folder by folder; a file that is there already stays."""
    target.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir()):
        place = target / child.name
        if not os.path.lexists(place):
            move(child, place)
        elif os.path.isdir(child) and os.path.isdir(place):
            _merge(child, place)
