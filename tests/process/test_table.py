"""The process table."""

from __future__ import annotations

import os
import subprocess
import sys

from gflow.process import identity, table

TREE = "import subprocess as s; c = s.Popen(['sleep', '1000']); print(c.pid, flush=True); c.wait()"


def test_it_holds_this_process() -> None:
    """With its parent and its identity."""
    entry = table.read().entries[os.getpid()]
    assert entry.parent == os.getppid()
    assert entry.ticks == identity.start_ticks(os.getpid())
    assert entry.session == os.getsid(0)


def test_it_counts_memory_and_processor_time() -> None:
    """In bytes and seconds."""
    sum(range(2_000_000))
    entry = table.read().entries[os.getpid()]
    assert entry.rss_bytes > 1_000_000
    assert 0 < entry.cpu_s < 10_000
    assert entry.threads >= 1


def test_below_finds_grandchildren() -> None:
    """All generations, and nobody else."""
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        below = {entry.pid for entry in table.read().below(process.pid)}
        os.kill(grandchild, 9)
    assert below == {grandchild}


def test_get_wants_the_right_process() -> None:
    """A pid alone is not enough."""
    processes = table.read()
    entry = processes.entries[os.getpid()]
    assert processes.get(entry.pid, entry.ticks) is entry
    assert processes.get(entry.pid, entry.ticks + 1) is None
