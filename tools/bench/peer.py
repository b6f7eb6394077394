"""What users would pick instead, on the same machine, with the same work: many ``true``.

task-spooler (``tsp``, Debian's package) and HyperQueue (PyPI) are run where they are installed;
nothing is installed from here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.bench import floor, sample

#: A Python that can import hyperqueue, when this one cannot; and the tsp to use.
HQ_PYTHON = "BENCH_HQ_PYTHON"
TSP = "BENCH_TSP"

_HQ_PROGRAM = """
import sys, tempfile, time
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
count, cores = int(sys.argv[1]), int(sys.argv[2])
with LocalCluster(sys.argv[3], WorkerConfig(cores)) as cluster:
    client = cluster.client()
    warm = Job(); warm.program(["true"]); client.wait_for_jobs([client.submit(warm)])
    job = Job(default_workdir=sys.argv[3])
    for _ in range(count):
        job.program(["true"])
    began_s = time.perf_counter()
    client.wait_for_jobs([client.submit(job)])
    print("seconds", time.perf_counter() - began_s, flush=True)
"""


class Missing(Exception):
    """There is no such peer here; the message says why."""


def task_spooler(home: Path, count: int, slots: int) -> float:
    """Jobs per second from the first submission to the last end. Raises Missing.

    It keeps each job's output in a file, as we do (its ``-n`` would not). What it leaves in
    ``home`` is the caller's: thousands of files deleted between two rounds would burden the next.
    """
    program = os.environ.get(TSP) or shutil.which("tsp")
    if program is None:
        raise Missing("task-spooler (tsp) is not installed")
    folder = tempfile.mkdtemp(prefix="tsp-", dir=home)
    env = {
        "PATH": os.environ["PATH"],
        "TS_SOCKET": f"{folder}/socket",
        "TMPDIR": folder,
        "TS_MAXFINISHED": str(count + 10),
    }

    def work() -> None:
        for _ in range(count):
            floor.run([program, "true"], env)
        # A job that waits for nobody else is not the last one to end when several run at once.
        for number in range(count - slots, count):
            floor.run([program, "-w", str(number)], env)

    try:
        floor.run([program, "-S", str(slots)], env)
        return count / sample.timed(work)
    finally:
        floor.run([program, "-K"], env)


def hyperqueue(home: Path, count: int, slots: int) -> float:
    """Tasks of one job per second, submission to end, as its Python API sees it. Raises Missing."""
    python = os.environ.get(HQ_PYTHON) or sys.executable
    known = subprocess.run([python, "-c", "import hyperqueue"], capture_output=True, check=False)
    if known.returncode != 0:
        raise Missing("HyperQueue (hyperqueue) is not installed")
    folder = tempfile.mkdtemp(prefix="hq-", dir=home)
    try:
        answer = subprocess.run(
            [python, "-c", _HQ_PROGRAM, str(count), str(slots), folder],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        raise Missing("HyperQueue did not end within 120 s") from None
    for line in answer.stdout.splitlines():
        if line.startswith("seconds "):
            return count / float(line.split()[1])
    raise Missing(f"HyperQueue failed: {answer.stderr.strip()[-80:]}")
