"""Streams: what is computed together, in which order results come, and what is never more than so many."""

import signal
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe.data import sources
from segpipe.errors import ImageDecodeError
from segpipe.inference import ExportedNetwork
from segpipe.inference.runtimes.openvino_session import OpenvinoSession
from segpipe.models import SegformerConfig, build_model
from segpipe.pipelines import Failure, Pipeline, PipelineOptions, stream, stream_plans
from segpipe.pipelines.stream_plans import StreamPlan, plan_batches, plan_side_by_side, plan_stream


class Means(Pipeline[float]):
    """Computes the mean of a picture; tests look into what it was asked for, and change it."""

    def __init__(self, plan: StreamPlan | None = None, **options):
        super().__init__(PipelineOptions(readers=2, **options))
        self.plan = plan
        self.batches: list[list[tuple[int, int]]] = []
        self.computed_by: list[str] = []

    def preprocess(self, pixels):
        return pixels

    def input_size(self, prepared):
        return prepared.shape[:2]

    def forward(self, prepared):
        self.batches.append([pixels.shape[:2] for pixels in prepared])
        self.computed_by.append(threading.current_thread().name)
        return [float(pixels.mean()) for pixels in prepared]

    def postprocess(self, prediction, picture):
        return prediction

    def plan_stream(self, options, count):
        return self.plan or plan_batches(options)


def side_by_side(workers=2):
    return StreamPlan(batch_size=1, readers=2, workers=workers, networks=workers, threads=None, window=workers + 5)


def picture(value, size=(4, 4)):
    return np.full((*size, 3), value, np.uint8)


def alternating(count):
    """Landscapes and portraits in turn; a picture's values are its number."""
    return [picture(index, (4, 6) if index % 2 == 0 else (6, 4)) for index in range(count)]


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("segpipe-")]


def wait_for_end_of_threads():
    deadline = time.monotonic() + 5
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not own_threads()


def test_pictures_of_one_size_share_batches_although_others_come_between():
    means = Means(batch_size=2)
    assert list(means(iter(alternating(8)))) == list(range(8))
    assert sorted(means.batches) == [[(4, 6)] * 2] * 2 + [[(6, 4)] * 2] * 2


def test_what_finds_no_company_is_computed_in_the_end():
    means = Means(batch_size=4)
    assert list(means(iter([*alternating(6), picture(6, (9, 9))]))) == list(range(7))
    assert sorted(map(len, means.batches)) == [1, 3, 3]


def test_a_picture_waits_for_its_like_within_the_window_only():
    means, taken = Means(batch_size=2), []

    def pictures():
        for index in range(100):
            taken.append(index)
            yield picture(index, (index + 1, 4))

    results = means(pictures())
    assert next(results) == 0
    assert len(taken) <= plan_batches(PipelineOptions(batch_size=2, readers=2)).window
    results.close()


def test_two_pictures_are_computed_at_once():
    class Meeting(Means):
        both = threading.Barrier(2, timeout=5)

        def forward(self, prepared):
            self.both.wait()
            return super().forward(prepared)

    assert Meeting(side_by_side())([picture(1), picture(2)]) == [1, 2]


def test_results_are_made_while_the_next_picture_is_in_the_network():
    class Overlapping(Means):
        second_begun = threading.Event()

        def forward(self, prepared):
            if prepared[0].max() == 2:
                self.second_begun.set()
            return super().forward(prepared)

        def postprocess(self, prediction, picture):
            assert self.second_begun.wait(5)
            return prediction

    assert list(Overlapping()(iter([picture(1), picture(2)]))) == [1, 2]


def test_order_is_kept_when_a_later_picture_is_ready_first():
    class Unequal(Means):
        later_done = threading.Event()

        def forward(self, prepared):
            if prepared[0].max() == 0:
                assert self.later_done.wait(5)
            else:
                self.later_done.set()
            return super().forward(prepared)

    assert list(Unequal(side_by_side())(iter([picture(0), picture(1)]))) == [0, 1]


