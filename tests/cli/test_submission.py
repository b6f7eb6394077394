from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest

from gflow.cli import outcome
from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def env_of(server: RunningServer) -> dict[str, str]:
    submission = server.operations.submissions[-1]
    return json.loads(zlib.decompress(submission.blobs[submission.spec.env]))  # type: ignore[no-any-return]


def test_the_line_that_scripts_parse(server: RunningServer, run: Run) -> None:
    """As sbatch says it."""
    assert run("submit", "true").out == "Submitted batch job 1\n"


def test_parsable_is_the_id_alone(server: RunningServer, run: Run) -> None:
    """--parsable prints a number; --json the API's answer."""
    assert run("submit", "--parsable", "true").out == "1\n"
    assert json.loads(run("submit", "--json", "true").out) == {"job_ids": [2], "durable": True}


def test_options_become_a_spec(server: RunningServer, run: Run, tmp_path: Path) -> None:
    """Every option arrives where it belongs."""
    words = (
        "-c 2 --mem 4G -G 1 --gpu-memory 1G --gpu-shared --gres lic:2 -t 1-2 -p -5 --nice 3 "
        "-d afterok:7 -a 1-9%2 -J n -P proj -o out/%j -e err --open-mode append --retries 2 "
        "--retry-delay 30 --requeue --grace 5 --comment c -H --rlimit nofile=64 --group g"
    )
    result = run("submit", *words.split(), "-D", str(tmp_path), "--", "cmd", "-x")
    assert result.code == 0, result.err
    submission = server.operations.submissions[0]
    spec = submission.spec
    assert submission.hold
    assert spec.command == ("cmd", "-x") and spec.cwd == str(tmp_path)
    assert (spec.resources.cpus, spec.resources.memory_bytes) == (2, 4 << 30)
    assert (spec.resources.gpus, spec.resources.gpu_memory_bytes) == (1, 1 << 30)
    assert spec.resources.gpu_shared and spec.resources.gres == (("lic", 2),)
    assert (spec.time_limit_s, spec.priority, spec.nice) == (93600.0, -5, 3)
    assert spec.dependencies[0].jobs == (7,) and spec.array.limit == 2
    assert (spec.name, spec.project, spec.comment, spec.group) == ("n", "proj", "c", "g")
    assert (spec.output_path, spec.error_path, spec.open_mode) == ("out/%j", "err", "append")
    assert spec.retries[0].times == 2 and spec.retry_delay_s == 30.0 and spec.requeue
    assert spec.grace_period_s == 5.0 and ("NOFILE", 64, 64) in spec.rlimits


def test_retries_groups_and_cards(server: RunningServer, run: Run) -> None:
    """--retry adds rules to --retries; a group brings its limit; cards are named by index."""
    words = (
        "--retry oom:2,memory*1.5 --retry exit=75:5 --retries 1 --mem 1G --group g%3 "
        "-G 1 --gpu-memory 1G --shared --gpus-allowed 0,2-3"
    )
    result = run("submit", *words.split(), "true")
    assert result.code == 0, result.err
    spec = server.operations.submissions[0].spec
    assert [(r.cause, r.times) for r in spec.retries] == [("oom", 2), ("exit=75", 5), ("any", 1)]
    assert (spec.group, spec.group_limit) == ("g", 3)
    assert spec.resources.gpu_shared and spec.resources.gpus_allowed == (0, 2, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--retry oon:2 true", "did you mean oom?"),
        ("--group g%0 true", "limit is 0"),
        ("--group g%2 --group-limit 3 true", "twice"),
        ("--gpus-allowed x true", "0,2-3"),
    ],
)
def test_slips_of_the_hand_are_told(run: Run, words: str, said: str) -> None:
    """One sentence with the valid form, exit 2, before anybody is asked."""
    result = run("submit", *words.split())
    assert result.code == 2 and said in result.err and len(result.err.splitlines()) == 1


def test_options_after_the_command_are_the_commands(server: RunningServer, run: Run) -> None:
    """The first word ends our options."""
    run("submit", "prog", "-c", "9", "--json")
    spec = server.operations.submissions[0].spec
    assert spec.command == ("prog", "-c", "9", "--json") and spec.resources.cpus == 1


def test_no_time_limit_is_null(server: RunningServer, run: Run) -> None:
    """-t unlimited and -t 0 ask for no limit, as in Slurm."""
    for text in ("unlimited", "0"):
        assert run("submit", "-t", text, "true").code == 0
        assert server.operations.submissions[-1].spec.time_limit_s is None


