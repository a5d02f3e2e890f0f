"""Files that other programs wrote: MATLAB's, and archives."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from doors import Door, door, file_reader
from hostile import damaged_bytes
from hypothesis import strategies as st

from segpipe.data.preparing.published_archives import unpack


@door
def matlab_files(folder: Path) -> Door:
    import scipy.io

    from segpipe.data.matlab import read_matlab

    seeds = []
    for compressed in (False, True):
        buffer = io.BytesIO()
        content = {"GTcls": {"Segmentation": np.eye(9, dtype=np.uint8)}, "LabelMap": np.arange(12, dtype=np.uint16)}
        scipy.io.savemat(buffer, content, do_compression=compressed)
        seeds.append(buffer.getvalue())
    return Door(
        damaged_bytes(seeds), file_reader(folder / "label.mat", lambda path: read_matlab(path, ("GTcls", "LabelMap")))
    )


@door
def archives(folder: Path) -> Door:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/a.txt", b"a" * 1000)
        archive.writestr("top/sub/b.txt", b"b")
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        for name in ("top/a.txt", "top/sub/b.txt"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"hello"))

    def read(item: tuple[str, bytes]) -> None:
        path, target = folder / f"data{item[0]}", folder / "out"
        path.write_bytes(item[1])
        try:
            unpack(path, "top", target)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    of_zip = damaged_bytes([zipped.getvalue()]).map(lambda data: (".zip", data))
    return Door(st.one_of(of_zip, damaged_bytes([tarred.getvalue()]).map(lambda data: (".tar", data))), read)
