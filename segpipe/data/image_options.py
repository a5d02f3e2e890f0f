"""Options for reading an image and for measuring boundaries, which the command line lists without OpenCV or NumPy."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from segpipe.errors import InputError

Alpha = Literal["auto", "keep", "drop"]
BitDepth = int | Literal["min-max"] | None
ChannelOrder = Literal["rgb", "bgr"]
Metric = Literal["euclidean", "taxicab"]
"""How the distance to a boundary is measured."""


class Reading(NamedTuple):
    """What the samples of an image mean, where its file leaves it open.

    Attributes:
        alpha: auto composites what is declared as alpha on white, except an extra sample of a TIFF that takes many
            values, as near infrared does; keep composites it in any case, and the first extra sample of a TIFF that
            declares none; drop takes the colors alone.
        bit_depth: of images with more than 8 bits per sample, the bits that are used, 8 to 16; "min-max" maps the
            range of each image to 0–255; None takes the high byte.
    """

    alpha: Alpha = "auto"
    bit_depth: BitDepth = None

    def check(self) -> None:
        """Refuse other values with an InputError."""
        if self.alpha not in get_args(Alpha):
            raise InputError(f"alpha is {self.alpha!r}; it must be one of 'auto', 'keep', 'drop'.")
        depth = self.bit_depth
        is_number = isinstance(depth, int) and not isinstance(depth, bool) and 8 <= depth <= 16
        if depth is not None and depth != "min-max" and not is_number:
            raise InputError(
                f"bit_depth is {depth!r}; it must be a whole number from 8 to 16, 'min-max', or None for the high byte."
            )


DEFAULT_READING = Reading()
