"""The README's commands and Python blocks work as printed, in their order, in one empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

EXCEPTIONS = {
    "pip install torch": "installs a package from a server that is not there",
    "pip install . && segpipe demo": "installs; .ci/run does it in an empty environment. Here the demo runs alone",
    'pip install ".[test]" && pytest': "installs; .ci/run runs it as written, and it would run this test again",
    'pipeline("image-segmentation", "segformer-b0-cocostuff")': "downloads; tests/test_main_job.py has a server",
    "from segpipe.compat.modelscope": "downloads; tests/compat has servers and whole scripts",
}
"""What is not run, by a part of its text → why. Nothing on the page needs torchrun or takes long."""
INSTEAD = {"pip install . && segpipe demo": "segpipe demo"}
"""What is run for an exception that later examples build on."""
WRITTEN = (
    *("overlay.png", "labels.png", "street.onnx", "curves.png", "heat/mean.png", "theirs.pth.json"),
    *("segpipe-demo/side-by-side.png", "segpipe-results/results.csv", "seen/results.csv", "runs/seen"),
    *("my-model/README.md", "hub/team/street", "hub/team/first", "runs/first/results.txt", "runs/second/model"),
)
"""Some of what the examples leave behind."""
TIMEOUT = 900
"""Seconds for one example, many times what it should take."""


@dataclass(frozen=True)
class Example:
    """One command of a block marked `sh`, or a whole block marked `python`."""

    language: str
    text: str
    line: int
    """Its first line in the page, counted from 1."""

    @property
    def exception(self) -> str | None:
        """The entry of `EXCEPTIONS` that it is, if any."""
        return next((part for part in EXCEPTIONS if part in self.text), None)

    def run(self, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run it in a folder, as a reader would."""
        text = INSTEAD.get(self.exception, self.text) if self.exception else self.text
        command = ["bash", "-c", text] if self.language == "sh" else [sys.executable, "-c", text]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )


def read_examples(page: str) -> list[Example]:
    """Return what a reader may copy, in the page's order."""
    examples = []
    for block in re.finditer(r"^```(sh|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        language, text = block.groups()
        line = page.count("\n", 0, block.start(2)) + 1
        # A command goes on in the next line where a line ends with a backslash.
        for command in [text] if language == "python" else re.findall(r"(?:.*\\\n)*.*\n", text):
            if command.strip():
                examples.append(Example(language, command.strip("\n"), line))
            line += command.count("\n")
    return examples


@pytest.fixture
def environment(tmp_path):
    """The user's environment, with `segpipe` of this checkout on the path, an empty cache and no network."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "segpipe"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m segpipe "$@"\n')
    command.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SEGPIPE_", "HF_", "MODELSCOPE_"))}
    return {
        **kept,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SEGPIPE_HOME": str(tmp_path / "cache"),
        "SEGPIPE_OFFLINE": "1",
    }


def test_the_exceptions_are_on_the_page_and_counted():
    exceptions = [example.exception for example in read_examples(README) if example.exception]
    assert sorted(exceptions) == sorted(EXCEPTIONS), "each stands for one example"
    assert len(read_examples(README)) - len(exceptions) >= 20


@pytest.mark.slow
def test_the_examples_work_as_printed(tmp_path, environment):
    pytest.importorskip("onnxscript", reason="an example exports to ONNX")
    place = tmp_path / "place"
    place.mkdir()
    for example in read_examples(README):
        if example.exception and example.exception not in INSTEAD:
            continue
        done = example.run(place, environment)
        said = f"README.md:{example.line}: {example.text}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        assert "Traceback" not in done.stderr, said
    missing = [name for name in WRITTEN if not (place / name).exists()]
    assert missing == []
