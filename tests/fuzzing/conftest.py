"""The table of figures at the end of a run."""

from watching import FIGURES


def pytest_terminal_summary(terminalreporter):
    """How many inputs each kind had, the longest time, the largest memory."""
    if FIGURES:
        terminalreporter.section("fuzzing")
        for figures in FIGURES:
            terminalreporter.write_line(figures.row())
        terminalreporter.write_line(f"{sum(figures.inputs for figures in FIGURES):,} inputs in all")
