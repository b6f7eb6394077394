from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest

from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def test_cancel_by_id_and_range(server: RunningServer, run: Run) -> None:
    """Ids, ranges and @ are taken; the count is told."""
    for number in range(1, 6):
        server.operations.add(number)
    assert run("cancel", "1-3", "5").out == "Cancelled 4 jobs\n"
    assert run("cancel", "@~1").out == "Cancelled job 4\n"


def test_cancel_by_filters(server: RunningServer, run: Run) -> None:
    """By name, user, state, or all of mine."""
    server.operations.add(1)
    run("cancel", "-J", "n", "-u", "me", "-t", "PD,R")
    run("cancel", "--me")
    which = [call[1][0] for call in server.operations.calls]
    assert (which[0].names, which[0].users) == (("n",), ("me",))
    assert which[0].states == ("PENDING", "RUNNING")
    assert which[1].users == (str(os.getuid()),)
    assert run("cancel", "--all").code == 0


def test_cancel_with_a_signal(server: RunningServer, run: Run) -> None:
    """--signal sends it and cancels nothing."""
    server.operations.add(1)
    assert run("cancel", "-s", "USR1", "1").out == "Sent SIGUSR1 to job 1\n"
    assert server.operations.calls[0][0] == "signal"
    assert server.operations.records[1]["state"] == "PENDING"


@pytest.mark.parametrize("name", ["cancel", "hold", "release", "requeue", "suspend", "resume"])
def test_naming_nothing_is_a_usage_error(server: RunningServer, run: Run, name: str) -> None:
    """No job, no filter: exit 2 and nothing happens."""
    server.operations.add(1)
    assert run(name).code == 2
    assert server.operations.calls == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hold", "Held job 1\n"),
        ("release", "Released job 1\n"),
        ("requeue", "Requeued job 1\n"),
        ("suspend", "Suspended job 1\n"),
        ("resume", "Resumed job 1\n"),
    ],
)
def test_other_actions(server: RunningServer, run: Run, name: str, said: str) -> None:
    """Each calls the action of its name."""
    server.operations.add(1)
    assert run(name, "1").out == said
    assert server.operations.calls[0][0] == name


def test_refused_jobs_do_not_stop_the_others(server: RunningServer, run: Run) -> None:
    """What was done is told, what was refused too, exit 1."""
    server.operations.add(2)
    result = run("cancel", "1,2")
    assert (result.code, result.out) == (1, "Cancelled job 2\n")
    assert result.err == "gflowctl: cannot cancel job 1: there is none\n"


@pytest.mark.parametrize("word", ["0", "-1", str(2**63), "1e3", "0x1", " 1", "\uff11", "x", ""])
def test_ids_that_are_none(server: RunningServer, run: Run, word: str) -> None:
    """A clean error, never a job that was not meant."""
    server.operations.add(1)
    result = run("cancel", word)
    assert result.code == 2 and len(result.err.splitlines()) == 1
    assert server.operations.calls == []


def test_update_clears_what_a_job_asks_for(server: RunningServer, run: Run) -> None:
    """Resources go back to their defaults by the names of their options."""
    server.operations.add(1)
    assert run("update", "1", "-c", "2", "--clear", "exclusive,gpu-memory,shared,gres").code == 0
    _, changes = server.operations.calls[0][1][:2]
    assert changes["cpus"] == 2
    cleared = ("exclusive", "gpu_memory_bytes", "gpu_shared", "gres")
    assert {key: changes[key] for key in cleared} == dict.fromkeys(cleared)
    assert run("update", "1", "-c", "2", "--clear", "cpus").code == 2


def test_update(server: RunningServer, run: Run) -> None:
    """Options of submit change fields; unlimited and --clear clear them."""
    server.operations.add(1)
    result = run(
        "update",
        "1",
        "-p",
        "5",
        "-c",
        "2",
        "-t",
        "unlimited",
        "--clear",
        "project",
        "--clear",
        "begin",
    )
    assert result.out == "Updated job 1\n"
    assert server.operations.calls[0][1] == (
        1,
        {"priority": 5, "cpus": 2, "time_limit_s": None, "project": None, "begin_at": None},
    )


def test_update_of_arrays_and_order(server: RunningServer, run: Run) -> None:
    """An array's limit and the place before all others are no part of a spec."""
    server.operations.add(1)
    run("update", "1", "--array-limit", "3", "--top")
    run("update", "1", "--no-top", "--clear", "array-limit")
    changes = [call[1][1] for call in server.operations.calls]
    assert changes == [{"array_limit": 3, "top": 1}, {"top": 0, "array_limit": None}]


def test_update_of_a_script(server: RunningServer, run: Run, tmp_path: Path) -> None:
    """The new text is sent with the arguments that the job has; what is no text is refused."""
    server.operations.add(1)
    server.operations.records[1].update(args=["a", "b c"], labels={"script": "/old.sh", "x": "y"})
    path = tmp_path / "new.sh"
    path.write_text("echo new\n")
    assert run("update", "1", "--script", str(path)).out == "Updated job 1\n"
    (_, (job_id, changes)) = server.operations.calls[-1]
    assert (job_id, changes["args"]) == (1, ("a", "b c"))
    assert dict(changes["labels"]) == {"script": str(path), "x": "y"}
    assert zlib.decompress(server.operations.blobs[changes["script"]]) == b"echo new\n"
    path.write_bytes(b"\0\1")
    for wrong in (path, tmp_path / "missing", tmp_path):
        assert run("update", "1", "--script", str(wrong)).code == 1
    assert len(server.operations.calls) == 1


def test_update_of_nothing_is_a_usage_error(server: RunningServer, run: Run) -> None:
    """No change, or one that cannot be: exit 2."""
    assert run("update", "1").code == 2
    assert run("update", "1", "--clear", "command").code == 2


def test_json(server: RunningServer, run: Run) -> None:
    """--json prints the API's answer and nothing else."""
    server.operations.add(1)
    answer = json.loads(run("cancel", "1", "2", "--json").out)
    assert answer["job_ids"] == [1] and answer["refused"][0]["id"] == 2
