"""Whatever comes from outside is accepted, or refused by one of our errors, within bounds of time and memory.

By default each kind of input gets a few examples, the same in every run. SEGPIPE_FUZZ_SECONDS=60 makes it a campaign of
60 seconds over all kinds, with new examples in every run.
"""

import importlib
import os
import time
import warnings

import pytest
from doors import DOORS
from hypothesis import HealthCheck, given, settings
from watching import FIGURES, Figures, bounded_memory, examine

for module in ("image", "document", "weight", "foreign", "server", "run"):
    importlib.import_module(f"{module}_doors")

SECONDS = float(os.environ.get("SEGPIPE_FUZZ_SECONDS", "0"))
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.parametrize("kind", DOORS)
def test_hostile_input_raises_our_errors_alone(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXELS", "2000000")
    figures = Figures(kind)
    FIGURES.append(figures)
    door = DOORS[kind](tmp_path)

    def check(value):
        examine(figures, door.read, value)

    with warnings.catch_warnings(), bounded_memory():
        warnings.simplefilter("ignore")
        if not SECONDS:
            settings(max_examples=30, derandomize=True, **QUIET)(given(door.inputs)(check))()
            return
        end = time.monotonic() + SECONDS / len(DOORS)
        while time.monotonic() < end:  # hypothesis has no setting for a duration
            settings(max_examples=100, **QUIET)(given(door.inputs)(check))()
