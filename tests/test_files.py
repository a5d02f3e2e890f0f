"""Files from outside: their kind is looked at before a byte is read, and their size is bounded."""

import os
import socket

import pytest

from segpipe.errors import ImageDecodeError, ImageTooLargeError, InputError
from segpipe.files import absolute_path, copy_regular, file_url_path, open_regular, read_file, read_text


def test_a_regular_file_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert read_file(path, max_bytes=3, error=InputError) == b"abc"


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert read_file(tmp_path / "link", max_bytes=3, error=InputError) == b"abc"


def test_a_larger_file_is_refused_by_name(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abcd")
    with pytest.raises(ImageTooLargeError, match=r"a has 4 bytes or more; at most 3"):
        read_file(path, max_bytes=3, error=ImageDecodeError, too_large=ImageTooLargeError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a named pipe; a regular file is needed"):
        read_file(tmp_path / "pipe", max_bytes=3, error=InputError)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets in the file system")
def test_a_socket_a_device_and_a_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has at most 108 characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path in ("socket", "/dev/zero", tmp_path):
            with pytest.raises(InputError):
                open_regular(path, error=InputError)


@pytest.mark.parametrize("path", ["missing", "a\0b", "\ud800", "x" * 5000])
def test_what_cannot_be_opened_raises_the_given_error(path):
    with pytest.raises(InputError):
        open_regular(path, error=InputError)


def test_a_deleted_current_folder_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(InputError, match="The current folder was deleted"):
        open_regular("missing", error=InputError)


@pytest.mark.parametrize("url", ["file:///srv/a%20b", "file://localhost/srv/a%20b", "file://LOCALHOST/srv/a%20b"])
def test_a_file_url_names_a_path_of_this_machine(url):
    assert file_url_path(url, error=InputError) == "/srv/a b"


@pytest.mark.parametrize(
    "url",
    ["file://host/etc/passwd", "file://127.0.0.1/x", "file://localhost:80/x", "file://me@localhost/x", "file://x"],
)
def test_a_file_url_of_another_host_is_refused(url):
    with pytest.raises(InputError, match="names another host"):
        file_url_path(url, error=InputError)


def test_a_relative_path_needs_a_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_path("a/b", error=InputError) == tmp_path / "a/b"
    tmp_path.rmdir()
    assert absolute_path("/a/b", error=InputError).as_posix() == "/a/b"
    with pytest.raises(InputError, match="current folder was deleted"):
        absolute_path("a/b", error=InputError)


def test_a_device_is_not_copied(tmp_path):
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device"):
        copy_regular(tmp_path / "link", tmp_path / "copy", error=InputError)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_may_begin_with_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "names.txt").write_bytes("Straße\nBäume".encode(encoding))
    assert read_text(tmp_path / "names.txt", max_bytes=99, error=InputError) == "Straße\nBäume"


@pytest.mark.parametrize("data", [b"\xe4", b"\xff\xfe\x00\xd8", b"\xff\xfea"])
def test_what_is_no_text_is_refused_by_name(tmp_path, data):
    (tmp_path / "names.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"names\.txt cannot be read as text: .* Save it as UTF-8"):
        read_text(tmp_path / "names.txt", max_bytes=99, error=InputError)


def test_an_error_says_which_file_it_is_about(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError) as caught:
            read_file(path, max_bytes=10, error=InputError)
        assert caught.value.path == path
