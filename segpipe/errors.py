"""Every error that segpipe raises, as one tree.

    SegpipeError
    ├── ConfigurationError (ValueError)      a configuration.json, a preset or an override says something wrong
    ├── UnknownNameError (LookupError)       a task, model, trainer, dataset or preset that is not registered
    ├── ModelNameError (ValueError)          a model name or revision that cannot be one
    ├── MissingExtraError (ImportError)      an optional package is needed and not installed
    ├── HubError
    │   ├── DownloadError (OSError)          the network or the server failed, after retries
    │   │   ├── ModelNotFoundError           the server has no such model, revision or file
    │   │   ├── AccessDeniedError            the server wants a token, or a different one
    │   │   └── OfflineError                 a request would be needed and offline mode forbids it
    │   ├── IntegrityError (OSError)         bytes do not have the size or the digest they should have
    │   ├── CacheError (OSError)             the cache cannot be read or written
    │   └── UnsafePathError (ValueError)     a server or a manifest names a file outside its folder
    ├── ModelFolderError (ValueError)        a folder is not a model folder, or not a whole one
    ├── WeightsError (ValueError)
    │   ├── CorruptWeightsError              the file is truncated or is not what its name says
    │   ├── WeightMismatchError              the tensors do not fit the model
    │   └── UnknownDialectError              no known implementation names its tensors like this
    ├── ImageError
    │   ├── ImageDecodeError (ValueError)    an image cannot be decoded, or not into RGB
    │   ├── ImageTooLargeError (ValueError)  an image is over the byte or the pixel limit
    │   └── ImageFetchError (OSError)        an image's URL did not answer with one
    ├── NumericalError (ArithmeticError)     a network computes what is not a finite number
    └── InputError (TypeError, ValueError)   an argument has the wrong type, shape or value
        └── MissingSplitError                a data set has no such split, or lies in another way

Each message has three parts: what is wrong with its value, what would be right, what to do. What it is about stands
beside it as attributes, for programs: `error.path`, `error.url`, `error.status`, `error.key`.
"""

from __future__ import annotations

import os
from pathlib import Path


class SegpipeError(Exception):
    """Root of the tree: catching it catches everything that segpipe raises on purpose.

    Args:
        *arguments: the message.
        path: the file or the folder that it is about.
        url: the address that was asked, without user, query and fragment.
        status: the status code of the answer.
        key: the place in a document, e.g. "train.transforms[1].size", or the name that was looked up.
    """

    path: Path | None
    url: str | None
    status: int | None
    key: str | None

    def __init__(
        self,
        *arguments: object,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        status: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(*arguments)
        self.path = None if path is None else Path(path)
        self.url = url
        self.status = status
        self.key = key


class ConfigurationError(SegpipeError, ValueError):
    """A configuration says something wrong; the message begins with the JSON path."""


class UnknownNameError(SegpipeError, LookupError):
    """A name that is not registered; the message has the nearest one and the list."""


class ModelNameError(SegpipeError, ValueError):
    """A model name or revision that cannot be one."""


class MissingExtraError(SegpipeError, ImportError):  # type: ignore[misc]  # ImportError has a path, too: a str
    """An optional package is needed and not installed; the message says how to install it."""


class HubError(SegpipeError):
    """Finding, fetching, storing or publishing a model failed."""


class DownloadError(HubError, OSError):
    """The network or the server failed, after the retries that make sense."""


class ModelNotFoundError(DownloadError):
    """The server has no such model, revision or file."""


class AccessDeniedError(DownloadError):
    """The server wants a token, or a different one."""


class OfflineError(DownloadError):
    """A request would be needed and offline mode forbids it."""


class IntegrityError(HubError, OSError):
    """Bytes do not have the size or the digest that they should have."""


class CacheError(HubError, OSError):
    """The cache cannot be read or written."""


class UnsafePathError(HubError, ValueError):
    """A server or a manifest names a file outside its folder."""


class ModelFolderError(SegpipeError, ValueError):
    """A folder is not a model folder, or not a whole one."""


class WeightsError(SegpipeError, ValueError):
    """Weights cannot be read or do not fit."""


class CorruptWeightsError(WeightsError):
    """A weights file is truncated, or is not what its name says."""


class WeightMismatchError(WeightsError):
    """The tensors of a file do not fit the model; the message lists them."""


class UnknownDialectError(WeightsError):
    """No known implementation names its tensors like this file does."""


class ImageError(SegpipeError):
    """An image cannot be used; the message names it."""


class ImageDecodeError(ImageError, ValueError):
    """An image cannot be decoded, or not into RGB."""


class ImageTooLargeError(ImageError, ValueError):
    """An image is over the byte limit or the pixel limit."""


class ImageFetchError(ImageError, OSError):
    """An image's URL did not answer with an image."""


class NumericalError(SegpipeError, ArithmeticError):
    """A network computes what is not a finite number."""


class InputError(SegpipeError, TypeError, ValueError):
    """An argument has the wrong type, shape or value."""


class MissingSplitError(InputError):
    """Nothing of a split lies where a data set's files may be."""
