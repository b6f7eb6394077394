"""What reports mean to the core."""

from __future__ import annotations

import time
from pathlib import Path

from gflow.launching import protocol, request
from gflow.model import event
from gflow.model.action import Kill, Signal, Start
from gflow.model.job import Job, Process, Spec
from gflow.process import identity
from tests.launching.driver import Driver


def spec(*command: str, **fields: object) -> Spec:
    return Spec(name="n", user="u", uid=0, gid=0, command=command, cwd="/", **fields)  # type: ignore[arg-type]


def order(*command: str, **fields: object) -> Start:
    return Start(1, 1, spec(*command, **fields), None, None, None, None, None, (), ())


def start(launcher: Driver, *command: str, **fields: object) -> None:
    frame = request.start(
        order(*command, **fields), env=None, script=None, record=b"{}", grace_period_s=5.0
    )
    launcher.send(frame)


def test_an_order_becomes_a_running_job(launcher: Driver) -> None:
    """The start that the core asks for is what the launcher understands, and back."""
    start(launcher, "/bin/sh", "-c", "exit 3")
    (started,) = request.events(launcher.wait_for("started"))
    (exited,) = request.events(launcher.wait_for("exited"))
    assert isinstance(started, event.Started) and started.process.pid > 0
    assert isinstance(exited, event.Exited)
    assert (exited.exit_code, exited.gone) == (3, True)


def test_an_end_is_told_apart_from_the_exit() -> None:
    """For whoever has to see to something before the attempt gives back what it holds."""
    start = {"boot_id": "b", "shim": [10, 1], "process": [11, 2]}
    start |= {"started_at": 1.0, "started_boot_s": 1.0}
    report = {"t": "exited", "job_id": 1, "attempt": 1, "gone": True, "start": start}
    report |= {"exit_code": 3, "signal": None, "finished_at": 2.0}
    (together,) = request.events(report)
    exited, gone = request.events_apart(report)
    assert isinstance(together, event.Exited) and isinstance(exited, event.Exited)
    assert (together.gone, exited.gone) == (True, False)
    assert together.start == exited.start is not None
    assert gone == event.Gone(1, 1)


def test_a_failed_start_is_an_event(launcher: Driver) -> None:
    """With the reason."""
    start(launcher, "/no/such")
    (failed,) = request.events(launcher.wait_for("start_failed"))
    message = "cannot start: /no/such: No such file or directory"
    assert failed == event.StartFailed(1, 1, message, transient=False)


def test_the_specs_grace_period_counts(launcher: Driver) -> None:
    """The configured one is for specs without one."""
    frame = request.start(
        order("true", grace_period_s=2.0), env=None, script=None, record=b"{}", grace_period_s=5.0
    )
    header, _ = protocol.unpack(frame)
    assert header["grace_period_s"] == 2.0


def test_signal_and_kill_are_understood(launcher: Driver) -> None:
    """Orders of the core reach the command."""
    start(launcher, "sleep", "1000")
    launcher.wait_for("started")
    launcher.send(request.signal(Signal(1, 1, 19, tree=True)))
    launcher.send(request.kill(Kill(1, 1, 3.0)))
    (exited,) = request.events(launcher.wait_for("exited"))
    assert isinstance(exited, event.Exited) and exited.signal == 15


def test_a_found_end_is_adopted_ended_and_gone(launcher: Driver) -> None:
    """A job that the store believes pending becomes one that ran and ended."""
    start(launcher, "/bin/sh", "-c", "exit 3")
    launcher.wait_for("exited")
    launcher.send(request.scan())
    adopted, exited = request.events(launcher.wait_for("found"))
    assert isinstance(adopted, event.Adopted) and adopted.process is not None
    assert isinstance(exited, event.Exited) and (exited.exit_code, exited.gone) == (3, True)


def test_a_found_running_job_is_adopted(launcher: Driver) -> None:
    """With the identities that its start had reported."""
    start(launcher, "sleep", "1000")
    (started,) = request.events(launcher.wait_for("started"))
    launcher.send(request.scan())
    (adopted,) = request.events(launcher.wait_for("found"))
    assert isinstance(started, event.Started) and isinstance(adopted, event.Adopted)
    assert (adopted.shim, adopted.process) == (started.shim, started.process)
    assert (adopted.started_at, adopted.end_unknown) == (started.started_at, False)


def test_active_jobs_without_a_trace_are_judged(launcher: Driver) -> None:
    """Those that had started are lost; those that had not never did."""
    process = Process("boot", 2**22 + 1, 1)
    launcher.ask("scan", known=[])
    launcher.wait_for("scanned")
    now_s, boot_id = time.clock_gettime(time.CLOCK_BOOTTIME), identity.boot_id()
    jobs = [
        Job(1, spec("x"), 0.0, attempt=1, process=process, boot_id="boot"),
        Job(2, spec("x"), 0.0, attempt=3, boot_id=boot_id, started_boot_s=now_s),
    ]
    launcher.send(request.scan(jobs))
    events = {}
    for job_id in (1, 2):
        events[job_id] = request.events(launcher.wait_for("found", job_id=job_id))
    assert isinstance(events[1][-1], event.Lost)
    assert events[2] == [event.NeverStarted(2, 3)]


def test_a_lost_report_is_an_event() -> None:
    """Told by whoever followed it."""
    report = {"t": "lost", "job_id": 1, "attempt": 2, "message": "why"}
    assert request.events(report) == [event.Lost(1, 2, "why")]


def test_heartbeats_are_no_events() -> None:
    """Nor is anything else that is not about attempts."""
    assert request.events({"t": "heartbeat", "attempts": 0}) == []


def test_forgetting_what_is_not_there_is_harmless(launcher: Driver, tmp_path: Path) -> None:
    """The order may come twice."""
    launcher.send(request.forget([(1, 1), (2, 1)]))
    launcher.send(request.forget([(1, 1)]))
    assert launcher.run("/bin/true")["exit_code"] == 0
