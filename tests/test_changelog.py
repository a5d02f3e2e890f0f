"""The changelog keeps its form, also where two branches are joined."""

import re
from collections import Counter
from pathlib import Path

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")


def test_each_version_has_each_kind_of_change_once_and_in_order():
    for version in CHANGELOG.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.+)$", version, re.MULTILINE)
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert kinds == [kind for kind in order if kind in kinds]


def test_no_line_stands_twice():
    counts = Counter(line for line in CHANGELOG.splitlines() if line and not line.startswith("#"))
    assert [line for line, count in counts.items() if count > 1] == []
