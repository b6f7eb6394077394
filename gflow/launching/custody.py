"""Custody of attempts: who watches over each of them, and what is told when that one ends.

Every attempt that may still have processes is watched over by a shim, or by a follower where the
shim was killed; here they are watched in turn, by pidfd.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from gflow.launching import follower, protocol, shim, tree
from gflow.launching.adoption import Verdict
from gflow.launching.line import LauncherEnd
from gflow.launching.place import Place
from gflow.launching.pool import Handle, Pool
from gflow.launching.protocol import Message
from gflow.launching.survey import Finding, Known, Survey
from gflow.process import identity
from gflow.process.table import Identity

#: How often, and how far apart, a run file is looked at whose shim dies at that moment.
_LOOKS, _LOOK_AGAIN_S = 50, 0.01
#: When a follower is tried again after the system had no process for it.
_FOLLOW_AGAIN_S = 1.0
_SHIM_LIVES = (Verdict.RUNNING, Verdict.COMPLETING)

#: (job id, attempt).
Key = tuple[int, int]


class Attempt:
    """What is known of one attempt. Lives as long as its shim (or follower) is about it."""

    __slots__ = (
        "command",
        "end_told",
        "exit_told",
        "follows",
        "handle",
        "key",
        "kill_asked",
        "kill_at_s",
        "own",
        "signalled",
    )

    def __init__(self, key: Key, handle: Handle, *, own: bool) -> None:
        self.key = key
        #: Of the shim.
        self.handle = handle
        #: The shim is our child: it must be reaped.
        self.own = own
        #: The shim was asked to end the attempt: it may find the signal after that.
        self.signalled = False
        #: It is a follower: not the parent of the attempt's processes.
        self.follows = False
        #: None until it is reported.
        self.command: Identity | None = None
        self.exit_told = False
        #: "gone", "lost" or "start_failed" was passed on: its end is no news.
        self.end_told = False
        #: Monotonic time at which a kill asked for stops being patient; None: no kill asked for.
        self.kill_at_s: float | None = None
        self.kill_asked = False


class Custody:
    """All attempts under watch.

    ``watch`` and ``unwatch`` (which closes) are the launcher's loop; ``forward`` passes a report on
    as it came; ``read_reports`` takes in what shims have said so far, because their last words may
    be there when their death is noticed. Shims that have done their work go to the ``pool``.
    """

    def __init__(
        self,
        place: Place,
        pool: Pool,
        *,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        send: Callable[[Message], None],
        forward: Callable[[bytes], None],
        read_reports: Callable[[], None],
    ) -> None:
        self._place = place
        self._pool = pool
        self._watch = watch
        self._unwatch = unwatch
        self._send = send
        self._forward = forward
        self._read_reports = read_reports
        self._attempts: dict[Key, Attempt] = {}
        #: Attempts for which no process could be had to follow them, and the grace period of a kill
        #: that was asked for meanwhile.
        self._unfollowed: dict[Key, float | None] = {}
        #: Monotonic time at which ``lose_patience`` has something to do.
        self.impatient_at_s = math.inf

    def __len__(self) -> int:
        return len(self._attempts)

    def watches(self, key: Key) -> bool:
        """Whether somebody watches over it whose end is still to be told."""
        attempt = self._attempts.get(key)
        return attempt is not None and not attempt.end_told

    def adopt_child(self, key: Key, pid: int, line: LauncherEnd | None = None) -> Attempt:
        """Watch a shim or follower that was just forked."""
        return self.adopt(key, Handle(pid, os.pidfd_open(pid), line))

    def adopt(self, key: Key, handle: Handle) -> Attempt:
        """Watch a shim of ours that was just given this attempt."""
        return self._adopt(Attempt(key, handle, own=True))

    def _adopt(self, attempt: Attempt) -> Attempt:
        self._attempts[attempt.key] = attempt
        self._watch(attempt.handle.pidfd, lambda: self._on_end(attempt))
        if attempt.handle.line is not None:
            self._watch(attempt.handle.line.fileno(), lambda: self._on_line(attempt))
        return attempt

    # --- orders ---

    def kill(self, key: Key, grace_period_s: float) -> None:
        """Have the tree ended; the end is told in every case."""
        attempt = self._attempts.get(key)
        if attempt is None:
            self.tell_truth(key)
            attempt = self._attempts.get(key)
        if attempt is None:
            if key in self._unfollowed:
                self._unfollowed[key] = grace_period_s
            return
        # The shim counts the grace period of its order by itself; a shorter one is counted here.
        self._hurry(attempt, signal.SIGTERM if grace_period_s > 0 else signal.SIGINT)
        attempt.kill_asked = True
        attempt.kill_at_s = time.monotonic() + grace_period_s
        self.impatient_at_s = min(self.impatient_at_s, attempt.kill_at_s)

    def lose_patience(self, now_s: float) -> None:
        """Hurry shims whose grace period is over; kill those that hang before their command.

        And look again at attempts that nobody follows.
        """
        self.impatient_at_s = math.inf
        unfollowed, self._unfollowed = self._unfollowed, {}
        for key, grace_period_s in unfollowed.items():
            if grace_period_s is None:
                self.tell_truth(key)
            else:
                self.kill(key, grace_period_s)
        for attempt in self._attempts.values():
            if attempt.kill_at_s is None:
                continue
            if attempt.kill_at_s > now_s:
                self.impatient_at_s = min(self.impatient_at_s, attempt.kill_at_s)
                continue
            begun = attempt.follows or self._command(attempt) is not None
            self._hurry(attempt, signal.SIGINT if begun else signal.SIGKILL)
            attempt.kill_at_s = None

    def _hurry(self, attempt: Attempt, number: int) -> None:
        attempt.signalled = True
        _send_signal(attempt.handle.pidfd, number)
        _send_signal(attempt.handle.pidfd, signal.SIGCONT)  # the job may have stopped its shim

    def _command(self, attempt: Attempt) -> Identity | None:
        """The command's identity; its shim may have written it down and not told it yet."""
        if attempt.command is None and (finding := Survey(self._place).one(*attempt.key)):
            attempt.command = finding.command
        return attempt.command

    def signal_command(self, key: Key, number: int) -> None:
        """Send a signal to the command alone."""
        attempt = self._attempts.get(key)
        command = None if attempt is None else self._command(attempt)
        if command is None:
            return
        fd = identity.open_pidfd(*command)
        if fd is not None:
            _send_signal(fd, number)
            os.close(fd)

    def signal_tree(self, key: Key, number: int) -> None:
        """Send a signal to every process of the attempt."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return
        if attempt.follows:
            entries = Survey(self._place).members(*key, attempt.command)
        else:
            entries = tree.descendants(attempt.handle.pid)
            if _has_ended(attempt.handle.pidfd):
                return  # its pid may have been another's already
        for entry in entries:
            tree.send(entry, number)

    # --- what shims say ---

    def pass_on(self, key: Key, report: Message, line: bytes) -> None:
        """Tell the supervisor, and remember what has been told. ``line``: the report as it came."""
        attempt = self._attempts.get(key)
        what = report["t"]
        if what == "gone" and (attempt is None or not attempt.exit_told):
            # Its exit was told to a launcher that is dead; the run file knows it.
            self.tell_truth(key)
            return
        if attempt is not None:
            started = report if what == "started" else report.get("start")
            if started is not None:
                pid, ticks = started["process"]
                attempt.command = (pid, ticks)
            if what == "exited":
                attempt.exit_told = True
                attempt.end_told = report["gone"]
            elif what not in ("started", "trouble"):
                attempt.end_told = True
        self._forward(line)

    def _on_line(self, attempt: Attempt) -> None:
        """The shim reports, or has done its work and could do more, or it leaves."""
        handle = attempt.handle
        try:
            idle = self._hear(attempt)
        except EOFError:
            assert handle.line is not None
            self._unwatch(handle.line.detach())
            handle.line = None
            return  # its end is seen by its pidfd
        if not idle:
            return
        self._release(attempt)
        if attempt.signalled:
            self._pool.dismiss(handle)  # a signal about this attempt may have come too late for it
        else:
            self._pool.put(handle)
        if not attempt.end_told:
            self._tell_end(attempt)

    def _hear(self, attempt: Attempt) -> bool | None:
        """Take in what the shim says on its line; whether it is idle. None: it says nothing."""
        assert attempt.handle.line is not None
        said = attempt.handle.line.hear()
        if said is None:
            return None
        report, idle = said
        if report:
            self.pass_on(attempt.key, protocol.decode(report), report)
        return idle

    def _on_end(self, attempt: Attempt) -> None:
        """The shim is gone: usually it had said all there is to say."""
        handle = attempt.handle
        if handle.line is not None:
            with contextlib.suppress(EOFError):
                while self._hear(attempt) is not None:
                    pass
            self._unwatch(handle.line.detach())
        self._read_reports()
        self._release(attempt)
        self._unwatch(handle.pidfd)
        status = os.waitpid(handle.pid, 0)[1] if attempt.own else None
        if attempt.end_told:
            return
        if status is not None and os.waitstatus_to_exitcode(status) == shim.ALREADY_STARTED:
            self.tell_truth(attempt.key)
        else:
            self._tell_end(attempt)

    def _release(self, attempt: Attempt) -> None:
        if self._attempts.get(attempt.key) is attempt:
            del self._attempts[attempt.key]

    def _tell_end(self, attempt: Attempt) -> None:
        """What the run file says of an attempt whose shim did not say its last word."""
        survey = Survey(self._place)
        finding = survey.one(*attempt.key)
        begun = attempt.command is not None or survey.has_begun(attempt.key)
        if finding is None and not begun:
            text = "cannot start: its shim ended before it began"
            self._send(about("start_failed", attempt.key, message=text, transient=True))
            return
        if finding is None:
            boot_id = self._place.boot_id
            command = attempt.command and (boot_id, *attempt.command)
            finding = survey.without_file(Known(attempt.key, command=command))
        if finding.verdict in (Verdict.ENDED, Verdict.SWEEP):
            self._end(attempt, finding)
        else:
            self.settle(finding)
        if attempt.kill_asked and attempt.key in self._attempts:
            # The shim died before it could obey: whoever watches now is asked again.
            rest_s = (attempt.kill_at_s or 0.0) - time.monotonic()
            self.kill(attempt.key, max(0.0, rest_s))

    def _end(self, attempt: Attempt, finding: Finding) -> None:
        """The shim was killed after it had written the exit."""
        facts = finding.contents.get("exit")
        assert facts is not None
        ended = finding.verdict is Verdict.ENDED
        if not attempt.exit_told:
            exited = {name: value for name, value in facts.items() if name != "phase"}
            self._send(about("exited", attempt.key, **{**exited, "gone": ended}))
        elif ended:
            self._send(about("gone", attempt.key))
        if not ended:
            self._follow(finding)

    # --- what is found ---

    def tell_truth(self, key: Key) -> None:
        """What the run file says, or the process table; nothing while a shim is about to begin."""
        survey = Survey(self._place)
        finding = survey.one(*key)
        if finding is None and key not in self._attempts:
            finding = survey.without_file(Known(key))
        if finding is not None:
            self.settle(finding)

    def settle(self, finding: Finding) -> None:
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
                handle = Handle(finding.shim[0], fd, None)
                attempt = self._adopt(Attempt(key, handle, own=False))
                attempt.command = finding.command
                attempt.exit_told = finding.verdict is Verdict.COMPLETING
                attempt.follows = finding.followed
                break
            time.sleep(_LOOK_AGAIN_S)
            finding = Survey(self._place).one(*key) or finding
            if finding.verdict not in _SHIM_LIVES:
                break
        return finding

    def _follow(self, finding: Finding) -> None:
        """Put a follower in the place of a shim that was killed."""
        subject, key = follower.Subject(finding), (finding.job_id, finding.attempt)
        try:
            pid = os.fork()
        except OSError:
            self._unfollowed.setdefault(key, None)
            self.impatient_at_s = min(self.impatient_at_s, time.monotonic() + _FOLLOW_AGAIN_S)
            return
        if pid == 0:
            follower.run(subject, self._place)
        attempt = self.adopt_child(key, pid)
        attempt.command = finding.command
        attempt.exit_told = finding.verdict is Verdict.SWEEP
        attempt.follows = True


def about(what: str, key: Key, **facts: Any) -> Message:
    """A message about an attempt."""
    return {"t": what, "job_id": key[0], "attempt": key[1], **facts}


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _send_signal(pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        pass  # it has just ended, or the number is none
