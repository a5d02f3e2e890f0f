"""The benchmarks' own arithmetic: medians, ratios, verdicts, tables. Nothing is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

# The benchmarks are not installed; appended, so that an installed segpipe still comes first.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import timing
from benchmarks.comparison import compare_results
from benchmarks.enlarging import enlarge
from benchmarks.inference import parse_arguments
from benchmarks.measurements import agreement_of, boundary_share_of
from benchmarks.networks import split_classes
from benchmarks.results import Machine, Result, Row, ratio_of, read_result, spread_of, write_result
from benchmarks.tables import align, disagreements, render_changes, render_result
from benchmarks.timing import time_in_turn


def make_row(ours: tuple[float, ...], theirs: tuple[float, ...], **changes: object) -> Row:
    row = Row(
        table="latency",
        network="b0",
        size=(480, 640),
        what="one picture",
        unit="ms",
        runs={"segpipe": ours, "transformers": theirs},
        agreement=1.0,
        boundary_share=0.1,
        classes=20,
    )
    return msgspec.structs.replace(row, **changes)


def make_result(*rows: Row) -> Result:
    machine = Machine(processor="a processor", cores=2, memory_gib=8, system="Linux x86_64", python="3.11.0")
    return Result(date="2026-01-02", machine=machine, versions={"segpipe": "0.1.0"}, threads=2, rows=rows)


def test_spread_is_median_and_quartiles():
    spread = spread_of([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (spread.low, spread.median, spread.high) == (2.0, 3.0, 4.0)
    assert spread.relative == pytest.approx(2 / 3)
    assert spread_of([7.0]).relative == 0


def test_ratio_is_taken_round_by_round():
    """A burst that doubles both times of a round leaves the ratio alone."""
    ratio = ratio_of(make_row((10.0, 20.0, 10.0), (50.0, 100.0, 50.0)), "transformers")
    assert (ratio.low, ratio.median, ratio.high) == (5.0, 5.0, 5.0)


def test_ratio_is_none_without_the_contestant():
    assert ratio_of(make_row((10.0,), (50.0,)), "transformers lean") is None


@pytest.mark.parametrize(("short", "expected"), [(1000.0, "ab" + "aabb" * 4), (0.0, "ab" * 5)])
def test_calls_are_timed_in_turn_and_short_ones_after_one_of_the_same(short, expected, monkeypatch):
    monkeypatch.setattr(timing, "SHORT", short)
    order: list[str] = []
    times = time_in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=4, seconds=60)
    assert "".join(order) == expected
    assert [len(values) for values in times.values()] == [4, 4]


def test_three_rounds_are_run_when_there_is_no_time():
    assert len(time_in_turn({"a": lambda: None}, rounds=9, seconds=0.0)["a"]) == 3


def test_a_busier_machine_is_no_regression():
    recorded = make_result(make_row((10.0, 10.0, 10.0), (80.0, 80.0, 80.0)))
    fresh = make_result(make_row((30.0, 31.0, 30.0), (240.0, 248.0, 240.0)))
    [change] = compare_results(recorded, fresh)
    assert change.verdict == "same"


def test_a_lost_ratio_is_worse_and_a_gained_one_better():
    eight, four = make_row((10.0, 10.0), (80.0, 80.0)), make_row((20.0, 20.0), (80.0, 80.0))
    [lost] = compare_results(make_result(eight), make_result(four))
    [gained] = compare_results(make_result(four), make_result(eight))
    assert (lost.verdict, lost.worse) == ("worse", pytest.approx(1.0))
    assert (gained.verdict, gained.worse) == ("better", pytest.approx(-0.5))


def test_a_loss_within_the_spread_is_noise():
    recorded = make_result(make_row((8.0, 10.0, 12.0, 14.0), (80.0, 80.0, 80.0, 80.0)))
    fresh = make_result(make_row((9.0, 11.0, 13.0, 15.0), (80.0, 80.0, 80.0, 80.0)))
    assert compare_results(recorded, fresh)[0].verdict == "same"


def test_memory_is_compared_by_its_own_value():
    memory = {"table": "memory", "unit": "MiB"}
    recorded = make_result(make_row((100.0,), (700.0,), **memory))
    fresh = make_result(make_row((130.0,), (910.0,), **memory))
    [change] = compare_results(recorded, fresh)
    assert (change.verdict, change.worse, change.unit) == ("worse", pytest.approx(0.3), "MiB")


def test_rows_that_only_one_run_has_are_left_out():
    assert (
        compare_results(make_result(make_row((1.0,), (2.0,))), make_result(make_row((1.0,), (2.0,), network="b2")))
        == []
    )


def test_a_result_is_read_as_it_was_written(tmp_path):
    result = make_result(make_row((10.0, 11.25), (80.0, 81.5)))
    write_result(result, tmp_path / "new" / "run.json")
    assert read_result(tmp_path / "new" / "run.json") == result


def test_a_missing_result_names_those_there_are(tmp_path):
    write_result(make_result(), tmp_path / "run.json")
    with pytest.raises(SystemExit, match=r"run\.json"):
        read_result(tmp_path / "other.json")


def test_tables_show_medians_ratios_and_agreement():
    text = render_result(make_result(make_row((10.0, 10.0), (80.0, 80.0), agreement=0.99995)))
    assert "8.0×" in text
    assert "99.9950%" in text
    assert "BELOW" not in text


def test_label_maps_that_disagree_are_pointed_out():
    row = make_row((10.0, 10.0), (80.0, 80.0), agreement=0.998)
    assert disagreements([row]) == [row]
    assert "BELOW 99.9%" in render_result(make_result(row))


def test_changes_end_with_a_verdict():
    recorded, fresh = make_result(make_row((10.0,), (80.0,))), make_result(make_row((20.0,), (80.0,)))
    text = render_changes(compare_results(recorded, fresh), recorded, fresh)
    assert text.splitlines()[-1] == "1 of 1 got worse by more than the noise."


def test_columns_are_aligned():
    assert align([["name", "ms"], ["a", "1,000"]], left=1) == ["  name     ms", "  ────  ─────", "  a     1,000"]


def test_agreement_is_the_share_of_equal_pixels():
    ours, theirs = np.array([[0, 1], [2, 3]]), np.array([[0, 1], [2, 0]])
    assert agreement_of(ours, theirs) == 0.75
    assert agreement_of(ours, theirs[:1]) == 0


def test_boundary_share_counts_blocks_with_several_winners():
    logits = torch.zeros(2, 3, 4)
    logits[1, :, 2:] = 1.0  # class 0 on the left, 1 on the right: of 2 × 3 blocks the middle column is mixed
    assert boundary_share_of(logits) == pytest.approx(1 / 3)


def test_split_classes_keep_the_original_ones_first():
    weight, bias = torch.randn(11, 8), torch.randn(11)
    wider, offsets = split_classes(weight, bias, 172)
    assert (wider.shape, offsets.shape) == ((172, 8), (172,))
    assert torch.equal(wider[:11], weight)
    assert torch.equal(offsets[11:22], bias - 1.0)


@torch.inference_mode()
def test_a_larger_network_computes_the_same():
    from segpipe import load_model
    from segpipe.configuration import load_preset
    from segpipe.models import HeadConfig, build_model

    small = load_model("segformer-b0-camvid")
    config = load_preset("segformer-b0-camvid").model
    large = build_model(msgspec.structs.replace(config, variant="b2", head=HeadConfig(type="mlp", channels=768)))
    state = large.state_dict()
    large.load_state_dict(enlarge(small.state_dict(), {name: tensor.shape for name, tensor in state.items()}))
    pixels = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.testing.assert_close(large.eval()(pixels), small.eval()(pixels), rtol=1e-4, atol=1e-4)


def test_sizes_are_height_by_width_and_a_model_replaces_the_networks():
    options = parse_arguments(["--sizes", "480x640", "--model", "folder"])
    assert options.sizes == [(480, 640)]
    assert options.network == []
    with pytest.raises(SystemExit, match="height x width"):
        parse_arguments(["--sizes", "480"])
