"""ModelScope's modules below `segpipe.compat.modelscope`: whatever they are called, each holds all names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from segpipe.errors import UnknownNameError
from segpipe.names import did_you_mean

_MODULES = (
    *("exporters", "fileio", "hub", "metainfo", "metrics", "models", "msdatasets", "outputs", "pipelines"),
    *("preprocessors", "trainers", "utils"),
)
"""ModelScope's packages, for `from modelscope import msdatasets`."""
_USED_INSTEAD = {
    "segpipe segments and classifies images; the library transformers has it": (
        "AutoModel AutoModelForCausalLM AutoProcessor AutoTokenizer GenerationConfig"
    ),
    "build_trainer gives a trainer": "BaseTrainer EpochBasedTrainer EasyCVEpochBasedTrainer",
    "segpipe.export writes ONNX, OpenVINO and torch.export files": "Exporter TorchModelExporter",
    "Pass callbacks=[…] to build_trainer, see segpipe.trainers.Callback": "HOOKS Hook Priority",
    "pipeline and segpipe.data.read_source take paths, URLs, bytes, PIL images and arrays": ("LoadImage load_image"),
    "segpipe.evaluate gives mIoU and the scores of each class": "METRICS Metric build_metric",
    "segpipe.MODELS.register(name) adds a network": "MODELS",
    'segpipe.PIPELINES.register(name, task="image-segmentation") adds a pipeline': "PIPELINES",
    "segpipe.TRAINERS.register(name) adds a trainer": "TRAINERS",
    "The model's own configuration says how images are prepared; pipeline(…, overrides={…}) changes it": (
        "PREPROCESSORS Preprocessor build_preprocessor"
    ),
    "segpipe.registry.Registry maps names to builders": "Registry build_from_cfg",
    "segpipe config check FILE says what is wrong with a configuration of segpipe's": "check_config",
    "segpipe.DATASETS.register(name) adds a data set": "TorchCustomDataset",
    "segpipe.load_model gives the network": "TorchModel build_model",
    "MsDataset.load(name, namespace=…, split=…) fetches a data set and opens it": "dataset_snapshot_download",
    "segpipe.publish copies a model folder to a hub": "create_model push_model push_to_hub upload_file upload_folder",
}
INSTEAD = {name: use for use, names in _USED_INSTEAD.items() for name in names.split()}
"""What to use in place of names that scripts import and segpipe does not offer."""

_names: list[str] = []
_package = ""


class NotOfferedError(UnknownNameError, ImportError):  # type: ignore[misc]  # as MissingExtraError
    """A name of ModelScope's that segpipe does not offer; the message says what to use."""


def install(package: str, names: Iterable[str]) -> None:
    """Make every module below `package` hold the package's names."""
    global _package
    _package = package
    _names[:] = names
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # after the others, so that files of the package come first


def find(name: str) -> Any:
    """Return what a name stands for.

    Raises:
        NotOfferedError: segpipe has nothing of this name.
        AttributeError: the name is one of Python's own.
    """
    if name in _names:
        return getattr(sys.modules[_package], name)
    if name.startswith("_"):
        raise AttributeError(f"module {_package!r} has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(f"{_package}.{name}")
    instead = f" {INSTEAD[name]}." if name in INSTEAD else did_you_mean(name, _names)
    everything = f" Its __all__ lists the {len(_names)} names that it has."
    raise NotOfferedError(f"segpipe.compat.modelscope has no {name!r}.{instead or everything}")


class _Names(ModuleType):
    """A module of ModelScope's."""

    def __getattr__(self, name: str) -> Any:
        return find(name)


class _Finder(MetaPathFinder, Loader):
    """Makes the modules that a script imports."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _package or not fullname.startswith(f"{_package}."):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Names(spec.name, f"What a script imports from ModelScope's {spec.name.removeprefix(_package + '.')}.")

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__all__"] = sorted(_names)
