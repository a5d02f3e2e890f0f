"""Results that show themselves: in notebooks as PNG and HTML, elsewhere in a viewer."""

import base64
import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageShow

from segpipe import Segmentation
from segpipe.errors import InputError
from segpipe.evaluation import ConfusionMatrix
from segpipe.evaluation.classifier_scores import ClassificationScores
from segpipe.pipelines import Classification

HOSTILE = "<script>alert('x')</script> & \x1b[2J"


def make_result(size=(60, 80), names=("sky", "road"), with_image=True):
    label_map = np.zeros(size, np.uint8)
    label_map[size[0] // 2 :] = 1
    image = np.full((*size, 3), 90, np.uint8) if with_image else None
    return Segmentation(label_map, {0: 0.9, 1: 0.8}, names, palette=[(0, 0, 200), (200, 0, 0)], image=image)


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_notebook_shows_the_overlay_with_its_legend():
    result = make_result()
    shown = decoded(result._repr_png_())
    assert np.array_equal(shown, result.overlay(legend=True))
    assert shown.shape[1] > 80


@pytest.mark.parametrize("with_image", [True, False])
@pytest.mark.parametrize("size", [(3000, 4000), (6000, 40), (1, 9000)])
def test_what_a_notebook_keeps_is_bounded(size, with_image):
    result = make_result(size, with_image=with_image)
    assert max(decoded(result._repr_png_()).shape) < 1200
    assert len(result._repr_png_()) + len(result._repr_html_()) < 300_000


def test_the_html_has_the_image_and_a_row_for_each_class():
    text = make_result()._repr_html_()
    found = re.search(r"<img src='data:image/jpeg;base64,([^']+)' width='80' height='60'", text)
    overlay = decoded(base64.b64decode(found[1]))
    assert np.abs(overlay.astype(int) - make_result().overlay()).mean() < 8
    assert text.count("<tr>") == 3
    for part in ("sky", "50.0 %", "0.900", "background:rgb(0,0,200)"):
        assert part in text


def test_no_name_is_taken_for_html():
    scores = ConfusionMatrix(2)
    scores.update(prediction=np.array([[0, 1]]), label=np.array([[0, 1]]))
    shown = [
        make_result(names=(HOSTILE, "road")),
        Classification(np.array([0.7, 0.3]), (HOSTILE, "cat"), source=HOSTILE),
        scores.scores((HOSTILE, "road")),
    ]
    for each in shown:
        text = each._repr_html_()
        assert "<script" not in text
        assert "\x1b" not in text
        assert "&lt;script&gt;" in text


def test_many_classes_are_summed_up():
    label_map = np.arange(100, dtype=np.uint8).reshape(10, 10)
    text = Segmentation(label_map, {}, [f"class {index}" for index in range(100)])._repr_html_()
    assert text.count("<tr>") == 22
    assert "and 80 more" in text


def test_scores_and_classifications_are_tables():
    matrix = ConfusionMatrix(2)
    matrix.update(prediction=np.array([[0, 1, 1]]), label=np.array([[0, 0, 1]]))
    text = matrix.scores(("sky", "road"))._repr_html_()
    assert text.count("<tr>") == 4
    assert "pixel accuracy 66.67" in text
    assert ">50.00</td>" in text
    text = Classification(np.array([0.25, 0.75]), ("cat", "dog"), source="a.png")._repr_html_()
    assert text.index("dog") < text.index("0.750") < text.index("cat")
    assert "25.00" in ClassificationScores(0.25, 1.0, 0.25, {"cat": 0.25}, 4)._repr_html_()


@pytest.fixture
def viewers(monkeypatch):
    """Images that a viewer got."""
    shown = []

    class Viewer(ImageShow.Viewer):
        def show(self, image, **options):
            shown.append(np.asarray(image))
            return 1

    monkeypatch.setattr(ImageShow, "_viewers", [Viewer()])
    return shown


def test_show_opens_a_viewer_with_the_overlay(viewers):
    result = make_result()
    result.show()
    result.show(opacity=0.2, legend=False, borders=False)
    assert np.array_equal(viewers[0], result.overlay(legend=True))
    assert np.array_equal(viewers[1], result.overlay(0.2, borders=False))
    make_result(with_image=False).show()
    assert viewers[2].shape[1] > 80


def test_show_in_a_notebook_displays_and_keeps_little(viewers, monkeypatch):
    displayed = []
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=displayed.append))
    make_result((1500, 2000)).show()
    assert not viewers
    assert max(displayed[0].size) <= 800


def test_show_without_a_viewer_says_what_to_do(monkeypatch):
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(InputError, match=r"result\.save\('overlay\.png'\)"):
        make_result().show()
