"""Registries: the names of what third parties can add."""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from segpipe.errors import InputError, UnknownNameError
from segpipe.log import get_logger
from segpipe.names import unknown_name_message

T = TypeVar("T")
logger = get_logger(__name__)

PLUGIN_GROUP = "segpipe.plugins"


class Registry(Generic[T]):
    """Names of one kind of thing, each with its entry, or with the `module:attribute` that the entry is read from.

        MODELS: Registry[Family] = Registry("network family", {"segformer": "segpipe.models.segformer:FAMILY"})

        MODELS.register("mine")(my_family)

    Entries given as text are imported when they are first asked for. An unknown name makes the installed plug-ins
    (entry points of the group `segpipe.plugins`, each a callable without arguments that registers things) load once.

    Args:
        kind: what an entry is called in messages.
        entries: names and texts to begin with.
        check: raises InputError for a name and an entry that it cannot stand for.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, str] | None = None,
        *,
        check: Callable[[str, T], None] = lambda name, entry: None,
    ) -> None:
        self.kind = kind
        self._check = check
        self._entries: dict[str, T | str] = {**(entries or {})}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that makes `name` stand for the decorated object."""

        def add(entry: T) -> T:
            known = self.get(name) if name in self._entries else None
            if known is not None and known is not entry:
                raise InputError(f"The {self.kind} {name!r} is already registered as {known!r}. Choose another name.")
            self._check(name, entry)
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """Return what `name` stands for; UnknownNameError lists the names and the nearest one."""
        if name not in self:
            raise UnknownNameError(unknown_name_message(self.kind, name, self._entries))
        entry = self._entries[name]
        if isinstance(entry, str):
            entry = self._entries[name] = cast(T, load_attribute(entry))
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and name not in self._entries:
            load_plugins()
        return isinstance(name, str) and name in self._entries

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self) or 'empty'})"


def load_attribute(place: str) -> Any:
    """Import what a text `module:attribute` names."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


_loaded_plugins: set[str] = set()
_loading = threading.RLock()


def load_plugins() -> None:
    """Run each installed plug-in once; one that fails is logged and never breaks the core."""
    with _loading:  # another thread that asks for a plug-in's name waits until it is there
        for plugin in importlib.metadata.entry_points(group=PLUGIN_GROUP):
            if plugin.name in _loaded_plugins:
                continue
            _loaded_plugins.add(plugin.name)
            try:
                plugin.load()()
            except Exception as error:  # a third party's code may raise anything
                logger.warning("The segpipe plugin %s failed to load: %s", plugin.name, error)
