from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import gflow
from gflow.api.client import Client
from gflow.api.wire import Broken, Refusal, Unreachable
from tests.api.fake import RunningServer


def test_the_package_exports_the_client() -> None:
    """``gflow.Client`` is the Python API."""
    assert gflow.Client is Client


def test_submission_takes_the_callers_surroundings(server: RunningServer, client: Client) -> None:
    """Folder, limits and environment are the caller's; resources may be named directly."""
    job = client.submit(["true"], name="n", cpus=2, memory_bytes=5)
    spec = server.operations.submissions[0].spec
    assert job == 1 and spec.cwd == os.getcwd() and spec.env is not None
    assert spec.nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert ("CORE", *resource.getrlimit(resource.RLIMIT_CORE)) in spec.rlimits
    assert (spec.resources.cpus, spec.resources.memory_bytes, spec.name) == (2, 5, "n")


def test_submission_sends_a_key(server: RunningServer, client: Client) -> None:
    """Every submission has its own Idempotency-Key."""
    client.submit("true")
    client.submit("true")
    keys = [call[1][3] for call in server.operations.calls]
    assert len(set(keys)) == 2 and all(keys)


def test_lists_are_complete(server: RunningServer, client: Client) -> None:
    """More records than a page holds are fetched all the same."""
    for number in range(1, 1203):
        server.operations.add(number)
    assert [record["id"] for record in client.jobs()] == [*range(1, 1203)]


def test_long_lists_of_ids_are_sent_in_parts(server: RunningServer, client: Client) -> None:
    """Thousands of ids do not fit into one request."""
    for number in range(1, 5002):
        server.operations.add(number)
    assert len(client.jobs(ids=[*range(1, 5002)])) == 5001


def test_filters_are_sent(server: RunningServer, client: Client) -> None:
    """Filters are lists of words; unknown ones are the caller's mistake."""
    server.operations.add(1, name="a b&c=ü")
    server.operations.add(2)
    assert [record["id"] for record in client.jobs(names=["a b&c=ü"])] == [1]
    with pytest.raises(TypeError):
        client.jobs(nmaes=["x"])


def test_a_wait_with_an_end_ends_without_a_supervisor(tmp_path: Path) -> None:
    """Patience with a supervisor that is away is no longer than the time given."""
    with Client(str(tmp_path)) as client, pytest.raises(Unreachable):
        client.wait(1, timeout_s=0.1)


def test_a_refusal_is_an_exception_with_its_kind(client: Client) -> None:
    """What the supervisor refuses is raised, with its sentence."""
    with pytest.raises(Refusal, match="cannot find job 9") as caught:
        client.job(9)
    assert (caught.value.kind, caught.value.status) == ("not_found", 404)


def test_wait_returns_the_record(server: RunningServer, client: Client) -> None:
    """wait comes back when the job has ended."""
    server.operations.add(1)
    timer = threading.Timer(0.1, lambda: server.run(lambda: server.operations.end(1, "COMPLETED")))
    timer.start()
    assert client.wait(1, 20)["state"] == "COMPLETED"


def test_wait_gives_up(server: RunningServer, client: Client) -> None:
    """A time-out is TimeoutError."""
    server.operations.add(1)
    with pytest.raises(TimeoutError):
        client.wait(1, 0.05)


def test_actions_tell_what_was_done(server: RunningServer, client: Client) -> None:
    """Done and refused are both told."""
    server.operations.add(1)
    answer = client.cancel(1, 5)
    assert answer["job_ids"] == [1] and answer["refused"][0]["kind"] == "not_found"


def test_logs(server: RunningServer, client: Client) -> None:
    """A log longer than one slice arrives whole, from any offset."""
    server.operations.add(1)
    server.operations.logs[1] = os.urandom(700_000)
    assert client.log(1) == server.operations.logs[1]
    assert client.log(1, offset=-5) == server.operations.logs[1][-5:]


def test_a_followed_log(server: RunningServer, client: Client) -> None:
    """Pieces come until the job has ended."""
    server.operations.add(1)
    server.operations.logs[1] = b"out"
    server.run(lambda: server.operations.end(1, "FAILED"))
    assert b"".join(client.follow_log(1)) == b"out"


def test_events(server: RunningServer, client: Client) -> None:
    """Events are iterated; ids allow to go on later."""
    server.run(lambda: server.operations.feed.publish({"type": "job", "job_id": 1}))
    events = client.events(after="t1-0")
    event = next(events)
    assert (event.id, event.type, event.data) == ("t1-1", "job", {"type": "job", "job_id": 1})


def test_an_end_watch_looks_without_waiting(server: RunningServer, client: Client) -> None:
    """poll returns None until the job has ended, then its record."""
    server.operations.add(1)
    watch = client.end_watch(1)
    assert watch.poll(0.01) is None
    server.run(lambda: server.operations.end(1, "COMPLETED"))
    record = None
    deadline = time.monotonic() + 20
    while record is None and time.monotonic() < deadline:
        record = watch.poll(0.1)
    assert record is not None and record["state"] == "COMPLETED"


def test_no_supervisor_is_unreachable(tmp_path: Path) -> None:
    """Nothing there: one sentence that names the place."""
    with pytest.raises(Unreachable, match="no supervisor"):
        Client(str(tmp_path)).ping()


def test_a_kept_connection_that_was_closed_is_made_anew(
    server: RunningServer, client: Client
) -> None:
    """An idle client does not notice that the server dropped its connection."""
    client.ping()
    server.run(lambda: [c.transport.abort() for c in server.server.gate.open if c.transport])
    assert client.cancel(9)["refused"]


def test_wait_bears_no_supervisor_for_a_while(tmp_path: Path) -> None:
    """With nobody there, wait tries for reconnect_s and then says so."""
    with pytest.raises((Unreachable, Broken)):
        Client(str(tmp_path), reconnect_s=0.1).wait(1)


@pytest.mark.parametrize("command", [{"a": 1}, {"a"}, b"true", 5, object()])
def test_commands_without_an_order_are_refused(client: Client, command: Any) -> None:
    """Nothing is guessed: the words of a mapping or a set stand in no order that was meant."""
    with pytest.raises(TypeError, match=r"list of words or a line for the shell, not an? \w+"):
        client.submit(command)


def test_paths_are_words_of_a_command(server: RunningServer, client: Client) -> None:
    """As subprocess takes them."""
    client.submit([Path("/bin/echo"), "x"])
    assert server.operations.submissions[-1].spec.command == ("/bin/echo", "x")


def test_what_is_said_twice_is_refused(client: Client) -> None:
    """Neither of the two is silently the weaker one."""
    with pytest.raises(TypeError, match="cpus is given twice"):
        client.submit(["true"], cpus=1, resources={"cpus": 2})


def test_a_single_word_is_a_list_of_one(server: RunningServer, client: Client) -> None:
    """Not one of its letters each."""
    server.operations.add(7)
    assert [job["id"] for job in client.jobs(ids=7)] == [7]
    assert client.jobs(states="PENDING") == client.jobs(states=["PENDING"])
    assert client.report(by="user")["by"] == ["user"]
    with pytest.raises(TypeError, match="users must be a list, not a dict"):
        client.cancel(users={"ann": 1})
    with pytest.raises(TypeError, match="changes must be a mapping"):
        client.update(7, "name")  # type: ignore[arg-type]
