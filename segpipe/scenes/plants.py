"""Draw trees and hedges; a tree is drawn once as a cut-out image and pasted at many sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.extras import import_opencv

from .canvas import TREE, VOID, Canvas, fractal_noise
from .light import Light

cv2 = import_opencv()

CUTOUT = 512
"""Side of a cut-out in pixels."""


@dataclass(frozen=True)
class Cutout:
    """A tree without a place: foot in the middle of the lower edge."""

    pixels: tuple[np.ndarray, ...]
    """(S, S, 4) uint8, from small to large: RGB, already lit, and how much of a pixel is covered."""
    cover_needed: float
    """The label says tree where at least this fraction of the neighborhood is covered: the sky between the twigs of a
    bare crown belongs to it, as in CamVid."""
    grain: float
    """Size of that neighborhood, as a fraction of the cut-out's side."""


def grow_bare_tree(rng: np.random.Generator, light: Light) -> Cutout:
    """Return a broad-leaved tree in winter: eight generations of branches, ever thinner."""
    wood = np.zeros((CUTOUT, CUTOUT), np.uint8)
    starts, headings = np.array([[CUTOUT / 2, CUTOUT - 1.0]]), np.array([-np.pi / 2])
    lengths = np.array([CUTOUT * rng.uniform(0.2, 0.235)])
    for width in (12, 8, 5, 3, 2, 1, 1, 1):
        ends = starts + lengths[:, None] * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        segments = np.round(np.stack([starts, ends], axis=1) * 16).astype(np.int32)
        cv2.polylines(wood, list(segments), False, 255, width, cv2.LINE_AA, 4)
        starts, headings, lengths = _fork(rng, starts, ends, headings, lengths)
    bark = np.array([112, 98, 82]) * (light.on_front() + 0.15 * light.sun)
    tone = 1 + 0.2 * _mottle(rng)
    return Cutout(_levels(bark, tone, wood), grain=0.033, cover_needed=0.11)


