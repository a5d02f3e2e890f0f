"""Finding pictures: paths, URLs, data URIs, base64, arrays, and folders, patterns and iterables of them."""

from __future__ import annotations

import base64
import binascii
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
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

from .formats import describe_unreadable, picture_format
from .images import Alpha, BitDepth, ChannelOrder, is_tensor, read_image
from .picture_folders import files_of, list_formats, split_readable

LONGEST_PATH = 4096

_ENCODED = "the encoded picture"

Kind = Literal["url", "file-url", "data-uri", "file", "folder", "pattern", "base64"]


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
    """Read one picture, wherever it is, into (H, W, 3) uint8 RGB.

    Everything that `read_image` reads, and strings, which are decided in this order: URL (http, https, file), data URI,
    existing file, existing folder, pattern with matches, base64 of a picture. Folders and patterns are many pictures
    and refused here; see `iterate_sources`.

    Args:
        source: one picture.
        channel_order: of arrays and tensors.
        max_pixels: see `read_image`.
        max_bytes: limit of the encoded size. If None, `limit("url_image_bytes")` for URLs, else `read_image`'s.
        timeout: seconds to connect and between two pieces of an answer.
        deadline: seconds for a download; one timeout may come on top, see `segpipe.hub.fetch_bytes`.
        alpha: see `segpipe.data.reading.Reading`.
        bit_depth: the same.

    Raises:
        ImageFetchError: the URL did not answer, or not with a picture.
        ImageDecodeError, ImageTooLargeError, InputError: see `read_image`.
    """
    if is_many(source):
        raise InputError(
            f"{_shown(source)} is several images; one is needed. Give a folder or a pattern by itself, not in a list."
        )
    if isinstance(source, os.PathLike) and not os.path.exists(source):
        raise _unknown_text(os.fsdecode(source))
    read = partial(read_image, max_pixels=max_pixels, max_bytes=max_bytes, alpha=alpha, bit_depth=bit_depth)
    if not isinstance(source, str):
        return read(source, channel_order=channel_order)

    kind = _kind_of(source)
    name = describe_source(source, 0)
    if kind == "url":
        data = _fetch(source, name, timeout=timeout, deadline=deadline, max_bytes=max_bytes)
    elif kind in ("data-uri", "base64"):
        data, name = _decode_text(source, kind, limit("image_bytes") if max_bytes is None else max_bytes), _ENCODED
    else:
        return read(_path_of(source, kind), name=name)
    return read(data, name=name)


def describe_source(source: Any, index: int) -> str:
    """The name of one picture in messages and results; `index` is its place among its fellows.

    Paths as they are; URLs without user, password and query, which may hold secrets; else "picture 3".
    """
    if isinstance(source, os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, str):
        kind = _kind_or_none(source)
        if kind in ("url", "file-url"):
            return _without_secrets(source)
        return f"picture {index}" if kind in ("data-uri", "base64") else source[:LONGEST_PATH]
    filename = getattr(source, "filename", "") or getattr(source, "name", "")
    return filename if isinstance(filename, str) and filename else f"picture {index}"


def is_many(source: Any) -> bool:
    """Whether it stands for several pictures, so that a list is owed for it.

    A folder, a pattern with matches, a batch (N, H, W, 3), and any iterable that is not itself a picture: a list of
    one too.
    """
    if isinstance(source, (str, os.PathLike)):
        return _kind_or_none(os.fsdecode(source)) in ("folder", "pattern")
    if isinstance(source, np.ndarray) or is_tensor(source):
        return bool(source.ndim == 4)
    if isinstance(source, (bytes, bytearray, memoryview, Image.Image, Mapping)) or hasattr(source, "read"):
        return False
    return isinstance(source, Iterable)


def iterate_sources(source: Any, *, recursive: bool = False) -> Iterator[Any]:
    """Each picture's source in turn; one picture gives itself.

    Folders give the picture files directly in them, sorted by name, without hidden ones. With `recursive`, or for a
    pattern such as "folder/**/*.jpg", their sub-folders are read, too; else the log tells of them at the level info.
    Patterns give their picture files, sorted. Iterables are taken lazily, in their order. A warning counts files that
    hold images or films and are not read, such as HEIC.
    """
    if not is_many(source):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        yield from files_of(os.fsdecode(source), recursive)
    else:
        yield from source


