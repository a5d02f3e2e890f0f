"""Draw the ground of a street: asphalt, painted lines, curbs and paving slabs, each with its wear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.extras import import_opencv

from .canvas import PAVEMENT, ROAD, Canvas, Color, fractal_noise, ground_quad
from .light import Light

cv2 = import_opencv()

CURB_WIDTH = 0.16


@dataclass(frozen=True)
class Street:
    """Where a street lies: x of its edges and z of its end, in meters; the camera drives at x = 0, on the left."""

    left_curb: float
    right_curb: float
    left_front: float
    right_front: float
    end: float

    def curb(self, side: int) -> float:
        """Return x of the curb at one side (-1 left, +1 right)."""
        return self.left_curb if side < 0 else self.right_curb

    def front(self, side: int) -> float:
        """Return x where the pavement ends and houses or railings begin."""
        return self.left_front if side < 0 else self.right_front

    @property
    def middle(self) -> float:
        """x of the center line."""
        return (self.left_curb + self.right_curb) / 2


def random_street(rng: np.random.Generator) -> Street:
    """Return a street of two lanes between two pavements."""
    left_curb = -float(rng.uniform(1.7, 2.9))
    right_curb = left_curb + float(rng.uniform(6.2, 8.2))
    return Street(
        left_curb=left_curb,
        right_curb=right_curb,
        left_front=left_curb - float(rng.uniform(1.8, 3.0)),
        right_front=right_curb + float(rng.uniform(1.8, 3.2)),
        end=float(rng.uniform(75, 130)),
    )


def draw_ground(canvas: Canvas, street: Street, light: Light) -> None:
    """Draw everything below the horizon: the road between its curbs, pavement on either side."""
    first = int(canvas.camera.horizon) + 1
    height, width = canvas.label.shape
    x, z = _ground_points(canvas, np.arange(first, height) + 0.5, np.arange(width) + 0.5)
    on_road = (x > street.left_curb) & (x < street.right_curb)
    coarse = _wear(*_ground_points(canvas, np.arange(first + 1, height, 2), np.arange(1, width, 2)), canvas.rng)
    wear = cv2.resize(coarse, x.shape[::-1], interpolation=cv2.INTER_LINEAR)
    tone = _asphalt(x, street, wear)
    tone[~on_road] = _slabs(x[~on_road], np.broadcast_to(z, x.shape)[~on_road], street, wear[~on_road])
    lit = tone[..., None] * (np.array([0.98, 1.0, 1.06]) * light.on_ground()).astype(np.float32)
    lit[~on_road] *= np.array([1.04, 1.0, 0.92], np.float32)
    canvas.image[first:] = cv2.convertScaleAbs(canvas.air.through(lit, z))
    canvas.label[first:] = np.where(on_road, np.uint8(ROAD), np.uint8(PAVEMENT))


def draw_markings(canvas: Canvas, street: Street, light: Light, rng: np.random.Generator) -> None:
    """Draw a dashed center line, double yellow lines along the curbs, perhaps an arrow and a manhole or two."""
    white = np.array([176, 178, 178]) * light.on_ground() * rng.uniform(0.75, 1.0)
    yellow = np.array([150, 132, 86]) * light.on_ground()
    _draw_manholes(canvas, street, light, rng)
    _draw_dashes(canvas, street, white, float(rng.uniform(0, 6)))
    for side in (-1, 1):
        if rng.random() < 0.7:
            inward = street.curb(side) - side * 0.35
            _draw_line(canvas, inward, street.end, yellow)
            _draw_line(canvas, inward - side * 0.2, street.end, yellow)
    if rng.random() < 0.5:
        _draw_arrow(canvas, float(rng.uniform(-0.3, 0.4)), float(rng.uniform(6, 16)), white)


def draw_house_shadow(canvas: Canvas, street: Street, light: Light, rng: np.random.Generator) -> None:
    """Draw the jagged shadow that the houses on the sun's side throw over the street."""
    side = light.sun_side
    strength = float(light.sun.mean() * 0.55 / light.on_ground().mean())
    steps = np.cumsum(rng.uniform(5, 12, 24)) + 1.5
    reach = np.repeat(rng.uniform(6.5, 11.5, 24) / light.sun_height, 2)
    z = np.repeat(np.concatenate([[1.5], steps]), 2)[1:-1]
    edge = np.stack([street.front(side) - side * reach, np.zeros(48), z], axis=1)
    base = [[street.front(side), 0, 250.0], [street.front(side) + side * 3, 0, 1.5]]
    canvas.darken(canvas.camera.project(np.concatenate([edge, base])), strength, 2.5)


