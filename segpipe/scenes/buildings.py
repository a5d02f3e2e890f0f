"""Draw houses: façades are painted flat, in meters, and then stood up along the street or across its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.extras import import_opencv

from .canvas import BUILDING, NEAREST_DEPTH, VOID, Canvas, Color, fractal_noise
from .light import Light

cv2 = import_opencv()

FLOOR = 2.9
SHOP = 3.5
MAX_PIXELS_PER_METER = 48.0
COARSE = 12.0
"""Pixels per meter under which panes and letters are too small to be seen."""

_WALLS = (
    (118, 108, 88),  # Cambridge buff brick
    (132, 120, 96),
    (122, 84, 66),  # red brick
    (98, 72, 60),
    (176, 172, 162),  # painted render
    (190, 186, 172),
    (150, 136, 108),  # sandstone
    (120, 116, 110),  # concrete
)
_SHOP_PAINT = ((30, 34, 40), (28, 52, 44), (84, 28, 30), (34, 46, 84), (150, 148, 142), (40, 34, 30), (168, 36, 32))


@dataclass(frozen=True)
class House:
    """One house of a terrace: the wall plane at x, from z near to far."""

    side: int
    x: float
    near: float
    far: float
    height: float
    wall: tuple[float, ...]
    has_shop: bool


def random_house(rng: np.random.Generator, side: int, x: float, near: float) -> House:
    """Return a house whose near end is at `near`."""
    floors = int(rng.choice([2, 3, 3, 4]))
    return House(
        side=side,
        x=x + side * float(rng.uniform(0, 0.4)),
        near=near,
        far=near + float(rng.uniform(5.5, 12)),
        height=SHOP + FLOOR * (floors - 1) + float(rng.uniform(0.4, 1.4)),
        wall=tuple(np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.85, 1.1)),
        has_shop=bool(rng.random() < 0.6),
    )


def draw_house(canvas: Canvas, house: House, light: Light) -> None:
    """Draw its chimney, the end wall that faces the camera, and its façade along the street."""
    near = max(house.near, canvas.entry_depth(house.x))
    if near >= house.far:
        return
    _draw_chimney(canvas, house, light)
    _draw_end_wall(canvas, house, light)
    density = float(np.clip(canvas.camera.scale(near) * 0.7, 3, MAX_PIXELS_PER_METER))
    facade = paint_facade(canvas.rng, house, density) * light.on_side(house.side).astype(np.float32)
    stand_along_street(canvas, Panel(facade, None, house.x, house.near, house.far, 0.0, house.height), BUILDING)


def draw_house_across(canvas: Canvas, house: House, left: float, light: Light) -> None:
    """Draw the same house turned to face the camera at depth `near`, its left edge at x = `left`."""
    scale = float(canvas.camera.scale(house.near))
    facade = paint_facade(canvas.rng, house, float(np.clip(scale, 3, MAX_PIXELS_PER_METER))) * light.on_front()
    width, height = max(2, round((house.far - house.near) * scale)), max(2, round(house.height * scale))
    seen = cv2.resize(facade.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    corner = canvas.camera.project([[left, house.height, house.near]])[0].round().astype(int)
    full = np.ones((height, width), np.float32)
    labels = np.full((height, width), BUILDING, np.uint8)
    canvas.paste((int(corner[1]), int(corner[0])), canvas.air.through(seen, house.near), full, labels)


@dataclass(frozen=True)
class Panel:
    """A flat image that stands upright along the street, like a façade or a row of railings."""

    colors: np.ndarray
    """(h, w, 3) float32, lit; row 0 is the top, column 0 the end near the camera."""
    alpha: np.ndarray | None
    """(h, w) float32 from 0 to 1, or None if nothing shines through."""
    x: float
    near: float
    far: float
    bottom: float
    top: float


def stand_along_street(canvas: Canvas, panel: Panel, index: int) -> None:
    """Paint a panel in perspective; its whole outline becomes class `index`, gaps between bars included."""
    camera = canvas.camera
    near = max(panel.near, NEAREST_DEPTH)
    edges = camera.project([[panel.x, y, z] for z in (near, panel.far) for y in (panel.bottom, panel.top)])
    box = canvas.clip_box(edges.min(axis=0), edges.max(axis=0))
    columns = np.arange(box[1].start, box[1].stop, dtype=np.float32) + 0.5
    rows = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None] + 0.5
    if not (columns.size and rows.size):
        return
    z = camera.focal * panel.x / (columns - camera.center_x)
    y = camera.height - (rows - camera.horizon) * (z / camera.focal)
    height, width = panel.colors.shape[:2]
    map_x = np.broadcast_to((z - panel.near) / (panel.far - panel.near) * width - 0.5, y.shape).astype(np.float32)
    map_y = ((panel.top - y) / (panel.top - panel.bottom) * height - 0.5).astype(np.float32)
    inside = (y >= panel.bottom) & (y <= panel.top) & (z >= near) & (z <= panel.far)
    seen = cv2.remap(panel.colors.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = inside.astype(np.float32)
    if panel.alpha is not None:
        alpha *= cv2.remap(panel.alpha, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    labels = np.where(inside, np.uint8(index), np.uint8(VOID))
    canvas.paste((box[0].start, box[1].start), canvas.air.through(seen, z[None]), alpha, labels)


def paint_facade(rng: np.random.Generator, house: House, density: float) -> np.ndarray:
    """Return a façade (h, w, 3) float32 before any light falls on it, at `density` pixels a meter."""
    wall = _Wall(house.far - house.near, house.height, density)
    wall.pixels[:] = _masonry(rng, wall.pixels.shape[:2], house.wall, density)
    first_floor = SHOP if house.has_shop else FLOOR
    _paint_upper_floors(rng, wall, house, first_floor)
    if house.has_shop:
        _paint_shop(rng, wall, first_floor)
    else:
        _paint_ground_floor(rng, wall, house)
    wall.box(0, house.height - 0.35, wall.width, house.height, np.multiply(house.wall, 1.12))
    wall.box(0, house.height - 0.47, wall.width, house.height - 0.35, np.multiply(house.wall, 0.45))
    wall.box(0.1, 0, 0.2, house.height - 0.4, np.multiply(house.wall, 0.4))
    return wall.pixels * _grime(rng, wall.pixels.shape[:2])


class _Wall:
    """A façade's pixels, addressed in meters from its lower near corner."""

    def __init__(self, width: float, height: float, density: float) -> None:
        self.width, self.height, self.density = width, height, density
        self.pixels = np.empty((max(4, round(height * density)), max(4, round(width * density)), 3), np.float32)

    def box(self, left: float, bottom: float, right: float, top: float, color: Color) -> None:
        self.region(left, bottom, right, top)[:] = color

    def region(self, left: float, bottom: float, right: float, top: float) -> np.ndarray:
        """Return a view of the pixels between two corners; it is empty where thinner than half a pixel."""
        columns = (max(0, round(value * self.density)) for value in (left, right))
        rows = (max(0, round((self.height - value) * self.density)) for value in (top, bottom))
        return self.pixels[slice(*rows), slice(*columns)]


