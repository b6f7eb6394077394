"""What the monitor sees of a tree. The test itself stands where a shim does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gflow.monitoring import host
from tests.monitoring.driver import Driver

#: A shim's place: runs a command and stays until its input ends.
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"


@pytest.fixture
def monitor() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


class Shim:
    """A process whose descendants are measured."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PARENT, *command],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def close(self) -> None:
        os.killpg(self.pid, 9)
        self._process.communicate()


@pytest.fixture
def shims() -> Iterator[list[Shim]]:
    made: list[Shim] = []
    yield made
    for shim in made:
        shim.close()


def run(shims: list[Shim], code: str) -> int:
    """A Python command under a shim; the shim's pid."""
    shims.append(Shim(sys.executable, "-c", code))
    return shims[-1].pid


def test_the_machine_is_told_first(monitor: Driver) -> None:
    """Capacity is known before any sample."""
    first = monitor.messages()[0]
    assert (first["t"], first["cpus"]) == ("host", host.cpus())
    assert first["memory_bytes"] == host.memory_bytes()


def test_memory_of_a_tree_is_seen(monitor: Driver, shims: list[Shim]) -> None:
    """All processes count, and the shim does not."""
    hold = "x = b'x' * 50_000_000; input()"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {hold!r}]); {hold}"
    shims.append(
        Shim(sys.executable, "-c", code.replace("input()", "__import__('time').sleep(99)"))
    )
    monitor.watch(shims[-1].pid)
    figures = monitor.figures(lambda one: one["rss_bytes"] > 100_000_000)
    assert figures["processes"] == 2 and figures["rss_bytes"] < 150_000_000


def test_the_peak_of_memory_stays(monitor: Driver, shims: list[Shim]) -> None:
    """What was freed is remembered."""
    code = "import time; x = b'x' * 80_000_000; time.sleep(0.5); del x; time.sleep(99)"
    monitor.watch(run(shims, code))
    monitor.figures(lambda one: one["rss_bytes"] > 80_000_000)
    figures = monitor.figures(lambda one: one["rss_bytes"] < 50_000_000)
    assert figures["max_rss_bytes"] > 80_000_000


def test_processor_time_of_ended_children_counts(monitor: Driver, shims: list[Shim]) -> None:
    """It does not vanish with them."""
    work = "sum(range(10_000_000))"
    code = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {work!r}]);"
        "time.sleep(99)"
    )
    monitor.watch(run(shims, code))
    monitor.figures(lambda one: one["processes"] == 2)
    figures = monitor.figures(lambda one: one["processes"] == 1 and one["cpu_s"] > 0.1)
    assert figures["cpu_s"] < 60


