"""A libnvidia-ml.so.1 of our own, compiled for the tests, that says what a file says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parent / "nvml.c"
GIB = 1 << 30


def needs_compiler() -> pytest.MarkDecorator:
    """Skip where there is nothing to compile with, or nothing that speaks to a driver."""
    try:
        import pynvml  # noqa: F401
    except ImportError:
        return pytest.mark.skip(reason="nvidia-ml-py is not installed")
    missing = shutil.which("gcc") is None
    return pytest.mark.skipif(missing, reason="there is no gcc to compile the stand-in with")


class StandIn:
    """A driver with some cards. Change the fields, then ``tell``."""

    def __init__(self, folder: Path, cards: int = 2) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._control = folder / "nvml.txt"
        # Claims are made host-wide: no two tests may have the same cards.
        mark = f"{os.getpid():x}-{id(self):x}"
        self.uuids = [f"GPU-test-{mark}-{number}" for number in range(cards)]
        self.used_bytes = [0] * cards
        self.utilisation = [0] * cards
        self.temperature = [40] * cards
        self.ecc = [0] * cards
        self.group = [0] * cards
        #: Numbers of the cards that are there, in the driver's order.
        self.there = list(range(cards))
        #: (card, pid, bytes)
        self.processes: list[tuple[int, int, int]] = []
        #: (card, number), each told once.
        self.xids: list[tuple[int, int]] = []
        #: Cards in MIG mode, and their parts as (card, UUID, bytes used).
        self.split: list[int] = []
        self.parts: list[tuple[int, str, int]] = []
        self.hang = False
        self.driver_code = self.count_code = 0
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-w", "-o", str(folder / "libnvidia-ml.so.1"), _SOURCE],
            check=True,
        )
        self.tell()

    @property
    def env(self) -> dict[str, str]:
        """What makes a program find it."""
        return {"LD_LIBRARY_PATH": str(self._folder), "NVML_STAND_IN": str(self._control)}

    def tell(self) -> None:
        """Let the driver say all this from now on."""
        lines = [f"driver {self.driver_code}", f"count {self.count_code}", *["hang"] * self.hang]
        for number in self.there:
            lines.append(
                f"card {self.uuids[number]} 0000:{number:02x} {24 * GIB} {self.used_bytes[number]}"
                f" {self.utilisation[number]} {self.temperature[number]} {self.ecc[number]}"
                f" {self.group[number]}"
            )
        lines += [f"mig {self.there.index(card)}" for card in self.split]
        for card, uuid, used_bytes in self.parts:
            lines.append(f"part {self.there.index(card)} {uuid} {5 * GIB} {used_bytes}")
        for card, pid, count in self.processes:
            lines.append(f"process {self.there.index(card)} {pid} {count}")
        for card, number in self.xids:
            lines.append(f"xid {self.there.index(card)} {number}")
        temporary = self._control.with_suffix(".new")
        temporary.write_text("\n".join(lines) + "\n")
        temporary.rename(self._control)

    def close(self) -> None:
        """Remove the claims on its cards."""
        for uuid in (*self.uuids, *(uuid for _, uuid, _ in self.parts)):
            Path(f"/tmp/.gflow-gpu-{uuid}").unlink(missing_ok=True)
