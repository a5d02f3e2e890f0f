"""The pictures of a run: street scenes that segpipe draws, or a folder's, brought to a size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

Size = tuple[int, int]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def make_pictures(size: Size, count: int, folder: Path | None = None) -> list[Image.Image]:
    """`count` decoded RGB pictures of (height, width); a folder with fewer is repeated."""
    if folder is None:
        return [_draw(seed, size) for seed in range(count)]
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(
            f"{folder} has no pictures ({', '.join(SUFFIXES)}). Name a folder that has, or leave --pictures out."
        )
    return [_read(paths[index % len(paths)], size) for index in range(count)]


def parse_size(text: str) -> Size:
    """(height, width) from 480x640."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise SystemExit(f"{text!r} is no size. Write height x width, such as 480x640.")
    return int(height), int(width)


def _draw(seed: int, size: Size) -> Image.Image:
    from segpipe.scenes.street import draw_street_scene

    return Image.fromarray(draw_street_scene(seed, size).image)


def _read(path: Path, size: Size) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)
