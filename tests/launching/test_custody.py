"""What custody does when the system has nothing to give."""

from __future__ import annotations

import math
import signal
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gflow.launching import custody
from gflow.launching.adoption import Verdict
from gflow.launching.custody import Custody
from gflow.launching.place import Place
from gflow.launching.pool import Pool
from gflow.launching.runfile import Contents
from gflow.launching.survey import Finding, Survey


def test_no_process_for_a_follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again until there is one, which is told to end what it was meant for to end."""
    finding = Finding(1, 1, Verdict.FOLLOW, Contents({}, damaged=True), None, (2, 3))
    monkeypatch.setattr(Survey, "one", lambda *_: finding)
    monkeypatch.setattr(custody.os, "fork", _no_process)
    told: list[dict[str, Any]] = []
    ours = Custody(
        Place(str(tmp_path)),
        Pool(watch=lambda *_: None, unwatch=lambda _: None),
        watch=lambda *_: None,
        unwatch=lambda _: None,
        send=told.append,
        forward=lambda _: None,
        read_reports=lambda: None,
    )
    ours.settle(finding)
    assert (len(ours), ours.impatient_at_s < math.inf) == (0, True)
    ours.kill((1, 1), 5.0)
    ours.lose_patience(0.0)
    assert len(ours) == 0
    with subprocess.Popen(["sleep", "1000"]) as follower:
        monkeypatch.setattr(custody.os, "fork", lambda: follower.pid)
        ours.lose_patience(0.0)
        assert follower.wait(30) == -signal.SIGTERM
    assert [one["verdict"] for one in told] == ["follow"] * len(told)


def _no_process() -> NoReturn:
    raise BlockingIOError(11, "Resource temporarily unavailable")
