"""Durability: what a slow, stopped or dead persister costs the loop, and what saving costs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

from gflow.api.client import Client
from tools.bench import archive, crowd, floor, machine, sample, submitter
from tools.bench.machine import SPEC, Machine
from tools.bench.slow_disk import SlowDisk
from tools.bench.submitter import Submitter
from tools.bench.table import BYTES, RATE, TIME, Row, compare, show, skipped

_CLIENTS = 64
#: Bytes of one changed job on the pipe, about.
_RECORD_BYTES = 900


def run(*, quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from acknowledgements(quick=quick)
    yield from stalls(quick=quick)
    yield from written(quick=quick)
    yield from replacement(quick=quick)
    yield from restart(quick=quick)
    yield from archives(quick=quick)


# --- acknowledgements -------------------------------------------------------------------------


def acknowledgements(*, quick: bool) -> Iterator[Row]:
    """Durable submissions: many at once and one after the other, through the link and the API."""
    count = 500 if quick else 20_000
    seconds = 0.5 if quick else 3.0
    ones = 30 if quick else 500
    folder = machine.new_folder()
    with Submitter(folder / "state") as link:
        link.crowd(_CLIENTS, count // 10, 10_000_000)
        rates, took = [], []
        for number in range(3):
            rate, some = link.crowd(_CLIENTS, count, 1 + number * count)
            rates.append(rate)
            took += some
        single, synced = sample.alternate(
            ones,
            _saver(link, 20_000_000),
            lambda: floor.append_and_sync(folder, 1, _RECORD_BYTES)[0],
        )
    rmtree(folder)
    bare = ("append + fsync, one client", 1 / sample.p50(synced))
    what = f"durable submissions, {_CLIENTS} clients"
    yield compare(f"{what}, link", sample.p50(rates), RATE, bare, at_least=10_000)
    yield compare(f"{what}, link, p99", sample.p99(took), TIME)
    beside = ("append + fsync", sample.p50(synced))
    goal = 3 * sample.p50(synced) + 0.001
    yield compare("one client durable p50, link", sample.p50(single), TIME, beside, at_most=goal)
    with Machine() as own:
        crowd.submit(own, _CLIENTS, seconds / 3)
        rate, took = crowd.submit(own, _CLIENTS, seconds)
        yield compare(f"{what}, API", rate, RATE, bare, at_least=2_000)
        yield compare(f"{what}, API, p99", sample.p99(took), TIME)
        _, took = crowd.submit(own, 1, seconds)
        synced = floor.append_and_sync(own.folder, ones, _RECORD_BYTES)
        beside = ("append + fsync", sample.p50(synced))
        goal = 3 * sample.p50(synced) + 0.001
        yield compare("one client durable p50, API", sample.p50(took), TIME, beside, at_most=goal)


def _saver(link: Submitter, first_id: int) -> Callable[[], float]:
    ids = iter(range(first_id, first_id + 1_000_000))
    return lambda: link.save(submitter.submission(next(ids)))


# --- the loop while the disk is slow ----------------------------------------------------------


def stalls(*, quick: bool) -> Iterator[Row]:
    """Turns of the supervisor's loop while nothing can be saved, under load."""
    stopped_s = 1.0 if quick else 10.0
    submissions, completions = (50, 20) if quick else (500, 200)
    records = submissions + 3 * completions
    naive = floor.blocking_pipe(records, _RECORD_BYTES, stopped_s)
    beside = ("naive blocking send", max(naive))
    with Machine(GFLOW_RESOURCES__CPUS="8") as own:
        gap = _load(own, submissions, completions, stopped_s / 2)
        yield from _gap_rows("nothing in the way", gap, None)
    with Machine(GFLOW_RESOURCES__CPUS="8") as own:
        persister = own.child("persister")
        os.kill(persister, signal.SIGSTOP)
        try:
            gap = _load(own, submissions, completions, stopped_s)
        finally:
            os.kill(persister, signal.SIGCONT)
        own.settle()
        yield from _gap_rows(f"persister stopped for {stopped_s:g} s", gap, beside)
    if not SlowDisk.available():
        yield skipped("loop gap, every fsync takes 2 s", "gcc is not installed")
        return
    folder = machine.new_folder()
    disk = SlowDisk(folder)
    with Machine(folder, GFLOW_RESOURCES__CPUS="8", **disk.settings) as own:
        disk.slow()
        gap = _load(own, submissions, completions, stopped_s)
        disk.fast()
        own.settle()
        yield from _gap_rows("every fsync takes 2 s", gap, beside)


