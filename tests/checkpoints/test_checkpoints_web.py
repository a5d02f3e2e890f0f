"""Presets whose weights are one foreign checkpoint behind a web address: fetched, read, converted."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from fault_server import FaultServer
from test_checkpoints_segmenter import SMALL, assert_same, write_checkpoint

from segpipe import load_model
from segpipe.configuration import Configuration, WeightsConfig, load_preset
from segpipe.errors import CorruptWeightsError, WeightMismatchError
from segpipe.hub import Hub, client
from segpipe.models import DeitConfig, UneptConfig

PARITY = Path(__file__).parents[3] / "shared" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="the parity folders are not beside this checkout")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def use_preset(monkeypatch: pytest.MonkeyPatch, configuration: Configuration, source: str, dialect: str) -> None:
    """Make `tiny` a preset with this network and weights from this address."""
    preset = msgspec.structs.replace(configuration, weights=WeightsConfig(source=source, dialect=dialect))
    monkeypatch.setattr(client, "preset_names", lambda: ("tiny",))
    monkeypatch.setattr(client, "load_preset", lambda name: preset)


def test_a_checkpoint_on_the_web_becomes_a_model(web_server: FaultServer, monkeypatch, tmp_path):
    model = write_checkpoint(tmp_path / "run" / "checkpoint.pth", SMALL)
    web_server.static["seg_large_mask/checkpoint.pth"] = (tmp_path / "run" / "checkpoint.pth").read_bytes()
    use_preset(
        monkeypatch, Configuration(model=SMALL), f"{web_server.url}/static/seg_large_mask/checkpoint.pth", "segmenter"
    )
    assert_same(model, load_model("tiny"))
    count = len(web_server.seen)
    assert_same(model, load_model("tiny"))
    assert (len(web_server.seen), count) == (1, 1)
    kinds = sorted(found.kind for found in Hub().cached())
    assert kinds == ["converted", "downloaded"]


def test_checkpoints_of_the_same_name_do_not_get_mixed_up(web_server: FaultServer, monkeypatch, tmp_path):
    for place, classes in (("first", 19), ("second", 7)):
        model = msgspec.structs.replace(SMALL, num_classes=classes)
        write_checkpoint(tmp_path / place / "checkpoint.pth", model)
        web_server.static[f"{place}/checkpoint.pth"] = (tmp_path / place / "checkpoint.pth").read_bytes()
    use_preset(monkeypatch, Configuration(model=SMALL), f"{web_server.url}/static/first/checkpoint.pth", "segmenter")
    assert load_model("tiny").num_classes == 19
    use_preset(monkeypatch, Configuration(model=SMALL), f"{web_server.url}/static/second/checkpoint.pth", "segmenter")
    with pytest.raises(WeightMismatchError, match="The file is for 7 classes"):
        load_model("tiny")


def test_a_page_instead_of_a_checkpoint_is_no_model(web_server: FaultServer, monkeypatch):
    web_server.static["checkpoint.pth"] = b"not a checkpoint at all, but some text that a server sends"
    use_preset(monkeypatch, Configuration(model=SMALL), f"{web_server.url}/static/checkpoint.pth", "segmenter")
    with pytest.raises(CorruptWeightsError):
        load_model("tiny")


@pytest.mark.shared
@needs_parity
def test_the_official_checkpoint_and_its_preset_give_the_official_outputs(web_server: FaultServer, monkeypatch):
    folder, preset = PARITY / "segmenter-vit-tiny-mask", load_preset("segmenter-tiny-ade20k")
    web_server.static["seg_tiny_mask/checkpoint.pth"] = (folder / "checkpoint.pth").read_bytes()
    use_preset(monkeypatch, preset, f"{web_server.url}/static/seg_tiny_mask/checkpoint.pth", preset.weights.dialect)
    model = load_model("tiny")
    expected = {key: torch.from_numpy(value) for key, value in np.load(folder / "io.npz").items()}
    with torch.inference_mode():
        logits = model(expected["input"] * 127.5 + 127.5)  # the network normalises, and its authors' does not
    assert float((logits - expected["logits"]).abs().max() / expected["logits"].abs().max()) < 1e-5


@pytest.mark.shared
@needs_parity
def test_a_checkpoint_of_unept_on_the_web_becomes_a_model(web_server: FaultServer, monkeypatch):
    folder = PARITY / "unept-deit-small"
    encoder = DeitConfig(variant="tiny", image_size=(128, 128))
    config = UneptConfig(num_classes=60, encoder=encoder, hidden=512, query_grid=(16, 16))
    web_server.static["unept/iter_160000.pth"] = (folder / "iter_160000.pth").read_bytes()
    use_preset(monkeypatch, Configuration(model=config), f"{web_server.url}/static/unept/iter_160000.pth", "unept")
    model = load_model("tiny")
    assert model.num_classes == 60
    fetched = Hub().resolve("tiny")
    assert fetched.dialect == "unept"
    assert fetched.weights.read_bytes() == web_server.static["unept/iter_160000.pth"]
