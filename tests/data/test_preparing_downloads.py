"""Fetching archives of data sets: verified, resumed, unpacked whole or not at all, and safely."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections import namedtuple

import fault_server as faults
import pytest
from preparing_material import labels_of, pixels, put_coco

from segpipe.data import load_dataset
from segpipe.data.datasets.loading import PREPARERS
from segpipe.data.preparing.plans import Archive, Preparer
from segpipe.data.preparing.preparation import download_dataset, prepare_dataset
from segpipe.data.preparing.published_archives import FOLDER, fetch_archives, unpack
from segpipe.errors import InputError, IntegrityError, OfflineError, UnsafePathError
from segpipe.hub import Limits

NOISE = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * 8
FILES = {"toy/images/a.jpg": NOISE, "toy/read me.txt": b"hello", "other/b.jpg": b"not wanted"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("SEGPIPE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))


def make_zip(files=FILES, **first):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("toy/"), b"")
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = first.pop("mode", 0o100644) << 16
            zipped.writestr(info, data)
    return buffer.getvalue()


def make_tar(files=FILES, **member):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tarred:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in member.items():
                setattr(info, key, value)
            tarred.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def serve(server, name, body, kind="sha256", **fields):
    """An archive at the server with the right digest."""
    server.static[name] = body
    given = {"top": "toy", "folder": "data/toy", "signs": ("data/toy/images", "toy"), **fields}
    return Archive(f"{server.url}/static/{name}", f"{kind}:{hashlib.new(kind, body).hexdigest()}", **given)


def found(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
@pytest.mark.parametrize(("name", "make"), [("toy.zip", make_zip), ("toy.tar", make_tar)])
def test_an_archive_is_fetched_unpacked_and_removed(web_server, tmp_path, name, make, kind):
    archive = serve(web_server, name, make(), kind)
    assert fetch_archives(tmp_path / "new", [archive]) == (archive.url,)
    assert found(tmp_path / "new") == ["data/toy/images/a.jpg", "data/toy/read me.txt"]
    assert (tmp_path / "new/data/toy/images/a.jpg").read_bytes() == NOISE
    asked = len(web_server.seen)
    assert fetch_archives(tmp_path / "new", [archive]) == ()
    assert len(web_server.seen) == asked


def test_an_archive_is_kept_on_request_and_a_file_that_is_none_is_put_in_place(web_server, tmp_path):
    archive = serve(web_server, "toy.zip", make_zip())
    document = serve(web_server, "a.json", b"[1, 2]", "md5", top="", folder="deep/a.json", signs=("deep/a.json",))
    fetch_archives(tmp_path, [archive, document], keep=True)
    assert found(tmp_path) == ["data/toy/images/a.jpg", "data/toy/read me.txt", "deep/a.json", "toy.zip"]


def test_a_broken_download_goes_on_in_the_next_call(web_server, tmp_path, monkeypatch):
    archive = serve(web_server, "toy.zip", make_zip(), size=len(make_zip()))
    monkeypatch.setattr("segpipe.hub.settings.Limits", lambda **options: Limits(attempts=1))
    web_server.fail("toy.zip", faults.cut_after(30_000))
    with pytest.raises(IntegrityError, match="ended before"):
        fetch_archives(tmp_path, [archive])
    assert not (tmp_path / "data").exists()
    assert fetch_archives(tmp_path, [archive]) == (archive.url,)
    assert web_server.requests_for("toy.zip")[-1].headers["range"] == "bytes=30000-"
    assert found(tmp_path) == ["data/toy/images/a.jpg", "data/toy/read me.txt"]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_other_bytes_than_the_published_ones_are_refused_and_thrown_away(web_server, tmp_path, kind):
    archive = serve(web_server, "toy.zip", make_zip(), kind)
    web_server.static["toy.zip"] = make_zip({"toy/images/a.jpg": b"evil"})
    with pytest.raises(IntegrityError, match=kind):
        fetch_archives(tmp_path, [archive])
    assert found(tmp_path) == []


def test_an_archive_that_the_user_fetched_is_used_and_left_or_refused(web_server, tmp_path):
    archive = serve(web_server, "toy.zip", make_zip())
    (tmp_path / "toy.zip").write_bytes(make_zip())
    fetch_archives(tmp_path, [archive])
    assert found(tmp_path) == ["data/toy/images/a.jpg", "data/toy/read me.txt", "toy.zip"]
    assert not web_server.seen
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "toy.zip").write_bytes(b"half of it")
    with pytest.raises(IntegrityError, match="Take the file away"):
        fetch_archives(tmp_path, [archive])
    assert (tmp_path / "toy.zip").read_bytes() == b"half of it"


def test_an_archive_that_was_fetched_before_a_stop_is_unpacked_and_removed(web_server, tmp_path):
    archive = serve(web_server, "toy.zip", make_zip())
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "toy.zip").write_bytes(make_zip())
    fetch_archives(tmp_path, [archive])
    assert not web_server.seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_folder_of_the_user_is_not_written_into(web_server, tmp_path):
    archive = serve(web_server, "toy.zip", make_zip())
    (tmp_path / "data/toy").mkdir(parents=True)
    (tmp_path / "data/toy/mine.txt").write_text("mine")
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        fetch_archives(tmp_path, [archive])
    assert [name for name in found(tmp_path) if not name.startswith(FOLDER)] == ["data/toy/mine.txt"]


def test_no_request_is_made_when_offline_or_when_the_disk_is_too_small(web_server, tmp_path, monkeypatch):
    archive = serve(web_server, "toy.zip", make_zip(), size=10**6)
    usage = namedtuple("usage", "total used free")(10**7, 0, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"needs 2,000,000 bytes and .* has 1,000,000 free"):
        fetch_archives(tmp_path / "new", [archive])
    monkeypatch.undo()
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    with pytest.raises(OfflineError, match="SEGPIPE_OFFLINE"):
        fetch_archives(tmp_path / "new", [archive])
    assert not web_server.seen


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.zip", make_zip({"toy/../../evil": b"x"})),
        ("a.zip", make_zip({"/toy/evil": b"x"})),
        ("a.zip", make_zip({"toy/link": b"/etc/passwd"}, mode=0o120777)),
        ("a.tar", make_tar({"toy/../../evil": b"x"})),
        ("a.tar", make_tar({"toy/link": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        ("a.tar", make_tar({"toy/link": b""}, type=tarfile.LNKTYPE, linkname="toy/other")),
        ("a.tar", make_tar({"toy/device": b""}, type=tarfile.CHRTYPE)),
    ],
)
def test_paths_out_of_the_folder_links_and_devices_are_refused(tmp_path, name, body):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(UnsafePathError):
        unpack(tmp_path / name, "toy", tmp_path / "target")
    assert found(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.zip", make_zip()[:-30]),
        ("a.tar", make_tar()[:20_000]),
        ("a.zip", make_zip({"tool/a": b"x"})),
        ("a.zip", make_zip().replace(b"hello", b"hallo")),
    ],
)
def test_a_damaged_or_a_strange_archive_leaves_nothing(tmp_path, name, body):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(IntegrityError):
        unpack(tmp_path / name, "toy", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_unpacking_needs_space_for_what_comes_out(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(make_zip())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(10))
    with pytest.raises(InputError, match=f"needs {len(NOISE) + 5:,} bytes"):
        unpack(tmp_path / "a.zip", "toy", tmp_path / "target")


def test_a_data_set_is_downloaded_prepared_and_loaded(web_server, tmp_path, monkeypatch):
    put_coco(tmp_path / "published")
    images = {f"val2017/{path.name}": path.read_bytes() for path in (tmp_path / "published/images/val2017").iterdir()}
    archive = serve(
        web_server, "val2017.zip", make_zip(images), top="val2017", folder="images/val2017", signs=("images/val2017",)
    )
    preparer = dataclasses.replace(PREPARERS.get("coco-stuff164k"), archives=(archive,))
    monkeypatch.setitem(PREPARERS._entries, "coco-stuff164k", preparer)
    root = tmp_path / "new"
    assert download_dataset("coco-stuff164k", root) == (archive.url,)
    with pytest.raises(InputError, match=r"stuffthingmaps_trainval2017\.zip"):
        prepare_dataset("coco-stuff164k", root)
    shutil.copytree(tmp_path / "published/annotations", root / "annotations")
    prepare_dataset("coco-stuff164k", root)
    expected = pixels(root / "annotations/val2017/0001_labelTrainIds.png")
    assert labels_of(load_dataset("coco-stuff164k", root, "val")) == [expected, expected]


@pytest.mark.parametrize("name", ["camvid", "cityscapes", "street-scenes"])
def test_what_cannot_be_downloaded_says_where_it_is(name, tmp_path):
    with pytest.raises(InputError, match="cannot be downloaded") as refused:
        download_dataset(name, tmp_path)
    assert PREPARERS.get(name).origin in str(refused.value)


def test_every_archive_has_a_whole_digest_and_a_sign_of_its_own_folder():
    archives = [archive for name in PREPARERS for archive in PREPARERS.get(name).archives]
    digits = {"sha256": 64, "sha1": 40, "md5": 32}
    assert len({archive.url for archive in archives}) == 6
    for archive in archives:
        kind, digest = archive.digest.split(":")
        assert (len(digest), set(digest) <= set("0123456789abcdef")) == (digits[kind], True)
        assert any(sign.startswith(archive.folder) for sign in archive.signs)
        assert archive.name.endswith((".zip", ".tar")) == bool(archive.top)


def test_preparers_and_data_sets_have_the_same_names():
    from segpipe.data import DATASETS

    assert {name for name in PREPARERS if name not in DATASETS} == {"boundaries"}, "which are maps for any data set"
    assert isinstance(PREPARERS.get("camvid"), Preparer)


def encrypted(data: bytes) -> bytes:
    """A zip whose members say that they are encrypted, in the list and before their bytes."""
    return data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01").replace(
        b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01"
    )


def test_an_encrypted_archive_is_an_integrity_error(tmp_path):
    (tmp_path / "a.zip").write_bytes(encrypted(make_zip()))
    with pytest.raises(IntegrityError, match="encrypted"):
        unpack(tmp_path / "a.zip", "toy", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_archive_is_a_typed_error_or_unpacked(tmp_path, name, seed):
    """Bytes changed at random, where archives have their headers and lists, and cut at random places."""
    import random

    chance = random.Random(seed)
    data = bytearray(make_zip() if name == "a.zip" else make_tar())
    if name == "a.tgz":
        data = bytearray(gzip.compress(data))
    places = [*range(min(1100, len(data))), *range(max(0, len(data) - 400), len(data))]
    for place in chance.sample(places, 12):
        data[place] = chance.randrange(256)
    (tmp_path / name).write_bytes(data[: chance.randrange(len(data))] if seed % 3 == 0 else data)
    try:
        unpack(tmp_path / name, "toy", tmp_path / "target")
    except (IntegrityError, UnsafePathError, InputError):
        assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_an_archive_is_bounded(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(make_zip() if name == "a.zip" else make_tar())
    monkeypatch.setenv("SEGPIPE_MAX_ARCHIVE_FILES", "2")
    with pytest.raises(InputError, match=r"at least [34] files"):
        unpack(tmp_path / name, "toy", tmp_path / "target")
    monkeypatch.setenv("SEGPIPE_MAX_ARCHIVE_FILES", "10")
    monkeypatch.setenv("SEGPIPE_MAX_ARCHIVE_BYTES", "1000")
    with pytest.raises(InputError, match=r"unpacks to .* bytes; at most 1,000"):
        unpack(tmp_path / name, "toy", tmp_path / "target")


@pytest.mark.skipif(os.name != "posix", reason="named pipes of POSIX")
def test_an_archive_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(InputError, match="named pipe"):
        unpack(tmp_path / "a.zip", "toy", tmp_path / "target")


@pytest.mark.skipif(os.name != "posix", reason="named pipes of POSIX")
def test_a_pipe_in_the_place_of_a_prepared_file_is_not_whole(tmp_path):
    from segpipe.data.preparing.preparation import is_whole

    os.mkfifo(tmp_path / "a.png")
    assert not is_whole(tmp_path / "a.png")
