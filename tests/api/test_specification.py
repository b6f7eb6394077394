from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from gflow.api.operations import JobReference, Peer
from gflow.api.specification import Parser, parse_changes, references_of
from gflow.errors import Refused
from gflow.model.job import ArraySpec, Dependency, RetryRule

PEER = Peer(1000, 1001, 42, "ann")


def parse(**raw: Any) -> Any:
    return Parser(PEER, max_array_tasks=1000).parse(raw)


def refusal(raw: object) -> str:
    with pytest.raises(Refused) as caught:
        Parser(PEER, max_array_tasks=1000).parse(raw)
    assert caught.value.kind == Refused.INVALID
    message = str(caught.value)
    assert message.startswith("cannot submit job: ") and message.isprintable()
    return message


def test_the_smallest_spec() -> None:
    """A command is enough; the rest has defaults."""
    submission = parse(command=["/usr/bin/env", "true"])
    spec = submission.spec
    assert (spec.command, spec.name, spec.cwd) == (("/usr/bin/env", "true"), "env", "/")
    assert (spec.env, submission.blobs, submission.hold) == (None, {}, False)
    assert spec.resources.cpus == 1 and spec.priority == 10


def test_the_submitter_is_the_peer_whatever_the_message_says() -> None:
    """Identity is never read from a message."""
    spec = parse(command=["true"], user="root", uid=0, gid=0, pid=1).spec
    assert (spec.user, spec.uid, spec.gid) == ("ann", 1000, 1001)


def test_a_string_is_a_line_for_the_shell() -> None:
    """A command given as one string runs in bash and is named by its first word."""
    spec = parse(command="/bin/echo a && echo b").spec
    assert spec.command == ("bash", "-c", "/bin/echo a && echo b")
    assert spec.name == "echo"


def test_an_environment_becomes_a_blob_of_sorted_compact_json() -> None:
    """Equal environments have one name, whatever their order."""
    parser = Parser(PEER)
    first = parser.parse({"command": ["true"], "env": {"B": "2", "A": "é\n"}})
    second = parser.parse({"command": ["true"], "env": {"A": "é\n", "B": "2"}})
    assert first.spec.env == second.spec.env
    text = zlib.decompress(first.blobs[first.spec.env])
    assert text == json.dumps({"A": "é\n", "B": "2"}, separators=(",", ":")).encode()


def test_a_script_becomes_a_blob_of_its_text() -> None:
    """A script is captured byte for byte."""
    submission = parse(script="#!/bin/sh\necho é\n", args=["x"])
    assert submission.spec.args == ("x",) and submission.spec.command == ()
    assert (
        zlib.decompress(submission.blobs[submission.spec.script]) == b"#!/bin/sh\necho \xc3\xa9\n"
    )


@pytest.mark.parametrize("other", [{"A": "2"}, {"A": "1", "B": "2"}, {}])
def test_an_environment_is_not_taken_for_the_one_before(other: dict[str, str]) -> None:
    """In a list: each spec has its own, and equal ones share a blob."""
    parser = Parser(PEER)
    found = [parser.parse({"command": ["true"], "env": env}) for env in ({"A": "1"}, other)]
    again = parser.parse({"command": ["true"], "env": {**other}})
    first, second = (zlib.decompress(one.blobs[one.spec.env]) for one in found)
    assert (json.loads(first), json.loads(second)) == ({"A": "1"}, other)
    assert (again.spec.env, again.blobs) == (found[1].spec.env, found[1].blobs)


def test_large_environments_are_done_in_steps() -> None:
    """No single step of a big spec does all the work."""
    raw = {"command": ["true"], "env": {f"V{n}": "x" * 2000 for n in range(1500)}}
    assert sum(1 for _ in Parser(PEER).steps(raw)) > 10


