"""Losses at the label's size from logits on the network's grid, without ever making the logits at that size.

Upsampling is linear: logits at the image's size are R · L · Cᵀ with one matrix per axis, and the gradient on the grid
is Rᵀ · G · C. Both are done for one tile of pixels at a time; value and gradient come out of the same pass, so that
neither K·H·W logits nor their gradients exist, and only the gradient on the grid is kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import interpolate

from segpipe.inference import Placement

T = TypeVar("T")
R = TypeVar("R")

TILE_FLOATS = 1 << 18
"""Logits of a tile: about what a core's cache holds."""
TILE_FLOATS_GPU = 1 << 25
"""Logits of a tile on a GPU, where few large steps are faster."""
TILE_SIDE = 64
"""Least width of a tile where there are many classes; narrower ones read more cells twice."""
TILE_SIDE_FEW = 128
"""The same where there are few."""
BAND_ROWS = 128
"""Rows of pixels that are one thread's piece of work."""
FEW_CLASSES = 16
"""With fewer, torch's softmax over the last dimension is ten times slower than over another (less than one vector)."""


@dataclass(frozen=True, eq=False)
class Upsampling:
    """From the grid to the label: a weighted sum of cells per axis.

    Attributes:
        rows: (H, h) weights.
        columns: (W, w) weights.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def bilinear(cls, grid: tuple[int, int], size: tuple[int, int], dtype: torch.dtype) -> Upsampling:
        """Return the one from (h, w) to (H, W) without corner alignment, with the weights of torch's `interpolate`."""
        return cls(*(_bilinear_matrix(cells, length, dtype) for cells, length in zip(grid, size, strict=True)))

    @classmethod
    def placed(cls, placement: Placement, dtype: torch.dtype) -> Upsampling:
        """Return the one for an image that lies somewhere on the grid, as where the network padded it."""
        return cls(placement.rows.matrix.to(dtype), placement.columns.matrix.to(dtype))


@dataclass(frozen=True, eq=False)
class Block:
    """Neighboring pixels of an axis, the cells they read and the weights (pixels, cells) between them."""

    pixels: slice
    cells: slice
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Tile:
    """A rectangle of pixels of one image.

    Attributes:
        image: which image of the batch.
        rows: which rows.
        columns: which columns.
        logits: (P, K) of its pixels, row by row.
    """

    image: int
    rows: Block
    columns: Block
    logits: Tensor

    def read(self, values: Tensor) -> Tensor:
        """Return the tile's (P,) values of a map (B, H, W)."""
        return values[self.where].flatten()

    def log_probabilities(self) -> Tensor:
        """Return (P, K) log-softmax over the classes; a tensor of its own, which may be changed."""
        if self.logits.shape[-1] < FEW_CLASSES:
            return self.logits.T.log_softmax(dim=0).T
        return self.logits.log_softmax(dim=-1)

    @property
    def where(self) -> tuple[int, slice, slice]:
        """Its place in a map (B, H, W)."""
        return self.image, self.rows.pixels, self.columns.pixels


Look = Callable[[Tile], tuple[Tensor, Tensor | None]]
"""Gives what a tile adds to a sum, and the gradient (P, K) of its logits or None."""


