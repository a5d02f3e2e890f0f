"""Finding images: how strings are decided, what counts as many, and how things are named."""

from __future__ import annotations

import base64
import io
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe.data.sources import iterate_sources, parse_source, read_source
from segpipe.errors import ImageDecodeError, ImageFetchError, ImageTooLargeError, InputError


def png_bytes(level=7, size=(4, 3)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (level,) * 3).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(png_bytes())
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.png").write_bytes(png_bytes())
    return tmp_path


@pytest.fixture
def server():
    """A web server on this machine that answers /image.png, /page.html and nothing else."""
    answers = {"/image.png": png_bytes(9), "/page.html": b"<!doctype html><title>Log in</title>"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = answers.get(self.path.partition("?")[0])
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_kind_of_string_is_read(folder, server):
    encoded = base64.b64encode(png_bytes(9)).decode()
    (folder / "a b.png").write_bytes(png_bytes(9))
    sources = [
        f"{server}/image.png?size=large",
        f"data:image/png;base64,{encoded}",
        encoded,
        "\n".join(encoded[start : start + 40] for start in range(0, len(encoded), 40)),
        str(folder / "a b.png"),
        (folder / "a b.png").as_uri(),
    ]
    for source in sources:
        assert not parse_source(source).is_many
        assert read_source(source)[0, 0].tolist() == [9, 9, 9]


def test_other_sources_are_read_as_images():
    array = np.full((5, 4, 3), 5, np.uint8)
    for source in (array, torch.from_numpy(array), Image.fromarray(array), png_bytes(5, (4, 5))):
        assert not parse_source(source).is_many
        assert np.array_equal(read_source(source), array)


def test_url_failures_name_the_url_without_its_secrets(server):
    with pytest.raises(ImageFetchError, match=r"/none\.png"):
        read_source(f"{server}/none.png")
    with pytest.raises(ImageFetchError, match="not with an image") as failure:
        read_source(f"{server}/page.html?token=secret")
    assert "secret" not in str(failure.value)
    with pytest.raises(ImageFetchError):
        read_source(f"{server}/image.png", max_bytes=10)


def test_offline_mode_refuses_urls(server, monkeypatch):
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    with pytest.raises(ImageFetchError, match="OFFLINE"):
        read_source(f"{server}/image.png")


def test_misspelt_path_gets_the_nearest_file(folder):
    (folder / "street.jpg").write_bytes(png_bytes())
    for wrong in (folder / "steet.jpg", str(folder / "steet.jpg")):
        with pytest.raises(ImageDecodeError, match=r"Did you mean .*street\.jpg"):
            read_source(wrong)
    with pytest.raises(ImageDecodeError, match="does not exist either"):
        read_source(str(folder / "nowhere" / "a.png"))


def test_words_that_happen_to_be_base64_are_taken_as_paths():
    with pytest.raises(ImageDecodeError, match="no image 'images/cats'"):
        read_source("images/cats")


@pytest.mark.parametrize(
    "source", ["", "a\0b.png", "x" * 10_000, "no/match/*.png", "data:image/png;base64", "http://[::1"]
)
def test_strange_strings_are_refused_in_words(source):
    with pytest.raises((ImageDecodeError, ImageFetchError)) as failure:
        read_source(source)
    assert 20 < len(str(failure.value)) < 500


def test_unknown_scheme_and_damaged_base64_are_refused():
    with pytest.raises(InputError, match=r"s3://bucket/a\.png"):
        read_source("s3://bucket/a.png")
    encoded = base64.b64encode(png_bytes()).decode()
    with pytest.raises(ImageDecodeError, match="damaged base64"):
        read_source(f"data:image/png;base64,{encoded[:-7]}!")
    with pytest.raises(ImageTooLargeError):
        read_source("data:image/png;base64," + "A" * 10_000, max_bytes=100)


def test_data_uri_without_base64_is_percent_encoding():
    payload = "".join(f"%{byte:02x}" for byte in png_bytes(3))
    assert read_source(f"data:image/png,{payload}")[0, 0].tolist() == [3, 3, 3]


def test_folders_give_their_images_sorted_and_not_deeper(folder):
    for source in (folder, str(folder)):
        assert parse_source(source).is_many
        assert list(iterate_sources(source)) == [str(folder / "a.JPG"), str(folder / "b.png")]
    assert list(iterate_sources(str(folder / "**" / "*.png"))) == [
        str(folder / "b.png"),
        str(folder / "deep" / "c.png"),
    ]
    with pytest.raises(InputError, match="is several images"):
        read_source(folder)


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("pattern", ["", "*"])
def test_sub_folders_are_told_of_or_read(folder, caplog, recursive, pattern):
    for name in ("sub/deep/c.png", "sub/.hidden/d.png", ".git/e.png", "notes/readme.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png_bytes())
    (folder / "up").symlink_to(folder, target_is_directory=True)
    (folder / "sub/deep/loop").symlink_to(folder, target_is_directory=True)
    with caplog.at_level("INFO"):
        found = [os.path.relpath(path, folder) for path in iterate_sources(str(folder / pattern), recursive=recursive)]
    told = [message for message in caplog.messages if "left out its sub-folders" in message]
    deeper = ["deep/c.png", "sub/deep/c.png"] if recursive else []
    assert found == ["a.JPG", "b.png", *deeper]
    assert len(told) == (0 if recursive else 1)
    if told:
        assert "left out its sub-folders deep/, sub/. To" in told[0]
        assert f"the pattern {str(folder / '**' / '*')!r}" in told[0]


def test_a_pattern_that_goes_deep_tells_of_no_folder(folder, caplog):
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub/c.png").write_bytes(png_bytes())
    with caplog.at_level("INFO"):
        assert str(folder / "sub/c.png") in list(iterate_sources(str(folder / "**" / "*")))
    assert not caplog.messages


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        list(iterate_sources(tmp_path))


def test_an_existing_file_wins_over_its_reading_as_a_pattern(folder):
    (folder / "a[b].png").write_bytes(png_bytes(1))
    (folder / "ab.png").write_bytes(png_bytes(2))
    assert read_source(str(folder / "a[b].png"))[0, 0, 0] == 1


def test_iterables_are_taken_lazily_and_in_order():
    def endless():
        while True:
            yield png_bytes()

    source = endless()
    assert parse_source(source).is_many
    taken = iterate_sources(source)
    assert next(taken) == next(taken) == png_bytes()
    assert list(iterate_sources(["b.png", "a.png"])) == ["b.png", "a.png"]
    assert list(iterate_sources("a.png")) == ["a.png"]


def test_batches_and_collections_are_many_and_single_images_are_not():
    batch = np.zeros((2, 4, 5, 3), np.uint8)
    assert [part.shape for part in iterate_sources(batch)] == [(4, 5, 3), (4, 5, 3)]
    assert len(list(iterate_sources(torch.zeros(2, 3, 4, 5)))) == 2
    for many in ([], [batch[0]], ("a.png",), iter(["a.png"]), {"a.png"}):
        assert parse_source(many).is_many
    for one in (batch[0], torch.zeros(3, 4, 5), b"", {"image": 1}, io.BytesIO(), Image.new("L", (2, 2)), None):
        assert not parse_source(one).is_many


def test_names_are_short_and_keep_no_secret(folder):
    path = folder / "b.png"
    assert parse_source(path).name(0) == parse_source(str(path)).name(0) == str(path)
    assert parse_source(Image.open(path)).name(0) == str(path)
    assert parse_source("https://me:word@host.org/a.png?token=1#x").name(0) == "https://host.org/a.png"
    assert parse_source("missing.png").name(4) == "missing.png"
    for unnamed in (png_bytes(), np.zeros((2, 2)), base64.b64encode(png_bytes()).decode(), "data:image/png;base64,AA"):
        assert parse_source(unnamed).name(3) == "picture 3"
