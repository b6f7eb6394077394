"""The monitor: samples what jobs use. A process of its own, so that looking never slows deciding.

One pass over the process table serves all jobs; psutil is asked for the bytes that their processes
read and wrote, in rotation, so that a sample stays cheap however many there are.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

import psutil

from gflow.monitoring import host
from gflow.monitoring.claim import Claims
from gflow.monitoring.usage import Transferred, Watched
from gflow.process import child, table
from gflow.process.channel import Channel, ChannelClosed

_INTERVAL_S = 2.0
#: Whoever decides comes first: a pass over thousands of processes takes a tenth of a second.
_NICENESS = 5
#: Processes that psutil is asked about in one sample (0.1 ms each).
_ASKED_AT_ONCE = 256
#: Processor time of a sample in which is looked who shares memory (0.13 ms a process and more).
_WEIGHING_S = 0.005
#: Samples in one message, a small part of what the supervisor takes in in one turn of its loop.
_FRAME_SAMPLES = 10
#: A sample may take this part of the time: on a busy machine they become rarer.
_LARGEST_SHARE = 0.05


def main(fd: int, settings: dict[str, Any]) -> None:
    """Run as the monitor until the pipe ends. ``settings``: ``interval_s``."""
    child.begin("monitor", (fd,))
    os.nice(_NICENESS)
    monitor = Monitor(Channel(fd), settings.get("interval_s") or _INTERVAL_S)
    try:
        monitor.serve()
    except ChannelClosed:
        pass


class Monitor:
    """Samples in intervals; watches what it is told to."""

    def __init__(self, channel: Channel, interval_s: float) -> None:
        self._channel = channel
        self._interval_s = interval_s
        self._watched: dict[tuple[int, int], Watched] = {}
        #: Processes of our jobs that psutil is asked about next.
        self._queue: list[table.Identity] = []
        #: Whose shared memory was looked at last.
        self._weighed = (0, 0)
        self._claims = Claims()
        #: Declared cards that the supervisor wants to give out → who else does, as told last.
        self._wanted: dict[str, str | None] = {}

    def serve(self) -> None:
        """Until ``stop``. Raises ChannelClosed when the supervisor is gone."""
        self._send({"t": "host", "cpus": host.cpus(), "memory_bytes": host.memory_bytes()})
        next_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s >= next_s:
                cost_s = self._sample()
                self._claim([*self._wanted])
                next_s = now_s + max(self._interval_s, cost_s / _LARGEST_SHARE)
            if not self._receive(max(0.0, next_s - time.monotonic())):
                return

    def _send(self, message: dict[str, Any]) -> None:
        self._channel.send(json.dumps(message, separators=(",", ":")).encode())

    def _receive(self, timeout_s: float) -> bool:
        """Wait for messages and obey them. False: one said ``stop``."""
        writers = [self._channel] if self._channel.wants_write else []
        readable, writable, _ = select.select([self._channel], writers, [], timeout_s)
        if writable:
            self._channel.flush()
        for frame in self._channel.receive() if readable else ():
            message = json.loads(frame)
            what = message["t"]
            if what == "stop":
                self._claims.keep(())
                return False
            if what == "claim":
                self._claims.keep(message["names"])
                self._wanted = {}
                self._claim(message["names"])
                continue
            key = (message["job_id"], message["attempt"])
            if what == "watch":
                self._watched[key] = Watched(
                    (message["pid"], message["ticks"]),
                    memory_limit_bytes=message.get("memory_limit_bytes"),
                    interval_s=self._interval_s,
                    inclusive=message.get("inclusive", False),
                    turn=key[0],
                )
            elif what == "unwatch":
                self._watched.pop(key, None)
        return True

    def _claim(self, names: list[str]) -> None:
        """Claim what is not ours yet; tell what is new about it."""
        found = {name: self._claims.take(name) for name in names}
        if found != self._wanted:
            self._wanted = found
            self._send({"t": "claims", "others": found})

    def _sample(self) -> float:
        """Measure all that is watched and tell; the seconds of processor time it cost."""
        if self._channel.wants_write:
            return 0.0  # the supervisor has not read the last one yet
        began_s = time.process_time()
        samples = []
        processes = 0
        if self._watched:
            now = table.read()
            transferred = self._ask(now)
            processes = len(now.entries)
            sharing = {}
            for key, watched in list(self._watched.items()):
                figures = watched.measure(now, time.monotonic(), transferred)
                if figures is None:
                    del self._watched[key]
                    continue
                samples.append([*key, figures])
                if watched.may_share(figures):
                    sharing[key] = watched, figures
                if excess := watched.excess(now, figures):
                    over = {"t": "over_memory", "job_id": key[0], "attempt": key[1], **excess}
                    self._send(over)
            self._weigh(now, sharing)
        cost_s = time.process_time() - began_s
        about = {"cost_s": round(cost_s, 6), "processes": processes, "at": time.time()}
        for start in range(0, max(1, len(samples)), _FRAME_SAMPLES):
            some = samples[start : start + _FRAME_SAMPLES]
            self._send({"t": "samples", "samples": some, **about})
        return cost_s

    def _weigh(
        self, now: table.Table, sharing: dict[tuple[int, int], tuple[Watched, dict[str, Any]]]
    ) -> None:
        """Count the memory of some jobs fairly, in rotation, as far as it is affordable."""
        end_s = time.process_time() + _WEIGHING_S
        for key in sorted(sharing, key=lambda key: (key <= self._weighed, key)):
            watched, figures = sharing[key]
            watched.weigh(now, figures)
            self._weighed = key
            if time.process_time() >= end_s:
                return

    def _ask(self, now: table.Table) -> Transferred:
        """Read and written bytes of the processes whose turn it is."""
        if not self._queue:
            self._queue = [
                entry.identity
                for watched in self._watched.values()
                for entry in watched.processes(now)
            ]
        turn, self._queue = self._queue[:_ASKED_AT_ONCE], self._queue[_ASKED_AT_ONCE:]
        transferred: Transferred = {}
        for pid, ticks in turn:
            try:
                counters = psutil.Process(pid).io_counters()
            except (psutil.Error, OSError):
                continue
            transferred[(pid, ticks)] = (counters.read_bytes, counters.write_bytes)
        return transferred


if __name__ == "__main__":
    main(*child.arguments())