def grow_leafy_tree(rng: np.random.Generator, light: Light) -> Cutout:
    """Return an evergreen: clumps of leaves, each lighter where the sun comes from, ragged at its edge."""
    shade = np.full((CUTOUT, CUTOUT), 30, np.float32)
    body = np.zeros((CUTOUT, CUTOUT), np.uint8)
    for size, count in ((54, 30), (28, 120), (12, 420)):
        places = _leaf_places(rng, count, size)
        for (x, y), tone in zip(places.tolist(), _leaf_tones(rng, places, size, light).tolist(), strict=True):
            cv2.circle(body, (x, y), size, 255, -1)
            cv2.circle(shade, (x, y), size, tone, -1)
    leaves: np.ndarray = rng.standard_normal((CUTOUT // 2, CUTOUT // 2), dtype=np.float32)
    leaves = cv2.resize(leaves, (CUTOUT, CUTOUT), interpolation=cv2.INTER_LINEAR)
    ragged = np.clip(leaves, -1.6, 1.6) * 60 + cv2.blur(body, (15, 15)) > 126
    cv2.line(body, (CUTOUT // 2, CUTOUT - 1), (CUTOUT // 2, CUTOUT // 2), 255, 12, cv2.LINE_AA)
    trunk = cv2.bitwise_and(body, 255 * (np.arange(CUTOUT) > 0.8 * CUTOUT).astype(np.uint8)[:, None].repeat(CUTOUT, 1))
    cover = np.maximum(np.uint8(255) * ragged.astype(np.uint8), trunk)
    tone = cv2.blur(shade, (5, 5)) * (1 + 0.35 * leaves + 0.15 * _mottle(rng))
    green = np.array([0.9, 1.0, 0.6]) * light.on_front()
    return Cutout(_levels(green, tone, cover), grain=0.01, cover_needed=0.5)


def plant(canvas: Canvas, tree: Cutout, place: tuple[float, float], height: float) -> None:
    """Paste a tree with its foot on the ground at (x, z), in a cut-out `height` meters tall."""
    x, z = place
    foot = canvas.camera.project([[x, 0, z]])[0]
    side = max(3, round(height * float(canvas.camera.scale(z))))
    top, left = round(foot[1]) - side, round(foot[0]) - side // 2
    rows, columns = canvas.clip_box((left, top), (left + side, top + side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    source = next((level for level in tree.pixels if len(level) >= side), tree.pixels[-1])
    pixels = _resize_cutout(source, side, (rows, columns), (top, left))
    alpha = pixels[..., 3] / np.float32(255)
    reach = (max(1, round(side * tree.grain)),) * 2
    labels = np.where(cv2.blur(cv2.blur(alpha, reach), reach) > tree.cover_needed, np.uint8(TREE), np.uint8(VOID))
    colors = canvas.air.through(pixels[..., :3], z)
    canvas.paste((rows.start, columns.start), colors, alpha, labels)


def hedge_texture(rng: np.random.Generator, size: tuple[int, int], light: Light) -> np.ndarray:
    """Return shrubs (h, w, 3) float32, dark and mottled."""
    noise = fractal_noise(rng, size, octaves=5, roughness=1.0)
    green = np.array([58, 62, 42]) * light.on_front()
    return green.astype(np.float32) * np.clip(1 + 0.45 * noise, 0.2, 2.2)[..., None]


def _resize_cutout(part: np.ndarray, side: int, box: tuple[slice, slice], corner: tuple[int, int]) -> np.ndarray:
    """Return what a cut-out resized to `side` pixels, its corner at (row, column), shows inside a box of the canvas."""
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    if side <= len(part):
        whole = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
        top, left = box[0].start - corner[0], box[1].start - corner[1]
        return whole[top : top + size[1], left : left + size[0]]
    scale = len(part) / side
    shift = [scale * (first.start - start + 0.5) - 0.5 for first, start in zip(box, corner, strict=True)]
    matrix = np.array([[scale, 0, shift[1]], [0, scale, shift[0]]])
    return cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _mottle(rng: np.random.Generator) -> np.ndarray:
    coarse = fractal_noise(rng, (CUTOUT // 4, CUTOUT // 4), octaves=4, roughness=0.9)
    return cv2.resize(coarse, (CUTOUT, CUTOUT), interpolation=cv2.INTER_LINEAR)


def _levels(color: np.ndarray, tone: np.ndarray, cover: np.ndarray) -> tuple[np.ndarray, ...]:
    tone = np.maximum(tone, 0)
    largest = cv2.merge([*(cv2.convertScaleAbs(tone, alpha=float(value)) for value in color), cover])
    small, middle = (
        cv2.resize(largest, (CUTOUT // shrink, CUTOUT // shrink), interpolation=cv2.INTER_AREA) for shrink in (4, 2)
    )
    return small, middle, largest


def _fork(
    rng: np.random.Generator, starts: np.ndarray, ends: np.ndarray, headings: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three new branches per branch: one from its tip, two from along it."""
    count = len(ends)
    along = rng.uniform(0.55, 1.0, (3, count, 1))
    along[0] = 1
    turn = np.concatenate([rng.normal(0, 0.18, (1, count)), rng.normal([[0.6], [-0.6]], 0.2, (2, count))])
    upward = headings + turn + 0.12 * np.sin(-np.pi / 2 - headings)
    shrink = rng.uniform(0.58, 0.86, (3, count))
    return (starts + along * (ends - starts)).reshape(-1, 2), upward.ravel(), (shrink * lengths).ravel()


def _leaf_places(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Return the centers of clumps in a lumpy crown, (N, 2) integers."""
    turn = rng.uniform(0, 2 * np.pi, count)
    lumps = 1 + 0.1 * np.sin(3 * turn) + 0.06 * np.sin(7 * turn)
    reach = np.sqrt(rng.uniform(0, 1, count)) * (0.365 * CUTOUT - size) * lumps
    return np.stack([CUTOUT / 2 + 0.85 * reach * np.cos(turn), 0.44 * CUTOUT + reach * np.sin(turn)], axis=1).astype(
        int
    )


def _leaf_tones(rng: np.random.Generator, places: np.ndarray, size: int, light: Light) -> np.ndarray:
    """Return the brightness of clumps: more towards the sun and the sky, less between others."""
    x, y = places.T / CUTOUT
    from_sun = ((x - 0.5) * light.sun_side - (y - 0.44)) * (0.6 + float(light.sun.mean()))
    return np.clip(52 + 64 * from_sun + rng.normal(0, 50 / np.sqrt(size), len(places)), 12, 150)
