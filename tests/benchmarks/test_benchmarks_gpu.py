"""The benchmark of the GPU's kernels where there is no GPU: what it says, and how it shows what it found."""

import pytest
import torch

from benchmarks.gpu import main, render_rows
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
