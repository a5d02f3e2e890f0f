"""Show results as PNG and HTML in a notebook, and in the system's image viewer elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageShow

from segpipe.errors import InputError
from segpipe.extras import import_opencv
from segpipe.progress_bars import is_notebook
from segpipe.text import html_text

from .overlay import colorize, draw_overlay
from .writing import encode_image

cv2 = import_opencv()

LONGEST_SIDE = 800
"""Pixels of an image in a notebook, which keeps it in its file."""


def draw_small_overlay(image: np.ndarray | None, label_map: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return an overlay with no side longer than `LONGEST_SIDE`, or the colors where there is no image."""
    height, width = label_map.shape
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1.0:
        size = max(1, round(width * scale)), max(1, round(height * scale))  # OpenCV's order
        image = None if image is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        label_map = cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST)
    return colorize(label_map, palette) if image is None else draw_overlay(image, label_map, palette)


def html_figure(pixels: np.ndarray, rows: Sequence[tuple[tuple[int, int, int] | None, str, str, str]]) -> str:
    """Return an image and, to its right, a row for each class: its color, name, share and score.

    The image is a JPEG within the text, so that the notebook's file stays small.
    """
    data = base64.b64encode(encode_image(pixels, "JPEG", quality=88)).decode()
    cells = "".join(
        f"<tr><td>{_swatch(color)}</td><td style='text-align:left'>{html_text(name)}</td>"
        f"<td>{html_text(share)}</td><td>{html_text(score)}</td></tr>"
        for color, name, share, score in rows
    )
    head = "<tr><th></th><th style='text-align:left'>class</th><th>share</th><th>score</th></tr>"
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
        f"<img src='data:image/jpeg;base64,{data}' width='{pixels.shape[1]}' height='{pixels.shape[0]}' "
        f"style='max-width:100%;height:auto' alt='overlay'><table>{head}{cells}</table></div>"
    )


def show_image(pixels: np.ndarray) -> None:
    """Show (H, W, 3) uint8 RGB below the notebook's cell, or else in the system's image viewer.

    Raises:
        InputError: there is neither.
    """
    image = Image.fromarray(pixels)
    if is_notebook():
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        display(image)
    elif not ImageShow.show(image, title="segpipe"):
        raise InputError("There is no notebook and no image viewer here. Write a file with result.save('overlay.png').")


def _swatch(color: tuple[int, int, int] | None) -> str:
    if color is None:
        return ""
    red, green, blue = color
    return (
        f"<span style='display:inline-block;width:1em;height:1em;border-radius:.2em;"
        f"background:rgb({red},{green},{blue})'></span>"
    )
