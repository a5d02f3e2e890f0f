"""Draw a whole street, from the sky to the nearest passer-by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from segpipe.errors import InputError

from .buildings import House, draw_house, draw_house_across, random_house
from .canvas import Camera, Canvas
from .furniture import (
    draw_guard_rail,
    draw_hanging_sign,
    draw_lamp_post,
    draw_railings,
    draw_round_sign,
    draw_traffic_light,
    forge_railings,
)
from .ground import Street, draw_ground, draw_house_shadow, draw_markings, random_street
from .light import Light, draw_sky, photograph, random_light
from .people import draw_bicyclist, draw_pedestrian, random_person
from .plants import Cutout, grow_bare_tree, grow_leafy_tree, plant
from .vehicles import draw_car, random_car

SMALLEST_SIDE = 64
SALT = 105
"""Mixed into every seed; chosen out of 240, by eye and by the score of a model that had seen no drawn street, to make
seed 0 one worth showing. Seed 0 is therefore kinder to a model than the others."""


@dataclass(frozen=True)
class Scene:
    """A drawn street and its label."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    label: np.ndarray
    """(H, W) uint8, CamVid's classes: 0 sky, 1 building, 2 pole, 3 road, 4 pavement, 5 tree, 6 sign, 7 fence, 8 car,
    9 pedestrian, 10 bicyclist; 255 is void."""
    name: str


@dataclass(frozen=True)
class Thing:
    """An object that stands in the street at a depth and draws itself."""

    z: float
    draw: Callable[[Canvas], None]


def draw_street_scene(seed: int = 0, size: tuple[int, int] = (360, 480)) -> Scene:
    """Draw a street in town as a dashboard camera sees it; the same seed and size give the same scene.

    The layout of a seed is one at every size. Another build of OpenCV may round a pixel of the image differently.

    Args:
        seed: 0 or more; each gives another street, weather, traffic.
        size: (H, W), each at least 64.

    Raises:
        InputError: a negative seed or a size under 64.
    """
    _check(seed, size)
    rng = np.random.default_rng((SALT, seed))
    light, street = random_light(rng), random_street(rng)
    trees = [grow_bare_tree(rng, light), grow_bare_tree(rng, light), grow_leafy_tree(rng, light)]
    canvas = _blank_canvas(size, light, rng)
    far_end = place_far_end(street, trees, light, rng)
    things = [
        *place_side(-1, street, trees, light, rng),
        *place_side(+1, street, trees, light, rng),
        *place_traffic(street, light, rng),
        *place_people(street, light, rng),
    ]
    draw_sky(canvas, light)
    draw_ground(canvas, street, light)
    draw_markings(canvas, street, light, rng)
    draw_house_shadow(canvas, street, light, rng)
    draw_far_to_near(canvas, far_end)
    draw_far_to_near(canvas, things)
    return Scene(photograph(canvas), canvas.label[::2, ::2].copy(), f"street-{seed}")


def draw_far_to_near(canvas: Canvas, things: Iterable[Thing]) -> None:
    """Draw each object over those behind it."""
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.draw(canvas)


def place_far_end(street: Street, trees: list[Cutout], light: Light, rng: np.random.Generator) -> list[Thing]:
    """Return what closes the street: houses across its end, tree tops over them."""
    things = []
    left = street.left_front - 30.0
    while left < street.right_front + 30:
        house = random_house(rng, 1, 0.0, street.end + float(rng.uniform(0, 20)))
        things.append(Thing(house.near, partial(draw_house_across, house=house, left=left, light=light)))
        left += (house.far - house.near) * rng.uniform(0.9, 1.6)
    for x in rng.uniform(street.left_front - 15, street.right_front + 15, int(rng.integers(3, 9))):
        things.append(_tree(trees, (float(x), street.end + float(rng.uniform(-2, 30))), rng))
    return things


def place_side(side: int, street: Street, trees: list[Cutout], light: Light, rng: np.random.Generator) -> list[Thing]:
    """Return one side of the street to its end: a terrace, or railings with trees behind; posts and signs."""
    is_terrace = rng.random() < (0.65 if side < 0 else 0.35)
    build = place_terrace if is_terrace else place_park
    return [*build(side, street, trees, light, rng), *place_posts(side, street, light, rng)]


def place_terrace(
    side: int, street: Street, trees: list[Cutout], light: Light, rng: np.random.Generator
) -> list[Thing]:
    """Return houses wall to wall, a sign or two on them, here and there a tree on the pavement."""
    things = []
    for house in _row_of_houses(side, street.front(side), street.end, rng):
        things.append(Thing(house.far, partial(draw_house, house=house, light=light)))
        if house.has_shop and rng.random() < 0.4 and house.far > 7:
            z = min(house.far - 0.5, max(house.near, 6.0) + 0.5)
            place = (float(rng.uniform(3.3, 4.4)), z)
            things.append(Thing(z, partial(draw_hanging_sign, wall=house.x, side=side, place=place, light=light)))
    for z in rng.uniform(22, street.end, int(rng.integers(0, 4))):
        things.append(_tree(trees, (street.front(side) - side * 0.8, float(z)), rng))
    return things


