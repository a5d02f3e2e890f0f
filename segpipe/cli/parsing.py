"""What the verbs' argument parsers have in common."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any

MOST_DAYS = 36525
"""A hundred years."""
Action = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser without colours, which Python 3.14 adds and our streams would show as escapes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.color = False


def new_parser(prog: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A parser of one verb, with -v; the examples stand below the help."""
    parser = Parser(
        prog=prog,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_verbose(parser)
    return parser


def add_verbose(parser: argparse.ArgumentParser, default: Any = 0) -> None:
    """-v: the log on stderr."""
    parser.add_argument(
        "-v", "--verbose", action="count", default=default, help="show what happens, on stderr; twice for more"
    )


def days(text: str) -> float:
    """A number of days: the `type` of an option."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 0 to {MOST_DAYS:,}")
    return number


def whole_number(text: str) -> int:
    """Return 0, 1, 2, …: the `type` of an option."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 0 on, of at most 9 digits")
    return int(text)


def finite_number(text: str) -> float:
    """Return a number that is neither infinite nor NaN: the `type` of an option."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a finite number")
    return number


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: one JSON document on stdout, and nothing else there."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def add_actions(parser: argparse.ArgumentParser) -> Any:
    """Room for a verb's own verbs; see `add_action`."""
    return parser.add_subparsers(metavar="ACTION", required=True, dest="action_name", title="actions")


def add_action(actions: Any, name: str, summary: str, action: Action) -> argparse.ArgumentParser:
    """One of a verb's own verbs; `options.action` will be the function to run."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    # Suppressed, or it would overwrite a -v that stands before the action.
    add_verbose(parser, argparse.SUPPRESS)
    parser.set_defaults(action=action)
    return parser
