"""Paint image and label of a drawn scene together, on a canvas that a pinhole camera sees.

World coordinates are meters: x to the right, y up from the road, z away from the camera. Image coordinates are
pixels, (x, y). Colors are RGB, 0–255. The canvas is twice the size of the scene, and halving it smooths the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from segpipe.extras import import_opencv

cv2 = import_opencv()

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
VOID = 255

NEAREST_DEPTH = 1.2
"""Meters; nothing is drawn closer to the camera than this."""

_SUBPIXEL_BITS = 4
_FAR_OFF_CANVAS = 20000.0
_ROUND = np.concatenate([np.linspace(0.5, 1.5, 7), np.linspace(1.5, 2.5, 7)]) * np.pi

Color = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along z, level with the road."""

    focal: float
    center_x: float
    horizon: float
    height: float

    def project(self, points: ArrayLike) -> np.ndarray:
        """Project points (N, 3) of the world to (N, 2) pixels; what lies too near is moved to the nearest depth."""
        x, y, z = np.asarray(points, np.float64).T
        scale = self.scale(z)
        return np.stack([self.center_x + x * scale, self.horizon + (self.height - y) * scale], axis=1)

    def scale(self, z: ArrayLike) -> np.ndarray:
        """Return the pixels per meter at a depth."""
        return self.focal / np.maximum(z, NEAREST_DEPTH)


@dataclass(frozen=True)
class Air:
    """Haze, towards which colors fade with distance."""

    haze: np.ndarray
    reach: float

    def through(self, color: Color, z: ArrayLike) -> np.ndarray:
        """Return a color, or an array of them, seen over z meters; shapes broadcast with the color axis last."""
        clarity = np.exp(-np.asarray(z, np.float32) / self.reach)[..., None]
        return np.asarray(color, np.float32) * clarity + self.haze.astype(np.float32) * (1 - clarity)


