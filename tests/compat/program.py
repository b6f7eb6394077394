"""One run of a command, of the reference or of ours."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def finished(
    words: Sequence[str | Path], env: Mapping[str, str], cwd: Path, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; without ``input`` there is nothing to read."""
    return subprocess.run(
        words,
        env=env,
        cwd=cwd,
        input=input,
        stdin=None if input is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plain(text: str) -> str:
    """Without colours."""
    return _STYLE.sub("", text)
