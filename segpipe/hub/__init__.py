"""Models by name: finding, downloading, caching, verifying and publishing model folders. Bytes, never tensors."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .bodies import body_length as body_length
    from .cache import Cache as Cache, CachedModel as CachedModel, Checked as Checked, Pruned as Pruned
    from .card import card_text as card_text, place_in_card as place_in_card
    from .catalogue import (
        BUNDLED_MODEL as BUNDLED_MODEL,
        folder_bytes as folder_bytes,
        has_weights as has_weights,
        is_bundled as is_bundled,
        is_preset as is_preset,
        locate_weights as locate_weights,
    )
    from .client import BUNDLED as BUNDLED, Hub as Hub, publish as publish
    from .fetching import Fetcher as Fetcher
    from .folder import ModelFolder as ModelFolder, is_model_folder as is_model_folder
    from .manifest import (
        FileEntry as FileEntry,
        Manifest as Manifest,
        Problem as Problem,
        build_manifest as build_manifest,
        check_folder as check_folder,
        find_problems as find_problems,
        parse_manifest as parse_manifest,
        read_manifest as read_manifest,
        sha256_of as sha256_of,
        timestamp as timestamp,
        write_manifest as write_manifest,
    )
    from .modelscope import (
        ModelScopeDataSource as ModelScopeDataSource,
        modelscope_credentials as modelscope_credentials,
    )
    from .parts import Part as Part
    from .paths import (
        check_relative_path as check_relative_path,
        check_relative_paths as check_relative_paths,
        file_key as file_key,
    )
    from .progress import Progress as Progress
    from .references import check_model_name as check_model_name, check_revision as check_revision
    from .retries import Limits as Limits
    from .run_folders import (
        RUN_BEST as RUN_BEST,
        RUN_CHECKPOINTS as RUN_CHECKPOINTS,
        RUN_LOG as RUN_LOG,
        RUN_MODEL as RUN_MODEL,
        last_weights as last_weights,
        trained_model as trained_model,
    )
    from .sealing import seal_folder as seal_folder
    from .settings import (
        VARIABLES as VARIABLES,
        Settings as Settings,
        describe_variables as describe_variables,
        read_settings as read_settings,
    )
    from .shards import is_index as is_index, read_index as read_index, weight_files as weight_files
    from .shelf import Shelf as Shelf, touch as touch
    from .snapshots import fetch_all as fetch_all
    from .sources import RemoteFile as RemoteFile, Source as Source
    from .transport import Transport as Transport, fetch_bytes as fetch_bytes

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "bodies": "body_length",
        "cache": "Cache CachedModel Checked Pruned",
        "card": "card_text place_in_card",
        "catalogue": ("BUNDLED_MODEL folder_bytes has_weights is_bundled is_preset locate_weights"),
        "client": "BUNDLED Hub publish",
        "fetching": "Fetcher",
        "folder": "ModelFolder is_model_folder",
        "manifest": (
            "FileEntry Manifest Problem build_manifest check_folder find_problems parse_manifest read_manifest "
            "sha256_of timestamp write_manifest"
        ),
        "modelscope": "ModelScopeDataSource modelscope_credentials",
        "parts": "Part",
        "paths": "check_relative_path check_relative_paths file_key",
        "progress": "Progress",
        "references": "check_model_name check_revision",
        "retries": "Limits",
        "run_folders": "RUN_BEST RUN_CHECKPOINTS RUN_LOG RUN_MODEL last_weights trained_model",
        "sealing": "seal_folder",
        "settings": "VARIABLES Settings describe_variables read_settings",
        "shards": "is_index read_index weight_files",
        "shelf": "Shelf touch",
        "snapshots": "fetch_all",
        "sources": "RemoteFile Source",
        "transport": "Transport fetch_bytes",
    },
)