class Canvas:
    """An image (H, W, 3) uint8 and its label (H, W) uint8, which all drawing changes together."""

    def __init__(self, size: tuple[int, int], camera: Camera, air: Air, rng: np.random.Generator) -> None:
        self.image: np.ndarray = np.zeros((*size, 3), np.uint8)
        self.label: np.ndarray = np.full(size, VOID, np.uint8)
        self.camera = camera
        self.air = air
        self.rng = rng
        """For textures and small details only, since how much is drawn from it depends on the size; what stands where
        comes from another generator, so that a scene has one layout at every size."""

    def entry_depth(self, x: float) -> float:
        """Return the meters ahead at which what stands at x comes into view."""
        half = self.camera.center_x if x < 0 else self.label.shape[1] - self.camera.center_x
        return max(NEAREST_DEPTH, abs(x) * self.camera.focal / half)

    def fill(self, outline: ArrayLike, color: Color, index: int, z: float) -> None:
        """Fill a polygon (N, 2) in pixels at depth z."""
        corners = [_fixed_point(outline)]
        cv2.fillPoly(self.image, corners, _rgb(self.air.through(color, z)), cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.fillPoly(self.label, corners, index, cv2.LINE_8, _SUBPIXEL_BITS)

    def fill_world(self, outline: ArrayLike, color: Color, index: int) -> None:
        """Fill a polygon (N, 3) in meters."""
        points = np.asarray(outline, np.float64)
        self.fill(self.camera.project(points), color, index, float(points[:, 2].mean()))

    def tint(self, outline: ArrayLike, color: Color, z: float) -> None:
        """Fill a polygon in the image alone: a detail of what is already labeled there."""
        color = _rgb(self.air.through(color, z))
        cv2.fillPoly(self.image, [_fixed_point(outline)], color, cv2.LINE_AA, _SUBPIXEL_BITS)

    def tint_world(self, outline: ArrayLike, color: Color) -> None:
        """Fill as `tint` does, with the polygon (N, 3) in meters."""
        points = np.asarray(outline, np.float64)
        self.tint(self.camera.project(points), color, float(points[:, 2].mean()))

    def limb(self, start: ArrayLike, end: ArrayLike, widths: tuple[float, float], color: Color, index: int) -> None:
        """Draw a rounded stick between two points of the world, with its width in meters at either end."""
        ends = np.asarray([start, end], np.float64)
        z = float(ends[:, 2].mean())
        radii = np.asarray(widths) * float(self.camera.scale(z)) / 2
        self.fill(_capsule(self.camera.project(ends), radii), color, index, z)

    def disc(self, center: ArrayLike, radii: tuple[float, float], color: Color, index: int) -> None:
        """Draw an upright ellipse that faces the camera, its radii (x, y) in meters."""
        around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        x, y, z = (float(value) for value in np.asarray(center))
        ring = np.stack([x + radii[0] * np.cos(around), y + radii[1] * np.sin(around), np.full(20, z)], axis=1)
        self.fill_world(ring, color, index)

    def darken(self, outline: ArrayLike, strength: float, softness: float) -> None:
        """Lay a soft shadow over a polygon (N, 2); `strength` 1 is black, `softness` is the blur in pixels."""
        points = np.asarray(outline, np.float64)
        reach = int(softness) + 1
        margin = 2 * reach
        box = self.clip_box(points.min(axis=0) - margin, points.max(axis=0) + margin)
        patch = self.image[box]
        if patch.size == 0:
            return
        shadow: np.ndarray = np.zeros(patch.shape[:2], np.uint8)
        origin = (box[1].start, box[0].start)
        cv2.fillPoly(shadow, [_fixed_point(points - origin)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        kernel = (2 * reach + 1, 2 * reach + 1)
        shadow = cv2.blur(cv2.blur(shadow, kernel), kernel)
        patch[:] = patch * (1 - shadow[..., None] * np.float32(strength / 255))

    def paste(self, corner: tuple[int, int], colors: np.ndarray, alpha: np.ndarray, labels: np.ndarray) -> None:
        """Lay a patch over the canvas.

        Args:
            corner: (row, column) of the patch's first pixel; it may lie outside.
            colors: (h, w, 3).
            alpha: (h, w) from 0 to 1.
            labels: (h, w) class indices; VOID leaves the label as it is.
        """
        top, left = corner
        height, width = alpha.shape
        box = self.clip_box((left, top), (left + width, top + height))
        inner = (slice(box[0].start - top, box[0].stop - top), slice(box[1].start - left, box[1].stop - left))
        below, over = self.image[box], alpha[inner][..., None].astype(np.float32)
        if below.size == 0:
            return
        blend = below + (colors[inner] - below.astype(np.float32)) * over
        below[:] = np.minimum(blend, 255)
        marked = labels[inner]
        np.copyto(self.label[box], marked, where=marked != VOID)

    def clip_box(self, first: ArrayLike, last: ArrayLike) -> tuple[slice, slice]:
        """Return rows and columns of the canvas between two corners (x, y), as slices that never leave it."""
        height, width = self.label.shape
        left, top = np.floor(np.asarray(first)).astype(int)
        right, bottom = np.ceil(np.asarray(last)).astype(int)
        rows = slice(int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height)))
        return rows, slice(int(np.clip(left, 0, width)), int(np.clip(right, 0, width)))


def fractal_noise(rng: np.random.Generator, size: tuple[int, int], *, octaves: int, roughness: float) -> np.ndarray:
    """Return smooth noise (H, W) float32, mean near 0, deviation near 1; each octave `roughness` times as strong."""
    height, width = size
    total = np.zeros(size, np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = roughness**octave
        shrink = 2 ** (octaves - 1 - octave)
        grid = (max(2, -(-height // shrink)), max(2, -(-width // shrink)))
        layer = rng.standard_normal(grid, dtype=np.float32)
        total += weight * cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
        power += weight**2
    return total / np.float32(0.8 * np.sqrt(power))


def ground_quad(x: float, half: float, span: tuple[float, float]) -> list[list[float]]:
    """Return the corners of a rectangle on the ground: `half` to either side of x, from near to far."""
    near, far = span
    return [[x - half, 0, near], [x + half, 0, near], [x + half, 0, far], [x - half, 0, far]]


def _fixed_point(points: ArrayLike) -> np.ndarray:
    limited = np.clip(np.asarray(points, np.float64), -_FAR_OFF_CANVAS, _FAR_OFF_CANVAS)
    return np.round(limited * 2**_SUBPIXEL_BITS).astype(np.int32)


def _rgb(color: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.clip(color, 0, 255))


def _capsule(ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    along = ends[1] - ends[0]
    heading = np.arctan2(along[1], along[0])
    turns = heading + _ROUND
    centers = np.repeat(ends, 7, axis=0)
    return centers + np.repeat(radii, 7)[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
