"""Registries: names to builders at the four seams where third parties can join in."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from segpipe.errors import InputError, UnknownNameError
from segpipe.log import get_logger
from segpipe.names import unknown_name_message

T = TypeVar("T")
logger = get_logger(__name__)

PLUGIN_GROUP = "segpipe.plugins"


class Registry(Generic[T]):
    """Names of one kind of thing, each with what builds it.

        MODELS = Registry("model type")

        @MODELS.register("segformer")
        def build_segformer(configuration): ...

    A name that is not known makes the installed plugins (entry points of the group
    `segpipe.plugins`, each a callable without arguments that registers things) load once.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: make `name` stand for the decorated object."""

        def add(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise InputError(
                    f"The {self.kind} {name!r} is already registered as {self._entries[name]!r}. Choose another name."
                )
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """What `name` stands for; UnknownNameError with the nearest name and the list."""
        if name not in self._entries:
            load_plugins()
        if name not in self._entries:
            raise UnknownNameError(unknown_name_message(self.kind, name, self._entries))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __repr__(self) -> str:
        return f"Registry({self.kind}: {', '.join(self) or 'empty'})"


_loaded_plugins: set[str] = set()


def load_plugins() -> None:
    """Run each installed plugin once; one that fails is logged and never breaks the core."""
    for plugin in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        if plugin.name in _loaded_plugins:
            continue
        _loaded_plugins.add(plugin.name)
        try:
            plugin.load()()
        except Exception as error:  # a third party's code may raise anything
            logger.warning("The segpipe plugin %s failed to load: %s", plugin.name, error)
