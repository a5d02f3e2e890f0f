"""Models by name: finding, downloading, caching, verifying and publishing model folders. Bytes, never tensors."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .cache import (
        Cache as Cache,
        CachedModel as CachedModel,
        Checked as Checked,
        Pruned as Pruned,
        folder_lock as folder_lock,
    )
    from .catalogue import (
        BUNDLED_MODEL as BUNDLED_MODEL,
        folder_bytes as folder_bytes,
        has_weights as has_weights,
        is_bundled as is_bundled,
        is_preset as is_preset,
        locate_weights as locate_weights,
    )
    from .client import BUNDLED as BUNDLED, Hub as Hub, publish as publish
    from .connections import body_length as body_length
    from .downloading import Fetcher as Fetcher, fetch_all as fetch_all
    from .folder import (
        RUN_BEST as RUN_BEST,
        RUN_CHECKPOINTS as RUN_CHECKPOINTS,
        RUN_LOG as RUN_LOG,
        RUN_MODEL as RUN_MODEL,
        ModelFolder as ModelFolder,
        is_model_folder as is_model_folder,
        last_weights as last_weights,
        trained_model as trained_model,
    )
    from .http import Transport as Transport, fetch_bytes as fetch_bytes
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
    from .model_card import card_text as card_text, place_in_card as place_in_card, seal_folder as seal_folder
    from .model_files import is_index as is_index, read_index as read_index, weight_files as weight_files
    from .origins import (
        ModelScopeDataSource as ModelScopeDataSource,
        RemoteFile as RemoteFile,
        Source as Source,
        modelscope_credentials as modelscope_credentials,
    )
    from .partial_downloads import Part as Part
    from .references import (
        check_model_name as check_model_name,
        check_relative_path as check_relative_path,
        check_relative_paths as check_relative_paths,
        check_revision as check_revision,
        file_key as file_key,
    )
    from .retries import Limits as Limits
    from .settings import (
        VARIABLES as VARIABLES,
        Settings as Settings,
        describe_variables as describe_variables,
        read_settings as read_settings,
    )
    from .snapshots import Shelf as Shelf, touch as touch

__getattr__, __dir__, __all__ = lazy_names(__name__)
