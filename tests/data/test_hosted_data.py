"""Data sets that ModelScope holds, from a server on loopback that speaks its protocol."""

import pytest
from compat_material import coco_stuff_files, packed
from fault_server import cut_after, flipped_byte, login_page
from hub_material import leftovers

from segpipe.data.preparing import hosted
from segpipe.errors import (
    DownloadError,
    IntegrityError,
    ModelNameError,
    ModelNotFoundError,
    OfflineError,
    UnsafePathError,
)
from segpipe.hub import Hub, origins as hub_origins

NAME = "damo/coco_stuff164k"


def files_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_loose_files_come_page_by_page(modelscope):
    modelscope.data[NAME] = coco_stuff_files()
    modelscope.page = 4
    assert files_of(hosted.modelscope_data(NAME)) == coco_stuff_files()
    assert len(modelscope.requests_for("/repo/tree")) > 3


def test_a_list_without_end_is_given_up(modelscope, monkeypatch):
    monkeypatch.setattr(hub_origins, "PAGES", 3)
    modelscope.data[NAME] = coco_stuff_files()
    modelscope.page = 1
    with pytest.raises(DownloadError, match="more than 3 pages"):
        hosted.modelscope_data(NAME)
    assert len(modelscope.seen) == 3


def test_archives_are_unpacked_where_they_lie_and_code_is_not_fetched(modelscope):
    files = coco_stuff_files("top/")
    modelscope.data[NAME] = {"deep/all.ZIP": packed(files), "script.py": b"1/0", "README.md": b"# x\n"}
    expected = {f"deep/{name}": data for name, data in files.items()}
    assert files_of(hosted.modelscope_data(NAME)) == {**expected, "README.md": b"# x\n"}
    assert modelscope.requests_for("script.py") == []


def test_an_archive_without_folders_becomes_one_and_several_are_laid_into_each_other(modelscope):
    archives = {"train2017.zip": {"1.jpg": b"a"}, "b.zip": {"labels/train2017/1.png": b"b"}}
    modelscope.data[NAME] = {name: packed(files) for name, files in archives.items()}
    modelscope.data[NAME]["c.zip"] = packed({"labels/val2017/2.png": b"c"})
    found = files_of(hosted.modelscope_data(NAME))
    assert found == {"train2017/1.jpg": b"a", "labels/train2017/1.png": b"b", "labels/val2017/2.png": b"c"}


def test_what_is_attached_comes_from_its_own_address_without_the_token(modelscope, monkeypatch):
    modelscope.data[NAME] = {"coco_stuff164k.json": b"{}"}
    modelscope.attached[NAME] = {"all.zip": packed(coco_stuff_files())}
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    assert len(files_of(hosted.modelscope_data(NAME))) == len(coco_stuff_files()) + 1
    (attached,) = modelscope.requests_for("/attached/")
    assert "authorization" not in attached.headers
    assert "cookie" not in attached.headers
    assert modelscope.requests_for("/oss/tree")[0].headers["authorization"] == "Bearer secret"


def test_an_interrupted_download_goes_on(modelscope):
    archive = packed(coco_stuff_files())
    modelscope.data[NAME] = {"all.zip": archive}
    modelscope.fail("FilePath=all.zip", cut_after(2000))
    hosted.modelscope_data(NAME)
    assert [seen.headers.get("range") for seen in modelscope.requests_for("FilePath=all.zip")] == [None, "bytes=2000-"]


def test_wrong_bytes_are_refused_and_leave_nothing(modelscope, tmp_path):
    modelscope.data[NAME] = {"all.zip": packed(coco_stuff_files())}
    modelscope.fail_always("FilePath=all.zip", flipped_byte)
    with pytest.raises(IntegrityError, match=r"all.zip of modelscope-data:damo/coco_stuff164k: its sha256 is"):
        hosted.modelscope_data(NAME)
    assert leftovers(tmp_path / "home") == []
    assert Hub().cached() == ()


def test_a_damaged_archive_is_refused_and_leaves_no_folder(modelscope):
    modelscope.data[NAME] = {"all.zip": packed(coco_stuff_files())[:-30]}
    with pytest.raises(IntegrityError, match=r"all.zip is not a complete archive"):
        hosted.modelscope_data(NAME)
    assert Hub().cached() == ()


@pytest.mark.parametrize("files", [{"../a.jpg": b"x"}, {"a.zip": packed({"../a.jpg": b"x"})}], ids=["listed", "packed"])
def test_names_that_leave_the_folder_are_refused(modelscope, files):
    modelscope.data[NAME] = files
    with pytest.raises(UnsafePathError):
        hosted.modelscope_data(NAME)


def test_what_is_not_there_is_said_with_what_to_do(modelscope, monkeypatch):
    with pytest.raises(ModelNotFoundError, match="404"):
        hosted.modelscope_data(NAME)
    modelscope.data[NAME] = {"README.md": b"# x\n"}
    with pytest.raises(ModelNotFoundError, match=r"holds neither an archive nor an image: it lists README.md"):
        hosted.modelscope_data(NAME)
    modelscope.fail("/repo/tree", login_page)
    with pytest.raises(DownloadError, match="web page"):
        hosted.modelscope_data(NAME)
    with pytest.raises(ModelNameError, match="an owner and a name"):
        hosted.modelscope_data("coco_stuff164k")
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    with pytest.raises(OfflineError, match="SEGPIPE_OFFLINE"):
        hosted.modelscope_data(NAME)


def test_the_cache_lists_prunes_and_verifies_around_it(modelscope):
    modelscope.data[NAME] = {"all.zip": packed(coco_stuff_files())}
    folder = hosted.modelscope_data(NAME)
    (listed,) = Hub().cached()
    assert (listed.path, listed.kind, listed.source) == (folder, "data", "modelscope-data:damo/coco_stuff164k")
    assert listed.revisions == ("master",)
    assert Hub().verify() == ()
    assert Hub().prune().paths == ()
    assert Hub().prune(keep_last=0).paths == (folder,)
    assert not folder.exists()


def test_the_cache_removes_a_data_set_by_the_name_that_it_shows(modelscope, tmp_path):
    modelscope.data[NAME] = {"all.zip": packed(coco_stuff_files())}
    folder = hosted.modelscope_data(NAME)
    (listed,) = Hub().cached()
    assert Hub().remove(listed.source, revision="v2").paths == ()
    assert Hub().remove(listed.source).paths == (folder,)
    assert list((tmp_path / "home" / "data").iterdir()) == []
