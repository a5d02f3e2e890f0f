"""`segpipe profile`."""

import json

from segpipe.cli.main import main


def test_a_preset_is_counted_without_its_weights(capsys):
    assert main(["profile", "segformer-b0-ade20k", "--no-timing", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parameters"]["total"] == 3_752_694
    assert round(document["macs"]["published"] / 1e9, 1) == 8.4
    assert document["flops"] == 2 * document["macs"]["total"]
    assert document["speed"] is None
    assert 15.0e6 < document["bytes"] < 15.2e6


def test_the_table_says_what_was_counted_and_timed(capsys):
    arguments = ["profile", "segformer-b0-camvid", "--size", "64", "96", "--device", "cpu", "--rounds", "2"]
    assert main([*arguments, "--batch-size", "2"]) == 0
    text = capsys.readouterr().out
    assert "3,716,971, of which 3,716,971 are trainable" in text
    assert "64 × 96" in text
    assert "2 images (cpu, float32," in text
    assert max(map(len, text.splitlines())) <= 80
