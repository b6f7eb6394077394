"""Run every check, the quick ones first: ``python tools/check.py [pytest options]``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS: list[tuple[str, list[str]]] = [
    ("tidy", ["tools/tidy.py"]),
    ("style", ["-m", "ruff", "check", "."]),
    ("format", ["-m", "ruff", "format", "--check", "."]),
    ("types", ["-m", "mypy"]),
]
#: Many tests wait more than they compute: two at a time take two thirds of the time. What shares a
#: module's fixtures stays together.
TESTS = ["-m", "pytest", "-n", "2", "--dist", "loadfile"]


def main() -> int:
    """0 when everything passes; stops at the first step that does not."""
    for name, arguments in [*STEPS, ("tests", [*TESTS, *sys.argv[1:]])]:
        began_s = time.monotonic()
        code = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode
        print(f"check: {name}: {'ok' if code == 0 else f'exit {code}'}, ", end="")
        print(f"{time.monotonic() - began_s:.1f} s", flush=True)
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
