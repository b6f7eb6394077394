"""Orderly ends, and ends that cannot be orderly."""

from __future__ import annotations

import os
import signal

from tests.system.machine import Machine, eventually


def test_second_signal_changes_nothing(machine: Machine) -> None:
    """SIGTERM twice, SIGINT after SIGTERM: one orderly end, exit 0, nothing lost."""
    assert machine.supervisor is not None
    ids = machine.json("submit", "--no-wait", "--hold", "--", "true")["job_ids"]
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        machine.supervisor.send_signal(number)
    assert machine.supervisor.wait(60) == 0
    machine.start()
    assert machine.status()["store"]["clean_shutdown"] is True
    assert machine.job(ids[0])["state"] == "PENDING"


def test_signals_without_a_meaning_do_nothing(machine: Machine) -> None:
    """What would end another process by default is no reason to stop scheduling."""
    assert machine.supervisor is not None
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE):
        machine.supervisor.send_signal(number)
        assert machine.ctl("run", "--", "echo", "on").stdout == "on\n"


def test_children_are_gone_after_an_orderly_end(machine: Machine) -> None:
    """Persister, launcher, monitor and logger end with the supervisor."""
    pids = machine.note_pids()
    assert machine.stop() == 0
    eventually(lambda: not any(alive(pid) for pid in pids.values()))


def test_children_are_gone_after_a_crash(machine: Machine) -> None:
    """Each notices by the end of its pipe that the supervisor is dead."""
    machine.kill()
    eventually(lambda: not any(alive(pid) for pid in machine.noted_pids))


def test_clean_stop_keeps_ids_exact(machine: Machine) -> None:
    """After an orderly end the next id follows the last one; no gap."""
    first = machine.submit("--hold", "--", "true")
    assert machine.stop() == 0
    machine.start()
    assert machine.submit("--hold", "--", "true") == first + 1


def test_stopping_through_the_command(machine: Machine) -> None:
    """gflowctl stop returns when everything is saved; the next command finds nobody."""
    machine.submit("--hold", "--", "true")
    answer = machine.ctl("stop")
    assert answer.returncode == 0, answer
    assert machine.ctl("ping").returncode == 69


def test_stop_beside_a_stopped_persister(machine: Machine) -> None:
    """What a stopped persister owes is saved once it is continued; nothing hangs for ever."""
    assert machine.supervisor is not None
    persister = machine.note_pids()["persister"]
    os.kill(persister, signal.SIGSTOP)
    ids = machine.json("submit", "--no-wait", "--hold", "--", "true")["job_ids"]
    machine.supervisor.send_signal(signal.SIGTERM)
    code = machine.supervisor.wait(60)
    assert code in (0, 1)
    if code == 1:
        assert machine.supervisor.stdout is not None
        assert "not saved" in machine.supervisor.stdout.read()
        return
    machine.start()
    assert machine.job(ids[0])["state"] == "PENDING"


def test_start_beside_a_stopped_orphan(machine: Machine) -> None:
    """A killed supervisor's stopped persister is named, continued or ended, and does no harm."""
    job_id = machine.submit("--hold", "--", "true")
    os.kill(machine.note_pids()["persister"], signal.SIGSTOP)
    machine.kill_at_once()
    machine.start()
    assert machine.job(job_id)["state"] == "PENDING"
    assert "left by an earlier supervisor" in (machine.folder / "supervisor.err").read_text()


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
