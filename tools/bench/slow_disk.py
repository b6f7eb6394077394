"""A disk whose every flush takes seconds, for the persister alone: a preloaded fsync(2)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

#: Only the persister waits, and only while the flag is there: it must be able to start.
_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void wait_if_slow(void) {
    char name[17] = "";
    const char *flag = getenv("BENCH_SLOW_DISK");
    prctl(PR_GET_NAME, name, 0, 0, 0);
    if (flag && !strncmp(name, "gflow: persiste", 15) && !access(flag, F_OK)) {
        struct timespec seconds = {2, 0};
        nanosleep(&seconds, 0);
    }
}

int fsync(int fd) {
    wait_if_slow();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    wait_if_slow();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""


class SlowDisk:
    """``settings`` for a Machine; ``slow`` and ``fast`` switch while it runs."""

    def __init__(self, folder: Path) -> None:
        self._flag = folder / "slow"
        library = folder / "slow.so"
        source = folder / "slow.c"
        source.write_text(_SOURCE)
        compiler = shutil.which("gcc")
        assert compiler is not None, "ask available() first"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O", "-o", str(library), str(source), "-ldl"],
            check=True,
        )
        self.settings = {"LD_PRELOAD": str(library), "BENCH_SLOW_DISK": str(self._flag)}

    @staticmethod
    def available() -> bool:
        """Whether it can be built here."""
        return shutil.which("gcc") is not None

    def slow(self) -> None:
        """From now on every flush takes 2 s."""
        self._flag.touch()

    def fast(self) -> None:
        """As the disk is."""
        self._flag.unlink(missing_ok=True)
