"""Which cards there are and which of them may be given out: the rules, without any driver.

Cards come from three places: the driver's, declared ones (``[gpus] count``: the driver is not
asked then) and simulated ones. An index, once given, stays with its card, over restarts too: jobs
hold indices, and the driver's own numbers change when a card is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from gflow.model.job import Job
from gflow.model.resources import Card
from gflow.supervisor.exemption import Exemptions

Facts = dict[str, Any]
#: Card index → ids of the jobs that hold it.
Holders = Mapping[int, Collection[int]]

#: Stands for a UUID where the choice of cards itself is saved.
RESTRICTION = "restriction"
#: The same for processes that keep no card back.
EXEMPTION = "exemption"
#: Why the other cards are not given out.
NOT_ALLOWED = "not among the cards that are given out"


#: How the UUID of a part of a card begins (MIG); a whole one's with ``GPU-``.
_PART = "MIG-"


class Release(Enum):
    """What became of a card whose holder has ended."""

    FREE = "free"
    #: Memory is in use by nobody, or by processes that are about to end.
    PENDING = "pending"
    #: Somebody else is on it, or it is not to be used for another reason.
    TAKEN = "taken"


def holders(jobs: Iterable[Job]) -> dict[int, set[int]]:
    """Card index → ids of the jobs that hold it."""
    found: dict[int, set[int]] = {}
    for job in jobs:
        for index in job.gpu_ids:
            found.setdefault(index, set()).add(job.id)
    return found


class _Known:
    """A card of the driver's."""

    def __init__(self, index: int) -> None:
        self.index = index
        #: Its number among the driver's cards now; None while it has disappeared.
        self.position: int | None = None
        #: What the driver said last.
        self.facts: Facts = {}
        #: Errors that the driver tells once.
        self.xids: list[str] = []
        #: Why it is not certain that its last holder's memory is free; None: it is certain.
        self.doubt: str | None = None


