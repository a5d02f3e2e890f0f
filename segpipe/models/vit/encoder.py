"""Vision Transformer (Dosovitskiy et al. 2021) and DeiT (Touvron et al. 2021), as the encoder of dense predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe.errors import ConfigurationError, InputError, WeightMismatchError
from segpipe.log import get_logger

from ..base import AttentionMap, NetworkStage, SegpipeNetwork
from ..layers import Blocks, DropPath, initialize_linear
from .config import VitConfig, VitShape

logger = get_logger(__name__)
Grid = tuple[int, int]
"""Patches along (height, width)."""
Resampling = Literal["bilinear", "bicubic"]
CACHED_GRIDS = 4


@dataclass(frozen=True)
class BlockConfig:
    """The settings that the blocks of one transformer share."""

    dim: int
    heads: int
    mlp_ratio: int
    dropout: float
    eps: float


class VitTrunk(nn.Module):
    """Patches and extra tokens through the blocks, without a norm at the end.

    Args:
        shape: channels, depth and heads.
        config: patch and image size, extra tokens, rates, eps.
    """

    # How the positions of an ImageNet checkpoint come to the grid; at run time it is bilinear.
    resampling: ClassVar[Resampling] = "bilinear"
    distillation_token: nn.Parameter | None

    def __init__(self, shape: VitShape, config: VitConfig) -> None:
        super().__init__()
        self.shape = shape
        self.patch_size = config.patch_size
        self.embed = nn.Conv2d(3, shape.dim, config.patch_size, config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, shape.dim))
        distillation_token = nn.Parameter(torch.zeros(1, 1, shape.dim)) if config.distilled else None
        self.register_parameter("distillation_token", distillation_token)
        self.positions = PositionTable(table_grid(config), len(self.extra_tokens), shape.dim)
        self.dropout = nn.Dropout(config.dropout)
        block = BlockConfig(shape.dim, shape.heads, config.mlp_ratio, config.dropout, config.norm_eps)
        self.blocks = transformer_blocks(block, shape.depth, config.drop_path_rate)
        self.apply(initialize_linear)
        for token in self.extra_tokens:
            nn.init.trunc_normal_(token, std=0.02)

    @property
    def extra_tokens(self) -> list[Tensor]:
        """The class token and, where there is one, the distillation token; each (1, 1, D)."""
        return [token for token in (self.class_token, self.distillation_token) if token is not None]

    def grid_of(self, images: Tensor) -> Grid:
        """Return the patches along height and width of (B, 3, H, W) images, whose sides are multiples of the patch."""
        return images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size

    def tokens(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized → (B, E + N, D) before the blocks: extra tokens, then patches row by row."""
        patches = self.embed(images).permute(0, 2, 3, 1).flatten(1, 2)  # (B, N, D)
        extra = [token.expand(images.shape[0], -1, -1) for token in self.extra_tokens]
        return self.dropout(torch.cat([*extra, patches], dim=1) + self.positions(self.grid_of(images)))

    def split(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """(B, E + N, D) → extra tokens (B, E, D) and the patches' map (B, h, w, D)."""
        extra = len(self.extra_tokens)
        return tokens[:, :extra], tokens[:, extra:].unflatten(1, grid)

    def features(self, images: Tensor, after: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the patches after some of the blocks, counted from 1.

        Args:
            images: (B, 3, H, W), normalized.
            after: ascending numbers of blocks.

        Returns:
            (B, h, w, D) maps, one for each number.
        """
        tokens, maps, done = self.tokens(images), [], 0
        for number in after:
            tokens, done = _part(self.blocks, done, number)(tokens), number
            maps.append(self.split(tokens, self.grid_of(images))[1])
        return tuple(maps)

    def attention(self, images: Tensor, layer: int) -> AttentionMap:
        """Return the attention of a block, counted from 0, for normalized images (B, 3, H, W)."""
        grid, weights = self.grid_of(images), attention_weights(self.blocks, self.tokens(images), layer)
        return AttentionMap(weights, grid, grid, extra=len(self.extra_tokens))

    def adapt_tensors(
        self, tensors: dict[str, Tensor], *, mode: Resampling | None = None, origin: str
    ) -> dict[str, Tensor]:
        """Return another Vision Transformer's tensors with positions for this grid, and no last norm if this has none.

        Args:
            tensors: in this module's names.
            mode: how positions are resized. If None, by `resampling`.
            origin: what messages call the file.

        Raises:
            WeightMismatchError: its patches are not a square, nor those of this grid.
        """
        if not hasattr(self, "norm"):
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith("norm.")}
        table, grid, mode = tensors.get("positions.weight"), self.positions.grid, mode or self.resampling
        if table is None:
            return tensors
        patches = table.shape[1] - 1 - ("distillation_token" in tensors)
        side = math.isqrt(max(patches, 0))
        if side * side != patches and patches != grid[0] * grid[1]:
            raise WeightMismatchError(
                f"{origin} has positions for {patches} patches, which is not a square, and the network has some for "
                f"{grid[0]} × {grid[1]}. Set model.encoder.image_size to the size that the file was trained with."
            )
        if side * side != patches or (side, side) == grid:
            return tensors
        logger.info("Positions of %s are resized from %d × %d to %d × %d patches, %s", origin, side, side, *grid, mode)
        return {**tensors, "positions.weight": resize_positions(table, (side, side), grid, mode=mode)}


class VisionTransformer(VitTrunk):
    """The whole encoder, with its LayerNorm at the end."""

    def __init__(self, shape: VitShape, config: VitConfig) -> None:
        super().__init__(shape, config)
        self.norm = nn.LayerNorm(shape.dim, eps=config.norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized → (B, h, w, D) of the patches alone."""
        _, patches = self.split(self.blocks(self.tokens(images)), self.grid_of(images))
        return self.norm(patches)


class PositionTable(nn.Module):
    """Learned positions of extra tokens and patches, resized to the grid of the image at hand.

    Bilinear without corner alignment. Where no gradient is asked for, the last few sizes are kept,
    until `train()`, a move to another device or type, or new values.

    Args:
        grid: patches along (height, width) that the table has.
        extra: tokens before the patches, whose positions stay as they are.
        dim: channels D.
    """

    def __init__(self, grid: Grid, extra: int, dim: int) -> None:
        super().__init__()
        self.grid, self.extra = grid, extra
        self.weight = nn.Parameter(torch.empty(1, extra + grid[0] * grid[1], dim))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self._resized: dict[tuple[int, Grid], Tensor] = {}
        self.register_load_state_dict_pre_hook(_forget_resized)

    def forward(self, grid: Grid) -> Tensor:
        """(1, E + N, D) for a grid."""
        if torch.compiler.is_compiling():  # for any grid: resizing to the same one changes nothing
            return resize_positions(self.weight, self.grid, grid, mode="bilinear")
        if grid == self.grid:
            return self.weight
        if self.training or torch.is_grad_enabled() or self.weight.is_inference():
            return resize_positions(self.weight, self.grid, grid, mode="bilinear")
        # The version counts changes in place, such as an average of the weights that is swapped in.
        key = self.weight._version, grid
        resized = self._resized.get(key)
        if resized is None:
            resized = resize_positions(self.weight, self.grid, grid, mode="bilinear")
            # A new dictionary each time, since several threads may share the network.
            self._resized = {**dict(list(self._resized.items())[1 - CACHED_GRIDS :]), key: resized}
        return resized

    def train(self, mode: bool = True) -> PositionTable:
        self._resized = {}
        return super().train(mode)

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        self._resized = {}
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_resized": {}}

    def extra_repr(self) -> str:
        return f"grid={self.grid}, extra={self.extra}"


class TransformerBlock(nn.Module):
    """Self-attention and MLP, each pre-normalized and residual."""

    def __init__(self, block: BlockConfig, drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(block.dim, eps=block.eps)
        self.attention = SelfAttention(block)
        self.norm2 = nn.LayerNorm(block.dim, eps=block.eps)
        self.mlp = Mlp(block)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        tokens = tokens + self.drop_path(self.attention(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class SelfAttention(nn.Module):
    """Attention of every token to every token."""

    def __init__(self, block: BlockConfig) -> None:
        super().__init__()
        self.heads = block.heads
        self.qkv = nn.Linear(block.dim, 3 * block.dim)
        self.proj = nn.Linear(block.dim, block.dim)
        self.dropout = nn.Dropout(block.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        rate = self.dropout.p if self.training else 0.0
        query, key, value = self._split(tokens)
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=rate)  # (B, M, N, D / M)
        return self.dropout(self.proj(attended.transpose(1, 2).flatten(2)))

    def weights(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, M, N, N) softmax weights; a row is a query."""
        query, key, _ = self._split(tokens)
        return torch.softmax(query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5, dim=-1)

    def _split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return query, key and value, each (B, M, N, D / M)."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))  # (B, N, 3, M, D / M)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, block: BlockConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(block.dim, block.dim * block.mlp_ratio)
        self.fc2 = nn.Linear(block.dim * block.mlp_ratio, block.dim)
        self.dropout = nn.Dropout(block.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        hidden = self.dropout(functional.gelu(self.fc1(tokens)))
        return self.dropout(self.fc2(hidden))


def table_grid(config: VitConfig) -> Grid:
    """Return the patches along (height, width) of the images that the table of positions is for."""
    height, width = (side // config.patch_size for side in config.image_size)
    if not height or not width:
        raise ConfigurationError(
            f"model.encoder.image_size: {list(config.image_size)} is smaller than one patch of "
            f"{config.patch_size} pixels. Give a larger image or a smaller patch_size."
        )
    return height, width


def transformer_blocks(block: BlockConfig, depth: int, drop_path_rate: float) -> Blocks:
    """Build blocks whose stochastic depth grows linearly from 0."""
    rates = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
    return Blocks(TransformerBlock(block, rate) for rate in rates)


def attention_weights(blocks: Blocks, tokens: Tensor, layer: int) -> Tensor:
    """Return (B, M, N, N) softmax weights of block `layer`, from 0, given (B, N, D) tokens before the first."""
    if not 0 <= layer < len(blocks):
        raise InputError(f"There is no layer {layer}: the blocks are numbered from 0 to {len(blocks) - 1}. Name one.")
    block = blocks[layer]
    assert isinstance(block, TransformerBlock)
    return block.attention.weights(block.norm1(_part(blocks, 0, layer)(tokens)))


def resize_positions(table: Tensor, old: Grid, new: Grid, *, mode: Resampling) -> Tensor:
    """Return a table of positions for another grid of patches.

    Args:
        table: (1, E + N, D), extra tokens first, then those of the old grid.
        old: patches along (height, width) of the table.
        new: those wanted.
        mode: without corner alignment and without antialiasing.

    Returns:
        (1, E + N', D), same dtype.
    """
    extra = table.shape[1] - old[0] * old[1]
    patches = table[:, extra:].unflatten(1, old).permute(0, 3, 1, 2).float()  # (1, D, h, w)
    resized = functional.interpolate(patches, new, mode=mode, align_corners=False)
    return torch.cat([table[:, :extra], resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def trunk_stages(network: SegpipeNetwork, trunk: VitTrunk) -> tuple[NetworkStage, ...]:
    """Return stages from (images,) to the last block's tokens, which travel as (B, E, D) and patches (B, h, w, D)."""

    def embed(images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pixels = network.normalise(images[0])
        return trunk.split(trunk.tokens(pixels), trunk.grid_of(pixels))

    def build_run(block: nn.Module) -> Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def run(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            extra, patches = tensors
            grid = (patches.shape[1], patches.shape[2])
            return trunk.split(block(torch.cat([extra, patches.flatten(1, 2)], dim=1)), grid)

        return run

    own = ("embed.", "class_token", "distillation_token", "positions.")
    first = NetworkStage("encoder.embed", tuple(f"encoder.{name}" for name in own), embed)
    names = (f"encoder.blocks.{index}" for index in range(len(trunk.blocks)))
    blocks = zip(names, trunk.blocks, strict=True)
    return (first, *(NetworkStage(name, (f"{name}.",), build_run(block)) for name, block in blocks))


def _forget_resized(table: PositionTable, *_: object) -> None:
    table._resized = {}


def _part(blocks: Blocks, start: int, stop: int) -> Blocks:
    """Return some of the blocks, in the mode of the whole."""
    part = Blocks(blocks[start:stop])
    part.training = blocks.training
    part.is_checkpointed = blocks.is_checkpointed
    return part
