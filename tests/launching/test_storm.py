"""The launcher is killed again and again: every attempt starts once, and every end is told."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from tests.launching.driver import LIMIT_S, Driver

ROUNDS, JOBS = 8, 25


def test_no_attempt_starts_twice_and_no_end_is_missed(launcher: Driver, tmp_path: Path) -> None:
    """Starts without an answer are sent again to the next launcher, as the supervisor does."""
    seed = int(os.environ.get("GFLOW_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    chance = random.Random(seed)
    ended: dict[int, int | None] = {}
    for number in range(ROUNDS):
        jobs = range(number * JOBS + 1, (number + 1) * JOBS + 1)
        for job_id in jobs:
            send(launcher, tmp_path, job_id)
        deadline_s = time.monotonic() + chance.random() * 0.1
        answered = note(launcher, ended, until_s=deadline_s)
        launcher.kill()
        launcher.messages.clear()
        launcher.spawn()
        launcher.ask("scan")
        for job_id in jobs:
            if job_id not in answered:
                send(launcher, tmp_path, job_id)
        note(launcher, ended, until_s=time.monotonic() + LIMIT_S, wanted=jobs[-1])
    lines = {path.name: path.read_text() for path in tmp_path.glob("ran-*")}
    assert set(lines.values()) == {"x\n"} and len(lines) == ROUNDS * JOBS, f"seed {seed}"
    assert ended == {job_id: job_id % 100 for job_id in range(1, ROUNDS * JOBS + 1)}, f"seed {seed}"


def send(launcher: Driver, folder: Path, job_id: int) -> None:
    command = f"echo x >> ran-{job_id}; exit {job_id % 100}"
    launcher.start("/bin/sh", "-c", command, job_id=job_id, cwd=str(folder))


def note(
    launcher: Driver, ended: dict[int, int | None], *, until_s: float, wanted: int = 0
) -> set[int]:
    """Take down what is said until a moment, or until every job up to ``wanted`` has ended.

    The ids of jobs that something was said about.
    """
    answered = set()
    while time.monotonic() < until_s and not (wanted and len(ended) == wanted):
        launcher.receive(0.02)
        for message in launcher.messages:
            if "job_id" in message:
                answered.add(message["job_id"])
            if "exit_code" in message:
                ended[message["job_id"]] = message["exit_code"]
        launcher.messages.clear()
    return answered
