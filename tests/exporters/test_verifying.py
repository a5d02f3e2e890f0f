"""What is checked before an exported file is kept, and what becomes of it afterwards."""

import os
from datetime import datetime, timedelta, timezone

import pytest
import torch
from exporter_material import stripes

from segpipe.errors import InputError, NumericalError
from segpipe.exporters import verifying
from segpipe.exporters.exporting import export_network
from segpipe.exporters.formats import FORMATS
from segpipe.hub import Hub
from segpipe.hub.manifest import build_manifest, write_manifest


class SecondIsNone:
    """A session whose second image gives no numbers."""

    def __init__(self, network):
        self.network, self.calls = network, 0

    def run(self, images):
        self.calls += 1
        with torch.no_grad():
            logits = self.network(images).permute(0, 2, 3, 1)
        return (logits if self.calls == 1 else torch.full_like(logits, torch.nan),)


def test_what_is_not_a_number_is_found_in_any_image(monkeypatch, tmp_path):
    network = stripes()
    monkeypatch.setattr(verifying, "open_session", lambda *_, **__: SecondIsNone(network))
    with pytest.raises(NumericalError, match="differ"):
        verifying.measure_difference(network, tmp_path / "a.pt2", FORMATS["torch"], torch.uint8)


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written.*another path"):
        export_network(stripes(), tmp_path / "file" / "a.pt2", FORMATS["torch"], pixels=torch.uint8)


def test_exports_of_folders_outside_the_cache_are_not_pruned_as_orphans(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    cache = Hub().cache
    folder = cache.converted_folder("my-model-onnx-0123456789abcdef")
    folder.mkdir(parents=True)
    (folder / "network.onnx").write_bytes(b"bytes")
    write_manifest(folder, build_manifest(folder, ["network.onnx"]))
    used = (datetime.now(timezone.utc) - timedelta(days=2)).timestamp()
    os.utime(folder / "manifest.json", (used, used))
    cache.prune()
    assert folder.is_dir()
    cache.prune(unused_for=timedelta(days=1))
    assert not folder.exists()
