"""What is done about jobs that hold cards without using them."""

from __future__ import annotations

from typing import Any

from gflow import config
from gflow.supervisor.idle import Finding, IdlePolicy, Step


def policy(**changes: Any) -> IdlePolicy:
    return IdlePolicy({**config.defaults()["gpus"], **changes})


def idle(seconds: float | None, attempt: int = 1) -> list[tuple[int, int, dict[str, Any]]]:
    return [(7, attempt, {"gpu_idle_s": seconds})]


def test_off_by_default() -> None:
    """Nothing is done however long a card is idle."""
    assert policy().judge(idle(1e9)) == []


def test_steps() -> None:
    """Reported, warned, ended, each of it once."""
    tried = policy(idle_report_s=100.0, idle_end_s=1000.0, idle_warning_s=300.0)
    assert tried.judge(idle(99)) == []
    assert tried.judge(idle(100)) == [Finding(7, Step.REPORT, 100, 900)]
    assert tried.judge(idle(150)) == []
    assert tried.judge(idle(700)) == [Finding(7, Step.WARN, 700, 300)]
    assert tried.judge(idle(999)) == []
    assert tried.judge(idle(1002)) == [Finding(7, Step.END, 1002, 0)]
    assert tried.judge(idle(1004)) == []


def test_use_begins_it_anew() -> None:
    """A job that works again and then rests is told of again; so is another attempt."""
    tried = policy(idle_report_s=100.0)
    assert len(tried.judge(idle(100))) == 1
    assert tried.judge(idle(0)) == []
    assert len(tried.judge(idle(100))) == 1
    assert len(tried.judge(idle(100, attempt=2))) == 1


def test_unknown_use() -> None:
    """A card that does not tell its load is never idle."""
    assert policy(idle_end_s=1.0).judge(idle(None)) == []


def test_short_end() -> None:
    """A warning that would come before the beginning comes with the first idle second."""
    tried = policy(idle_end_s=10.0, idle_warning_s=300.0)
    assert tried.judge(idle(0)) == []
    assert [finding.step for finding in tried.judge(idle(1))] == [Step.WARN]
