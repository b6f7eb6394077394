"""How long a command takes to start: ``gflowctl`` beside a Python that does nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.bench import floor, sample
from tools.bench.machine import Machine
from tools.bench.table import TIME, Row, compare

#: DESIGN, section 8: a hot command takes 28 ms where an empty interpreter takes 13.
_GOAL = 28 / 13


def program() -> list[str]:
    """The installed ``gflowctl``, or the module where it is not installed."""
    beside = Path(sys.executable).with_name("gflowctl")
    found = str(beside) if beside.exists() else shutil.which("gflowctl")
    return [found] if found is not None else [sys.executable, "-m", "gflow.cli.main"]


def run(*, quick: bool) -> Iterator[Row]:
    """Rows of commands that a user waits for, on a supervisor with nothing to do."""
    with Machine() as machine:
        job = machine.client.submit_specs({"command": ["true"], "cwd": "/", "hold": True})
        job_id = str(job["job_ids"][0])
        for words in (["ping"], ["submit", "--hold", "true"], ["show", job_id], ["queue"]):
            yield call(machine, words, quick=quick, goal=_GOAL if words == ["ping"] else None)


def call(machine: Machine, words: list[str], *, quick: bool, goal: float | None = None) -> Row:
    """One command, in turns with the bare interpreter."""
    argv = [*program(), *words]
    assert floor.run(argv, machine.env) == 0, argv
    own, bare = sample.alternate(
        3 if quick else 20,
        lambda: sample.timed(lambda: floor.run(argv, machine.env)),
        lambda: floor.interpreter(1)[0],
    )
    return compare(
        f"gflowctl {' '.join(words)}",
        sample.p50(own),
        TIME,
        ("python -c pass", sample.p50(bare)),
        ratio_at_most=goal,
    )
