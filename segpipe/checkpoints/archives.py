"""Check files of weights before they are decoded: their kind, their size, what their archive would unpack to."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

from segpipe.errors import CorruptWeightsError, WeightsError
from segpipe.files import open_regular
from segpipe.limits import check_limit, limit
from segpipe.text import first_line


def open_weights(path: Path) -> BinaryIO:
    """Open a file of at most `weights_bytes`; WeightsError says why it cannot be read."""
    file = open_regular(path, error=WeightsError)
    try:
        check_limit("weights_bytes", os.fstat(file.fileno()).st_size, f"{path} has", error=WeightsError)
        file.read(1)
        file.seek(0)
    except OSError as error:  # a failing disk
        file.close()
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}. Check its disk.") from None
    except WeightsError:
        file.close()
        raise
    return file


def check_archive(file: BinaryIO, path: Path, *, may_compress: bool) -> None:
    """Refuse a zip archive whose members unpack to more than its size warrants.

    PyTorch and numpy.savez store members as they are; numpy.savez_compressed compresses weights by a tenth.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        members = zipfile.ZipFile(file).infolist()
    except Exception as error:  # damaged archives raise nearly anything
        raise damaged(path, "a complete archive", error) from None
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise WeightsError(
            f"{path} is a TorchScript archive, which holds code. Save its state dict alone: "
            "torch.save(torch.jit.load(…).state_dict(), …)."
        )
    compressed = next((each.filename for each in members if each.compress_type != zipfile.ZIP_STORED), None)
    if compressed is not None and not may_compress:
        raise CorruptWeightsError(
            f"{path} has compressed members ({compressed}), which torch.save does not write. Save it with torch.save."
        )
    unpacked, ratio = sum(member.file_size for member in members), limit("weights_ratio")
    if unpacked > size * (1 if compressed is None else ratio):
        raise CorruptWeightsError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}; weights shrink {ratio} times at most. "
            "Download or copy it again."
        )


def damaged(path: Path, what: str, error: BaseException) -> CorruptWeightsError:
    """Return the error for a file that is not what its name says."""
    return CorruptWeightsError(
        f"{path} ({path.stat().st_size} bytes) is not {what}: {first_line(error)}. Download or copy it again."
    )
