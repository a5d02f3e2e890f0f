"""`segpipe curves`."""

import json

from PIL import Image

from segpipe.cli.main import main


def write_log(folder, slope):
    folder.mkdir()
    lines = [{"event": "step", "step": n, "loss": 2.0 - slope * n, "lr": 0.1, "time": n} for n in range(1, 20)]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_runs_are_drawn_into_one_file(capsys, tmp_path):
    write_log(tmp_path / "one", 0.05)
    write_log(tmp_path / "two", 0.08)
    assert main(["curves", "one", "two", "--output", "both.png", "--keys", "loss,lr", "--x", "time", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in document["runs"]] == ["one", "two"]
    with Image.open(tmp_path / "both.png") as page:
        assert page.width == 1400


def test_a_key_that_no_run_has_is_one_sentence(capsys, tmp_path):
    write_log(tmp_path / "one", 0.05)
    assert main(["curves", "one", "--keys", "los"]) == 1
    assert "loss" in capsys.readouterr().err
    assert not (tmp_path / "curves.png").exists()
