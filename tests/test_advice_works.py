"""What a message advises works when it is copied: mistakes are made in Python and as commands, and advice is run."""

from __future__ import annotations

import ast
import io
import logging
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_material import CLASSES, CONFIGURATION, write_pictures

from segpipe import build_trainer, convert, evaluate, export, load_dataset, pipeline
from segpipe.cli.main import main
from segpipe.data import check_dataset, prepare_dataset, rgb
from segpipe.data.images import read_image

MODEL = "segformer-b0-camvid"
PREDICT = f"predict image.png --device cpu --model {MODEL}"
TRAIN = "train --config recipe.json --device cpu --max-steps 1 --work-dir run --data folder"


def load(root: str, names: Any = None, **options: Any) -> Any:
    """The first label of a folder of masks."""
    return load_dataset("folder", root, "all", **({} if names is None else {"names": names}), **options)[0]


def check(root: str, names: Any, **options: Any) -> None:
    """What `data check` says, as an error."""
    report = check_dataset(load_dataset("folder", root, "all", names=names, **options))
    fixes = [finding.fix for group in report.groups for finding in group.findings if group.severity == "error"]
    if fixes:
        raise ValueError(" ".join(fixes))


def score(**options: Any) -> Any:
    return evaluate(MODEL, load_dataset("folder", "streets", "all", **options), device="cpu")


def predict(**options: Any) -> Any:
    return pipeline("image-segmentation", MODEL, **{"device": "cpu", **options})("image.png")


def train(root: str, **options: Any) -> None:
    data = load_dataset("folder", root, "train"), load_dataset("folder", root, "val")
    given = {"cfg_file": "recipe.json", "work_dir": "run", "max_steps": 1, "device": "cpu", **options}
    build_trainer(train_dataset=data[0], eval_dataset=data[1], **given).train()


def data_check(root: str, *options: str) -> str:
    return " ".join(["data check folder", root, "--split all", *(f"--option {option}" for option in options)])


