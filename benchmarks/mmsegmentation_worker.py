"""mmsegmentation in a process of its own, perhaps with another Python: says what it computes when it is asked.

Reads lines from its input and answers each with one: `run N` segments picture N and answers `done`; `label N FILE`
saves its label map. Imports nothing of segpipe.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np

WHY = (
    "mmsegmentation cannot be imported: {error}. It needs a Python with mmsegmentation, mmengine and mmcv; "
    "benchmarks/README.md says how to make one."
)


def main() -> None:
    """Load everything, say `ready`, answer until the input ends."""
    parser = argparse.ArgumentParser(description="Segments pictures with mmsegmentation when it is asked.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, help="folder of .npy files (H, W, 3) uint8 RGB")
    parser.add_argument("num_classes", type=int)
    parser.add_argument("threads", type=int)
    parser.add_argument("--short", type=int, default=512, help="short side that pictures are resized to")
    parser.add_argument("--eps", type=float, default=1e-6, help="of LayerNorm")
    arguments = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # the libraries print
    try:
        settings = document(arguments.num_classes, short=arguments.short, eps=arguments.eps)
        segment = load(arguments.checkpoint, settings, arguments.threads)
    except ImportError as error:
        raise SystemExit(WHY.format(error=error)) from None
    pictures = [np.load(path)[..., ::-1].copy() for path in sorted(arguments.pictures.glob("*.npy"))]
    _say(answers, "ready")
    for line in sys.stdin:
        command, number, *file = line.split(maxsplit=2)
        labels = segment(pictures[int(number)])
        if command == "label":
            np.save(file[0].strip(), labels)
        _say(answers, "done")


def load(checkpoint: Path, settings: dict[str, Any], threads: int) -> Any:
    """A function: (H, W, 3) uint8 BGR → (H, W) label map, by that library's `inference_model`."""
    import torch

    warnings.filterwarnings("ignore")
    from mmengine import Config
    from mmseg.apis import inference_model, init_model

    torch.set_num_threads(threads)
    model = init_model(Config(settings), str(checkpoint), device="cpu")
    return lambda picture: inference_model(model, picture).pred_sem_seg.data[0].numpy()


def document(num_classes: int, *, short: int, eps: float) -> dict[str, Any]:
    """That library's own configuration of SegFormer-B0, its short side resized as its test pipelines do."""
    return {
        "model": {
            "type": "EncoderDecoder",
            "data_preprocessor": {
                "type": "SegDataPreProcessor",
                "mean": [123.675, 116.28, 103.53],
                "std": [58.395, 57.12, 57.375],
                "bgr_to_rgb": True,
            },
            "backbone": {
                "type": "MixVisionTransformer",
                "in_channels": 3,
                "embed_dims": 32,
                "num_stages": 4,
                "num_layers": [2, 2, 2, 2],
                "num_heads": [1, 2, 5, 8],
                "patch_sizes": [7, 3, 3, 3],
                "sr_ratios": [8, 4, 2, 1],
                "out_indices": (0, 1, 2, 3),
                "mlp_ratio": 4,
                "qkv_bias": True,
                "norm_cfg": {"type": "LN", "eps": eps},
            },
            "decode_head": {
                "type": "SegformerHead",
                "in_channels": [32, 64, 160, 256],
                "in_index": [0, 1, 2, 3],
                "channels": 256,
                "num_classes": num_classes,
                "norm_cfg": {"type": "BN"},
                "align_corners": False,
            },
            "test_cfg": {"mode": "whole"},
        },
        "test_pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "Resize", "scale": (2048, short), "keep_ratio": True},
            {"type": "PackSegInputs"},
        ],
    }


def _say(answers: TextIO, word: str) -> None:
    answers.write(word + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
