"""The floors of the house: which room may import which, what is public, what an import costs."""

import ast
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "advice": 0, "errors": 0, "lazy": 0, "names": 0, "text": 0, "log": 0.25,
    "files": 0.5, "limits": 0.5, "progress_bars": 0.5, "atomic": 0.75,
    "registry": 0.75, "extras": 1, "configuration": 1, "distributed": 1, "devices": 1.5,
    "drawing": 2, "hub": 2, "scenes": 2,
    "data": 3, "models": 3,
    "checkpoints": 4,
    "inference": 5,
    "analysis": 6, "evaluation": 6, "exporters": 6,
    "pipelines": 7, "trainers": 7,
    "cli": 9, "compat": 9, "__main__": 10, "__init__": 10,
}  # fmt: skip
FILES = sorted(
    path
    for folder in ("segpipe", "trainers", "configuration")
    for path in (ROOT / folder).rglob("*.py")
    if "presets" not in path.parts
)


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "segpipe" else parts[0]


def imported_rooms(path: Path):
    """(room, line) of each absolute import of segpipe in a file, whether at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "segpipe" else [node.module]
            )
        for name in names:
            if name.startswith("segpipe."):
                yield name.split(".")[1], node.lineno


def is_allowed(room: str, imported: str) -> bool:
    """A name that is no room is a public one, for the doors alone; `__version__` is for everybody."""
    if imported in FLOORS:
        return imported == room or FLOORS[imported] < FLOORS[room]
    return imported == "__version__" or FLOORS[room] == 9


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_from_lower_floors_or_itself(path):
    room = room_of(path)
    if room == "__init__":
        return  # the public names
    for imported, line in imported_rooms(path):
        assert is_allowed(room, imported), f"{path.name}:{line}: {room} imports {imported}"


def test_what_a_run_leaves_is_read_and_written_without_the_trainer():
    """So a command or a service reads a work directory without building a trainer."""
    for path in (ROOT / "trainers" / "run").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                assert node.module == "schedules", f"{path.name}:{node.lineno} imports {node.module}"


MODULES = {
    ".".join(["segpipe", *path.with_suffix("").relative_to(ROOT).parts]).replace("segpipe.segpipe", "segpipe")
    for path in FILES
}


def is_submodule(name: str, room: str) -> bool:
    return name.count(".") > 1 and name.split(".")[1] != room and (name in MODULES or f"{name}.__init__" in MODULES)


def submodule_imports(path: Path):
    """(module, line) of each import from inside another room, that is, not from the room's own `__init__`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("segpipe."):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from ((name, node.lineno) for name in names if is_submodule(name, room_of(path)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_is_imported_through_its_own_init(path):
    assert [*submodule_imports(path)] == [] or path.name == "__main__.py"


def imported_files(path: Path) -> set[Path]:
    """The files of a room that one of them imports by relative imports, but for what type checkers alone read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for block in ast.walk(tree) if is_for_type_checkers(block) for node in ast.walk(block)]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in typing:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for target in (base, *(base / alias.name for alias in node.names)):
                found |= {target.with_suffix(".py"), target / "__init__.py"} & set(FILES)
    return found - {path}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_no_files_of_a_room_import_one_another_in_a_circle():
    graphlib.TopologicalSorter({path: imported_files(path) for path in FILES}).prepare()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_private_name_stays_in_its_room(path):
    """Least of all does a command call what a Python user cannot."""
    private = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("segpipe")
        for alias in node.names
        if alias.name.startswith("_") and alias.name != "__version__"
    ]
    assert private == []


def lazy_inits():
    return [path for path in FILES if path.name == "__init__.py" and "lazy_names(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", lazy_inits(), ids=lambda path: path.parent.name)
def test_a_lazy_room_offers_what_type_checkers_see(path):
    folders = path.parent.relative_to(ROOT).parts
    room = importlib.import_module(".".join(folders if folders[0] == "segpipe" else ("segpipe", *folders)))
    block = next(node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    assert room.__all__ == sorted(alias.asname for statement in block.body for alias in statement.names)
    assert all(is_there(room, name) for name in room.__all__)


def is_there(room, name):
    """A Triton kernel's module imports Triton, which a machine without a GPU need not have."""
    try:
        return hasattr(room, name)
    except ModuleNotFoundError as error:
        return error.name == "triton"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_rooms_are_never_imported_by_their_folder_names(path):
    """`import trainers` would create every class twice."""
    assert not re.search(
        r"^\s*(from|import) (trainers|configuration)\b", path.read_text(encoding="utf-8"), re.MULTILINE
    )


