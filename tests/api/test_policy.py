"""Quotas, groups, reservations and drains over a real socket."""

from __future__ import annotations

import pytest

from gflow.api.client import Client
from gflow.api.wire import Refusal
from tests.api.fake import RunningServer


def refusal(method: str, path: str, body: object, client: Client) -> str:
    """The sentence that a request is refused with."""
    wire = client.new_wire(20.0)
    with pytest.raises(Refusal) as refused:
        wire.call(method, path, body)
    wire.close()
    assert refused.value.status == 400 and "\n" not in str(refused.value)
    return str(refused.value)


def test_quotas_are_set_and_cleared(server: RunningServer, client: Client) -> None:
    """Limits go by name, null clears one, defaults have no name."""
    client.set_quota("user", "ann", running_jobs=4, pending_jobs=None)
    client.set_quota("default_project", running_gpus=2)
    client.clear_quota("project", "ml")
    assert server.operations.calls == [
        ("set_quota", ("user", "ann", {"running_jobs": 4, "pending_jobs": None}, False)),
        ("set_quota", ("default_project", "", {"running_gpus": 2}, False)),
        ("set_quota", ("project", "ml", {}, True)),
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"scope": "usr", "name": "a", "limits": {"running_jobs": 1}}, "did you mean user?"),
        ({"scope": "user", "limits": {"running_jobs": 1}}, "name must not be empty"),
        ({"scope": "default_user", "name": "a", "limits": {"running_jobs": 1}}, "has no name"),
        ({"scope": "user", "name": "a", "limits": {"running_job": 1}}, "running_jobs"),
        ({"scope": "user", "name": "a", "limits": {"running_jobs": -1}}, "from 0"),
        ({"scope": "user", "name": "a", "limits": {}}, "at least one of running_jobs"),
        ({"scop": "user"}, "did you mean scope?"),
    ],
)
def test_bad_quotas(server: RunningServer, client: Client, body: object, words: str) -> None:
    """One sentence names the part that is wrong and what would do."""
    assert words in refusal("PATCH", "/v1/quotas", body, client)
    assert server.operations.calls == []


def test_a_group_is_ones_own(server: RunningServer, client: Client) -> None:
    """Without a user the peer's group is meant; null lifts the limit."""
    client.set_group("g", 3)
    client.set_group("g", None, user="ann")
    calls = [("set_group", ("me", "g", 3)), ("set_group", ("ann", "g", None))]
    assert server.operations.calls == calls and client.groups()[0]["name"] == "g"


def test_reservations_are_made_and_given_back(server: RunningServer, client: Client) -> None:
    """Every key arrives; once gives back one occurrence."""
    made = client.reserve(1.8e9, 3600, user="ann", gpu_ids=[1, 0], every_s=86400, comment="demo")
    assert made == {"reservation_id": 1, "durable": True}
    client.unreserve(1, once=True)
    asked = {
        "start_at": 1.8e9,
        "duration_s": 3600.0,
        "user": "ann",
        "gpu_ids": (0, 1),
        "every_s": 86400.0,
        "comment": "demo",
    }
    assert server.operations.calls == [("reserve", asked), ("unreserve", (1, True))]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"duration_s": 60, "user": "a"}, "it needs start_at"),
        ({"start_at": 1.8e9, "duration_s": 60}, "either a user or a project"),
        ({"start_at": 1.8e9, "duration_s": 0, "user": "a"}, "duration_s must be from 1"),
        (
            {"start_at": 1.8e9, "duration_s": 60, "user": "a", "gpus": 1, "gpu_ids": [0]},
            "not both",
        ),
        ({"start_at": 1.8e9, "duration_s": 60, "user": "a", "gpu": 1}, "did you mean gpus?"),
    ],
)
def test_bad_reservations(server: RunningServer, client: Client, body: object, words: str) -> None:
    """What is missing, contradictory or misspelt is named."""
    assert words in refusal("POST", "/v1/reservations", body, client)
    assert server.operations.calls == []


def test_one_reservation(server: RunningServer, client: Client) -> None:
    """By its number; another number is not found."""
    server.operations.reserved.append({"id": 3, "user": "ann"})
    assert client.reservation(3)["user"] == "ann" and len(client.reservations()) == 1
    with pytest.raises(Refusal, match="no such reservation"):
        client.reservation(4)


def test_a_drain_may_let_short_jobs_in(server: RunningServer, client: Client) -> None:
    """``by_at`` goes along with the reason."""
    client.drain("repair", 1.8e9)
    assert server.operations.calls == [("drain", ("repair", 1.8e9))]
    assert "by_at" in refusal("POST", "/v1/drain", {"by_at": "soon"}, client)


def test_a_rehearsal_admits_nothing(server: RunningServer, client: Client) -> None:
    """dry_run asks for the checks of a submission and nothing else."""
    assert client.rehearse([{"command": ["true"]}] * 3) == {"jobs": 3, "tasks": 3}
    assert server.operations.calls == [("rehearse", 3)] and not server.operations.records


def test_a_simulation_takes_specs(server: RunningServer, client: Client) -> None:
    """As a submission does, checked in the same way."""
    assert client.simulate({"command": ["true"]})["delayed_count"] == 1
    with pytest.raises(Refusal, match="did you mean command"):
        client.simulate({"comand": ["true"]})


def test_the_parts_of_a_priority(server: RunningServer, client: Client) -> None:
    """GET …/priority."""
    server.operations.add(7)
    assert client.priority(7)["parts"]["fair_share"] == 900.0


def test_cards_are_chosen(server: RunningServer, client: Client) -> None:
    """Some alone, or with null all of them."""
    client.restrict_cards([0, 2])
    client.restrict_cards(None)
    assert server.operations.calls == [("restrict_cards", (0, 2)), ("restrict_cards", None)]
    assert "allowed" in refusal("PATCH", "/v1/gpus", {"allowed": "all"}, client)


def test_processes_are_ignored(server: RunningServer, client: Client) -> None:
    """One on one card, and heeded again."""
    client.ignore_process(1, 77)
    client.heed_process(1, 77)
    assert server.operations.calls == [("ignore_process", (1, 77)), ("heed_process", (1, 77))]
    assert "pid" in refusal("POST", "/v1/gpus/1/ignore", {"pid": 0}, client)
    assert "gpu" in refusal("POST", "/v1/gpus/x/ignore", {"pid": 1}, client)
