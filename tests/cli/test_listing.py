from __future__ import annotations

import json

from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def test_the_queue_is_readable_at_80_columns(server: RunningServer, run: Run) -> None:
    """Long and hostile names never make a row wider than the screen, nor more than one line."""
    names = [
        "x" * 1024,
        "\x1b[31mred",
        "a\r\nb",
        "\u202ertl",
        "🙂" * 50,
        "--help",
        "-1",
        "",
        "../../x",
    ]
    for number, name in enumerate(names, 1):
        server.operations.add(number, name=name, user="u" * 40, reason="Dependency")
    shown = run("queue").out.splitlines()
    assert len(shown) == len(names) + 1
    assert all(len(line) <= 80 for line in shown) and all(line.isprintable() for line in shown)


def test_the_queue_as_json_is_a_complete_list(server: RunningServer, run: Run) -> None:
    """More than one page, valid, nothing else on standard output."""
    for number in range(1, 702):
        server.operations.add(number, name="\x1b\u202e\x9b")
    out = run("queue", "--json").out
    assert len(json.loads(out)) == 701 and out.isascii()


def test_an_empty_queue(server: RunningServer, run: Run) -> None:
    """No jobs: a heading, or an empty list."""
    assert len(run("queue").out.splitlines()) == 1
    assert json.loads(run("queue", "--json").out) == []


def test_filters(server: RunningServer, run: Run) -> None:
    """By id, state (short forms too), name and user."""
    server.operations.add(1, name="a", state="RUNNING", started_at=1.0)
    server.operations.add(2, name="b")
    server.operations.add(3, name="c", state="FAILED", finished_at=2.0, started_at=1.0)

    def ids(*words: str) -> list[int]:
        return [record["id"] for record in json.loads(run("queue", "--json", *words).out)]

    assert ids() == [1, 2] and ids("--all") == [1, 2, 3]
    assert ids("-t", "r") == [1] and ids("-t", "FAILED,PD") == [2, 3]
    assert ids("-J", "b") == [2] and ids("1,2") == [1, 2] and ids("-u", "nobody") == []


def test_an_unknown_state_is_an_error(server: RunningServer, run: Run) -> None:
    """A typo never means "all"."""
    result = run("queue", "-t", "RUNING")
    assert (result.code, result.out) == (2, "")


def test_arrays_are_one_row(server: RunningServer, run: Run) -> None:
    """Waiting tasks show as 7_[1-9%2], a task of its own as 7_3."""
    server.operations.add(7, array={"id": 7, "task": None, "tasks": "1-9", "limit": 2})
    server.operations.add(10, array={"id": 7, "task": 3})
    out = run("queue").out
    assert "7_[1-9%2]" in out and "7_3" in out


def test_show_prints_every_fact(server: RunningServer, run: Run) -> None:
    """Key and value, with the command as it would be typed."""
    server.operations.add(1, command=["echo", "a b"], exit_code=0, time_limit_s=90.0)
    lines = [line.split(None, 1) for line in run("show", "1").out.splitlines()]
    assert ["command", "echo 'a b'"] in lines and ["exit_code", "0"] in lines
    assert ["time_limit_s", "1:30"] in lines


def test_show_events(server: RunningServer, run: Run) -> None:
    """--events adds what the job went through."""
    server.operations.add(1)
    assert "new -> PENDING: it was submitted, by me" in run("show", "1", "--events").out
    assert json.loads(run("show", "1", "--events", "--json").out)[0]["events"][0]["to"] == "PENDING"


def test_explain(server: RunningServer, run: Run) -> None:
    """Every blocker with its way out."""
    server.operations.add(1)
    out = run("explain", "1").out
    assert "Resources: 2 cpus are free" in out and "way out: ask for fewer" in out


def test_history(server: RunningServer, run: Run) -> None:
    """Ended jobs with state and exit."""
    server.operations.finished = [
        {
            "id": 1,
            "name": "n",
            "user": "me",
            "state": "FAILED",
            "exit_code": None,
            "signal": 11,
            "started_at": 1.0,
            "finished_at": 62.0,
        },
    ]
    out = run("history", "--since", "2h").out
    assert "SIGSEGV" in out and "1:01" in out
    assert len(json.loads(run("history", "--json").out)) == 1
    assert server.operations.calls[0][1].finished_since is not None
