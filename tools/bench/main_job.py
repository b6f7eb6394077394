"""The main job, end to end: what a submission, a start and an end cost, and how many a second."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tools.bench import floor, machine, peer, sample, start_up
from tools.bench.machine import SPEC, Machine
from tools.bench.table import BYTES, RATE, TIME, Row, compare, skipped

#: Slots that the ``true`` jobs of every scheduler share.
_SLOTS = 8


def run(*, quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from submission(quick=quick)
    yield from latency(quick=quick)
    yield from throughput(quick=quick)
    yield from memory(quick=quick)


# --- submission -------------------------------------------------------------------------------


def submission(*, quick: bool) -> Iterator[Row]:
    """One client, one job after the other: accepted, and accepted and durable."""
    count = 30 if quick else 400
    with Machine() as own:
        wire = own.wire()
        spec = {**SPEC, "hold": True}

        def raw(wait: str) -> Callable[[], object]:
            return lambda: wire.call("POST", f"/v1/jobs?wait={wait}", spec)

        def client() -> object:
            return own.client.submit(["true"], cwd="/", hold=True)

        ways: list[tuple[str, Callable[[], object], bool]] = [
            ("accepted, raw API", raw("false"), False),
            ("accepted and durable, raw API", raw("true"), True),
            ("accepted and durable, gflow.Client", client, True),
        ]
        for name, work, durable in ways:
            sample.repeat(10, work)
            took: list[float] = []
            synced: list[float] = []
            for _ in range(5):
                took += sample.repeat(count // 5, work)
                own.settle()
                synced += floor.append_and_sync(own.folder, count // 5)
            bare = sample.p50(synced)
            yield compare(
                f"submission {name}, p50",
                sample.p50(took),
                TIME,
                ("append + fsync", bare),
                at_most=3 * bare + 0.001 if durable else None,
            )
            yield compare(
                f"submission {name}, p99",
                sample.p99(took),
                TIME,
                ("append + fsync p99", sample.p99(synced)),
            )
        wire.close()


# --- start and end ----------------------------------------------------------------------------


def latency(*, quick: bool) -> Iterator[Row]:
    """From submission to the command's first word, and from a command's end to its notice."""
    rounds = 5 if quick else 60
    with Machine() as own:
        fifo = own.folder / "word"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDWR)
        argv = ["sh", "-c", f"echo > {fifo}"]

        def submitted() -> float:
            began_s = time.perf_counter()
            answer = own.client.submit_specs({**SPEC, "command": argv})
            os.read(reader, 16)
            took_s = time.perf_counter() - began_s
            own.client.wait(answer["job_ids"][0])
            return took_s

        def spawned() -> float:
            began_s = time.perf_counter()
            pid = os.posix_spawnp("sh", argv, os.environ)
            os.read(reader, 16)
            took_s = time.perf_counter() - began_s
            os.waitpid(pid, 0)
            return took_s

        submitted()
        took, bare = sample.alternate(rounds, submitted, spawned)
        os.close(reader)
        beside = ("posix_spawn", sample.p50(bare))
        yield compare("submission → the command's first word, p50", sample.p50(took), TIME, beside)
        beside = ("posix_spawn p99", sample.p99(bare))
        yield compare("submission → the command's first word, p99", sample.p99(took), TIME, beside)
        yield from _noticed(own, rounds)


def _noticed(own: Machine, rounds: int) -> Iterator[Row]:
    """A killed command's end, as a waiting client hears of it; beside it a parent in waitpid(2)."""

    def heard() -> float:
        job = own.client.submit_specs({**SPEC, "command": ["sleep", "1000"]})["job_ids"][0]
        own.eventually(lambda: own.client.job(job)["pid"] is not None, 0.001)
        pid = own.client.job(job)["pid"]
        watch = own.client.end_watch(job)
        assert watch.poll(0.0) is None
        own.client.ping()
        began_s = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while watch.poll(10.0) is None:
            pass
        return time.perf_counter() - began_s

    def waited() -> float:
        pid = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)
        began_s = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return time.perf_counter() - began_s

    took, bare = sample.alternate(rounds, heard, waited)
    beside = ("kill + waitpid", sample.p50(bare))
    yield compare("end → noticed by a waiting client, p50", sample.p50(took), TIME, beside)
    beside = ("kill + waitpid p99", sample.p99(bare))
    yield compare("end → noticed by a waiting client, p99", sample.p99(took), TIME, beside)


