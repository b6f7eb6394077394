"""Declared cards and several supervisors on one machine."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.system.machine import Machine, eventually


def test_one_supervisor_gives_a_card_out(new_machine: Callable[..., Machine]) -> None:
    """The second one keeps it back and says why, until the first has ended."""
    # One that no machine has, and no test that runs beside this one.
    card = 100 + os.getpid() % 900
    settings = {
        "GFLOW_GPUS__CLAIM": "true",
        "GFLOW_GPUS__COUNT": str(card + 1),
        "GFLOW_GPUS__ALLOWED": str(card),
        "GFLOW_MONITOR__INTERVAL_S": "0.3",
    }
    one, two = new_machine(**settings), new_machine(**settings)
    one.start()
    holder = one.submit(
        "-G", "1", "echo $CUDA_VISIBLE_DEVICES; until [ -e go ]; do sleep 0.1; done"
    )
    eventually(lambda: one.in_state(holder, "RUNNING"))
    two.start()
    waiting = two.submit("-G", "1", "--", "true")
    pid = str(one.supervisor_pid)

    def refusal() -> str:
        return str(two.status()["gpus"][card]["unusable"])

    eventually(lambda: "another supervisor" in refusal() and pid in refusal())
    assert two.in_state(waiting, "PENDING")
    one.note_pids()
    (one.work / "go").touch()
    assert one.wait(holder) == 0
    assert one.ctl("log", str(holder)).stdout.strip() == str(card)
    assert one.stop() == 0
    assert two.wait(waiting) == 0
    os.unlink(f"/tmp/.gflow-gpu-declared-{card}")
