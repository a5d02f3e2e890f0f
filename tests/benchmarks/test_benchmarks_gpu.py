"""The benchmark of the GPU's kernels where there is no GPU: what it says, and how it shows what it found."""

import pytest
import torch

from benchmarks.gpu import main, prepare_training_calls, prepare_whole_calls, render_rows
from benchmarks.results import Row


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure")
def test_without_a_gpu_it_ends_with_a_sentence():
    with pytest.raises(SystemExit, match="torch sees no GPU here"):
        main([])


def test_sizes_that_a_network_would_pad_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--size", "500"])
    assert "a multiple of 32" in capsys.readouterr().err


def test_rows_show_pictures_a_second_and_the_ratio_to_the_kernels():
    runs = {"kernels": (0.5, 0.4, 0.6), "in tiles": (2.0, 1.0, 3.0)}
    row = Row(table="training step", network="b0", size=(64, 96), what="batch size 2", unit="ms", runs=runs)
    title, ours, theirs = render_rows([row]).splitlines()
    assert title == "training step, b0, 64 × 96, batch size 2"
    assert ours.split() == ["kernels", "0.500", "ms", "2000", "pictures/s", "1.00×"]
    assert theirs.split()[-3:] == ["500", "pictures/s", "4.00×"]


@pytest.mark.peer
@pytest.mark.slow
def test_both_libraries_compute_the_same_in_whole_calls_and_training_steps(tmp_path):
    """On a CPU, where this can be tried."""
    pytest.importorskip("transformers")
    from benchmarks.networks import write_b0, write_untrained

    write_b0(tmp_path / "b0", 11)
    calls, agreement = prepare_whole_calls(tmp_path / "b0", 2, 64, device="cpu", dtype="float32")
    assert agreement == 1
    lengths = {name: len(call()) for name, call in calls.items()}
    assert len(lengths) == 4
    assert set(lengths.values()) == {16}
    write_untrained("b0", tmp_path / "untrained")
    losses = [call() for call in prepare_training_calls(tmp_path / "untrained", 2, 64, device="cpu").values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=0.2)