def test_every_field_arrives() -> None:
    """Fields of the message are fields of the model."""
    submission = parse(
        command=["true"],
        name="n",
        cwd="/w",
        umask=0o77,
        nice=5,
        rlimits={"NOFILE": [10, 20], "CORE": 0},
        resources={"cpus": 2, "memory_bytes": 5, "gpus": 1, "gres": {"b": 1, "a": 2, "z": 0}},
        time_limit_s=60,
        priority=-3,
        hold=True,
        begin_at=1e9,
        dependencies=[{"type": "afterok", "jobs": [7, "8"]}, {"type": "singleton"}],
        dependency_mode="any",
        array="1-10%2",
        retries=[{"cause": "oom", "times": 2, "scale": {"memory": 1.5}}],
        project="p",
        output_path="out/%j",
        grace_period_s=3,
        params={"lr": "0.1"},
    )
    spec = submission.spec
    assert submission.hold
    assert spec.rlimits == (("CORE", 0, 0), ("NOFILE", 10, 20))
    assert spec.resources.gres == (("a", 2), ("b", 1))
    assert spec.time_limit_s == 60.0 and spec.priority == -3 and spec.begin_at == 1e9
    assert spec.dependencies == (Dependency("afterok", (7, 8)), Dependency("singleton"))
    assert spec.dependency_mode == "any"
    assert spec.array == ArraySpec(((1, 10, 1),), 2)
    assert spec.retries == (RetryRule("oom", 2, (("memory", 1.5),)),)
    assert spec.params == (("lr", "0.1"),)


def test_what_is_inherited_anyway_is_left_out() -> None:
    """Limits that the supervisor has itself are no part of a spec."""
    inherited = frozenset({("CORE", 0, -1), ("NOFILE", 10, 20)})
    raw = {"command": ["true"], "rlimits": {"CORE": [0, -1], "NOFILE": [5, 20]}}
    assert Parser(PEER, inherited=inherited).parse(raw).spec.rlimits == (("NOFILE", 5, 20),)


def test_dependencies_as_an_expression() -> None:
    """The command line's grammar is understood too, its mode included."""
    spec = parse(command=["true"], dependencies="afterok:1?afterany:2").spec
    assert spec.dependency_mode == "any"
    assert spec.dependencies == (Dependency("afterok", (1,)), Dependency("afterany", (2,)))


def test_retries_as_they_are_written() -> None:
    """Rules may be written as on the command line, beside those that are objects."""
    rules = parse(command=["true"], retries=["exit=75:5", {"cause": "lost"}]).spec.retries
    assert rules == (RetryRule("exit=75", 5), RetryRule("lost", 1))


