"""Hypothesis strategies for hostile input: valid seeds, damaged at random, in their bytes or in their values."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

INTEGERS = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**63,
    10**30,
    -(2**63),
)
TEXTS = (
    "",
    "\0",
    "..",
    "/",
    "a/../../b",
    "/etc/passwd",
    "\x1b]0;x\x07",
    "\ud800",
    "é",
    "x" * 5000,
    "NaN",
    "1e999",
    "-5",
)

MOST_DEPTH = 12

values = st.one_of(
    st.sampled_from(INTEGERS),
    st.sampled_from((0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"))),
    st.sampled_from(TEXTS),
    st.sampled_from((None, True, False)),
    st.sampled_from((1, 16, 100, 900)).map(lambda depth: _nested(depth)),
    st.sampled_from(("[]", "{}", "[[]]", f"[{'0,' * 5000}0]", f"[{'[1,2,3],' * 300}[]]")).map(json.loads),
)
"""Values that a JSON or YAML document should not hold where it holds another one."""


@st.composite
def damaged_bytes(draw: Callable[..., Any], seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after up to four edits: bits, numbers, insertions, removals, repetitions, cuts, splices."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("bit", "number", "insert", "remove", "repeat", "cut", "splice"))):
            case "bit" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "number":
                size, order = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from("<>"))
                number = draw(st.sampled_from(INTEGERS)) % 256**size
                data[at : at + size] = struct.pack(f"{order}{'BHIQ'[size.bit_length() - 1]}", number)
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "remove":
                del data[at : at + draw(st.integers(1, 64))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))] * draw(st.sampled_from((1, 10, 1000)))
            case "cut":
                del data[at:]
            case "splice":
                other = draw(st.sampled_from(seeds))
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@st.composite
def damaged_document(draw: Callable[..., Any], seeds: Sequence[Any]) -> Any:
    """One of the documents with up to three members replaced, removed, repeated or given to an unknown key."""
    document = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(document))
        if not places:
            return draw(values)
        parent, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("replace", "replace", "remove", "repeat", "add"))):
            case "replace":
                parent[key] = draw(values)
            case "remove":
                del parent[key]
            case "repeat" if isinstance(parent, list):
                parent[key:key] = [parent[key]] * draw(st.sampled_from((1, 50)))
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(("__class__", "extra", "x" * 300)))] = draw(values)
    return document


def damaged_json(seeds: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """JSON texts of damaged documents, some of them damaged in their bytes as well."""
    texts = damaged_document(seeds).map(lambda document: json.dumps(document).encode())
    seed_texts = [json.dumps(seed).encode() for seed in seeds]
    return st.one_of(texts, texts, damaged_bytes([*seed_texts, b"[" * 3000, b'{"a":' * 3000, b"\xef\xbb\xbf{}", b""]))


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Where a document has a member: what holds it, and its key or index. What lies very deep is passed over."""
    if depth > MOST_DEPTH:
        return
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in list(members):
        yield value, key
        yield from _places(member, depth + 1)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value
