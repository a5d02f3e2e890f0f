"""How the samples of images are to be read, where files and arrays leave it open."""

from __future__ import annotations

from typing import Literal, NamedTuple

from segpipe.errors import InputError

from .eight_bits import BitDepth, check_bit_depth

Alpha = Literal["auto", "keep", "drop"]


class Reading(NamedTuple):
    """What the samples of an image mean, where its file leaves it open.

    Attributes:
        alpha: auto composites what is declared as alpha on white, except an extra sample of a TIFF that takes many
            values, as near infrared does; keep composites it in any case, and the first extra sample of a TIFF that
            declares none; drop takes the colours alone.
        bit_depth: of images with more than 8 bits per sample, the bits that are used, 8 to 16; "min-max" maps the
            range of each image to 0–255; None takes the high byte.
    """

    alpha: Alpha = "auto"
    bit_depth: BitDepth = None

    def check(self) -> None:
        """Refuse other values with an InputError."""
        if self.alpha not in ("auto", "keep", "drop"):
            raise InputError(f"alpha is {self.alpha!r}; it must be one of 'auto', 'keep', 'drop'.")
        check_bit_depth(self.bit_depth)


DEFAULT_READING = Reading()
