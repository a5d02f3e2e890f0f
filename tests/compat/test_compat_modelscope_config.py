"""`Config` as ModelScope's scripts use it."""

import copy
import json
import pickle

import pytest

from segpipe.compat.modelscope import Config
from segpipe.errors import ConfigurationError

DOCUMENT = {
    "framework": "pytorch",
    "train": {
        "max_epochs": 3,
        "optimizer": {"type": "AdamW", "lr": 0.1},
        "hooks": [{"type": "CheckpointHook", "interval": 1}, {"type": "TextLoggerHook", "interval": 10}],
    },
}


@pytest.fixture
def config():
    return Config(copy.deepcopy(DOCUMENT))


def test_members_are_attributes_and_items(config):
    config.train.max_epochs = 5
    config.train.extra = {"deep": [{"x": 1}]}
    assert config["train"]["max_epochs"] == config.train["max_epochs"] == 5
    assert config.train.extra.deep[0].x == 1
    assert config.get("absent", 7) == 7
    with pytest.raises(AttributeError, match="Did you mean 'max_epochs'"):
        _ = config.train.max_epoch


@pytest.mark.parametrize("name", ["filename", "text", "pretty_text"])
def test_reserved_keys_are_refused(name):
    with pytest.raises(ConfigurationError, match=name):
        Config({name: 1})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.optimizer.lr", 0.1),
        ("train.hooks[1].interval", 10),
        ("train.hooks.CheckpointHook.interval", 1),
        ("train.hooks[2].interval", None),
        ("train.max_epochs.deeper", None),
        ("absent", None),
    ],
)
def test_safe_get_finds_members_of_dicts_and_lists(config, path, value):
    assert config.safe_get(path) == value


def test_a_merge_changes_by_path_by_place_and_by_type(config):
    config.merge_from_dict(
        {
            "train.optimizer.lr": 0.2,
            "train.hooks": [{"type": "TextLoggerHook", "interval": 5}, {"type": "New"}],
            "a.b.c": 1,
        }
    )
    config.merge_from_dict({"train.hooks": {"0": {"interval": 9}}})
    assert config.train.optimizer == {"type": "AdamW", "lr": 0.2}
    assert [hook.get("interval") for hook in config.train.hooks] == [9, 5, None]
    assert config.a.b.c == 1


def test_a_merge_replaces_adds_or_refuses(config):
    config.merge_from_dict({"train.optimizer": {"_delete_": True, "type": "SGD"}})
    assert config.train.optimizer == {"type": "SGD"}
    config.merge_from_dict({"train.max_epochs": 9, "train.seed": 1}, force=False)
    assert (config.train.max_epochs, config.train.seed) == (3, 1)
    for wrong in ({"train.max_epochs.x": 1}, {"train.hooks": {"7": {}}}):
        before = config.to_dict()
        with pytest.raises(ConfigurationError):
            config.merge_from_dict(wrong)
        assert config.to_dict() == before


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_what_is_written_is_read_again(config, tmp_path, suffix):
    config.dump(tmp_path / f"c{suffix}")
    read = Config.from_file(str(tmp_path / f"c{suffix}"))
    assert read.to_dict() == DOCUMENT
    assert read.filename.endswith(suffix)
    assert Config.from_string(read.dump(), suffix).to_dict() == DOCUMENT
    assert read.text == (tmp_path / f"c{suffix}").read_text()


def test_tuples_of_jsonplus_are_read(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"a": {"__class__": "tuple", "__value__": [1, 2]}}))
    assert Config.from_file(tmp_path / "c.json").a == (1, 2)


def test_code_is_not_executed(tmp_path):
    (tmp_path / "c.py").write_text("raise SystemExit")
    with pytest.raises(ConfigurationError, match="does not execute"):
        Config.from_file(tmp_path / "c.py", trust_remote_code=True)


def test_copies_and_pickles_are_independent(tmp_path):
    config = Config(DOCUMENT, "its text", tmp_path / "configuration.json")
    for other in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert type(other) is Config
        assert (other.text, other.filename) == ("its text", str(tmp_path / "configuration.json"))
        other.train.optimizer.lr = 9
        assert config.train.optimizer.lr == 0.1


def test_a_plain_copy_has_the_same_members(config):
    for other in (config.copy(), copy.copy(config), config.train.copy()):
        assert type(other) in (Config, type(config.train))
        assert other.get("train", other)["optimizer"] is config.train.optimizer
        other["new"] = 1
    assert "new" not in config
    assert "new" not in config.train


def test_it_shows_itself(config):
    assert Config({"a": 1, "b": {"c": [1, 2], "d": "dd"}}).pretty_text == "a = 1\nb = dict(c=[1, 2], d='dd')\n"
    assert "max_epochs" in repr(config)
    assert json.loads(config.dump()) == DOCUMENT


def test_it_becomes_the_arguments_of_a_command():
    config = Config({"model_dir": "a", "lr": 0.1, "sizes": [1, 2], "quick": True, "slow": False})
    assert config.to_args(list) == ["--model-dir", "a", "--lr", "0.1", "--sizes", "1", "2", "--quick"]


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    config = Config.from_file(tmp_path / "c.json")
    assert (config.a, config.text) == (1, '{"a": 1}')
