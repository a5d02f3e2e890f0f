"""What an installation holds: every package, its data, and no top-level names but ours."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def metadata():
    """The arguments of setup()."""
    setuptools = pytest.importorskip("setuptools")
    captured = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", lambda **arguments: captured.update(arguments))
        runpy.run_path(str(ROOT / "setup.py"))
    return captured


def folder_of(package, metadata):
    """The folder that a package is built from, as package_dir maps it."""
    for room, folder in metadata["package_dir"].items():
        if package == room or package.startswith(f"{room}."):
            return ROOT / folder / Path(*package[len(room) :].split("."))
    return ROOT / Path(*package.split("."))


def test_every_folder_with_code_is_installed(metadata):
    folders = {folder_of(package, metadata) for package in metadata["packages"]}
    code = {path.parent for room in ("segpipe", "trainers", "configuration") for path in (ROOT / room).rglob("*.py")}
    assert folders == code


def test_site_packages_get_one_name(metadata):
    assert {package.split(".")[0] for package in metadata["packages"]} == {"segpipe"}


def test_data_files_are_there(metadata):
    for package, patterns in metadata["package_data"].items():
        for pattern in patterns:
            assert list(folder_of(package, metadata).glob(pattern)), f"{package}: {pattern}"


def test_the_model_that_ships_is_small(metadata):
    weights = ROOT / "segpipe" / "hub" / "bundled" / "segformer-b0-camvid.safetensors"
    assert 7_000_000 < weights.stat().st_size < 8_000_000


def test_the_command_points_at_a_function(metadata):
    [command] = metadata["entry_points"]["console_scripts"]
    assert command == "segpipe=segpipe.cli.main:main"
    from segpipe.cli.main import main

    assert callable(main)


def test_the_core_dependencies_are_the_agreed_ones(metadata):
    names = {requirement.split(">")[0] for requirement in metadata["install_requires"]}
    assert names == {
        "torch", "numpy", "opencv-python", "pillow", "requests", "filelock", "safetensors", "tqdm", "msgspec", "pyyaml",
        "matplotlib",
    }  # fmt: skip
