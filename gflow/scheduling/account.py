"""Who may run how much at once: users, projects, groups and arrays with a limit."""

from __future__ import annotations

from gflow.model.resources import Resources

#: ("user", name), ("project", name), ("group", "user/name"), ("array", id).
AccountKey = tuple[str, str | int]


class Account:
    """Counts of what runs and waits for one account, and its limits (None: no limit)."""

    __slots__ = (
        "cpus",
        "gpus",
        "key",
        "max_cpus",
        "max_gpu_s_per_week",
        "max_gpus",
        "max_pending",
        "max_running",
        "parked",
        "pending",
        "running",
        "use_at_boot_s",
        "use_s",
        "week",
        "week_gpu_s",
    )

    def __init__(self, key: AccountKey) -> None:
        self.key = key
        self.running = 0
        self.cpus = 0
        self.gpus = 0
        self.pending = 0
        self.max_running: int | None = None
        self.max_cpus: int | None = None
        self.max_gpus: int | None = None
        self.max_pending: int | None = None
        self.max_gpu_s_per_week: float | None = None
        #: Decayed use in cpu-seconds, as it was at a moment of the boot clock.
        self.use_s = 0.0
        self.use_at_boot_s = 0.0
        #: Number of the week (see fair share) and gpu-seconds used in it.
        self.week = 0
        self.week_gpu_s = 0.0
        #: Serials of buckets that were taken out of the queue because of this account.
        self.parked: dict[int, None] = {}

    def refuses(self, request: Resources) -> bool:
        """Whether starting one more such job would exceed a limit."""
        if self.max_running is not None and self.running >= self.max_running:
            return True
        if self.max_cpus is not None and self.cpus + request.cpus > self.max_cpus:
            return True
        if not request.gpus:
            return False
        if self.max_gpu_s_per_week is not None and self.week_gpu_s >= self.max_gpu_s_per_week:
            return True
        return self.max_gpus is not None and self.gpus + request.gpus > self.max_gpus

    @property
    def limited(self) -> bool:
        """Whether there is any limit on what runs."""
        limits = (self.max_running, self.max_cpus, self.max_gpus, self.max_gpu_s_per_week)
        return any(limit is not None for limit in limits)

    def count(self, request: Resources, sign: int) -> None:
        """One more (+1) or one less (-1) such job holds resources."""
        self.running += sign
        self.cpus += sign * request.cpus
        self.gpus += sign * request.gpus


#: Field of a quota -> limit.
Limits = dict[str, float]


class Accounts:
    """All accounts, made when first named, and the quotas that give them their limits."""

    __slots__ = ("configured", "known", "quotas")

    def __init__(self, configured: dict[tuple[str, str], Limits]) -> None:
        self.known: dict[AccountKey, Account] = {}
        #: (scope, name) -> limits: of the configuration, and set at run time.
        self.configured = configured
        self.quotas: dict[tuple[str, str], Limits] = {}

    def get(self, key: AccountKey) -> Account:
        """The account of that key."""
        account = self.known.get(key)
        if account is None:
            account = self.known[key] = Account(key)
            self.apply(account)
        return account

    def effective(self, scope: str, name: str) -> Limits:
        """The limits that hold for a user or project."""
        found: Limits = {}
        for entry in ((f"default_{scope}", ""), (scope, name)):
            found.update(self.configured.get(entry, {}))
            found.update(self.quotas.get(entry, {}))
        return found

    def apply(self, account: Account) -> None:
        """Give a user's or project's account its limits as they are now."""
        scope, name = account.key
        if scope not in ("user", "project"):
            return
        limits = self.effective(scope, str(name))
        account.max_running = _whole(limits, "running_jobs")
        account.max_cpus = _whole(limits, "running_cpus")
        account.max_gpus = _whole(limits, "running_gpus")
        account.max_pending = _whole(limits, "pending_jobs")
        hours = limits.get("gpu_hours_per_week")
        account.max_gpu_s_per_week = None if hours is None else hours * 3600.0


def _whole(limits: Limits, field: str) -> int | None:
    limit = limits.get(field)
    return None if limit is None else int(limit)
