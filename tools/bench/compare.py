"""The older gflow and ours: the same work by the same HTTP API, each on a daemon of its own.

Ours answers a submission when it is on disk, the older one when it is in memory. Both run jobs as
plain processes; ours has as many cpus as there are jobs, for the older one counts none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tools.bench import machine, sample
from tools.bench.machine import Machine
from tools.bench.older import PROGRAMS, Api, Daemon, free_port
from tools.bench.table import BYTES, TIME, Row, compare, skipped

_LATER = {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}
_ENDED = frozenset({"Finished", "Failed", "Cancelled", "Timeout"})
_BATCH = 1_000
_OLDER = "older gflow"


class Side(Protocol):
    """One of the two, while it runs."""

    api: Api
    work: Path

    def command(self, *words: str) -> None:
        """Run one of its commands."""
        ...

    def peak_bytes(self) -> int:
        """Most memory that the process had that decides."""
        ...


class Ours:
    """A supervisor that serves the older API."""

    def __init__(self, cpus: int) -> None:
        port = free_port()
        self._machine = Machine(
            GFLOW_RESOURCES__CPUS=str(cpus),
            GFLOW_HTTP__GFLOW_API="true",
            GFLOW_HTTP__LISTEN=f"127.0.0.1:{port}",
            USER="ann",
        )
        self._machine.start()
        self.work = self._machine.folder
        self.api = Api(port)

    def command(self, *words: str) -> None:
        """Run one of its commands."""
        name, *rest = words
        program = [sys.executable, "-P", "-m", "gflow.cli.classic.main", name, *rest]
        subprocess.run(program, env=self._machine.env, check=True, stdout=subprocess.DEVNULL)

    def peak_bytes(self) -> int:
        """Of the supervisor."""
        return machine.peak_bytes(self._machine.pid)

    def close(self) -> None:
        """End it."""
        self.api.close()
        self._machine.close()


class Older:
    """The older daemon."""

    def __init__(self, programs: Path) -> None:
        self._folder = machine.new_folder()
        self._daemon = Daemon(programs, self._folder)
        self._pid = self._daemon.start()
        self.work = self._daemon.work
        self.api = Api(self._daemon.port)

    def command(self, *words: str) -> None:
        """Run one of its commands."""
        program = [str(self._daemon.programs / words[0]), *words[1:]]
        env = self._daemon.env
        subprocess.run(program, env=env, check=True, stdout=subprocess.DEVNULL, cwd=self.work)

    def peak_bytes(self) -> int:
        """Of the daemon, which does everything."""
        return machine.peak_bytes(self._pid)

    def close(self) -> None:
        """End it."""
        self.api.close()
        self._daemon.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def run(*, quick: bool) -> Iterator[Row]:
    """All rows."""
    programs = Path(os.environ.get(PROGRAMS) or "/nonexistent")
    if not (programs / "gflowd").exists():
        yield skipped(f"beside the {_OLDER}", f"{PROGRAMS} names no folder with its gflowd")
    work = _Work(quick=quick)
    ours = Ours(work.trues)
    try:
        mine = dict(work.figures(ours))
    finally:
        ours.close()
    theirs: dict[str, float] = {}
    if (programs / "gflowd").exists():
        older = Older(programs)
        try:
            theirs = dict(work.figures(older))
        finally:
            older.close()
    for what, figure in mine.items():
        unit = BYTES if "memory" in what else TIME
        beside = (_OLDER, theirs[what]) if what in theirs else None
        yield compare(what, figure, unit, beside)


class _Work:
    """What both have to do."""

    def __init__(self, *, quick: bool) -> None:
        self._rounds = 10 if quick else 100
        self._chain = 2 if quick else 10
        self._queued = (100, 300) if quick else (10_000, 30_000)
        self.trues = 20 if quick else 200

    def figures(self, side: Side) -> Iterator[tuple[str, float]]:
        """Name and figure of each piece of work: seconds, or bytes."""
        waiting = _job(side, scheduled_at=_LATER)
        submitted = lambda: side.api.ask("POST", "/jobs", waiting)  # noqa: E731
        sample.repeat(10, submitted)
        yield "submission, POST /jobs, p50", sample.p50(sample.repeat(self._rounds, submitted))
        call = ("gbatch", "--begin", "now+1d", "true")
        commands = sample.repeat(self._rounds // 5, lambda: side.command(*call))
        yield "submission, gbatch, p50", sample.p50(commands)
        yield "submission → exec, p50", sample.p50([_exec(side) for _ in range(self._rounds // 5)])
        yield f"a chain of {self._chain} true jobs", _chain(side, self._chain)
        yield f"{self.trues} true jobs", _all_ended(side, [_job(side)] * self.trues)
        done = self._rounds + 10
        for count in self._queued:
            _fill(side, waiting, count - done)
            done = count
            took = sample.repeat(self._rounds, submitted)
            yield f"submission, POST /jobs, {count:,} queued, p50", sample.p50(took)
            if count == self._queued[0]:
                listed = sample.repeat(3, lambda: side.api.ask("GET", "/jobs?state=Queued"))
                yield f"listing {count:,} jobs", sample.p50(listed)
        yield (
            f"memory of the deciding process at its peak, {count:,} queued",
            float(side.peak_bytes()),
        )


def _job(side: Side, **fields: Any) -> dict[str, Any]:
    return {"command": "true", "run_dir": str(side.work), "submitted_by": "ann", **fields}


def _exec(side: Side) -> float:
    """Seconds from a submission to its command's first word."""
    fifo = side.work / "word"
    if not fifo.exists():
        os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    try:
        began_s = time.perf_counter()
        side.api.ask("POST", "/jobs", _job(side, command=f"echo > {fifo}"))
        os.read(reader, 16)
        return time.perf_counter() - began_s
    finally:
        os.close(reader)


def _chain(side: Side, length: int) -> float:
    """Seconds until the last of jobs has ended that each wait for the one before."""
    began_s = time.perf_counter()
    last = None
    for _ in range(length):
        after: list[int] = [] if last is None else [last]
        last = side.api.ask("POST", "/jobs", _job(side, depends_on_ids=after))["id"]
    while side.api.ask("GET", f"/jobs/{last}")["state"] not in _ENDED:
        time.sleep(0.005)
    return time.perf_counter() - began_s


def _all_ended(side: Side, jobs: list[dict[str, Any]]) -> float:
    """Seconds until all of them have ended."""
    began_s = time.perf_counter()
    for job_id in side.api.submit(jobs):
        while side.api.ask("GET", f"/jobs/{job_id}")["state"] not in _ENDED:
            time.sleep(0.005)
    return time.perf_counter() - began_s


def _fill(side: Side, job: dict[str, Any], count: int) -> None:
    """So many more jobs in the queue."""
    while count > 0:
        side.api.submit([job] * min(count, _BATCH))
        count -= _BATCH
