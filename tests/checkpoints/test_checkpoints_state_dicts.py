"""Which tensors of a checkpoint are the weights: wherever trainers put them, whatever they put before their names."""

import logging

import pytest
import torch
from foreign_checkpoints import hugging_face_tensors

from segpipe import convert, load_model
from segpipe.checkpoints import encoder_tensors, open_checkpoint, own_tensors, write_dialect
from segpipe.checkpoints.state_dicts import USUAL, read_tensors, read_weights
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.cli.main import main
from segpipe.configuration import Configuration, WeightsConfig, write_configuration
from segpipe.errors import CorruptWeightsError, UnknownDialectError, WeightsError
from segpipe.models import EncoderConfig, SegformerConfig, build_model, fit_tensors

TINY = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
CONFIG = SegformerConfig(num_classes=3, encoder=TINY)
PREFIXES = ["", "model.", "module.", "net.", "_orig_mod.", "model.module.", "a.b.c.d.", "model._orig_mod.module."]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(CONFIG).eval()


@pytest.fixture
def told(caplog):
    """The lines that say what was taken."""
    caplog.set_level(logging.INFO, logger="segpipe.checkpoints.state_dicts")
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "segpipe.checkpoints.state_dicts"
    ]


def saved(folder, content, name="model.pth"):
    torch.save(content, folder / name)
    return folder / name


def prefixed(tensors, prefix):
    return {f"{prefix}{key}": tensor for key, tensor in tensors.items()}


def assert_same(tensors, network):
    own = network.state_dict()
    assert tensors.keys() | {"head.norm.num_batches_tracked"} == own.keys()
    assert all(torch.equal(tensor, own[key]) for key, tensor in tensors.items())


WRAPPINGS = {
    "flat": lambda state: state,
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "any name": lambda state: {"best": 0.3, "my_segformer": state},
    "ema": lambda state: {"epoch": 3, "ema": state},
    "two levels": lambda state: {"checkpoint": {"net": state, "step": 4}},
    "three levels": lambda state: {"model": {"ema": {"step": torch.tensor(4), "params": 3}, "network": state}},
    "beside a score": lambda state: {"state_dict": state, "best_miou": torch.tensor(0.5)},
    "beside an optimizer": lambda state: {"a": {"exp_avg": {"w": torch.ones(1)}}, "module": state},
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_are_found_wherever_they_lie(tmp_path, network, wrapping, prefix):
    path = saved(tmp_path, WRAPPINGS[wrapping](prefixed(network.state_dict(), prefix)))
    assert_same(read_weights(path).tensors, network)


@pytest.mark.parametrize("dialect", ["nvlabs", "huggingface", "libai"])
def test_a_prefix_is_taken_off_in_every_dialect(tmp_path, network, dialect):
    tensors = write_dialect(network.state_dict(), dialect)
    path = saved(tmp_path, {"model_state_dict": prefixed(tensors, "model.segmentor.")})
    found = read_weights(path)
    assert found.dialect == dialect
    assert_same(fit_tensors(network, found.tensors, origin=dialect), network)


def test_hugging_faces_names_behind_the_prefix_of_lightning(tmp_path, network, told):
    path = saved(tmp_path, {"state_dict": prefixed(hugging_face_tensors(network), "model."), "epoch": 2}, "last.ckpt")
    assert_same(read_weights(path).tensors, network)
    assert told() == ["last.ckpt: the weights are those of its state_dict, without the prefix 'model.'"]


def test_usual_names_come_first_and_averages_last(tmp_path, network, told):
    state = network.state_dict()
    other = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    for first, second in (
        ("model_state_dict", "ema_state_dict"),
        ("state_dict", "model"),
        ("model", "state_dict_ema"),
        ("model", "model_ema"),
        ("teacher", "student"),
        ("my_weights", "swa_weights"),
        ("net", "optimizer"),
    ):
        for content in ({first: state, second: other}, {second: other, first: state}):
            assert_same(read_weights(saved(tmp_path, content)).tensors, network)
            assert told()[-1] == f"model.pth: the weights are those of its {first}; not taken: {second}"


def test_a_mapping_whose_names_are_known_comes_before_a_usual_name(tmp_path, network, told):
    content = {"state_dict": {"conv.weight": torch.ones(2)}, "segformer_ema": network.state_dict()}
    assert_same(read_weights(saved(tmp_path, content)).tensors, network)
    assert told() == ["model.pth: the weights are those of its segformer_ema; not taken: state_dict"]


def test_tensors_outside_the_prefix_are_left_out_with_a_warning(tmp_path, network, caplog):
    state = prefixed(network.state_dict(), "model.") | {"criterion.weight": torch.ones(3)}
    assert_same(read_weights(saved(tmp_path, {"state_dict": state})).tensors, network)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "without the prefix 'model.'; left out, since they do not begin with it: criterion.weight" in record.message


def test_of_two_networks_behind_prefixes_the_average_is_left_out(tmp_path, network):
    zeros = {key: torch.zeros_like(tensor) for key, tensor in network.state_dict().items()}
    state = prefixed(zeros, "ema_model.") | prefixed(network.state_dict(), "model.")
    assert_same(read_weights(saved(tmp_path, {"state_dict": state})).tensors, network)


def test_scores_and_counters_are_neither_weights_nor_worth_a_word(tmp_path, network, told):
    state = prefixed(network.state_dict(), "model.") | {"steps": torch.tensor(3), "scale": torch.tensor(0.5)}
    content = {"state_dict": state, "callbacks": {"best": {"score": torch.tensor(0.7)}}, "loss": torch.tensor(0.1)}
    assert_same(read_weights(saved(tmp_path, content)).tensors, network)
    assert told() == ["model.pth: the weights are those of its state_dict, without the prefix 'model.'"]


def test_torchs_own_wrappers_are_taken_off(tmp_path, network):
    averaged = torch.optim.swa_utils.AveragedModel(network)
    assert_same(read_weights(saved(tmp_path, averaged.state_dict())).tensors, network)
    compiled = {key.replace("encoder.", "encoder._orig_mod."): value for key, value in network.state_dict().items()}
    assert_same(read_weights(saved(tmp_path, compiled)).tensors, network)
    with pytest.raises(CorruptWeightsError, match="twice"):
        read_weights(saved(tmp_path, {**compiled, **network.state_dict()}))


def test_names_that_nobody_knows_are_said(tmp_path):
    path = saved(tmp_path, {"model": {"conv.weight": torch.ones(2)}, "ema": {"conv.weight": torch.ones(2)}})
    with pytest.raises(UnknownDialectError, match=r"first: conv\.weight"):
        read_weights(path)
    assert list(read_tensors(path)) == ["conv.weight"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"epoch": 3, "notes": {"a": {"b": 1}}},
            r"no tensors at its top or up to 2 levels below \(keys: epoch, notes\)",
        ),
        ({"a": {"b": {"c": {"d.weight": torch.ones(1)}}}}, "no tensors at its top or up to 2 levels below"),
        ({}, "keys: none"),
        ([torch.ones(1)], "holds a list, not a state dict"),
        (torch.ones(1), "holds a Tensor, not a state dict"),
    ],
)
def test_a_file_without_a_mapping_of_tensors_is_refused(tmp_path, content, message):
    with pytest.raises(WeightsError, match=message):
        read_weights(saved(tmp_path, content))


