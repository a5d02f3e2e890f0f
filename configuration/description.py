"""A configuration in words: what it does to an image, and the scores that were measured so."""

from __future__ import annotations

from .schema import Configuration, CropResize, ExactResize, InferenceConfig, PublishedScores, ShortSideResize

_SMALLER = {"keep": "", "pad": ", smaller images padded", "enlarge": ", smaller images enlarged"}


def describe_preprocessing(configuration: Configuration) -> str:
    """Say how an image is resized, and padded where that changes its size."""
    multiple = configuration.model.size_multiple
    padding = f", padded with zeros to a multiple of {multiple}" if multiple > 1 else ""
    return f"{_describe_resize(configuration)}{padding}"


def describe_inference(inference: InferenceConfig) -> str:
    """Say how a network sees an image, and how its logits become a label map."""
    text = "the whole image at once"
    if inference.mode == "slide" and inference.window and inference.stride:
        (height, width), (down, right) = inference.window, inference.stride
        step = f"{down}" if down == right else f"{down} × {right}"
        text = f"windows of {height} × {width}, step {step}{_SMALLER[inference.small_picture]}"
    scales = f", scales {_join(inference.scales)}" if inference.scales != (1.0,) else ""
    return f"{text}{scales}{', also mirrored' if inference.flip else ''}, {inference.upsampling} upsampling"


def describe_scores(scores: PublishedScores) -> str:
    """Say what the figures are, and whether they were measured as the configuration says that has them."""
    own = [("mIoU", scores.miou), ("pixel accuracy", scores.pixel_accuracy)]
    figures = [f"{name} {figure:.1f} %" for name, figure in own if figure is not None]
    if scores.miou_multiscale is not None:
        settings = describe_multiscale(scores.multiscale) if scores.multiscale else "several scales and mirrored views"
        figures.append(f"mIoU {scores.miou_multiscale:.1f} % with {settings}")
    said = f"On {scores.dataset}: {', '.join(figures)}" if figures else ""
    if said and scores.reported_by:
        said += f"; by the preprocessing and inference above, as reported by {scores.reported_by}"
    return " ".join(part for part in (f"{said}." if said else "", scores.how or "") if part)


def describe_multiscale(scales: tuple[float, ...]) -> str:
    """Return the settings of a score that was measured with several scales and mirrored views."""
    return f"inference.scales=[{_join(scales)}] and inference.flip=true"


def _describe_resize(configuration: Configuration) -> str:
    match configuration.preprocessor.resize:
        case ShortSideResize(size=size, max_long_side=longest, multiple=multiple, library=library):
            limit = f", long side at most {longest}" if longest else ""
            aligned = f", then each side up to a multiple of {multiple}" if multiple else ""
            return f"short side to {size} pixels{limit}{aligned} ({library})"
        case ExactResize(size=(height, width), library=library):
            return f"resized to {height} × {width} ({library})"
        case CropResize(size=size, crop=(height, width)):
            return f"short side to {size} pixels, the middle {height} × {width} of it (pillow)"
    return "none, images keep their size"


def _join(scales: tuple[float, ...]) -> str:
    return ",".join(f"{scale:g}" for scale in scales)
