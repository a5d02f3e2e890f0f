"""Pickles that name classes: tensors are taken, nothing that a file names is run, and its names are said."""

import argparse
import builtins
import collections
import functools
import logging
import os
import pathlib
import struct
import subprocess
import sys
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from segpipe import convert, load_model
from segpipe.checkpoints import write_dialect
from segpipe.checkpoints.pickles import Stub, first_with_tensor, read_foreign_pickle, read_pickle
from segpipe.checkpoints.state_dicts import read_tensors, read_weights
from segpipe.errors import CorruptWeightsError, WeightsError
from segpipe.models import HeadConfig, SegformerConfig, build_model

FORMATS = pytest.mark.parametrize("is_zip", [True, False])


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Lively:
    """Says when it is set up."""

    awake = False

    def __setstate__(self, state):
        Lively.awake = True


class OwnDict(dict):
    pass


class OwnOrdered(collections.OrderedDict):
    pass


class OwnList(list):
    pass


class OwnTensor(torch.Tensor):
    pass


class Slotted:
    __slots__ = ("tensor",)

    def __init__(self):
        self.tensor = torch.ones(2)


def lively():
    result = Lively()
    result.number = 1
    return result


def saved(folder, content, is_zip=True):
    torch.save(content, folder / "model.pth", _use_new_zipfile_serialization=is_zip)
    return folder / "model.pth"


