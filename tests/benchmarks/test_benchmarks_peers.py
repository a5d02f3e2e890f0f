"""The commands beside other runtimes and libraries: their post-processing, files, notes, plot. Nothing is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

# The benchmarks are not installed; appended, so that an installed segpipe still comes first.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import everything, growth, label_maps, rates, runtimes, stream
from benchmarks.comparison import compare_results
from benchmarks.exported import POSTPROCESSING, Exported, build_engines, export_graph
from benchmarks.mmsegmentation import Mmsegmentation
from benchmarks.plots import write_plot
from benchmarks.results import Machine, Result, Row
from benchmarks.tables import disagreements, render_rows


def make_row(table: str, what: str = "one picture", **changes: object) -> Row:
    row = Row(table=table, network="b0", size=(480, 640), what=what, unit="ms", runs={"segpipe": (10.0, 10.0)})
    return msgspec.structs.replace(row, **changes)


def make_result(row: Row) -> Result:
    machine = Machine(processor="a processor", cores=2, memory_gib=8, system="Linux x86_64", python="3.11.0")
    return Result(date="2026-01-02", machine=machine, versions={}, threads=2, rows=(row,))


@pytest.mark.parametrize("way", POSTPROCESSING.values(), ids=POSTPROCESSING)
def test_every_usual_way_gives_the_class_that_wins_after_interpolation(way):
    logits = np.zeros((1, 3, 1, 2), np.float32)
    logits[0, :, 0] = [[4, 0], [0, 2], [-1, -1]]
    # Between the two centres class 0 falls from 4 to 0 and class 1 rises to 2: they cross at two thirds of the way.
    labels = way(logits, (2, 8))
    assert labels.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]] * 2


def test_runtimes_stand_beside_what_runs_transformers_graph():
    rivals = {"transformers": (120.0, 120.0), "ONNX Runtime": (45.0, 45.0), "OpenVINO": (30.0, 30.0)}
    eager = make_row("runtimes", "eager float32", runs={"segpipe": (10.0, 10.0), **rivals})
    half = make_row("runtimes", "openvino bfloat16", runs={"segpipe": (5.0, 5.0), **rivals})
    text = render_rows("runtimes", [eager, half])
    assert "best is openvino bfloat16, 24.0× faster than transformers' pipeline; 6.0× faster than OpenVINO" in text
    assert "best in float32 is eager float32, 12.0×" in text


def test_half_precision_may_differ_in_more_pixels():
    exact = make_row("runtimes", "eager float32", agreement=0.995)
    half = make_row("runtimes", "eager bfloat16", agreement=0.995, agreement_wanted=0.99)
    assert disagreements([exact, half]) == [exact]


def test_a_network_is_shown_as_a_share_of_the_machine_s_rate():
    runs = {"segpipe": (40.0, 40.0), "matrix product": (10.0, 10.0)}
    text = render_rows("rate", [make_row("rate", "eager float32", runs=runs, multiply_adds=2e9)])
    assert "25%" in text
    assert "2.00 G multiply-adds, 100 of 400 GFLOP/s" in text


def test_a_stream_is_shown_over_the_network_s_time_and_compared_by_it():
    row = make_row("stream", runs={"segpipe": (12.0, 12.0), "network": (10.0, 10.0)})
    assert "1.20×" in render_rows("stream", [row])
    slower = make_row("stream", runs={"segpipe": (36.0, 36.0), "network": (20.0, 20.0)})
    [change] = compare_results(make_result(row), make_result(slower))
    assert (change.verdict, change.worse) == ("worse", pytest.approx(0.5))


def test_a_stream_s_files_are_the_pictures_again_and_again(tmp_path):
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    files = stream.write_files(pictures, tmp_path / "stream", 5)
    assert [file.name for file in files] == [f"{index:05}.jpg" for index in range(5)]
    assert files[0].read_bytes() == files[2].read_bytes() == files[4].read_bytes() != files[3].read_bytes()


def test_the_plot_has_a_panel_for_each_way_to_grow(tmp_path):
    runs = {"segpipe": (10.0, 10.0), "transformers": (80.0, 80.0), "transformers lean": (70.0, 70.0)}
    ways = ("size", "19 classes", "150 classes", "1 pictures", "2 pictures")
    rows = [make_row("growth", what, runs=runs) for what in ways] + [make_row("growth", "size", size=(9, 9), runs=runs)]
    one = Image.open(write_plot(rows[1:3], tmp_path / "one.png"))
    three = Image.open(write_plot(rows, tmp_path / "three.png"))
    assert (three.width, three.height) == (one.width, 3 * one.height)


def test_the_product_of_matrices_computes_in_the_asked_dtype(monkeypatch):
    monkeypatch.setattr(rates, "SIDE", 8)
    assert rates.build_product("bfloat16")().dtype == torch.bfloat16


def test_everything_names_its_results_and_compares_with_those_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(everything, "RESULTS", tmp_path)
    (tmp_path / "old-stream.json").touch()
    options = everything.parse_arguments(["--name", "new", "--compare", "old"])
    command = everything.command_of("-stream", options)
    assert command[:2] == ["-m", "benchmarks.stream"]
    assert command[-4:] == ["--name", "new-stream", "--compare", str(tmp_path / "old-stream.json")]
    assert "--compare" not in everything.command_of("-rates", options)
    assert everything.command_of("-mmsegmentation", options) == []


@pytest.mark.parametrize("module", [growth, label_maps, rates, runtimes, stream])
def test_commands_have_defaults_that_are_understood(module):
    options = module.parse_arguments([])
    assert options.threads == 2
    assert options.name.startswith("latest-")


def test_mmsegmentation_s_process_says_why_it_ended(tmp_path):
    theirs = Mmsegmentation(sys.executable, [], tmp_path / "home", ["no-number"])
    with pytest.raises(SystemExit, match="mmsegmentation's process ended"), theirs:
        pass


@pytest.mark.peer
@pytest.mark.slow
def test_the_exported_graph_gives_transformers_label_map(tmp_path):
    for module in ("transformers", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    from benchmarks.contestants import Transformers
    from benchmarks.networks import write_b0
    from benchmarks.pictures import make_pictures

    write_b0(tmp_path / "b0", 11)
    theirs, [picture] = Transformers(tmp_path / "b0"), make_pictures((96, 128), 1)
    engines = build_engines(export_graph(theirs, picture, tmp_path / "b0.onnx"), threads=1)
    assert "ONNX Runtime" in engines
    for name, engine in engines.items():
        found = Exported(theirs, engine, POSTPROCESSING["dense torch"]).run(picture)
        assert (found == theirs.run_lean(picture)).mean() >= (0.99 if name.endswith("bfloat16") else 0.999)