@pytest.mark.parametrize("step", ["forward", "postprocess"])
def test_an_error_comes_in_its_place(step):
    class Failing(Means):
        def forward(self, prepared):
            if step == "forward" and prepared[0].max() == 2:
                raise RuntimeError("too warm")
            return super().forward(prepared)

        def postprocess(self, prediction, picture):
            if step == "postprocess" and prediction == 2:
                raise RuntimeError("too warm")
            return prediction

    results = Failing(side_by_side())(map(picture, range(9)))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="too warm"):
        next(results)
    assert wait_for_end_of_threads()


def test_results_of_a_batch_before_a_broken_one_are_not_lost():
    class Failing(Means):
        def postprocess(self, prediction, picture):
            if prediction == 1:
                raise RuntimeError("too warm")
            return prediction

    results = Failing(batch_size=4)(map(picture, range(4)))
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="too warm"):
        next(results)


def test_too_few_predictions_are_an_error_and_no_endless_wait():
    class Losing(Means):
        def forward(self, prepared):
            return super().forward(prepared)[1:]

    with pytest.raises(ValueError, match="zip"):
        list(Losing(batch_size=2)(map(picture, range(2))))


def test_unreadable_files_fail_in_their_places_between_batches(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    sources = [picture(0), tmp_path / "broken.jpg", picture(1, (6, 6)), tmp_path / "broken.jpg", picture(2)]
    outcomes = list(Means().outcomes(iter(sources), batch_size=2))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [outcomes[0], outcomes[2], outcomes[4]] == [0, 1, 2]
    assert len(failures) == 2
    assert all(isinstance(failure.error, ImageDecodeError) for failure in failures)


@pytest.mark.parametrize("plan", [None, side_by_side()])
def test_closing_the_iterator_ends_its_threads(plan):
    results = Means(plan)(map(picture, range(200)))
    assert next(results) == 0
    assert own_threads()
    results.close()
    assert wait_for_end_of_threads()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_an_interrupt_ends_a_stream_that_waits():
    go_on = threading.Event()

    class Slow(Means):
        def forward(self, prepared):
            go_on.wait(5)
            return super().forward(prepared)

    main = threading.main_thread().ident
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(Slow()(map(picture, range(9))))
    assert not go_on.is_set()
    go_on.set()
    assert wait_for_end_of_threads()


def test_pixels_on_their_way_are_bounded(monkeypatch):
    monkeypatch.setattr(stream, "MAX_PIXELS", 200)
    means, taken = Means(batch_size=8), []

    def pictures():
        for index in range(50):
            taken.append(index)
            yield picture(index, (10, 5))

    results = means(pictures())
    for index in range(50):
        assert next(results) == index
        assert len(taken) - index <= 5  # four of 50 pixels, and room for one when the first is given


def test_a_picture_beyond_the_bound_is_computed_alone(monkeypatch):
    monkeypatch.setattr(stream, "MAX_PIXELS", 10)
    assert list(Means(side_by_side())(map(picture, range(5)))) == list(range(5))


def test_large_inputs_are_computed_by_the_thread_that_asks(monkeypatch):
    monkeypatch.setattr(stream, "LARGE_INPUT", 100)
    means = Means(side_by_side())
    sizes = [(4, 4), (20, 20), (4, 4)]
    assert list(means(iter([picture(index, size) for index, size in enumerate(sizes)]))) == [0, 1, 2]
    here = threading.current_thread().name
    assert [name for name, [size] in zip(means.computed_by, means.batches, strict=True) if size == (20, 20)] == [here]
    assert means.computed_by.count(here) == 1


def test_a_camera_is_not_waited_for_when_a_result_is_there():
    means, taken = Means(side_by_side()), []

    def camera():
        for index in range(100):
            if index > 1:
                time.sleep(0.1)
            taken.append(index)
            yield picture(index)

    results = means(camera())
    assert next(results) == 0
    assert len(taken) < side_by_side().window
    results.close()


def test_a_result_that_was_given_away_is_not_held():
    class Boxes(Means):
        def postprocess(self, prediction, picture):
            return np.full(10, prediction)

    results = Boxes(side_by_side())(map(picture, range(3)))
    box = weakref.ref(next(results))
    assert box() is None
    results.close()


def test_a_list_of_one_needs_no_other_thread():
    means = Means()
    assert means([picture(7)]) == [7]
    assert means.computed_by == [threading.current_thread().name]


@pytest.mark.parametrize("as_list", [False, True])
def test_a_source_is_classified_once(tmp_path, monkeypatch, as_list):
    Image.fromarray(picture(7)).save(tmp_path / "a.png")
    kind_of, asked = sources._kind_of_text, []
    monkeypatch.setattr(sources, "_kind_of_text", lambda text: asked.append(text) or kind_of(text))
    path = str(tmp_path / "a.png")
    assert Means()([path] if as_list else path) == ([7] if as_list else 7)
    assert asked == [path]


def test_several_threads_may_stream_at_once():
    means, got = Means(batch_size=3), {}

    def work(offset):
        got[offset] = list(means(iter([picture(offset + index, (4 + index % 2, 4)) for index in range(20)])))

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(got[offset] == list(range(offset, offset + 20)) for offset in (0, 100, 200))


def test_cores_are_divided_among_pictures(monkeypatch):
    options = PipelineOptions()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 20)
    monkeypatch.setattr(stream_plans, "_is_set_by_thread", lambda: True)
    many, few = plan_side_by_side(options, None), plan_side_by_side(options, 3)
    assert (many.workers, many.threads) == (6, 3)
    assert (few.workers, few.threads) == (3, 6)
    monkeypatch.setattr(stream_plans, "_is_set_by_thread", lambda: False)
    alone = plan_side_by_side(options, None)
    assert (alone.workers, alone.threads) == (1, None)


