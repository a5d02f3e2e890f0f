"""Heat over images: colors, the scale, the ring around a place."""

import numpy as np
import pytest

from segpipe.drawing.heat_maps import COLOR_MAPS, draw_heat, draw_heat_page, draw_scale, mark_place


@pytest.mark.parametrize("color_map", COLOR_MAPS)
def test_more_heat_is_another_color_and_a_single_value_is_drawn_too(color_map):
    heat = np.tile(np.linspace(0.0, 1e-3, 32), (8, 1))
    page = draw_heat(np.full((8, 32, 3), 90, np.uint8), heat, color_map=color_map)
    assert len(np.unique(page[0], axis=0)) > 20
    assert draw_heat(np.zeros((8, 32, 3), np.uint8), np.ones((8, 32)), color_map=color_map).shape == (8, 32, 3)


def test_the_page_marks_the_place_and_says_what_the_colors_mean():
    heat = np.tile(np.linspace(0.0, 0.04, 300), (200, 1))
    image = np.full((200, 300, 3), 90, np.uint8)
    page, plain = draw_heat_page(image, heat, place=(40, 20)), draw_heat_page(image, heat)
    rows, columns = np.nonzero((page != plain).any(axis=2))
    assert (round(rows.mean()), round(columns.mean())) == (28, 48)  # within a margin of 8
    scale = draw_scale(0.0, 0.04, height=200)
    assert np.array_equal(page[8:208, -scale.shape[1] :], scale)
    assert scale[6, 5].tolist() == pytest.approx(draw_heat(image, heat, opacity=1.0)[0, -1].tolist(), abs=12)
    assert (scale == 255).all(axis=2).any(axis=1).all()


def test_the_image_is_seen_where_nothing_is_hot():
    image = np.tile(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], (50, 1, 3))
    heat = np.zeros((50, 50))
    heat[:5, :5] = 1.0
    cold = draw_heat(image, heat)[10:, :, 0].astype(int)
    assert np.ptp(cold) > 0.6 * np.ptp(image[10:, :, 0].astype(int))


def test_the_place_is_marked_on_a_copy():
    image = np.full((64, 64, 3), 90, np.uint8)
    marked = mark_place(image, (40, 20))
    assert (image == 90).all()
    rows, columns = np.nonzero((marked != 90).any(axis=2))
    assert (round(rows.mean()), round(columns.mean())) == (20, 40)
