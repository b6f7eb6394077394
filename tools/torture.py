"""Torture of the real programs: requests, kills, stops and a full disk, from a seed.

``python tools/torture.py --minutes 30`` lets users submit, cancel and hold at the real supervisor
while its processes are killed and stopped, its disk fills up and it is restarted. After each round
everything may come to its end, and a small reference model says what is allowed. A difference
prints the seed, keeps the folder and exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gflow.api.client import Client
from gflow.api.wire import Broken, Refusal, Unreachable
from tests.system.machine import Machine
from tests.system.reference import Record, Reference, Submission

_USERS = 4
_STORM_S = (6.0, 15.0)
#: After a storm, something must end within this time, until everything has.
_CALM_S = 60.0
_DISK_BYTES = 24 << 20
_LIVE = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING")
_JOB = 'echo x >> "$0/$GFLOW_JOB_ID"; sleep "$1"; exit "$2"'
_TROUBLE = (Unreachable, Broken, Refusal, OSError)


class Torture:
    """One supervisor on one folder, its users and its enemies."""

    def __init__(self, seed: int, folder: Path, **settings: str) -> None:
        self.seed = seed
        self.folder = folder
        self._draw = random.Random(seed)
        self.reference = Reference()
        self._starts = folder / "starts"
        self._starts.mkdir()
        self.machine = Machine(folder, GFLOW_RESOURCES__CPUS="6", **settings)
        self._disk = self._mount()
        #: What was done to it, for whoever looks at a failure.
        self.deeds: list[str] = []
        self._calm = threading.Event()

    # --- a run ----------------------------------------------------------------------------------

    def run(self, minutes: float, rounds: int | None = None) -> list[str]:
        """Storm and calm in turn; the differences of the first bad round, or nothing."""
        end_s = time.monotonic() + 60 * minutes
        self.machine.start()
        done = 0
        while time.monotonic() < end_s and (rounds is None or done < rounds):
            done += 1
            self._storm(min(self._draw.uniform(*_STORM_S), max(2.0, end_s - time.monotonic())))
            differences = self._settle()
            print(f"round {done}: {self.reference.acknowledged} jobs acknowledged", flush=True)
            if differences:
                return differences
        return self._end_orderly()

    def close(self) -> None:
        """Leave no process behind."""
        self._calm.set()
        self.machine.close()
        if self._disk is not None:
            subprocess.run(["umount", "-l", str(self._disk)], check=False)

    def _storm(self, seconds: float) -> None:
        self._calm.clear()
        users = [
            threading.Thread(target=self._use, args=(random.Random(self._draw.random()),))
            for _ in range(_USERS)
        ]
        for user in users:
            user.start()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(self._draw.uniform(0.1, 1.5))
            deed = self._draw.choice(self._deeds())
            self.deeds.append(deed.__name__.strip("_"))
            deed()
        self._calm.set()
        for user in users:
            user.join()

    def _settle(self) -> list[str]:
        """No more deeds: everything ends, and the model has its say."""
        self._free_disk()
        end_s, fewest = time.monotonic() + _CALM_S, sys.maxsize
        while time.monotonic() < end_s:
            self._keep_alive()
            with contextlib.suppress(*_TROUBLE), self._client() as client:
                client.act("release", all=True)
                live = client.jobs(states=list(_LIVE))
                if not live:
                    return self.reference.differences(self._records(client), self._begun())
                if len(live) < fewest:
                    end_s, fewest = time.monotonic() + _CALM_S, len(live)
            time.sleep(0.3)
        return [f"it does not come to rest: {len(live)} jobs, the first is {live[0]}"]

    def _end_orderly(self) -> list[str]:
        """SIGTERM and another start: nothing has changed."""
        with self._client() as client:
            before = self._records(client)
        code = self.machine.stop()
        if code != 0:
            return [f"an orderly end exits with {code}"]
        self.machine.start()
        with self._client() as client:
            after = self._records(client)
        changed = [id for id in before.keys() | after if before.get(id) != after.get(id)]
        return [f"job {id} is another one after an orderly end" for id in changed]

    def _records(self, client: Client) -> dict[int, Record]:
        found = {record["id"]: record for record in client.jobs(ended=True)}
        for record in client.history():
            found.setdefault(record["id"], record)
        return found

    def _begun(self) -> dict[int, int]:
        return {int(path.name): path.read_text().count("x\n") for path in self._starts.iterdir()}

    # --- users ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        with Client(str(self.machine.runtime), timeout_s=15.0) as client:
            yield client

    def _use(self, draw: random.Random) -> None:
        while not self._calm.is_set():
            with contextlib.suppress(*_TROUBLE), self._client() as client:
                while not self._calm.is_set():
                    self._request(client, draw)
                    time.sleep(draw.uniform(0.0, 0.1))
            time.sleep(0.05)

    def _request(self, client: Client, draw: random.Random) -> None:
        known = self.reference.some_ids()
        if draw.random() < 0.6 or not known:
            self._submit(client, draw)
            return
        job_id = draw.choice(known[-50:])
        action = draw.choice(("cancel", "hold", "release"))
        if action == "cancel":
            self.reference.cancels(job_id)
        client.act(action, job_id, durable=draw.random() < 0.8)

    def _submit(self, client: Client, draw: random.Random) -> None:
        token = f"t{draw.getrandbits(64):x}"
        submission = Submission(token, draw.choice((1, 1, 1, 3, 10)), draw.choice((0, 0, 1, 75)))
        seconds = draw.choice(("0", "0", "0.2", "1"))
        arguments = [str(self._starts), seconds, str(submission.code)]
        spec: Record = {
            "name": token,
            "command": ["bash", "-c", _JOB, *arguments],
            "cwd": "/",
            "hold": draw.random() < 0.1,
        }
        self.reference.asks(submission)
        for _ in range(3):  # as the commands do: the same key, until there is an answer
            try:
                answer = client.submit_specs([spec] * submission.count, key=token)
            except Broken:
                continue
            self.reference.answered(token, answer["job_ids"], durable=answer["durable"])
            return

    # --- enemies --------------------------------------------------------------------------------

    def _deeds(self) -> list[Callable[[], None]]:
        deeds: list[Callable[[], None]] = [
            *(self._kill_supervisor, self._kill_persister, self._kill_launcher, self._kill_all),
            *(self._stop_supervisor, self._stop_persister, self._stop_launcher, self._restart),
        ]
        return [*deeds, self._fill_disk] if self._disk is not None else deeds

    def _pid(self, name: str) -> int | None:
        """A pid of a child, from the supervisor itself."""
        with contextlib.suppress(*_TROUBLE), self._client() as client:
            pid: int | None = client.status()["processes"][name]["pid"]
            return pid
        return None

    def _send(self, pid: int | None, number: int) -> None:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _keep_alive(self) -> None:
        """Start it when it is not there; a full disk may be why it cannot."""
        supervisor = self.machine.supervisor
        if supervisor is not None and supervisor.poll() is not None:
            self._free_disk()
            self.machine.start()

    def _kill_supervisor(self) -> None:
        self.machine.kill_at_once()
        time.sleep(self._draw.choice((0.0, 0.0, 0.5)))
        self._keep_alive()

    def _kill_persister(self) -> None:
        self._send(self._pid("persister"), signal.SIGKILL)

    def _kill_launcher(self) -> None:
        self._send(self._pid("launcher"), signal.SIGKILL)

    def _kill_all(self) -> None:
        children = [self._pid("persister"), self._pid("launcher")]
        self.machine.kill_at_once()
        for pid in children:
            self._send(pid, signal.SIGKILL)
        self._keep_alive()

    def _stop_for_a_while(self, pid: int | None) -> None:
        self._send(pid, signal.SIGSTOP)
        time.sleep(self._draw.uniform(0.2, 3.0))
        self._send(pid, signal.SIGCONT)

    def _stop_supervisor(self) -> None:
        assert self.machine.supervisor is not None
        self._stop_for_a_while(self.machine.supervisor.pid)

    def _stop_persister(self) -> None:
        self._stop_for_a_while(self._pid("persister"))

    def _stop_launcher(self) -> None:
        self._stop_for_a_while(self._pid("launcher"))

    def _restart(self) -> None:
        self._free_disk()
        self.machine.stop()
        self.machine.start()

    # --- the disk -------------------------------------------------------------------------------

    def _mount(self) -> Path | None:
        """A small disk for the state folder; None where that is not allowed."""
        state = self.machine.state
        state.mkdir(mode=0o700)
        options = f"size={_DISK_BYTES},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "gflow-torture", str(state)]
        if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            print("the disk is not filled: a small one cannot be mounted", flush=True)
            return None
        return state

    def _fill_disk(self) -> None:
        with contextlib.suppress(OSError), open(self.machine.state / "filler", "wb") as file:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        time.sleep(self._draw.uniform(0.2, 3.0))
        if self._draw.random() < 0.7:
            self._free_disk()

    def _free_disk(self) -> None:
        (self.machine.state / "filler").unlink(missing_ok=True)


def torture(seed: int, minutes: float, rounds: int | None = None, **settings: Any) -> int:
    """0 when the model agrees; 1 after telling the seed, the deeds and the folder it keeps."""
    folder = Path(tempfile.mkdtemp(prefix=f"gflow-torture-{seed}-"))
    print(f"seed {seed}, folder {folder}", flush=True)
    victim = Torture(seed, folder, **settings)
    try:
        differences = victim.run(minutes, rounds)
        if differences:
            keep = folder.with_name(folder.name + "-kept")
            shutil.copytree(folder, keep, symlinks=True, ignore=shutil.ignore_patterns(".reports"))
            print(f"deeds: {' '.join(victim.deeds)}")
            print("\n".join(differences[:50]))
            print(f"seed {seed} failed ({len(differences)} differences); see {keep}", flush=True)
    finally:
        victim.close()
    if not differences:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if differences else 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, help="else a fresh one")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    return torture(seed, options.minutes, options.rounds)


if __name__ == "__main__":
    sys.exit(main())