# What is wrong → (a call that takes what is advised, a command, what the advice begins with there).
Call = Callable[..., Any]
MISTAKES: dict[str, tuple[str, Call, str, str]] = {
    "no names of classes": ("names", lambda names=None: load("values", names), data_check("values"), "--option names="),
    "colours without a meaning": (
        "palette",
        lambda palette=None: load("colors", "a,b,c", palette=palette),
        data_check("colors", "names=a,b,c"),
        "--option palette=",
    ),
    "colours of no class": (
        "ignore_colors",
        lambda ignore_colors=(): load("colors", "a,b", palette="#000000,#ff0000", ignore_colors=ignore_colors),
        data_check("colors", "names=a,b", "palette=#000000,#ff0000"),
        "--option ignore_colors=",
    ),
    "classes without colours": (
        "palette",
        lambda palette=None: load("colored", "a,b", read="colors", palette=palette),
        data_check("colored", "names=a,b", "read=colors"),
        "--option palette=",
    ),
    "values from 1 on": (
        "raw_ids",
        lambda raw_ids=None: check("from-one", "a,b", raw_ids=raw_ids),
        data_check("from-one", "names=a,b"),
        "--option raw_ids=",
    ),
    "values 0 and 255": (
        "names",
        lambda names="bg,fg": check("binary", names),
        data_check("binary", "names=bg,fg"),
        "--option names=",
    ),
    "a palette of other colours": (
        "read",
        lambda read=None: load("swapped", read=read),
        data_check("swapped"),
        "--option read=",
    ),
    "a way to read that is none": (
        "read",
        lambda read="colour": load("values", "a,b", read=read),
        data_check("values", "names=a,b", "read=colour"),
        "--option read=",
    ),
    "floats beyond 1": (
        "bit_depth",
        lambda bit_depth=None: read_image("float.tif", bit_depth=bit_depth),
        PREDICT.replace("image.png", "float.tif"),
        "--bit-depth ",
    ),
    "values of 12 bits": (
        "bit_depth",
        lambda bit_depth=None: read_image("deep.png", bit_depth=bit_depth),
        PREDICT.replace("image.png", "deep.png"),
        "--bit-depth ",
    ),
    "a fourth channel of many values": (
        "alpha",
        lambda alpha="auto": read_image("infrared.tif", alpha=alpha),
        PREDICT.replace("image.png", "infrared.tif"),
        "--alpha ",
    ),
    "classes that the model lacks": (
        "classes",
        lambda classes=None: score(classes=classes),
        f"eval {MODEL} --device cpu --data folder streets --split all",
        "--option classes=",
    ),
    "a device that is not there": (
        "device",
        lambda device="gpux": predict(device=device),
        PREDICT.replace("device cpu", "device gpux"),
        "--device ",
    ),
    "a type that a runtime lacks": (
        "dtype",
        lambda dtype="int8": predict(dtype=dtype),
        f"{PREDICT} --dtype int8",
        "--dtype ",
    ),
    "boundaries of nothing": (
        "data",
        lambda data=None: prepare_dataset("boundaries", "shapes", data=data),
        "data prepare boundaries shapes",
        "--data ",
    ),
    "a size that is no multiple": (
        "overrides",
        lambda overrides=None: predict(overrides=overrides or {"model.size_multiple": 1}),
        f"{PREDICT} --set model.size_multiple=1",
        "--set model.size_multiple=",
    ),
    "a folder that exists": (
        "overwrite",
        lambda overwrite=False: convert(MODEL, "model", overwrite=overwrite),
        f"convert {MODEL} model",
        "--overwrite",
    ),
    "a file of weights that exists": (
        "overwrite",
        lambda overwrite=False: export(MODEL, "street.onnx", format="onnx", overwrite=overwrite, calibration=[]),
        f"convert {MODEL} street.pth --to-dialect nvlabs",
        "--overwrite",
    ),
    "a work directory that is a file": (
        "work_dir",
        lambda work_dir="image.png": train("shapes", work_dir=work_dir),
        f"{TRAIN.replace('dir run', 'dir image.png')} shapes",
        "--work-dir ",
    ),
    "another recipe in a work directory": (
        "work_dir",
        lambda work_dir="begun": train("shapes", work_dir=work_dir, cfg_options={"train.seed": 4}),
        f"{TRAIN.replace('dir run', 'dir begun')} shapes --set train.seed=4",
        "--work-dir ",
    ),
    "data that has changed": (
        "accept_changed_data",
        lambda accept_changed_data=False: train("more", work_dir="begun", accept_changed_data=accept_changed_data),
        f"{TRAIN.replace('dir run', 'dir begun')} more",
        "--accept-changed-data",
    ),
    "labels that look wrong": (
        "check_data",
        lambda check_data=True: train("wrong", check_data=check_data),
        f"{TRAIN} wrong",
        "--skip-data-check",
    ),
    "weights of too few classes": (
        "cfg_options",
        lambda cfg_options=None: train("shapes", cfg_options=cfg_options or {"train.loss.class_weights": [1.0, 2.0]}),
        f"{TRAIN} shapes --set train.loss.class_weights=1,2",
        "--set train.loss.class_weights=",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    """A folder with one data set or file for each mistake."""
    root = tmp_path_factory.mktemp("mistakes")
    (root / "recipe.json").write_text(CONFIGURATION)
    grey = np.zeros((8, 9, 3), np.uint8)
    rows = np.arange(72).reshape(8, 9)
    masks = {
        "values": (rows % 2).astype(np.uint8),
        "from-one": (rows % 2 + 1).astype(np.uint8),
        "binary": (rows % 2 * 255).astype(np.uint8),
        "colors": np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[rows % 3],
        "colored": np.array([[0, 0, 0], [255, 0, 0]], np.uint8)[rows % 2],
        "streets": (rows % 3).astype(np.uint8),
    }
    for name, mask in masks.items():
        put(root / name / "images" / "a.png", grey)
        put(root / name / "labels" / "a.png", mask)
    (root / "streets" / "labels.json").write_text('{"names": ["sky", "unicorn", "road"]}')
    put(root / "swapped" / "images" / "a.png", grey)
    swapped = Image.fromarray(masks["values"], "P")
    swapped.putpalette([255, 0, 0, 0, 0, 0])
    (root / "swapped" / "labels").mkdir()
    swapped.save(root / "swapped" / "labels" / "a.png")
    (root / "swapped" / "labels.json").write_text('{"names": ["a", "b"], "palette": [[0, 0, 0], [255, 0, 0]]}')
    put(root / "image.png", np.zeros((40, 50, 3), np.uint8))
    put(root / "deep.png", (rows * 50).astype(np.uint16))
    Image.fromarray(rows.astype(np.float32)).save(root / "float.tif")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 4)).astype(np.uint8)
    Image.fromarray(noise, "RGBA").save(root / "infrared.tif")
    (root / "model").mkdir()
    (root / "model" / "configuration.json").write_text(CONFIGURATION)
    (root / "street.onnx").write_text("old")
    (root / "street.pth").write_text("old")
    write_pictures(root / "shapes")
    write_pictures(root / "wrong")
    for path in (root / "wrong" / "labels").rglob("*.png"):
        put(path, np.asarray(Image.open(path)) + np.uint8(len(CLASSES)))
    write_pictures(root / "more")
    put(root / "more" / "images" / "train" / "9.png", np.zeros((40, 48, 3), np.uint8))
    put(root / "more" / "labels" / "train" / "9.png", np.zeros((40, 48), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train("shapes", work_dir="begun")
    return root


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(autouse=True)
def place(material, tmp_path, monkeypatch):
    """A copy of the material; what is said once in a process is said again."""
    import shutil

    shutil.copytree(material, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(rgb, "_said", set())


@contextmanager
def log_text() -> Iterator[io.StringIO]:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger("segpipe").addHandler(handler)
    try:
        yield text
    finally:
        logging.getLogger("segpipe").removeHandler(handler)


def said_in_python(call: Call, **options: Any) -> str:
    with log_text() as log:
        try:
            call(**options)
        except Exception as error:
            log.write(str(error))
    return log.getvalue()


def said_by_command(arguments: list[str]) -> str:
    text = io.StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        main(arguments)
    return text.getvalue()


def value_advised(text: str, keyword: str) -> Any:
    """The value of the first keyword in a text that is Python."""
    for match in re.finditer(rf"\b{keyword}=", text):
        for end in range(len(text), match.end(), -1):
            with suppress(SyntaxError, ValueError):
                call: Any = ast.parse(f"call({text[match.start() : end]})", mode="eval").body
                return ast.literal_eval(call.keywords[0].value)
    raise AssertionError(f"{keyword} is not advised: {text}")


def arguments_advised(text: str, start: str) -> list[str]:
    """The arguments that a shell makes of the first advice that begins so."""
    flag, _, key = start.partition(" ")
    match = re.search(rf"{flag} ?('{re.escape(key)}[^']*'|{re.escape(key)}\S*)" if " " in start else flag, text)
    assert match, f"{start} is not advised: {text}"
    return shlex.split(match[0] if match[0].endswith("'") else match[0].rstrip(".,;:)"))


@pytest.mark.parametrize("what", MISTAKES)
def test_advice_in_python_works(what):
    keyword, call, _, _ = MISTAKES[what]
    before = said_in_python(call)
    value = value_advised(before, keyword)
    after = said_in_python(call, **{keyword: value})
    assert f"{keyword}=" not in after, f"{before}\n{after}"


@pytest.mark.parametrize("what", MISTAKES)
def test_advice_of_a_command_works(what):
    _, _, command, start = MISTAKES[what]
    before = said_by_command(shlex.split(command))
    advised = arguments_advised(before, start)
    after = said_by_command([*shlex.split(command), *advised])
    told = [line for line in after.splitlines() if not line.startswith("  segpipe")]  # how to go on repeats it
    assert start.strip() not in "\n".join(told), f"{before}\n{after}"
