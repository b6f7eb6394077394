"""The launcher: forks one shim per attempt, passes signals on, and tells what shims report.

A process of its own because forking must be cheap: it stays small, and touches no user's path. It
decides nothing and remembers nothing that the run files do not say; a killed launcher is replaced
and the next one finds everything by ``scan``.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gflow.launching import follower, oom, output, protocol, reader, shim, tree
from gflow.launching.adoption import Verdict
from gflow.launching.attempt import Attempt, Key
from gflow.launching.command import Conditions
from gflow.launching.order import Order
from gflow.launching.place import Place
from gflow.launching.protocol import Message
from gflow.launching.survey import Finding, Known, Survey
from gflow.process import child, identity
from gflow.process.channel import Channel, ChannelClosed

_HEARTBEAT_S = 1.0
_READ_BYTES = 1 << 16
#: How often, and how far apart, a run file is looked at whose shim dies at that moment.
_LOOKS, _LOOK_AGAIN_S = 50, 0.01
_SHIM_LIVES = (Verdict.RUNNING, Verdict.COMPLETING)


def main(fd: int, settings: dict[str, Any]) -> NoReturn:
    """Become the launcher, until the pipe ``fd`` ends or says ``stop``.

    ``settings``: ``state_dir``; ``lock_fd``, an inherited lock on it (None: there is none);
    ``cpu_affinity``, whether jobs are bound to their cpus; ``system``, whether they run as their
    submitters; ``spool_dir``, a folder for scripts that these can reach; ``cgroup``, whether
    attempts get control groups: auto (where one was delegated), on or off.

    By exec, although it may have been forked: every module that the parent had loaded would cost
    every shim (a fifth of its start for logging and multiprocessing).
    """
    kept = _kept_fds(settings)
    child.begin("launcher", (fd, *kept))
    child.start_afresh("gflow.launching.launcher", "serve", fd, settings, kept)


def serve(fd: int, settings: dict[str, Any]) -> None:
    """Run as the launcher in this process. See ``main``."""
    kept = _kept_fds(settings)
    child.begin("launcher", (fd, *kept))
    for inherited in (fd, *kept):
        os.set_inheritable(inherited, False)
    # Shims wait for these; blocked here, none is lost between a fork and the shim's first line.
    signal.pthread_sigmask(signal.SIG_BLOCK, shim.WAITED_FOR)
    os.umask(0o077)
    launcher = Launcher(Channel(fd), settings)
    gc.collect()
    gc.freeze()  # a collection in a shim would copy every page
    try:
        launcher.serve()
    except ChannelClosed:
        pass  # the supervisor is gone; shims and jobs live on


def _kept_fds(settings: dict[str, Any]) -> tuple[int, ...]:
    lock_fd = settings.get("lock_fd")
    return () if lock_fd is None else (lock_fd,)


class Launcher:
    """One loop over the supervisor's pipe, the FIFO of reports, and a pidfd per shim."""

    def __init__(self, channel: Channel, settings: dict[str, Any]) -> None:
        self._channel = channel
        self._place = Place(
            settings["state_dir"], settings.get("spool_dir"), settings.get("cgroup", "auto")
        )
        self._conditions = _conditions(settings)
        self._lock_fd: int | None = settings.get("lock_fd")
        self._attempts: dict[Key, Attempt] = {}
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._reports_fd = -1
        self._report_rest = b""
        self._readers = reader.Readers(self._watch, self._unwatch, self._send)
        self._heartbeat_at_s = 0.0
        #: When the first kill's grace period ends.
        self._impatient_at_s = math.inf
        self._channel_events = select.EPOLLIN
        self._serving = True
        self._poll.register(channel.fileno(), select.EPOLLIN)

    # --- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Until ``stop``. Raises ChannelClosed when the supervisor is gone."""
        self._open_reports()
        while self._serving:
            self._tick(time.monotonic())
            for fd, _ in self._poll.poll(self._timeout_s(time.monotonic())):
                if fd == self._channel.fileno():
                    self._serve_channel()
                elif callback := self._callbacks.get(fd):
                    callback()

    def _timeout_s(self, now_s: float) -> float:
        at_s = min(self._heartbeat_at_s, self._impatient_at_s, self._readers.deadline_s)
        return max(0.0, at_s - now_s)

    def _tick(self, now_s: float) -> None:
        self._readers.expire(now_s)
        if now_s >= self._impatient_at_s:
            self._lose_patience(now_s)
        if now_s >= self._heartbeat_at_s:
            self._heartbeat_at_s = now_s + _HEARTBEAT_S
            self._open_reports()
            self._conditions.oom_kills = oom.kills()
            self._send({"t": "heartbeat", "attempts": len(self._attempts)})

    def _watch(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks[fd] = callback
        self._poll.register(fd, select.EPOLLIN)

    def _unwatch(self, fd: int) -> None:
        del self._callbacks[fd]
        self._poll.unregister(fd)
        os.close(fd)

    # --- the supervisor --------------------------------------------------------------------------

    def _send(self, header: Message, blobs: Sequence[bytes | None] = ()) -> None:
        self._channel.send(protocol.pack(header, blobs))
        self._await_channel()

    def _await_channel(self) -> None:
        """Ask to be told when the pipe takes more, as long as there is more."""
        events = select.EPOLLIN | (select.EPOLLOUT if self._channel.wants_write else 0)
        if events != self._channel_events:
            self._channel_events = events
            self._poll.modify(self._channel.fileno(), events)

    def _serve_channel(self) -> None:
        self._channel.flush()
        self._await_channel()
        for frame in self._channel.receive():
            message, blobs = protocol.unpack(frame)
            _HANDLERS[message["t"]](self, message, blobs)

    def _on_start(self, message: Message, blobs: list[bytes | None]) -> None:
        order = Order(message, blobs)
        key = (order.job_id, order.attempt)
        attempt = self._attempts.get(key)
        if attempt is not None and not attempt.end_reported:
            self._tell_truth(key)
            return
        try:
            pid = os.fork()
        except OSError as error:
            text = f"cannot start: {error.strerror}"
            self._send(_about("start_failed", key, message=text, transient=True))
            return
        if pid == 0:
            shim.run(order, self._place, self._conditions, self._lock_fd)
        self._adopt(Attempt(key, pid, os.pidfd_open(pid), own=True))

    def _on_kill(self, message: Message, _: list[bytes | None]) -> None:
        key = (message["job_id"], message["attempt"])
        attempt = self._attempts.get(key)
        if attempt is None:
            self._tell_truth(key)
            return
        grace_period_s = message["grace_period_s"]
        # The shim counts the grace period of its order by itself; a shorter one is counted here.
        _send_signal(attempt.fd, signal.SIGTERM if grace_period_s > 0 else signal.SIGINT)
        attempt.kill_at_s = time.monotonic() + grace_period_s
        self._impatient_at_s = min(self._impatient_at_s, attempt.kill_at_s)

    def _lose_patience(self, now_s: float) -> None:
        """Hurry shims whose grace period is over; kill those that hang before their command."""
        self._impatient_at_s = math.inf
        for attempt in self._attempts.values():
            at_s = attempt.kill_at_s
            if at_s is None:
                continue
            if at_s > now_s:
                self._impatient_at_s = min(self._impatient_at_s, at_s)
            elif attempt.command is None:
                _send_signal(attempt.fd, signal.SIGKILL)
                attempt.kill_at_s = None
            else:
                _send_signal(attempt.fd, signal.SIGINT)
                attempt.kill_at_s = None

    def _on_signal(self, message: Message, _: list[bytes | None]) -> None:
        attempt = self._attempts.get((message["job_id"], message["attempt"]))
        if attempt is None:
            return
        if message["tree"]:
            for entry in tree.descendants(attempt.pid):
                tree.send(entry, message["signal"])
        elif attempt.command is not None:
            fd = identity.open_pidfd(*attempt.command)
            if fd is not None:
                _send_signal(fd, message["signal"])
                os.close(fd)

    def _on_forget(self, message: Message, _: list[bytes | None]) -> None:
        key = (message["job_id"], message["attempt"])
        for path in (self._place.run_path(*key), self._place.spool_path(*key)):
            try:
                os.unlink(path)
            except OSError:
                pass

    def _on_expire(self, message: Message, _: list[bytes | None]) -> None:
        for job_id, array_id, task in message["jobs"]:
            try:
                os.unlink(output.log_path(self._place.logs, job_id, array_id, task))
            except OSError:
                pass

    def _on_read(self, message: Message, _: list[bytes | None]) -> None:
        self._readers.ask(message)

    def _on_scan(self, message: Message, _: list[bytes | None]) -> None:
        known = [_known(item) for item in message.get("known", ())]
        count = 0
        for finding in Survey(self._place).all(known):
            count += 1
            self._settle(finding)
        self._send({"t": "scanned", "attempts": count})

    def _on_stop(self, _message: Message, _blobs: list[bytes | None]) -> None:
        self._serving = False

    # --- shims -----------------------------------------------------------------------------------

    def _adopt(self, attempt: Attempt) -> None:
        self._attempts[attempt.key] = attempt
        self._watch(attempt.fd, lambda: self._on_end(attempt))

    def _on_end(self, attempt: Attempt) -> None:
        """The shim is gone: usually it had said all there is to say."""
        self._read_reports()
        if self._attempts.get(attempt.key) is attempt:
            del self._attempts[attempt.key]
        self._unwatch(attempt.fd)
        status = os.waitpid(attempt.pid, 0)[1] if attempt.own else None
        if attempt.end_reported:
            return
        if status is not None and os.waitstatus_to_exitcode(status) == shim.ALREADY_STARTED:
            self._tell_truth(attempt.key)
            return
        survey = Survey(self._place)
        finding = survey.one(*attempt.key)
        if finding is None and attempt.command is None:
            text = "cannot start: its shim ended before it began"
            self._send(_about("start_failed", attempt.key, message=text, transient=True))
            return
        if finding is None:
            finding = survey.without_file(*attempt.key, None, attempt.command)
        if finding.verdict in (Verdict.ENDED, Verdict.SWEEP):
            self._end(attempt, finding)
        else:
            self._settle(finding)

    def _end(self, attempt: Attempt, finding: Finding) -> None:
        """The shim was killed after it had written the exit."""
        facts = finding.contents.get("exit")
        assert facts is not None
        ended = finding.verdict is Verdict.ENDED
        if not attempt.exit_reported:
            exited = {name: value for name, value in facts.items() if name != "phase"}
            self._send(_about("exited", attempt.key, **{**exited, "gone": ended}))
        elif ended:
            self._send(_about("gone", attempt.key))
        if not ended:
            self._follow(finding)

    def _tell_truth(self, key: Key) -> None:
        """What the run file says; nothing while a shim is about to write it."""
        finding = Survey(self._place).one(*key)
        if finding is not None:
            self._settle(finding)
        elif key not in self._attempts:
            self._send(_about("lost", key, message="nothing of it was found"))

    def _settle(self, finding: Finding) -> None:
        """Tell what was found, and have somebody watch what lives."""
        key = (finding.job_id, finding.attempt)
        if key not in self._attempts and finding.verdict in _SHIM_LIVES:
            finding = self._adopt_found(finding)
        self._send(finding.message(self._place.boot_id))
        if key not in self._attempts and finding.verdict in (Verdict.FOLLOW, Verdict.SWEEP):
            self._follow(finding)

    def _adopt_found(self, finding: Finding) -> Finding:
        """Watch a shim that another launcher had forked. It may die while it is looked at."""
        key = (finding.job_id, finding.attempt)
        for _ in range(_LOOKS):
            fd = identity.open_pidfd(*finding.shim) if finding.shim else None
            if fd is not None:
                assert finding.shim is not None
                attempt = Attempt(key, finding.shim[0], fd, own=False)
                attempt.command = finding.command
                attempt.exit_reported = finding.verdict is Verdict.COMPLETING
                self._adopt(attempt)
                break
            time.sleep(_LOOK_AGAIN_S)
            finding = Survey(self._place).one(*key) or finding
            if finding.verdict not in _SHIM_LIVES:
                break
        return finding

    def _follow(self, finding: Finding) -> None:
        """Put a follower in the place of a shim that was killed."""
        subject = follower.Subject(finding)
        pid = os.fork()
        if pid == 0:
            follower.run(subject, self._place)
        attempt = Attempt((finding.job_id, finding.attempt), pid, os.pidfd_open(pid), own=True)
        attempt.command = finding.command
        attempt.exit_reported = finding.verdict is Verdict.SWEEP
        self._adopt(attempt)

    # --- reports ---------------------------------------------------------------------------------

    def _open_reports(self) -> None:
        """Hold the FIFO that shims look for; make it again when somebody deleted it."""
        if self._reports_fd >= 0 and _is_same_file(self._reports_fd, self._place.reports):
            return
        if self._reports_fd >= 0:
            self._read_reports()
            self._unwatch(self._reports_fd)
            self._reports_fd = -1
        try:
            self._place.prepare()
            # Also open for writing: it never ends then, however shims come and go.
            fd = os.open(self._place.reports, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # the folder is gone or the disk is full: tried again with the next heartbeat
        self._reports_fd = fd
        self._watch(fd, self._read_reports)

    def _read_reports(self) -> None:
        while self._reports_fd >= 0:
            try:
                data = os.read(self._reports_fd, _READ_BYTES)
            except BlockingIOError:
                return
            *lines, self._report_rest = (self._report_rest + data).split(b"\n")
            for line in lines:
                try:
                    report = json.loads(line)
                    key = (report["job_id"], report["attempt"])
                except (ValueError, TypeError, KeyError):
                    continue  # not from a shim
                self._pass_on(key, report)
            if len(data) < _READ_BYTES:
                return

    def _pass_on(self, key: Key, report: Message) -> None:
        attempt = self._attempts.get(key)
        what = report["t"]
        if what == "started":
            report["boot_id"] = self._place.boot_id
        if attempt is not None:
            if what == "started":
                pid, ticks = report["process"]
                attempt.command = (pid, ticks)
            elif what == "exited":
                attempt.exit_reported = True
                attempt.end_reported = report["gone"]
            else:
                attempt.end_reported = True
        self._send(report)


_HANDLERS: dict[str, Callable[[Launcher, Message, list[bytes | None]], None]] = {
    "start": Launcher._on_start,
    "kill": Launcher._on_kill,
    "signal": Launcher._on_signal,
    "forget": Launcher._on_forget,
    "expire": Launcher._on_expire,
    "read": Launcher._on_read,
    "scan": Launcher._on_scan,
    "stop": Launcher._on_stop,
}


def _conditions(settings: dict[str, Any]) -> Conditions:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a pidfd per running job
    affinity = sorted(os.sched_getaffinity(0)) if settings.get("cpu_affinity") else None
    return Conditions((soft, hard), affinity, system=settings.get("system", False))


def _about(what: str, key: Key, **facts: Any) -> Message:
    return {"t": what, "job_id": key[0], "attempt": key[1], **facts}


def _known(item: list[Any]) -> Known:
    job_id, attempt, shim_identity, command = item
    return (
        job_id,
        attempt,
        tuple(shim_identity) if shim_identity else None,
        tuple(command) if command else None,
    )


def _send_signal(pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        pass  # it has just ended, or the number is none


def _is_same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


if __name__ == "__main__":
    main(*child.arguments())
