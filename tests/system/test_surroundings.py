"""What a job inherits: from its submitter, or from nobody."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable

from tests.system.machine import BIN, Machine


def test_a_job_has_the_limits_and_the_niceness_of_its_submitter(machine: Machine) -> None:
    """``ulimit`` and ``nice`` of the submitting shell hold for the job, as its umask does."""
    shell = (
        "umask 037; ulimit -n 79; ulimit -Ss 1024; exec nice -n 4 "
        f"{BIN}/gflowctl run -- sh -c 'umask; ulimit -n; ulimit -s; nice'"
    )
    done = subprocess.run(
        ["sh", "-c", shell],
        env=machine.env,
        cwd=machine.work,
        capture_output=True,
        text=True,
        timeout=60,
    )
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert done.stdout.split() == ["0037", "79", "1024", str(before + 4)], done


def test_a_job_without_an_environment_has_that_of_a_login(
    new_machine: Callable[..., Machine],
) -> None:
    """PATH, HOME, USER, SHELL and LANG, also where the supervisor itself was started bare."""
    machine = new_machine()
    machine.env.pop("LANG")
    machine.start()
    done = machine.ctl("run", "--export", "NONE", "--", "env")
    variables = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert {"PATH", "HOME", "USER", "SHELL", "LANG"} <= variables.keys(), done
    assert variables["USER"] == pwd.getpwuid(os.getuid()).pw_name
