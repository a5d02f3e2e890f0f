"""What a stranger may have named reaches the terminal as text, whoever prints it; and closed outputs."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.cli.main import main
from segpipe.cli.printing import print_json, printable_streams
from segpipe.log import get_logger
from segpipe.text import format_columns, format_fields, format_table

MODEL = "segformer-b0-camvid"
EVIL = "\x1b]0;owned\x07\x9b31m\u202egpj.\x1b[2J\r"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\ud800-\udfff]")
ROOT = Path(__file__).parents[2]


def run(arguments, capsys) -> str:
    """Everything that a command says."""
    main(arguments)
    said = capsys.readouterr()
    return said.out + said.err


def write_configuration(path: Path, **changes) -> Path:
    from segpipe.configuration import encode_configuration, load_preset

    document = json.loads(encode_configuration(load_preset(MODEL)))
    path.mkdir(parents=True, exist_ok=True)
    (path / "configuration.json").write_text(json.dumps(document | changes))
    return path


def evil_labels(count: int = 11) -> dict:
    return {"names": [f"{EVIL}\n{index}" for index in range(count)]}


COMMANDS = [
    ["predict", EVIL, "--model", MODEL],
    ["predict", f"{EVIL}*", "--model", MODEL],
    ["predict", "street.png", "--model", EVIL],
    ["predict", "street.png", "--model", f"./{EVIL}"],
    ["predict", "street.png", "--model", MODEL, "--set", f"{EVIL}=1"],
    ["predict", "street.png", "--model", MODEL, f"--{EVIL}"],
    ["predict", "street.png", "--model", MODEL, "--device", EVIL],
    ["predict", "street.png", "--model", MODEL, "--dtype", EVIL],
    ["predict", "street.png", "--model", MODEL, "--output", f"{EVIL}/\0"],
    [EVIL],
    ["models", "info", EVIL],
    ["models", EVIL],
    ["download", EVIL],
    ["download", f"hf:{EVIL}/x"],
    ["publish", EVIL, "a/b"],
    ["cache", "remove", EVIL],
    ["cache", "prune", "--unused-for", EVIL],
    ["config", "check", EVIL],
    ["config", "show", "evil"],
    ["config", "check", "evil"],
    ["models", "info", "evil"],
    ["models", "info", "evil", "--json"],
    ["convert", EVIL, "to"],
    ["export", EVIL, "to.onnx"],
    ["data", "check", EVIL, "x"],
    ["data", "check", "folder", EVIL],
    ["eval", EVIL, "--data", "folder", EVIL],
    ["train", "--model", MODEL, "--data", "folder", EVIL],
    ["curves", EVIL],
]


@pytest.mark.parametrize("debug", ["0", "1"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=range(len(COMMANDS)))
def test_no_command_passes_a_control_sequence_on(arguments, debug, capsys, street, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_DEBUG", debug)
    write_configuration(tmp_path / "evil", labels=evil_labels())
    assert CONTROL.findall(run(arguments, capsys)) == []


def test_a_hostile_file_name_is_shown_escaped(capsys, street):
    street.rename(f"{EVIL}.png")
    text = run(["predict", f"{EVIL}.png", "--model", MODEL, "--output", "out", "--verbose"], capsys)
    assert CONTROL.findall(text) == []


def test_what_the_cache_says_of_a_hostile_folder_is_escaped(capsys, tmp_path):
    folder = tmp_path / "home/converted" / f"{EVIL}x"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"format_version": 1, "files": [], "source": EVIL}))
    (folder / f"{EVIL}y").write_text("extra")
    for arguments in (["list"], ["list", "--json"], ["verify"], ["prune", "--keep-last", "0"]):
        assert CONTROL.findall(run(["cache", *arguments], capsys)) == []


def test_json_says_the_same_and_shows_no_control_character(capsys):
    document = {"name": EVIL + "\u0085é道\udcff", "x": [EVIL]}
    with printable_streams():
        print_json(document)
    text = capsys.readouterr().out
    assert CONTROL.findall(text) == []
    assert json.loads(text) == document


def test_logs_and_all_other_writers_are_escaped(capsys):
    with printable_streams():
        get_logger("segpipe.test").warning("Skipping %s.", EVIL)
        logging.getLogger("another.package").warning("Skipping %s.", EVIL)
        print(EVIL, EVIL, sep=EVIL, file=sys.stderr)
        sys.stderr.writelines([EVIL, EVIL])
    said = capsys.readouterr()
    assert CONTROL.findall(said.out + said.err) == []


def test_a_message_of_the_library_is_escaped_without_a_command():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = get_logger("segpipe.test")
    logger.addHandler(handler)
    try:
        logger.warning("Skipping %s, %d.", EVIL, 5)
    finally:
        logger.removeHandler(handler)
    assert CONTROL.findall(stream.getvalue()) == []
    assert stream.getvalue().endswith(", 5.\n")


def test_a_message_cannot_look_like_two(capsys):
    main(["download", "hf:a\nsegpipe: all is well/x"])
    assert "\nsegpipe:" not in capsys.readouterr().err


def test_cells_stay_on_their_line():
    table = format_table([("class", "share"), ("a\nb\x1b[2J", "1")], ("left", "right"))
    assert table.splitlines() == ["  class        share", "  a\\nb\\x1b[2J      1"]
    assert len(format_fields([("a", "b\nc")]).splitlines()) == 1
    assert len(format_columns(["a\nb"]).splitlines()) == 1


def test_bars_can_still_move(capsys):
    from tqdm import tqdm

    with printable_streams(), tqdm(total=2, desc="files", file=sys.stderr) as bar:
        bar.update()
    assert "\rfiles: " in capsys.readouterr().err


def test_letters_that_stdout_does_not_have_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    with printable_streams():
        print("Straße …")
    assert raw.getvalue() == b"Stra\\xdfe \\u2026\n"


def run_shell(command: str) -> subprocess.CompletedProcess:
    line = command.replace("segpipe", f"{sys.executable} -m segpipe", 1)
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors as POSIX shells do")
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">&-", "stdout is closed"), (">/dev/full", "No space left"), ("</dev/null >&-", "stdout is closed")],
)
@pytest.mark.parametrize("command", ["segpipe models list", "segpipe models list --json", "segpipe --version"])
def test_a_result_that_cannot_be_written_is_an_error(command, redirection, reason):
    finished = run_shell(f"{command} {redirection}")
    assert finished.returncode == 1
    assert reason in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors as POSIX shells do")
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_messages_that_cannot_be_written_change_nothing(redirection):
    assert run_shell(f"segpipe models info nothing {redirection}").returncode == 1
    finished = run_shell(f"segpipe models list --json {redirection}")
    assert finished.returncode == 0
    assert json.loads(finished.stdout)
