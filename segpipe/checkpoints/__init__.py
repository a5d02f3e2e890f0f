"""Open any model, ours or another implementation's; each of these has one table of names, used both ways."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .converting import convert as convert, convert_back as convert_back
    from .detecting import (
        ARCHITECTURES as ARCHITECTURES,
        IMPLEMENTATIONS as IMPLEMENTATIONS,
        WRITTEN_DIALECTS as WRITTEN_DIALECTS,
        detect_dialect as detect_dialect,
        translate as translate,
        write_dialect as write_dialect,
    )
    from .encoder_weights import encoder_tensors as encoder_tensors
    from .model_folders import (
        download as download,
        find_configuration as find_configuration,
        find_folder as find_folder,
        read_foreign_settings as read_foreign_settings,
        resolve_folder as resolve_folder,
    )
    from .opening import (
        load_model as load_model,
        open_checkpoint as open_checkpoint,
        open_folder as open_folder,
        own_tensors as own_tensors,
        sidecar_of as sidecar_of,
        tensors_of as tensors_of,
    )
    from .pickles import read_pickle as read_pickle
    from .state_dicts import read_tensors as read_tensors, read_weights as read_weights
    from .weight_files import write_pickle as write_pickle, write_tensors as write_tensors

__getattr__, __dir__, __all__ = lazy_names(__name__)
