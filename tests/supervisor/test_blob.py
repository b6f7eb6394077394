"""Blobs are held as long as somebody names them."""

from __future__ import annotations

import pytest

from gflow.errors import Refused
from gflow.supervisor.blob import Blobs


def test_equal_blobs_are_held_once() -> None:
    """Two jobs with one environment hold it once; only the first claim must be saved."""
    blobs = Blobs(1000)
    assert blobs.claim(1, ["e"], {"e": b"x" * 10}) == ["e"]
    assert blobs.claim(2, ["e"], {"e": b"x" * 10}) == []
    assert blobs.total_bytes == 10


def test_last_release_drops_the_data() -> None:
    """What nobody names any more leaves memory."""
    blobs = Blobs(1000)
    blobs.claim(1, ["e"], {"e": b"x"})
    blobs.claim(2, ["e"], {})
    blobs.release(1)
    assert blobs.get("e") == b"x"
    blobs.release(2)
    assert blobs.get("e") is None
    assert blobs.total_bytes == 0


def test_claim_and_release_are_idempotent() -> None:
    """A second claim of the same job counts nothing, a second release takes nothing."""
    blobs = Blobs(1000)
    blobs.claim(1, ["e"], {"e": b"x"})
    blobs.claim(1, ["e"], {"e": b"x"})
    blobs.release(1)
    blobs.release(1)
    assert blobs.total_bytes == 0


def test_one_job_may_name_a_blob_twice() -> None:
    """Script and environment may be the same bytes."""
    blobs = Blobs(1000)
    assert blobs.claim(1, ["e", "e"], {"e": b"x"}) == ["e"]
    blobs.release(1)
    assert blobs.total_bytes == 0


def test_over_the_limit_is_refused() -> None:
    """New data past the limit is refused as temporary, data held already is not counted again."""
    blobs = Blobs(10)
    blobs.claim(1, ["e"], {"e": b"x" * 8})
    blobs.check({"e": b"x" * 8})
    with pytest.raises(Refused) as caught:
        blobs.check({"f": b"x" * 3})
    assert caught.value.kind == Refused.UNAVAILABLE


def test_more_is_held_for_a_job() -> None:
    """Beside what it held before, until it ends; also for one that held nothing."""
    blobs = Blobs(1000)
    blobs.claim(1, ["e"], {"e": b"x"})
    assert blobs.add(1, {"s": b"yy"}) == ["s"]
    assert blobs.add(1, {"s": b"yy"}) == []
    assert blobs.add(2, {"s": b"yy"}) == []
    blobs.release(1)
    assert blobs.names() == ["s"]
    blobs.release(2)
    assert blobs.total_bytes == 0
