from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

from gflow.api import surroundings
from gflow.api.quantity import RLIMITS

_HERE = "import json; from gflow.api import surroundings; print(json.dumps(surroundings.here()))"


def test_here_is_what_a_child_inherits() -> None:
    """Umask, niceness and limits of a process are found as its parent set them."""
    words = f"umask 031; ulimit -n 77; ulimit -Sc 0; exec nice -n 3 {sys.executable} -c '{_HERE}'"
    found = json.loads(subprocess.check_output(["bash", "-c", words]))
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    assert (found["umask"], found["rlimits"]["NOFILE"]) == (0o31, [77, 77])
    assert found["rlimits"]["CORE"] == [0, hard]
    assert found["nice"] == os.getpriority(os.PRIO_PROCESS, 0) + 3


def test_every_known_limit_can_be_set() -> None:
    """A name that the resource module lacks would end a job before it starts."""
    assert surroundings.rlimits().keys() == {*RLIMITS}


def test_limits_are_told_as_a_spec_holds_them() -> None:
    """Those of this process, with their names."""
    assert ("CORE", *resource.getrlimit(resource.RLIMIT_CORE)) in surroundings.limits()
