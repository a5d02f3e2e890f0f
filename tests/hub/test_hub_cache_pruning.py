"""The cache: what is in it, and what is removed from it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import FAST, NAME, WEIGHTS, leftovers

from segpipe.atomic import atomic_folder
from segpipe.errors import InputError
from segpipe.hub import Hub

SOURCE = f"hf:{NAME}"


def make_old(path: Path, days: float) -> None:
    moment = time.time() - days * 86400
    os.utime(path, (moment, moment))


def test_cached_lists_source_size_and_revisions(hub: Hub):
    hub.resolve(SOURCE)
    folder = hub.resolve(f"modelscope:{NAME}")
    newest = hub.cached()[0]
    assert [model.source for model in hub.cached()] == [f"modelscope:{NAME}", SOURCE]
    assert (newest.path, newest.revisions, newest.kind) == (folder.path, ("master",), "downloaded")
    assert newest.size == sum(path.stat().st_size for path in folder.path.iterdir())


def test_use_of_a_model_is_noted(hub: Hub):
    hub.resolve(SOURCE)
    model = hub.cached()[0]
    make_old(model.path / "manifest.json", days=30)
    assert hub.cached()[0].last_used < model.last_used - timedelta(days=29)
    hub.resolve(SOURCE)
    assert hub.cached()[0].last_used >= model.last_used - timedelta(seconds=5)


def test_prune_removes_what_was_not_used(hub: Hub):
    old = hub.resolve(SOURCE)
    new = hub.resolve(f"modelscope:{NAME}")
    make_old(old.path / "manifest.json", days=40)
    pruned = hub.prune(unused_for=timedelta(days=30))
    assert pruned.paths == (old.path,)
    assert pruned.size > len(WEIGHTS)
    assert [model.path for model in hub.cached()] == [new.path]


def test_prune_keeps_the_most_recently_used(hub: Hub):
    old = hub.resolve(SOURCE)
    make_old(old.path / "manifest.json", days=1)
    new = hub.resolve(f"modelscope:{NAME}")
    assert hub.prune(keep_last=1).paths == (old.path,)
    assert [model.path for model in hub.cached()] == [new.path]


def test_prune_removes_snapshots_that_nothing_points_at_after_a_day(hub: Hub, server: FaultServer):
    old = hub.resolve(SOURCE)
    server.models[NAME]["README.md"] = b"new"
    new = hub.resolve(SOURCE, refresh=True)
    assert hub.prune().paths == ()
    make_old(old.path / "manifest.json", days=2)
    assert hub.prune().paths == (old.path,)
    assert new.verify() == ()


def test_prune_removes_leftovers_of_dead_downloads(hub: Hub, server: FaultServer):
    server.fail_always("model.safetensors", faults.cut_after(500))
    for _ in range(2):
        with pytest.raises(OSError, match="Gave up"):
            Hub(limits=dataclasses.replace(FAST, attempts=1)).resolve(SOURCE)
    incoming = hub.cache.shelf(SOURCE).root / ".incoming-1"
    incoming.mkdir()
    make_old(incoming, days=2)
    hub.prune()
    assert leftovers(hub.cache.home) == []


def test_prune_leaves_downloads_of_living_processes_alone(hub: Hub):
    from segpipe.hub.partial_downloads import Origin, claim_part

    part = claim_part(hub.cache.shelf(SOURCE).parts, Origin("x", "http://host/x", 5, "sha256:0"))
    hub.prune()
    assert part.path.exists()
    part.release()


def test_remove_takes_one_model_or_one_revision(hub: Hub):
    hub.resolve(f"modelscope:{NAME}@v1")
    hub.resolve(SOURCE)
    assert len(hub.remove(SOURCE).paths) == 1
    assert hub.remove(f"modelscope:{NAME}", "v2").paths == ()
    assert len(hub.remove(f"modelscope:{NAME}@v1").paths) == 1
    assert hub.cached() == ()


def test_converted_folders_are_listed_and_pruned(hub: Hub):
    final = hub.cache.converted_folder("hf:team/street@main")
    with atomic_folder(final) as folder:
        (folder / "manifest.json").write_text('{"format_version": 1, "files": []}')
    (model,) = hub.cached()
    assert (model.kind, model.path) == ("converted", final)
    assert hub.prune(keep_last=0).paths == (final,)


def convert(hub: Hub, source: str, days: float = 0) -> Path:
    """What loading leaves in the cache for a model in another dialect."""
    final = hub.cache.converted_folder(f"{source}-0123")
    with atomic_folder(final) as folder:
        (folder / "manifest.json").write_text(json.dumps({"format_version": 1, "source": source, "files": []}))
    make_old(final / "manifest.json", days)
    return final


def test_what_was_converted_goes_with_its_model(hub: Hub):
    model, other = hub.resolve(SOURCE), convert(hub, "hf:team/other")
    converted = convert(hub, SOURCE)
    assert hub.remove(SOURCE, "v7").paths == ()
    assert hub.remove(SOURCE).paths == (model.path, converted)
    assert [cached.path for cached in hub.cached()] == [other]


def test_prune_removes_what_was_converted_from_a_model_that_is_gone(hub: Hub):
    hub.resolve(SOURCE)
    kept, gone, fresh = convert(hub, SOURCE, 2), convert(hub, "hf:team/gone", 2), convert(hub, "hf:team/fresh")
    assert hub.prune().paths == (gone,)
    assert kept.is_dir()
    assert fresh.is_dir()


def test_revision_is_removed_without_what_another_one_needs(hub: Hub):
    folder = hub.resolve(f"modelscope:{NAME}@v1")
    assert hub.resolve(f"modelscope:{NAME}").path == folder.path
    assert hub.remove(f"modelscope:{NAME}", "master").paths == ()
    assert [model.revisions for model in hub.cached()] == [("v1",)]
    assert folder.verify() == ()
    assert hub.remove(f"modelscope:{NAME}", "v1").paths == (folder.path,)


def test_branch_is_removed_with_the_note_of_its_commit(hub: Hub):
    folder = hub.resolve(SOURCE)
    assert len(hub.cached()[0].revisions) == 2
    assert hub.remove(SOURCE, "main").paths == (folder.path,)
    assert hub.cached() == ()


def test_removal_that_was_interrupted_is_finished_by_prune(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.resolve(SOURCE)
    convert(hub, SOURCE)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *arguments, **options: None)
        hub.remove(SOURCE)
    assert hub.cached() == ()
    for path in hub.cache.home.rglob(".removed-*"):
        make_old(path, days=2)
    assert hub.prune().size > len(WEIGHTS)
    assert leftovers(hub.cache.home) == []


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[" * 100_000,
        "{}",
        '{"revision": "main", "snapshot": "../../../etc"}',
        '{"revision": "main", "snapshot": 5}',
        '{"revision": "main\\u001b[2J", "snapshot": "0123456789abcdef0123"}',
        '{"revision": "../x", "snapshot": "0123456789abcdef0123"}',
        "x" * 200_000,
    ],
    ids=range(8),
)
def test_a_forged_note_of_a_revision_is_ignored(hub: Hub, server: FaultServer, note: str):
    folder = hub.resolve(SOURCE)
    (folder.path.parent / "refs/forged.json").write_text(note)
    assert hub.cached()[0].revisions == (faults.COMMIT, "main")
    for path in (folder.path.parent / "refs").iterdir():
        path.write_text(note)
    assert hub.cached()[0].revisions == ()
    assert hub.resolve(SOURCE).path == folder.path
    hub.prune()
    hub.remove(SOURCE)


@pytest.mark.skipif(os.name != "posix", reason="links and named pipes of POSIX")
def test_special_files_in_the_cache_are_no_obstacle(hub: Hub, server: FaultServer):
    folder = hub.resolve(SOURCE)
    home = hub.cache.home
    shelf = folder.path.parent
    (shelf / "parts").mkdir(exist_ok=True)
    for place in ("refs/a.json", "parts/a.1.part", "parts/a.1.part.json", "pipe"):
        os.mkfifo(shelf / place)
    for place in ("refs/b.json", "parts/b.1.part.json", "parts/c.1.part", "converted"):
        (shelf / place).mkdir()
    (shelf / "0123456789abcdef0123").mkdir()
    os.mkfifo(shelf / "0123456789abcdef0123/manifest.json")
    (home / "models/.incoming-1").symlink_to("nowhere")
    (home / "models/x").write_text("no folder")
    assert [model.path for model in hub.cached()] == [folder.path]
    assert hub.resolve(SOURCE).path == folder.path
    assert all(checked.problems == () for checked in hub.verify())
    for path in (shelf / "parts").iterdir():
        make_old(path, days=1)
    hub.prune()
    assert not list((shelf / "parts").iterdir())


def test_a_time_of_use_that_no_calendar_has_is_no_obstacle(hub: Hub):
    folder = hub.resolve(SOURCE)
    for moment in (2**40, -(2**40)):
        os.utime(folder.path / "manifest.json", (0, moment))
        assert len(hub.cached()) == 1
    hub.prune()


@pytest.mark.parametrize("arguments", [{"keep_last": -1}, {"unused_for": timedelta(days=-1)}])
def test_prune_refuses_what_would_remove_everything_by_mistake(hub: Hub, arguments: dict):
    hub.resolve(SOURCE)
    with pytest.raises(InputError):
        hub.prune(**arguments)
    assert len(hub.cached()) == 1