class LogitGrid:
    """Logits on the grid that are looked at in tiles, and the gradient that comes back.

    Attributes:
        cells: (B, h, w, K) float32, or float64 where the logits are.
        gradient: of the same shape, or None where it is not asked for.
    """

    def __init__(self, logits: Tensor, upsampling: Upsampling, *, with_gradient: bool) -> None:
        self.cells = logits.detach().permute(0, 2, 3, 1).to(computing_dtype(logits)).contiguous()
        self.gradient = torch.zeros_like(self.cells) if with_gradient else None
        rows, columns = _tile_size(self.cells)
        blocks = _blocks(upsampling.rows, rows, logits.device)
        per_band = max(1, BAND_ROWS // rows)
        self._bands = [blocks[start : start + per_band] for start in range(0, len(blocks), per_band)]
        self._columns = _blocks(upsampling.columns, columns, logits.device)

    def visit(self, counted: Tensor, look: Look, *, shape: tuple[int, ...] = ()) -> Tensor:
        """Look at every tile in which a pixel counts, with as many threads as torch has; the order decides nothing.

        Args:
            counted: (B, H, W) bool.
            look: what to do with a tile. It may write into that tile's place in a map.
            shape: of what it adds to the sum.

        Returns:
            (B, *shape) float64, the sums per image.
        """
        pieces = [(image, band) for image in range(len(self.cells)) for band in self._bands]
        sums = torch.zeros((len(self.cells), *shape), dtype=torch.float64, device=self.cells.device)

        def work(piece: tuple[int, list[Block]]) -> tuple[Tensor, Tensor | None]:
            return self._visit_band(*piece, counted, look, torch.zeros_like(sums[0]))

        for (image, band), (part, gradient) in zip(pieces, _in_threads(work, pieces, self.cells.device), strict=True):
            sums[image] += part
            if self.gradient is not None and gradient is not None:
                self.gradient[image, _band_cells(band)] += gradient
        return sums

    def _visit_band(
        self, image: int, band: list[Block], counted: Tensor, look: Look, total: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the sum over a band, and the gradient of the cells that it reads."""
        read = _band_cells(band)
        gradient = None
        for rows in band:
            here = slice(rows.cells.start - read.start, rows.cells.stop - read.start)
            for columns in self._columns:
                if counted[image, rows.pixels, columns.pixels].any():
                    part, of_pixels = look(Tile(image, rows, columns, self._upsample(image, rows, columns)))
                    total += part
                    if of_pixels is not None:
                        gradient = torch.zeros_like(self.cells[image, read]) if gradient is None else gradient
                        gradient[here, columns.cells] += _spread(of_pixels, rows.weights, columns.weights)
        return total, gradient

    def _upsample(self, image: int, rows: Block, columns: Block) -> Tensor:
        cells = self.cells[image, rows.cells, columns.cells]  # (m, c, K)
        wide = columns.weights @ cells  # (m, C, K)
        high = rows.weights @ wide.flatten(1)  # (R, C K)
        return high.view(-1, cells.shape[-1])


def total_loss(logits: Tensor, upsampling: Upsampling, measure: Callable[[LogitGrid], Tensor]) -> Tensor:
    """Return the scalar that `measure` computes, as a function of the logits (B, K, h, w) for autograd.

    `measure` visits tiles and returns the loss; the looks at the tiles give its gradient. It computes in float32
    (float64 for such logits), under autocast too.
    """
    with_gradient = logits.requires_grad and torch.is_grad_enabled()
    return _MeasuredLoss.apply(logits, upsampling, measure, with_gradient)


def computing_dtype(logits: Tensor) -> torch.dtype:
    """Return the dtype that a loss is computed in: float32, or float64 where the logits are."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


class _MeasuredLoss(torch.autograd.Function):
    """A loss whose gradient is known as soon as its value is."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, upsampling: Upsampling, measure: Callable[[LogitGrid], Tensor], with_gradient: bool
    ) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            grid = LogitGrid(logits, upsampling, with_gradient=with_gradient)
            total = measure(grid).to(grid.cells.dtype)
        if grid.gradient is not None:
            ctx.dtype = logits.dtype
            ctx.save_for_backward(grid.gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * factor).permute(0, 3, 1, 2).to(ctx.dtype), None, None, None


def _bilinear_matrix(cells: int, length: int, dtype: torch.dtype) -> Tensor:
    # What `interpolate` makes of each unit vector; so the weights are torch's own in either precision.
    units = torch.eye(cells, dtype=dtype)[None, :, :, None]
    return interpolate(units, size=(length, 1), mode="bilinear", align_corners=False)[0, :, :, 0].T


def _tile_size(cells: Tensor) -> tuple[int, int]:
    on_cpu = cells.device.type == "cpu"
    side = TILE_SIDE_FEW if cells.shape[-1] < 2 * FEW_CLASSES else TILE_SIDE
    columns = side if on_cpu else 8 * side
    pixels = (TILE_FLOATS if on_cpu else TILE_FLOATS_GPU) // cells.shape[-1]
    return min(max(pixels // columns, 8), columns), columns


def _blocks(matrix: Tensor, length: int, device: torch.device) -> list[Block]:
    """Return the pixels of an axis, `length` at a time."""
    blocks = []
    for start in range(0, len(matrix), length):
        weights = matrix[start : start + length]
        used = weights.any(dim=0).nonzero()[:, 0].tolist() or [0]
        cells = slice(used[0], used[-1] + 1)
        pixels = slice(start, start + len(weights))
        blocks.append(Block(pixels, cells, weights[:, cells].to(device).contiguous()))
    return blocks


def _band_cells(band: list[Block]) -> slice:
    return slice(min(block.cells.start for block in band), max(block.cells.stop for block in band))


def _spread(of_pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the (m, c, K) gradient of the cells from that of the pixels, (P, K)."""
    narrow = rows.T @ of_pixels.reshape(len(rows), -1)  # (m, C K)
    return columns.T @ narrow.view(-1, len(columns), of_pixels.shape[-1])


def _in_threads(work: Callable[[T], R], pieces: Sequence[T], device: torch.device) -> Iterator[R]:
    """Yield the results in order.

    A tile is little work for torch's own threads: they would wait for each other after each operation, for long where
    the loader's processes need the cores too. So each piece is one thread's.
    """
    threads = min(torch.get_num_threads(), len(pieces))
    if device.type != "cpu" or threads == 1:
        yield from map(work, pieces)
        return
    is_inference = torch.is_inference_mode_enabled()  # like most of torch's modes, it is a thread's own

    def work_alone(piece: T) -> R:
        with torch.inference_mode(is_inference), torch.set_grad_enabled(False):
            return work(piece)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work_alone, pieces)
    finally:
        torch.set_num_threads(before)  # It is each thread's own, but also what new threads begin with.
