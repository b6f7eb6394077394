"""Requests far above what the same command used before."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.model.job import Job, Spec
from gflow.model.resources import Resources
from gflow.model.state import State
from gflow.supervisor.habit import Habits

GIB = 1 << 30


def spec(*command: str, uid: int = 1, **fields: Any) -> Spec:
    resources = Resources(**fields.pop("resources", {}))
    return Spec("n", "u", uid, 1, command, "/", resources=resources, **fields)


def run(asked: Spec, elapsed_s: float = 100.0, **usage: Any) -> Job:
    state = usage.pop("state", State.COMPLETED)
    return Job(
        1, asked, 0.0, state=state, started_at=10.0, finished_at=10.0 + elapsed_s, usage=usage
    )


def advice(asked: Spec, *runs: Job) -> list[str]:
    habits = Habits()
    for one in runs:
        habits.note(one)
    return habits.advice([asked])


def test_memory_far_above() -> None:
    """The sentence names the option, the command and the most that any run used."""
    runs = [run(spec("python", "train.py"), max_rss_bytes=n * GIB) for n in (1, 2)]
    asked = spec("python", "train.py", "--lr", "3", resources={"memory_bytes": 64 * GIB})
    assert advice(asked, *runs) == [
        "--mem 64G is far above what 'python train.py' used before: 2G at most in 2 runs"
    ]


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"time_limit_s": 86400.0}, "--time"),
        ({"resources": {"cpus": 32}}, "--cpus"),
        ({"resources": {"gpus": 1}}, "--gpus"),
    ],
)
def test_other_requests(fields: dict[str, Any], option: str) -> None:
    """Time, processors and cards are compared too, in what the job used of each."""
    before = run(spec("./fit", resources={"gpus": 1}), cpu_s=150.0, gpu_s=0.1)
    (sentence,) = advice(spec("./fit", **fields), before)
    assert sentence.startswith(option) and "'./fit'" in sentence


@pytest.mark.parametrize(
    "asked",
    [
        spec("./fit", resources={"memory_bytes": 3 * GIB}),
        spec("./fit", time_limit_s=3600.0),
        spec("./other", resources={"memory_bytes": 64 * GIB}),
        spec("./fit", uid=2, resources={"memory_bytes": 64 * GIB}),
        spec("./fit"),
    ],
)
def test_what_is_not_far(asked: Spec) -> None:
    """Some room is wise; other commands and other people's runs say nothing."""
    assert advice(asked, run(spec("./fit"), cpu_s=100.0, max_rss_bytes=GIB)) == []


def test_only_completed_runs_count() -> None:
    """A run that failed early would make every request look far above."""
    asked = spec("./fit", resources={"memory_bytes": 64 * GIB})
    assert advice(asked, run(spec("./fit"), max_rss_bytes=1, state=State.FAILED)) == []


def test_memory_is_bounded() -> None:
    """The command that was not met for longest is forgotten."""
    habits = Habits()
    habits.note(run(spec("./first"), max_rss_bytes=1))
    for number in range(4096):
        habits.note(run(spec(f"./{number}"), max_rss_bytes=1))
    assert habits.advice([spec("./first", resources={"memory_bytes": 64 * GIB})]) == []
    assert habits.advice([spec("./4095", resources={"memory_bytes": 64 * GIB})])
