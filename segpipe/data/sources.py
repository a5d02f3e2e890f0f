"""Find images: paths, URLs, data URIs, base64, arrays, and folders, patterns and iterables of them."""

from __future__ import annotations

import base64
import binascii
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, unquote_to_bytes, urlsplit, urlunsplit

import numpy as np
from PIL import Image

from segpipe.errors import DownloadError, ImageDecodeError, ImageFetchError, ImageTooLargeError, InputError
from segpipe.files import current_place, file_url_path
from segpipe.limits import limit
from segpipe.names import nearest_name

from .image_folders import files_of, list_formats, split_readable
from .image_formats import describe_unreadable, image_format
from .image_options import Alpha, BitDepth, ChannelOrder
from .images import read_image
from .rgb import is_tensor

LONGEST_PATH = 4096

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LIST = "-"
_ENCODED = "the encoded image"

Kind = Literal["url", "file-url", "data-uri", "file", "folder", "pattern", "base64", "object", "collection"]
_KINDS: dict[str, Kind] = {"http": "url", "https": "url", "file": "file-url"}


@dataclass(frozen=True, eq=False)
class Source:
    """One image or many as a caller gave them, classified once by `parse_source`.

    Attributes:
        value: as it was given.
        kind: "object" is one image in memory or an open file, "collection" an iterable of sources; None for a text or a
            path that stands for nothing.
    """

    value: Any
    kind: Kind | None

    @property
    def is_many(self) -> bool:
        """Whether it stands for several images, so that the answer is a list: a list of one does, too."""
        return self.kind in ("folder", "pattern", "collection")

    def name(self, index: int) -> str:
        """Return the image's name in messages and results; `index` is its place among those of one call.

        Paths are as given; URLs lose user, password and query, which may hold secrets; the rest is "picture 3".
        """
        if isinstance(self.value, os.PathLike):
            return os.fsdecode(self.value)
        if not isinstance(self.value, str):
            filename = getattr(self.value, "filename", "") or getattr(self.value, "name", "")
            return filename if isinstance(filename, str) and filename else f"picture {index}"
        if self.kind in ("url", "file-url"):
            return _without_secrets(self.value)
        return f"picture {index}" if self.kind in ("data-uri", "base64") else self.value[:LONGEST_PATH]

    def parts(self, *, recursive: bool = False) -> Iterator[Any]:
        """Yield what each image is read from; a single image yields itself. See `iterate_sources`."""
        if not self.is_many:
            yield self.value
        elif self.kind == "collection":
            yield from self.value
        else:
            yield from files_of(os.fsdecode(self.value), recursive)


def parse_source(value: Any) -> Source:
    """Say what was given as an image or images. A `Source` stays as it is.

    Texts are decided in this order: URL (http, https, file), data URI, existing file, existing folder, pattern with
    matches, base64 of an image. Collections are batches (N, H, W, 3) and every iterable that is not itself an image.
    """
    if isinstance(value, Source):
        return value
    if isinstance(value, str):
        return Source(value, _kind_of_text(value))
    if isinstance(value, os.PathLike):
        return Source(value, _kind_of_path(os.fsdecode(value)))
    if isinstance(value, np.ndarray) or is_tensor(value):
        return Source(value, "collection" if value.ndim == 4 else "object")
    is_one = isinstance(value, bytes | bytearray | memoryview | Image.Image | Mapping) or hasattr(value, "read")
    return Source(value, "collection" if isinstance(value, Iterable) and not is_one else "object")


