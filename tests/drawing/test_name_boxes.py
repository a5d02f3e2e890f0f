"""Names on images: where they stand, that they can be read, and that they stay inside and apart."""

import numpy as np
import pytest
from PIL import Image

from segpipe import Segmentation
from segpipe.drawing.lettering import INK
from segpipe.drawing.name_boxes import draw_names


def box_of(image, background=0):
    """(top, left, bottom, right) of what was drawn."""
    rows, columns = np.nonzero((image != background).any(axis=-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_a_name_is_in_the_middle_of_its_class_on_a_copy():
    image, label_map = np.full((200, 300, 3), 90, np.uint8), np.zeros((200, 300), np.uint8)
    label_map[100:, 100:] = 1
    top, left, bottom, right = box_of(draw_names(image, label_map, [(1, "road")]), 90)
    assert (top + bottom) / 2 == pytest.approx(150, abs=3)
    assert (left + right) / 2 == pytest.approx(200, abs=2)
    assert (image == 90).all()


def test_the_name_of_a_ring_stands_on_the_ring_and_not_in_its_hole():
    rows, columns = np.mgrid[:200, :200] - 100
    label_map = ((rows**2 + columns**2 < 90**2) & (rows**2 + columns**2 > 60**2)).astype(np.uint8)
    top, left, bottom, right = box_of(draw_names(np.zeros((200, 200, 3), np.uint8), label_map, [(1, "ring")]))
    assert label_map[(top + bottom) // 2, (left + right) // 2] == 1


def test_a_name_stands_where_its_class_is_broad_and_not_on_its_thin_parts():
    """A square of 60 and a pole of 4 × 240, which has most of the rows."""
    label_map = np.zeros((300, 300), np.uint8)
    label_map[:240, 30:34] = 1
    label_map[240:, 200:260] = 1
    top, left, bottom, right = box_of(draw_names(np.zeros((300, 300, 3), np.uint8), label_map, [(1, "sign")]))
    assert 200 < left < right < 260
    assert 240 < top < bottom < 300


@pytest.mark.parametrize("ground", [0, 90, 255])
def test_names_can_be_read_on_any_ground(ground):
    drawn = draw_names(np.full((80, 80, 3), ground, np.uint8), np.zeros((80, 80), np.uint8), [(0, "sky")])
    assert (drawn > 200).all(axis=-1).sum() > 10
    assert (np.abs(drawn.astype(int) - INK) < 20).all(axis=-1).sum() > 30


@pytest.mark.parametrize("size", [(20, 60), (48, 48), (300, 40), (1500, 2000)])
def test_a_name_at_the_edge_stays_whole(size):
    label_map = np.zeros(size, np.uint8)
    label_map[-1, -1] = 1
    edge = box_of(draw_names(np.zeros((*size, 3), np.uint8), label_map, [(1, "road")]))
    assert max(size[0] - edge[2], size[1] - edge[3]) < 0.02 * max(size) + 3
    label_map[-1, -1], label_map[size[0] // 2, size[1] // 2] = 0, 1
    middle = box_of(draw_names(np.zeros((*size, 3), np.uint8), label_map, [(1, "road")]))
    for low, high in ((0, 2), (1, 3)):
        assert edge[high] - edge[low] == pytest.approx(middle[high] - middle[low], abs=1)


def test_names_do_not_cover_one_another():
    """Twelve classes in stripes of 8 pixels: less than a name is high. What is drawn later would change the earlier."""
    label_map = np.repeat(np.arange(12, dtype=np.uint8), 8)[:, None].repeat(200, axis=1)
    classes = [(index, f"class {index}") for index in range(12)]
    drawn = np.zeros((96, 200, 3), np.uint8)
    for count in range(1, 13):
        before, drawn = drawn, draw_names(np.zeros((96, 200, 3), np.uint8), label_map, classes[:count])
        assert ((drawn == before) | (before == 0)).all()
    assert (drawn > 0).any(axis=-1).sum() > 1000


@pytest.mark.parametrize("name", ["", " ", "a name that is much wider than the image", "天空" * 8])
def test_a_name_without_letters_or_room_is_left_out(name):
    image = np.full((40, 40, 3), 90, np.uint8)
    assert (draw_names(image, np.zeros((40, 40), np.uint8), [(0, name)]) == 90).all()


def test_a_small_class_of_a_large_image_has_its_name():
    """Row and column 1 are in no sample of every second one."""
    label_map = np.zeros((1100, 1100), np.uint8)
    label_map[1, 1] = 1
    top, left, bottom, right = box_of(draw_names(np.zeros((1100, 1100, 3), np.uint8), label_map, [(1, "bird")]))
    assert max(top, left) < 20
    assert 20 < bottom < right < 150


def test_overlay_and_file_have_the_names_of_what_is_there(tmp_path):
    label_map = np.zeros((100, 120), np.uint8)
    label_map[50:], label_map[90:] = 1, 255
    result = Segmentation(label_map, {}, ["sky", "road", "car"], image=np.full((100, 120, 3), 90, np.uint8))
    drawn = result.overlay(names=True)
    assert np.array_equal(drawn, draw_names(result.overlay(), label_map, [(0, "sky"), (1, "road")]))
    assert not np.array_equal(drawn, result.overlay())
    path = result.save_overlay(tmp_path / "overlay.png", names=True)
    assert np.array_equal(np.asarray(Image.open(path)), drawn)
