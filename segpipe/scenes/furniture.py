"""Draw street furniture: lamp posts, signs, traffic lights, railings."""

from __future__ import annotations

import numpy as np

from .buildings import Panel, stand_along_street
from .canvas import FENCE, POLE, SIGN, Canvas, Color, fractal_noise
from .light import Light
from .plants import hedge_texture


def draw_lamp_post(canvas: Canvas, place: tuple[float, float], side: int, light: Light) -> None:
    """Draw a tall post at (x, z) with its arm over the road."""
    x, z = place
    gray = np.array([84, 88, 88]) * light.on_front()
    canvas.limb([x, 0, z], [x, 1.2, z], (0.2, 0.18), gray * 0.8, POLE)
    canvas.limb([x, 1.2, z], [x, 7.4, z], (0.15, 0.1), gray, POLE)
    canvas.limb([x, 7.4, z], [x - side * 1.3, 7.8, z], (0.09, 0.07), gray, POLE)
    canvas.limb([x - side * 1.2, 7.75, z], [x - side * 1.8, 7.8, z], (0.16, 0.14), gray * 1.2, POLE)


def draw_traffic_light(canvas: Canvas, place: tuple[float, float], light: Light, *, green: bool) -> None:
    """Draw a signal head on its pole; the head counts as a sign."""
    x, z = place
    canvas.limb([x, 0, z], [x, 3.1, z], (0.13, 0.12), np.array([70, 72, 74]) * light.on_front(), POLE)
    canvas.fill_world(_plate(x, 2.75, z, (0.3, 0.62)), np.array([24, 25, 26]) * light.on_front(), SIGN)
    canvas.fill_world(_plate(x, 2.75, z - 0.05, (0.17, 0.5)), np.array([34, 35, 36]) * light.on_front(), SIGN)
    for height, on, off in (
        (3.08, (250, 60, 44), (54, 22, 20)),
        (2.75, (54, 40, 18), (54, 40, 18)),
        (2.42, (80, 250, 190), (18, 50, 40)),
    ):
        is_lit = green == (height < 2.5) and height != 2.75
        canvas.disc([x, height, z - 0.1], (0.11, 0.11), on if is_lit else off, SIGN)


def draw_round_sign(canvas: Canvas, place: tuple[float, float], light: Light, *, is_ban: bool) -> None:
    """Draw a traffic sign on a thin post: red ring on white for a ban, or blue."""
    x, z = place
    lit = light.on_front()
    canvas.limb([x, 0, z], [x, 2.7, z], (0.09, 0.09), np.array([92, 94, 96]) * lit, POLE)
    rim, face = ((176, 34, 34), (214, 214, 210)) if is_ban else ((214, 216, 216), (36, 66, 140))
    canvas.disc([x, 2.5, z - 0.05], (0.33, 0.33), np.multiply(rim, lit), SIGN)
    canvas.disc([x, 2.5, z - 0.06], (0.25, 0.25), np.multiply(face, lit), SIGN)
    canvas.tint_world(_plate(x, 2.5, z - 0.07, (0.16, 0.04)), np.array([40, 40, 44]) * lit)


def draw_hanging_sign(canvas: Canvas, wall: float, side: int, place: tuple[float, float], light: Light) -> None:
    """Draw a shop's sign that sticks out from a wall at x = `wall`; `place` is (height, z)."""
    height, z = place
    x = wall - side * 0.65
    lit = light.on_front()
    canvas.limb(
        [wall, height + 0.5, z], [x - side * 0.35, height + 0.5, z], (0.05, 0.05), np.array([30, 30, 30]) * lit, SIGN
    )
    canvas.fill_world(_plate(x, height, z, (0.36, 0.44)), np.array([60, 62, 70]) * lit, SIGN)
    canvas.fill_world(_plate(x, height, z - 0.01, (0.31, 0.38)), np.array([196, 198, 200]) * lit, SIGN)
    canvas.disc([x, height, z - 0.02], (0.15, 0.2), np.array([40, 62, 128]) * lit, SIGN)


def forge_railings(side: int, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Return iron railings in front of shrubs, on a stone plinth, (h, w, 3) float32, lit."""
    rows, columns = 96, 200
    colors = hedge_texture(rng, (rows, columns), light) * np.float32(0.75)
    bars = np.zeros((rows, columns), bool)
    bars[:, np.arange(columns) % 6 < 2] = True
    for rail in (6, 78):
        bars[rail : rail + 3] = True
    colors[bars] = np.array([22, 24, 24]) * light.on_front()
    stone = fractal_noise(rng, (12, columns), octaves=4, roughness=0.9) * 0.12 + 1
    stone[:3] *= 1.3
    colors[84:] = stone[..., None] * np.array([92, 84, 72]) * light.on_side(side)
    return colors


def draw_railings(canvas: Canvas, railings: np.ndarray, x: float, span: tuple[float, float]) -> None:
    """Stand forged railings along the pavement from near to far; what shows between the bars counts as fence."""
    stand_along_street(canvas, Panel(railings, None, x, *span, 0.0, 2.0), FENCE)


def draw_guard_rail(canvas: Canvas, x: float, span: tuple[float, float], light: Light) -> None:
    """Draw the gray rail between pavement and road where people must not cross."""
    near, far = span
    columns = max(8, round((far - near) * 40))
    bars = np.zeros((44, columns), np.float32)
    bars[:, np.arange(columns) % 5 < 1] = 1
    bars[:, np.arange(columns) % 80 < 3] = 1
    bars[:3] = bars[38:41] = 1
    gray = np.array([120, 122, 122]) * light.on_side(1 if x > 0 else -1)
    colors = np.broadcast_to(gray.astype(np.float32), (44, columns, 3)).copy()
    stand_along_street(canvas, Panel(colors, bars, x, near, far, 0.0, 1.05), FENCE)


def _plate(x: float, y: float, z: float, half: tuple[float, float]) -> Color:
    wide, tall = half
    return np.array(
        [[x - wide, y - tall, z], [x + wide, y - tall, z], [x + wide, y + tall, z], [x - wide, y + tall, z]]
    )