# --- throughput -------------------------------------------------------------------------------


def throughput(*, quick: bool) -> Iterator[Row]:
    """``true`` jobs per second from submission to the durable end of the last."""
    count = 40 if quick else 1000
    rounds = 1 if quick else 5
    with Machine(GFLOW_RESOURCES__CPUS=str(_SLOTS)) as own:
        array: dict[str, Any] = {**SPEC, "array": f"0-{count - 1}"}
        _ended(own, [SPEC] * _SLOTS)
        found = sample.alternate(
            rounds,
            lambda: floor.spawn_serial(count // 2),
            lambda: floor.spawn_several(count // 2, os.cpu_count() or 1),
            lambda: count / _ended(own, array),
            lambda: count / _ended(own, [SPEC] * count),
        )
        beside_peers = [*_peers(own, count, rounds)]
    serial, several, as_array, as_list = found
    beside = ("posix_spawn serial", sample.p50(serial))
    for name, rates in ((f"{count} as one array", as_array), (f"{count} single jobs", as_list)):
        ratio = sample.p50([own_rate / bare for own_rate, bare in zip(rates, serial)])
        yield compare(
            f"true jobs, {name}, {_SLOTS} slots",
            sample.p50(rates),
            RATE,
            beside,
            ratio=ratio,
            ratio_at_least=0.25,
        )
    yield compare(f"posix_spawn, {os.cpu_count()} at a time", sample.p50(several), RATE, beside)
    yield from beside_peers


def _peers(own: Machine, count: int, rounds: int) -> Iterator[Row]:
    """The same work by what users would pick instead, in turns, where it is installed."""
    for name, work in (("task-spooler", peer.task_spooler), ("HyperQueue", peer.hyperqueue)):
        what = f"true jobs, {count} single jobs, {_SLOTS} slots, beside {name}"
        try:
            ours, theirs = sample.alternate(
                rounds,
                lambda: count / _ended(own, [SPEC] * count),
                partial(work, own.folder, count, _SLOTS),
            )
        except peer.Missing as why:
            yield skipped(what, str(why))
            continue
        ratio = sample.p50([rate / other for rate, other in zip(ours, theirs)])
        beside = (name, sample.p50(theirs))
        yield compare(what, sample.p50(ours), RATE, beside, ratio=ratio, ratio_at_least=1.0)


def _ended(own: Machine, specs: Any) -> float:
    """Seconds until all of it has ended and is saved."""
    began_s = time.perf_counter()
    ids = own.client.submit_specs(specs)["job_ids"]
    own.client.wait(ids[-1])
    own.eventually(lambda: not own.active())
    own.settle()
    return time.perf_counter() - began_s


# --- memory -----------------------------------------------------------------------------------


def memory(*, quick: bool) -> Iterator[Row]:
    """Resident memory of the supervisor per pending job; a command while so many wait."""
    with Machine() as own:
        own.block(os.cpu_count() or 1)
        own.fill(200)
        before = machine.resident_bytes(own.pid)
        waiting, resident = 0, before
        for count in (500, 1000) if quick else (10_000, 100_000):
            own.fill(count - waiting)
            now = machine.resident_bytes(own.pid)
            what = f"memory per pending job, {count:,} waiting"
            goal = 1536 if waiting else None
            yield compare(what, (now - before) / count, BYTES, note="blobs apart")
            each = (now - resident) / (count - waiting)
            yield compare(f"{what}, those above {waiting:,}", each, BYTES, at_most=goal)
            waiting, resident = count, now
        for words in (["ping"], ["show", "1"], ["submit", "--hold", "true"]):
            row = start_up.call(own, words, quick=quick)
            yield Row(f"{row.what}, {waiting:,} waiting", row.measured, row.beside, row.ratio)
        own.client.cancel(all=True, durable=False)