@FORMATS
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Calls(eval, "open('executed', 'w')"), "builtins.eval"),
        (Calls(exec, "open('executed', 'w')"), "builtins.exec"),
        (Calls(open, "executed", "w"), "io.open"),
        (Calls(getattr, Calls(__import__, "builtins"), "eval"), "builtins.__import__, builtins.getattr"),
        (functools.partial(eval, "open('executed', 'w')"), "builtins.eval, functools.partial"),
        (Calls(subprocess.Popen, ["touch", "executed"]), "Popen"),
        (lively(), "Lively"),
        ({"a": [({"b": Calls(eval, "open('executed', 'w')")},)]}, "builtins.eval"),
        (Lively, "Lively"),
    ],
)
def test_nothing_that_a_file_names_is_run(tmp_path, monkeypatch, caplog, is_zip, value, name):
    monkeypatch.chdir(tmp_path)
    tensors = {"a.weight": torch.arange(3.0)}
    with caplog.at_level(logging.INFO):
        read = read_foreign_pickle(saved(tmp_path, {"state_dict": tensors, "other": value}, is_zip))
    assert torch.equal(read[0]["state_dict"]["a.weight"], tensors["a.weight"])
    assert name in ", ".join(read[1])
    assert not Lively.awake
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@FORMATS
def test_what_was_made_by_a_call_is_never_called(tmp_path, monkeypatch, is_zip):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"a": torch.ones(1), "other": Calls(functools.partial(open, "executed", "w"))}, is_zip)
    with pytest.raises(WeightsError, match="runs no code"):
        read_tensors(path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@FORMATS
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Calls(os.system, "touch executed"), "posix.system"),
        (Calls(os.remove, "model.pth"), "posix.remove"),
        (Calls(sys.exit, 3), "sys.exit"),
        (Calls(sys.setrecursionlimit, 10**9), "sys.setrecursionlimit"),
        ([{"deep": Calls(os.system, "touch executed")}], "posix.system"),
    ],
)
def test_names_of_the_operating_system_refuse_the_file(tmp_path, monkeypatch, is_zip, value, name):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"state_dict": {"a.weight": torch.zeros(3)}, "other": value}, is_zip)
    with pytest.raises(WeightsError, match=f"names {name}, which weights do not need"):
        read_tensors(path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@FORMATS
@pytest.mark.parametrize(
    "value",
    [
        np.arange(5),
        np.float64(3.5),
        argparse.Namespace(lr=0.1, out=pathlib.Path("x"), sizes=[1, 2]),
        collections.defaultdict(list, a=[1]),
        OwnDict(a=1, b=OwnDict(c=2)),
        OwnOrdered(a=1),
        OwnList([1, OwnList([2])]),
        collections.deque([1, 2]),
        frozenset([1, 2]),
        range(3),
    ],
)
def test_what_is_not_a_tensor_may_be_of_any_class(tmp_path, is_zip, value):
    path = saved(tmp_path, {"model": {"a.weight": torch.arange(3.0)}, "extra": value, "list": [value, value]}, is_zip)
    assert list(read_tensors(path)) == ["a.weight"]


@FORMATS
def test_items_of_a_dict_and_of_a_list_of_any_class_are_kept(tmp_path, is_zip):
    content = {"options": OwnDict(lr=0.1, steps=OwnList([1, 2])), "weights": OwnOrdered(a=torch.ones(2))}
    read, names = read_foreign_pickle(saved(tmp_path, content, is_zip))
    assert read["options"] == {"lr": 0.1, "steps": [1, 2]}
    assert torch.equal(read["weights"]["a"], torch.ones(2))
    assert [name.rpartition(".")[2] for name in names] == ["OwnDict", "OwnList", "OwnOrdered"]


@FORMATS
@pytest.mark.parametrize("value", [OwnTensor([1.0]), Slotted(), argparse.Namespace(weight=torch.ones(1))])
def test_a_weight_that_needs_code_refuses_the_file(tmp_path, is_zip, value):
    name = type(value).__name__
    path = saved(tmp_path, {"state_dict": {"a.weight": torch.zeros(3), "b.weight": value}}, is_zip)
    with pytest.raises(WeightsError, match=rf"{name}.*save"):
        read_tensors(path)


def test_a_whole_model_is_refused_and_its_class_is_named(tmp_path):
    path = saved(tmp_path, {"model": torch.nn.Sequential(torch.nn.Linear(2, 2)), "epoch": 3})
    with pytest.raises(WeightsError, match=r"tensors in them \(torch\.nn\.modules\.container\.Sequential\).*state"):
        read_tensors(path)


def test_objects_that_share_what_they_hold_are_looked_at_once():
    class Counted(list):
        looks = 0

        def __iter__(self):
            Counted.looks += 1
            return super().__iter__()

    shared = Counted([1, 2])
    assert first_with_tensor([Stub(shared) for _ in range(10)]) is None
    assert Counted.looks == 1
    last = Stub(shared, {"a": (torch.ones(1),)})
    assert first_with_tensor([Stub(shared), last]) is last


def test_a_file_without_tensors_says_what_it_has_instead(tmp_path):
    path = saved(tmp_path, {"model": {"a": np.ones(2)}})
    with pytest.raises(WeightsError, match=r"no tensors at its top .*objects of numpy.*numpy\.ndarray\. Save"):
        read_tensors(path)


def test_an_archive_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path, {"a": torch.ones(2), "other": argparse.Namespace()})
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_tensors(path)["a"], torch.ones(2))


@FORMATS
@pytest.mark.parametrize("read", [read_tensors, read_pickle])
def test_long_texts_where_torch_would_say_them_are_refused_at_once(tmp_path, is_zip, read):
    """torch searches its own message with a pattern that takes time by the square of a long word: minutes for this."""
    name, word = b"x" * 2_000_000, b"X" + struct.pack("<I", 2_000_000) + b"x" * 2_000_000
    for program in (
        b"c%s\nn\n)R" % name,
        b"cos\n%s\n" % name,
        b"%s)R" % word,
        b"%s)\x81" % word,
        b"ccollections\nOrderedDict\n)R(%sK\x01u)R" % word,
    ):
        path = saved(tmp_path, {"a": 1}, is_zip)
        replace_program(path, b"}q\x00X\x01\x00\x00\x00aq\x01K\x01s", program)
        with pytest.raises(WeightsError, match=r"model\.pth"):
            read(path)


