"""Compile every kernel for an NVIDIA GPU on a machine without one, and print each one's name and registers.

The calls are real, with tensors on the CPU; where a kernel would start, it is compiled for what it was given.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from segpipe.inference import place_image
from segpipe.inference.label_maps.fused import fused_label_map
from segpipe.models.fast.fused_deformable import fused_sample_levels
from segpipe.models.fast.triton_probe import LENGTH, is_right
from segpipe.trainers.fused_loss import pixel_losses

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
OPTIONS = {"num_warps", "num_stages", "enable_fp_fusion"}


def compile_for_gpu(kernel: JITFunction, *arguments: Any, grid: Any, warmup: bool, **keywords: Any) -> None:
    """Takes the place of `JITFunction.run`: specialised as that does it, for ones and multiples of 16."""
    options = {name: value for name, value in keywords.items() if name in OPTIONS}
    given = dict(zip(kernel.arg_names, arguments, strict=False)) | keywords
    signature, constants, attributes = {}, {}, {}
    for parameter in kernel.params:
        value = given[parameter.name]
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
            continue
        signature[parameter.name] = TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
        if (value.data_ptr() if isinstance(value, torch.Tensor) else value) % 16 == 0:
            attributes[(parameter.num,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=TARGET, options=options)
    print(kernel.fn.__name__, *sorted(set(signature.values()) - {"constexpr"}), _usage(compiled.asm["cubin"]))


def call_everything(num_classes: int, dtype: torch.dtype, grid: tuple[int, int]) -> None:
    """Each operation once, forwards and backwards; the label map of a batch as well."""
    size = (grid[0] * 4, grid[1] * 4)
    placement = place_image(size, size, size, grid, upsampling="one-step")
    fused_label_map(torch.randn(2, *grid, num_classes, dtype=dtype), placement)
    logits = torch.randn(2, num_classes, *grid, dtype=dtype, requires_grad=True)
    pixel_losses(logits, torch.zeros((2, *size), dtype=torch.int64), placement, ignore_index=255).sum().backward()
    heads, channels, queries = 8, num_classes // 8 or 1, grid[0] * grid[1]
    leaves = [
        torch.randn(shape, requires_grad=True)
        for shape in (
            (2, queries, heads * channels),
            (queries, 2),
            (2, queries, heads, 1, 4, 2),
            (2, queries, heads, 1, 4),
        )
    ]
    fused_sample_levels(*leaves, (grid,)).sum().backward()


def main() -> None:
    """Half precision and many classes, single precision and odd sizes, and everything as small as can be."""
    JITFunction.run = compile_for_gpu
    is_right(torch.zeros(LENGTH))
    call_everything(172, torch.float16, (32, 32))
    if "--all" in sys.argv:
        call_everything(19, torch.float32, (33, 47))
        call_everything(300, torch.bfloat16, (1, 1))


def _usage(cubin: bytes) -> str:
    """Registers, stack and shared memory of a kernel."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.is_file():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        text = subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=False).stdout
    return " ".join(re.findall(r"(?:REG|STACK|SHARED):\d+", text))


if __name__ == "__main__":
    main()