def _kind_of(text: str) -> Kind:
    kind = _kind_or_none(text)
    if kind is None:
        raise _unknown_text(text)
    return kind


def _kind_or_none(text: str) -> Kind | None:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme:
        return _kind_of_scheme(scheme[1].lower())
    if text[:5].lower() == "data:":
        return "data-uri"
    if _exists(text):
        return "folder" if os.path.isdir(text) else "file"
    if _matches(text):
        return "pattern"
    return "base64" if _is_base64_picture(text) else None


def _kind_of_scheme(scheme: str) -> Kind | None:
    if scheme in ("http", "https"):
        return "url"
    return "file-url" if scheme == "file" else None


def _exists(text: str) -> bool:
    try:
        return 0 < len(text) <= LONGEST_PATH and os.path.exists(text)
    except ValueError:  # a null character
        return False


def _matches(pattern: str) -> list[str]:
    """The picture files that a pattern matches, sorted; empty when the text is no pattern."""
    if len(pattern) > LONGEST_PATH or "\0" in pattern or not glob.has_magic(pattern):
        return []
    return split_readable(sorted(glob.glob(pattern, recursive=True)))[0]


def _is_base64_picture(text: str) -> bool:
    """Decided by the first bytes, since "pictures/cats" is base64 too."""
    try:
        return picture_format(base64.b64decode("".join(text[:80].split())[:16], validate=True)) is not None
    except (binascii.Error, ValueError):
        return False


def _unknown_text(text: str) -> ImageDecodeError | InputError:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme:
        return InputError(
            f"The scheme of {_shown(text)} is not read here. Give an http, https or file URL, or the bytes."
        )
    if len(text) > LONGEST_PATH:
        return ImageDecodeError(f"{_shown(text)} is no URL and no path, and not base64 of a picture.")
    if not text or glob.has_magic(text):
        passed_by = split_readable(glob.glob(text, recursive=True))[1] if "\0" not in text else None
        others = f", only {list_formats(passed_by)}, which is not read" if passed_by else ""
        return ImageDecodeError(f"{text!r} matches no picture{others}. Check the pattern. {current_place()}")
    return ImageDecodeError(f"There is no picture {text!r}.{_hint(Path(text))} Check the path or the URL.")


def _hint(path: Path) -> str:
    """What is nearest to a path that does not exist."""
    try:
        names = [entry.name for entry in os.scandir(path.parent)]
    except (OSError, ValueError):
        return f" The folder {path.parent} does not exist either."
    nearest = nearest_name(path.name, names)
    return f" Did you mean {str(path.parent / nearest)!r}?" if nearest else f" {current_place()}"


def _shown(source: Any) -> str:
    """A source in a message: never long, never with a password."""
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
    from segpipe.hub import fetch_bytes

    bound = limit("url_image_bytes") if max_bytes is None else max_bytes
    try:
        data = fetch_bytes(url, timeout=timeout, max_bytes=bound, deadline=deadline)
    except (DownloadError, ValueError) as error:  # ValueError: a URL that urllib cannot take apart
        raise ImageFetchError(f"{name} could not be fetched: {error}") from None
    if picture_format(data) is None:
        raise ImageFetchError(
            f"{name} answered, but not with a picture. {describe_unreadable(data, 'The answer')} "
            "Give the URL of the picture itself, not of a page that shows it."
        )
    return data


def _decode_text(text: str, kind: Kind, max_bytes: int) -> bytes:
    """The bytes of a data URI (RFC 2397) or of base64 text, with or without line breaks."""
    if len(text) > max_bytes * 4 // 3 + 4096:
        raise ImageTooLargeError(f"The encoded picture has {len(text)} characters; at most {max_bytes} bytes are read.")
    header, payload = "base64", text
    if kind == "data-uri":
        header, comma, payload = text.partition(",")
        if not comma:
            raise ImageDecodeError(
                f"{_shown(text)} is no data URI: it has no comma. Right: data:image/png;base64,iVBOR…"
            )
    if not header.lower().endswith("base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode("".join(unquote(payload).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageDecodeError(f"{_shown(text)} is damaged base64: {error}. Encode the picture again.") from None


def _path_of(text: str, kind: Kind) -> str:
    return file_url_path(text, error=InputError) if kind == "file-url" else text
