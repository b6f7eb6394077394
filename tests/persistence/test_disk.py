"""A real small disk and real failing system calls, where this machine lets us have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.model.record import Key, Record
from gflow.persistence import message
from tests.persistence.harness import DEADLINE_S, Supervisor, job


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[str]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a file system here")
    (folder / "state").mkdir()
    yield str(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: str) -> str:
    """Use up all space in a foreign file. Returns its path."""
    path = os.path.join(folder, "foreign")
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def test_a_full_disk_drains_by_itself(small_disk: str) -> None:
    """What waited while the disk was full is saved when space returns, and all of it loads."""
    state_dir = f"{small_disk}/state"
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    records: dict[Key, Record] = {("job", id): job(id) for id in range(1, 51)}
    supervisor.save(records)
    foreign = fill(small_disk)
    id = 50
    while supervisor.link.trouble is None:
        id += 1
        records[("job", id)] = job(id, comment="x" * 20_000)
        supervisor.put({("job", id): records[("job", id)]})
        supervisor.pump(0.01)
    assert supervisor.link.trouble == "no_space"
    assert supervisor.link.refusal() is not None
    os.unlink(foreign)
    supervisor.expect(message.Recovered)
    supervisor.pump_until(lambda: supervisor.link.drained)
    assert supervisor.stop() == 0
    rows, _ = Supervisor(state_dir).loaded()
    assert {key: record for key, record in rows.items() if key[0] == "job"} == records


def test_a_full_disk_and_kill_9_keep_the_acknowledged(small_disk: str) -> None:
    """Killed while the disk is full, everything acknowledged is there when space returns."""
    state_dir = f"{small_disk}/state"
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    records: dict[Key, Record] = {("job", id): job(id) for id in range(1, 51)}
    supervisor.save(records)
    foreign = fill(small_disk)
    supervisor.put({("job", 51): job(51, comment="x" * 1_000_000)})
    supervisor.expect(message.Trouble)
    supervisor.kill()
    os.unlink(foreign)
    rows, _ = Supervisor(state_dir).loaded()
    assert {key: record for key, record in rows.items() if key[0] == "job"} == records


def test_a_failing_sync_loses_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    """After EIO from a sync nothing is acknowledged until the store was opened anew."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    tracer = subprocess.Popen(
        [
            strace,
            *("-p", str(supervisor.process.pid), "-o", str(tmp_path / "trace")),
            *("-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync:error=EIO:when=3"),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        assert tracer.stderr is not None
        if b"attached" not in tracer.stderr.readline():
            pytest.skip("cannot trace here")
        records: dict[Key, Record] = {}
        deadline_s = time.monotonic() + DEADLINE_S
        resynced = False
        while not resynced:
            assert time.monotonic() < deadline_s
            id = len(records) + 1
            records[("job", id)] = job(id)
            supervisor.put({("job", id): job(id)})
            supervisor.pump(0.01)
            resynced = any(isinstance(found, message.Resync) for found in supervisor.messages)
        supervisor.save(records)
    finally:
        tracer.terminate()
        tracer.wait()
    supervisor.kill()
    rows, _ = Supervisor(supervisor.settings["state_dir"]).loaded()
    assert {key: record for key, record in rows.items() if key[0] == "job"} == records
