"""A page of images beside their labels, with the classes' names, to look at before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from segpipe.checkpoints import find_configuration
from segpipe.configuration import Configuration, LabelSet, read_configuration
from segpipe.data import (
    ClassificationDataset,
    Key,
    Sample,
    SegmentationDataset,
    build_transforms,
    load_dataset,
    sample_rng,
)
from segpipe.drawing import (
    INK,
    OPACITY,
    PAPER,
    QUIET_INK,
    apply_borders,
    blend,
    colorize,
    complete_palette,
    draw_legend,
    draw_names,
    find_font,
    write_image,
)
from segpipe.errors import InputError
from segpipe.extras import import_opencv

cv2 = import_opencv()

IGNORED = "ignored"
_FONT_SIZE = 13
_LINE = 22
_MARGIN = 14


def draw_label_grid(
    rows: Sequence[Sequence[Sample]], labels: LabelSet, *, headings: Sequence[str] = (), height: int = 220
) -> np.ndarray:
    """Draw each sample as its image with, to the right, its label over it; rows below one another; a legend.

    Classes have their names as on overlays, see `segpipe.drawing.draw_names`. Ignored pixels are dark. The legend lists
    the classes of the first samples of the rows, each with its share of the pixels.

    Args:
        rows: samples that stand beside one another, the same number in each row, e.g. before and after augmentation.
        labels: what the encoded labels mean.
        headings: a text per sample of a row.
        height: of an image on the page, in pixels; its width keeps the ratio.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise InputError(
            f"The rows have {[len(row) for row in rows]} samples; at least one row is needed, and the same number of "
            "samples in each. Give a list of lists of samples."
        )
    palette = complete_palette(labels.palette, len(labels.names))
    cells = [[cell for sample in row for cell in _cells(sample, labels, palette, height)] for row in rows]
    grid = _page(cells, captions=[PurePath(row[0].name).name for row in rows], headings=headings)
    top = _top(headings) + _LINE  # where the first image begins
    return _beside(grid, _legend([row[0] for row in rows], labels, palette, grid.shape[0] - top), top)


@dataclass(frozen=True)
class SamplePage:
    """A page that `draw_samples` wrote.

    Attributes:
        path: of its file.
        num_shown: images that are on it.
        num_images: images that the split has.
    """

    path: Path
    num_shown: int
    num_images: int


def draw_samples(
    name: str,
    root: str | Path,
    path: str | Path,
    *,
    split: str = "train",
    count: int = 6,
    seed: int = 0,
    recipe: str | None = None,
    **options: Any,
) -> SamplePage:
    """Write a page of images of a data set, chosen by a seed, with their labels.

    Args:
        name: of the data set, see `load_dataset`.
        root: its folder.
        path: of the page: .png, .jpg or .webp.
        split: that is shown.
        count: images at most.
        seed: chooses the images and what the transforms make of them.
        recipe: a preset, a folder or a configuration.json whose transforms are shown beside each image, as in the first
            epoch of a training with this seed. If None, the images are alone.
        options: of the data set.

    Raises:
        InputError: the recipe has no transforms, or the data set no label maps.
    """
    train = None if recipe is None else _read_recipe(recipe)
    dataset = load_dataset(name, root, split, **options)
    if isinstance(dataset, ClassificationDataset):
        raise InputError(
            f"{dataset!r} has no label maps, which is what segpipe data looks at. Look at its folders themselves."
        )
    chosen = np.random.default_rng(seed).choice(len(dataset), min(count, len(dataset)), replace=False)
    rows = [_row(dataset, index, train, seed) for index in sorted(map(int, chosen))]
    headings = [f"{dataset.name} {dataset.split}", f"after the transforms of {recipe}, seed {seed}"]
    page = draw_label_grid(rows, dataset.labels, headings=headings[: len(rows[0])])
    return SamplePage(write_image(path, page), len(rows), len(dataset))


def _cells(sample: Sample, labels: LabelSet, palette: np.ndarray, height: int) -> Iterator[np.ndarray]:
    """Yield the image and its label at the size that they have on the page."""
    rows, columns = sample.image.shape[:2]
    size = (max(1, round(columns * height / rows)), height)  # OpenCV's order
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA if rows > height else cv2.INTER_LINEAR)
    yield image
    if sample.label is None:
        yield np.full_like(image, PAPER)
        return
    label = cv2.resize(sample.label, size, interpolation=cv2.INTER_NEAREST)
    overlay = blend(image, colorize(label, palette), OPACITY)
    apply_borders(overlay, label)
    yield draw_names(overlay, label, _names_by_size(label, labels))


