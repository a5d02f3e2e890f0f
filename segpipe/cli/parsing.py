"""What the verbs' argument parsers have in common: short usage errors with "did you mean", and values of options."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from segpipe import advice
from segpipe.errors import InputError
from segpipe.names import did_you_mean

from .unknown_options import describe_unknown_option

MOST_DAYS = 36525
"""A hundred years."""
Action = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a sentence each, without the list of all options.

    It has no colours, which Python 3.14 adds and our streams would show as escapes.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.color = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # what parse_args calls, of actions too
        self._check_options(args or ())
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            what = "an option that it does not have" if rest[0].startswith("-") else "more than this command takes"
            self.error(f"{' '.join(rest)} is {what}. Write {self._how()}")
        return options

    def format_help(self) -> str:
        self.usage = self.usage or self._how()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {self._rephrase(message)}\n  {self.prog} --help says more.\n")

    def _check_options(self, arguments: Sequence[str]) -> None:
        """Refuse an option that does not exist before anything else is missed."""
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            return
        for argument in arguments:
            if argument == "--":
                return
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                self.error(describe_unknown_option(name, list(self._option_string_actions)))

    def _how(self) -> str:
        """The command with what it cannot do without."""
        required = [action for action in self._actions if action.required and action.option_strings]
        given = [f"{action.option_strings[0]} {self._values_of(action)}" for action in required]
        places = [self._values_of(action) for action in self._actions if not action.option_strings]
        return " ".join([self.prog, *places, *given, "[options]"])

    def _rephrase(self, message: str) -> str:
        """Return argparse's message as one that says what to do."""
        missing = re.fullmatch(r"the following arguments are required: (.*)", message)
        if missing:
            verb = "are" if "," in missing[1] else "is"
            return f"{missing[1]} {verb} missing. Write {self._how()}"
        choice = re.fullmatch(r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)", message, re.DOTALL)
        if choice:
            name, value, known = choice[1], choice[2].strip("'\""), re.findall(r"[^\s,'\"]+", choice[3])
            return f"{_last(name)} is {value!r}; it is one of {', '.join(known)}.{did_you_mean(value, known)}"
        count = re.fullmatch(r"argument (\S+): expected .*", message)
        if count and (action := self._option_string_actions.get(_last(count[1]))):
            return f"{_last(count[1])} needs a value. Write {_last(count[1])} {self._values_of(action)}"
        return re.sub(r"^argument (\S+): ", lambda match: f"{_last(match[1])}: ", message)

    def _values_of(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return f"{'|'.join(action.choices)} …"
        return self._get_formatter()._format_args(action, action.dest.upper())


def flags_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> frozenset[str]:
    """Return the options of a verb, or of the action that was chosen among its own verbs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return flags_of(action.choices[getattr(options, action.dest)], options)
    return frozenset(parser._option_string_actions)


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


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the options of a data set from KEY=VALUE, the last of each key; for values see `parse_value`."""
    from segpipe.configuration import parse_value

    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise InputError(
                f"--option is {pair!r}; KEY=VALUE is needed. Write e.g. {advice.option('names', ['road', 'sky'])}."
            )
        parsed[key] = parse_value(text)
    return parsed


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


def share(text: str) -> float:
    """Return a number between 0 and 1: the `type` of an option."""
    number = finite_number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a share above 0 and below 1, such as 0.1")
    return number


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: one JSON document on stdout, and nothing else there."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """--overwrite: what is there already is replaced."""
    parser.add_argument("--overwrite", action="store_true", help="replace what is there; default: refuse")


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


def _last(names: str) -> str:
    """Return the long one of an option's names, as argparse lists them: -v/--verbose."""
    return names.rpartition("/")[2]
