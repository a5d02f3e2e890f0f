"""The command `segpipe`: finds the verb, runs it, and turns an error into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from segpipe import __version__, advice
from segpipe.errors import InputError, SegpipeError
from segpipe.files import current_folder
from segpipe.names import did_you_mean
from segpipe.progress_bars import clear_bars
from segpipe.text import first_line

from .parsing import Command, Parser, UsageError, add_verbose, new_parser
from .printing import print_message, print_note, printable_streams

VERBS = {
    "demo": ("predict", "segment a drawn street scene, or an image of yours; needs no network"),
    "predict": ("predict", "segment images, folders, patterns and URLs"),
    "train": ("train", "train a model on a data set, and go on where a run stopped"),
    "eval": ("eval", "measure a model's scores on a data set"),
    "models": ("models", "list the models that segpipe knows, or describe one"),
    "download": ("folders", "fetch a model into the cache"),
    "convert": ("folders", "make a model folder from any known checkpoint, or a checkpoint for others"),
    "export": ("export", "write a model as an ONNX, OpenVINO or torch.export file, checked against the model"),
    "align": ("align", "compare two sets of weights of one network, stage by stage"),
    "profile": ("analysis", "count a model's parameters and multiplications, and time it"),
    "curves": ("train", "draw the losses and scores of several runs in one image"),
    "attention": ("analysis", "draw where in an image a token of a network looks"),
    "publish": ("folders", "copy a model folder to a hub"),
    "cache": ("folders", "list, verify, prune or empty the cache"),
    "config": ("models", "show, check and explain a configuration.json"),
    "data": ("data", "check a data set before training, or draw it with its labels"),
    "doctor": ("doctor", "examine the installation and say how to mend it"),
}
"""Verb → the module beside this one whose `COMMANDS` have it, and what it does."""

HELP = "help"
OK, ERROR, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; that of an interruption is as shells have it."""
TOLD = (
    "segpipe.exporters",
    "segpipe.inference.runtimes",
    "segpipe.checkpoints.state_dicts",
    "segpipe.data.image_folders",
    "segpipe.hub.folder",
)
"""Loggers whose INFO is shown: what takes long, which weights of a file were taken, which folders."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is fine, 1 an error, 2 wrong usage, 75 training that was told to stop and can go on, 130 Ctrl-C.
    """
    with printable_streams():
        return _guarded(list(sys.argv[1:] if argv is None else argv))


def command_of(verb: str) -> Command:
    command: Command = importlib.import_module(f".{VERBS[verb][0]}", __package__).COMMANDS[verb]
    return command


def note_interruption() -> int:
    """Say that the command was interrupted, and return the exit code."""
    clear_bars()
    print_message("interrupted.")
    return INTERRUPTED


