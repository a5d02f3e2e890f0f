"""Weights in several files with their index: read as one, and refused where the files do not belong together."""

import json
import os

import pytest
import torch
from foreign_checkpoints import hugging_face_repository, hugging_face_tensors

from segpipe import convert, load_model
from segpipe.checkpoints import read_tensors, resolve_folder, write_tensors
from segpipe.errors import CorruptWeightsError, ModelFolderError, SegpipeError, UnsafePathError, WeightsError
from segpipe.hub import Hub
from segpipe.models import SegformerConfig, build_model

SAFE, PICKLED = "model.safetensors.index.json", "pytorch_model.bin.index.json"
KINDS = pytest.mark.parametrize("index", [SAFE, PICKLED])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(SegformerConfig(num_classes=3)).eval()


def write_shard(tensors, path):
    write_tensors(tensors, path) if path.suffix == ".safetensors" else torch.save(dict(tensors), path)


def shard(folder, tensors, index=SAFE, count=3):
    """Write the tensors into several files and their index, as transformers does; return the index's document."""
    stem, suffix = index.removesuffix(".index.json").rsplit(".", 1)
    keys, places = list(tensors), {}
    for number in range(count):
        name = f"{stem}-{number + 1:05}-of-{count:05}.{suffix}"
        part = {key: tensors[key].contiguous() for key in keys[number::count]}
        write_shard(part, folder / name)
        places |= dict.fromkeys(part, name)
    document = {"metadata": {"total_size": 5}, "weight_map": places}
    (folder / index).write_text(json.dumps(document))
    return document


def small(folder, index=SAFE):
    """Four tensors in two files."""
    return shard(folder, {key: torch.full((2,), float(place)) for place, key in enumerate("abcd")}, index, count=2)


def hugging_face_folder(folder, network, index):
    files = hugging_face_repository(network, ["a", "b", "c"], 64)
    for name in files.keys() - {"model.safetensors"}:
        (folder / name).write_bytes(files[name])
    shard(folder, hugging_face_tensors(network), index)
    return folder


@KINDS
def test_a_folder_of_hugging_faces_with_shards_is_a_model(tmp_path, network, index):
    folder = resolve_folder(hugging_face_folder(tmp_path, network, index))
    assert folder.weights == tmp_path / index
    loaded, own = load_model(folder), network.state_dict()
    whole = convert(tmp_path, tmp_path / "whole")
    assert loaded.num_classes == 3
    assert all(torch.equal(tensor, own[key]) for key, tensor in read_tensors(whole.weights).items())


@pytest.mark.peer
def test_shards_that_transformers_wrote_give_its_logits(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(num_labels=3, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 3, 4])
    torch.manual_seed(0)
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    model, image = resolve_folder(tmp_path).configuration.model, torch.rand(1, 3, 64, 96) * 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.pixel_mean, model.pixel_std))
    with torch.inference_mode():
        expected, logits = theirs((image - mean) / std).logits, load_model(tmp_path)(image)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


@KINDS
def test_a_model_with_shards_on_a_hub_loads(web_server, tmp_path, monkeypatch, network, index):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", web_server.url)
    (tmp_path / "theirs").mkdir()
    folder = hugging_face_folder(tmp_path / "theirs", network, index)
    web_server.add_model("team/large", {path.name: path.read_bytes() for path in folder.iterdir()})
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(load_model("hf:team/large")(image), load_model(folder)(image))
    assert sorted(found.kind for found in Hub().cached()) == ["converted", "downloaded"]


def test_links_to_shards_are_followed_as_in_hugging_faces_cache(tmp_path, network):
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir(), folder.mkdir()
    hugging_face_folder(blobs, network, SAFE)
    for number, path in enumerate(sorted(blobs.iterdir())):
        os.rename(path, blobs / str(number))
        os.symlink(blobs / str(number), folder / path.name)
    assert load_model(folder).num_classes == 3


@KINDS
def test_an_index_is_a_file_of_weights(tmp_path, network, index):
    shard(tmp_path, {f"module.{key}": tensor for key, tensor in network.state_dict().items()}, index)
    folder = convert(tmp_path / index, tmp_path / "folder")
    assert read_tensors(folder.weights).keys() == network.state_dict().keys()


def test_one_file_comes_before_an_index(tmp_path, network):
    hugging_face_folder(tmp_path, network, PICKLED)
    shard(tmp_path, hugging_face_tensors(network), SAFE)
    assert resolve_folder(tmp_path).weights.name == SAFE
    write_tensors(hugging_face_tensors(network), tmp_path / "model.safetensors")
    assert resolve_folder(tmp_path).weights.name == "model.safetensors"


@KINDS
def test_a_missing_shard_is_named(tmp_path, index):
    name = small(tmp_path, index)["weight_map"]["b"]
    (tmp_path / name).unlink()
    with pytest.raises(WeightsError, match=f"names 2 files, of which 1 are not there: {name}"):
        read_tensors(tmp_path / index)


