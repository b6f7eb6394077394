"""The first statements of a process of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, signal, sys
from gflow.process import child
extra = os.open("/dev/null", os.O_RDONLY)
kept = os.open("/dev/null", os.O_RDONLY)
child.begin("probe", (kept,))
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "kept": kept,
    "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/dev/fd/{fd}")),
    "leader": os.getsid(0) == os.getpid(),
    "cwd": os.getcwd(),
    "title": open("/proc/self/cmdline").read().rstrip("\\0 "),
    "shielded": all(signal.getsignal(n) is signal.SIG_IGN for n in child.SHIELDED),
    "blocked": int(status["SigBlk"], 16),
    "logging": "logging" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def seen() -> dict[str, object]:
    """What a process sees of itself after ``begin``."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_only_the_given_descriptors_stay(seen: dict[str, object]) -> None:
    """Besides the standard ones."""
    assert seen["fds"] == [0, 1, 2, seen["kept"]]


def test_it_leads_its_own_session(seen: dict[str, object]) -> None:
    """Ctrl-C in the supervisor's terminal does not reach it."""
    assert seen["leader"] is True


def test_it_holds_no_folder(seen: dict[str, object]) -> None:
    """The file system that it was started from can be unmounted."""
    assert seen["cwd"] == "/"


def test_ps_shows_what_it_is(seen: dict[str, object]) -> None:
    """By its title."""
    assert seen["title"] == "gflow: probe"


def test_it_is_shielded(seen: dict[str, object]) -> None:
    """Signals meant for the supervisor do nothing to it, and none waits."""
    assert seen["shielded"] is True and seen["blocked"] == 0


def test_a_title_costs_no_library(seen: dict[str, object]) -> None:
    """The launcher forks often: what needs repair after a fork is not loaded."""
    assert seen["logging"] is False


@pytest.mark.skipif(
    not hasattr(sys, "activate_stack_trampoline"), reason="this Python has no support for perf"
)
def test_the_interpreters_map_for_perf_goes_into_no_file_of_ours(tmp_path: Path) -> None:
    """Its descriptor is closed with the others, and its number is soon another file's."""
    code = f"""
import os
from gflow.process import child
child.begin("test")
for number in range(20):
    os.open(f"{tmp_path}/{{number}}", os.O_CREAT | os.O_WRONLY)
for number in range(200):
    exec(f"def new_{{number}}(): return {{number}}\\nnew_{{number}}()")
"""
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONPERFSUPPORT": "1"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, start_new_session=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b""] * 20
