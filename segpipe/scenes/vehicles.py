"""Draw cars: an extruded side profile with glass, wheels and lights, seen from any place on the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import CAR, Canvas, Color, ground_quad
from .light import Light

_PAINTS = (
    (150, 154, 160),
    (176, 178, 180),
    (40, 42, 46),
    (34, 40, 58),
    (120, 26, 26),
    (28, 60, 100),
    (60, 70, 64),
    (196, 196, 192),
    (80, 84, 90),
    (24, 46, 36),
)
_GLASS = np.array([34.0, 38.0, 42.0])
_RUBBER = (22, 22, 24)


@dataclass(frozen=True)
class Car:
    """A car at (x, z), the middle of its end that is nearer to the camera."""

    x: float
    z: float
    oncoming: bool
    paint: tuple[float, ...]
    size: float
    shape: int
    """Which of the side profiles: 0 hatchback, 1 saloon, 2 van."""


# (height, distance from the bonnet's end) along the top of the body, in meters, front to back.
_HATCHBACK = (
    (0.35, 0.0),
    (0.68, 0.05),
    (0.84, 0.35),
    (0.95, 1.05),
    (1.42, 1.85),
    (1.48, 2.6),
    (1.38, 3.45),
    (0.98, 3.9),
    (0.5, 4.0),
)
_SALOON = (
    (0.35, 0.0),
    (0.66, 0.06),
    (0.8, 0.4),
    (0.93, 1.25),
    (1.36, 2.05),
    (1.42, 2.8),
    (1.34, 3.3),
    (1.02, 4.0),
    (0.95, 4.45),
    (0.45, 4.5),
)
_VAN = (
    (0.35, 0.0),
    (0.8, 0.05),
    (1.05, 0.5),
    (1.15, 0.9),
    (1.95, 1.6),
    (2.05, 2.2),
    (2.05, 4.6),
    (1.1, 4.75),
    (0.5, 4.8),
)
_HALF_WIDTH = 0.86
_TUMBLEHOME = 0.24
"""How much narrower the roof is than the body at each side, per meter above the waist line."""
_WAIST = 0.95
"""Glass begins at this height."""


def random_car(rng: np.random.Generator, x: float, z: float, *, oncoming: bool) -> Car:
    """Return a car of a random make and paint."""
    return Car(
        x=x,
        z=z,
        oncoming=oncoming,
        paint=tuple(np.array(_PAINTS[int(rng.integers(len(_PAINTS)))]) * rng.uniform(0.85, 1.1)),
        size=float(rng.uniform(0.94, 1.08)),
        shape=int(rng.choice(3, p=[0.46, 0.42, 0.12])),
    )


def draw_car(canvas: Canvas, car: Car, light: Light) -> None:
    """Draw the shadow first, then the faces that the camera sees, far to near."""
    _draw_contact_shadow(canvas, car)
    body = _Body(canvas, car, _profile(car))
    sides = [side for side in (-1, 1) if side * car.x < -_HALF_WIDTH * 0.9]
    _draw_underside(body)
    for side in (-1, 1):
        _draw_wheel_backs(body, side)
    for face in reversed(range(len(body.top) - 1)):
        _draw_top_face(body, face, light)
    for side in sides:
        _draw_flank(body, side, light)
    _draw_end(body, light)


class _Body:
    """A car's outline in the world: `top` is (distance from the near end, height), near to far."""

    def __init__(self, canvas: Canvas, car: Car, top: np.ndarray) -> None:
        self.canvas, self.car, self.top = canvas, car, top
        self.length = float(top[:, 0].max())

    def point(self, side: float, along: float, height: float) -> list[float]:
        """Return a point of the body; `side` -1 is its left edge in the image, +1 its right edge."""
        inset = _TUMBLEHOME * max(0.0, height - _WAIST * self.car.size) + 0.05 * max(0.0, 0.5 - height)
        half = _HALF_WIDTH * self.car.size * (1.1 if self.car.shape == 2 else 1.0) - inset
        return [self.car.x + side * half, height, self.car.z + along]


def _profile(car: Car) -> np.ndarray:
    shape = np.array((_HATCHBACK, _SALOON, _VAN)[car.shape])
    height, along = shape.T * car.size
    if not car.oncoming:
        height, along = height[::-1], (along.max() - along)[::-1]
    return np.stack([along, height], axis=1)


def _draw_contact_shadow(canvas: Canvas, car: Car) -> None:
    scale = float(canvas.camera.scale(car.z))
    outline = ground_quad(car.x, car.size, (car.z - 0.25, car.z + 4.3 * car.size))
    canvas.darken(canvas.camera.project(outline), 0.75, 0.08 * scale)


def _draw_underside(body: _Body) -> None:
    corners = [body.point(side, along, 0.32) for side, along in ((-1, 0), (1, 0), (1, body.length), (-1, body.length))]
    floor = [[x, 0.12, z] for x, _, z in corners]
    body.canvas.fill_world([corners[0], corners[1], floor[1], floor[0]], (16, 16, 18), CAR)
    for side in (0, 1):
        edge = [corners[side], corners[3 - side], floor[3 - side], floor[side]]
        body.canvas.fill_world(edge, (14, 14, 16), CAR)