@contextmanager
def imports_end_at_once() -> Iterator[None]:
    """Let Ctrl-C during an import end the process; elsewhere it stays a KeyboardInterrupt.

    Some packages turn one that is raised in an import into an ImportError, and torch's libraries abort. What stays on
    the disk is what a kill leaves. Where Ctrl-C does something else than usual, or in a thread, nothing changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end_or_raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_or_raise(_: int, frame: FrameType | None) -> None:
    if not _is_importing(frame):
        raise KeyboardInterrupt
    with suppress(OSError):  # the reader may have gone
        note_interruption()
        sys.stdout.flush()
    os._exit(INTERRUPTED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _guarded(arguments: list[str]) -> int:
    try:
        with imports_end_at_once():
            code = _run(arguments)
            sys.stdout.flush()
            return code
    except SystemExit as stop:  # argparse, after --help, --version and usage errors
        return stop.code if isinstance(stop.code, int) else OK
    except BrokenPipeError:
        _close_stdout()
        return OK
    except KeyboardInterrupt:
        return note_interruption()
    except Exception as error:
        return _report(error)


def _run(arguments: list[str]) -> int:
    if any("\0" in text for text in arguments):
        raise InputError("An argument holds a NUL character, which no path and no name can have. Leave it out.")
    start = next((index for index, text in enumerate(arguments) if not text.startswith("-")), len(arguments))
    top = _top_parser()
    verbosity = top.parse_args(arguments[:start]).verbose
    if start == len(arguments):
        top.print_help(sys.stderr)
        return USAGE
    verb, rest = arguments[start], arguments[start + 1 :]
    if verb == HELP:
        return _help(rest, top)
    if verb not in VERBS:
        print_message(f"There is no verb {verb!r}.{did_you_mean(verb, VERBS)} segpipe --help lists them.")
        return USAGE
    command = command_of(verb)
    parser = new_parser(f"segpipe {verb}", VERBS[verb][1], command.examples)
    command.add_arguments(parser)
    options = parser.parse_args(rest)
    if current_folder() is None:  # MKL, which torch loads, would end the process
        raise InputError("The current folder was deleted; a command needs one to work in. Change to another folder.")
    flags = parser.flags_of(options)
    caller = advice.on_command_line(flags, [verb, *rest])
    try:
        with _log_on_stderr(verbosity + options.verbose), caller, _full_memory_explained(flags):
            return command.run(options)
    except UsageError as error:
        action = getattr(options, "action_name", "")
        print_note(f"{f'segpipe {verb} {action}'.rstrip()}: {error}")
        return USAGE


def _help(rest: list[str], top: argparse.ArgumentParser) -> int:
    """Print the help of a verb, or of an action among its own verbs; of all if none is named."""
    if not rest:
        top.print_help()
        return OK
    return _run([rest[0], *rest[1:2], "--help"])


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    listing = "\n".join(f"  {verb:{width}}  {summary}" for verb, (_, summary) in VERBS.items())
    parser = Parser(
        prog="segpipe",
        usage="segpipe [-v] VERB …",
        description="Semantic segmentation: from a model's name and an image to its label map.",
        epilog=f"verbs:\n{listing}\n\nsegpipe help VERB says more. Begin with: segpipe demo"
        "\nExit codes: 0 fine, 1 error (SEGPIPE_DEBUG=1 shows where), 2 wrong usage,"
        "\n75 training was told to stop and can go on, 130 interrupted.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"segpipe {__version__}", help="print the version")
    add_verbose(parser)
    return parser


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        print_message(f"{level}{record.getMessage()}")


@contextmanager
def _log_on_stderr(verbosity: int) -> Iterator[None]:
    """Show warnings and what `TOLD` logs; with -v what happens; with -vv everything."""
    logger, handler = logging.getLogger("segpipe"), _StderrHandler()
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    levels = {logger: level} | {logging.getLogger(name): min(level, logging.INFO) for name in TOLD}
    before = {each: each.level for each in levels}
    logger.addHandler(handler)
    for each, wanted in levels.items():
        each.setLevel(wanted)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        for each, old in before.items():
            each.setLevel(old)


_SAVERS = ("--batch-size 1", "--dtype bfloat16", "--set train.batch_size=1", "--device cpu")
"""Options that take less memory."""


@contextmanager
def _full_memory_explained(flags: frozenset[str]) -> Iterator[None]:
    """Name the options of this verb that take less memory if the device has no more."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
            raise
        is_training = "--work-dir" in flags
        savers = [each for each in _SAVERS if each.split()[0] in flags and ("train." not in each or is_training)]
        raise SegpipeError(f"The device's memory is full. Try {' or '.join(savers)}. ({first_line(error)})") from None


def _report(error: Exception) -> int:
    if os.environ.get("SEGPIPE_DEBUG", "0") not in ("", "0"):
        print_note("".join(traceback.format_exception(_with_its_causes(error))))
    print_message(_sentence(error))
    try:
        sys.stdout.flush()
    except (SegpipeError, OSError):
        _close_stdout()
    return ERROR


def _with_its_causes(error: BaseException) -> BaseException:
    """Let a traceback show the errors that were hidden because ours says what they said."""
    inner = error.__cause__ or error.__context__
    if inner is not None:
        error.__cause__ = _with_its_causes(inner)
    return error


def _sentence(error: Exception) -> str:
    if isinstance(error, SegpipeError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    reason = first_line(error)
    if isinstance(error, ImportError):
        return f"A package that segpipe needs cannot be imported: {reason}. Run segpipe doctor."
    return f"{type(error).__name__}: {reason} (unexpected; SEGPIPE_DEBUG=1 shows where)"


def _close_stdout() -> None:
    """Let Python's last flush go nowhere instead of failing, since the reader has gone."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, io.UnsupportedOperation):
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