@KINDS
def test_tensors_lie_where_the_index_says_and_nowhere_else(tmp_path, index):
    document = small(tmp_path, index)
    first, second = sorted(set(document["weight_map"].values()))

    def indexed(**places):
        (tmp_path / index).write_text(json.dumps({"weight_map": {**document["weight_map"], **places}}))
        return tmp_path / index

    with pytest.raises(CorruptWeightsError, match=f"names extra, which its files do not hold \\({first} should"):
        read_tensors(indexed(extra=first))
    with pytest.raises(CorruptWeightsError, match=f"{second} holds b, which {index} places in {first}"):
        read_tensors(indexed(b=first))
    write_shard({"b": torch.ones(2), "d": torch.ones(2), "more": torch.ones(2)}, tmp_path / second)
    with pytest.raises(CorruptWeightsError, match=f"{second} holds more, which {index} does not list"):
        read_tensors(indexed())
    write_shard({"a": torch.ones(2), "b": torch.ones(2), "d": torch.ones(2)}, tmp_path / second)
    with pytest.raises(CorruptWeightsError, match=f"{second} holds a, which {index} places in {first}"):
        read_tensors(indexed())


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "a/../../b.safetensors",
        "",
        ".",
        "a\\b.bin",
        "x" * 300 + ".bin",
        "nul.bin",
    ],
)
def test_an_index_names_files_inside_its_folder_alone(tmp_path, name):
    (tmp_path / SAFE).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UnsafePathError):
        read_tensors(tmp_path / SAFE)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "is not an index of weights"),
        ("{}", "is not an index of weights"),
        ('{"weight_map": {}}', "names 0 files"),
        ('{"weight_map": {"a": 3}}', "is not an index of weights"),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "ends in none of .safetensors"),
        (json.dumps({"weight_map": {str(n): f"{n}.bin" for n in range(300)}}), "names 300 files; 1 to 256"),
        ('{"weight_map": ', "is not an index of weights"),
    ],
)
def test_what_is_not_an_index_is_refused(tmp_path, document, message):
    (tmp_path / SAFE).write_text(document)
    with pytest.raises(ModelFolderError, match=message):
        read_tensors(tmp_path / SAFE)


def test_shards_are_bounded_together(tmp_path, monkeypatch):
    small(tmp_path)
    sizes = [path.stat().st_size for path in tmp_path.glob("*.safetensors")]
    monkeypatch.setenv("SEGPIPE_MAX_WEIGHTS_BYTES", str(sum(sizes)))
    assert len(read_tensors(tmp_path / SAFE)) == 4
    monkeypatch.setenv("SEGPIPE_MAX_WEIGHTS_BYTES", str(sum(sizes) - 1))
    with pytest.raises(WeightsError, match=f"have {sum(sizes):,} bytes"):
        read_tensors(tmp_path / SAFE)


@KINDS
@pytest.mark.parametrize("kind", ["pipe", "folder", "text", "empty"])
def test_a_shard_that_is_none_is_refused_at_once(tmp_path, index, kind):
    path = tmp_path / small(tmp_path, index)["weight_map"]["a"]
    path.unlink()
    {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "text": lambda: path.write_text("text"),
        "empty": path.touch,
    }[kind]()
    with pytest.raises(SegpipeError, match=path.name):
        read_tensors(tmp_path / index)


@KINDS
def test_shards_without_their_index_are_said_to_be_some(tmp_path, network, index):
    hugging_face_folder(tmp_path, network, index)
    (tmp_path / index).unlink()
    with pytest.raises(ModelFolderError, match=r"in several files \(.*00001-of-00003.* without the index"):
        resolve_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["epoch_1.pth"], "epoch_1.pth"),
        (["last.ckpt", "a.txt"], "last.ckpt"),
        ([SAFE, "a-00001-of-00001.bin"], SAFE),
    ],
)
def test_a_folder_with_a_checkpoint_alone_says_how_to_convert_it(tmp_path, names, chosen):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ModelFolderError, match=f"segpipe convert {tmp_path / chosen} NEW_FOLDER"):
        resolve_folder(tmp_path)


def test_the_cache_tells_other_shards_by_their_bytes(tmp_path, monkeypatch, network):
    """The index of a network that was trained further is the same; what was converted before must not be used."""
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    from segpipe.checkpoints import open_folder
    from segpipe.hub.manifest import build_manifest, write_manifest

    folder = Hub().cache.home / "downloaded"
    folder.mkdir(parents=True)
    means = []
    for scale in (1.0, 2.0):
        hugging_face_folder(folder, network, SAFE)
        shard(folder, {key: tensor * scale for key, tensor in hugging_face_tensors(network).items()})
        (folder / "manifest.json").unlink(missing_ok=True)
        write_manifest(folder, build_manifest(folder, [path.name for path in folder.iterdir()]))
        means.append(read_tensors(open_folder(folder).weights)["head.classifier.weight"].double().abs().mean().item())
    assert means[1] == pytest.approx(2 * means[0])