class Cards:
    """``asked``: there is a driver to be asked, and no card is known before its first answer."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        asked: bool,
        user_name: Callable[[int], str | None] = str,
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._user_name = user_name
        self._known: dict[str, _Known] = {}
        self._answered = False
        #: The driver's own sentence while it fails as a whole.
        self._failure: str | None = None
        #: Indices of simulated cards.
        self._simulated: list[int] = []
        #: Declared cards that were asked for → who else gives them out; None: they are ours.
        self._claims: dict[str, str | None] = {}
        #: Groups of cards that are near each other, as indices.
        self.topology: tuple[tuple[int, ...], ...] = ()
        #: Index → why it is kept back until the settings are read again.
        self._quarantined: dict[int, str] = {}
        #: Cards that alone are given out, set at run time; None: those of the settings.
        self._restriction: tuple[int, ...] | None = None
        #: Processes that keep no card back, told at run time.
        self._exemptions = Exemptions()
        #: UUIDs whose record is to be saved or deleted, RESTRICTION and EXEMPTION.
        self._changes: list[str] = []
        self._number_simulated()

    # --- what is remembered ---------------------------------------------------------------------

    def restore(self, uuid: str, record: Mapping[str, Any]) -> None:
        """A card that was known in an earlier life; it is not there until the driver says so."""
        if uuid == RESTRICTION:
            self._restriction = tuple(record["indices"])
            return
        if uuid == EXEMPTION:
            self._exemptions.restore(record)
            return
        known = self._known[uuid] = _Known(int(record["index"]))
        known.facts = {
            "uuid": uuid,
            "name": record["name"],
            "memory_bytes": record["memory_bytes"],
            "used_bytes": 0,
            "processes": [],
            "faults": [],
            "claimed": None,
        }

    def record(self, uuid: str) -> dict[str, Any] | None:
        """What is to be remembered of a card; None: nothing any more."""
        if uuid == RESTRICTION:
            return None if self._restriction is None else {"indices": list(self._restriction)}
        if uuid == EXEMPTION:
            return self._exemptions.record() if self._exemptions else None
        known = self._known.get(uuid)
        if known is None:
            return None
        facts = known.facts
        return {
            "index": known.index,
            "name": facts["name"],
            "memory_bytes": facts["memory_bytes"],
        }

    def known(self) -> list[str]:
        """Names of all records: UUIDs of the driver's cards, disappeared ones too, and the rest."""
        names = [*self._known, RESTRICTION, EXEMPTION]
        return [name for name in names if self.record(name) is not None]

    def restrict(self, indices: tuple[int, ...] | None) -> None:
        """Give out these cards alone from now on; None: those that the settings allow."""
        self._restriction = indices
        self._changes.append(RESTRICTION)

    def ignore(self, index: int, pid: int) -> bool | None:
        """Let a process on a card keep it back no more, as long as it is there.

        False: it does not already; None: the driver lists no such process on the card.
        """
        for process in self.figures(index).get("processes", ()):
            if process["pid"] == pid:
                added = self._exemptions.add(index, process)
                self._changes.append(EXEMPTION)
                return added
        return None

    def heed(self, index: int, pid: int) -> bool:
        """Undo ``ignore``; False: there is nothing to undo."""
        self._changes.append(EXEMPTION)
        return self._exemptions.remove(index, pid)

    def ignored(self, index: int) -> list[int]:
        """Pids of those processes on a card that keep it back no more."""
        return self._exemptions.pids(index)

    def take_changes(self) -> list[str]:
        """UUIDs whose record has changed since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def forget_absent(self, held: Holders) -> None:
        """Forget cards that are not there any more and that no job holds."""
        for uuid, known in list(self._known.items()):
            if known.position is None and not held.get(known.index):
                del self._known[uuid]
                self._changes.append(uuid)
                if self._exemptions.keep(known.index, ()):
                    self._changes.append(EXEMPTION)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Use other settings; errors that were told once are forgiven."""
        if settings["count"] != self._settings["count"]:
            self._simulated.clear()
        self._settings = settings
        self._quarantined.clear()
        for known in self._known.values():
            known.xids.clear()
        self._number_simulated()

    # --- what the driver says -------------------------------------------------------------------

    def report(self, cards: Iterable[Facts], groups: Iterable[Iterable[str]]) -> None:
        """All cards there are, in the order of their PCI addresses."""
        self._answered, self._failure = True, None
        for known in self._known.values():
            known.position = None
        for position, facts in enumerate(cards):
            known = self._known.get(facts["uuid"]) or self._number(facts["uuid"])
            known.position, known.facts, known.doubt = position, facts, None
            if self._exemptions.keep(known.index, facts["processes"]):
                self._changes.append(EXEMPTION)
            for fault in facts["faults"]:
                if fault.startswith("Xid") and fault not in known.xids:
                    known.xids.append(fault)
        self._number_simulated()
        self.topology = tuple(
            tuple(sorted(self._known[uuid].index for uuid in group if uuid in self._known))
            for group in groups
        )

    def looked(self, cards: Iterable[Facts]) -> None:
        """Memory and processes of some cards."""
        for facts in cards:
            known = self._known.get(facts["uuid"])
            if known is not None:
                known.facts = {**known.facts, **facts}

    def failed(self, message: str) -> None:
        """The driver fails as a whole; what was known of cards stays."""
        self._failure = message

    def absent(self) -> None:
        """There is no driver, and will be none."""
        self._answered = True
        self._number_simulated()

    def quarantine(self, index: int, reason: str) -> None:
        """Keep a card back until the settings are read again."""
        self._quarantined[index] = f"quarantined: {reason}"

    def doubt(self, index: int, reason: str) -> None:
        """Keep a card back until the driver's next report."""
        for known in self._known.values():
            if known.index == index:
                known.doubt = reason

    # --- what follows ---------------------------------------------------------------------------

    def cards(self, holders: Holders) -> tuple[Card, ...] | None:
        """All cards by index; None while they are not known."""
        if self._settings["count"] is None and self._asked and not self._answered:
            return None
        found = self._declared()
        if self._settings["count"] is None:
            found += [
                Card(
                    known.index,
                    memory_bytes=known.facts["memory_bytes"],
                    uuid=uuid,
                    name=known.facts["name"],
                    unusable=self._unusable(uuid, known, holders.get(known.index, ())),
                )
                for uuid, known in self._known.items()
            ]
        kept_back = self._quarantined
        found = [
            replace(card, unusable=kept_back[card.index]) if card.index in kept_back else card
            for card in self._allowed(found)
        ]
        return tuple(sorted(found, key=lambda card: card.index))

    def _allowed(self, cards: list[Card]) -> list[Card]:
        """With those out of use that are not among the allowed; names of no card mean nothing."""
        names = self._settings["allowed"]
        if self._restriction is not None:
            names = [*map(str, self._restriction)]
        kept = {card.index for card in cards if any(_is_called(card, name) for name in names)}
        return [
            replace(card, unusable=NOT_ALLOWED) if kept and card.index not in kept else card
            for card in cards
        ]

    def to_claim(self) -> list[str]:
        """Names of the declared cards that other supervisors must not give out meanwhile."""
        if not self._settings["claim"]:
            return []
        declared = [Card(index, memory_bytes=0) for index in range(self._settings["count"] or 0)]
        allowed = [card for card in self._allowed(declared) if card.unusable is None]
        return [_claim_name(card.index) for card in allowed]

    def not_wanted(self) -> list[str]:
        """UUIDs of the driver's cards that we may not give out, so that another supervisor may."""
        if self._settings["count"] is not None:
            return list(self._known)
        names = [Card(known.index, uuid=uuid) for uuid, known in self._known.items()]
        return [card.uuid for card in self._allowed(names) if card.unusable and card.uuid]

    def claimed(self, others: Mapping[str, str | None]) -> None:
        """Who else gives out the cards of ``to_claim``; None: nobody."""
        self._claims = dict(others)

    def uuids(self, gpu_ids: Iterable[int]) -> list[str]:
        """Those of the cards that the driver can be asked about."""
        wanted = set(gpu_ids)
        return [uuid for uuid, known in self._known.items() if known.index in wanted]

    def release(self, uuid: str, holders: Holders) -> Release:
        """Whether a card is free; ``holders`` without the job that has ended."""
        known = self._known[uuid]
        jobs = holders.get(known.index, ())
        if known.position is None or self._failure is not None:
            return Release.TAKEN
        strangers = self._strangers(known, jobs)
        if any(process["alive"] for process in strangers):
            return Release.TAKEN
        if strangers or (not jobs and self._unexplained(known)):
            return Release.PENDING
        return Release.FREE

    def visible(self, gpu_ids: Collection[int]) -> str:
        """Value of the variables that show a job its cards: the driver's numbers for them.

        Parts of cards have none, so where there are any, each card is known by its UUID.
        """
        if not gpu_ids:
            return ""
        uuids = {known.index: uuid for uuid, known in self._known.items()}
        if any(uuid.startswith(_PART) for uuid in uuids.values()):
            return ",".join(uuids.get(index, str(index)) for index in gpu_ids)
        positions = {known.index: known.position for known in self._known.values()}
        found = (positions.get(index) for index in gpu_ids)
        return ",".join(str(i if p is None else p) for i, p in zip(gpu_ids, found))

    def figures(self, index: int) -> Facts:
        """What the driver measured on a card last; empty when it is not one of the driver's."""
        for known in self._known.values():
            if known.index == index and known.position is not None:
                return known.facts
        return {}

    # --- the rules ------------------------------------------------------------------------------

    def _unusable(self, uuid: str, known: _Known, jobs: Collection[int]) -> str | None:
        """Why a card may not be given out; the sentence stays the same while the reason does."""
        for name in self._settings["quarantine"]:
            if name == str(known.index) or (name and uuid.startswith(name)):
                return "quarantined by the configuration"
        if known.position is None:
            return "it has disappeared"
        if known.facts.get("split"):
            return "it is in MIG mode and has no parts that could be given out"
        if self._failure is not None:
            return f"the driver fails: {self._failure}"
        faults = [*known.xids, *(f for f in known.facts["faults"] if not f.startswith("Xid"))]
        if faults and self._settings["health_checks"]:
            return f"quarantined: {', '.join(faults)}"
        if known.facts["claimed"]:
            return str(known.facts["claimed"])
        strangers = self._strangers(known, jobs)
        if strangers:
            more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
            return f"busy: {self._sentence(strangers[0])}{more}"
        if known.doubt is not None:
            return known.doubt
        unexplained = 0 if jobs else self._unexplained(known)
        if unexplained:
            return f"busy: {_gib(unexplained)} of its memory in use, by nobody to be seen"
        return None

    def _strangers(self, known: _Known, jobs: Collection[int]) -> list[Facts]:
        ignored = self._settings["ignore_processes"]
        return [
            process
            for process in known.facts["processes"]
            if process["name"] not in ignored
            and process["job_id"] not in jobs
            and not self._exemptions.covers(known.index, process)
        ]

    def _unexplained(self, known: _Known) -> int:
        """Bytes in use that no living process accounts for; 0 up to what an idle card may use.

        An exempt process accounts for its own even if it cannot be seen.
        """
        memory = [
            process["memory_bytes"]
            for process in known.facts["processes"]
            if process["alive"] or self._exemptions.covers(known.index, process)
        ]
        if None in memory:
            return 0
        left = int(known.facts["used_bytes"]) - sum(memory)
        return left if left > self._settings["idle_memory_bytes"] else 0

    def _sentence(self, process: Facts) -> str:
        pid, job_id, uid = process["pid"], process["job_id"], process["uid"]
        if job_id is not None:
            return f"job {job_id} uses it without holding it (process {pid})"
        if uid is None:
            return f"process {pid}"
        user = self._user_name(uid) or f"uid {uid}"
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(process["started_at"]))
        return f"process {pid} ({process['name']}) of {user} since {since}"

    # --- indices --------------------------------------------------------------------------------

    def _declared(self) -> list[Card]:
        memory_bytes = self._settings["memory_bytes"] or 0
        declared = [
            Card(index, memory_bytes=memory_bytes, unusable=self._taken(index))
            for index in range(self._settings["count"] or 0)
        ]
        simulated = [
            Card(index, memory_bytes=memory_bytes, name="simulated") for index in self._simulated
        ]
        return declared + simulated

    def _taken(self, index: int) -> str | None:
        """Why a declared card is not ours to give out; None: it is."""
        if not self._settings["claim"]:
            return None
        return self._claims.get(_claim_name(index), "it is not known yet who else gives it out")

    def _number(self, uuid: str) -> _Known:
        known = self._known[uuid] = _Known(self._next_index())
        self._changes.append(uuid)
        return known

    def _number_simulated(self) -> None:
        """Simulated cards come after those that were known first."""
        wanted = self._settings["simulated"]
        if self._settings["count"] is None and self._asked and not self._answered:
            return
        del self._simulated[wanted:]
        while len(self._simulated) < wanted:
            self._simulated.append(self._next_index())

    def _next_index(self) -> int:
        taken = [known.index for known in self._known.values()] + self._simulated
        return max([(self._settings["count"] or 0) - 1, *taken]) + 1


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


def _is_called(card: Card, name: str) -> bool:
    return name == str(card.index) or bool(name and (card.uuid or "").startswith(name))


def _claim_name(index: int) -> str:
    """What a declared card is called among all supervisors of the machine."""
    return f"declared-{index}"
