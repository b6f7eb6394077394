"""The gpu process against a driver that says what it is told to."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gflow.process import child, identity
from gflow.process.channel import Channel, ChannelClosed
from tests.monitoring.stand_in import GIB, StandIn, needs_compiler

ROOT = Path(__file__).parents[2]
_LIMIT_S = 30.0


class Watcher:
    """A real gpu process over a real pipe."""

    def __init__(self, env: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "gflow.monitoring.gpu"),
                *child.words(theirs.fileno(), {"interval_s": 0.05}),
            ],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        )
        theirs.close()
        self.channel = Channel(ours.detach())

    def tell(self, **message: Any) -> None:
        self.channel.send(json.dumps(message).encode())

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first message for which ``holds`` is true."""
        end_s = time.monotonic() + _LIMIT_S
        while time.monotonic() < end_s:
            select.select([self.channel], [], [], _LIMIT_S)
            for frame in self.channel.receive():
                message: dict[str, Any] = json.loads(frame)
                if holds(message):
                    return message
        raise AssertionError("it did not come")

    def cards(self, holds: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        """The first cards for which ``holds`` is true."""
        cards: list[dict[str, Any]] = self.until(
            lambda message: message["t"] == "cards" and holds(message["cards"])
        )["cards"]
        return cards

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(tmp_path)
    yield made
    made.close()


@pytest.fixture
def watcher(driver: StandIn) -> Iterator[Watcher]:
    made = Watcher(driver.env)
    yield made
    made.close()


def test_no_driver(tmp_path: Path) -> None:
    """Without a driver library the process says so and ends."""
    watcher = Watcher({"LD_LIBRARY_PATH": str(tmp_path)})
    try:
        message = watcher.until(lambda message: message["t"] == "absent")
        assert "libnvidia-ml.so.1" in message["message"]
        assert watcher.process.wait(_LIMIT_S) == 0
    finally:
        watcher.close()


@needs_compiler()
def test_discovery(driver: StandIn, watcher: Watcher) -> None:
    """Cards have identity, memory and what they do, in the order of their PCI addresses."""
    driver.there = [1, 0]
    driver.used_bytes = [GIB, 0]
    driver.utilisation = [50, 0]
    driver.tell()
    first, second = watcher.cards(lambda cards: cards[0]["used_bytes"])
    assert [first["uuid"], second["uuid"]] == driver.uuids
    assert (first["name"], first["memory_bytes"]) == ("Stand-in 24G", 24 * GIB)
    assert (first["utilisation"], first["temperature_c"]) == (0.5, 40)
    assert (first["faults"], first["claimed"]) == ([], None)


@needs_compiler()
def test_foreign_process(driver: StandIn, watcher: Watcher) -> None:
    """A process that is no job's is told with its name, its user and its beginning."""
    driver.processes = [(0, os.getpid(), GIB)]
    driver.tell()
    (process,) = watcher.cards(lambda cards: cards[0]["processes"])[0]["processes"]
    assert (process["pid"], process["uid"], process["job_id"]) == (os.getpid(), os.getuid(), None)
    assert process["name"] == Path("/proc/self/comm").read_text().strip()
    assert 0 <= time.time() - process["started_at"] < 86400


@needs_compiler()
def test_process_of_a_job(driver: StandIn, watcher: Watcher) -> None:
    """Whatever runs below a job's root is the job's, until it is watched no longer."""
    root, below = os.getppid(), os.getpid()
    watcher.tell(t="watch", job_id=7, roots=[(root, identity.start_ticks(root))])
    driver.processes = [(0, below, GIB)]
    driver.tell()
    watcher.cards(lambda cards: [p["job_id"] for p in cards[0]["processes"]] == [7])
    watcher.tell(t="unwatch", job_id=7)
    watcher.cards(lambda cards: [p["job_id"] for p in cards[0]["processes"]] == [None])


@needs_compiler()
def test_vanished_process(driver: StandIn, watcher: Watcher) -> None:
    """The driver may list a process that is gone, or in another pid namespace: it is not alive."""
    driver.processes = [(0, 2**22 + 1, GIB)]
    driver.tell()
    (process,) = watcher.cards(lambda cards: cards[0]["processes"])[0]["processes"]
    assert (process["alive"], process["uid"]) == (False, None)


@needs_compiler()
def test_card_comes_and_goes(driver: StandIn, watcher: Watcher) -> None:
    """A card that is lost is told no more; one that comes back is."""
    watcher.cards(lambda cards: len(cards) == 2)
    driver.there = [1]
    driver.tell()
    (left,) = watcher.cards(lambda cards: len(cards) == 1)
    assert left["uuid"] == driver.uuids[1]
    driver.there = [0, 1]
    driver.tell()
    watcher.cards(lambda cards: len(cards) == 2)


@needs_compiler()
def test_faults(driver: StandIn, watcher: Watcher) -> None:
    """Memory errors, heat and errors of the card are faults; errors of applications are not."""
    driver.ecc[0] = 3
    driver.temperature[1] = 97
    driver.xids = [(0, 79), (0, 31)]
    driver.tell()
    told: list[list[str]] = [[], []]

    def all_told(cards: list[dict[str, Any]]) -> bool:
        for known, card in zip(told, cards):
            known += card["faults"]
        return bool(told[0] and told[1] and "Xid 79" in told[0])

    watcher.cards(all_told)
    assert set(told[0]) == {"Xid 79", "3 uncorrected memory errors"}
    assert set(told[1]) == {"too hot (over 95 °C)"}


@needs_compiler()
def test_parts_of_a_card(driver: StandIn, watcher: Watcher) -> None:
    """A card in MIG mode is never told as a whole once it has parts; health is the whole's."""
    driver.split = [0]
    driver.tell()
    [one, two] = watcher.cards(lambda cards: cards[0]["split"])
    assert (one["uuid"], two["split"]) == (driver.uuids[0], False)
    driver.parts = [(0, f"MIG-{driver.uuids[0]}-{number}", number * GIB) for number in range(2)]
    driver.xids = [(0, 79)]
    driver.tell()
    cards = watcher.cards(lambda cards: len(cards) == 3)
    assert [card["uuid"] for card in cards] == [*(uuid for _, uuid, _ in driver.parts), two["uuid"]]
    assert [card["memory_bytes"] for card in cards[:2]] == [5 * GIB] * 2
    assert cards[1]["used_bytes"] == GIB and not any(card["split"] for card in cards)
    assert cards[0]["faults"] == cards[1]["faults"] != cards[2]["faults"] == []


def test_topology(tmp_path: Path) -> None:
    """Cards below one host bridge are a group."""
    driver = StandIn(tmp_path, cards=4)
    driver.group = [0, 1, 0, 1]
    driver.tell()
    watcher = Watcher(driver.env)
    try:
        groups = watcher.until(lambda message: message["t"] == "cards")["groups"]
        one, two, three, four = driver.uuids
        assert groups == [[one, three], [two, four]]
    finally:
        watcher.close()
        driver.close()


@needs_compiler()
def test_failing_driver(driver: StandIn, watcher: Watcher) -> None:
    """A driver that fails as a whole is told with its own words, and asked again."""
    watcher.cards(lambda cards: len(cards) == 2)
    driver.count_code = 999
    driver.tell()
    message = watcher.until(lambda message: message["t"] == "failed")
    assert "Unknown Error" in message["message"]


@needs_compiler()
def test_library_without_driver(driver: StandIn) -> None:
    """A machine with the library and no driver has no cards: that is known, not an error."""
    driver.driver_code = 9
    driver.tell()
    watcher = Watcher(driver.env)
    try:
        watcher.cards(lambda cards: cards == [])
    finally:
        watcher.close()


#: Another supervisor's attempt at a card. The gpu process's claim names its parent, which is us.
CLAIMANT = """
import os, sys
from gflow.monitoring.claim import Claim, Claimed
from gflow.process import identity
try:
    Claim(sys.argv[1], (os.getpid(), identity.start_ticks(os.getpid())))
except Claimed as error:
    print(error)
else:
    print("mine")
"""


def claim(uuid: str) -> str:
    """What another supervisor is told that wants the card."""
    words = [sys.executable, "-c", CLAIMANT, uuid]
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


@needs_compiler()
def test_two_supervisors(driver: StandIn, watcher: Watcher) -> None:
    """The second one that claims a card is told who has it, as long as the first one lives."""
    watcher.cards(lambda cards: not cards[0]["claimed"])
    ours = f"another supervisor (pid {os.getpid()}, uid {os.getuid()}) gives it out"
    assert claim(driver.uuids[0]) == ours
    watcher.process.kill()
    watcher.process.wait()
    # The gpu process is dead, its supervisor is not: the claim stands.
    assert claim(driver.uuids[0]) == ours


@needs_compiler()
def test_renounced_card_is_free_for_others(driver: StandIn, watcher: Watcher) -> None:
    """A card that this supervisor must not give out is no longer claimed."""
    watcher.cards(lambda cards: not cards[0]["claimed"])
    watcher.tell(t="renounce", uuids=driver.uuids[:1])
    watcher.tell(t="look", number=1, uuids=[])
    watcher.until(lambda message: message["t"] == "looked")
    assert claim(driver.uuids[0]) == "mine"
    assert claim(driver.uuids[1]).startswith("another supervisor")


@needs_compiler()
def test_orderly_end(driver: StandIn, watcher: Watcher) -> None:
    """``stop`` ends it; its claims are given back."""
    watcher.cards(lambda cards: len(cards) == 2)
    watcher.tell(t="stop")
    assert watcher.process.wait(_LIMIT_S) == 0
    with pytest.raises(ChannelClosed):
        watcher.until(lambda _: False)
    for uuid in driver.uuids:
        assert Path(f"/tmp/.gflow-gpu-{uuid}").read_text() == ""