def _names_by_size(label: np.ndarray, labels: LabelSet) -> list[tuple[int, str]]:
    """Return index and name of the classes in a label, the largest first."""
    areas = np.bincount(label.ravel(), minlength=len(labels.names))[: len(labels.names)]
    return [(int(index), labels.names[index]) for index in np.argsort(-areas, kind="stable") if areas[index]]


def _page(cells: Sequence[Sequence[np.ndarray]], *, captions: Sequence[str], headings: Sequence[str]) -> np.ndarray:
    """Return the cells in rows under their captions; the columns stand under one another."""
    widths = [max(row[column].shape[1] for row in cells) for column in range(len(cells[0]))]
    lefts = [_MARGIN + sum(widths[:column]) + column * _MARGIN // 2 for column in range(len(widths))]
    step = cells[0][0].shape[0] + _LINE + _MARGIN // 2
    top = _top(headings)
    page = Image.new("RGB", (lefts[-1] + widths[-1] + _MARGIN, top + step * len(cells) + _MARGIN // 2), PAPER)
    drawing = ImageDraw.Draw(page)
    for column, heading in enumerate(headings):
        _write(drawing, (lefts[2 * column], _MARGIN), heading, INK)
    for number, (row, caption) in enumerate(zip(cells, captions, strict=True)):
        _write(drawing, (lefts[0], top + number * step), caption, QUIET_INK)
        for left, cell in zip(lefts, row, strict=True):
            page.paste(Image.fromarray(cell), (left, top + number * step + _LINE))
    return np.asarray(page)


def _top(headings: Sequence[str]) -> int:
    return _MARGIN + (_LINE if headings else 0)


def _write(drawing: ImageDraw.ImageDraw, place: tuple[int, int], text: str, ink: tuple[int, int, int]) -> None:
    drawing.text((place[0], place[1] + _LINE // 2), text, font=find_font(text, _FONT_SIZE), fill=ink, anchor="lm")


def _legend(samples: Sequence[Sample], labels: LabelSet, palette: np.ndarray, height: int) -> np.ndarray:
    """Draw a legend of the classes that occur in the samples, then what is ignored."""
    num_classes = len(labels.names)
    counts = np.zeros(num_classes + 1, np.int64)
    for sample in samples:
        if sample.label is not None:
            counts += np.bincount(np.minimum(sample.label, num_classes).ravel(), minlength=num_classes + 1)
    present = np.flatnonzero(counts)
    names = (*labels.names, IGNORED)
    colors = np.concatenate([palette, np.zeros((1, 3), np.uint8)])
    shares = counts / max(1, int(counts.sum()))
    return draw_legend([names[index] for index in present], colors[present], shares[present].tolist(), height=height)


def _beside(grid: np.ndarray, legend: np.ndarray, top: int) -> np.ndarray:
    page = np.full((grid.shape[0], grid.shape[1] + legend.shape[1] + _MARGIN, 3), PAPER, np.uint8)
    page[:, : grid.shape[1]] = grid
    page[top : top + legend.shape[0], grid.shape[1] : grid.shape[1] + legend.shape[1]] = legend
    return page


def _read_recipe(name: str) -> Configuration:
    configuration = read_configuration(Path(name)) if name.endswith(".json") else find_configuration(name)
    if configuration.train is None or not configuration.train.transforms:
        raise InputError(f"{name} has no train.transforms, which --recipe shows. Give one that has, or leave it out.")
    return configuration


def _row(dataset: SegmentationDataset, index: int, recipe: Configuration | None, seed: int) -> list[Sample]:
    """Return a sample and, with a recipe, what the first epoch of a training with this seed makes of it."""
    sample = dataset[index]
    if recipe is None or recipe.train is None:
        return [sample]
    red, green, blue = (round(value) for value in recipe.model.pixel_mean)
    transform = build_transforms(
        recipe.train.transforms, ignore_index=dataset.labels.ignore_index, fill=(red, green, blue)
    )
    return [sample, transform(sample, sample_rng(seed, Key(0, index)))]
