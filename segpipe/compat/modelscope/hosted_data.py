"""ModelScope's `MsDataset`: data sets by their names there, on this disk or fetched from ModelScope."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segpipe.data import DATASETS, SegmentationDataset, existing_folder, load_dataset, modelscope_data
from segpipe.errors import DownloadError, InputError, ModelNotFoundError, OfflineError
from segpipe.hub import read_settings
from segpipe.log import get_logger

from .constants import DEFAULT_DATASET_NAMESPACE, DEFAULT_DATASET_REVISION, DownloadMode, UnknownMemberError
from .downloads import without_ignored

logger = get_logger(__name__)

WITHOUT_EFFECT = frozenset(
    {
        "cache_dir",
        "custom_cfg",
        "data_files",
        "dataset_info_only",
        "features",
        "hub",
        "stream_batch_size",
        "subset_name",
        "target",
        "token",
        "trust_remote_code",
        "use_streaming",
    }
)
"""Arguments with which ModelScope caches data and makes tables of it."""
_PLACES = frozenset({"data_dir", "download_mode", "root", "version"})
"""Arguments that say where the data is."""
_DEPTH = 3
"""Levels of folders in which a data set is looked for."""
_KINDS = (
    (r"coco.?stuff(?!.?10k)", "coco-stuff164k"),
    (r"ade.?20k|ade.?challenge", "ade20k"),
    (r"cityscapes", "cityscapes"),
    (r"camvid", "camvid"),
    (r"pascal.?context|voc.*context", "pascal-context"),
    (r"voc", "pascal-voc"),
)
"""A part of a data set's name, and the kind whose layout it has; the first that fits counts."""


@dataclass(frozen=True, eq=False)
class MsDataset:
    """A data set by the name that a ModelScope script gives it, opened when a trainer needs it.

        train = MsDataset.load("coco_stuff164k", namespace="damo", split="train")
        build_trainer(Trainers.easycv, dict(model=…, train_dataset=train, …))

    The data is looked for in this order: in `data_dir`, in a folder of the data set's name, in `SEGPIPE_DATA/<name>`,
    in the cache, on ModelScope. How it lies there follows from the name: small_coco_stuff164k is COCO-Stuff.

    Attributes:
        name: coco_stuff164k, damo/coco_stuff164k and the like, or a folder.
        split: train or validation. If None, train.
        namespace: owner on ModelScope.
        options: everything else that was passed to `load`.
    """

    name: str
    split: str | None = None
    namespace: str = DEFAULT_DATASET_NAMESPACE
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        dataset_name: str,
        namespace: str = DEFAULT_DATASET_NAMESPACE,
        split: str | None = None,
        **options: Any,
    ) -> MsDataset:
        """Name a data set. Nothing is read or fetched until it is opened, or a trainer asks for it.

        Args:
            dataset_name: a name, with or without its owner, or a folder.
            namespace: owner, where the name does not have one.
            split: train or validation; `[split]` gives another one. If None, train.
            options: `data_dir` is the folder that holds the data, `version` the revision on ModelScope, `download_mode`
                may ask to fetch it again. ModelScope's others have no effect; the rest goes to `load_dataset`.
        """
        if not isinstance(dataset_name, str) or not dataset_name:
            raise InputError(f"dataset_name is {dataset_name!r}; give the name of a data set or a folder.")
        return cls(dataset_name, split, namespace, options)

    def open(self) -> SegmentationDataset:
        """Return the data set itself, fetched if need be.

        Raises:
            DownloadError: it is not on this disk, and ModelScope does not give it.
            InputError: the folder does not hold a data set that segpipe knows, or not the split.
        """
        kept = without_ignored("MsDataset", self.options, WITHOUT_EFFECT)
        options = {name: value for name, value in kept.items() if name not in _PLACES}
        return _open_below(self._folder(), self._kind(), self.split or "train", options)

    def to_torch_dataset(self, *_: Any, **__: Any) -> SegmentationDataset:
        """Return the data set itself, which torch's loaders take. ModelScope's arguments have no effect."""
        return self.open()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"MsDataset has no attribute {name!r}")
        raise UnknownMemberError(
            f"segpipe's MsDataset has no {name!r}. open() gives the data set, whose samples have an image and a label."
        )

    def __len__(self) -> int:
        return len(_opened(self))

    def __getitem__(self, key: int | str) -> Any:
        """Return a sample, or, by the name of a split, the same data set with another split."""
        return replace(self, split=key) if isinstance(key, str) else _opened(self)[key]

    def __iter__(self) -> Iterator[Any]:
        dataset = _opened(self)
        return (dataset[index] for index in range(len(dataset)))

    def _kind(self) -> str:
        """Return the registered data set whose files lie as this one's; `folder` where the name says nothing."""
        if self.name in DATASETS:
            return self.name
        bare = self.name.rpartition("/")[2].lower().replace("_", "-")
        kind = next((kind for pattern, kind in _KINDS if re.search(pattern, bare)), bare)
        if kind in DATASETS and kind != bare:
            logger.info("%s is read as %s", self.name, kind)
        return kind if kind in DATASETS else "folder"

    def _folder(self) -> Path:
        """Return the folder of the data set on this disk, fetched if it is not there."""
        stated = self.options.get("root") or self.options.get("data_dir")
        if stated is not None or os.path.isdir(self.name):
            return existing_folder(stated or self.name)
        owner, _, bare = self.name.rpartition("/")
        hosted = f"{owner or self.namespace}/{bare}"
        data = read_settings().data
        if data is not None:
            places = [data / name for name in (hosted, self.name, bare, bare.replace("_", "-"))]
            found = next((place for place in places if os.path.isdir(place)), None)
            if found is not None:
                return found
        is_refreshed = self.options.get("download_mode") == DownloadMode.FORCE_REDOWNLOAD
        revision = self.options.get("version") or DEFAULT_DATASET_REVISION
        try:
            return modelscope_data(hosted, revision, refresh=is_refreshed)
        except DownloadError as error:
            kinds = (OfflineError, ModelNotFoundError)
            kind = next((kind for kind in kinds if isinstance(error, kind)), DownloadError)
            looked = f"{data} has no folder {bare} either" if data else f"Or put it into SEGPIPE_DATA/{bare}"
            raise kind(f"{error} {looked}; data_dir=… says where else it lies.") from None


@functools.lru_cache(maxsize=8)
def _opened(dataset: MsDataset) -> SegmentationDataset:
    return dataset.open()


def _open_below(root: Path, kind: str, split: str, options: Mapping[str, Any]) -> SegmentationDataset:
    """Open the data set in a folder, or in the first folder below it that holds one.

    If none of that kind is there, plain folders of images and labels are tried. The first error is raised.
    """
    errors: list[InputError] = []
    for tried, folder in ((tried, folder) for tried in dict.fromkeys((kind, "folder")) for folder in _folders(root)):
        try:
            dataset = load_dataset(tried, folder, split, **options)
        except InputError as error:
            errors.append(error)
            continue
        if folder != root or tried != kind:
            logger.info("%s: the data set is in %s, of the kind %s", root, folder, tried)
        return dataset
    raise errors[0]


def _folders(root: Path) -> Iterator[Path]:
    """Yield a folder and those below it, level by level, without hidden ones."""
    level = [root]
    for _ in range(_DEPTH):
        yield from level
        level = [
            child
            for folder in level
            for child in sorted(folder.iterdir())
            if os.path.isdir(child) and not child.name.startswith((".", "__"))
        ]
