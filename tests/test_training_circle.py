"""The whole circle by the README's commands: train, kill -9, go on, score, publish, download elsewhere, predict."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from segpipe import evaluate, load_dataset, pipeline
from segpipe.cli.main import main
from segpipe.hub import ModelFolder
from segpipe.scenes.street import draw_street_scene
from segpipe.trainers.run.run_log import read_log

ROOT = Path(__file__).parents[1]
SMALL = (
    "train.batch_size=2",
    "train.workers=0",
    "train.log_every=1",
    "train.checkpoint.every=2",
    'train.transforms=[{"type": "random_crop", "size": [64, 64]}, {"type": "random_flip"}]',
    "evaluation.every=4",
)


@pytest.fixture
def camvid(tmp_path):
    """Eight drawn streets of 64 × 96 pixels in CamVid's folders."""
    for number in range(8):
        split = "train" if number < 6 else "val"
        scene = draw_street_scene(number, (64, 96))
        for kind, pixels in ((split, scene.image), (f"{split}annot", scene.label)):
            (tmp_path / "CamVid" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "CamVid" / kind / f"street-{number}.png")
    return tmp_path / "CamVid"


def start(place, *arguments, home="home"):
    """`segpipe …` in a folder, with a cache of its own and none of the user's variables."""
    ours = ("SEGPIPE_", "HF_", "MODELSCOPE_", "SLURM_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours) and "proxy" not in key.lower()}
    environment = {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "SEGPIPE_HOME": str(place / home)}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "segpipe", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """What it wrote to stdout."""
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return output


def train(place, camvid, work_dir):
    changes = [part for change in SMALL for part in ("--set", change)]
    data = ("--data", "camvid", camvid, "--device", "cpu", "--max-steps", "8")
    return start(place, "train", "--model", "segformer-b0-camvid", *data, "--work-dir", work_dir, *changes)


def kill_after(process, log, steps):
    while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < steps):
        time.sleep(0.01)
    process.kill()
    process.communicate()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Without a line for each request."""

    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """A plain web server over a folder, as `python -m http.server` is one; gives its URL."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def label_maps(model, camvid):
    """As the pipeline sees the pictures, by name."""
    paths = sorted((camvid / "val").iterdir())
    results = pipeline("image-segmentation", model)(paths)
    return {path.stem: result.label_map for path, result in zip(paths, results, strict=True)}


def assert_equal_maps(first, second):
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_what_a_killed_run_leaves_is_what_somebody_elsewhere_predicts_with(tmp_path, camvid, monkeypatch, capsys):
    in_peace = train(tmp_path, camvid, "whole")
    log = tmp_path / "killed" / "log.jsonl"
    kill_after(train(tmp_path, camvid, "killed"), log, 5)
    assert not (tmp_path / "killed" / "model").exists()
    finish(train(tmp_path, camvid, "killed"))
    finish(in_peace)
    whole, killed = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    check_folder(tmp_path / "killed" / "model", log, tmp_path)

    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    here = label_maps(tmp_path / "killed" / "model", camvid)
    check_scores(camvid, here, capsys)
    assert main(["publish", "killed/model", (tmp_path / "hub" / "team" / "street").as_uri()]) == 0
    shutil.move(tmp_path / "killed", tmp_path / "gone")
    with served(tmp_path / "hub") as url:
        model = f"{url}/team/street"
        finish(start(tmp_path, "predict", camvid / "val", "--model", model, "--label-maps", home="elsewhere"))
        monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "elsewhere"))
    assert_equal_maps(label_maps(model, camvid), here)  # the server is gone: from the cache
    written = {path.stem: path for path in (tmp_path / "segpipe-results").glob("*-label-map.png")}
    seen = {stem.removesuffix("-label-map"): np.asarray(Image.open(path)) for stem, path in written.items()}
    assert_equal_maps(seen, here)


def check_folder(path, log, tmp_path):
    """It went on where it was killed, ships the run's log, and says nothing of the machine's folders."""
    steps = [line["step"] for line in read_log(log) if line["event"] == "step"]
    assert steps[-1] == 8
    assert set(steps) == set(range(1, 9))
    assert steps.count(1) == 1, "it began afresh"
    assert ModelFolder.open(path).verify() == ()
    assert (path / "log.jsonl").read_bytes() == log.read_bytes()
    texts = [(path / name).read_text() for name in ("README.md", "configuration.json", "log.jsonl", "manifest.json")]
    assert not any(str(tmp_path) in text for text in texts)
    assert "| 8 | " in texts[0]


def check_scores(camvid, maps, capsys):
    """`segpipe eval` says what follows from the label maps, and what Python says."""
    assert main(["eval", "killed/model", "--data", "camvid", str(camvid), "--device", "cpu", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    dataset = load_dataset("camvid", camvid, "val")
    assert scores["miou"] == evaluate("killed/model", dataset, device="cpu").miou
    right = sum(int((maps[Path(one.name).stem] == one.label).sum()) for one in dataset)
    assert scores["pixel_accuracy"] == right / sum(int((one.label != 255).sum()) for one in dataset)