def read_source(
    source: Any,
    *,
    channel_order: ChannelOrder = "rgb",
    max_pixels: int | None = None,
    max_bytes: int | None = None,
    timeout: tuple[float, float] = (10.0, 30.0),
    deadline: float = 60.0,
    alpha: Alpha = "auto",
    bit_depth: BitDepth = None,
) -> np.ndarray:
    """Read one image, wherever it is, into (H, W, 3) uint8 RGB.

    Everything that `read_image` reads, and the texts of `parse_source`. Folders and patterns are many images and
    refused here; see `iterate_sources`.

    Args:
        source: one image.
        channel_order: of arrays and tensors.
        max_pixels: see `read_image`.
        max_bytes: limit of the encoded size. If None, `limit("url_image_bytes")` for URLs, else `read_image`'s.
        timeout: seconds to connect and between two pieces of an answer.
        deadline: seconds for a download; one timeout may come on top, see `segpipe.hub.fetch_bytes`.
        alpha: see `segpipe.data.Reading`.
        bit_depth: the same.

    Raises:
        ImageFetchError: the URL did not answer, or not with an image.
        ImageDecodeError, ImageTooLargeError, InputError: see `read_image`.
    """
    found = parse_source(source)
    value, kind = found.value, found.kind
    if found.is_many:
        raise InputError(
            f"{_shown(value)} is several images; one is needed. Give a folder or a pattern by itself, not in a list."
        )
    if kind is None:
        raise _unknown_text(os.fsdecode(value))
    read = partial(read_image, max_pixels=max_pixels, max_bytes=max_bytes, alpha=alpha, bit_depth=bit_depth)
    if not isinstance(value, str):
        return read(value, channel_order=channel_order)
    if kind == "url":
        name = found.name(0)
        return read(_fetch(value, name, timeout=timeout, deadline=deadline, max_bytes=max_bytes), name=name)
    if kind in ("data-uri", "base64"):
        return read(_decode_text(value, kind, limit("image_bytes") if max_bytes is None else max_bytes), name=_ENCODED)
    return read(_path_of(value, kind), name=found.name(0))


def iterate_sources(source: Any, *, recursive: bool = False) -> Iterator[Any]:
    """Yield each image's source in turn; one image yields itself.

    Folders give the image files directly in them, sorted by name, without hidden ones. With `recursive`, or for a
    pattern such as "folder/**/*.jpg", their sub-folders are read, too; else an info message names them.
    Patterns give their image files, sorted. Iterables are taken lazily, in their order. A warning counts files that
    hold images or films and are not read, such as HEIC.
    """
    yield from parse_source(source).parts(recursive=recursive)


def gather_sources(
    names: Iterable[str], list_file: Iterable[str] = (), *, recursive: bool = False, output: Path | None = None
) -> list[str]:
    """Return each image of files, folders, patterns and URLs, in order.

    Args:
        names: paths, patterns and URLs; "-" stands for the lines of `list_file`.
        list_file: an image a line.
        recursive: whether folders are read with their sub-folders.
        output: a folder that is left out where it is one of those sub-folders.

    Raises:
        InputError: there is no image at all.
    """
    sources: list[str] = []
    for name in names:
        given = [line.strip() for line in list_file if line.strip()] if name == _LIST else [name]
        for each in given:
            found = iterate_sources(each, recursive=recursive)
            sources.extend(_outside(output, each, found) if recursive and output is not None else found)
    if not sources:
        raise InputError("The list on stdin is empty; it needs one image a line. Give at least one.")
    return sources


def names_one_image(names: Sequence[str]) -> bool:
    """Return whether the names that `gather_sources` takes are a single image's, and not what may stand for many."""
    return len(names) == 1 and names[0] != _LIST and not parse_source(names[0]).is_many


def _kind_of_text(text: str) -> Kind | None:
    scheme = _SCHEME.match(text)
    if scheme:
        return _KINDS.get(scheme[1].lower())
    if text[:5].lower() == "data:":
        return "data-uri"
    return _kind_of_path(text) or ("base64" if _is_base64_image(text) else None)


def _kind_of_path(text: str) -> Kind | None:
    if _exists(text):
        return "folder" if os.path.isdir(text) else "file"
    return "pattern" if _matches(text) else None


def _exists(text: str) -> bool:
    try:
        return 0 < len(text) <= LONGEST_PATH and os.path.exists(text)
    except ValueError:  # a null character
        return False


def _matches(pattern: str) -> list[str]:
    """Return the image files that a pattern matches, sorted; none if the text is not a pattern."""
    if len(pattern) > LONGEST_PATH or "\0" in pattern or not glob.has_magic(pattern):
        return []
    return split_readable(sorted(glob.glob(pattern, recursive=True)))[0]


