"""Everybody's weights and settings: reading, translating and writing the files of other implementations."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .converting import (
        ARCHITECTURES as ARCHITECTURES,
        convert as convert,
        open_checkpoint as open_checkpoint,
        sidecar_of as sidecar_of,
    )
    from .dialects import DIALECTS as DIALECTS, detect_dialect as detect_dialect, translate as translate
    from .dialects.writing import WRITTEN_DIALECTS as WRITTEN_DIALECTS, write_dialect as write_dialect
    from .encoders import convert_encoder as convert_encoder, encoder_tensors as encoder_tensors
    from .foreign_files import convert_back as convert_back, own_tensors as own_tensors
    from .opening import load_model as load_model, open_folder as open_folder
    from .pickles import read_pickle as read_pickle
    from .reading import read_tensors as read_tensors, tensors_of as tensors_of
    from .segmenter_settings import VIT_SHAPES as VIT_SHAPES
    from .settings import (
        ForeignConfiguration as ForeignConfiguration,
        read_foreign_configuration as read_foreign_configuration,
    )
    from .tensor_files import write_pickle as write_pickle, write_tensors as write_tensors

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "converting": "ARCHITECTURES convert open_checkpoint sidecar_of",
        "dialects": "DIALECTS detect_dialect translate",
        "dialects.writing": "WRITTEN_DIALECTS write_dialect",
        "encoders": "convert_encoder encoder_tensors",
        "foreign_files": "convert_back own_tensors",
        "opening": "load_model open_folder",
        "pickles": "read_pickle",
        "reading": "read_tensors tensors_of",
        "segmenter_settings": "VIT_SHAPES",
        "settings": "ForeignConfiguration read_foreign_configuration",
        "tensor_files": "write_pickle write_tensors",
    },
)