@pytest.mark.parametrize("names", [("a/data.pkl", "a/DATA.pkl"), ("b/x", "a/data.pkl"), ("A/data.pkl", "a/data.pkl")])
def test_an_archive_has_one_pickle_where_torch_looks_for_it(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        for name in ("version", *names):
            archive.writestr(name if "/" in name else f"{names[0][0]}/{name}", b"\x80\x02}.")
    with pytest.raises(CorruptWeightsError, match=r"[02] members are called [ab]/data\.pkl"):
        read_tensors(tmp_path / "model.pth")


def replace_program(path, old, new):
    """Put another pickle into a file of torch's."""
    content = path.read_bytes()
    if content[:2] != b"PK":
        assert old in content
        path.write_bytes(content.replace(old, new))
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(old, new) if name.endswith("/data.pkl") else data)


def test_a_pickle_of_ours_is_read_without_stubs(tmp_path):
    path = saved(tmp_path, {"state": {"a": torch.zeros(3)}, "other": argparse.Namespace()})
    with pytest.raises(WeightsError, match="more than tensors and plain values"):
        read_pickle(path)


@FORMATS
def test_attributes_and_hooks_of_a_tensor_are_left_behind(tmp_path, is_zip):
    hooks, attributes = collections.OrderedDict({0: argparse.Namespace()}), {"numel": 5, "is_floating_point": 5}
    forged = Calls(torch._utils._rebuild_parameter_with_state, torch.ones(2), True, hooks, attributes)
    read = read_tensors(saved(tmp_path, {"a": forged}, is_zip))["a"]
    assert type(read) is torch.Tensor
    assert (read.numel(), read.requires_grad, read._backward_hooks, vars(read)) == (2, False, None, {})


def test_attributes_of_an_ordered_dict_do_not_stand_for_its_methods(tmp_path):
    tensors = Calls(collections.OrderedDict)
    tensors.call = *tensors.call, {"items": 5, "keys": 5, "get": 5}, None, iter([("a", torch.ones(2))])
    assert list(read_tensors(saved(tmp_path, tensors))) == ["a"]
    tensors.call = *tensors.call[:4], iter([("a", torch.ones(2))])
    assert list(read_tensors(saved(tmp_path, {"state_dict": tensors, "meta": tensors}))) == ["a"]


def test_too_many_unknown_names_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_PICKLE_NAMES", "3")
    classes = [argparse.Namespace(), collections.deque(), range(3)]
    assert read_tensors(saved(tmp_path, {"a": torch.ones(1), "others": classes}))
    with pytest.raises(WeightsError, match=r"4 classes and functions .* \(argparse\.Namespace, .*at most 3"):
        read_tensors(saved(tmp_path, {"a": torch.ones(1), "others": [*classes, frozenset()]}))


@FORMATS
def test_too_many_objects_are_refused_before_they_are_made(tmp_path, monkeypatch, is_zip):
    monkeypatch.setenv("SEGPIPE_MAX_PICKLE_OBJECTS", "50")
    many = [collections.OrderedDict() for _ in range(51)]
    assert read_tensors(saved(tmp_path, {"a": torch.ones(1), "others": many}, is_zip))
    with pytest.raises(WeightsError, match=r"holds 5\d objects, .*at most 50"):
        read_tensors(saved(tmp_path, {"a": torch.ones(1), "others": [*many, argparse.Namespace()]}, is_zip))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_another_protocol_is_said_to_be_one(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "model.pth", pickle_protocol=4)
    with pytest.raises(WeightsError, match=r"not pickled as torch\.save does it by default \(protocol 2\)"):
        read_tensors(tmp_path / "model.pth")


def test_a_file_cut_short_is_refused_whatever_it_names(tmp_path):
    for is_zip in (True, False):
        path = saved(tmp_path, {"a": torch.ones(100), "other": argparse.Namespace()}, is_zip)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(WeightsError, match=r"model\.pth"):
            read_tensors(path)


