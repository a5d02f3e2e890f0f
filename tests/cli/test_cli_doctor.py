"""`segpipe doctor`, and the sentence of an OpenCV that cannot start."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.analysis import REQUIRED, RUNTIME_PACKAGES, examine_opencv, examine_versions
from segpipe.cli.main import main
from segpipe.exporters import FORMATS
from segpipe.extras import explain_opencv
from segpipe.inference import RUNTIMES

ROOT = Path(__file__).parents[2]
NO_LIBGL = "libGL.so.1: cannot open shared object file: No such file or directory"


def findings(capsys) -> tuple[int, list[dict]]:
    code = main(["doctor", "--json"])
    return code, json.loads(capsys.readouterr().out)["findings"]


def test_the_doctor_prints_every_part_within_80_columns(capsys):
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and "/" not in line] == []
    assert {"versions", "opencv", "devices", "cache", "hub", "network"} <= set(lines)


def test_required_versions_are_those_of_the_packaging():
    core = re.search(r"CORE = \[(.*?)\]", (ROOT / "setup.py").read_text(encoding="utf-8"), re.DOTALL)[1]
    packaged = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', core))
    assert {name: version for name, version in packaged.items() if not name.startswith("opencv")} == REQUIRED


def test_packages_of_runtimes_are_those_of_their_formats():
    runtimes = [runtime for runtime in map(RUNTIMES.get, RUNTIMES) if runtime.format is not None]
    assert {runtime.name: FORMATS[runtime.format].packages for runtime in runtimes} == RUNTIME_PACKAGES


def test_tokens_and_passwords_are_not_shown(capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:3128")
    main(["doctor", "--json"])
    text = capsys.readouterr().out
    assert "secret" not in text
    assert json.loads(text)["hub"]["HF_TOKEN"] == "set"


def test_a_wrong_variable_is_broken_once(capsys, monkeypatch):
    monkeypatch.setenv("SEGPIPE_DOWNLOAD_TIMEOUT", "soon")
    code, found = findings(capsys)
    assert code == 1
    assert [finding["sentence"].partition(".")[0] for finding in found] == ["SEGPIPE_DOWNLOAD_TIMEOUT is 'soon'"]


def test_limits_that_variables_replace_are_shown_and_misspelled_ones_named(capsys, monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXELS", "500000000")
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXLES", "1")
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["limits"] == {"SEGPIPE_MAX_IMAGE_PIXELS": "500,000,000 pixels"}
    assert any("Did you mean SEGPIPE_MAX_IMAGE_PIXELS?" in finding["sentence"] for finding in found["findings"])


def test_a_missing_certificate_file_is_broken(capsys, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    code, found = findings(capsys)
    assert code == 1
    assert "unset REQUESTS_CA_BUNDLE" in found[0]["sentence"]


def test_a_cache_that_is_a_file_is_broken(capsys, monkeypatch, street):
    monkeypatch.setenv("SEGPIPE_HOME", str(street))
    code, found = findings(capsys)
    assert code == 1
    assert "SEGPIPE_HOME" in found[0]["sentence"]


def fake_distribution(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_two_builds_of_opencv_are_reported_with_the_command_that_keeps_one(tmp_path, monkeypatch):
    for name in ("opencv-python", "opencv-python-headless"):
        fake_distribution(tmp_path / "site", name, "4.10.0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    [finding] = examine_opencv().findings
    assert "pip uninstall -y opencv-python opencv-python-headless && pip install" in finding.sentence
    assert finding.severity == "warning"


def test_a_torch_that_is_too_old_is_broken(tmp_path, monkeypatch):
    fake_distribution(tmp_path / "site", "torch", "2.9.1+cu126")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert importlib.metadata.version("torch") == "2.9.1+cu126"
    [finding] = examine_versions().findings
    assert finding.severity == "broken"
    assert 'torch is 2.9.1+cu126, older than 2.10. Run pip install "torch>=2.10"' in finding.sentence


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        (NO_LIBGL, "apt-get install -y libgl1, or pip uninstall"),
        ("libgthread-2.0.so.0: cannot open shared object file: No such file or directory", "libglib2.0-0"),
        ("libxyz.so.3: cannot open shared object file: No such file or directory", "Run pip uninstall -y opencv"),
        ("No module named 'cv2'", "Run pip install opencv-python"),
        ("numpy.core.multiarray failed to import", "OpenCV cannot start: numpy.core.multiarray failed to import. Run"),
    ],
)
def test_each_way_opencv_fails_has_its_command(reason, command):
    assert command in explain_opencv(reason)


def test_the_import_and_the_doctor_say_the_same_sentence(tmp_path):
    (tmp_path / "cv2.py").write_text(f"raise ImportError({NO_LIBGL!r})")
    code = (
        "import sys; from segpipe.analysis import examine_opencv; from segpipe.errors import SegpipeError\n"
        "try: import segpipe.data.images\n"
        "except (SegpipeError, ImportError) as error: print(error)\n"
        "print(examine_opencv().findings[-1].sentence)"
    )
    paths = f"{tmp_path}{os.pathsep}{ROOT}"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": paths}, check=True
    )
    first, second = finished.stdout.splitlines()
    assert first == second == explain_opencv(NO_LIBGL)
