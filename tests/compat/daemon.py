"""The reference's daemon itself, for what is to be compared with it or taken over from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.compat import program
from tools.bench import older

_DRIVER = Path(__file__).parent / "nvml.c"


class Daemon(older.Daemon):
    """One that, given a compiler, has four cards; and its commands."""

    def __init__(self, programs: Path, folder: Path, user: str = "ann") -> None:
        super().__init__(programs, folder, user)
        if shutil.which("gcc"):
            library = self.home / "libnvidia-ml.so.1"
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _DRIVER], check=True)
            self.env["LD_LIBRARY_PATH"] = str(self.home)

    def run(self, *words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """One of the reference's commands, without colours in what it printed."""
        command = [self.programs / words[0], *words[1:]]
        answer = program.finished(command, self.env, self.work, input)
        answer.stdout = program.plain(answer.stdout)
        return answer