def test_written_bytes_are_seen(
    monitor: Driver, shims: list[Shim], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the kernel charges them to the process (proc_pid_io(5))."""
    path = tmp_path_factory.mktemp("written") / "file"
    code = (
        f"import os, time; f = open({str(path)!r}, 'wb'); f.write(b'x' * 5_000_000);"
        "f.flush(); os.fsync(f.fileno()); time.sleep(99)"
    )
    monitor.watch(run(shims, code))
    figures = monitor.figures(lambda one: one["write_bytes"] >= 5_000_000)
    assert figures["write_bytes"] < 10_000_000


def test_a_tree_that_ended_is_not_sampled(monitor: Driver, shims: list[Shim]) -> None:
    """Its pid means nothing any more."""
    monitor.watch(run(shims, "import time; time.sleep(99)"))
    monitor.figures(lambda one: one["processes"] == 1)
    shims.pop().close()
    monitor.until(lambda message: message["t"] == "samples" and not message["samples"])


def test_a_command_without_a_shim_counts_itself(monitor: Driver) -> None:
    """Its shim was killed: it is the root itself."""
    code = "import time; x = b'x' * 50_000_000; time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", code]) as command:
        monitor.watch(command.pid, inclusive=True)
        figures = monitor.figures(lambda one: one["rss_bytes"] > 50_000_000)
        command.kill()
    assert figures["processes"] == 1


def test_many_jobs_come_in_parts(monitor: Driver, shims: list[Shim]) -> None:
    """No message is long, and nobody is left out."""
    pid = run(shims, "import time; time.sleep(99)")
    for job_id in range(1, 251):
        monitor.watch(pid, job_id=job_id)
    seen: set[int] = set()
    largest = 0

    def note(message: dict[str, Any]) -> bool:
        nonlocal largest
        samples = message.get("samples", [])
        largest = max(largest, len(samples))
        seen.update(sample[0] for sample in samples)
        return len(seen) == 250

    monitor.until(note)
    assert largest < 250


def test_unwatch_ends_the_samples(monitor: Driver, shims: list[Shim]) -> None:
    """Although the tree lives on."""
    monitor.watch(run(shims, "import time; time.sleep(99)"))
    monitor.figures(lambda one: one["processes"] == 1)
    monitor.unwatch()
    monitor.until(lambda message: message["t"] == "samples" and not message["samples"])


def test_a_pid_with_other_ticks_is_not_watched(monitor: Driver) -> None:
    """A reused pid is another process."""
    frame = b'{"t":"watch","job_id":1,"attempt":1,"pid":%d,"ticks":1}' % os.getpid()
    monitor.channel.send(frame)
    message = monitor.until(lambda message: message["t"] == "samples")
    assert message["samples"] == []


def test_samples_say_what_they_cost(monitor: Driver, shims: list[Shim]) -> None:
    """Processor time of the monitor, and how many processes it looked at."""
    monitor.watch(run(shims, "import time; time.sleep(99)"))
    message = monitor.until(lambda message: message.get("samples"))
    assert message["cost_s"] > 0 and message["processes"] > 1


def test_it_ends_with_its_supervisor(monitor: Driver) -> None:
    """EOF on the pipe is the end."""
    monitor.messages()
    monitor.channel.close()
    assert monitor.process.wait(10) == 0


def test_it_ends_when_told(monitor: Driver) -> None:
    """An orderly end."""
    monitor.messages()
    monitor.channel.send(b'{"t":"stop"}')
    assert monitor.process.wait(10) == 0


def test_the_curve_comes_with_the_samples(monitor: Driver, shims: list[Shim]) -> None:
    """Whenever it has grown."""
    monitor.watch(run(shims, "while True: pass"))
    figures = monitor.figures(lambda one: len(one.get("series", {}).get("cpus", ())) >= 3)
    assert 0.0 < max(figures["series"]["cpus"]) < 2.0


def test_means_are_told(monitor: Driver, shims: list[Shim]) -> None:
    """A steady process's mean is what it holds."""
    monitor.watch(run(shims, "import time; x = b'x' * 50_000_000; time.sleep(99)"))
    figures = monitor.figures(lambda one: one["mean_rss_bytes"] > 50_000_000)
    assert figures["mean_rss_bytes"] <= figures["max_rss_bytes"]


def test_too_much_memory_is_told(monitor: Driver, shims: list[Shim]) -> None:
    """With what is used and what was allowed."""
    pid = run(shims, "import time; x = b'x' * 80_000_000; time.sleep(99)")
    monitor.watch(pid, memory_limit_bytes=50_000_000)
    over = monitor.until(lambda message: message["t"] == "over_memory")
    assert (over["job_id"], over["attempt"], over["limit_bytes"]) == (1, 1, 50_000_000)
    assert 50_000_000 < over["used_bytes"] < 120_000_000


def test_memory_that_moves_into_children_is_told(monitor: Driver, shims: list[Shim]) -> None:
    """Children that left their parent count as well."""
    hold = "import time; x = b'x' * 40_000_000; time.sleep(99)"
    code = (
        "import subprocess, sys, time\n"
        f"for _ in range(3): subprocess.Popen([sys.executable, '-c', {hold!r}], "
        "start_new_session=True)\n"
        "time.sleep(99)"
    )
    monitor.watch(run(shims, code), memory_limit_bytes=100_000_000)
    over = monitor.until(lambda message: message["t"] == "over_memory")
    assert over["used_bytes"] > 100_000_000


def test_shared_memory_counts_once(monitor: Driver, shims: list[Shim]) -> None:
    """Eight forked readers of one array stay below a limit that their sum exceeds."""
    code = "import os, time\nx = b'x' * 60_000_000\nfor _ in range(3): os.fork()\ntime.sleep(99)"
    monitor.watch(run(shims, code), memory_limit_bytes=150_000_000)
    monitor.figures(lambda one: one["processes"] == 8 and one["rss_bytes"] > 400_000_000)
    seen: list[str] = []
    monitor.until(lambda message: seen.append(message["t"]) or len(seen) > 4)
    assert "over_memory" not in seen


def test_what_processes_have_together_is_told(monitor: Driver, shims: list[Shim]) -> None:
    """Four readers of one array: beside the sum of what is resident, the array once."""
    code = "import os, time\nx = b'x' * 60_000_000\nfor _ in range(2): os.fork()\ntime.sleep(99)"
    monitor.watch(run(shims, code))
    figures = monitor.figures(lambda one: one["processes"] == 4 and "pss_bytes" in one)
    assert 60_000_000 < figures["max_pss_bytes"] < 120_000_000 < figures["max_rss_bytes"]


def test_what_is_within_the_limit_is_not_told(monitor: Driver, shims: list[Shim]) -> None:
    """A job may use what it asked for."""
    pid = run(shims, "import time; x = b'x' * 50_000_000; time.sleep(99)")
    monitor.watch(pid, memory_limit_bytes=200_000_000)
    monitor.figures(lambda one: one["rss_bytes"] > 50_000_000)
    seen: list[str] = []
    monitor.until(lambda message: seen.append(message["t"]) or len(seen) > 3)
    assert "over_memory" not in seen
