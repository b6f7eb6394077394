"""System calls of the persister fail: nothing is acknowledged meanwhile, nothing is lost.

Those of shims fail: every attempt runs once at most, and its end is its own or not known.

strace(1) puts the errors in (``inject``, at calls of our choice) while the real programs run.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gflow.api.client import Client
from gflow.api.wire import Broken, Refusal
from tests.system.machine import Machine, eventually

_CAN_TRACE = shutil.which("strace") is not None

pytestmark = [
    pytest.mark.skipif(not _CAN_TRACE, reason="strace is not installed"),
    pytest.mark.timeout(120),
]

#: What a commit needs, and how it may fail.
COMMIT = [
    ("fdatasync", "EIO"),
    ("fdatasync", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
]
#: What a higher floor of ids needs besides: the marker is written, synced and renamed.
FLOOR = [("fsync", "EIO"), ("write", "ENOSPC"), ("rename", "EIO"), ("openat", "EIO")]
#: What a shim needs for its run file, at the first call of each process.
SHIM = [("openat", "EIO"), ("write", "ENOSPC"), ("flock", "EIO")]
_JOB = {"command": ["true"], "cwd": "/", "hold": True}


@contextlib.contextmanager
def injected(pid: int, *rules: str, path: str | None = None) -> Iterator[None]:
    """While inside, calls of a process fail as the rules say; only on ``path``, if there is one."""
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid)]
    for rule in rules:
        words += ["-e", f"inject={rule}"]
    if path is not None:
        words += ["-P", path]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: _is_traced(pid) or tracer.poll() is not None)
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace may not attach: {tracer.stderr.read()}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)  # detaches; the process goes on
        tracer.wait(30)
        assert tracer.stderr is not None
        tracer.stderr.close()


def _is_traced(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as file:
        return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in file)


@pytest.fixture
def victim(new_machine: Callable[..., Machine]) -> Machine:
    """A machine that does not wait long for its disk."""
    machine = new_machine(GFLOW_PERSISTENCE__ACK_TIMEOUT_S="0.5")
    machine.start()
    return machine


def client_of(machine: Machine) -> Client:
    return Client(str(machine.runtime), timeout_s=30.0)


def submit(machine: Machine, count: int = 1, **fields: Any) -> dict[str, Any]:
    """Ids, and whether they are durable."""
    with client_of(machine) as client:
        return client.submit_specs([{**_JOB, **fields}] * count)


def persister(machine: Machine) -> dict[str, Any]:
    with client_of(machine) as client:
        facts: dict[str, Any] = client.status()["processes"]["persister"]
        return facts


def recovers(machine: Machine) -> None:
    """Everything is saved and the persister is well again, by itself."""
    eventually(lambda: persister(machine)["changed"] == 0)
    eventually(lambda: persister(machine)["health"] == "ok")


def all_there(machine: Machine, ids: list[int]) -> None:
    """kill -9, and the next supervisor knows all of them, each once."""
    machine.kill_at_once()
    machine.start()
    with client_of(machine) as client:
        found = [record["id"] for record in client.jobs()]
    assert len(found) == len(set(found))
    assert set(ids) <= set(found)


@pytest.mark.parametrize(("call", "error"), COMMIT)
def test_nothing_is_acknowledged_that_cannot_be_saved(
    victim: Machine, call: str, error: str
) -> None:
    """As long as it fails answers are not durable; afterwards all is saved without a restart."""
    first = submit(victim)
    assert first["durable"]
    pid = persister(victim)["pid"]
    with injected(pid, f"{call}:error={error}"):
        second = submit(victim)
        assert not second["durable"]
        assert eventually(lambda: persister(victim)["last_error"])
    recovers(victim)
    all_there(victim, [*first["job_ids"], *second["job_ids"]])


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize(("call", "error"), COMMIT)
def test_the_nth_call_fails(victim: Machine, call: str, error: str, nth: int) -> None:
    """Once is enough for a batch to be tried again: everything that was acknowledged is there."""
    pid = persister(victim)["pid"]
    ids = []
    with injected(pid, f"{call}:error={error}:when={nth}"):
        for _ in range(6):
            with contextlib.suppress(Refusal):  # a full disk: come back later
                ids += submit(victim)["job_ids"]
    recovers(victim)
    all_there(victim, ids)


@pytest.mark.parametrize(("call", "error"), FLOOR)
def test_no_ids_without_a_floor(victim: Machine, call: str, error: str) -> None:
    """While the marker cannot be written no id above the floor is given out, none twice later."""
    first = submit(victim)
    pid = persister(victim)["pid"]
    marker = str(victim.state / "state.marker.new")
    many = {"array": "1-5000"}
    with injected(pid, f"{call}:error={error}", path=marker if call != "fsync" else None):
        with pytest.raises(Refusal) as refusal:
            submit(victim, **many)
        assert refusal.value.kind == "unavailable"
    recovers(victim)
    second = eventually(lambda: _try_to_submit(victim, many))
    assert second["job_ids"][0] > first["job_ids"][0]
    all_there(victim, [*first["job_ids"], *second["job_ids"]])


def _try_to_submit(machine: Machine, fields: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return submit(machine, **fields)
    except (Refusal, Broken):
        return None


@pytest.mark.parametrize(("call", "error"), SHIM)
def test_a_call_of_each_shim_fails(victim: Machine, call: str, error: str) -> None:
    """No job runs twice or ends as another did; what was put off runs when the fault is over."""
    with client_of(victim) as client:
        launcher = client.status()["processes"]["launcher"]["pid"]
    with injected(launcher, f"{call}:error={error}:when=1"):
        ids = [
            submit(
                victim,
                cwd=str(victim.work),
                command=f"echo x >> ran.{code}; exit {code}",
                hold=False,
            )["job_ids"][0]
            for code in (3, 4)
        ]
        eventually(lambda: all(victim.job(job_id)["attempt"] for job_id in ids))
    assert victim.wait(*ids) in (1, 3, 4)
    for job_id, code in zip(ids, (3, 4), strict=True):
        record = victim.job(job_id)
        assert (record["state"], record["exit_code"]) in {("FAILED", code), ("NODE_FAIL", None)}
        ran = victim.work / f"ran.{code}"
        assert not ran.exists() or ran.read_text() == "x\n"


@pytest.mark.parametrize("call", ["openat", "pread64", "pwrite64", "fdatasync"])
def test_a_store_that_cannot_be_opened(victim: Machine, call: str) -> None:
    """The start is refused in one sentence that names the store, and nothing is lost by it."""
    ids = submit(victim)["job_ids"]
    victim.kill_at_once()
    store = str(victim.state / "state.db")
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", store, "-P", f"{store}-wal"]
    words += ["-e", f"inject={call}:error=EIO", "gflow-supervisor"]
    answer = subprocess.run(
        words, env=victim.env, cwd=victim.work, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 1, answer
    assert store in answer.stderr and "Traceback" not in answer.stderr, answer.stderr
    victim.start()
    with client_of(victim) as client:
        assert {record["id"] for record in client.jobs()} >= set(ids)