def test_no_file_is_named_after_nothing():
    vague = {"utils", "util", "common", "misc", "helpers", "helper"}
    assert not [path for path in FILES if path.stem in vague]


def test_each_module_begins_with_a_sentence():
    for path in FILES:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert text, f"{path} has no docstring"


def test_a_text_that_holds_a_call_is_formatted():
    """Without its f, a part of a message would show the code of the call."""
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and re.search(r"\{\w+(\.\w+)*\(", str(node.value))
        ]
        assert not calls, f"{path}:{calls[0]} has a text with a call in braces, which is not formatted"


@pytest.mark.parametrize("package", [path.parent for path in FILES if path.name == "__init__.py"], ids=lambda p: p.name)
def test_no_submodule_hides_a_function_of_its_package(package):
    """Importing a submodule sets it on its package, over a function of the same name."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    modules = {path.stem for path in package.glob("*.py")}
    assert not {name for name in names & modules if name.islower()} - _re_exported_modules(tree)


def _re_exported_modules(tree):
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.module
        for alias in node.names
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_is_asked_by_a_method_that_may_raise(path):
    """Path.is_file raises OSError for a name that is too long and in a folder that may not be entered, Path.expanduser
    RuntimeError for a user that there is not; os.path's functions never do."""
    unsafe = ("is_file", "is_dir", "exists", "expanduser")
    calls = [
        (node.func.attr, node.lineno)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in unsafe
        if not node.args and getattr(node.func.value, "id", "") not in ("entry", "info")
    ]
    assert calls == [] or path == ROOT / "segpipe/__init__.py"


def test_public_names_are_exactly_these():
    import segpipe

    assert segpipe.__all__ == [
        "Configuration", "DATASETS", "Hub", "LabelSet", "MODELS", "ModelFolder", "PIPELINES", "Segmentation",
        "SegpipeError", "TRAINERS", "Tasks", "build_trainer", "convert", "download", "evaluate", "export",
        "load_dataset", "load_model", "pipeline", "publish",
    ]  # fmt: skip
    assert all(getattr(segpipe, name) is not None for name in segpipe.__all__)


def test_the_types_of_public_names_can_be_read_when_they_run():
    import segpipe

    for public in (getattr(segpipe, name) for name in segpipe.__all__):
        owner = public if inspect.isroutine(public) or inspect.isclass(public) else type(public)
        methods = [getattr(owner, each) for each in dir(owner) if inspect.isclass(owner) and not each.startswith("_")]
        for annotated in (owner, *filter(inspect.isroutine, methods)):
            typing.get_type_hints(annotated)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_importing_segpipe_takes_nothing_heavy():
    heavy = ["torch", "cv2", "numpy", "PIL", "requests", "msgspec"]
    assert run_python(f"import segpipe, sys; print([name for name in {heavy} if name in sys.modules])").strip() == "[]"


def test_documents_and_hub_take_no_torch():
    code = "import segpipe.configuration, segpipe.hub, sys; print('torch' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_an_unknown_public_name_is_an_attribute_error():
    import segpipe

    with pytest.raises(AttributeError, match="no attribute 'piepline'"):
        _ = segpipe.piepline


def test_a_users_own_trainers_folder_does_not_shadow_ours(tmp_path):
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    (tmp_path / "configuration.py").write_text("raise RuntimeError('the wrong one')\n")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import segpipe.trainers, segpipe.configuration"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