def _draw_top_face(body: _Body, face: int, light: Light) -> None:
    """Draw one strip between two points of the profile: bonnet, windscreen, roof or boot."""
    (near, low), (far, high) = body.top[face], body.top[face + 1]
    slope = (high - low) / max(1e-3, far - near + abs(high - low))
    if slope <= 0 and min(low, high) > body.canvas.camera.height:
        return
    strip = [body.point(-1, near, low), body.point(1, near, low), body.point(1, far, high), body.point(-1, far, high)]
    facing_sky = 1 - abs(slope)
    color = np.multiply(body.car.paint, light.on_front() * (0.75 + 0.5 * facing_sky)) + 26 * facing_sky
    body.canvas.fill_world(strip, color, CAR)
    if high - low > 0.3 and high > 1.2 * body.car.size:
        _draw_screen(body, face)


def _draw_screen(body: _Body, face: int) -> None:
    (near, low), (far, high) = body.top[face], body.top[face + 1]
    low_in, high_in = low + 0.05, high - 0.05
    tilt = (far - near) / (high - low)
    corners = [(-0.9, low_in), (0.9, low_in), (0.86, high_in), (-0.86, high_in)]
    pane = [body.point(side, near + (height - low) * tilt, height) for side, height in corners]
    body.canvas.tint_world(pane, _GLASS)
    middle = (low_in + high_in) / 2
    shine = [
        body.point(side, near + (height - low) * tilt, height)
        for side, height in ((-0.5, middle), (0.88, middle), (0.86, high_in), (-0.2, high_in))
    ]
    body.canvas.tint_world(shine, _GLASS * 1.9)


def _draw_flank(body: _Body, side: int, light: Light) -> None:
    """Draw the long side that faces the middle of the image: paint, glass, doors, wheels."""
    lit = np.multiply(body.car.paint, light.on_side(-side) * 0.9)
    sill = [(body.length - 0.02, 0.28), (0.02, 0.28)]
    outline = [body.point(side, along, height) for along, height in [*body.top, *sill]]
    body.canvas.fill_world(outline, lit, CAR)
    lower = [(0.03, 0.28), (body.length - 0.03, 0.28), (body.length - 0.03, 0.55), (0.03, 0.55)]
    body.canvas.tint_world([body.point(side, along, height) for along, height in lower], lit * 0.72)
    _draw_side_windows(body, side)
    for along in (0.19 * body.length, 0.8 * body.length):
        _draw_wheel(body, side, along)


def _draw_side_windows(body: _Body, side: int) -> None:
    glass = [(along, height) for along, height in body.top if height > 1.2 * body.car.size]
    if len(glass) < 2:
        return
    waist = _WAIST * body.car.size + 0.03
    first, last = glass[0][0], glass[-1][0]
    roof = [(along, height - 0.08) for along, height in glass]
    outline = [(first - 0.45, waist), *roof, (last + 0.35, waist)]
    body.canvas.tint_world([body.point(side, along, height) for along, height in outline], _GLASS * 1.15)
    pillar = (first + last) / 2
    strip = [(pillar - 0.04, waist), (pillar - 0.04, 1.4), (pillar + 0.05, 1.4), (pillar + 0.05, waist)]
    body.canvas.tint_world([body.point(side, along, height) for along, height in strip], _GLASS * 0.5)


def _draw_wheel_backs(body: _Body, side: int) -> None:
    """Draw the tread that shows below the bumper."""
    for along in (0.05, 0.78 * body.length):
        x, _, z = body.point(side * 0.98, along, 0.4)
        width = -side * 0.2
        tread = [[x, 0.0, z + 0.25], [x + width, 0.0, z + 0.25], [x + width, 0.4, z + 0.25], [x, 0.4, z + 0.25]]
        body.canvas.fill_world(tread, _RUBBER, CAR)


def _draw_wheel(body: _Body, side: int, along: float) -> None:
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x, _, z = body.point(side * 1.005, along, 0.3)
    for radius, color in ((0.36, (14, 14, 15)), (0.31, _RUBBER), (0.2, (120, 122, 126)), (0.07, (50, 52, 54))):
        ring = np.stack([np.full(24, x), 0.31 + radius * np.sin(around), z + radius * np.cos(around)], axis=1)
        body.canvas.fill_world(ring, color, CAR)


def _draw_end(body: _Body, light: Light) -> None:
    """Draw the near end: bumper, number plate, lamps, and a grille on a front."""
    paint = np.multiply(body.car.paint, light.on_front())
    size = body.car.size
    _panel(body, (-1, 1), (0.24, 0.98 * min(0.7 * size, 0.7)), paint * 0.82)
    _panel(body, (-0.97, 0.97), (0.24, 0.46), paint * 0.5 + 10)
    _panel(body, (-0.97, 0.97), (0.5, 0.53), paint * 0.4)
    if body.car.oncoming:
        _panel(body, (-0.5, 0.5), (0.54, 0.66), (26, 26, 28))
        lamp, plate = (186, 192, 198), (176, 176, 170)
    else:
        lamp, plate = (150, 26, 22), (176, 150, 40)
    _panel(body, (-0.3, 0.3), (0.38, 0.49), np.multiply(plate, light.on_front()))
    for side in (-1, 1):
        _panel(body, (side * 0.66, side * 0.97), (0.55, 0.69), np.multiply(lamp, 0.6))
        _panel(body, (side * 0.7, side * 0.88), (0.57, 0.67), lamp)


def _panel(body: _Body, across: tuple[float, float], heights: tuple[float, float], color: Color) -> None:
    (left, right), (low, high) = across, heights
    corners = [(left, low), (right, low), (right, high), (left, high)]
    outline = [body.point(side, 0.02, height) for side, height in corners]
    body.canvas.fill_world(outline, color, CAR)
