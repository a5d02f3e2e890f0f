"""Read images and labels, open and check data sets, transform their samples and load batches of them."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .datasets.boundary_maps import DISTANCE as DISTANCE, with_boundaries as with_boundaries
    from .datasets.combining import (
        check_share as check_share,
        concat as concat,
        hold_out as hold_out,
        repeat as repeat,
        subset_classes as subset_classes,
    )
    from .datasets.dataset import (
        ClassificationDataset as ClassificationDataset,
        Pair as Pair,
        SegmentationDataset as SegmentationDataset,
        image_files as image_files,
        require_dataset as require_dataset,
    )
    from .datasets.finding_files import existing_folder as existing_folder
    from .datasets.layouts import Layout as Layout, build_from_layouts as build_from_layouts
    from .datasets.loading import (
        DATASETS as DATASETS,
        PREPARERS as PREPARERS,
        all_options as all_options,
        has_own_split as has_own_split,
        held_out_share as held_out_share,
        load_configured as load_configured,
        load_dataset as load_dataset,
    )
    from .findings import TITLES as TITLES, FindingGroup as FindingGroup, Report as Report
    from .image_options import (
        Alpha as Alpha,
        BitDepth as BitDepth,
        ChannelOrder as ChannelOrder,
        Metric as Metric,
        Reading as Reading,
    )
    from .images import read_image as read_image
    from .label_encoding import encode_label as encode_label
    from .label_files import read_label as read_label
    from .label_sets import build_label_set as build_label_set, dataset_labels as dataset_labels
    from .linting import check_dataset as check_dataset, check_splits as check_splits, look_at as look_at
    from .loader import Loader as Loader, build_loader as build_loader
    from .preparing.hosted import modelscope_data as modelscope_data
    from .preparing.plans import (
        Archive as Archive,
        FilePlan as FilePlan,
        FileTask as FileTask,
        Prepared as Prepared,
        Preparer as Preparer,
    )
    from .preparing.preparation import download_dataset as download_dataset, prepare_dataset as prepare_dataset
    from .rle import decode_mask as decode_mask, encode_label_map as encode_label_map
    from .sample import (
        ANGLE as ANGLE,
        Batch as Batch,
        LabelledSamples as LabelledSamples,
        Sample as Sample,
        collate as collate,
    )
    from .sample_order import Key as Key, sample_rng as sample_rng
    from .sources import (
        LONGEST_PATH as LONGEST_PATH,
        Source as Source,
        gather_sources as gather_sources,
        iterate_sources as iterate_sources,
        names_one_image as names_one_image,
        parse_source as parse_source,
        read_source as read_source,
    )
    from .transforms.building import build_transforms as build_transforms

__getattr__, __dir__, __all__ = lazy_names(__name__)