def test_references_are_resolved_by_whoever_knows() -> None:
    """Tasks and @ are found by the caller beforehand; plain ids need nobody."""
    raw = {"command": ["true"], "dependencies": "afterok:7:8_3,afterany:@"}
    wanted = references_of(raw)
    assert wanted == {JobReference(8, 3), JobReference(back=0)}
    known = {JobReference(8, 3): 12, JobReference(back=0): 99}
    spec = Parser(PEER, references=known).parse(raw).spec
    assert [d.jobs for d in spec.dependencies] == [(7, 12), (99,)]


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ([], "object"),
        ("true", "object"),
        (None, "null"),
        ({}, "command or a script"),
        ({"command": []}, "empty"),
        ({"command": "  "}, "empty"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": ["\udc80"]}, "UTF-8"),
        ({"command": [1]}, "string"),
        ({"command": ["a"], "script": "b"}, "both"),
        ({"command": ["a"], "args": ["b"]}, "args"),
        ({"command": ["a"], "pirority": 1}, "did you mean priority"),
        ({"command": ["a"], "\x1b[31m": 1}, "unknown"),
        ({"command": ["a"], "name": "x" * 10_000}, "1024"),
        ({"command": ["a"], "name": "a\0"}, "NUL"),
        ({"command": ["a"], "priority": 2**31}, "priority"),
        ({"command": ["a"], "priority": 2**64}, "priority"),
        ({"command": ["a"], "priority": 1.5}, "whole"),
        ({"command": ["a"], "priority": True}, "whole"),
        ({"command": ["a"], "priority": "5"}, "whole"),
        ({"command": ["a"], "time_limit_s": -1}, "time_limit_s"),
        ({"command": ["a"], "time_limit_s": float("inf")}, "time_limit_s"),
        ({"command": ["a"], "time_limit_s": float("nan")}, "time_limit_s"),
        ({"command": ["a"], "resources": {"cpus": 0}}, "cpus"),
        ({"command": ["a"], "resources": {"cpus": -1}}, "cpus"),
        ({"command": ["a"], "resources": {"memory_bytes": 2**60}}, "memory_bytes"),
        ({"command": ["a"], "resources": {"cpu": 1}}, "did you mean cpus"),
        ({"command": ["a"], "resources": []}, "object"),
        ({"command": ["a"], "resources": {"gpus": 1, "gpu_shared": True}}, "gpu_memory_bytes"),
        ({"command": ["a"], "resources": {"gpu_memory_bytes": 5}}, "gpus"),
        ({"command": ["a"], "resources": {"gpus": 2, "gpus_allowed": [0]}}, "1 allowed"),
        ({"command": ["a"], "cwd": "x"}, "absolute"),
        ({"command": ["a"], "umask": 512}, "umask"),
        ({"command": ["a"], "array": "1-0"}, "array"),
        ({"command": ["a"], "array": ""}, "array"),
        ({"command": ["a"], "array": "1-10000000"}, "10000000 tasks"),
        ({"command": ["a"], "array": {"ranges": []}}, "no task"),
        ({"command": ["a"], "dependencies": "afterok"}, "dependencies"),
        ({"command": ["a"], "dependencies": [{"type": "afterok"}]}, "at least one"),
        ({"command": ["a"], "dependencies": [{"type": "x", "jobs": [1]}]}, "afterok"),
        ({"command": ["a"], "dependencies": [{"type": "afterok", "jobs": [0]}]}, "from 1"),
        ({"command": ["a"], "env": {"A=": "b"}}, "name"),
        ({"command": ["a"], "env": {"A": "b\0"}}, "NUL"),
        ({"command": ["a"], "env": {"A": 1}}, "string"),
        ({"command": ["a"], "retries": -1}, "retries"),
        ({"command": ["a"], "retries": [{"cause": "bad"}]}, "cause"),
        ({"command": ["a"], "retries": ["any:1", "any:2"]}, "two rules for any"),
        ({"command": ["a"], "retries": "oon:2"}, "did you mean oom"),
        ({"command": ["a"], "retries": ["oom:2,memory*2"]}, "names no memory"),
        ({"command": ["a"], "retries": ["timeout:2,time*2"]}, "names no time"),
        ({"command": ["a"], "rlimits": {"X": 1}}, "NOFILE"),
        ({"command": ["a"], "open_mode": "w"}, "append"),
    ],
)
def test_bad_specs_get_one_sentence(raw: object, word: str) -> None:
    """Each mistake is refused with a sentence that names it."""
    assert word in refusal(raw)


def test_changes_are_flat_and_null_clears() -> None:
    """An update's changes name fields of Spec or Resources; None clears."""
    raw = {"priority": 5, "time_limit_s": None, "resources": {"cpus": 2}, "dependencies": "7"}
    assert parse_changes(raw, {}) == {
        "priority": 5,
        "time_limit_s": None,
        "cpus": 2,
        "dependencies": (Dependency("afterok", (7,)),),
        "dependency_mode": "all",
    }


def test_a_new_command_replaces_a_script() -> None:
    """Whatever ran before: afterwards only the command does."""
    changes = parse_changes({"command": "echo x"}, {})
    assert changes == {"command": ("bash", "-c", "echo x"), "script": None, "args": None}


def test_a_new_script_replaces_a_command() -> None:
    """With its arguments, or without any."""
    assert parse_changes({"script": "echo x"}, {}) == {
        "script": "echo x",
        "command": (),
        "args": None,
    }
    assert parse_changes({"script": "echo x", "args": ["1"]}, {})["args"] == ("1",)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"script": ""},
        {"script": None},
        {"script": "a", "command": "b"},
        {"args": ["a"]},
        {"command": []},
        {"priority": "x"},
        {"resources": {"x": 1}},
        [],
    ],
)
def test_bad_changes_are_refused(raw: object) -> None:
    """What cannot be changed, or not so, is refused."""
    with pytest.raises(Refused, match="cannot update job"):
        parse_changes(raw, {})