def _load(own: Machine, submissions: int, completions: int, seconds: float) -> dict[str, float]:
    """Submit and let jobs end, evenly over the time; the loop's gaps in seconds."""
    own.client.status()
    total = submissions + completions
    began_s = time.perf_counter()
    for number in range(total):
        ends = number * completions // total != (number + 1) * completions // total
        own.client.submit_specs(SPEC if ends else {**SPEC, "hold": True}, durable=False)
        time.sleep(max(0.0, began_s + seconds * (number + 1) / total - time.perf_counter()))
    status = own.client.status()
    ended = status["jobs"].get("COMPLETED", 0)
    assert ended >= 0.8 * completions, f"only {ended} of {completions} jobs ended meanwhile"
    return {name: value / 1e3 for name, value in status["loop_gap_ms"].items()}


def _gap_rows(what: str, gap: dict[str, float], beside: tuple[str, float] | None) -> Iterator[Row]:
    yield compare(f"loop gap max, {what}", gap["max"], TIME, beside, at_most=0.05)
    yield compare(f"loop gap p99, {what}", gap["p99"], TIME, beside, at_most=0.005)


# --- bytes ------------------------------------------------------------------------------------


def written(*, quick: bool) -> Iterator[Row]:
    """Bytes on disk per job from submission to end, with ever more jobs in the store."""
    lives = 100 if quick else 2_000
    first: float | None = None
    for stored in (100, 1_000) if quick else (1_000, 10_000, 100_000):
        folder = machine.new_folder()
        archive.fill(folder / "state", live=stored, hold="user")
        with Submitter(folder / "state") as link:
            link.lives(lives // 2, 10_000_000)
            before = machine.written_bytes(link.pid)
            link.lives(lives, 20_000_000)
            each = (machine.written_bytes(link.pid) - before) / lives
            before = machine.written_bytes(link.pid)
            # A checkpoint more or less within it must not weigh: one is up to 4 MB.
            link.lives(lives // 4, 30_000_000, clients=1)
            alone = (machine.written_bytes(link.pid) - before) / (lives // 4)
        whole = _rewritten(folder, stored)
        rmtree(folder)
        beside = ("whole state at each save", whole)
        first = first or each
        yield compare(
            f"written per job life, {stored:,} in the store, {_CLIENTS} clients",
            each,
            BYTES,
            beside,
            at_most=1.2 * first,
        )
        yield compare(
            f"written per job life, {stored:,} in the store, 1 client", alone, BYTES, beside
        )


def _rewritten(folder: Path, stored: int) -> float:
    """Bytes of a life whose three steps each write the whole state to a new file and sync it."""
    path = folder / "whole.json"
    record = b"x" * _RECORD_BYTES
    before = machine.written_bytes(os.getpid())
    with open(path, "wb") as file:
        for _ in range(stored):
            file.write(record)
        file.flush()
        os.fsync(file.fileno())
    return 3.0 * (machine.written_bytes(os.getpid()) - before)


# --- death and restart ------------------------------------------------------------------------


def replacement(*, quick: bool) -> Iterator[Row]:
    """The loop's longest turn while a killed persister is replaced."""
    count = 2_000 if quick else 200_000
    folder = machine.new_folder()
    archive.fill(folder / "state", live=count, hold="user")
    with Machine(folder) as own:
        gaps = []
        for _ in range(3):
            own.client.status()
            before = own.child("persister")
            os.kill(before, signal.SIGKILL)
            took = sample.timed(lambda: own.client.submit_specs({**SPEC, "hold": True}))
            own.eventually(partial(own.child, "persister", before))
            gaps.append(own.client.status()["loop_gap_ms"]["max"] / 1e3)
        yield compare(
            f"loop gap max, persister replaced, {count:,} jobs in memory",
            max(gaps),
            TIME,
            at_most=0.1,
        )
        yield compare("durable submission meanwhile", took, TIME)


def restart(*, quick: bool) -> Iterator[Row]:
    """From the start of the program until it is ready."""
    with Machine() as own:
        own.stop()
        empty_s = own.start()
    live = 1_000 if quick else 100_000
    folder = machine.new_folder()
    archive.fill(folder / "state", live=live)
    with Machine(folder, GFLOW_RESOURCES__CPUS="1") as own:
        own.stop()
        ready_s = own.start()
        note = _processor_time(own)
    what = f"ready again with {live:,} live jobs"
    yield compare(what, ready_s, TIME, ("empty store", empty_s), at_most=5.0, note=note)


def _processor_time(own: Machine) -> str:
    """What a restart cost, whoever else used the machine meanwhile."""
    return f"{show(machine.cpu_s(own.pid), TIME)} of processor time"


# --- long work beside acknowledgements --------------------------------------------------------


def archives(*, quick: bool) -> Iterator[Row]:
    """One submitter's durable p99 while the store is searched, added up and copied."""
    finished, live = (20_000, 100) if quick else (1_000_000, 10_000)
    folder = machine.new_folder()
    archive.fill(folder / "state", finished=finished, live=live)
    seconds = 0.3 if quick else 5.0
    with Machine(folder, GFLOW_RESOURCES__CPUS="1") as own:
        own.stop()
        ready_s = own.start()
        yield compare(
            f"ready again with {live:,} live and {finished:,} finished jobs",
            ready_s,
            TIME,
            at_most=2.0,
            note=_processor_time(own),
        )
        quiet = sample.p99(_submitting(own, None, seconds))
        works: dict[str, Callable[[Client], object]] = {
            "history by name": lambda c: c.history(names=["nothing-has-this-name"], limit=10),
            "history by user": lambda c: c.history(users=["user42"], limit=500),
            "backup": lambda c: c.backup(str(own.folder / "backup.db")),
            "check": lambda c: c.check(),
        }
        for name, work in works.items():
            took = _submitting(own, work, seconds)
            what = f"durable p99 during {name}, {finished:,} finished"
            yield compare(what, sample.p99(took), TIME, ("quiet", quiet), at_most=0.05)
        own.client.close()
    yield from _report(finished)


def _submitting(
    own: Machine, work: Callable[[Client], object] | None, seconds: float
) -> list[float]:
    """Seconds of each durable submission, one after the other, until the work is done."""
    ended = threading.Event()

    def other() -> None:
        copy = own.folder / "backup.db"
        end_s = time.perf_counter() + seconds
        try:
            with Client(str(own.runtime), timeout_s=120.0) as client:
                while work is not None and time.perf_counter() < end_s:
                    work(client)
                    copy.unlink(missing_ok=True)
        finally:
            ended.set()

    thread = threading.Thread(target=other)
    thread.start()
    spec: dict[str, Any] = {**SPEC, "hold": True}
    end_s = time.perf_counter() + seconds
    took: list[float] = []
    while time.perf_counter() < end_s or not ended.is_set():
        took.append(sample.timed(lambda: own.client.submit_specs(spec)))
    thread.join()
    return took


def _report(finished: int) -> Iterator[Row]:
    """The same beside the sums that reports read, which only the link can ask for here."""
    folder = machine.new_folder()
    archive.fill(folder / "state", finished=min(finished, 200_000))
    with Submitter(folder / "state") as link:
        saver = _saver(link, 20_000_000)
        quiet = [saver() for _ in range(100)]
        took = []
        for _ in range(20):
            done = link.begin("summary")
            while not done():
                took.append(saver())
    rmtree(folder)
    yield compare(
        "durable p99 during report, link",
        sample.p99(took),
        TIME,
        ("quiet", sample.p99(quiet)),
        at_most=0.05,
    )
