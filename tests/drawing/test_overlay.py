"""Colors, overlays, outlines and legends."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from segpipe.data import dataset_labels
from segpipe.drawing.legend import draw_legend, format_share, side_by_side
from segpipe.drawing.overlay import apply_borders, blend, brighten, colorize, complete_palette, draw_overlay
from segpipe.errors import InputError


def has_color(image, color):
    return bool((image == np.array(color, np.uint8)).all(axis=-1).any())


@pytest.mark.parametrize(("dtype", "void"), [(np.uint8, 255), (np.uint16, 60000), (np.uint16, 3)])
def test_each_pixel_gets_its_color_and_void_is_black(dtype, void):
    palette = complete_palette([(1, 2, 3), (40, 50, 60), (7, 8, 9)], 3)
    label_map = np.array([[0, 1], [2, void]], dtype=dtype)
    assert colorize(label_map, palette).tolist() == [[[1, 2, 3], [40, 50, 60]], [[7, 8, 9], [0, 0, 0]]]


def test_coloring_works_beyond_256_classes():
    palette = complete_palette(None, 300)
    assert colorize(np.array([[299]], np.uint16), palette)[0, 0].tolist() == palette[299].tolist()
    assert colorize(np.array([[255]], np.uint8), palette)[0, 0].tolist() == palette[255].tolist()


def test_generated_colors_are_distinct_stable_and_never_black():
    palette = complete_palette(None, 512)
    assert palette.shape == (512, 3)
    assert len({tuple(color) for color in palette.tolist()}) == 512
    assert palette.max(axis=1).min() > 100
    assert np.array_equal(complete_palette(None, 5), palette[:5])


def test_neighboring_generated_colors_are_far_apart():
    colors = complete_palette(None, 200).astype(int)
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 60


@pytest.mark.parametrize("palette", [[(0, 0, 0)], [(0, 0), (1, 1)], [(0, 0, 0), (0, 0, 256)], [(0, 0, 0), (0, 0, -1)]])
def test_wrong_palettes_are_refused(palette):
    with pytest.raises(InputError, match=r"2 classes need \(2, 3\)"):
        complete_palette(palette, 2)


def test_blending_weighs_image_and_colors():
    image, colors = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert [int(blend(image, colors, opacity)[0, 0, 0]) for opacity in (0, 0.25, 0.5, 1)] == [100, 125, 150, 200]
    with pytest.raises(InputError, match="between 0"):
        blend(image, colors, 50)
    with pytest.raises(InputError, match="one size"):
        blend(image[:1], colors, 0.5)


def test_borders_run_where_the_class_changes_and_leave_the_rest_as_it_is():
    label_map = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]], np.uint8)
    image = np.full((3, 3, 3), 50, np.uint8)
    apply_borders(image, label_map)
    assert (image[:, :, 0] > 200).tolist() == [[False, True, False], [True, True, True], [False, False, False]]
    assert (image[(image <= 200)] == 50).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1300, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_borders_of_any_shape(shape, dtype):
    label_map = np.zeros(shape, dtype)
    label_map[-1, -1] = 1
    image = np.zeros((*shape, 3), np.uint8)
    apply_borders(image, label_map)
    assert (image[..., 0] > 200).sum() == min(2, label_map.size - 1) - (1 in shape and label_map.size > 1)


def test_borders_of_a_large_image_are_wider():
    label_map = np.zeros((1200, 1300), np.uint8)
    label_map[600:] = 1
    image = np.zeros((1200, 1300, 3), np.uint8)
    apply_borders(image, label_map)
    assert (image[:, 650, 0] > 200).sum() == 3


def test_void_pixels_show_the_image():
    image = np.full((2, 3, 3), 100, np.uint8)
    overlay = draw_overlay(
        image, np.array([[0, 0, 9], [0, 0, 9]], np.uint8), np.array([[200, 0, 0]], np.uint8), borders=False
    )
    assert overlay[:, 2].tolist() == [[100, 100, 100]] * 2
    assert overlay[:, 0].tolist() == [[150, 50, 50]] * 2


def test_brightened_colors_keep_hue_saturation_and_their_differences():
    dark = np.array(dataset_labels("camvid").palette, np.uint8)
    light = brighten(dark)
    assert light[1].tolist() == [181, 0, 0]  # 255 · √(128 / 255)
    assert (light >= dark).all()
    assert len(np.unique(light, axis=0)) == len(dark)
    for before, after in zip(dark / 255, light / 255, strict=True):
        assert colorsys.rgb_to_hsv(*after)[:2] == pytest.approx(colorsys.rgb_to_hsv(*before)[:2], abs=0.02)
    assert brighten(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)).tolist() == [[0, 0, 0], [255, 255, 255]]


def test_legend_shows_each_color_on_white():
    colors = [(200, 30, 30), (30, 30, 200)]
    legend = draw_legend(["road", "sky"], colors, [0.75, 0.25])
    assert legend.dtype == np.uint8
    assert legend[0, 0].tolist() == [255, 255, 255]
    assert all(has_color(legend, color) for color in colors)
    assert draw_legend(["road", "sky"], colors).shape[1] < legend.shape[1]


@pytest.mark.parametrize("names", [["天空", "дорога"], ["", "\U0001f697"], ["a\nb", "\0"], ["x" * 300, "é"]])
def test_no_name_breaks_the_legend(names):
    legend = draw_legend(names, [(1, 2, 3), (4, 5, 6)], [0.5, 0.5])
    assert has_color(legend, (1, 2, 3))
    assert has_color(legend, (4, 5, 6))
    assert legend.shape[1] < 600


def test_legend_keeps_to_its_height_and_sums_up_the_rest():
    names, palette = [f"class {index}" for index in range(50)], complete_palette(None, 50)
    legend = draw_legend(names, palette, [0.02] * 50, height=200)
    assert legend.shape[0] == 200
    assert has_color(legend, palette[0])
    assert not has_color(legend, palette[49])


def test_no_class_gives_an_empty_legend():
    assert (draw_legend([], [], []) == 255).all()


def test_side_by_side_holds_all_parts():
    image, overlay = np.full((100, 80, 3), 10, np.uint8), np.full((100, 80, 3), 90, np.uint8)
    legend = draw_legend(["road"], [(200, 0, 0)], height=140)
    page = side_by_side(image, overlay, legend)
    assert page.shape[0] > 140
    assert (page == 10).all(axis=-1).sum() == (page == 90).all(axis=-1).sum() == 8000
    assert has_color(page, (200, 0, 0))


def test_shares_are_percent_and_never_vanish():
    assert [format_share(share) for share in (1, 0.341, 0.0004, 0)] == ["100.0 %", "34.1 %", "<0.1 %", "0.0 %"]
