"""Verbs about model folders: models, download, convert, publish, cache, config."""

import json

import pytest

from segpipe import load_model
from segpipe.cli.main import main
from segpipe.configuration import load_preset, preset_names
from segpipe.configuration.values import read_labels
from segpipe.errors import ConfigurationError, InputError
from segpipe.models import build_model, num_parameters

MODEL = "segformer-b0-camvid"


def output(capsys, *arguments: str):
    """What a command prints as JSON."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_fits_into_80_columns_and_has_every_preset(capsys):
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [name for name in preset_names() if not any(f"  {name} " in line for line in lines)] == []


@pytest.mark.parametrize("name", preset_names())
def test_the_listed_size_is_the_networks(name):
    import torch

    model = load_preset(name).model
    with torch.device("meta"):
        expected = sum(parameter.numel() for parameter in build_model(model).parameters())
    assert num_parameters(model) == expected


def test_the_list_says_what_is_built_in(capsys):
    rows = {row["name"]: row for row in output(capsys, "models", "list")}
    assert rows[MODEL]["path"].endswith("bundled/segformer-b0-camvid.safetensors")
    assert rows["segformer-b0-ade20k"]["path"] is None
    assert rows["segformer-b0-ade20k"]["num_classes"] == 150


def test_the_list_is_ordered_by_family_data_set_and_score(capsys):
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.endswith(" classes")]
    families = [title.partition(",")[0] for title in titles[1:]]  # first comes what is built in
    assert families == ["segformer"] * 3 + ["segmenter"] * 3 + ["unept"] * 2 + ["mit"]
    first = lines.index("segmenter, ade20k val, 150 classes")
    scores = [float(line.split()[2]) for line in lines[first + 1 : first + 8]]
    assert scores == sorted(scores, reverse=True)
    assert lines[first + 1].split() == ["segmenter-large-ade20k", "333", "51.8", "53.6", "MIT", "web"]
    assert any(line.split() == ["unept-res50-ade20k", "32.4", "46.1", "Apache-2.0", "none"] for line in lines)


def test_a_preset_without_public_weights_says_so_everywhere(capsys):
    name = "unept-res50-ade20k"
    row = next(row for row in output(capsys, "models", "list") if row["name"] == name)
    assert (row["family"], row["source"], row["miou"], row["miou_multiscale"]) == ("unept", None, None, 46.1)
    assert main(["models", "info", name]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "source none; it is trained from scratch" in text
    assert "recipe 160000 steps, batches of 16, adamw with a learning rate of 0.0001" in text
    assert "on this disk" not in text
    for command in (["download", name], ["predict", "street.png", "--model", name]):
        assert main(command) == 1
        assert "is a recipe without weights" in capsys.readouterr().err


def test_info_shows_classes_with_colours(capsys):
    assert main(["models", "info", MODEL]) == 0
    text = capsys.readouterr().out
    assert "3 #804080 road" in text
    assert "3.7 M parameters" in text


def test_a_downloaded_preset_is_listed_as_cached_and_can_be_removed(capsys, web_server, monkeypatch):
    from foreign_checkpoints import hugging_face_repository

    preset = load_preset("segformer-b0-ade20k")
    files = hugging_face_repository(build_model(preset.model), preset.labels.names, 512)
    web_server.add_model("nvidia/segformer-b0-finetuned-ade-512-512", files)
    monkeypatch.setenv("HF_ENDPOINT", web_server.url)
    fetched = output(capsys, "download", "segformer-b0-ade20k")
    assert fetched["size"] > 4 * 3_752_694
    rows = {row["name"]: row for row in output(capsys, "models", "list")}
    assert rows["segformer-b0-ade20k"]["path"] == fetched["path"]
    assert [row["path"] for row in output(capsys, "cache", "list")] == [fetched["path"]]
    assert output(capsys, "cache", "remove", "segformer-b0-ade20k")["paths"] == [fetched["path"]]


def test_offline_an_absent_model_says_so(capsys, monkeypatch):
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    assert main(["download", "segformer-b0-ade20k"]) == 1
    assert "offline mode is on" in capsys.readouterr().err


def test_what_was_converted_and_published_is_found_by_its_name(capsys, tmp_path, monkeypatch):
    made = output(capsys, "convert", MODEL, "made", "--labels", ",".join("abcdefghijk"))
    assert (made["path"], made["num_classes"]) == ("made", 11)
    monkeypatch.setenv("SEGPIPE_HUB", str(tmp_path / "hub"))
    assert output(capsys, "publish", "made", "team/street")["name"].endswith("hub/team/street@main")
    info = output(capsys, "models", "info", "team/street")
    assert info["configuration"]["labels"]["names"] == list("abcdefghijk")
    assert load_model("team/street").num_classes == 11


def test_labels_are_read_from_lists_texts_and_json(tmp_path):
    (tmp_path / "names.txt").write_text("road\n\n car \n")
    (tmp_path / "names.json").write_text('{"names": ["road", "car"], "palette": [[1, 2, 3], [4, 5, 6]]}')
    assert read_labels("road, car") == ("road", "car")
    assert read_labels("names.txt") == ("road", "car")
    assert read_labels("names.json").palette == ((1, 2, 3), (4, 5, 6))


def test_a_list_of_labels_may_be_longer_than_a_file_name():
    names = [f"class number {index}" for index in range(400)]
    assert read_labels(",".join(names)) == tuple(names)


@pytest.mark.parametrize("name", ["names.json", "names.txt"])
def test_a_large_file_of_labels_is_not_read(tmp_path, name):
    with open(tmp_path / name, "wb") as file:
        file.truncate(2**36)
    with pytest.raises(InputError, match="at most 4,194,304 are read"):
        read_labels(name)


@pytest.mark.parametrize("content", ["{", "3", '{"name": []}', "[" * 100_000, '["a", NaN]', '["\\ud800"]'])
def test_json_that_holds_no_labels_is_refused(tmp_path, content):
    (tmp_path / "names.json").write_text(content)
    with pytest.raises((ConfigurationError, InputError), match=r"names\.json has no labels"):
        read_labels("names.json")


def test_a_damaged_folder_in_the_cache_is_found(capsys, tmp_path):
    assert main(["convert", MODEL, "home/converted/street"]) == 0
    assert main(["cache", "verify"]) == 0
    (tmp_path / "home/converted/street/README.md").write_text("changed")
    capsys.readouterr()
    assert main(["cache", "verify"]) == 1
    text = capsys.readouterr().out
    assert "README.md" in text
    assert "0 of 1 intact." in text


def test_a_changed_configuration_is_shown_whole_and_passes_the_check(capsys, tmp_path):
    assert main(["config", "show", MODEL, "--set", "train.batch_size=3"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["train"]["batch_size"] == 3
    (tmp_path / "my.json").write_text(text)
    assert main(["config", "check", "my.json"]) == 0
    (tmp_path / "my.json").write_text(text.replace('"batch_size": 3', '"batchsize": 3'))
    assert main(["config", "check", "my.json"]) == 1
    assert "Did you mean 'batch_size'?" in capsys.readouterr().err


def test_the_schema_describes_its_fields(capsys):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$defs"]["LabelSet"]["properties"]["names"]["description"]
