"""The loader: the same samples whatever the workers, the processes and the interruptions."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segpipe.configuration import LabelSet, PhotometricDistortion, RandomCrop, RandomFlip
from segpipe.data.loader import DRAWS, build_loader
from segpipe.data.sample import Sample
from segpipe.data.sample_order import Key, permutation, sample_key, sample_rng
from segpipe.data.transforms.building import build_transforms
from segpipe.errors import ImageDecodeError, InputError, SegpipeError

ROOT = Path(__file__).parents[2]
LABELS = LabelSet(names=("a", "b"))
STALE = OSError("stale handle")


@dataclass
class Drawn:
    """A data set of random images, one per index."""

    length: int = 7
    labels: LabelSet = LABELS

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)
        return Sample(image, rng.integers(0, 2, (12, 14), dtype=np.uint8), f"{index}.jpg", {})


@dataclass
class Failing(Drawn):
    """The sample 3 raises this."""

    error: Exception = STALE

    def __getitem__(self, index):
        if index == 3:
            raise self.error
        return super().__getitem__(index)


class Dying(Drawn):
    def __getitem__(self, index):
        os._exit(3)


class Telling(Drawn):
    """Names are the number of the process that read them."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample(sample.image, sample.label, str(os.getpid()), {})


CHAIN = build_transforms(
    [RandomCrop(size=(8, 8)), RandomFlip(), PhotometricDistortion()], ignore_index=255, fill=(0, 0, 0)
)


def as_it_is(sample, rng):
    return sample


def failing_transform(sample, rng):
    raise ValueError("negative shape")


def take(batches, dataset=None, transform=CHAIN, **options):
    """(name, image bytes, label bytes) of each sample in this many batches."""
    options = {"batch_size": 4, "seed": 3, **options}
    with build_loader(Drawn() if dataset is None else dataset, transform, **options) as loader:
        return [sample for _, batch in zip(range(batches), loader, strict=False) for sample in samples_of(batch)]


def samples_of(batch):
    images, labels = batch.images.numpy(), batch.labels.numpy()
    return [(name, images[i].tobytes(), labels[i].tobytes()) for i, name in enumerate(batch.names)]


