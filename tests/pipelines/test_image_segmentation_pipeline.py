"""The pipeline as a user calls it, with the model that ships inside the package."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe import Segmentation, pipeline
from segpipe.errors import ConfigurationError, ImageDecodeError, InputError, ModelFolderError, UnknownNameError

TASK = "image-segmentation"


@pytest.fixture(scope="module")
def segment():
    return pipeline(TASK, "segformer-b0-camvid")


def picture(seed=0, size=(48, 64)):
    """A smooth coloured picture, as different for each seed as two photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def test_one_picture_gives_one_result_of_its_own_size(segment):
    result = segment(picture(size=(37, 53)))
    assert isinstance(result, Segmentation)
    assert result.label_map.shape == (37, 53)
    assert set(result) == {"masks", "labels", "scores"}
    assert sum(int(mask.sum()) for mask in result["masks"]) == 37 * 53
    assert all(0 < score <= 1 for score in result["scores"])


def test_a_path_an_array_a_pil_image_and_bytes_give_the_same(segment, tmp_path):
    pixels = picture()
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    expected = segment(pixels).label_map
    for source in (str(path), path, path.read_bytes(), Image.fromarray(pixels), torch.from_numpy(pixels.copy())):
        assert np.array_equal(segment(source).label_map, expected)


def test_bgr_arrays_are_turned_when_asked(segment):
    pixels = picture(1)
    assert np.array_equal(segment(pixels[..., ::-1], channel_order="bgr").label_map, segment(pixels).label_map)


def test_a_list_gives_a_list_in_order(segment):
    pixels = [picture(seed, (40 + 8 * (seed % 2), 56)) for seed in range(5)]
    results = segment(pixels, batch_size=3)
    assert [result.label_map.shape for result in results] == [image.shape[:2] for image in pixels]
    assert all(np.array_equal(r.label_map, segment(p).label_map) for r, p in zip(results, pixels, strict=True))


def test_logits_do_not_depend_on_the_batch(segment):
    prepared = [segment.preprocess(picture(seed)) for seed in range(3)]
    together = segment.forward(prepared)
    for image, prediction in zip(prepared, together, strict=True):
        [alone] = segment.forward([image])
        assert (alone.views[0].cells - prediction.views[0].cells).abs().max() < 1e-4


def test_a_generator_is_read_as_results_are_asked_for(segment):
    taken = []

    def pictures():
        for seed in range(100):
            taken.append(seed)
            yield picture(seed)

    results = segment(pictures())
    assert not taken
    next(results)
    assert len(taken) < 20
    results.close()


