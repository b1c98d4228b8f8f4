"""Counts attacks and failures, and prints the table at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.torture.children import preload_shim
from tests.torture.workshop import Workshop, make_inputs

SCALE = float(os.environ.get("AIH_TORTURE", "0.05"))
"""Share of the attacks that is run: 1 with scripts/torture.sh."""


ATTACKS = "attacks"
"""Name of the property of a test that has its line of the table."""


@dataclass
class Tally:
    """The attacks of one kind, and those that succeeded."""

    attack: str
    count: int = 0
    failures: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Count one attack more; it succeeded unless the promise ``holds``."""
        self.count += 1
        if not holds:
            self.failures.append(otherwise)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Fails the test at its end if an attack succeeded, or if there was none."""
    found = Tally(request.node.name.removeprefix("test_").replace("_", " ").replace("[", ": ").rstrip("]"))
    yield found
    request.node.user_properties.append((ATTACKS, (found.attack, found.count, len(found.failures))))
    assert found.count, "expected attacks, found none"
    shown = "\n".join(found.failures[:5])
    assert not found.failures, f"{len(found.failures)} of {found.count} attacks succeeded, such as\n{shown}"


def times(full: int) -> int:
    """The number of ``full`` attacks that are run, at least one."""
    return max(1, round(full * SCALE))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, of the reports that tests leave, since they may run in several processes."""
    reports = [report for kind in ("", "error") for report in terminalreporter.getreports(kind)]
    found = [value for report in reports for key, value in report.user_properties if key == ATTACKS]
    if found:
        terminalreporter.section("attacks")
        terminalreporter.write_line("| attack | count | failures |\n| --- | ---: | ---: |")
        for attack, count, failures in sorted(found):
            terminalreporter.write_line(f"| {attack} | {count} | {failures} |")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Inputs, commands, and what each leaves behind when nothing happens to it."""
    folder = tmp_path_factory.mktemp("workshop")
    if shutil.which("cc"):
        preload_shim(folder)
    return Workshop(folder, make_inputs(folder))