def _ground_points(canvas: Canvas, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where on the ground pixels lie: x (h, w) and z (h, 1), float32."""
    camera = canvas.camera
    z = (camera.focal * camera.height / (rows - camera.horizon)).astype(np.float32)[:, None]
    return (columns - camera.center_x).astype(np.float32)[None] * (z / np.float32(camera.focal)), z


def _wear(x: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise on the ground: grain that distance averages out, and broad stains drawn out along the street."""
    tile = fractal_noise(rng, (512, 512), octaves=6, roughness=0.85)
    depth = np.broadcast_to(z, x.shape)
    grain = _sample(tile, x / 2.2, depth / 2.2) * np.exp(-z / 14)
    stains = _sample(tile, x / 7 + 0.37, depth / 34)
    return 0.055 * grain + 0.05 * stains


def _sample(tile: np.ndarray, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the tile's values at coordinates that count whole tiles."""
    side = tile.shape[0]
    map_x, map_y = ((value - np.floor(value)) * side for value in (across, along))
    return cv2.remap(tile, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _asphalt(x: np.ndarray, street: Street, wear: np.ndarray) -> np.ndarray:
    """Return the gray tone of the road: tires polish two bands in each lane, dirt gathers in the gutters."""
    lane = (street.right_curb - street.left_curb) / 2
    tires = np.cos((x - street.left_curb) / lane * 4 * np.pi)
    gutter = np.exp(-np.abs(np.minimum(x - street.left_curb, street.right_curb - x)) / 0.3)
    return 100 * (1 + wear - 0.03 * tires - 0.3 * gutter)


def _slabs(x: np.ndarray, z: np.ndarray, street: Street, wear: np.ndarray) -> np.ndarray:
    """Return the gray tone of the pavement: joints between slabs near the camera, a pale curb stone at the edge."""
    outward = np.where(x < street.middle, street.left_curb - x, x - street.right_curb)
    rank, file = np.floor(outward / 0.62), np.floor(z / 0.9 + 0.5 * np.mod(np.floor(outward / 0.62), 2))
    patchwork = ((rank.astype(np.int32) * 73 + file.astype(np.int32) * 151) * 97 % 256) / np.float32(256) - 0.5
    seam = (np.mod(outward, 0.62) < 0.03) | (np.mod(z / 0.9 + 0.5 * np.mod(rank, 2), 1) < 0.03)
    near = np.exp(-z / 16)
    tone = 90 * (1 + wear + 0.24 * patchwork * near - 0.35 * seam * near)
    curb = np.where(outward < 0.05, 62, 116) * (1 + wear - 0.3 * (np.mod(z, 0.95) < 0.05) * near)
    return np.where(outward < CURB_WIDTH, curb, tone)


def _draw_dashes(canvas: Canvas, street: Street, color: Color, offset: float) -> None:
    for z in np.arange(3.0 + offset - 6, street.end, 6.0):
        start, end = max(z, 2.0), z + 2.6
        if end > start:
            canvas.tint_world(ground_quad(street.middle, 0.06, (start, end)), color)


def _draw_line(canvas: Canvas, x: float, end: float, color: Color) -> None:
    for start, stop in zip((2.0, 6.0, 14.0, 30.0), (6.0, 14.0, 30.0, end), strict=True):
        canvas.tint_world(ground_quad(x, 0.045, (start, stop)), color)


def _draw_arrow(canvas: Canvas, x: float, z: float, color: Color) -> None:
    outline = [(-0.1, 0), (0.1, 0), (0.1, 2.4), (0.38, 2.4), (0, 4.2), (-0.38, 2.4), (-0.1, 2.4)]
    canvas.tint_world([[x + dx, 0, z + dz] for dx, dz in outline], color)


def _draw_manholes(canvas: Canvas, street: Street, light: Light, rng: np.random.Generator) -> None:
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for _ in range(int(rng.integers(0, 4))):
        x, z = rng.uniform(street.left_curb + 0.6, street.right_curb - 0.6), rng.uniform(5, 30)
        for radius, gray in ((0.36, 62), (0.3, 84)):
            ring = np.stack([x + radius * np.cos(around), 0 * around, z + radius * np.sin(around)], axis=1)
            canvas.tint_world(ring, gray * light.on_ground())
