"""Long work that copies the whole store: backups, and the check of its structure.

The copying is one call that lets everything else happen between two of its stretches; one copy is
made at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

from gflow.errors import Refused
from gflow.persistence import backup, codec, question
from gflow.persistence.check import Check
from gflow.persistence.store import Store
from gflow.persistence.structure import StructureCheck

Steps = Iterator[bytes | None]


class Errands:
    """``pump`` does everything else that is to be done."""

    def __init__(self, pump: Callable[[], None]) -> None:
        self._pump = pump
        self._copying = False

    def backup(self, store: Store, id: int, path: str) -> Steps:
        """Answer a query for a copy at a path."""
        if self._copying:
            sentence = "cannot back up: another copy of the store is being made"
            yield question.error_frame(id, sentence, Refused.CONFLICT)
            return
        self._copying = True
        try:
            value = backup.backup(store, path, self._pump)
        except backup.BackupRefused as error:
            yield question.error_frame(id, str(error), Refused.INVALID)
        else:
            yield question.value_frame(id, value)
        finally:
            self._copying = False

    def check(self, store: Store, id: int) -> Steps:
        """Answer a query for everything that is wrong with the store."""
        check = Check(store)
        yield from self._whole(store, check)
        yield question.value_frame(id, asdict(check.findings))

    def late_check(self, store: Store) -> Steps:
        """What the start did not wait for: told when something is wrong."""
        check = Check(store)
        yield from self._whole(store, check)
        problems = check.findings.problems
        if problems:
            text = f"{store.path} has {len(problems)} damaged places: {'; '.join(problems[:5])}"
            yield codec.encode_frame("noticed", text=text)

    def _whole(self, store: Store, check: Check) -> Iterator[None]:
        yield from check.slices()
        while self._copying:
            yield
        self._copying = True
        try:
            structure = StructureCheck(store, self._pump)
            yield from structure.slices()
        finally:
            self._copying = False
        check.findings.structure = structure.refusal is None
        check.findings.structure_refusal = structure.refusal
        for problem in structure.problems:
            check.findings.add(f"structure: {problem}")