def test_what_executes_the_network_decides_how_many_pictures_it_gets(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(stream_plans, "_is_set_by_thread", lambda: True)
    options = PipelineOptions(batch_size=3)
    outline = build_model(SegformerConfig(num_classes=2))
    exported = ExportedNetwork(OpenvinoSession(None, None, {}), outline, (0.0, 0.0, 0.0))
    elsewhere = build_model(SegformerConfig(num_classes=2)).to("meta")  # not on a CPU
    plans = [plan_stream(network, options, None) for network in (outline, exported, elsewhere)]
    assert [plan.batch_size for plan in plans] == [1, 1, 3]
    assert [plan.workers for plan in plans] == [4, 2, 2]
    assert [plan.networks for plan in plans] == [4, 1, 1]
    assert [plan.threads for plan in plans] == [1, 1, None]


@pytest.mark.skipif(not stream_plans._is_set_by_thread(), reason="this torch has one number of threads for all")
def test_torchs_number_of_threads_is_set_for_the_worker_alone():
    def seen_by_a_new_thread(function=torch.get_num_threads):
        found = []
        thread = threading.Thread(target=lambda: found.append(function()))
        thread.start()
        thread.join()
        return found[0]

    def as_a_worker():
        stream_plans.apply_thread_count(3)
        return torch.get_num_threads(), seen_by_a_new_thread()

    here, elsewhere = torch.get_num_threads(), seen_by_a_new_thread()
    assert seen_by_a_new_thread(as_a_worker) == (3, elsewhere)
    assert (torch.get_num_threads(), seen_by_a_new_thread()) == (here, elsewhere)


def test_a_slow_picture_does_not_hold_back_those_before_it(tmp_path):
    go_on = threading.Event()

    class SlowReading(Means):
        def preprocess(self, pixels):
            if pixels[0, 0, 0] == 3:
                go_on.wait(5)
            return pixels

    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for index, path in enumerate(paths):
        Image.fromarray(picture(index)).save(path)
    results = SlowReading(batch_size=8)(iter(paths))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert not go_on.is_set()
    go_on.set()
    assert list(results) == [3, 4]


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 2), (8, 8), (12, 6), (16, 8), (15, 7)])
def test_threads_are_shared_out_among_workers(monkeypatch, threads, workers):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(stream_plans, "_is_set_by_thread", lambda: True)
    plan = plan_side_by_side(PipelineOptions(), None)
    assert plan.workers == workers
    assert plan.workers * plan.threads <= threads
