"""A private supervisor in a folder of its own; whatever it started is ended by pid."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from gflow.api.client import Client
from gflow.api.wire import Wire

#: On a disk, other than /tmp on many machines: what is measured here is durable.
FOLDER = "/var/tmp"
_PATIENCE_S = 120.0
#: More pending jobs than this are left where they are when a bench ends.
_MANY = 2_000

#: A spec that costs no file: only what is stored is measured.
SPEC: dict[str, Any] = {"command": ["true"], "cwd": "/", "env": {"PATH": "/usr/bin:/bin"}}


def new_folder() -> Path:
    """A folder of its own for one bench."""
    return Path(tempfile.mkdtemp(prefix="gflow-bench-", dir=FOLDER))


class Machine:
    """One supervisor on one state folder (``state`` below ``folder``, which goes with it).

    ``settings``: GFLOW_… variables.
    """

    def __init__(self, folder: Path | None = None, **settings: str) -> None:
        self.folder = folder or new_folder()
        self.state = self.folder / "state"
        self.runtime = self.folder / "run"
        self.env = {
            **os.environ,
            "HOME": str(self.folder),
            "GFLOW_CONFIG": os.devnull,
            "GFLOW_STATE_DIR": str(self.state),
            "GFLOW_RUNTIME_DIR": str(self.runtime),
            "GFLOW_CLIENT__AUTOSTART": "false",
            **settings,
        }
        # Whoever sets it would measure the compiler.
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process: subprocess.Popen[str] | None = None
        self.client = Client(str(self.runtime))

    def __enter__(self) -> Machine:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- life -----------------------------------------------------------------------------------

    def start(self, *options: str) -> float:
        """Start the supervisor; the seconds until it said that it is ready."""
        began_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gflow.supervisor.main", *options],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "ready" in line, f"the supervisor said {line!r}"
        return time.perf_counter() - began_s

    @property
    def pid(self) -> int:
        """The supervisor's pid."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the supervisor orderly; jobs live on."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """End jobs, supervisor and folder."""
        try:
            if self._process is not None and self._process.poll() is None:
                self._end_jobs()
        finally:
            self.client.close()
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_jobs(self) -> None:
        """Cancel what waits and runs; where very much waits, only the commands that run."""
        if self.client.status()["jobs"].get("PENDING", 0) < _MANY:
            self.client.cancel(all=True)
            self.eventually(lambda: not self.active())
            return
        running = [job["pid"] for job in self.client.jobs(states=["RUNNING"]) if job["pid"]]
        self.stop()
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        self.eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in running))

    # --- looking --------------------------------------------------------------------------------

    def wire(self) -> Wire:
        """A connection of its own."""
        return self.client.new_wire(60.0)

    def child(self, name: str, other_than: int = 0) -> int:
        """Pid of one of the supervisor's children; 0 while it is none, or that other one."""
        pid = self.client.status()["processes"][name]["pid"]
        return 0 if pid is None or pid == other_than else int(pid)

    def active(self) -> int:
        """Jobs that hold resources."""
        jobs = self.client.status()["jobs"]
        return sum(jobs.get(state, 0) for state in ("RUNNING", "COMPLETING", "SUSPENDED"))

    def unsaved(self) -> int:
        """Changes that are not durable yet."""
        return int(self.client.status()["processes"]["persister"]["changed"])

    def eventually(self, look: Callable[[], object], pause_s: float = 0.005) -> None:
        """Wait until something is true."""
        end_s = time.monotonic() + _PATIENCE_S
        while not look():
            assert time.monotonic() < end_s, "it never came true"
            time.sleep(pause_s)

    def settle(self) -> None:
        """Wait until everything is durable."""
        self.eventually(lambda: self.unsaved() == 0)

    # --- work -----------------------------------------------------------------------------------

    def block(self, cpus: int) -> int:
        """A job that holds all cpus, so that what comes after it waits in the queue."""
        job = self.client.submit(["sleep", "100000"], cwd="/", cpus=cpus, env={})
        self.eventually(lambda: self.client.job(job)["pid"] is not None)
        return job

    def fill(self, count: int, **fields: Any) -> list[int]:
        """Submit ``count`` single jobs in lists of up to 10,000."""
        ids: list[int] = []
        while len(ids) < count:
            specs = [{**SPEC, **fields}] * min(10_000, count - len(ids))
            ids += self.client.submit_specs(specs, durable=False)["job_ids"]
        self.settle()
        return ids


def resident_bytes(pid: int) -> int:
    """Resident memory of a process (proc(5), VmRSS)."""
    return _status(pid, "VmRSS:") << 10


def peak_bytes(pid: int) -> int:
    """Most resident memory that a process ever had (proc(5), VmHWM)."""
    return _status(pid, "VmHWM:") << 10


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, without its children's (proc(5), utime and stime)."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def written_bytes(pid: int) -> int:
    """Bytes that a process caused to be written to disks (proc(5), write_bytes)."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        fields = dict(line.split(": ") for line in file.read().splitlines())
    return int(fields["write_bytes"])


def _status(pid: int, name: str) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1])
    raise ProcessLookupError(pid)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal one process of ours."""
    os.kill(pid, number)