def place_park(side: int, street: Street, trees: list[Cutout], light: Light, rng: np.random.Generator) -> list[Thing]:
    """Return railings along the pavement, a row of trees behind them, houses behind the trees."""
    things = []
    front = street.front(side)
    setback = float(rng.choice([13, 18, 30]))
    for house in _row_of_houses(side, front + side * setback, street.end, rng):
        things.append(Thing(house.far + 1000, partial(draw_house, house=house, light=light)))
    railings = forge_railings(side, light, rng)
    for start in np.arange(2.0, street.end, 6.0):
        span = (float(start), float(start + 6))
        things.append(Thing(span[1], partial(draw_railings, railings=railings, x=front, span=span)))
    for z in np.cumsum(rng.uniform(3.5, 7.5, 30)) + 8:
        if z < street.end:
            things.append(_tree(trees, (front + side * float(rng.uniform(1.5, 6)), float(z)), rng))
    return things


def place_posts(side: int, street: Street, light: Light, rng: np.random.Generator) -> list[Thing]:
    """Return lamp posts, a traffic light, round signs and a guard rail along the curb."""
    x = street.curb(side) + side * 0.45
    lamps = np.arange(rng.uniform(13, 30), street.end, rng.uniform(24, 32))
    things = [Thing(z, partial(draw_lamp_post, place=(x, z), side=side, light=light)) for z in lamps]
    if rng.random() < 0.6:
        z = float(rng.uniform(9, 24))
        draw = partial(draw_traffic_light, place=(x, z), light=light, green=bool(rng.random() < 0.7))
        things.append(Thing(z, draw))
    for z in rng.uniform(8, 40, int(rng.integers(0, 3))):
        is_ban = bool(rng.random() < 0.6)
        things.append(Thing(float(z), partial(draw_round_sign, place=(x, float(z)), light=light, is_ban=is_ban)))
    if rng.random() < 0.3:
        z = float(rng.uniform(8, 20))
        span = (z, z + float(rng.uniform(4, 10)))
        things.append(Thing(span[1], partial(draw_guard_rail, x=x - side * 0.15, span=span, light=light)))
    return things


def place_traffic(street: Street, light: Light, rng: np.random.Generator) -> list[Thing]:
    """Return cars ahead, oncoming and parked, each in its lane."""
    ahead = np.cumsum(rng.uniform(14, 40, 2)) + 6
    oncoming = np.cumsum(rng.uniform(8, 26, 3)) + 3
    lanes = [
        ((street.left_curb + street.middle) / 2, ahead, False),
        ((street.right_curb + street.middle) / 2, oncoming, True),
    ]
    if rng.random() < 0.4:
        lanes.append((street.right_curb - 1.0, np.cumsum(rng.uniform(5.2, 9, 4)) + rng.uniform(4, 16), True))
        lanes[1] = (street.middle + 0.9, oncoming + 12, True)
    things = []
    for x, depths, is_oncoming in lanes:
        for z in depths[depths < street.end]:
            car = random_car(rng, float(x + rng.uniform(-0.2, 0.2)), float(z), oncoming=is_oncoming)
            things.append(Thing(car.z, partial(draw_car, car=car, light=light)))
    return things


def place_people(street: Street, light: Light, rng: np.random.Generator) -> list[Thing]:
    """Return walkers on both pavements, riders along the left curb."""
    things = []
    for side in (-1, 1):
        width = abs(street.front(side) - street.curb(side))
        for z in rng.uniform(8, 45, int(rng.integers(1, 5))):
            x = street.curb(side) + side * float(rng.uniform(0.6, width - 0.4))
            person = random_person(rng, x, float(z))
            things.append(Thing(person.z, partial(draw_pedestrian, person=person, light=light)))
    for z in rng.uniform(7, 20, int(rng.integers(0, 3))):
        person = random_person(rng, street.left_curb + float(rng.uniform(0.5, 1.4)), float(z))
        things.append(Thing(person.z, partial(draw_bicyclist, person=person, light=light)))
    return things


def _check(seed: int, size: tuple[int, int]) -> None:
    if seed < 0:
        raise InputError(f"The scene's seed is {seed}; seeds begin at 0. Pass 0 or more.")
    if min(size) < SMALLEST_SIDE:
        raise InputError(f"The scene's size is {size}; each side must be at least {SMALLEST_SIDE}. Pass a larger one.")


def _blank_canvas(size: tuple[int, int], light: Light, rng: np.random.Generator) -> Canvas:
    height, width = 2 * size[0], 2 * size[1]
    camera = Camera(
        focal=1.35 * height,
        center_x=width * float(rng.uniform(0.46, 0.54)),
        horizon=height * float(rng.uniform(0.49, 0.54)),
        height=float(rng.uniform(1.25, 1.55)),
    )
    return Canvas((height, width), camera, light.air, np.random.default_rng(rng.integers(2**32)))


def _row_of_houses(side: int, x: float, end: float, rng: np.random.Generator) -> list[House]:
    houses = [random_house(rng, side, x, float(rng.uniform(-6, 1)))]
    while houses[-1].far < end:
        houses.append(random_house(rng, side, x, houses[-1].far))
    return houses


def _tree(trees: list[Cutout], place: tuple[float, float], rng: np.random.Generator) -> Thing:
    kind = trees[int(rng.choice(len(trees), p=[0.42, 0.42, 0.16]))]
    return Thing(place[1], partial(plant, tree=kind, place=place, height=float(rng.uniform(9, 15))))
