"""Parsing a command line: short usage errors with "did you mean", verbs of verbs, and values of options."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from segpipe import configuration, data
from segpipe.names import did_you_mean

MOST_DAYS = 36525
"""A hundred years."""
Run = Callable[[argparse.Namespace], int]


class UsageError(Exception):
    """Options of a verb that do not go together; the message says which and what to do."""


@dataclass(frozen=True)
class Command:
    """The parts of a verb.

    Attributes:
        add_arguments: adds its options to a parser.
        run: does the work of parsed options and returns the exit code.
        examples: stand below its help.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Run
    examples: str


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a sentence each, without the list of all options.

    It has no colors, which Python 3.14 adds and our streams would show as escapes. `describe` gives the end of its help
    and is called for that alone: what it imports, a command need not wait for.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.describe: Callable[[], str] | None = None
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
        self.epilog = self.describe() if self.describe else self.epilog
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {self._rephrase(message)}\n  {self.prog} --help says more.\n")

    def flags_of(self, options: argparse.Namespace) -> frozenset[str]:
        """Return the options of the verb, or of the action that was chosen among its own verbs."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                chosen: Parser = action.choices[getattr(options, action.dest)]
                return chosen.flags_of(options)
        return frozenset(self._option_string_actions)

    def _check_options(self, arguments: Sequence[str]) -> None:
        """Refuse an option that does not exist before anything else is missed."""
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            return
        for argument in arguments:
            if argument == "--":
                return
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                self.error(_describe_unknown_option(name, list(self._option_string_actions)))

    def _how(self) -> str:
        """Return the command with what it cannot do without."""
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


def new_parser(prog: str, summary: str, examples: str) -> Parser:
    """Return the parser of one verb, with -v. The examples stand below its help."""
    parser = Parser(
        prog=prog,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_verbose(parser)
    return parser


def add_actions(parser: argparse.ArgumentParser) -> Any:
    """Make room for a verb's own verbs, see `add_action`."""
    return parser.add_subparsers(metavar="ACTION", required=True, dest="action_name", title="actions")


def add_action(actions: Any, name: str, summary: str, action: Run) -> Parser:
    """Add one of a verb's own verbs, for which `run_action` calls the function."""
    parser: Parser = actions.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    # Suppressed, or it would overwrite a -v that stands before the action.
    add_verbose(parser, argparse.SUPPRESS)
    parser.set_defaults(action=action)
    return parser


def run_action(options: argparse.Namespace) -> int:
    """Run the one of a verb's own verbs that was chosen, and return its exit code."""
    return int(options.action(options))


def add_verbose(parser: argparse.ArgumentParser, default: Any = 0) -> None:
    """Add -v, the log on stderr."""
    parser.add_argument(
        "-v", "--verbose", action="count", default=default, help="show what happens, on stderr; twice for more"
    )


def whole_number(text: str) -> int:
    """Return 0, 1, 2, …: the `type` of an option."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 0 on, of at most 9 digits")
    return int(text)


def positive_number(text: str) -> int:
    """Return 1, 2, 3, …: the `type` of an option."""
    if whole_number(text) == 0:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return int(text)


def finite_number(text: str) -> float:
    """Return a number that is neither infinite nor NaN: the `type` of an option."""
    number = _float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a finite number")
    return number


def days(text: str) -> float:
    """Return a number of days: the `type` of an option."""
    number = _float(text)
    if not 0 <= number <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 0 to {MOST_DAYS:,}")
    return number


def share(text: str) -> float:
    """Return a number above 0 and below 1: the `type` of an option."""
    number = finite_number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a share above 0 and below 1, such as 0.1")
    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _describe_unknown_option(name: str, known: Sequence[str]) -> str:
    """Return a sentence on an option that a verb does not have, such as --batchsize, with what comes nearest."""
    key = name.lstrip("-").replace("-", "_")
    if "--option" in known and key in data.all_options():
        hint = f" Did you mean --option {key}=VALUE?"
    elif "--set" in known and (path := configuration.find_path(key)):
        hint = f" Did you mean --set {path}=VALUE?"
    else:
        hint = did_you_mean(name, [flag for flag in known if flag.startswith("--")]).replace("'", "")
    return f"There is no option {name}.{hint}"


def _last(names: str) -> str:
    """Return the long one of an option's names, as argparse lists them: -v/--verbose."""
    return names.rpartition("/")[2]
