"""Fixtures: the reference's clients, installed once, and a supervisor that speaks their API."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.reference import Reference
from tests.system.machine import Machine
from tools.bench.older import free_port

#: The clients whose behaviour is the contract.
_PACKAGE = "runqd==0.4.18"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the reference's programs; skips where the registry does not have them."""
    folder = Path(tempfile.gettempdir()) / f"gflow-test-{_PACKAGE}-{os.getuid()}"
    if not (folder / "bin" / "gbatch").exists():
        fresh = tmp_path_factory.mktemp("clients")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        answer = subprocess.run(
            [*pip, "--disable-pip-version-check", "--target", str(fresh / "t"), _PACKAGE],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if answer.returncode != 0:
            pytest.skip(f"cannot install {_PACKAGE}: {answer.stderr.strip()[-200:]}")
        try:
            os.rename(fresh / "t", folder)
        except OSError:
            pass  # somebody else was quicker
    return folder / "bin"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, int]]:
    """A supervisor with 8 cpus and 4 cards that serves the API, and its port."""
    port = free_port()
    machine = Machine(
        tmp_path_factory.mktemp("compat"),
        GFLOW_RESOURCES__CPUS="8",
        GFLOW_GPUS__COUNT="4",
        GFLOW_GPUS__MEMORY_BYTES="16G",
        GFLOW_HTTP__GFLOW_API="true",
        GFLOW_HTTP__LISTEN=f"localhost:{port}",
        GFLOW_SCHEDULER__GRACE_PERIOD_S="1",
    )
    try:
        machine.start()
        yield machine, port
    finally:
        machine.close()


@pytest.fixture
def client(
    programs: Path, served: tuple[Machine, int], request: pytest.FixtureRequest
) -> Iterator[Reference]:
    """The reference's clients under a user name of the test's own; its jobs are ended after."""
    made = Reference(programs, *served, user=f"u{abs(hash(request.node.name)) % 10**8}")
    yield made
    made.machine.ctl("cancel", "--all")


@pytest.fixture
def api(served: tuple[Machine, int]) -> Iterator[Reference]:
    """The API alone: needs no client."""
    made = Reference(Path("/nonexistent"), *served, user="nobody-in-particular")
    yield made
    made.machine.ctl("cancel", "--all")
