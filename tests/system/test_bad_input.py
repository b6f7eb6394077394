"""Bad input gets one clear sentence and the documented exit code; nothing is half-done."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable

import pytest

from gflow import Client
from gflow.api.wire import Refusal
from tests.system.machine import BIN, Machine, eventually


def refused(machine: Machine, *words: str, codes: tuple[int, ...] = (1, 2)) -> str:
    """The sentence of a refusal; the listing is as before."""
    before = machine.jobs()
    answer = machine.ctl("submit", *words)
    assert answer.returncode in codes, (words, answer)
    assert machine.jobs() == before
    text = answer.stderr.strip()
    assert text and len(text.splitlines()) <= 2, text
    return text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cpus", "5", "--", "true"], "4"),
        (["--gpus", "1", "--", "true"], "gpu"),
        (["--cpus", "-1", "--", "true"], "cpus"),
        (["--cpus", "0", "--", "true"], "cpus"),
        (["--cpus", "99999999999999999999", "--", "true"], "cpus"),
        (["--priority", "99999999999", "--", "true"], "priority"),
        (["--mem", "-5G", "--", "true"], "mem"),
        (["--time", "never", "--", "true"], "time"),
        (["--array", "", "--", "true"], "array"),
        (["--array", "5-1", "--", "true"], "array"),
        (["--array", "1-10000000", "--", "true"], "array"),
        (["--array", "1-5%0", "--", "true"], "array"),
        (["--dependency", "afterok:999999", "--", "true"], "999999"),
        (["--dependency", "sometimes:1", "--", "true"], "sometimes"),
        (["--begin", "2020-01-01", "--", "true"], "has passed"),
        (["--shared", "--", "true"], "--gpu-memory 20G"),
        (["--gpus-allowed", "0", "--", "true"], "--gpus 1"),
        (["--param", "a=1..x", "--", "true"], "1..5"),
        (["--gpu", "1", "--", "true"], "--gpus"),
        (["--name", "x" * 10000, "--", "true"], "name"),
        (["--colour", "red", "--", "true"], "--colour"),
        (["/no/such/program"], "/no/such/program"),
        ([], ""),
    ],
)
def test_submission_is_refused(machine: Machine, words: list[str], said: str) -> None:
    """The sentence names what is wrong."""
    assert said in refused(machine, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--chdir", "/no/such/folder", "--", "true"], "/no/such/folder: No such file"),
        (["--", "/no/such/program"], "/no/such/program: No such file"),
        (["--", "./notexecutable"], "Permission denied"),
        (["--", "./badinterpreter"], "No such file or directory"),
        (["--", "./otherarchitecture"], "Exec format error"),
    ],
)
def test_failure_at_start_is_the_reason(machine: Machine, words: list[str], said: str) -> None:
    """What shows only at start makes the job FAILED with the system's words; the next job runs."""
    files = {
        "notexecutable": ("#!/bin/sh\n", 0o644),
        "badinterpreter": ("#!/no/such/interpreter\n", 0o755),
        "otherarchitecture": ("\x7fELF" + "\x00" * 60, 0o755),
    }
    for name, (text, mode) in files.items():
        (machine.work / name).write_text(text)
        (machine.work / name).chmod(mode)
    job_id = machine.submit(*words)
    assert machine.wait(job_id) != 0
    record = machine.job(job_id)
    assert record["state"] == "FAILED"
    assert said in record["reason"], record["reason"]
    assert machine.wait(machine.submit("--", "true")) == 0


def test_argument_beyond_the_systems_limit(machine: Machine) -> None:
    """An argument that exec refuses makes the job FAILED with the system's words."""
    with Client(runtime_dir=str(machine.runtime)) as client:
        job_id = client.submit(["true", "x" * 200_000], cwd="/")
    assert machine.wait(job_id) != 0
    assert "Argument list too long" in machine.job(job_id)["reason"]


def test_bytes_that_are_no_text_are_refused(machine: Machine) -> None:
    """A non-UTF-8 argument cannot be kept exactly, so it is refused."""
    answer = subprocess.run(
        [os.fsencode(BIN / "gflowctl"), b"submit", b"--", b"echo", b"\xff\xfe"],
        env=machine.env,
        cwd=machine.work,
        capture_output=True,
        check=False,
    )
    assert answer.returncode in (1, 2)
    assert b"UTF-8" in answer.stderr and b"Traceback" not in answer.stderr