def test_a_folder_gives_its_pictures_by_name(segment, tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt"):
        if name != "notes.txt":
            Image.fromarray(picture()).save(tmp_path / name)
        else:
            (tmp_path / name).write_text("no picture")
    assert [result.source for result in segment(tmp_path)] == [str(tmp_path / "a.jpg"), str(tmp_path / "b.png")]


def test_pictures_side_by_side_give_what_single_ones_give(segment, tmp_path):
    for seed in range(6):
        Image.fromarray(picture(seed, (48 + 8 * seed, 64))).save(tmp_path / f"{seed}.png")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        results = list(segment(tmp_path))
        assert torch.get_num_threads() == 2
        assert all(np.array_equal(result.label_map, segment(result.source).label_map) for result in results)
    finally:
        torch.set_num_threads(threads)
    assert [result.size for result in results] == [(48 + 8 * seed, 64) for seed in range(6)]
    assert all(list(result.timings) == ["read", "resize", "network", "label map"] for result in results)


def test_a_broken_picture_stops_a_list_or_is_skipped(segment, tmp_path, caplog):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    inputs = [picture(0), tmp_path / "broken.jpg", picture(1)]
    with pytest.raises(ImageDecodeError, match=r"broken\.jpg"):
        segment(inputs)
    with caplog.at_level("WARNING", logger="segpipe"):
        assert len(segment(inputs, on_error="skip")) == 2
    assert caplog.records[0].getMessage().count("broken.jpg") == 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_results_before_a_broken_picture_are_not_lost(segment, tmp_path, batch_size):
    (tmp_path / "broken.jpg").write_bytes(b"")
    results = segment(iter([picture(0), picture(1), tmp_path / "broken.jpg"]), batch_size=batch_size)
    assert next(results) is not None
    assert next(results) is not None
    with pytest.raises(ImageDecodeError):
        next(results)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_results_before_a_broken_generator_are_not_lost(segment, batch_size):
    def pictures():
        yield picture(0)
        yield picture(1)
        raise OSError("the camera is gone")

    results = segment(pictures(), batch_size=batch_size)
    assert next(results) is not None
    assert next(results) is not None
    with pytest.raises(OSError, match="the camera is gone"):
        next(results)


def test_outcomes_have_failures_in_the_places_of_their_results(segment, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    first, failure, last = segment.outcomes([picture(0), tmp_path / "broken.jpg", picture(1)], batch_size=2)
    assert isinstance(first, Segmentation)
    assert failure.source.endswith("broken.jpg")
    assert isinstance(failure.error, ImageDecodeError)
    assert isinstance(last, Segmentation)


def test_a_generator_may_reuse_its_buffer(segment):
    def frames():
        buffer = np.empty((48, 64, 3), np.uint8)
        for seed in range(6):
            buffer[:] = picture(seed)
            yield buffer

    results = list(segment(frames()))
    assert all(np.array_equal(r.label_map, segment(picture(s)).label_map) for s, r in enumerate(results))


def test_a_generator_may_close_its_files(segment, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")

    def files():
        for _ in range(3):
            with open(tmp_path / "a.png", "rb") as file:
                yield file

    assert len(list(segment(files()))) == 3


def test_a_result_keeps_its_own_picture(segment):
    pixels = picture().copy()
    result = segment(pixels)
    before = result.overlay()
    pixels[:] = 0
    assert np.array_equal(result.overlay(), before)


def test_results_without_their_picture_have_no_overlay(segment):
    result = segment(picture(), keep_image=False)
    assert result.image is None
    with pytest.raises(InputError):
        result.overlay()


def test_several_threads_get_the_results_of_one(segment):
    expected = [segment(picture(seed)).label_map for seed in range(4)]
    got: dict[int, np.ndarray] = {}

    def work(seed):
        got[seed] = segment(picture(seed)).label_map

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(got[seed], expected[seed]) for seed in range(4))


@pytest.mark.slow
def test_bfloat16_agrees_on_nearly_all_pixels(segment):
    half = pipeline(TASK, "segformer-b0-camvid", dtype="bfloat16")
    agreement = np.mean([(half(picture(s)).label_map == segment(picture(s)).label_map).mean() for s in range(4)])
    assert agreement > 0.97


def test_overrides_change_the_models_preprocessing():
    small = pipeline(TASK, "segformer-b0-camvid", overrides=['preprocessor.resize={"mode": "exact", "size": [32, 32]}'])
    assert small.preprocess(picture()).input_size == (32, 32)
    assert small(picture()).label_map.shape == (48, 64)


def test_a_misspelt_task_model_and_option_name_the_nearest(segment):
    with pytest.raises(UnknownNameError, match="Did you mean 'image-segmentation'"):
        pipeline("image-segmentaton")
    with pytest.raises(UnknownNameError, match="Did you mean 'segformer-b0-camvid'"):
        pipeline(TASK, "segformer-b0-camvit")
    with pytest.raises(InputError, match=r"There is no option 'batchsize'.*batch_size"):
        segment(picture(), batchsize=2)
    with pytest.raises(InputError, match="Did you mean 'runtime'"):
        pipeline(TASK, "segformer-b0-camvid", runtme="openvino")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda:77"}, "cuda:77.*torch sees"),
        ({"device": "toaster"}, "no device 'toaster'"),
        ({"device": "xla"}, "'xla' is not there"),
        ({"dtype": "float8"}, "dtype 'float8'.*bfloat16"),
        ({"dtype": torch.int8}, "computes in float32 or bfloat16.*not in int8"),
        ({"dtype": "bf16"}, "Did you mean 'bfloat16'"),
        ({"runtime": "magic"}, "no runtime 'magic'.*eager"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number, at least 1"),
        ({"batch_size": "4"}, "batch_size is '4'"),
        ({"on_error": "ignore"}, "on_error is 'ignore'; it must be one of 'raise', 'skip'"),
        ({"channel_order": "BRG"}, "channel_order is 'BRG'"),
        ({"timeout": 5}, "timeout is 5; it must be two numbers"),
        ({"max_pixels": -1}, "max_pixels is -1"),
    ],
)
def test_bad_arguments_say_what_would_be_right(arguments, message):
    with pytest.raises(InputError, match=message):
        pipeline(TASK, "segformer-b0-camvid", **arguments)


def test_a_wrong_override_names_the_key():
    with pytest.raises(ConfigurationError, match="upsamplin"):
        pipeline(TASK, "segformer-b0-camvid", overrides=["inference.upsamplin=one-step"])


def test_a_folder_without_weights_says_so(tmp_path):
    (tmp_path / "configuration.json").write_text('{"model": {"type": "segformer", "num_classes": 2}}')
    with pytest.raises(ModelFolderError, match="has no weights"):
        pipeline(TASK, tmp_path)


def test_mirrored_and_in_windows_it_sees_much_the_same(segment):
    slide = ["inference.mode=slide", "inference.window=[240,320]", "inference.stride=[120,160]", "inference.flip=true"]
    looks = pipeline(TASK, "segformer-b0-camvid", overrides=slide)
    result = looks([picture(0), picture(1, (37, 90))], batch_size=2)
    assert [one.label_map.shape for one in result] == [(48, 64), (37, 90)]
    assert (result[0].label_map == segment(picture(0)).label_map).mean() > 0.5


def test_it_prints_what_it_is(segment):
    assert repr(segment) == "ImageSegmentationPipeline(segformer-b0-camvid: 11 classes, cpu, float32)"
