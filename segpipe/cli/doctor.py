"""`segpipe doctor`: the examination, printed; exit code 1 when something is broken."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from segpipe.analysis import Finding, Section, examine
from segpipe.text import format_fields

from .parsing import Command
from .printing import print_result
from .shared_options import add_json

EXAMPLES = """  segpipe doctor
  segpipe doctor --json   (for a bug report; tokens and passwords are left out)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    sections = examine()
    # One cause may be seen in two places.
    findings = list(dict.fromkeys(finding for section in sections for finding in section.findings))
    is_broken = any(finding.severity == "broken" for finding in findings)
    texts = [f"{section.title}\n{format_fields(section.facts)}" for section in sections]
    text = "\n\n".join([*texts, _verdict(findings, is_broken)])
    print_result(options, _document(sections, findings, is_broken), text)
    return 1 if is_broken else 0


def _verdict(findings: Sequence[Finding], is_broken: bool) -> str:
    if not findings:
        return "All is well."
    listed = format_fields([(finding.severity, finding.sentence) for finding in findings])
    return f"{'Something is broken.' if is_broken else 'Nothing is broken.'}\n{listed}"


def _document(sections: Sequence[Section], findings: Sequence[Finding], is_broken: bool) -> dict[str, object]:
    return {
        "ok": not is_broken,
        "findings": [{"severity": finding.severity, "sentence": finding.sentence} for finding in findings],
        **{section.title: dict(section.facts) for section in sections},
    }


COMMANDS = {"doctor": Command(add_arguments, run, EXAMPLES)}