def test_what_torch_allows_is_as_before(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    path = saved(tmp_path, {"a": torch.ones(1), "other": argparse.Namespace()})
    with ThreadPoolExecutor(8) as pool:
        assert all("a" in tensors for tensors in pool.map(read_tensors, [path] * 40))
    with pytest.raises(WeightsError):
        read_tensors(saved(tmp_path, {"other": argparse.Namespace(t=torch.ones(1))}))
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_stub_does_nothing():
    stub = Stub(1, [2])
    stub.__setstate__({"a": 3})
    assert stub.given == [1, [2], {"a": 3}]
    assert not callable(stub)


@pytest.fixture
def mmengine(monkeypatch):
    """Classes of mmengine's names, pickled as its own are, that are gone when the file is read."""

    class HistoryBuffer:
        def __getstate__(self):
            methods = {"mean": functools.partial(HistoryBuffer.mean, window_size=10)}
            return {"_log_history": np.arange(3.0), "_count_history": np.ones(3), "statistics_methods": methods}

        def __setstate__(self, state):
            raise AssertionError("run")

        def mean(self, window_size):
            raise AssertionError("run")

    class ConfigDict(dict):
        def __reduce_ex__(self, protocol):
            return ConfigDict, (dict(self),), None, None, None

    modules = {"mmengine.logging.history_buffer": HistoryBuffer, "mmengine.config.config": ConfigDict}
    with monkeypatch.context() as patch:
        for name in ("mmengine", "mmengine.logging", "mmengine.config", *modules):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        for module, cls in modules.items():
            cls.__module__, cls.__qualname__ = module, cls.__name__
            setattr(sys.modules[module], cls.__name__, cls)
        HistoryBuffer.mean.__qualname__, HistoryBuffer.mean.__module__ = "HistoryBuffer.mean", HistoryBuffer.__module__
        yield HistoryBuffer, ConfigDict


@FORMATS
def test_a_checkpoint_of_mmengines_runner_becomes_a_model(tmp_path, mmengine, is_zip, caplog):
    HistoryBuffer, ConfigDict = mmengine
    torch.manual_seed(0)
    model = build_model(SegformerConfig(num_classes=3, head=HeadConfig(type="conv"))).eval()
    content = {
        "meta": {"epoch": 1, "dataset_meta": ConfigDict(classes=("a", "b", "c"), palette=[[1, 2, 3]] * 3)},
        "state_dict": write_dialect(model.state_dict(), "mmseg"),
        "message_hub": {
            "log_scalars": collections.OrderedDict({"train/loss": HistoryBuffer()}),
            "runtime_info": collections.OrderedDict(iter=np.int64(2), loss=np.float32(0.5)),
            "resumed_keys": {"train/loss": True},
        },
        "optimizer": {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1}]},
        "param_schedulers": [{"_get_lr": ConfigDict(base=0.1)}],
    }
    path = saved(tmp_path, content, is_zip)
    for name in [name for name in sys.modules if name.startswith("mmengine")]:
        del sys.modules[name]
    with caplog.at_level(logging.INFO, logger="segpipe"):
        folder = convert(path, tmp_path / "folder")
    assert folder.configuration.labels.names == ("a", "b", "c")
    assert folder.configuration.labels.palette[0] == (1, 2, 3)
    assert {key: torch.equal(value, model.state_dict()[key]) for key, value in read_tensors(folder.weights).items()}
    assert load_model(folder).num_classes == 3
    told = [record.getMessage() for record in caplog.records if "not run" in record.getMessage()]
    assert len(told) == 1
    assert "state_dict; unknown, and not run: " in told[0]
    assert "mmengine.logging.history_buffer.HistoryBuffer, numpy" in told[0]
    assert read_weights(path).dialect == "mmseg"


def test_builtins_stay_what_they_are(tmp_path):
    before = dict(vars(builtins))
    read_tensors(saved(tmp_path, {"a": torch.ones(1), "other": Calls(setattr, OwnList, "append", None)}))
    assert vars(builtins) == before
    assert OwnList.append is list.append