def test_control_characters_in_a_name_are_shown_escaped(machine: Machine) -> None:
    """One line per job, whatever its name; JSON keeps it exactly."""
    name = "a\x1b[31m\rb\n../../c \u202e\U0001f600"
    job_id = machine.submit("--hold", "--name", name, "--", "true")
    table = machine.ctl("queue").stdout
    assert "\x1b" not in table and "\r" not in table and "\u202e" not in table
    assert len(table.splitlines()) == 2
    assert machine.job(job_id)["name"] == name


def test_cycle_is_refused(machine: Machine) -> None:
    """A dependency that would close a circle is refused."""
    first = machine.submit("--hold", "--", "true")
    second = machine.submit("--dependency", f"afterok:{first}", "--", "true")
    answer = machine.ctl("update", str(first), "--dependency", f"afterok:{second}")
    assert answer.returncode == 1
    assert "would wait for itself" in answer.stderr
    assert machine.job(first)["dependencies"] == []


@pytest.mark.parametrize(
    "word", ["0", "-1", "9223372036854775808", "1e3", "0x1", "\uff11", "", "7_"]
)
def test_nonsense_ids_are_refused(machine: Machine, word: str) -> None:
    """What is no id is named."""
    answer = machine.ctl("show", "--", word)
    assert answer.returncode in (1, 2)
    assert answer.stderr.strip()


def test_unknown_setting_is_refused(machine: Machine) -> None:
    """A key that does not exist is named with the nearest one that does."""
    machine.stop()
    machine.env["GFLOW_RESOURCES__CPU"] = "3"
    code, words = machine.refuse_to_start()
    assert code != 0
    assert "did you mean cpus" in words
    assert "Traceback" not in words


def test_no_supervisor_is_69(machine: Machine) -> None:
    """Without a supervisor (and without autostart) every command says so and leaves with 69."""
    machine.stop()
    for words in (["ping"], ["queue"], ["submit", "--", "true"], ["cancel", "1"]):
        answer = machine.ctl(*words)
        assert answer.returncode == 69, answer
        assert "supervisor" in answer.stderr


def test_json_on_errors_is_json(machine: Machine) -> None:
    """With --json nothing but JSON is on standard output, also when a request is refused."""
    answer = machine.ctl("submit", "--json", "--cpus", "99", "--", "true")
    assert answer.returncode == 1
    assert not answer.stdout or json.loads(answer.stdout)


def test_a_begin_time_that_has_passed(machine: Machine) -> None:
    """Refused by the API too, for a new job as for one that waits; what is just over is now."""
    with Client(str(machine.runtime)) as client:
        job = client.submit(["true"], hold=True, begin_at=time.time() - 5)
        for ask in (
            lambda: client.submit(["true"], begin_at=time.time() - 3600),
            lambda: client.update(job, {"begin_at": 1.0}),
            lambda: client.simulate({"command": ["true"], "begin_at": 1.0}),
        ):
            with pytest.raises(Refusal, match=r"the begin time has passed \(.*\): now, now\+2h"):
                ask()
        assert client.job(job)["begin_at"] > 1.0


def test_a_job_of_history_is_told_apart_from_an_unknown_one(
    new_machine: Callable[..., Machine],
) -> None:
    """What has left memory ended some time ago; it was not never there."""
    machine = new_machine(GFLOW_SCHEDULER__KEEP_FINISHED_COUNT="0")
    machine.start()
    old = machine.submit("--", "true")
    machine.wait(old)
    eventually(lambda: machine.json("queue", "--all") == [])
    for words in (["cancel"], ["requeue"], ["update", "--priority", "3"]):
        answer = machine.ctl(*words, str(old))
        assert (answer.returncode, "ended as COMPLETED" in answer.stderr) == (1, True), answer
        answer = machine.ctl(*words, str(old + 1))
        assert (answer.returncode, "no such job" in answer.stderr) == (1, True), answer
