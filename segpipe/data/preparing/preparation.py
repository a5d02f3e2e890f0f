"""Prepare a data set: fetch it where it is public, then make its files, each whole or not at all and none twice."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

from segpipe import advice
from segpipe.atomic import atomic_file
from segpipe.errors import InputError
from segpipe.extras import import_opencv
from segpipe.files import copy_regular, open_regular
from segpipe.names import unknown_name_message

from ..datasets.finding_files import existing_folder
from ..datasets.loading import PREPARERS, keyword_options, load_dataset
from .plans import Content, FilePlan, FileTask, Prepared
from .published_archives import fetch_archives

Progress = Callable[[int, int], object]
"""Called with the number of files done and that of all."""

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"
_CHUNK = 4
"""Tasks that a process takes at once; a stop waits for them."""


def run_tasks(tasks: Sequence[FileTask], *, jobs: int = 1, progress: Progress | None = None) -> tuple[Path, ...]:
    """Make the files that are not there and whole, and return their paths. The others are left as they are.

    Args:
        tasks: tasks that do not depend on each other.
        jobs: number of processes; with 1, this one does the work.
        progress: called after every few files.

    Raises:
        InputError: a task refused its input, or the disk refused a file. What other tasks wrote stays.
    """
    if jobs < 1:
        raise InputError(
            f"The number of jobs is {jobs}; it is the number of processes, 1 or more. Give "
            f"{advice.argument('jobs', 1)}."
        )
    files = [path for task in tasks for path in task.files]
    missing = {path: None for path in files if not is_whole(path)}
    rest = [task for task in tasks if any(path in missing for path in task.files)]
    done = len(files) - sum(len(task.files) for task in rest)
    counts = (_run_all([task]) for task in rest) if jobs == 1 else _run_apart(rest, jobs)
    for count in itertools.chain((0,), counts):
        done += count
        if progress is not None:
            progress(done, len(files))
    return tuple(missing)


def is_whole(path: Path) -> bool:
    """Return whether a file is there and not cut off: a PNG has its first and last bytes, another file is not empty."""
    try:
        with open_regular(path, error=OSError) as file:
            start = file.read(len(_PNG_START))
            if path.suffix.lower() != ".png":
                return bool(start)
            file.seek(-len(_PNG_END), os.SEEK_END)
            return start == _PNG_START and file.read() == _PNG_END
    except OSError:
        return False


def _run_apart(tasks: Sequence[FileTask], jobs: int) -> Iterator[int]:
    """Yield numbers of files as they are written. The first error ends it."""
    size = max(1, min(_CHUNK, len(tasks) // (8 * jobs)))
    chunks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    # Not forked: OpenCV and the caller may have threads, whose locks a forked process would inherit held.
    with ProcessPoolExecutor(min(jobs, len(chunks)) or 1, get_context("spawn"), _prepare_worker, advice.form()) as pool:
        running = {pool.submit(_run_all, chunk) for chunk in chunks}
        try:
            while running:
                finished, running = wait(running, timeout=1.0, return_when=FIRST_EXCEPTION)
                yield sum(future.result() for future in finished)
        except BrokenProcessPool:
            how = advice.either(
                python='In a script, let the call stand below `if __name__ == "__main__":`. ', command=""
            )
            raise InputError(
                "A worker process ended too early; all must live to the end. Most often memory ran out: give "
                f"{advice.argument('jobs', 1)}. {how}What was written is kept."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker(*form: Any) -> None:
    """Ignore Ctrl-C, which is for the process that waits, and use one thread: there are several workers."""
    advice.take_form(*form)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_opencv().setNumThreads(1)


def _run_all(tasks: Sequence[FileTask]) -> int:
    for task in tasks:
        for path, content in zip(task.files, task.make(), strict=True):
            if not is_whole(path):
                _write(path, content)
    return sum(len(task.files) for task in tasks)


def _write(path: Path, content: Content) -> None:
    """Write a file, which appears whole or not at all. After a power cut it may be cut off, which `is_whole` sees."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, sync=False) as unfinished:
            if isinstance(content, Path):
                copy_regular(content, unfinished, error=InputError)
            elif isinstance(content, bytes):
                unfinished.write_bytes(content)
            else:
                Image.fromarray(content).save(unfinished, format="PNG")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}. Preparing needs a folder that you may write to, and "
            "space in it. Free some space or change its permissions; what was written is kept."
        ) from None


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
        jobs: number of processes. If more than one, the call of a script must be below `if __name__ == "__main__":`.
        progress: called after every few files.
        options: options of this data set: `annotations` of cityscapes; `count`, `first_seed`, `size` and `split` of
            street-scenes; `data`, `split`, `metric` and `options` of boundaries, see `plan_boundaries`.

    Raises:
        UnknownNameError: there is no such data set.
        InputError: the folder does not hold what the preparation starts from, a file of it is damaged, or the disk is
            full.
    """
    preparer = PREPARERS.get(name)
    planner = partial(_plan_nothing, name) if preparer.plan is None else preparer.plan
    _check_options(name, planner, options)
    folder = Path(os.path.expanduser(root)) if preparer.makes_root else existing_folder(root)
    plan = planner(folder, **options)
    written = run_tasks(plan.tasks, jobs=jobs, progress=progress)
    kept = sum(len(task.files) for task in plan.tasks) - len(written)
    folders = Counter(path.parent.relative_to(folder).as_posix() for path in written)
    return Prepared(name, folder, plan.note, dict(sorted(folders.items())), kept)


def download_dataset(
    name: str, root: str | os.PathLike[str], *, keep_archives: bool = False, has_progress: bool = True
) -> tuple[str, ...]:
    """Fetch and unpack a public data set below the root, which is made, and return the URLs of what was missing.

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


def _plan_nothing(name: str, root: Path) -> FilePlan:
    """Plan nothing for a data set that is read as it was published, but see that it is there."""
    dataset = load_dataset(name, root, "val")
    return FilePlan(f"{name} is read as it was published; its val split has {len(dataset)} images.")


def _check_options(name: str, plan: Callable[..., FilePlan], options: dict[str, Any]) -> None:
    known = keyword_options(plan)
    unknown = next((option for option in options if option not in known), None)
    if unknown is not None and not known:
        raise InputError(f"The preparation of {name} has no options; {unknown!r} was given. Leave it out.")
    if unknown is not None:
        raise InputError(unknown_name_message(f"option of the preparation of {name}", unknown, known))
