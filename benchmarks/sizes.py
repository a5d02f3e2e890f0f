"""What padding to a multiple of 32 is worth at sizes that are none: mIoU on CamVid, beside other libraries' code.

    python -m benchmarks.sizes --data path/to/CamVid --mmsegmentation-python PATH

from the top of a checkout. docs/sizes.md has the figures and explains them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .mmsegmentation import Mmsegmentation
from .runs import tell

if TYPE_CHECKING:
    from segpipe.configuration import Configuration

CLASSES = 11
VOID = 11
Segment = Callable[[int, np.ndarray], np.ndarray]
"""The number of an image and its (H, W, 3) RGB pixels → (H, W) label map."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each model at each size with each library, and print one line of JSON for each."""
    options = parse_arguments(arguments)
    from .contestants import use_threads

    use_threads(options.threads)
    images, labels = read_camvid(options.data, options.count)
    with tempfile.TemporaryDirectory() as folder:
        for model in options.model:
            for short in options.short:
                home = Path(folder) / f"{Path(model).name}-{short}"
                for who, segment in contestants(model, short, images, home, options):
                    tell(f"{model}, short side {short}: {who}")
                    miou = 100 * measure(segment, images, labels)
                    row = {"model": Path(model).name, "short": short, "who": who, "miou": round(miou, 2)}
                    print(json.dumps({**row, "images": len(images)}), flush=True)
    return 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description="mIoU at sizes, padded and not.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="CamVid, as segpipe prepares it")
    parser.add_argument("--model", nargs="+", default=["segformer-b0-camvid"], help="names or folders")
    parser.add_argument("--short", nargs="+", type=int, default=[360, 353, 384, 400], help="short sides in pixels")
    parser.add_argument("--who", nargs="+", default=["segpipe"], choices=("segpipe", "transformers", "mmsegmentation"))
    parser.add_argument("--mmsegmentation-python", metavar="PATH", help="a Python that has it; adds it to --who")
    parser.add_argument("--count", type=int, help="the first so many images of val; default: all 101")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.mmsegmentation_python is not None and "mmsegmentation" not in options.who:
        options.who.append("mmsegmentation")
    return options


def read_camvid(root: Path, count: int | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """RGB images and labels of the validation split, by name."""
    from PIL import Image

    paths = sorted((root / "images" / "val").iterdir())[:count]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    labels = [np.asarray(Image.open(root / "labels" / "val" / f"{path.stem}.png")) for path in paths]
    return images, labels


def contestants(
    model: str, short: int, images: Sequence[np.ndarray], home: Path, options: argparse.Namespace
) -> Iterator[tuple[str, Segment]]:
    """Each library with the model's weights, its images resized to a short side."""
    home.mkdir(parents=True)
    if "segpipe" in options.who:
        for multiple in (1, 32):
            yield f"segpipe, multiple {multiple}", segpipe_at(model, short, multiple)
    if "transformers" in options.who:
        yield "transformers", transformers_at(model, short, home)
    if "mmsegmentation" in options.who:
        python = options.mmsegmentation_python
        with mmsegmentation_at(model, short, images, home, python, options.threads) as theirs:
            yield "mmsegmentation", lambda number, pixels: theirs.label_map(number)


def measure(segment: Segment, images: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """Mean IoU over the classes, of counts that are summed over all images."""
    from segpipe.evaluation import ConfusionMatrix

    matrix = ConfusionMatrix(num_classes=CLASSES, ignore_index=VOID)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        matrix.update(prediction=segment(number, pixels), label=label)
    return float(matrix.scores().miou)


def segpipe_at(model: str, short: int, multiple: int) -> Segment:
    """Our pipeline."""
    from segpipe import pipeline

    segment = pipeline("image-segmentation", model, overrides=[*_resize(short), f"model.size_multiple={multiple}"])
    return lambda number, pixels: segment(pixels).label_map


def transformers_at(model: str, short: int, home: Path) -> Segment:
    """That library's network on images resized by Pillow, and its way from logits to the image's size."""
    import torch
    from transformers import SegformerForSemanticSegmentation

    from segpipe.checkpoints import convert_back
    from segpipe.inference import resize_image

    folder = convert_back(model, home / "hf", dialect="huggingface")
    network = SegformerForSemanticSegmentation.from_pretrained(folder).float().eval()
    configuration = _configuration(model, short)
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (configuration.model.pixel_mean, configuration.model.pixel_std)
    )

    @torch.inference_mode()
    def segment(number: int, pixels: np.ndarray) -> np.ndarray:
        resized = torch.tensor(resize_image(pixels, configuration.preprocessor)).permute(2, 0, 1)
        logits = network((resized.float() - mean)[None] / std).logits
        whole = torch.nn.functional.interpolate(logits, size=pixels.shape[:2], mode="bilinear", align_corners=False)
        return whole[0].argmax(dim=0).numpy()

    return segment


def mmsegmentation_at(
    model: str, short: int, images: Sequence[np.ndarray], home: Path, python: str, threads: int
) -> Mmsegmentation:
    """That library's process, the all-MLP head written as one of its own that computes the same.

    It resizes with OpenCV, which interpolates as Pillow does where an image grows.
    """
    import torch
    from msgspec.structs import replace
    from PIL import Image

    from segpipe import load_model
    from segpipe.checkpoints import write_dialect
    from segpipe.models import build_model

    from .networks import as_conv_head

    network = load_model(model).train().eval()  # training undoes the folding
    tensors = as_conv_head({name: tensor.detach().float() for name, tensor in network.state_dict().items()})
    head = replace(network.config.head, type="conv")  # type: ignore[attr-defined]
    state = build_model(replace(network.config, head=head)).state_dict()  # type: ignore[type-var]
    filled = {name: tensors.get(name, value).reshape(value.shape) for name, value in state.items()}
    meta = {"dataset_meta": {"classes": [str(index) for index in range(CLASSES)], "palette": [[0, 0, 0]] * CLASSES}}
    torch.save({"state_dict": write_dialect(filled, "mmseg"), "meta": meta}, home / "mmseg.pth")
    eps = network.config.encoder.norm_eps.block  # type: ignore[attr-defined]
    arguments = [home / "mmseg.pth", home / "images", CLASSES, threads, "--short", short, "--eps", eps]
    return Mmsegmentation(python, [Image.fromarray(pixels) for pixels in images], home / "images", arguments)


def _configuration(model: str, short: int) -> Configuration:
    from segpipe.checkpoints import open_folder
    from segpipe.configuration import override

    return override(open_folder(model).configuration, _resize(short))


def _resize(short: int) -> list[str]:
    resize: dict[str, Any] = {"mode": "short_side", "size": short, "library": "pillow"}
    return [f"preprocessor.resize={json.dumps(resize)}"]


if __name__ == "__main__":
    raise SystemExit(main())
