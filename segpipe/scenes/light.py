"""Light a scene by its weather, draw the sky, and photograph it with a lens and a sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.extras import import_opencv

from .canvas import SKY, Air, Canvas, fractal_noise

cv2 = import_opencv()


@dataclass(frozen=True)
class Light:
    """One moment's weather; light is a factor on a surface's color, per channel."""

    sun_side: int
    """Where the sun stands: -1 left of the street, +1 right."""
    sun_height: float
    """Tangent of the sun's elevation."""
    sun: np.ndarray
    """What direct sunshine adds on a surface that faces it."""
    ambient: np.ndarray
    """What the open sky gives every surface."""
    sky_top: np.ndarray
    sky_low: np.ndarray
    cloud: float
    """0 for a clear sky, 1 for an overcast one."""
    air: Air

    def on_side(self, side: int) -> np.ndarray:
        """Return the light on a wall that stands at one side of the street (-1 left, +1 right) and faces it."""
        return self.ambient + self.sun * (0.7 if side != self.sun_side else 0.0)

    def on_front(self) -> np.ndarray:
        """Return the light on what faces the camera."""
        return self.ambient * 0.85 + self.sun * 0.12

    def on_ground(self) -> np.ndarray:
        """Return the light on the ground where nothing shades it."""
        return self.ambient + self.sun * 0.55


def random_light(rng: np.random.Generator) -> Light:
    """Return the light of a late-winter day in town, from a clear low sun to a bright overcast."""
    cloud = float(rng.uniform(0, 1))
    warmth = rng.uniform(0.0, 0.1)
    strength = (1 - cloud) * rng.uniform(0.5, 1.0)
    sky_low = np.array([242, 250, 253]) - cloud * np.array([2, 8, 10])
    clear_top = np.array([rng.uniform(184, 226), rng.uniform(234, 246), 254])
    return Light(
        sun_side=int(rng.choice([-1, 1])),
        sun_height=float(rng.uniform(0.5, 1.4)),
        sun=strength * np.array([1 + warmth, 0.96, 0.86 - warmth]),
        ambient=rng.uniform(0.8, 1.05) * np.array([0.96, 0.99, 1.05]),
        sky_top=clear_top * (1 - cloud) + np.array([241, 246, 249]) * cloud,
        sky_low=sky_low,
        cloud=cloud,
        air=Air(haze=np.array([196, 204, 212]), reach=float(rng.uniform(220, 420))),
    )


def draw_sky(canvas: Canvas, light: Light) -> None:
    """Draw the whole canvas as sky, paler towards the horizon, with clouds drawn out sideways."""
    height, width = (length // 4 for length in canvas.label.shape)
    rise = np.clip(1 - np.arange(height, dtype=np.float32) * 4 / canvas.camera.horizon, 0, 1)[:, None, None]
    clear = light.sky_low + (light.sky_top - light.sky_low) * rise**0.8
    coarse = fractal_noise(canvas.rng, (height // 2 + 2, width // 6 + 8), octaves=5, roughness=0.6)
    veil = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    cover = np.clip(0.25 + 0.5 * veil + 0.3 * light.cloud, 0, 1) * (0.35 + 0.4 * light.cloud)
    shade = np.array([252, 253, 254]) - 14 * light.cloud * np.clip(-veil, 0, 2)
    sky = np.clip(clear + (shade - clear) * cover, 0, 255).astype(np.float32)
    canvas.image[:] = cv2.resize(sky, canvas.label.shape[::-1], interpolation=cv2.INTER_LINEAR)
    canvas.label[:] = SKY


def photograph(canvas: Canvas) -> np.ndarray:
    """Return the image (H, W, 3) uint8 that a dashboard camera takes of the canvas, at half its size."""
    height, width = (length // 2 for length in canvas.label.shape)
    small = cv2.resize(canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (3, 3), 0.55).astype(np.float32)
    spread = (width // 16 * 2 + 1, width // 16 * 2 + 1)
    glow = cv2.blur(cv2.blur(small, spread), spread).astype(np.float32)
    exposed = (soft + 0.03 * glow) * _vignette(height, width)
    return cv2.convertScaleAbs(np.maximum(_tone(exposed) + _grain(canvas.rng, (height, width)), 0))


def _vignette(height: int, width: int) -> np.ndarray:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    return 1 - 0.07 * (x**2 + y**2)


def _tone(exposed: np.ndarray) -> np.ndarray:
    """Apply a camera's contrast curve: deep shadows, highlights that run into white."""
    level = np.minimum(exposed / 255, 1)
    return 255 * (level * (0.62 + 0.38 * level))


def _grain(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return sensor noise (H, W, 3), fine in brightness, coarser and weaker in color."""
    height, width = size
    fine = rng.standard_normal((height, width, 1), dtype=np.float32)
    coarse = rng.standard_normal((height // 2, width // 2, 3), dtype=np.float32)
    return 1.6 * fine + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
