"""Semantic segmentation: from a model's id and an image's URL to its label map.

from segpipe import pipeline

segment = pipeline("image-segmentation", "segformer-b0-camvid")
result = segment("street.jpg")
print(result)
result.save("street-overlay.png")

Importing segpipe takes no torch: each public name is imported when it is first used.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .checkpoints import convert as convert, download as download, load_model as load_model
    from .configuration import MODELS as MODELS, Configuration as Configuration, LabelSet as LabelSet
    from .data import DATASETS as DATASETS, load_dataset as load_dataset
    from .errors import SegpipeError as SegpipeError
    from .evaluation import evaluate as evaluate
    from .exporters import export as export
    from .hub import Hub as Hub, ModelFolder as ModelFolder, publish as publish
    from .names import Tasks as Tasks
    from .pipelines import PIPELINES as PIPELINES, Segmentation as Segmentation, pipeline as pipeline
    from .trainers import TRAINERS as TRAINERS, build_trainer as build_trainer

__version__ = "0.1.0"

# In a checkout, `segpipe.configuration` and `segpipe.trainers` are the folders beside this package.
_checkout = Path(__file__).parent.parent
if (_checkout / "setup.py").is_file():
    __path__.append(str(_checkout))

__getattr__, __dir__, __all__ = lazy_names(__name__)
