"""Draw people on foot and on bicycles, built from limbs whose joints bend the way joints do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import BICYCLIST, PEDESTRIAN, Canvas, Color, ground_quad
from .light import Light

_COATS = (
    (26, 26, 30),
    (34, 36, 46),
    (46, 40, 36),
    (64, 62, 62),
    (90, 22, 26),
    (30, 44, 70),
    (20, 22, 22),
    (96, 92, 86),
)
_TROUSERS = ((28, 30, 40), (22, 22, 24), (44, 50, 64), (52, 46, 40))
_SKIN = ((186, 146, 122), (150, 110, 88), (92, 62, 48))
_HAIR = ((40, 30, 24), (26, 22, 20), (92, 74, 50), (110, 104, 98))


@dataclass(frozen=True)
class Person:
    """A person at (x, z); `stride` from -1 to 1 is the moment of the step or of the pedal's turn."""

    x: float
    z: float
    height: float
    stride: float
    facing: int
    coat: tuple[float, ...]
    trousers: tuple[float, ...]
    skin: tuple[float, ...]
    hair: tuple[float, ...]


def random_person(rng: np.random.Generator, x: float, z: float) -> Person:
    """Return a person in winter clothes."""

    def one_of(colors: tuple[tuple[int, ...], ...]) -> tuple[float, ...]:
        return tuple(np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.8, 1.15))

    return Person(
        x=x,
        z=z,
        height=float(rng.uniform(1.6, 1.88)),
        stride=float(rng.uniform(-1, 1)),
        facing=int(rng.choice([-1, 1])),
        coat=one_of(_COATS),
        trousers=one_of(_TROUSERS),
        skin=one_of(_SKIN),
        hair=one_of(_HAIR),
    )


def draw_pedestrian(canvas: Canvas, person: Person, light: Light) -> None:
    """Draw a walker, from the feet up."""
    figure = _Figure(canvas, person, light, PEDESTRIAN)
    _draw_foot_shadow(canvas, person, 0.28)
    swing = 0.16 * person.stride
    for side, reach in ((-1, swing), (1, -swing)):
        knee, foot = (side * 0.055 + reach * 0.6, 0.27), (side * 0.06 + reach, 0.03)
        figure.limb((side * 0.05, 0.5), knee, (0.1, 0.075), person.trousers)
        figure.limb(knee, foot, (0.075, 0.055), person.trousers)
        figure.limb(foot, (foot[0] + 0.03 * person.facing, 0.015), (0.055, 0.045), (20, 20, 20))
    _draw_upper_body(figure, 0.0, lean=0.0)
    for side, reach in ((-1, -swing), (1, swing)):
        elbow, hand = (side * 0.135 + reach * 0.3, 0.62), (side * 0.13 + reach * 0.7, 0.48)
        figure.limb((side * 0.11, 0.79), elbow, (0.07, 0.06), np.multiply(person.coat, 0.88))
        figure.limb(elbow, hand, (0.06, 0.045), np.multiply(person.coat, 0.8))
        figure.limb(hand, (hand[0], 0.46), (0.04, 0.03), person.skin)


def draw_bicyclist(canvas: Canvas, person: Person, light: Light) -> None:
    """Draw a rider seen from behind or ahead: a thin wheel, pumping legs, a helmet."""
    figure = _Figure(canvas, person, light, BICYCLIST)
    _draw_foot_shadow(canvas, person, 0.25)
    wheel = 0.34 / person.height
    figure.oval((0, wheel), (0.028, wheel), (22, 22, 24))
    figure.limb((-0.15, 0.62), (0.15, 0.62), (0.02, 0.02), (40, 40, 42))
    for side in (-1, 1):
        pedal = 0.17 + 0.09 * side * person.stride
        knee = (side * 0.11, pedal + 0.23)
        figure.limb((side * 0.05, 0.53), knee, (0.11, 0.085), person.trousers)
        figure.limb(knee, (side * 0.075, pedal), (0.08, 0.055), person.trousers)
        figure.limb((side * 0.075, pedal), (side * 0.085, pedal - 0.02), (0.055, 0.05), (24, 24, 24))
    _draw_upper_body(figure, 0.045, lean=0.02)
    for side in (-1, 1):
        elbow = (side * 0.165, 0.7)
        figure.limb((side * 0.11, 0.82), elbow, (0.075, 0.06), np.multiply(person.coat, 0.88))
        figure.limb(elbow, (side * 0.14, 0.63), (0.06, 0.045), np.multiply(person.coat, 0.8))
    figure.oval((0.02, 0.965), (0.053, 0.064), person.hair)
    figure.oval((0.02, 0.995), (0.056, 0.04), np.multiply(person.coat, 1.3))
    figure.oval((0, 0.42), (0.018, 0.014), (190, 30, 26))


Point = tuple[float, float]
"""(across, up) as fractions of a person's height."""


class _Figure:
    """A canvas on which a person is drawn in their own coordinates."""

    def __init__(self, canvas: Canvas, person: Person, light: Light, index: int) -> None:
        self.canvas, self.person, self.index = canvas, person, index
        self.light = light.on_front()

    def limb(self, start: Point, end: Point, widths: tuple[float, float], color: Color) -> None:
        tall = self.person.height
        sizes = (widths[0] * tall, widths[1] * tall)
        self.canvas.limb(self._world(start), self._world(end), sizes, np.multiply(color, self.light), self.index)

    def oval(self, center: Point, radii: tuple[float, float], color: Color) -> None:
        tall = self.person.height
        sizes = (radii[0] * tall, radii[1] * tall)
        self.canvas.disc(self._world(center), sizes, np.multiply(color, self.light), self.index)

    def _world(self, point: Point) -> list[float]:
        return [self.person.x + point[0] * self.person.height, point[1] * self.person.height, self.person.z]


def _draw_upper_body(figure: _Figure, lift: float, *, lean: float) -> None:
    """Draw coat, neck, head and hair."""
    person = figure.person
    figure.limb((0, 0.52 + lift), (lean, 0.77 + lift), (0.2, 0.24), person.coat)
    figure.limb((-0.075, 0.79 + lift), (0.075 + lean, 0.79 + lift), (0.09, 0.09), person.coat)
    figure.limb((-0.05, 0.56 + lift), (-0.05, 0.76 + lift), (0.06, 0.08), np.multiply(person.coat, 1.25))
    figure.limb((lean, 0.83 + lift), (lean, 0.87 + lift), (0.06, 0.055), person.skin)
    figure.oval((lean, 0.925 + lift), (0.045, 0.06), person.skin)
    figure.oval((lean, 0.945 + lift), (0.05, 0.05 if person.facing > 0 else 0.04), person.hair)


def _draw_foot_shadow(canvas: Canvas, person: Person, half: float) -> None:
    outline = ground_quad(person.x, half, (person.z - 0.2, person.z + 0.4))
    canvas.darken(canvas.camera.project(outline), 0.4, 0.06 * float(canvas.camera.scale(person.z)))