def test_many_references_to_one_mapping_are_looked_at_once(tmp_path):
    inner = {f"k{index}": {} for index in range(1000)}
    middle = {f"k{index}": inner for index in range(1000)}
    with pytest.raises(WeightsError, match="no tensors"):
        read_weights(saved(tmp_path, {f"k{index}": middle for index in range(1000)}))


def test_integers_alone_are_not_weights_and_halves_are(tmp_path, network):
    halves = {key: tensor.half() for key, tensor in network.state_dict().items()}
    content = {"state_dict": {"seen": torch.tensor(3)}, "my_halves": halves}
    assert read_tensors(saved(tmp_path, content)).keys() == halves.keys()


def test_a_folder_whose_file_has_a_prefix_loads(tmp_path, network):
    tensors = prefixed(hugging_face_tensors(network), "module.")
    torch.save({"model": tensors}, tmp_path / "pytorch_model.bin")
    weights = WeightsConfig(source=None, file="pytorch_model.bin", dialect="huggingface")
    write_configuration(Configuration(model=CONFIG, weights=weights), tmp_path / "configuration.json")
    assert_same(own_tensors(open_checkpoint(tmp_path)), network)
    assert load_model(tmp_path).num_classes == 3


def test_names_in_a_folder_of_ours_are_taken_as_they_are(tmp_path):
    write_tensors({"net.encoder.embed.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    assert list(read_weights(tmp_path / "model.safetensors", "segpipe").tensors) == ["net.encoder.embed.weight"]
    assert list(read_tensors(tmp_path / "model.safetensors")) == ["net.encoder.embed.weight"]


def test_an_encoder_begins_with_the_weights_of_a_trainer(tmp_path, network):
    path = saved(tmp_path, {"network": prefixed(network.state_dict(), "net.")}, "run.ckpt")
    found = encoder_tensors(path, network)
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in found.items())


def test_the_command_says_in_one_line_what_it_took(tmp_path, capsys):
    model = build_model(SegformerConfig(num_classes=3))
    path = saved(tmp_path, {"model_state_dict": prefixed(model.state_dict(), "net."), "epoch": 3})
    assert main(["convert", str(path), str(tmp_path / "folder")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "the weights are" in line]
    assert lines == ["segpipe: model.pth: the weights are those of its model_state_dict, without the prefix 'net.'"]
    assert_same(read_tensors(tmp_path / "folder/model.safetensors"), model)


def test_convert_reads_a_file_once(tmp_path, monkeypatch):
    from segpipe.checkpoints import state_dicts

    model, calls, read = build_model(SegformerConfig(num_classes=3)), [], state_dicts.read_weight_file
    monkeypatch.setattr(state_dicts, "read_weight_file", lambda path: calls.append(path) or read(path))
    convert(saved(tmp_path, model.state_dict()), tmp_path / "folder")
    assert len(calls) == 1


def test_usual_names_are_no_averages():
    from segpipe.checkpoints.state_dicts import SECOND_CHOICE

    assert not any(SECOND_CHOICE.search(name) for name in (*USUAL, "semantic_head", "schema", "statement"))