def _masonry(rng: np.random.Generator, size: tuple[int, int], color: Color, density: float) -> np.ndarray:
    """Return a bare wall with stains, and with courses of brick where they are large enough to see."""
    height, width = size
    half = fractal_noise(rng, (height // 2 + 1, width // 2 + 1), octaves=5, roughness=0.8)
    stains = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR) * 0.055
    courses = rng.standard_normal((max(2, round(height / density / 0.15)), max(2, round(width / density / 0.44))))
    bricks = cv2.resize(courses.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST) * 0.06
    return np.asarray(color, np.float32) * (1 + stains + bricks)[..., None]


def _grime(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return the darkening (h, w, 1) by rain streaks, dirt at the foot and the shade under the eaves."""
    height, width = size
    streaks = fractal_noise(rng, (4, max(2, width)), octaves=2, roughness=0.9)
    streaks = cv2.resize(streaks, (width, height), interpolation=cv2.INTER_LINEAR)
    foot = np.exp(-np.linspace(9, 0, height, dtype=np.float32))[:, None]
    eaves = np.exp(-np.linspace(0, 14, height, dtype=np.float32))[:, None]
    return (1 + 0.05 * streaks - 0.3 * foot - 0.12 * eaves)[..., None]


def _paint_upper_floors(rng: np.random.Generator, wall: _Wall, house: House, first: float) -> None:
    count = max(1, round(wall.width / rng.uniform(1.9, 2.9)))
    wide, tall = rng.uniform(0.85, 1.25), rng.uniform(1.45, 1.8)
    frame = rng.choice([215, 205, 190, 60]) * np.array([1, 1, 0.97])
    floors = np.arange(first, house.height - FLOOR + 0.3, FLOOR)
    places = [(x - wide / 2, y + 0.8) for y in floors for x in (np.arange(count) + 0.5) * wall.width / count]
    for corner in places[:3]:
        _paint_window(rng, wall, corner, (wide, tall), frame)
    for corner in places[3:]:
        _copy_window(wall, places[int(rng.integers(3))], corner, (wide, tall))


def _paint_window(
    rng: np.random.Generator, wall: _Wall, corner: tuple[float, float], size: tuple[float, float], frame: Color
) -> None:
    """Paint a sash window: lintel, recess, frame, reflecting panes, sill."""
    (left, bottom), (wide, tall) = corner, size
    wall.region(left - 0.12, bottom + tall, left + wide + 0.12, bottom + tall + 0.2)[:] *= 1.18
    wall.region(left - 0.06, bottom - 0.02, left + wide + 0.06, bottom + tall + 0.05)[:] *= 0.5
    wall.box(left, bottom, left + wide, bottom + tall, frame)
    if wall.density < COARSE:
        _glaze(rng, wall.region(left + 0.1, bottom + 0.1, left + wide - 0.1, bottom + tall - 0.1))
        return
    for column in (0, 1):
        for row in (0, 1):
            x, y = left + 0.06 + column * (wide / 2 - 0.02), bottom + 0.07 + row * (tall / 2 - 0.02)
            _glaze(rng, wall.region(x, y, x + wide / 2 - 0.1, y + tall / 2 - 0.12))
    wall.region(left - 0.1, bottom - 0.12, left + wide + 0.1, bottom)[:] *= 1.3
    wall.region(left - 0.1, bottom - 0.24, left + wide + 0.1, bottom - 0.12)[:] *= 0.65


def _copy_window(
    wall: _Wall, source: tuple[float, float], target: tuple[float, float], size: tuple[float, float]
) -> None:
    """Copy a window that is painted already, which is much faster than painting each."""
    old, new = (
        wall.region(left - 0.12, bottom - 0.24, left + size[0] + 0.12, bottom + size[1] + 0.2)
        for left, bottom in (source, target)
    )
    rows, columns = (min(pair) for pair in zip(old.shape[:2], new.shape[:2], strict=True))
    new[:rows, :columns] = old[:rows, :columns]


def _glaze(rng: np.random.Generator, pane: np.ndarray) -> None:
    """Paint dark glass with a slanting bit of sky in it."""
    height, width = pane.shape[:2]
    if not (height and width):
        return
    sky = np.linspace(1, 0, height, dtype=np.float32)[:, None] + np.linspace(-0.4, 0.4, width, dtype=np.float32)[None]
    level = 30 + rng.uniform(0, 60) * np.clip(sky, 0, 1) ** 2 + rng.uniform(-10, 14)
    pane[:] = level[..., None] * np.array([0.92, 1.0, 1.1], np.float32)


def _paint_ground_floor(rng: np.random.Generator, wall: _Wall, house: House) -> None:
    """Paint a front door and windows, and a plinth below them."""
    wall.region(0, 0, wall.width, 0.5)[:] *= 0.8
    count = max(2, round(wall.width / 2.6))
    door = int(rng.integers(count))
    for place in range(count):
        middle = (place + 0.5) * wall.width / count
        if place == door:
            _paint_door(rng, wall, middle)
        else:
            _paint_window(rng, wall, (middle - 0.55, 0.95), (1.1, 1.6), np.multiply(house.wall, 1.3))


def _paint_door(rng: np.random.Generator, wall: _Wall, middle: float) -> None:
    wall.box(middle - 0.65, 0, middle + 0.65, 2.5, (172, 168, 158))
    wall.box(middle - 0.5, 0.08, middle + 0.5, 2.05, _SHOP_PAINT[int(rng.integers(len(_SHOP_PAINT)))])
    _glaze(rng, wall.region(middle - 0.5, 2.12, middle + 0.5, 2.4))


def _paint_shop(rng: np.random.Generator, wall: _Wall, top: float) -> None:
    """Paint a shop front: fascia with lettering, large panes over a stall riser, a recessed door."""
    paint = np.array(_SHOP_PAINT[int(rng.integers(len(_SHOP_PAINT)))], np.float64)
    wall.box(0, 0, wall.width, top - 0.1, paint * 0.8)
    wall.box(0.15, top - 0.85, wall.width - 0.15, top - 0.15, paint * 1.15 + 8)
    wall.region(0, top - 1.05, wall.width, top - 0.85)[:] *= 0.4
    wall.region(0, top - 0.1, wall.width, top + 0.05)[:] *= 1.25
    _paint_lettering(rng, wall, top - 0.5)
    count = max(2, round(wall.width / 2.0))
    step = (wall.width - 0.4) / count
    for place in range(count):
        left = 0.2 + place * step
        foot = 0.1 if place == count // 2 else 0.55
        _display(rng, wall.region(left + 0.08, foot, left + step - 0.08, top - 1.05))


def _paint_lettering(rng: np.random.Generator, wall: _Wall, middle: float) -> None:
    """Paint strokes that look like a name from the other side of the street."""
    if wall.density < COARSE:
        return
    ink = np.array([220, 214, 196]) * rng.uniform(0.6, 1.0)
    x = wall.width * rng.uniform(0.2, 0.4)
    for _ in range(int(rng.integers(5, 11))):
        wide = rng.uniform(0.1, 0.2)
        wall.box(x, middle - 0.16, x + 0.06, middle + 0.18, ink)
        level = middle + rng.choice([-0.16, 0.0, 0.12])
        wall.box(x, level, x + wide, level + 0.06, ink)
        x += wide + 0.08


def _display(rng: np.random.Generator, pane: np.ndarray) -> None:
    """Paint a shop window: dark inside, goods at the bottom, the street's reflection over all."""
    height, width = pane.shape[:2]
    if not (height and width):
        return
    _glaze(rng, pane)
    colors = rng.uniform(0.4, 1, (7, 5, 3)) * rng.uniform(0, 1, (7, 5, 1)) ** 2
    goods = (colors * np.linspace(10, 140, 7)[:, None, None]).astype(np.float32)
    pane[:] = pane * 0.8 + cv2.resize(goods, (width, height), interpolation=cv2.INTER_LINEAR) * rng.uniform(0.1, 0.45)


def _draw_end_wall(canvas: Canvas, house: House, light: Light) -> None:
    """Draw the gable at the near end, visible where the neighbor is lower or stands farther back."""
    depth = house.x + house.side * 9.0
    ridge = house.x + house.side * 4.5
    peak = house.height + canvas.rng.uniform(0.0, 2.5)
    outline = [(house.x, 0), (house.x, house.height), (ridge, peak), (depth, house.height), (depth, 0)]
    color = np.multiply(house.wall, 0.8) * light.on_front()
    canvas.fill_world([[x, y, house.near] for x, y in outline], color, BUILDING)


def _draw_chimney(canvas: Canvas, house: House, light: Light) -> None:
    left = house.x + house.side * canvas.rng.uniform(0.3, 1.2)
    right = left + house.side * 0.9
    top = house.height + canvas.rng.uniform(0.8, 2.2)
    stack = [[left, house.height - 1, house.far], [left, top, house.far], [right, top, house.far]]
    color = np.array([96, 78, 66]) * light.on_front()
    canvas.fill_world([*stack, [right, house.height - 1, house.far]], color, BUILDING)
    for pot in np.linspace(left, right, 5)[1:-1]:
        canvas.limb([pot, top, house.far], [pot, top + 0.45, house.far], (0.2, 0.16), color * 1.15, BUILDING)
