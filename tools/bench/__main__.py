"""``python -m tools.bench BENCH [--quick] [--markdown]``: measure and print a table."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator

from tools.bench import compare, main_job, monitoring, persistence, scheduling, start_up
from tools.bench.table import Row, render

BENCHES: dict[str, Callable[..., Iterator[Row]]] = {
    "compare": compare.run,
    "main": main_job.run,
    "monitoring": monitoring.run,
    "persistence": persistence.run,
    "scheduling": scheduling.run,
    "start-up": start_up.run,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one bench; always 0: a missed goal is for people to judge."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("bench", choices=[*BENCHES])
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work at all?")
    parser.add_argument("--markdown", action="store_true", help="print a table for the README")
    options = parser.parse_args(arguments)
    # However it ends, what was started is ended and what was made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    rows = []
    for row in BENCHES[options.bench](quick=options.quick):
        rows.append(row)
        print(f"  {row.what}: {row.measured}", file=sys.stderr, flush=True)
    print(f"{options.bench}{' (quick)' if options.quick else ''}: {_machine()}")
    print(render(rows, markdown=options.markdown))
    return 0


def _machine() -> str:
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{os.cpu_count()} cpus, load {load:.1f}, Linux {platform.release()}, Python {python}"


if __name__ == "__main__":
    sys.exit(main())