def _is_base64_image(text: str) -> bool:
    """Decide by the first bytes, since "pictures/cats" is base64, too."""
    try:
        return image_format(base64.b64decode("".join(text[:80].split())[:16], validate=True)) is not None
    except (binascii.Error, ValueError):
        return False


def _unknown_text(text: str) -> ImageDecodeError | InputError:
    if _SCHEME.match(text):
        return InputError(
            f"The scheme of {_shown(text)} is not read here. Give an http, https or file URL, or the bytes."
        )
    if len(text) > LONGEST_PATH:
        return ImageDecodeError(f"{_shown(text)} is not a URL, a path or base64 of an image.")
    if not text or glob.has_magic(text):
        passed_by = split_readable(glob.glob(text, recursive=True))[1] if "\0" not in text else None
        others = f", only {list_formats(passed_by)}, which is not read" if passed_by else ""
        return ImageDecodeError(f"{text!r} matches no image{others}. Check the pattern. {current_place()}")
    return ImageDecodeError(f"There is no image {text!r}.{_hint(Path(text))} Check the path or the URL.")


def _hint(path: Path) -> str:
    """Return what is nearest to a path that does not exist."""
    try:
        names = [entry.name for entry in os.scandir(path.parent)]
    except (OSError, ValueError):
        return f" The folder {path.parent} does not exist either."
    nearest = nearest_name(path.name, names)
    return f" Did you mean {str(path.parent / nearest)!r}?" if nearest else f" {current_place()}"


def _shown(source: Any) -> str:
    """Return a source for a message: never long, never with a password."""
    if not isinstance(source, str):
        return f"A {type(source).__name__}"
    text = _without_secrets(source) if "://" in source[:40] else source
    return repr(text if len(text) <= 120 else text[:100] + "…")


def _without_secrets(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # such as "http://[::1"
        return "the malformed URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _fetch(url: str, name: str, *, timeout: tuple[float, float], deadline: float, max_bytes: int | None) -> bytes:
    from segpipe.hub import fetch_bytes  # requests takes a tenth of a second to import

    bound = limit("url_image_bytes") if max_bytes is None else max_bytes
    try:
        data = fetch_bytes(url, timeout=timeout, max_bytes=bound, deadline=deadline)
    except (DownloadError, ValueError) as error:  # ValueError: a URL that urllib cannot take apart
        raise ImageFetchError(f"{name} could not be fetched: {error}") from None
    if image_format(data) is None:
        raise ImageFetchError(
            f"{name} answered, but not with an image. {describe_unreadable(data, 'The answer')} "
            "Give the URL of the image itself, not of a page that shows it."
        )
    return data


def _decode_text(text: str, kind: Kind, max_bytes: int) -> bytes:
    """Return the bytes of a data URI (RFC 2397) or of base64 text, with or without line breaks."""
    if len(text) > max_bytes * 4 // 3 + 4096:
        raise ImageTooLargeError(f"The encoded image has {len(text)} characters; at most {max_bytes} bytes are read.")
    header, payload = "base64", text
    if kind == "data-uri":
        header, comma, payload = text.partition(",")
        if not comma:
            raise ImageDecodeError(
                f"{_shown(text)} is not a data URI: it has no comma. Right: data:image/png;base64,iVBOR…"
            )
    if not header.lower().endswith("base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode("".join(unquote(payload).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageDecodeError(f"{_shown(text)} is damaged base64: {error}. Encode the image again.") from None


def _path_of(text: str, kind: Kind) -> str:
    return file_url_path(text, error=InputError) if kind == "file-url" else text


def _outside(output: Path, folder: str, found: Iterable[str]) -> list[str]:
    """Return what was found in a folder, but not what an earlier command wrote below it."""
    if not os.path.isdir(folder):
        return [*found]
    inside = os.path.join(os.path.realpath(output), "")
    if os.path.join(os.path.realpath(folder), "").startswith(inside):
        return [*found]
    return [path for path in found if not os.path.realpath(path).startswith(inside)]
