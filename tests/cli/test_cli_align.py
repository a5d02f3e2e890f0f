"""`segpipe align` and the way back of `segpipe convert`."""

import json

import torch

from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.cli.main import main

MODEL = "segformer-b0-camvid"


def write_changed_copy(path, key, change):
    from segpipe.checkpoints import convert_back

    whole = convert_back(MODEL, path.with_name("whole.safetensors"), dialect="libai")
    tensors = read_tensors(whole)
    tensors[key] = tensors[key].float() + change
    write_tensors(tensors, path)


def test_a_file_in_libais_names_is_aligned_with_its_source(capsys, tmp_path):
    assert main(["convert", MODEL, "libai.pth", "--to-dialect", "libai", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dialect"] == "libai"
    keys = torch.load(tmp_path / "libai.pth", weights_only=True).keys()
    assert {"segformer.patch_embeds.0.proj.weight", "head.linear_fuse.weight"} < set(keys)
    assert main(["align", "libai.pth", "libai.pth", "--size", "64", "64", "--tolerance", "0"]) == 0
    assert "within the tolerance of 0" in capsys.readouterr().out


def test_what_is_further_apart_than_the_tolerance_ends_with_1(capsys, tmp_path, street):
    write_changed_copy(tmp_path / "changed.safetensors", "head.linear_pred.bias", 0.25)
    arguments = ["align", "whole.safetensors", "changed.safetensors", "--picture", str(street), "--json"]
    assert main([*arguments, "--tolerance", "0.3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["aligned"] is True
    assert document["stages"][-1]["absolute"] == 0.25 or abs(document["stages"][-1]["absolute"] - 0.25) < 1e-3
    assert document["stages"][0]["absolute"] == 0.0
    assert main([*arguments, "--tolerance", "0.2"]) == 1
    assert json.loads(capsys.readouterr().out)["aligned"] is False


def test_weights_alone_name_the_tensor_that_differs(capsys, tmp_path):
    write_changed_copy(tmp_path / "changed.safetensors", "segformer.layer_norms.1.weight", 0.5)
    arguments = ["align", "whole.safetensors", "changed.safetensors", "--weights"]
    assert main([*arguments, "--tolerance", "0.1"]) == 1
    text = capsys.readouterr().out
    assert "encoder.stages.1.norm.weight" in text
    assert "more than the tolerance of 0.1" in text
    assert main([*arguments, "--json"]) == 0
    [difference] = json.loads(capsys.readouterr().out)["differing"]
    assert abs(difference["absolute"] - 0.5) < 1e-3


def test_options_that_contradict_one_another_are_refused(capsys):
    assert main(["align", MODEL, MODEL, "--weights", "--double"]) == 2
    assert main(["convert", MODEL, "out.pth", "--to-dialect", "libai", "--num-classes", "3"]) == 2
    assert "Leave" in capsys.readouterr().err


def test_models_whose_settings_differ_are_compared_as_pipelines(capsys, tmp_path):
    change = 'preprocessor.resize={"mode": "exact", "size": [96, 128]}'
    for name, changes in (("one", []), ("two", ["--set", change])):
        assert main(["convert", MODEL, name]) == 0
        capsys.readouterr()
        assert main(["config", "show", name, *changes]) == 0
        (tmp_path / name / "configuration.json").write_text(capsys.readouterr().out)
        (tmp_path / name / "manifest.json").unlink(missing_ok=True)
    assert main(["align", "one", "two", "--size", "64", "64", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stages"][-1]["absolute"] == 0.0
    assert {each["key"].rpartition(".")[0] for each in document["settings"]} == {"preprocessor.resize"}
    assert document["pipelines_differing_pixels"] > 0.001
    assert main(["align", "one", "two", "--size", "64", "64"]) == 0
    text = capsys.readouterr().out
    assert "preprocessor.resize" in text
    assert "As pipelines, each with its own settings" in text
    assert main(["align", "one", "one", "--size", "64", "64"]) == 0
    assert "differ in 0.0000%" in capsys.readouterr().out.splitlines()[-1]