def test_each_epoch_has_each_sample_once_in_another_order():
    names = [sample[0] for sample in take(7)]  # 28 samples: four epochs of seven
    epochs = [names[first : first + 7] for first in range(0, 28, 7)]
    assert all(sorted(epoch) == sorted(f"{i}.jpg" for i in range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_is_fixed_by_numpys_promised_stream():
    numbers = np.random.Philox(np.random.SeedSequence([42, 3])).random_raw(5)
    assert permutation(42, 3, 5).tolist() == sorted(range(5), key=numbers.tolist().__getitem__)
    assert not np.array_equal(permutation(42, 3, 100), permutation(42, 4, 100))
    assert not np.array_equal(permutation(42, 3, 100), permutation(43, 3, 100))


def test_places_run_through_epochs():
    assert [sample_key(1, 3, place).epoch for place in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert sample_key(1, 3, 4) == Key(1, int(permutation(1, 1, 3)[1]))


def test_chance_depends_on_seed_epoch_sample_and_draw():
    firsts = [
        sample_rng(*arguments).random()
        for arguments in [(1, Key(2, 3)), (2, Key(2, 3)), (1, Key(3, 3)), (1, Key(2, 4)), (1, Key(2, 3), 1)]
    ]
    assert len(set(firsts)) == 5
    assert firsts[0] == np.random.default_rng([1, 2, 3]).random()


def test_a_sample_is_transformed_differently_in_each_epoch():
    samples = take(2, Drawn(length=1), batch_size=1)
    assert samples[0][0] == samples[1][0]
    assert samples[0][1] != samples[1][1]


def test_workers_change_nothing():
    assert take(9, workers=2) == take(9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_labels_of_any_type_come_out_of_workers_as_they_are(dtype):
    def relabelled(sample, rng):
        label = np.full((12, 14), 255 if dtype == np.uint8 else 300, dtype)
        label[0, 0] = 0
        return Sample(sample.image, label, sample.name, {})

    dataset = Drawn(labels=LabelSet(names=tuple(map(str, range(301))), ignore_index=65535))
    assert take(2, dataset, relabelled, workers=1) == take(2, dataset, relabelled)


@pytest.mark.parametrize("start", [1, 4, 6, 7, 23])
def test_resuming_continues_at_any_sample(start):
    uninterrupted = take(12)
    assert take(5, start=start) == uninterrupted[start : start + 20]


def test_resuming_with_workers_continues_exactly():
    with build_loader(Drawn(), CHAIN, batch_size=4, workers=2, seed=3) as loader:
        first = [sample for _ in range(3) for sample in samples_of(next(loader))]
        consumed = loader.consumed
    assert consumed == 12
    assert first + take(3, start=consumed, workers=1) == take(6)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_each_batch_by_turns(world_size):
    whole = take(6)
    shares = [take(6, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [sample for turn in zip(*shares, strict=True) for sample in turn] == whole


def test_the_number_of_processes_may_change_on_the_way():
    before = [take(2, rank=rank, world_size=2) for rank in range(2)]
    after = [take(2, rank=rank, world_size=4, start=8) for rank in range(4)]
    interleaved = [sample for shares in (before, after) for turn in zip(*shares, strict=True) for sample in turn]
    assert interleaved == take(4)


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    take(2)
    assert (torch.rand(1), np.random.rand()) == expected


def test_batches_have_the_promised_types():
    with build_loader(Drawn(), CHAIN, batch_size=3) as loader:
        batch = next(loader)
    assert (batch.images.dtype, tuple(batch.images.shape)) == (torch.uint8, (3, 3, 8, 8))
    assert (batch.labels.dtype, tuple(batch.labels.shape)) == (torch.uint8, (3, 8, 8))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_file(workers):
    broken = ImageDecodeError("3.jpg is truncated. Fetch it again.")
    with pytest.raises(ImageDecodeError, match=r"^3\.jpg is truncated\. Fetch it again\.$"):
        take(2, Failing(error=broken), workers=workers)
    with pytest.raises(SegpipeError, match=r"^Sample 3 could not be read: OSError: stale handle\. Check"):
        take(2, Failing(), workers=workers)
    with pytest.raises(SegpipeError, match=r"^\d\.jpg could not be transformed: ValueError: negative shape\. Check"):
        take(2, transform=failing_transform, workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_after_an_error_a_new_loader_goes_on_behind_the_batch(workers):
    options = {"batch_size": 1, "seed": 3, "workers": workers}
    loader = build_loader(Failing(), as_it_is, **options)
    with pytest.raises(SegpipeError, match="stale handle"):
        list(itertools.islice(loader, 7))
    assert next(loader, None) is None
    assert sample_key(3, 7, loader.consumed).sample == 3
    with build_loader(Failing(), as_it_is, start=loader.consumed + 1, **options) as following:
        assert next(following).names == (f"{sample_key(3, 7, loader.consumed + 1).sample}.jpg",)


def test_an_error_of_a_worker_shows_where_it_was():
    with pytest.raises(SegpipeError) as caught:
        take(1, transform=failing_transform, workers=1)
    assert "failing_transform" in str(caught.value.__cause__)


def test_a_dead_worker_is_explained():
    with pytest.raises(SegpipeError, match="A loader worker exited without an error message"):
        take(1, Dying(), workers=1)


def test_workers_ignore_signals_that_end_the_training_process():
    with build_loader(Telling(), as_it_is, batch_size=1, workers=1) as loader:
        worker = int(next(loader).names[0])
        assert worker != os.getpid()
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGINT)
        assert {int(next(loader).names[0]) for _ in range(6)} == {worker}


def test_close_ends_workers_and_batches():
    loader = build_loader(Telling(), as_it_is, batch_size=1, workers=1)
    worker = int(next(loader).names[0])
    loader.close()
    loader.close()
    assert next(loader, None) is None
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("ending", ["pass", "test_loader.interrupt(loader)"])
def test_python_ends_although_workers_ignore_signals(ending):
    """Also when the traceback of an interruption still holds the iterator."""
    code = f"import test_loader; loader = test_loader.started(); {ending}"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert ("KeyboardInterrupt" in done.stderr) == (ending != "pass"), done.stderr


class Slow(Drawn):
    def __getitem__(self, index):
        time.sleep(0.3)
        return super().__getitem__(index)


def started():
    loader = build_loader(Slow(), as_it_is, batch_size=1, workers=1)
    next(loader)
    return loader


def interrupt(loader):
    """Ctrl-C while the loader waits for a worker."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    while True:
        next(loader)


@dataclass
class Sparse(Drawn):
    """One labeled column in a wide image."""

    def __getitem__(self, index):
        label = np.full((4, 40), 255, np.uint8)
        label[:, 19:21] = 1
        return Sample(np.zeros((4, 40, 3), np.uint8), label, str(index), {})


def test_samples_with_only_ignored_pixels_are_drawn_again():
    crop = build_transforms([RandomCrop(size=(4, 8))], ignore_index=255, fill=(0, 0, 0))
    with build_loader(Sparse(length=100), crop, batch_size=100, seed=1) as loader:
        usable = (next(loader).labels != 255).flatten(1).any(1).sum().item()
    once = 9 / 33  # corners at which the box meets the two columns
    assert usable == pytest.approx(100 * (1 - (1 - once) ** DRAWS), abs=13)  # 80; without drawing again 27


def test_a_sample_without_any_labeled_pixel_is_taken_in_the_end():
    draws = []

    def ignore_all(sample, rng):
        draws.append(rng.random())
        return Sample(sample.image, np.full_like(sample.label, 255), sample.name, {})

    take(1, transform=ignore_all, batch_size=1)
    assert len(set(draws)) == DRAWS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 5, "world_size": 2}, "batch_size 5 cannot be shared out equally among 2 processes. Take 4"),
        ({"batch_size": 1, "world_size": 2}, "Take 2"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2 of 2"),
        ({"start": -1}, "start is -1"),
        ({"dataset": Drawn(length=0)}, "The data set is empty"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        take(1, **options)


@pytest.mark.parametrize("value", [2, 254])
def test_a_label_that_is_no_class_is_refused_by_the_images_name(value):
    def spoil(sample, rng):
        label = sample.label.copy()
        label[0, 0], label[0, 1] = value, 255  # 255 is ignored
        return replace(sample, label=label)

    with pytest.raises(InputError, match=rf"\d\.jpg: its label has the value {value}, which is not a class \(0 … 1\)"):
        take(1, transform=spoil)


def test_a_image_of_no_class_is_refused_by_its_name():
    def classify(sample, rng):
        return replace(sample, label=None, class_index=2)

    with pytest.raises(InputError, match=r"\d\.jpg: its label has the value 2"):
        take(1, transform=classify)
