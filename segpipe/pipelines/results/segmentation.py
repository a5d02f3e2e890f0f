"""The result of segmenting one image: a label map, and everything that is made of it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segpipe import drawing
from segpipe.configuration import read_class_names, read_colors
from segpipe.errors import InputError, UnknownNameError
from segpipe.names import unknown_name_message
from segpipe.text import format_table

from .keyed_result import KeyedResult
from .segmentation_document import read_document, to_document

_PRINTED_ROWS = 20
_COUNTED_AT_ONCE = 2**18

Palette = tuple[tuple[int, int, int], ...]


class Segmentation(KeyedResult):
    """The classes of an image's pixels.

    A mapping with ModelScope's keys `masks`, `labels` and `scores`: one entry per class present, by ascending class
    index. Everything but the label map is computed when asked for; masks are kept once made. Results are not
    changed, and should not be: two of them are equal when their label maps, scores, names and palettes are.

    Class indices beyond the names (void outputs, 255) are not a class: they have no mask and no part in `shares`.
    """

    __slots__ = ("_areas", "_image", "_label_map", "_masks", "_palette", "_score_of")

    KEYS = ("masks", "labels", "scores")

    def __init__(
        self,
        label_map: np.ndarray,
        class_scores: Mapping[int, float] | Sequence[float] | np.ndarray,
        names: Sequence[str],
        *,
        palette: Sequence[Sequence[int]] | None = None,
        image: np.ndarray | None = None,
        source: str = "",
        timings: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            label_map: (H, W) uint8 or uint16 class indices; kept, not copied.
            class_scores: mean probability per class index, a mapping or (K,); nan where one is missing.
            names: see `KeyedResult`.
            palette: RGB per class. If None, colors are generated.
            image: (H, W, 3) uint8 RGB, for `overlay` to draw on.
            source: see `KeyedResult`.
            timings: see `KeyedResult`.
        """
        _check_label_map(label_map)
        if image is not None and image.shape != (*label_map.shape, 3):
            raise InputError(
                f"The image has shape {image.shape} and the label map {label_map.shape}. "
                "Give the image that the label map was made from, (H, W, 3)."
            )
        super().__init__(names if isinstance(names, tuple) else read_class_names(names), source, timings)
        self._label_map = label_map
        pairs = class_scores.items() if isinstance(class_scores, Mapping) else enumerate(class_scores)
        self._score_of = {int(index): float(score) for index, score in pairs}
        self._palette = palette if palette is None or isinstance(palette, tuple) else read_colors(palette)
        self._image = image
        self._areas: np.ndarray | None = None
        self._masks: list[np.ndarray] | None = None

    @property
    def label_map(self) -> np.ndarray:
        """(H, W) uint8 or uint16: the class index of each pixel."""
        return self._label_map

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self._label_map.shape
        return height, width

    @property
    def palette(self) -> Palette | None:
        """RGB per class. If None, colors are generated."""
        return self._palette

    @property
    def image(self) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, the image itself, or None where it was not kept."""
        return self._image

    @property
    def classes(self) -> list[int]:
        """The class indices present, ascending."""
        return [int(index) for index in np.flatnonzero(self._class_areas())]

    @property
    def labels(self) -> list[str]:
        """The names of the classes present, by ascending class index."""
        return [self._names[index] for index in self.classes]

    @property
    def scores(self) -> list[float]:
        """The mean softmax probability of each class present where it wins, on the network's own grid; by ascending
        class index."""
        return [self._score_of.get(index, math.nan) for index in self.classes]

    @property
    def areas(self) -> list[int]:
        """The pixels of each class present, by ascending class index."""
        areas = self._class_areas()
        return [int(areas[index]) for index in self.classes]

    @property
    def masks(self) -> list[np.ndarray]:
        """(H, W) uint8 of 0 and 1 for each class present, by ascending class index."""
        if self._masks is None:
            self._masks = [_mask_of(self._label_map, index) for index in self.classes]
        return self._masks

    @property
    def shares(self) -> dict[str, float]:
        """The fraction of the image by name, for the classes present; below 1 in sum when pixels are void."""
        areas, shares = self._class_areas(), dict[str, float]()
        for index in self.classes:
            name = self._names[index]
            shares[name] = shares.get(name, 0.0) + float(areas[index]) / self._label_map.size
        return shares

    def mask(self, name: str) -> np.ndarray:
        """Return (H, W) uint8 of 0 and 1 for the class of that name; all 0 when it is not present."""
        if name not in self._names:
            raise UnknownNameError(unknown_name_message("class", name, self._names))
        return _mask_of(self._label_map, self._names.index(name))

    def colorize(self) -> np.ndarray:
        """Return (H, W, 3) uint8: each pixel in the color of its class, void in black."""
        return drawing.colorize(self._label_map, self._colors())

    def overlay(
        self,
        opacity: float = drawing.OPACITY,
        *,
        borders: bool = True,
        names: bool = False,
        legend: bool = False,
        brighten: bool = False,
    ) -> np.ndarray:
        """Return the class colors over the image, (H, W, 3) uint8; void pixels show the image.

        Args:
            opacity: of the colors, from 0, the image alone, to 1.
            borders: whether a line separates the classes.
            names: whether each class has its name on it, where there is room, see `drawing.draw_names`.
            legend: whether a key to the colors stands to the right, which makes the result wider.
            brighten: whether dark colors become lighter, see `drawing.brighten`.
        """
        if self._image is None:
            raise InputError("This result was made without its image, so it has no overlay. Use colorize() instead.")
        drawn = drawing.draw_overlay(
            self._image, self._label_map, self._colors(brighten), opacity=opacity, borders=borders
        )
        if names:
            drawn = drawing.draw_names(
                drawn, self._label_map, [(index, self._names[index]) for index in self._by_share()]
            )
        return self._beside_legend(drawn, brighten) if legend else drawn

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the overlay as .png, .jpg or .webp, or `to_json` as .json, and return the path."""
        if Path(path).suffix.lower() == ".json":
            return drawing.write_bytes(path, self.to_json().encode())
        return self.save_overlay(path)

    def save_overlay(self, path: str | os.PathLike[str], **style: Any) -> Path:
        """Write the overlay as .png, .jpg or .webp, and return the path; for `style`, see `overlay`."""
        return drawing.write_image(path, self.overlay(**style))

    def show(self, *, legend: bool = True, **style: Any) -> None:
        """Show the overlay below a notebook's cell, or else in the system's image viewer.

        Without its image, the result shows the colors alone.

        Args:
            legend: see `overlay`.
            style: the rest of `overlay`: opacity, borders, names, brighten.

        Raises:
            InputError: there is neither a notebook nor an image viewer.
        """
        if self._image is None:
            drawing.show_image(self._beside_legend(self.colorize()) if legend else self.colorize())
        else:
            drawing.show_image(self.overlay(legend=legend, **style))

    def save_label_map(self, path: str | os.PathLike[str]) -> Path:
        """Write the class indices as a PNG, without loss, and return the path.

        A palette image (mode P, each pixel value its class index, void in black) when all values fit in 8 bits, else
        16-bit gray.
        """
        return drawing.write_label_map(path, self._label_map, self._colors())

    def legend(self, *, height: int | None = None, brighten: bool = False) -> np.ndarray:
        """Return (h, w, 3) uint8: a key to the colors with the shares, the largest class first.

        With the image's height it goes well beside the image; its letters grow with the height. `brighten` as in
        `overlay`.
        """
        rows, colors, areas = self._by_share(), self._colors(brighten), self._class_areas()
        names = [self._names[index] for index in rows]
        shares = [float(areas[index]) / self._label_map.size for index in rows]
        font_size = drawing.fitting_font(len(rows), height or 0)
        return drawing.draw_legend(names, colors[rows], shares, height=height, font_size=font_size)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: source, height, width, and a segment per class present, with COCO run lengths."""
        return to_document(self)

    @classmethod
    def from_dict(
        cls,
        contents: Mapping[str, Any],
        *,
        names: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        image: np.ndarray | None = None,
    ) -> Segmentation:
        """Return the result that `to_dict` wrote.

        The document names only the classes present: without `names`, the others are called "class 7". Pixels in no
        segment get the first index beyond the names. With its `image`, (H, W, 3) uint8 RGB, it can be drawn.
        """
        given = None if names is None else read_class_names(names)
        label_map, scores, all_names, source = read_document(contents, given)
        return cls(label_map, scores, all_names, palette=palette, image=image, source=source)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segmentation):
            return NotImplemented
        return (
            self._names == other._names
            and self._palette == other._palette
            and np.array_equal(self._label_map, other._label_map)
            and np.array_equal(self.scores, other.scores, equal_nan=True)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        build = partial(
            Segmentation, palette=self._palette, image=self._image, source=self._source, timings=self._timings
        )
        return build, (self._label_map, self._score_of, self._names)

    def __repr__(self) -> str:
        height, width = self.size
        rows = self._by_share()
        largest = [f"{self._names[index]} {self._share_text([index])}" for index in rows[:3]]
        more = [f"{len(rows) - 3} more"] if len(rows) > 3 else []
        return f"<Segmentation of {self._title()}, {height} × {width}: {', '.join(largest + more) or 'no class'}>"

    def __str__(self) -> str:
        height, width = self.size
        header = f"{self._title()}: {height} × {width} pixels, {len(self.classes)} of {len(self._names)} classes"
        rows = [(name, share, score) for _, name, share, score in self._rows()]
        return f"{header}\n{format_table([('class', 'share', 'score'), *rows], ('left', 'right', 'right'))}"

    def _repr_png_(self) -> bytes:
        return drawing.encode_image(self._beside_legend(self._shrunk()), "PNG")

    def _repr_html_(self) -> str:
        colors = [(int(red), int(green), int(blue)) for red, green, blue in self._colors()]
        rows = [
            (None if index is None else colors[index], name, share, score) for index, name, share, score in self._rows()
        ]
        return drawing.html_figure(self._shrunk(), rows)

    def _shrunk(self) -> np.ndarray:
        return drawing.draw_small_overlay(self._image, self._label_map, self._colors())

    def _beside_legend(self, drawn: np.ndarray, brighten: bool = False) -> np.ndarray:
        # Beside a low image, the legend is higher than it and lists as many classes as a printed result.
        height = max(drawn.shape[0], drawing.height_of(min(len(self.classes), _PRINTED_ROWS)))
        return drawing.side_by_side(drawn, self.legend(height=height, brighten=brighten))

    def _rows(self) -> list[tuple[int | None, str, str, str]]:
        """Return index, name, share and score of the largest classes; the last row sums up the rest."""
        rows = self._by_share()
        listed, rest = rows[:_PRINTED_ROWS], rows[_PRINTED_ROWS:]
        texts: list[tuple[int | None, str, str, str]] = [
            (index, self._names[index], self._share_text([index]), f"{self._score_of.get(index, math.nan):.3f}")
            for index in listed
        ]
        return [*texts, (None, f"and {len(rest)} more", self._share_text(rest), "")] if rest else texts

    def _title(self) -> str:
        return self._source or "image"

    def _share_text(self, classes: list[int]) -> str:
        return drawing.format_share(int(self._class_areas()[classes].sum()) / self._label_map.size)

    def _class_areas(self) -> np.ndarray:
        """Return (K,) int64 pixels per named class."""
        if self._areas is None:
            self._areas = _count(self._label_map, len(self._names))
        return self._areas

    def _by_share(self) -> list[int]:
        """Return the class indices present, largest first; the lower index first among equals."""
        areas = self._class_areas()
        return sorted(self.classes, key=lambda index: (-int(areas[index]), index))

    def _colors(self, brighten: bool = False) -> np.ndarray:
        colors = drawing.complete_palette(self._palette, len(self._names))
        return drawing.brighten(colors) if brighten else colors


def _check_label_map(label_map: np.ndarray) -> None:
    if label_map.ndim != 2 or label_map.dtype not in (np.uint8, np.uint16) or label_map.size == 0:
        raise InputError(
            f"The label map is {label_map.dtype} with shape {label_map.shape}; it must be (H, W) uint8 or uint16, "
            "and not empty. Convert it with .astype('uint16')."
        )


def _count(label_map: np.ndarray, num_classes: int) -> np.ndarray:
    """Return (K,) int64 pixels per class, counted in pieces: bincount makes an int64 copy of what it counts."""
    flat = label_map.reshape(-1)
    counts = np.zeros(max(num_classes, np.iinfo(label_map.dtype).max + 1), dtype=np.int64)
    for start in range(0, flat.size, _COUNTED_AT_ONCE):
        counts += np.bincount(flat[start : start + _COUNTED_AT_ONCE], minlength=counts.size)
    return counts[:num_classes]


def _mask_of(label_map: np.ndarray, index: int) -> np.ndarray:
    return (label_map == index).view(np.uint8)
