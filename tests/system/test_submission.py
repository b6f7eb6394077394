"""Submissions that meet: lists are whole or absent, a key means one request."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from gflow.api.client import Client
from gflow.api.wire import Refusal, new_key
from tests.system.machine import Machine

#: More than half a block of ids, so that lists compete for them.
_LENGTH = 1_500


def _at_once(machine: Machine, lists: list[tuple[list[dict[str, Any]], str]]) -> list[list[int]]:
    """Submit each list on a connection of its own, all at the same time; the ids of each."""
    answers: list[list[int]] = [[] for _ in lists]

    def submit(number: int) -> None:
        specs, key = lists[number]
        with Client(str(machine.runtime)) as client:
            try:
                answers[number] = client.submit_specs(specs, durable=False, key=key)["job_ids"]
            except Refusal as error:
                assert error.kind == "unavailable", error

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(len(lists))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_lists_at_the_same_time_are_whole_or_absent(machine: Machine) -> None:
    """What is refused left nothing behind; what is answered is there, every job of it."""
    spec = {"command": ["true"], "cwd": "/", "env": {}, "hold": True}
    lists = [([{**spec, "name": f"list{n}"}] * _LENGTH, new_key()) for n in range(4)]
    answers = _at_once(machine, lists)
    with Client(str(machine.runtime)) as client:
        found = Counter(job["name"] for job in client.each_job())
    assert found == {f"list{n}": _LENGTH for n, ids in enumerate(answers) if ids}
    assert all(len(ids) in (0, _LENGTH) for ids in answers)
    assert sum(map(len, answers)) == len({job_id for ids in answers for job_id in ids})


def test_one_key_at_the_same_time_makes_one_submission(machine: Machine) -> None:
    """A request that is repeated while the first is on its way gets the first one's ids."""
    spec = {"command": ["true"], "cwd": "/", "env": {}, "hold": True}
    key = new_key()
    answers = _at_once(machine, [([spec] * 200, key)] * 6)
    with Client(str(machine.runtime)) as client:
        assert len(client.jobs()) == 200
    assert len({tuple(ids) for ids in answers}) == 1
