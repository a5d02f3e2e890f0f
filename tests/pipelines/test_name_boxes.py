"""Names on pictures: where their boxes stand, and that they stay inside and apart."""

import numpy as np
import pytest
from PIL import Image

from segpipe import Segmentation
from segpipe.pipelines.name_boxes import draw_names

PAPER = np.array((255, 255, 255), np.uint8)


def box_of(picture):
    """(top, left, bottom, right) of what is white."""
    rows, columns = np.nonzero((picture == PAPER).all(axis=-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_a_name_is_in_the_middle_of_its_class_on_a_copy():
    picture, label_map = np.full((200, 300, 3), 90, np.uint8), np.zeros((200, 300), np.uint8)
    label_map[100:, 100:] = 1
    top, left, bottom, right = box_of(draw_names(picture, label_map, [(1, "road")]))
    assert (top + bottom) / 2 == pytest.approx(150, abs=2)
    assert (left + right) / 2 == pytest.approx(200, abs=2)
    assert (picture == 90).all()


def test_the_name_of_a_ring_stands_on_the_ring_and_not_in_its_hole():
    rows, columns = np.mgrid[:200, :200] - 100
    label_map = ((rows**2 + columns**2 < 90**2) & (rows**2 + columns**2 > 60**2)).astype(np.uint8)
    top, left, bottom, right = box_of(draw_names(np.zeros((200, 200, 3), np.uint8), label_map, [(1, "ring")]))
    assert label_map[(top + bottom) // 2, (left + right) // 2] == 1


@pytest.mark.parametrize("size", [(20, 60), (48, 48), (300, 40), (1500, 2000)])
def test_a_box_at_the_edge_stays_whole(size):
    label_map = np.zeros(size, np.uint8)
    label_map[-1, -1] = 1
    top, left, bottom, right = box_of(draw_names(np.zeros((*size, 3), np.uint8), label_map, [(1, "road")]))
    assert (bottom, right) == size
    assert 10 < bottom - top < right - left < size[1]


def test_boxes_do_not_cover_one_another():
    """Twelve classes in stripes of 8 pixels: less than a box is high."""
    label_map = np.repeat(np.arange(12, dtype=np.uint8), 8)[:, None].repeat(200, axis=1)
    classes = [(index, f"class {index}") for index in range(12)]
    picture = np.zeros((96, 200, 3), np.uint8)
    alone = [(draw_names(picture, label_map, [one]) > 0).all(axis=-1).sum() for one in classes]
    assert (draw_names(picture, label_map, classes) > 0).all(axis=-1).sum() == sum(alone)


@pytest.mark.parametrize("name", ["", " ", "a name that is much wider than the picture", "天空天空天空天空"])
def test_a_name_without_letters_or_room_is_left_out(name):
    picture = np.full((40, 40, 3), 90, np.uint8)
    assert (draw_names(picture, np.zeros((40, 40), np.uint8), [(0, name)]) == 90).all()


def test_a_small_class_of_a_large_picture_has_its_name():
    """Row and column 1 are in no sample of every second one."""
    label_map = np.zeros((1100, 1100), np.uint8)
    label_map[1, 1] = 1
    top, left, _, _ = box_of(draw_names(np.zeros((1100, 1100, 3), np.uint8), label_map, [(1, "bird")]))
    assert (top, left) == (0, 0)


def test_overlay_and_file_have_the_names_of_what_is_there(tmp_path):
    label_map = np.zeros((100, 120), np.uint8)
    label_map[50:], label_map[90:] = 1, 255
    result = Segmentation(label_map, {}, ["sky", "road", "car"], image=np.full((100, 120, 3), 90, np.uint8))
    drawn = result.overlay(names=True)
    assert np.array_equal(drawn, draw_names(result.overlay(), label_map, [(0, "sky"), (1, "road")]))
    assert not (result.overlay() == PAPER).all(axis=-1).any()
    path = result.save_overlay(tmp_path / "overlay.png", names=True)
    assert np.array_equal(np.asarray(Image.open(path)), drawn)
