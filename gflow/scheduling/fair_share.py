"""Who has had how much of the machine lately, and what that means for whose turn it is.

Use is counted in cpu-seconds; a gpu-second counts ``gpu_cost`` of them. It halves every
``fair_share_half_life_s``. While nothing of an account starts or ends its rate is constant, so that
use at any moment follows from the last change (the solution of u' = rate - u ln 2 / half-life), and
nothing has to be counted in between.

The factor of an account is 1 without use and falls by 1/40 with every doubling beyond a minute of
one cpu. On a logarithmic scale decay moves all accounts alike, so their order only changes when
somebody runs more than another.
"""

from __future__ import annotations

from math import log, log2
from typing import Any

from gflow.model.record import Key
from gflow.model.state import Instant
from gflow.scheduling.account import Account, AccountKey
from gflow.scheduling.core import Core

#: Use that costs nothing yet, and doublings until the factor is 0.
_FREE_S = 60.0
_DOUBLINGS = 40.0
#: A bonus is applied to the queue when it is off by more than this (thousandths of points).
_COARSE = 2_000
_KINDS = {"user": "use", "project": "project_use"}
_WEEK_S = 7 * 86400.0
#: 1970-01-05 was a Monday.
_MONDAY_S = 4 * 86400.0


def accrue(core: Core, account: Account, now: Instant) -> None:
    """Bring an account's use up to the present; before its rate changes."""
    passed_s = max(0.0, now.boot_s - account.use_at_boot_s)
    account.use_at_boot_s = now.boot_s
    half_life_s = core.settings.fair_share_half_life_s
    rate = account.cpus + core.settings.gpu_cost * account.gpus
    kept = 0.5 ** (passed_s / half_life_s)
    account.use_s = account.use_s * kept + rate * (1.0 - kept) * half_life_s / log(2.0)
    week = week_of(now.wall_s)
    if week != account.week:
        account.week, account.week_gpu_s = week, 0.0
        passed_s = min(passed_s, max(0.0, now.wall_s - week_start(week)))
    account.week_gpu_s += account.gpus * passed_s


def week_of(wall_s: float) -> int:
    """Number of the week since 1970, from Monday to Sunday (UTC)."""
    return int((wall_s - _MONDAY_S) // _WEEK_S)


def week_start(week: int) -> float:
    """Epoch seconds at which a week begins."""
    return week * _WEEK_S + _MONDAY_S


def factor(account: Account) -> float:
    """1 without use, down to 0."""
    return max(0.0, 1.0 - log2(1.0 + account.use_s / _FREE_S) / _DOUBLINGS)


def refresh(core: Core, account: Account) -> None:
    """Give the account's items their turn as its use is now, when that makes a difference."""
    weight = _weight(core, account.key)
    if not weight or account.key[0] not in _KINDS:
        return
    bonus = int(factor(account) * weight * 1000.0)
    known = core.queue.bonuses.get(account.key)
    if known is None or abs(known - bonus) > _COARSE:
        core.queue.set_bonus(account.key, bonus)
        core.pass_wanted = True


def _weight(core: Core, key: AccountKey) -> float:
    settings = core.settings
    return settings.fair_share_weight if key[0] == "user" else settings.project_share_weight


def changed(core: Core, account: Account) -> None:
    """The account's use is to be saved."""
    kind = _KINDS.get(account.key[0])
    if kind is not None:
        core.live.changes[kind, account.key[1]] = None


def record(core: Core, key: Key) -> dict[str, Any] | None:
    """What is saved of an account's use."""
    for kind, name in _KINDS.items():
        if name == key[0]:
            account = core.accounts.known.get((kind, key[1]))
            if account is None:
                return None
            return {
                "cost_s": account.use_s,
                "at": core.now.wall_s - (core.now.boot_s - account.use_at_boot_s),
                "week": account.week,
                "week_gpu_s": account.week_gpu_s,
            }
    return None


def restore(core: Core, key: Key, found: dict[str, Any], now: Instant) -> None:
    """Take saved use in; what passed since then has decayed."""
    for kind, name in _KINDS.items():
        if name == key[0]:
            account = core.accounts.get((kind, key[1]))
            account.use_s = float(found.get("cost_s", 0.0))
            passed_s = max(0.0, now.wall_s - float(found.get("at", now.wall_s)))
            account.use_at_boot_s = now.boot_s - passed_s
            account.week = int(found.get("week", 0))
            account.week_gpu_s = float(found.get("week_gpu_s", 0.0))
