"""What an option that does not exist may have been meant to be: a misspelt one, a key to set, an option of the data."""

from __future__ import annotations

from collections.abc import Sequence

from segpipe.names import did_you_mean


def describe_unknown_option(name: str, known: Sequence[str]) -> str:
    """Return a sentence on an option that a verb does not have, with what comes nearest.

    Args:
        name: with its hyphens, such as --batchsize.
        known: the options of the verb.
    """
    key = name.lstrip("-").replace("-", "_")
    if "--option" in known and key in _dataset_options():
        hint = f" Did you mean --option {key}=VALUE?"
    elif "--set" in known and (path := _setting_of(key)):
        hint = f" Did you mean --set {path}=VALUE?"
    else:
        hint = did_you_mean(name, [flag for flag in known if flag.startswith("--")]).replace("'", "")
    return f"There is no option {name}.{hint}"


def _setting_of(key: str) -> str | None:
    from segpipe.configuration import find_path

    return find_path(key)


def _dataset_options() -> set[str]:
    from segpipe.data import all_options

    return all_options()
