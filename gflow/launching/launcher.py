"""The launcher: forks one shim per attempt, passes signals on, and tells what shims report.

A process of its own because forking must be cheap: it stays small, and touches no user's path. It
decides nothing and remembers nothing that the run files do not say; a killed launcher is replaced
and the next one finds everything by ``scan``.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gflow.launching import line, notice, oom, output, protocol, reader, shim
from gflow.launching.attic import Attic
from gflow.launching.command import Conditions
from gflow.launching.conclusion import Conclusions
from gflow.launching.custody import Custody, Key, about
from gflow.launching.ledger import Ledger
from gflow.launching.order import Order
from gflow.launching.place import Place, remove
from gflow.launching.pool import Handle, Pool
from gflow.launching.protocol import Message
from gflow.launching.report import Reports
from gflow.launching.survey import Known, Survey
from gflow.process import child
from gflow.process.channel import Channel, ChannelClosed

_HEARTBEAT_S = 1.0


def main(fd: int, settings: dict[str, Any]) -> NoReturn:
    """Become the launcher, until the pipe ``fd`` ends or says ``stop``.

    ``settings``: ``state_dir``; ``lock_fd``, an inherited lock on it (None: there is none);
    ``files_limit``, the soft and hard RLIMIT_NOFILE of commands (None: this process's own);
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
    """One loop over the supervisor's pipe, the FIFO of reports, and a line and a pidfd per shim."""

    def __init__(self, channel: Channel, settings: dict[str, Any]) -> None:
        self._channel = channel
        self._place = Place(
            settings["state_dir"], settings.get("spool_dir"), settings.get("cgroup", "auto")
        )
        self._conditions = _conditions(settings)
        self._lock_fd: int | None = settings.get("lock_fd")
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._reports = Reports(self._place, watch=self._watch, unwatch=self._unwatch)
        self._pool = Pool(watch=self._watch, unwatch=self._unwatch)
        self._custody = Custody(
            self._place,
            self._pool,
            watch=self._watch,
            unwatch=self._unwatch,
            send=self._send,
            forward=self._forward,
            read_reports=self._reports.read,
        )
        self._reports.deliver = self._custody.pass_on
        self._ledger = Ledger(self._place)
        self._attic = Attic(self._place)
        self._readers = reader.Readers(self._watch, self._unwatch, self._send)
        self._conclusions = Conclusions(
            self._place, self._conditions, watch=self._watch, unwatch=self._unwatch
        )
        self._heartbeat_at_s = 0.0
        self._channel_events = select.EPOLLIN
        #: Attempts that leave nothing but a run file, as far as this launcher has started them.
        self._frugal: set[Key] = set()
        self._serving = True
        self._poll.register(channel.fileno(), select.EPOLLIN)

    # --- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Until ``stop``. Raises ChannelClosed when the supervisor is gone."""
        self._reports.open()
        self._ledger.tend()
        self._attic.open()
        while self._serving:
            self._tick(time.monotonic())
            self._say_all()
            ready = self._poll.poll(self._timeout_s(time.monotonic()))
            for fd, callback in [(fd, self._callbacks.get(fd)) for fd, _ in ready]:
                if fd == self._channel.fileno():
                    self._serve_channel()
                elif callback and self._callbacks.get(fd) is callback:  # else it has a new meaning
                    callback()
        self._say_all()

    def _timeout_s(self, now_s: float) -> float:
        at_s = min(self._heartbeat_at_s, self._custody.impatient_at_s, self._readers.deadline_s)
        return max(0.0, at_s - now_s)

    def _tick(self, now_s: float) -> None:
        self._readers.expire(now_s)
        if now_s >= self._custody.impatient_at_s:
            self._custody.lose_patience(now_s)
        if now_s >= self._heartbeat_at_s:
            self._heartbeat_at_s = now_s + _HEARTBEAT_S
            self._pool.expire(now_s)
            self._attic.clear(now_s)
            self._reports.open()
            self._ledger.tend()
            self._conditions.oom_kills = oom.kills()
            refusal = self._place.limit_refusal
            self._send({"t": "heartbeat", "attempts": len(self._custody), "unlimited": refusal})

    def _watch(self, fd: int, callback: Callable[[], None]) -> None:
        """From now on; in place of what it was watched for before, if it was."""
        if fd not in self._callbacks:
            self._poll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def _unwatch(self, fd: int) -> None:
        del self._callbacks[fd]
        self._poll.unregister(fd)
        os.close(fd)

    # --- the supervisor --------------------------------------------------------------------------

    def _send(self, header: Message, blobs: Sequence[bytes | None] = ()) -> None:
        """Goes out at the end of the turn, with all that is said in it."""
        self._channel.queue(protocol.pack(header, blobs))

    def _forward(self, line: bytes) -> None:
        """The same with a report as it came."""
        self._channel.queue(line)

    def _say_all(self) -> None:
        """What the pipe takes; ask to be told when it takes more, as long as there is more."""
        self._channel.flush()
        events = select.EPOLLIN | (select.EPOLLOUT if self._channel.wants_write else 0)
        if events != self._channel_events:
            self._channel_events = events
            self._poll.modify(self._channel.fileno(), events)

    def _serve_channel(self) -> None:
        for frame in self._channel.receive():
            message, blobs = protocol.unpack(frame)
            self._handle(message, blobs, frame)

    def _handle(self, message: Message, blobs: list[bytes | None], frame: bytes) -> None:
        if message["t"] == "start":
            self._on_start(message, blobs, frame)
        else:
            _HANDLERS[message["t"]](self, message, blobs)

    def _on_start(self, message: Message, blobs: list[bytes | None], frame: bytes) -> None:
        """An idle shim gets it, as it came, else a new one."""
        key = _key(message)
        if self._custody.watches(key):
            self._custody.tell_truth(key)
            return
        if blobs[1] is None and not message.get("pty"):
            self._frugal.add(key)
        handle = self._hand(frame)
        if handle is not None:
            self._custody.adopt(key, handle)
            return
        try:
            pid, ours = self._fork(Order(message, blobs))
        except OSError as error:
            text = f"cannot start: {error.strerror}"
            self._send(about("start_failed", key, message=text, transient=True))
        else:
            self._custody.adopt_child(key, pid, ours)

    def _hand(self, frame: bytes) -> Handle | None:
        """Give a start to an idle shim, with what a new one would find in this process."""
        if not len(self._pool):
            return None
        spare = self._attic.take(time.monotonic())
        return self._pool.hand(frame, self._conditions.oom_kills, spare, self._lock_fd)

    def _fork(self, order: Order) -> tuple[int, line.LauncherEnd | None]:
        """A new shim's pid and the line to it. Raises OSError."""
        ours, theirs = line.pair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        else:
            if pid == 0:
                shim.run(order, self._place, self._conditions, self._lock_fd, theirs)
        finally:
            theirs.close()
        return pid, ours

    def _on_warn(self, message: Message, _: list[bytes | None]) -> None:
        key = _key(message)
        if not self._custody.watches(key):
            self._custody.tell_truth(key)  # of a launcher before this one
        self._note_reason(message, message["left_s"])
        if message["signal"]:
            self._on_signal(message, [])

    def _note_reason(self, message: Message, left_s: float) -> None:
        """Let an attempt know why it is told to end, before it is."""
        key = _key(message)
        if not self._custody.watches(key):
            return
        self._frugal.discard(key)
        path = self._place.reason_path(*key)
        notice.write(path, message["reason"], left_s, public=self._conditions.system)

    def _on_kill(self, message: Message, _: list[bytes | None]) -> None:
        if message.get("reason"):
            self._note_reason(message, message["grace_period_s"])
        self._custody.kill(_key(message), message["grace_period_s"])

    def _on_signal(self, message: Message, _: list[bytes | None]) -> None:
        send = self._custody.signal_tree if message["tree"] else self._custody.signal_command
        send(_key(message), message["signal"])

    def _on_forget(self, message: Message, _: list[bytes | None]) -> None:
        keys: list[Key] = [(job_id, attempt) for job_id, attempt in message["attempts"]]
        self._ledger.settle(*keys)
        place, now_s = self._place, time.monotonic()
        for key in keys:
            self._attic.put(place.run_path(*key), now_s)
            if key in self._frugal:
                self._frugal.remove(key)
                continue
            remove(place.reason_path(*key))
            remove(place.spool_path(*key))
            remove(place.terminal_path(*key))

    def _on_conclude(self, message: Message, blobs: list[bytes | None]) -> None:
        order = Order(message, blobs)
        self._frugal.discard((order.job_id, order.attempt))
        remove(self._place.spool_path(order.job_id, order.attempt))
        self._conclusions.ask(order)

    def _on_expire(self, message: Message, _: list[bytes | None]) -> None:
        for job_id, array_id, task in message["jobs"]:
            remove(output.log_path(self._place.logs, job_id, array_id, task))

    def _on_read(self, message: Message, _: list[bytes | None]) -> None:
        self._readers.ask(message)

    def _on_scan(self, message: Message, _: list[bytes | None]) -> None:
        known = [_known(item) for item in message.get("known", ())]
        count = 0
        for finding in Survey(self._place).all(known):
            count += 1
            self._custody.settle(finding)
        self._send({"t": "scanned", "attempts": count})

    def _on_stop(self, _message: Message, _blobs: list[bytes | None]) -> None:
        self._serving = False


_HANDLERS: dict[str, Callable[[Launcher, Message, list[bytes | None]], None]] = {
    "kill": Launcher._on_kill,
    "signal": Launcher._on_signal,
    "warn": Launcher._on_warn,
    "forget": Launcher._on_forget,
    "conclude": Launcher._on_conclude,
    "expire": Launcher._on_expire,
    "read": Launcher._on_read,
    "scan": Launcher._on_scan,
    "stop": Launcher._on_stop,
}


def _conditions(settings: dict[str, Any]) -> Conditions:
    soft, hard = settings.get("files_limit") or resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a pidfd per running job
    affinity = sorted(os.sched_getaffinity(0)) if settings.get("cpu_affinity") else None
    return Conditions((soft, hard), affinity, system=settings.get("system", False))


def _key(message: Message) -> Key:
    return message["job_id"], message["attempt"]


def _known(item: list[Any]) -> Known:
    job_id, attempt, shim_process, command, boot_id, ordered_boot_s = item
    return Known(
        (job_id, attempt),
        tuple(shim_process) if shim_process else None,
        tuple(command) if command else None,
        boot_id,
        ordered_boot_s,
    )


if __name__ == "__main__":
    main(*child.arguments())
