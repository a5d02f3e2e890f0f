"""Read from a pickle's opcodes what it would do; nothing of it is run."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch

NAME_LENGTH = 1000
"""Of a class with its module. torch's messages about longer names take time by the square of their length."""
_OLDER = 5
"""How many pickles an older file has: three about its format, the content, and the keys of its tensors."""


class OtherProtocolError(ValueError):
    """The pickle has opcodes that torch does not read without running code."""


class CallError(ValueError):
    """The pickle calls something that is not a class or a function by its name."""


@dataclass
class Scan:
    """What a pickle would do.

    Attributes:
        names: classes and functions that it names and torch does not allow, in order.
        fills: name of a class → opcodes with which it puts items into the class's objects.
        calls: how often it makes an object or sets one up.
    """

    names: tuple[str, ...] = ()
    fills: dict[str, set[str]] = field(default_factory=dict)
    calls: int = 0


def scan_pickle(file: BinaryIO) -> Scan:
    """Follow what torch.load would run of a file.

    Raises:
        OtherProtocolError, CallError: see there.
        Exception: of nearly any kind, where the file is damaged.
    """
    file.seek(0)
    if file.read(2) == b"PK":
        program = _read_member(file)
        scan = _follow(io.BytesIO(program))
    else:
        scan, program = _follow_older(file)
    try:
        scan.names = tuple(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(_as_archive(program))))
    except pickle.UnpicklingError as error:
        raise OtherProtocolError(str(error)) from None
    return scan


def _read_member(file: BinaryIO) -> bytes:
    """Return the pickle of an archive without compression, whose checksums torch may have left out.

    torch takes the folder of the first member, and any spelling of the name in it, so there must be one alone.
    """
    members = zipfile.ZipFile(file).infolist()
    wanted = f"{members[0].filename.partition('/')[0]}/data.pkl".lower()
    found = [each for each in members if each.filename.lower() == wanted]
    if len(found) != 1:
        raise ValueError(f"{len(found)} members are called {wanted}")
    (member,) = found
    file.seek(member.header_offset + 26)
    lengths = struct.unpack("<HH", file.read(4))
    file.seek(sum(lengths), io.SEEK_CUR)
    return file.read(member.file_size)


def _follow_older(file: BinaryIO) -> tuple[Scan, bytes]:
    """Return scan and bytes of the pickle with the content; those about the format and the keys hold plain values."""
    file.seek(0)
    scans, ends = [], [0]
    for _ in range(_OLDER):
        scans.append(_follow(file))
        ends.append(file.tell())
    content = _OLDER - 2
    if any(scan.calls for scan in (*scans[:content], scans[-1])):
        raise CallError("a call where a file has its format")
    file.seek(ends[content])
    return scans[content], file.read(ends[content + 1] - ends[content])


def _as_archive(program: bytes) -> io.BytesIO:
    """Return a checkpoint with this pickle and no tensors, in today's format, which torch scans."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3\n")
    buffer.seek(0)
    return buffer


@dataclass(frozen=True)
class _Value:
    """What lies on the stack: a class or a function, an object of one, or anything else."""

    name: str = ""
    is_object: bool = False


_PLAIN = _Value()
_CALLS = ("NEWOBJ", "REDUCE", "BUILD")
_FILLS = ("SETITEM", "SETITEMS", "APPEND", "APPENDS")


def _follow(stream: BinaryIO) -> Scan:
    """Follow one pickle up to its end, with the name of its class in the place of each object."""
    scan, stack, marks, memo = Scan(), list[_Value](), list[int](), dict[Any, _Value]()
    for opcode, argument, _ in pickletools.genops(stream):
        name, before, pushed = opcode.name, opcode.stack_before, _PLAIN
        if opcode.proto > 2:
            raise OtherProtocolError(name)
        if name == "MARK":
            marks.append(len(stack))
            continue
        if name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
            continue
        count = len(before)
        if pickletools.markobject in before:
            del stack[marks.pop() :]
            count = before.index(pickletools.markobject)
        taken = [stack.pop() for _ in range(count)][::-1]
        if name == "GLOBAL":
            pushed = _named(str(argument))
        elif name in ("BINGET", "LONG_BINGET"):
            pushed = memo[argument]
        elif name in _CALLS:
            pushed = _made(taken[0], name)
            scan.calls += 1
        elif name in _FILLS:
            pushed = taken[0]
            scan.fills.setdefault(pushed.name, set()).add(name)
        stack += [pushed] * len(opcode.stack_after)
    return scan


def _named(argument: str) -> _Value:
    if len(argument) > NAME_LENGTH:
        raise CallError(f"a name of {len(argument):,} letters")
    return _Value(argument.replace(" ", ".", 1))


def _made(callee: _Value, opcode: str) -> _Value:
    if opcode == "BUILD":
        return callee
    if callee.is_object or not callee.name:
        raise CallError("a call of what is not a name")
    return _Value(callee.name, is_object=True)
