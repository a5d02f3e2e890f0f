"""Pixels in, samples out: pictures, labels, data sets and what is done to them before a network sees them."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .arrays import ChannelOrder as ChannelOrder
    from .boundaries import ANGLE as ANGLE, DISTANCE as DISTANCE
    from .datasets.boundary_files import with_boundaries as with_boundaries
    from .datasets.classification import ClassificationDataset as ClassificationDataset
    from .datasets.combining import concat as concat, repeat as repeat, subset_classes as subset_classes
    from .datasets.dataset import (
        Pair as Pair,
        SegmentationDataset as SegmentationDataset,
        require_dataset as require_dataset,
    )
    from .datasets.holding_out import check_share as check_share, hold_out as hold_out
    from .datasets.loading import (
        DATASETS as DATASETS,
        all_options as all_options,
        has_own_split as has_own_split,
        load_configured as load_configured,
        load_dataset as load_dataset,
    )
    from .datasets.places import existing_folder as existing_folder
    from .eight_bits import BitDepth as BitDepth
    from .findings import TITLES as TITLES, FindingGroup as FindingGroup, Report as Report
    from .label_files import read_label as read_label
    from .labels import dataset_labels as dataset_labels, encode_label as encode_label
    from .linter import look_at as look_at
    from .loader import Loader as Loader, build_loader as build_loader
    from .order import Key as Key, sample_rng as sample_rng
    from .preparing.hosted import modelscope_data as modelscope_data
    from .preparing.plans import Prepared as Prepared
    from .preparing.preparation import download_dataset as download_dataset, prepare_dataset as prepare_dataset
    from .reading import Alpha as Alpha, Reading as Reading
    from .rle import decode_mask as decode_mask, encode_label_map as encode_label_map
    from .sample import Batch as Batch, Sample as Sample, collate as collate
    from .sources import (
        LONGEST_PATH as LONGEST_PATH,
        Source as Source,
        describe_source as describe_source,
        is_many as is_many,
        iterate_sources as iterate_sources,
        parse_source as parse_source,
        read_source as read_source,
    )
    from .split_checks import check_splits as check_splits
    from .transforms.building import build_transforms as build_transforms

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "arrays": "ChannelOrder",
        "boundaries": "ANGLE DISTANCE",
        "datasets.boundary_files": "with_boundaries",
        "datasets.classification": "ClassificationDataset",
        "datasets.combining": "concat repeat subset_classes",
        "datasets.dataset": "Pair SegmentationDataset require_dataset",
        "datasets.holding_out": "check_share hold_out",
        "datasets.loading": "DATASETS all_options has_own_split load_configured load_dataset",
        "datasets.places": "existing_folder",
        "eight_bits": "BitDepth",
        "findings": "TITLES FindingGroup Report",
        "label_files": "read_label",
        "labels": "dataset_labels encode_label",
        "linter": "look_at",
        "loader": "Loader build_loader",
        "order": "Key sample_rng",
        "preparing.hosted": "modelscope_data",
        "preparing.plans": "Prepared",
        "preparing.preparation": "download_dataset prepare_dataset",
        "reading": "Alpha Reading",
        "rle": "decode_mask encode_label_map",
        "sample": "Batch Sample collate",
        "sources": "LONGEST_PATH Source describe_source is_many iterate_sources parse_source read_source",
        "split_checks": "check_splits",
        "transforms.building": "build_transforms",
    },
)
