"""Drawn street scenes: the same seed gives the same scene, and the label is what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from segpipe.errors import InputError
from segpipe.scenes.canvas import BUILDING, CAR, ROAD, SKY, VOID, Air, Camera, Canvas, fractal_noise
from segpipe.scenes.street import draw_street_scene

SMALL = (96, 128)


def blank_canvas(size: tuple[int, int] = (40, 60)) -> Canvas:
    camera = Camera(focal=50.0, center_x=size[1] / 2, horizon=size[0] / 2, height=1.0)
    return Canvas(size, camera, Air(np.array([200.0, 200, 200]), reach=1e9), np.random.default_rng(0))


def test_the_same_seed_draws_the_same_bytes():
    first, second = draw_street_scene(3, SMALL), draw_street_scene(3, SMALL)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.label.tobytes() == second.label.tobytes()
    assert first.name == second.name == "street-3"


def test_different_seeds_draw_different_streets():
    first, second = draw_street_scene(0, SMALL), draw_street_scene(1, SMALL)
    assert (first.label != second.label).mean() > 0.05
    assert first.name != second.name


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (200, 90), (120, 300), (360, 480)])
def test_a_scene_has_the_size_that_was_asked_for(size):
    scene = draw_street_scene(2, size)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.label.shape == size
    assert scene.label.dtype == np.uint8


def test_labels_are_camvid_classes_and_each_occurs():
    seen = np.unique(np.concatenate([draw_street_scene(seed, SMALL).label.ravel() for seed in range(20)]))
    assert [index for index in seen if index != VOID] == list(range(11))


def test_the_first_scene_shows_at_least_nine_classes():
    counts = np.bincount(draw_street_scene().label.ravel(), minlength=11)[:11]
    assert (counts > 40).sum() >= 9


@pytest.mark.parametrize("seed", range(6))
def test_the_sky_is_above_the_road_and_brighter(seed):
    scene = draw_street_scene(seed, SMALL)
    sky, road = scene.label == SKY, scene.label == ROAD
    assert np.nonzero(sky)[0].max() < np.nonzero(road)[0].min() + 0.05 * SMALL[0]
    assert np.nonzero(road)[0].max() == SMALL[0] - 1
    assert scene.image[sky].mean() > scene.image[road].mean() + 60


def test_drawing_leaves_the_global_random_state_alone():
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    scene = draw_street_scene(5, SMALL)
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(8)
    assert np.array_equal(scene.image, draw_street_scene(5, SMALL).image)


def test_a_scene_keeps_its_layout_at_another_size():
    large = draw_street_scene(4, (192, 256)).label[::2, ::2]
    assert (large == draw_street_scene(4, (96, 128)).label).mean() > 0.9


def test_a_negative_seed_and_a_tiny_size_are_refused():
    with pytest.raises(InputError, match="seed is -1"):
        draw_street_scene(-1)
    with pytest.raises(InputError, match="at least 64"):
        draw_street_scene(0, (63, 480))


def test_the_camera_sees_a_far_point_nearer_to_the_horizon():
    camera = Camera(focal=100.0, center_x=50.0, horizon=40.0, height=1.5)
    near, far = camera.project([[1.0, 0.0, 5.0], [1.0, 0.0, 10.0]])
    assert near == pytest.approx([70.0, 70.0])
    assert far == pytest.approx([60.0, 55.0])


def test_filling_paints_image_and_label_and_tinting_the_image_alone():
    canvas = blank_canvas()
    square = [[10, 10], [20, 10], [20, 20], [10, 20]]
    canvas.fill(square, (90, 60, 30), CAR, z=5.0)
    canvas.tint([[30, 10], [40, 10], [40, 20], [30, 20]], (90, 60, 30), z=5.0)
    assert canvas.image[15, 15].tolist() == canvas.image[15, 35].tolist() == [90, 60, 30]
    assert canvas.label[15, 15] == CAR
    assert canvas.label[15, 35] == VOID


def test_pasting_outside_the_canvas_is_cut_off_at_its_edge():
    canvas = blank_canvas((8, 8))
    patch = np.full((4, 4, 3), 200, np.float32)
    canvas.paste((-2, 6), patch, np.ones((4, 4), np.float32), np.full((4, 4), BUILDING, np.uint8))
    assert (canvas.label == BUILDING).sum() == 4
    assert (canvas.label[:2, 6:] == BUILDING).all()
    assert (canvas.image[:2, 6:] == 200).all()


def test_distance_fades_a_color_to_the_haze():
    air = Air(haze=np.array([200.0, 200, 200]), reach=100.0)
    assert air.through((0.0, 0.0, 0.0), 0.0) == pytest.approx([0, 0, 0])
    assert air.through((0.0, 0.0, 0.0), 100.0) == pytest.approx([200 * (1 - np.exp(-1))] * 3)


def test_noise_has_a_deviation_near_one_and_the_size_asked_for():
    noise = fractal_noise(np.random.default_rng(0), (200, 300), octaves=4, roughness=0.7)
    assert noise.shape == (200, 300)
    assert 0.6 < noise.std() < 1.4
