"""The gpu process: looks at the cards. On its own, because any call into a driver may hang.

A round is one look at everything; ``look`` asks for a few cards at once, when a job that held them
has ended. Whoever is silent for long is thought to hang in the driver, so a round that takes its
time says from card to card that it lives.

→ ``watch {job_id, roots}`` · ``unwatch {job_id}`` · ``look {number, uuids}`` · ``renounce {uuids}``
· ``stop``
← ``absent {message}`` (the end) · ``failed {message}`` · ``alive`` · ``cards {cards, groups, …}`` ·
``looked {number, cards}``
"""

from __future__ import annotations

import json
import select
import time
from typing import Any

from gflow.monitoring.claim import Claims
from gflow.monitoring.driver import Driver, DriverAbsent, DriverFailed
from gflow.monitoring.occupant import Occupants, Roots
from gflow.process import child
from gflow.process.channel import Channel, ChannelClosed

_INTERVAL_S = 2.0
#: A sign of life at least so often, while calls return.
_SIGN_S = 1.0
#: The driver counts its cards once, when it is opened: so it is opened again now and then.
_REOPEN_S = 60.0
#: A driver that fails is tried again.
_RETRY_S = 5.0


def main(fd: int, settings: dict[str, Any]) -> None:
    """Run as the gpu process until the pipe ends. ``settings``: ``interval_s``."""
    child.begin("gpu", (fd,))
    watcher = Watcher(Channel(fd), settings.get("interval_s") or _INTERVAL_S)
    try:
        watcher.serve()
    except ChannelClosed:
        pass


class Watcher:
    """Looks in intervals, and when it is asked to."""

    def __init__(self, channel: Channel, interval_s: float) -> None:
        self._channel = channel
        self._interval_s = interval_s
        self._claims = Claims()
        self._roots: Roots = {}
        self._occupants = Occupants(self._roots)
        self._found: list[dict[str, Any]] = []
        self._groups: list[list[str]] = []
        #: Cards that others may give out.
        self._renounced: list[str] = []
        self._signed_s = 0.0
        self._opened_s = time.monotonic()

    def serve(self) -> None:
        """Until ``stop``. Raises ChannelClosed when the supervisor is gone."""
        driver = self._open()
        due_s = time.monotonic()
        while driver is not None:
            now_s = time.monotonic()
            if now_s >= due_s:
                due_s = now_s + (self._interval_s if self._round(driver) else _RETRY_S)
            if not self._receive(driver, max(0.0, due_s - time.monotonic())):
                break
        self._claims.keep(())

    def _open(self) -> Driver | None:
        while True:
            try:
                return Driver()
            except DriverAbsent as error:
                self._send(t="absent", message=str(error))
                return None
            except DriverFailed as error:
                self._send(t="failed", message=str(error))
                if not self._receive(None, _RETRY_S):
                    return None

    # --- messages -------------------------------------------------------------------------------

    def _send(self, **message: Any) -> None:
        self._signed_s = time.monotonic()
        self._channel.send(json.dumps(message, separators=(",", ":")).encode())

    def _sign(self) -> None:
        if time.monotonic() - self._signed_s >= _SIGN_S:
            self._send(t="alive")

    def _receive(self, driver: Driver | None, timeout_s: float) -> bool:
        """Wait for messages and obey them. False: one said ``stop``."""
        writers = [self._channel] if self._channel.wants_write else []
        readable, writable, _ = select.select([self._channel], writers, [], timeout_s)
        if writable:
            self._channel.flush()
        for frame in self._channel.receive() if readable else ():
            message = json.loads(frame)
            match message["t"]:
                case "stop":
                    return False
                case "watch":
                    for pid, ticks in message["roots"]:
                        self._roots[pid, ticks] = message["job_id"]
                case "unwatch":
                    self._unwatch(message["job_id"])
                case "renounce":
                    self._renounced = message["uuids"]
                    found = (facts["uuid"] for facts in self._found)
                    self._claims.keep([uuid for uuid in found if uuid not in self._renounced])
                case "look":
                    self._look(driver, message)
        return True

    def _unwatch(self, job_id: int) -> None:
        for root in [root for root, watched in self._roots.items() if watched == job_id]:
            del self._roots[root]

    # --- looking --------------------------------------------------------------------------------

    def _round(self, driver: Driver) -> bool:
        """Look at everything and tell. False: the driver failed."""
        began_s = time.monotonic()
        try:
            if began_s - self._opened_s > _REOPEN_S:
                self._opened_s = began_s
                driver.reopen()
            self._find(driver)
        except DriverFailed as error:
            self._send(t="failed", message=str(error))
            return False
        driver.watch_xids()
        self._occupants.begin_round()
        cards = []
        for facts in self._found:
            self._sign()
            uuid = facts["uuid"]
            usage = self._usage(driver, uuid)
            if usage is None:
                continue
            cards.append({**facts, **usage, **driver.load(uuid), "faults": driver.faults(uuid)})
            cards[-1]["claimed"] = self._claim(uuid)
        self._send(
            t="cards",
            cards=cards,
            groups=self._groups,
            driver=driver.version,
            round_s=round(time.monotonic() - began_s, 4),
        )
        return True

    def _find(self, driver: Driver) -> None:
        before = [facts["uuid"] for facts in self._found]
        self._found = []
        for facts in driver.find():
            self._found.append(facts)
            self._sign()
        uuids = [facts["uuid"] for facts in self._found]
        if uuids != before:
            self._groups = self._group(driver, uuids)

    def _group(self, driver: Driver, uuids: list[str]) -> list[list[str]]:
        """Cards that are near each other; empty when nothing is known or all are alike."""
        groups: list[list[str]] = []
        for uuid in uuids:
            near = [g for g in groups if any(driver.neighbours(other, uuid) for other in g)]
            self._sign()
            groups = [g for g in groups if g not in near]
            groups.append([*(member for g in near for member in g), uuid])
        return groups if 1 < len(groups) < len(uuids) else []

    def _usage(self, driver: Driver, uuid: str) -> dict[str, Any] | None:
        usage = driver.usage(uuid)
        if usage is None:
            return None
        processes = [
            {**self._occupants.describe(pid), "memory_bytes": memory_bytes}
            for pid, memory_bytes in usage.processes
        ]
        return {"used_bytes": usage.used_bytes, "processes": processes}

    def _claim(self, uuid: str) -> str | None:
        """Who else gives the card out; None: we may, or do not want to."""
        return None if uuid in self._renounced else self._claims.take(uuid)

    def _look(self, driver: Driver | None, message: dict[str, Any]) -> None:
        cards = []
        for uuid in message["uuids"]:
            usage = self._usage(driver, uuid) if driver is not None else None
            if usage is not None:
                cards.append({"uuid": uuid, **usage})
        self._send(t="looked", number=message["number"], cards=cards)


if __name__ == "__main__":
    main(*child.arguments())
