"""Signals before the end, and the reason that a job can read, through the real programs."""

from __future__ import annotations

import sys

from tests.system.machine import Machine, eventually

#: Waits for a signal and shows why it came; a bash that runs nothing in the foreground.
LISTENER = (
    "trap 'cat $GFLOW_SIGNAL_REASON_FILE; exit 5' {name}; touch ready; while :; do sleep 0.05; done"
)


def log(machine: Machine, job_id: int) -> list[str]:
    return machine.ctl("log", str(job_id)).stdout.splitlines()


def test_command_is_warned(machine: Machine) -> None:
    """With B: the command gets the signal before its limit, and can read why and what is left."""
    job = machine.submit("-t", "60s", "--signal", "B:USR1@59", LISTENER.format(name="USR1"))
    assert machine.wait(job) == 5
    assert log(machine, job) == ["time limit", "59"]
    shown = machine.job(job)["warning"]
    assert shown == {"signal": 10, "before_s": 59.0, "tree": False}


def test_tree_is_warned(machine: Machine) -> None:
    """Without B: a grandchild in a session of its own gets it too."""
    child = "import signal; signal.sigwait([signal.SIGUSR1]); print('warned', flush=True)"
    mask = "import signal, os, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); "
    line = f"trap '' USR1; setsid {sys.executable} -c \"{mask}{child}\" & wait"
    job = machine.submit("-t", "60s", "--signal", "USR1@58", line)
    assert machine.wait(job) == 0
    assert log(machine, job) == ["warned"]


def test_warned_after_a_restart(machine: Machine) -> None:
    """Supervisor and launcher are killed in between; the warning comes all the same."""
    job = machine.submit("-t", "60s", "--signal", "B:USR1@57", LISTENER.format(name="USR1"))
    eventually(lambda: (machine.work / "ready").exists())
    machine.kill()
    machine.start()
    assert machine.wait(job) == 5
    assert log(machine, job)[0] == "time limit"


def test_cancel_says_why(machine: Machine) -> None:
    """The reason is there before SIGTERM is, with the grace period."""
    job = machine.submit("--grace", "7", LISTENER.format(name="TERM"))
    eventually(lambda: (machine.work / "ready").exists())
    machine.ctl("cancel", str(job))
    machine.wait(job)
    assert log(machine, job)[-2:] == ["cancelled", "7"]
    eventually(lambda: list((machine.state / "spool").iterdir()) == [])


def test_nonsense_is_refused(machine: Machine) -> None:
    """Unknown signals and times are one sentence and exit 2."""
    for word in ("NOPE@60", "USR1@soon", "B:", "65", "USR1@unlimited"):
        answer = machine.ctl("submit", "--signal", word, "--", "true")
        assert answer.returncode == 2, word
        assert len(answer.stderr.splitlines()) == 1, answer.stderr