def test_the_environment_is_the_submitters(
    server: RunningServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default everything is captured."""
    monkeypatch.setenv("SOME_THING", "ü 1")
    run("submit", "true")
    assert env_of(server)["SOME_THING"] == "ü 1"


def test_export(server: RunningServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """NONE sends nothing, names send those and the basic ones, ALL,A=b adds."""
    monkeypatch.setenv("AAA", "1")
    monkeypatch.setenv("BBB", "2")
    run("submit", "--export", "NONE", "true")
    assert server.operations.submissions[0].spec.env is None
    run("submit", "--export", "AAA,CCC=3", "true")
    assert env_of(server) | {"AAA": "1", "CCC": "3"} == env_of(server)
    assert "BBB" not in env_of(server) and "PATH" in env_of(server)
    run("submit", "--export", "ALL,CCC=3", "true")
    assert (env_of(server)["BBB"], env_of(server)["CCC"]) == ("2", "3")


def test_variables_that_are_not_utf8_are_dropped_with_a_warning(
    server: RunningServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is submitted all the same."""
    monkeypatch.setenv("ODD", os.fsdecode(b"\xff"))
    result = run("submit", "true")
    assert result.code == 0 and "ODD" in result.err
    assert "ODD" not in env_of(server)


def test_a_wrapped_line(server: RunningServer, run: Run) -> None:
    """--wrap is sbatch's: a line for bash, and no other words."""
    run("submit", "--wrap", "echo a; echo b")
    assert server.operations.submissions[0].spec.command == ("bash", "-c", "echo a; echo b")
    assert run("submit", "--wrap", "x", "y").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("-p", "2147483648", "true"),
        ("-c", "-1", "true"),
        ("-c", "1e3", "true"),
        ("--mem", "-5G", "true"),
        ("-t", "soon", "true"),
        ("-a", "0-", "true"),
        ("-a", "", "true"),
        ("-d", "afterok:x", "true"),
        ("-b", "2026-02-30", "true"),
        ("--rlimit", "x=1", "true"),
        ("--nosuch", "true"),
        (),
        ("--export", "=x", "true"),
    ],
)
def test_usage_errors_submit_nothing(
    server: RunningServer, run: Run, words: tuple[str, ...]
) -> None:
    """What the client can see is exit 2, one sentence, and no job."""
    result = run("submit", *words)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert server.operations.records == {}


@pytest.mark.parametrize(
    "words", [("-J", "x" * 10_000, "true"), ("-a", "1-10000000", "true"), ("./no/such",)]
)
def test_refusals_are_exit_1(server: RunningServer, run: Run, words: tuple[str, ...]) -> None:
    """What is refused is exit 1, one sentence, and no job."""
    result = run("submit", *words)
    assert result.code == 1 and len(result.err.splitlines()) == 1
    assert server.operations.records == {}


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (("COMPLETED", 0, None, b""), 0),
        (("FAILED", 7, None, b""), 7),
        (("FAILED", None, 9, b""), 137),
        (("FAILED", 137, None, b""), 137),
        (("FAILED", None, None, b""), 1),
        (("TIMEOUT", None, 15, b""), 124),
        (("OUT_OF_MEMORY", None, 9, b""), 137),
        (("CANCELLED", None, 15, b""), 1),
        (("NODE_FAIL", None, None, b""), 1),
    ],
)
def test_run_exits_with_the_jobs_code(
    server: RunningServer,
    run: Run,
    ending: tuple[str, int | None, int | None, bytes],
    code: int,
) -> None:
    """The job's own code, 128 + signal, 124, 137, or 1; submit --wait does the same."""
    server.operations.ending = ending
    assert run("run", "--", "x").code == code
    assert run("submit", "--wait", "x").code == code


def test_run_shows_the_output(server: RunningServer, run: Run) -> None:
    """Output goes to standard output, and the unhappy end to standard error."""
    server.operations.ending = ("FAILED", 3, None, b"line\n\xff\n")
    server.operations.logs[1] = b"x"
    result_code = run("run", "--json", "--", "x")
    assert json.loads(result_code.out)["state"] == "FAILED"
    server.operations.ending = ("FAILED", 3, None, b"line\n")
    result = run("run", "--", "x")
    assert result.out == "line\n" and "exit code 3" in result.err


def test_names_of_jobs() -> None:
    """Jobs, tasks and waiting parts of arrays."""
    name = outcome.job_name
    assert name({"id": 7}) == "7"
    assert name({"id": 9, "array": {"id": 7, "task": 2}}) == "7_2"
    array = {"id": 7, "task": None, "tasks": "3-9", "limit": 4}
    assert name({"id": 7, "array": array}) == "7_[3-9%4]"
