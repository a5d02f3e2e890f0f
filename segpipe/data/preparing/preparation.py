"""Preparing a data set: fetching it where it is public, then making the files that training needs."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segpipe import advice
from segpipe.errors import InputError
from segpipe.names import unknown_name_message

from ..datasets.places import existing_folder
from .catalogue import PREPARERS
from .downloading import fetch_archives
from .plans import Plan, Prepared
from .running import Progress, run_tasks


def prepare_dataset(
    name: str,
    root: str | os.PathLike[str],
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    **options: Any,
) -> Prepared:
    """Make the files that a data set needs before training. What is there already and whole is left as it is.

    Nothing that was there is changed or deleted; only a cut-off file of a name that is to be made is made again. A
    preparation that was interrupted goes on where it stopped.

    Args:
        name: see `PREPARERS`: cityscapes, coco-stuff164k, pascal-context, camvid, street-scenes, …
            boundaries is for any of them, by its option `data`.
        root: its folder; street-scenes makes it.
        jobs: processes. With more than one, the call of a script must stand below `if __name__ == "__main__":`.
        progress: called with (files done, of how many).
        options: of this data set: `annotations` of cityscapes; `count`, `first_seed`, `size` and `split` of
            street-scenes; `data`, `split`, `metric` and `options` of boundaries, see `plan_boundaries`.

    Raises:
        UnknownNameError: no such data set.
        InputError: the folder does not hold what the preparation starts from, a file of it is damaged, or the disk is
            full.
    """
    preparer = PREPARERS.get(name)
    _check_options(name, preparer.plan, options)
    folder = Path(os.path.expanduser(root)) if preparer.makes_root else existing_folder(root)
    plan: Plan = preparer.plan(folder, **options)
    written = run_tasks(plan.tasks, jobs=jobs, progress=progress)
    kept = sum(len(task.files) for task in plan.tasks) - len(written)
    return Prepared(name, folder, plan.note, _count_folders(written, folder), kept)


def download_dataset(
    name: str, root: str | os.PathLike[str], *, keep_archives: bool = False, has_progress: bool = True
) -> tuple[str, ...]:
    """Fetch and unpack a public data set below the root, which is made; the URLs of what was missing come back.

    Args:
        name: see `PREPARERS`.
        root: its folder.
        keep_archives: leave the archives in the root after unpacking.
        has_progress: show bars, where stderr is a terminal.

    Raises:
        InputError: the data set cannot be fetched, the message says where it is; or the disk is too small.
        DownloadError: the network or the server failed. The next call goes on with what came.
        IntegrityError: the bytes are not the published ones.
    """
    preparer = PREPARERS.get(name)
    if not preparer.archives:
        raise InputError(
            f"{name} cannot be downloaded; that needs a public archive with a published digest. {preparer.origin}. "
            + advice.either(python="Fetch it from there.", command="Leave --download out.")
        )
    return fetch_archives(
        Path(os.path.expanduser(root)), preparer.archives, keep=keep_archives, has_progress=has_progress
    )


def _check_options(name: str, plan: Callable[..., Plan], options: dict[str, Any]) -> None:
    parameters = inspect.signature(plan).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    unknown = next((option for option in options if option not in known), None)
    if unknown is not None and not known:
        raise InputError(f"The preparation of {name} has no options; {unknown!r} was given. Leave it out.")
    if unknown is not None:
        raise InputError(unknown_name_message(f"option of the preparation of {name}", unknown, known))


def _count_folders(paths: Sequence[Path], root: Path) -> dict[str, int]:
    folders = Counter(path.parent.relative_to(root).as_posix() for path in paths)
    return dict(sorted(folders.items()))
