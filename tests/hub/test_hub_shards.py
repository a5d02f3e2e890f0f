"""Models whose weights lie in several files: the index is fetched first, then what it names, and nothing else."""

from __future__ import annotations

import json

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import CONFIGURATION, WEIGHTS, leftovers

from segpipe.errors import DownloadError, IntegrityError, ModelFolderError, ModelNotFoundError, UnsafePathError
from segpipe.hub import Hub
from segpipe.hub.manifest import read_manifest

NAME, INDEX = "team/large", "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SOURCES = pytest.mark.parametrize("source", [f"modelscope:{NAME}", f"hf:{NAME}"])


def files(*names: str) -> dict[str, bytes]:
    index = {"weight_map": {f"t{number}": name for number, name in enumerate(names or SHARDS)}}
    return {
        "configuration.json": json.dumps(CONFIGURATION).encode(),
        INDEX: json.dumps(index).encode(),
        SHARDS[0]: WEIGHTS[:1000],
        SHARDS[1]: WEIGHTS[1000:],
        "model-00003-of-00003.safetensors": b"of another index",
        "optimizer.bin": b"not needed",
    }


@SOURCES
def test_an_index_and_what_it_names_are_fetched(hub: Hub, server: FaultServer, source: str):
    server.add_model(NAME, files())
    folder = hub.resolve(source)
    assert {path.name for path in folder.path.iterdir()} == {"configuration.json", INDEX, *SHARDS, "manifest.json"}
    assert folder.weights == folder.path / INDEX
    assert folder.verify() == ()
    assert leftovers(hub.cache.home) == []
    count = len(server.seen)
    assert hub.resolve(source).path == folder.path
    assert len(server.seen) == count


def test_a_static_hub_may_have_shards(hub: Hub, server: FaultServer):
    server.add_model(NAME, files())
    folder = hub.resolve(f"hf:{NAME}")
    for path in folder.path.iterdir():
        server.static[f"here/main/{path.name}"] = path.read_bytes()
    served = hub.resolve(f"{server.url}/static/here")
    assert [entry.path for entry in read_manifest(served.path).files] == ["configuration.json", *SHARDS, INDEX]


def test_a_new_revision_fetches_the_changed_shard_alone(hub: Hub, server: FaultServer):
    server.add_model(NAME, files())
    first = hub.resolve(f"hf:{NAME}")
    server.add_model(NAME, {**files(), SHARDS[1]: WEIGHTS[:5000]})
    count = len(server.requests_for("/resolve/"))
    second = hub.resolve(f"hf:{NAME}", refresh=True)
    assert [seen.path.rpartition("/")[2] for seen in server.requests_for("/resolve/")[count:]] == [SHARDS[1]]
    assert (first.path / SHARDS[1]).read_bytes() != (second.path / SHARDS[1]).read_bytes()
    assert (second.path / SHARDS[0]).read_bytes() == WEIGHTS[:1000]


@SOURCES
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("model-00009-of-00009.safetensors", ModelNotFoundError, "does not offer model-00009-of-00009.safetensors"),
        ("../../config.bin", UnsafePathError, "has an empty, '.' or '..' part"),
        ("/etc/passwd", UnsafePathError, "is absolute"),
        ("setup.py", ModelFolderError, "ends in none of"),
    ],
)
def test_an_index_that_names_something_else_is_refused(hub, server, source, name, error, message):
    server.add_model(NAME, files(SHARDS[0], name))
    with pytest.raises(error, match=message):
        hub.resolve(source)
    assert not server.requests_for(SHARDS[0])
    assert not list(hub.cache.shelf(source).snapshots())


def test_a_damaged_index_is_named_by_its_source(hub: Hub, server: FaultServer):
    server.add_model(NAME, {**files(), INDEX: b"{"})
    with pytest.raises(ModelFolderError, match=f"^{INDEX} of hf:{NAME} is not an index"):
        hub.resolve(f"hf:{NAME}")


def test_a_shard_that_fails_leaves_no_model_and_the_rest_for_a_later_run(hub: Hub, server: FaultServer):
    server.add_model(NAME, files())
    server.fail_always(SHARDS[1], faults.flipped_byte)
    with pytest.raises((DownloadError, IntegrityError), match=SHARDS[1]):
        hub.resolve(f"hf:{NAME}")
    assert not list(hub.cache.shelf(f"hf:{NAME}").snapshots())
    server._faults.clear()
    count = len(server.requests_for("/resolve/"))
    assert hub.resolve(f"hf:{NAME}").verify() == ()
    asked = [seen.path.rpartition("/")[2] for seen in server.requests_for("/resolve/")[count:]]
    assert "configuration.json" not in asked
    assert SHARDS[1] in asked
