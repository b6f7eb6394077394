"""The same invocations of the older gflow's commands and of ours, each on a daemon of its own."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.compat import program
from tests.compat.daemon import Daemon
from tests.compat.reference import own_name
from tests.compat.script import JOB_SCRIPT, PARAMETERS, STEPS, Step
from tests.system.machine import Machine, eventually

_README = Path(__file__).parent.parent.parent / "README.md"
_TITLE = "## Coming from the older gflow"

_MASKS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (
        re.compile(
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|\+00:00)?"
            r"|\d\d/\d\d-\d\d:\d\d:\d\d|\d\d:\d\d:\d\d"
        ),
        "TIME",
    ),
    (re.compile(r"(avg_\w+,|total_gpu_hours,|GPU-Hours: *)[\d.]+"), r"\1N"),
)

_RANK = re.compile(r"\d+\. ")

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for a card driver")


class Said(NamedTuple):
    """What an invocation did, as far as two of them can be compared."""

    code: int
    output: list[str]
    #: Whether there was a complaint: its words are our own.
    complained: bool


class Pair(NamedTuple):
    """One step on both sides."""

    step: Step
    theirs: Said
    ours: Said


def patterns() -> list[str]:
    """Invocations that the README's table says are different here."""
    section = _README.read_text().split(_TITLE)[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [pattern for cell in rows for pattern in re.findall(r"`([^`]+)`", cell)]


def _said(answer: subprocess.CompletedProcess[str], folder: Path) -> Said:
    text = program.plain(answer.stdout).replace(str(folder), "FOLDER")
    for mask, word in _MASKS:
        text = mask.sub(word, text)
    lines = [" ".join(line.split()) for line in text.rstrip().splitlines()]
    return Said(answer.returncode, _unranked(lines), bool(answer.stderr))


def _unranked(lines: list[str]) -> list[str]:
    """The same lines; jobs ranked by runtime stand by id, as clocks differ."""
    ranked = [line for line in lines if _RANK.match(line)]
    by_id = iter(sorted(_RANK.sub("", line) for line in ranked))
    return [next(by_id) if _RANK.match(line) else line for line in lines]


@pytest.fixture(scope="module")
def pairs(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Pair]]:
    """Every step, done on both sides."""
    folder = tmp_path_factory.mktemp("beside")
    cards = {"GFLOW_GPUS__COUNT": "4", "GFLOW_GPUS__MEMORY_BYTES": "16G"}
    machine = Machine(folder, GFLOW_RESOURCES__CPUS="64", **cards)
    daemon = Daemon(programs, folder, user=own_name())
    try:
        daemon.start()
        machine.start()
        yield [_both(step, daemon, machine) for step in _prepared(daemon, machine)]
    finally:
        daemon.close()
        machine.close()


def _prepared(daemon: Daemon, machine: Machine) -> list[Step]:
    for folder in (daemon.work, machine.work):
        (folder / "job.sh").write_text(JOB_SCRIPT)
        (folder / "params.csv").write_text(PARAMETERS)
    later = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 86400))
    return [step._replace(line=step.line.replace("{later}", later)) for step in STEPS]


def _runs(daemon: Daemon, machine: Machine, job_id: int) -> bool:
    there = daemon.ask("GET", f"/jobs/{job_id}")["state"] == "Running"
    return there and machine.in_state(job_id, "RUNNING")


def _both(step: Step, daemon: Daemon, machine: Machine) -> Pair:
    for job_id in step.running:
        eventually(partial(_runs, daemon, machine, job_id))
    words = shlex.split(step.line)
    theirs = daemon.run(*words, input=step.input)
    command = [sys.executable, "-P", "-m", "gflow.cli.classic.main", *words]
    variables = {**machine.env, "USER": own_name(), "TZ": "UTC", "TMPDIR": str(machine.folder)}
    ours = program.finished(command, variables, machine.work, step.input)
    return Pair(step, _said(theirs, daemon.work), _said(ours, machine.work))


def test_there_are_sixty() -> None:
    """Every command takes part."""
    assert len(STEPS) >= 60
    assert {step.line.split()[0] for step in STEPS} == {
        *("gbatch", "gcancel", "gctl", "ginfo", "gjob", "gqueue", "gstats")
    }


def test_what_is_not_in_the_table_is_the_same(pairs: list[Pair]) -> None:
    """Exit code and every word on standard output."""
    known = patterns()
    different = [
        f"{pair.step.line}\n  theirs: {pair.theirs}\n  ours: {pair.ours}"
        for pair in pairs
        if pair.theirs != pair.ours and not any(fnmatchcase(pair.step.line, one) for one in known)
    ]
    assert not different, "\n".join(different)


def test_what_is_in_the_table_is_different(pairs: list[Pair]) -> None:
    """The table tells no difference that is none any more."""
    different = [pair.step.line for pair in pairs if pair.theirs != pair.ours]
    stale = [one for one in patterns() if not any(fnmatchcase(line, one) for line in different)]
    assert stale == []
