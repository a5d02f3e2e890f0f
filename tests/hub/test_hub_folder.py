"""Model folders: three kinds are opened, one is written, the card, verification."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_material import CONFIGURATION, WEIGHTS, make_folder

from segpipe.configuration import decode_configuration
from segpipe.errors import ConfigurationError, ModelFolderError
from segpipe.hub import Hub, ModelFolder, seal_folder
from segpipe.hub.manifest import check_folder, git_sha1_of, read_manifest, sha256_of
from segpipe.hub.model_card import card_text, place_in_card

SOURCE = {
    "source": "modelscope:damo/x",
    "revision": "v1",
    "file": "pytorch_model.pt",
    "sha256": "0" * 64,
    "dialect": "easycv",
    "licence": "Apache-2.0",
    "scores": {"dataset": "coco-stuff164k val", "miou": 35.91},
}


def configuration_with(**sections: object):
    return decode_configuration(json.dumps({**CONFIGURATION, **sections}), origin="test")


def test_sealed_folder_is_whole(sealed: ModelFolder):
    assert {path.name for path in sealed.path.iterdir()} == {
        "configuration.json",
        "model.safetensors",
        "README.md",
        "manifest.json",
    }
    assert sealed.verify() == ()
    assert (sealed.dialect, sealed.weights) == ("segpipe", sealed.path / "model.safetensors")


def test_sealing_needs_weights(tmp_path: Path):
    with pytest.raises(ModelFolderError, match=r"no model\.safetensors"):
        seal_folder(tmp_path, configuration_with())


def test_sealed_configuration_says_where_the_weights_came_from_and_whose_they_are_now(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    folder = seal_folder(tmp_path, configuration_with(weights=SOURCE))
    weights = folder.configuration.weights
    assert weights is not None
    assert (weights.source, weights.dialect, weights.file) == ("modelscope:damo/x", "segpipe", "model.safetensors")
    assert (weights.sha256, folder.dialect) == (None, "segpipe")
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest.source == "modelscope:damo/x"


def test_the_log_of_a_run_is_part_of_the_folder_and_its_checkpoints_are_not(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "4000.pt").write_bytes(b"x")
    (tmp_path / "events.out").write_bytes(b"x")
    (tmp_path / "log.jsonl").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    manifest = read_manifest(seal_folder(tmp_path, configuration_with()).path)
    assert manifest is not None
    names = {entry.path for entry in manifest.files}
    assert names == {"configuration.json", "model.safetensors", "README.md", "log.jsonl"}


def test_sealing_again_after_a_change_makes_it_whole_again(sealed: ModelFolder):
    (sealed.path / "model.safetensors").write_bytes(b"retrained")
    with pytest.raises(ModelFolderError, match="not whole"):
        ModelFolder.open(sealed.path)
    assert seal_folder(sealed.path, sealed.configuration).verify() == ()


def test_card_of_the_author_stays(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "README.md").write_text("mine")
    seal_folder(tmp_path, configuration_with())
    assert (tmp_path / "README.md").read_text() == "mine"


def test_card_has_what_a_reader_needs():
    labels = {"names": ["road", "a|b`<script>\n# x"], "palette": None}
    text = card_text(configuration_with(weights=SOURCE, labels=labels), "team/street")
    assert text.startswith("---\n")
    assert 'pipeline("image-segmentation", "team/street")' in text
    for piece in ("license: ", "Apache-2.0", "| mIoU | 35.91 |", "`modelscope:damo/x`", "| 0 | road |"):
        assert piece in text
    assert "\n# x" not in text
    assert "<script>" not in text


@pytest.mark.parametrize(
    ("folder", "place"),
    [("runs/first/model", "runs/first/model"), ("./m", "m"), ("/home/me/m", "."), ("../m", "."), (Path("a b"), "a b")],
)
def test_the_code_in_a_card_names_a_path_that_tells_nothing_of_the_machine(folder, place):
    assert place_in_card(folder) == place


def test_the_card_of_a_sealed_folder_names_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("models", "mine").mkdir(parents=True)
    Path("models", "mine", "model.safetensors").write_bytes(WEIGHTS)
    folder = seal_folder("models/mine", configuration_with())
    assert 'pipeline("image-segmentation", "models/mine")' in (folder.path / "README.md").read_text()


def test_folder_without_a_manifest_cannot_be_verified(sealed: ModelFolder):
    (sealed.path / "manifest.json").unlink()
    assert [problem.kind for problem in ModelFolder.open(sealed.path).verify()] == ["unlisted"]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["x.txt"], "it holds x.txt"), (["configuration.json", "a.pth", "b.pth"], "several weights files")],
)
def test_what_is_no_model_folder_says_why(tmp_path: Path, names: list[str], message: str):
    for name in names:
        (tmp_path / name).write_text(json.dumps(CONFIGURATION))
    with pytest.raises(ModelFolderError, match=message):
        ModelFolder.open(tmp_path)


@pytest.mark.parametrize("other", ["model.safetensors", "last.pth"])
def test_weights_that_the_configuration_names_are_not_replaced_by_others(tmp_path: Path, other: str):
    weights = {"source": "hf:a/b", "file": "best.pth", "dialect": "mmseg"}
    (tmp_path / "configuration.json").write_text(json.dumps({**CONFIGURATION, "weights": weights}))
    assert ModelFolder.open(tmp_path).weights is None
    (tmp_path / other).write_bytes(b"x")
    with pytest.raises(ModelFolderError, match=rf"has no best\.pth.*but {other}"):
        ModelFolder.open(tmp_path)


def test_folder_without_weights_can_be_opened(tmp_path: Path):
    (tmp_path / "configuration.json").write_text(json.dumps(CONFIGURATION))
    assert ModelFolder.open(tmp_path).weights is None


def test_mistake_in_our_own_configuration_is_reported_as_one(sealed: ModelFolder):
    (sealed.path / "manifest.json").unlink()
    (sealed.path / "configuration.json").write_text(json.dumps({**CONFIGURATION, "trust_remote_code": True}))
    with pytest.raises(ConfigurationError, match="trust_remote_code"):
        ModelFolder.open(sealed.path)


def test_a_folder_of_another_library_is_not_ours(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "segformer"}))
    with pytest.raises(ModelFolderError, match="folder of another library"):
        ModelFolder.open(tmp_path)
    (tmp_path / "configuration.json").write_text(json.dumps({"model": {"type": "Segformer"}}))
    with pytest.raises(ConfigurationError, match='"Segformer" is not allowed'):
        ModelFolder.open(tmp_path)


def test_digests_are_those_of_sha256sum_and_git(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"hello\n")
    # `printf 'hello\n' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`
    assert sha256_of(tmp_path / "x") == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert git_sha1_of(tmp_path / "x") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_importing_the_hub_imports_neither_torch_nor_requests():
    heavy = "{'torch', 'requests', 'tqdm', 'filelock', 'numpy'}"
    code = f"import segpipe.hub, sys; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_manifest_id_depends_on_names_and_bytes_alone(tmp_path: Path):
    first = read_manifest(make_folder(tmp_path / "a").path)
    second = read_manifest(make_folder(tmp_path / "b" / "a").path)
    third = read_manifest(make_folder(tmp_path / "c" / "a", WEIGHTS[::-1]).path)
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.id == second.id != third.id


EVIL = "x|\\|`<b>[a](http://evil)\n\n# head\x1b[2J\u202e"


def test_a_card_shows_hostile_names_as_text():
    labels = {"names": [EVIL, "b"]}
    weights = {"source": EVIL, "revision": EVIL, "licence": EVIL, "scores": {"dataset": EVIL, "miou": 1, "how": EVIL}}
    text = card_text(configuration_with(labels=labels, weights=weights), EVIL)
    assert text.encode()
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert [line.split()[1] for line in text.splitlines() if line.startswith("#")] == [
        *("x\\|\\\\\\|\\`&lt;b>\\[a\\](http://evil)", "Use", "where", "Scores", "Source", "Classes")
    ]
    row = next(line for line in text.splitlines() if line.startswith("| 0 |"))
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 3


@pytest.mark.skipif(os.name != "posix", reason="links and named pipes of POSIX")
def test_a_folder_of_links_to_regular_files_is_opened(sealed: ModelFolder, tmp_path: Path):
    """So Hugging Face's cache is made."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in sealed.path.iterdir():
        (snapshot / path.name).symlink_to(path)
    folder = ModelFolder.open(snapshot)
    assert folder.verify() == ()
    assert folder.weights == snapshot / "model.safetensors"


@pytest.mark.skipif(os.name != "posix", reason="links and named pipes of POSIX")
@pytest.mark.parametrize("name", ["manifest.json", "configuration.json", "model.safetensors", "README.md"])
@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_special_file_in_a_folder_is_an_error_and_never_waited_for(sealed: ModelFolder, name: str, plant):
    (sealed.path / name).unlink()
    plant(sealed.path / name)
    with pytest.raises((ModelFolderError, ConfigurationError)):
        ModelFolder.open(sealed.path)
    assert check_folder(sealed.path) != ()


def test_a_manifest_that_is_too_large_is_not_read(sealed: ModelFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGPIPE_MAX_MANIFEST_BYTES", "100")
    with pytest.raises(ModelFolderError, match="at most 100 are read"):
        ModelFolder.open(sealed.path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "\udc80", "a/" * 3000])
def test_a_path_that_cannot_be_one_is_a_model_folder_error(path: str):
    with pytest.raises(ModelFolderError):
        ModelFolder.open(path)
    with pytest.raises(ModelFolderError):
        Hub().resolve(Path(path))
