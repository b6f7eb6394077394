"""Random damage to the file of a closed store: refused, set aside, or harmless; never believed."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from gflow.errors import StoreError
from gflow.model.record import Key, Record
from gflow.persistence import codec, question
from gflow.persistence.check import check_file
from gflow.persistence.link import Link
from gflow.persistence.load import Loading
from gflow.persistence.message import Answer
from gflow.persistence.opening import open_store
from gflow.persistence.setting import Settings
from gflow.persistence.store import Store
from tests.persistence.golden import content

ROUNDS = 60


def everything(store: Store) -> dict[Key, Record]:
    """All records that the store gives away: at load, and page by page."""
    loading = Loading(store, finished_since_at=0.0, finished_limit=100)
    found = {item.key: codec.decode(item) for piece in loading.pieces() for item in piece}
    loading.array_ended()
    loading.array_ended_positions()
    link = Link(found.get)
    for what, args in (("history", {}), ("transitions", {"id": 3}), ("job", {"id": 4})):
        id = link.query(what, args)
        for frame in question.answer(store, id, what, dict(args)):
            for answer in [] if frame is None else link.receive(frame, 0.0):
                if isinstance(answer, Answer):
                    found.update(answer.records)
    return found


def flip(data: bytearray, dice: random.Random) -> None:
    """One bit."""
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def zero(data: bytearray, dice: random.Random) -> None:
    """One page."""
    page = dice.randrange(len(data) // 4096)
    data[4096 * page : 4096 * (page + 1)] = bytes(4096)


def garble(data: bytearray, dice: random.Random) -> None:
    """Sixty-four bytes."""
    start = dice.randrange(len(data) - 64)
    data[start : start + 64] = dice.randbytes(64)


@pytest.mark.parametrize("damage", [flip, zero, garble])
def test_damage_is_never_believed(state_dir: str, damage: Any) -> None:
    """Whatever is damaged, records are as they were written, or absent, or the start is refused."""
    path = Path(f"{state_dir}/state.db")
    content.make(str(path))
    whole = path.read_bytes()
    for seed in range(ROUNDS):
        data = bytearray(whole)
        damage(data, random.Random(seed))
        for name in os.listdir(state_dir):
            os.unlink(os.path.join(state_dir, name))
        path.write_bytes(data)
        try:
            opened = open_store(Settings(state_dir))
        except StoreError:
            continue
        try:
            for key, record in everything(opened.store).items():
                assert content.RECORDS[key] == record, f"seed {seed}"
        finally:
            opened.store.abandon()


@pytest.mark.parametrize("damage", [flip, zero, garble])
def test_checking_a_damaged_file_ends_in_findings(state_dir: str, damage: Any) -> None:
    """A check of a damaged file gives findings or refuses; it never falls over."""
    path = Path(f"{state_dir}/state.db")
    content.make(str(path))
    whole = path.read_bytes()
    for seed in range(ROUNDS):
        data = bytearray(whole)
        damage(data, random.Random(seed))
        path.write_bytes(data)
        try:
            check_file(str(path))
        except StoreError:
            continue
