"""Eligible pending items in scheduling order, grouped so that what cannot start costs nothing.

Items with the same request form a class; within it, items that the same limits and the same fair
share apply to form a bucket. A bucket is sorted by a key that never changes by itself; only buckets
are compared by rank, which is the key of their first item less the bonus of their user::

    key  = -points << 68 | id << 24 | limit    (an item's own: priority, age, id; its time limit)
    rank = key - (bonus << 68)                 (fair share of its user and project)

So one event touches one bucket, and a class that does not fit is skipped whole. The limit decides
no order: a pass that backfills reads it there, without a look at a hundred items.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator

from gflow.model.job import Array
from gflow.model.resources import Resources
from gflow.scheduling.account import Account, AccountKey
from gflow.scheduling.ordered import Compact, count_below, first, grown, shrunk, size
from gflow.scheduling.settings import Settings
from gflow.scheduling.state import Item

_LIMIT_BITS = 24
_ID_BITS = 44
_POINT_SHIFT = _ID_BITS + _LIMIT_BITS
_ID_MASK = (1 << _ID_BITS) - 1
#: Mask of the limit in a key: whole seconds, rounded down. All set: the item names no limit (those
#: beyond 194 days stand just below).
NO_LIMIT = (1 << _LIMIT_BITS) - 1
#: Points are counted in thousandths; ``top`` outweighs any priority.
_MILLI = 1000
_TOP = 1 << 62

BucketKey = tuple[Resources, str, str | None, str | None, int | None]


def id_of(key: int) -> int:
    """The item that a key or rank stands for."""
    return key >> _LIMIT_BITS & _ID_MASK


def rank_at(key: int, bonus: int) -> int:
    """The rank of an item whose user and project have that bonus."""
    return key - (bonus << _POINT_SHIFT)


class RequestClass:
    """Items that ask for the same."""

    __slots__ = ("buckets", "ranks", "request")

    def __init__(self, request: Resources) -> None:
        self.request = request
        #: Ranks of its buckets that are not parked, ascending.
        self.ranks: list[int] = []
        #: How many buckets it has, parked ones too.
        self.buckets = 0


class Bucket:
    """Items of one class that stand and fall together."""

    __slots__ = ("accounts", "alike", "bonus", "key", "keys", "parked_by", "rank", "serial")

    def __init__(
        self,
        serial: int,
        key: BucketKey,
        alike: RequestClass,
        accounts: tuple[Account, ...],
        first_key: int,
    ) -> None:
        self.serial = serial
        self.key = key
        self.alike = alike
        #: Keys of its items.
        self.keys: Compact = first_key
        self.accounts = accounts
        self.bonus = 0
        #: Rank of the first item; None while parked.
        self.rank: int | None = None
        self.parked_by: AccountKey | None = None


class ClassQueue:
    """See the module. ``order`` holds the best rank of each class, ascending: best first."""

    __slots__ = (
        "_age",
        "_full",
        "_priority",
        "_serial",
        "_stale",
        "aside",
        "bonuses",
        "buckets",
        "by_account",
        "by_key",
        "by_rank",
        "classes",
        "order",
    )

    def __init__(self, settings: Settings) -> None:
        self._priority = settings.priority_weight * _MILLI
        self._age = settings.age_weight * _MILLI / 3600.0
        #: Bonus of an account without use.
        self._full = {
            "user": int(settings.fair_share_weight * _MILLI),
            "project": int(settings.project_share_weight * _MILLI),
        }
        self._serial = 0
        #: Buckets whose bonus has changed, the longest waiting ones first.
        self._stale: OrderedDict[int, None] = OrderedDict()
        #: Serials of the buckets that are parked.
        self.aside: dict[int, None] = {}
        self.by_key: dict[BucketKey, Bucket] = {}
        self.buckets: dict[int, Bucket] = {}
        self.by_rank: dict[int, Bucket] = {}
        self.classes: dict[Resources, RequestClass] = {}
        self.order: list[int] = []
        #: Bonus in thousandths of points per user and project.
        self.bonuses: dict[AccountKey, int] = {}
        #: Serials of the buckets that a user or project has.
        self.by_account: dict[AccountKey, dict[int, None]] = {}

    def key_of(self, item: Item) -> int:
        """The item's place in its bucket; smaller comes first."""
        points = int(item.priority * self._priority - item.submitted_at * self._age)
        limit_s = item.spec.time_limit_s
        limit = NO_LIMIT if limit_s is None else min(int(limit_s), NO_LIMIT - 1)
        return (-(points + item.top * _TOP) << _POINT_SHIFT) + (item.id << _LIMIT_BITS) + limit

    @staticmethod
    def bucket_key(item: Item) -> BucketKey:
        """Which bucket an item belongs to, as its facts are now."""
        spec = item.spec
        array_id = item.id if isinstance(item, Array) else item.array_id
        limited = array_id if spec.array is not None else None
        return spec.resources, spec.user, spec.project, spec.group, limited

    def add(self, item: Item, accounts: tuple[Account, ...]) -> None:
        """Put an eligible item in; ``accounts`` are those that limit its bucket."""
        bucket_key, key = self.bucket_key(item), self.key_of(item)
        bucket = self.by_key.get(bucket_key)
        if bucket is not None:
            bucket.keys = grown(bucket.keys, key)
        else:
            self._serial += 1
            alike = self.classes.get(bucket_key[0])
            if alike is None:
                alike = self.classes[bucket_key[0]] = RequestClass(bucket_key[0])
            alike.buckets += 1
            bucket = Bucket(self._serial, bucket_key, alike, accounts, key)
            bucket.bonus = self._bonus(accounts)
            for account in accounts:
                self.by_account.setdefault(account.key, {})[bucket.serial] = None
            self.by_key[bucket_key] = self.buckets[bucket.serial] = bucket
        if bucket.parked_by is None and first(bucket.keys) == key:
            self._rank(bucket)

    def remove(self, item: Item) -> None:
        """Take an item out; its facts must be as they were when it was added."""
        bucket = self.by_key[self.bucket_key(item)]
        key = self.key_of(item)
        was_first = first(bucket.keys) == key
        left = shrunk(bucket.keys, key)
        if left is None:
            self._unrank(bucket)
            del self.by_key[bucket.key], self.buckets[bucket.serial]
            self.aside.pop(bucket.serial, None)
            bucket.alike.buckets -= 1
            if not bucket.alike.buckets:
                del self.classes[bucket.alike.request]
            for account in bucket.accounts:
                serials = self.by_account[account.key]
                del serials[bucket.serial]
                if not serials:
                    del self.by_account[account.key]
            return
        bucket.keys = left
        if was_first and bucket.parked_by is None:
            self._rank(bucket)

    def park(self, bucket: Bucket, account: Account) -> None:
        """Take a bucket out of the order until ``account`` has room again."""
        self._unrank(bucket)
        bucket.parked_by = account.key
        self.aside[bucket.serial] = None
        account.parked[bucket.serial] = None

    def unpark(self, account: Account) -> bool:
        """Put back what was parked for ``account``; whether there was anything."""
        serials, account.parked = account.parked, {}
        for serial in serials:
            bucket = self.buckets.get(serial)
            if bucket is not None and bucket.parked_by == account.key:
                bucket.parked_by = None
                del self.aside[serial]
                self._rank(bucket)
        return bool(serials)

    def set_bonus(self, key: AccountKey, bonus: int) -> None:
        """Change how far the items of a user or project are moved forward, bucket by bucket."""
        self.bonuses[key] = bonus
        self._stale.update(self.by_account.get(key, {}))

    def freshen(self, count: int) -> None:
        """Apply changed bonuses to at most ``count`` buckets."""
        for _ in range(min(count, len(self._stale))):
            serial, _ = self._stale.popitem(last=False)
            bucket = self.buckets.get(serial)
            if bucket is None:
                continue
            bucket.bonus = self._bonus(bucket.accounts)
            if bucket.parked_by is None:
                self._rank(bucket)

    def _bonus(self, accounts: tuple[Account, ...]) -> int:
        total = 0
        for account in accounts:
            bonus = self.bonuses.get(account.key)
            total += self._full.get(account.key[0], 0) if bonus is None else bonus
        return total

    def rank_of(self, item: Item) -> int:
        """The place of a queued item among all others; smaller comes first."""
        return rank_at(self.key_of(item), self.bucket_of(item).bonus)

    def rank_among(self, item: Item, accounts: tuple[Account, ...]) -> int:
        """The place that an item would have in the queue."""
        return rank_at(self.key_of(item), self._bonus(accounts))

    def bucket_of(self, item: Item) -> Bucket:
        """The bucket in which a queued item stands."""
        return self.by_key[self.bucket_key(item)]

    def position(self, item: Item) -> int:
        """How many queued items come before this one; costs one look at every bucket."""
        return sum(self.counting(item))

    def counting(self, item: Item) -> Iterator[int]:
        """How many items of each bucket come before this one; the queue may change meanwhile."""
        rank = self.rank_of(item)
        for bucket in list(self.buckets.values()):
            yield count_below(bucket.keys, rank_at(rank, -bucket.bonus))

    def __len__(self) -> int:
        return sum(size(bucket.keys) for bucket in self.buckets.values())

    # --- the order of buckets and classes -------------------------------------------------------

    def _rank(self, bucket: Bucket) -> None:
        rank, before = rank_at(first(bucket.keys), bucket.bonus), bucket.rank
        if rank == before:
            return
        ranks = bucket.alike.ranks
        best = ranks[0] if ranks else None
        if before is not None:
            del ranks[bisect_left(ranks, before)]
            del self.by_rank[before]
        insort(ranks, rank)
        bucket.rank = rank
        self.by_rank[rank] = bucket
        self._reorder(best, ranks[0])

    def _unrank(self, bucket: Bucket) -> None:
        if bucket.rank is None:
            return
        ranks = bucket.alike.ranks
        best = ranks[0]
        del ranks[bisect_left(ranks, bucket.rank)]
        del self.by_rank[bucket.rank]
        bucket.rank = None
        self._reorder(best, ranks[0] if ranks else None)

    def _reorder(self, before: int | None, after: int | None) -> None:
        if before == after:
            return
        if before is not None:
            del self.order[bisect_left(self.order, before)]
        if after is not None:
            insort(self.order, after)
