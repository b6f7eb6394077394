"""Spare space."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.persistence import space
from gflow.persistence.space import Ballast, Scale

MIB = 1 << 20


def test_the_ballast_really_takes_space(tmp_path: Path) -> None:
    """The file has blocks, not only a length."""
    assert Ballast(str(tmp_path), MIB).make()
    assert os.stat(tmp_path / "ballast").st_blocks * 512 >= MIB


def test_giving_up_frees_it(tmp_path: Path) -> None:
    """Once given up it does not stand, and cannot be given up again."""
    ballast = Ballast(str(tmp_path), MIB)
    ballast.make()
    assert ballast.give_up()
    assert not ballast.stands
    assert not ballast.give_up()


def test_it_is_not_made_where_space_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With less than twice its size free, it waits: or it would be what fills the disk again."""
    real = os.statvfs(tmp_path)

    class Short:
        f_bavail = 3 * MIB // 2 // real.f_frsize
        f_frsize = real.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda path: Short)
    assert not Ballast(str(tmp_path), MIB).make()
    assert os.listdir(tmp_path) == []


def test_sizes_on_a_usual_disk() -> None:
    """Full size where there is room."""
    assert space.scale(100 << 30, 4 * MIB) == Scale(4 * MIB, 1000)


def test_sizes_on_a_tiny_disk() -> None:
    """On 4 MB, spare space and log shrink to a sixteenth each."""
    assert space.scale(4 * MIB, 4 * MIB) == Scale(MIB // 4, 64)
