"""Equal parts of specs are kept once."""

from __future__ import annotations

from dataclasses import replace

from gflow.scheduling.sharing import Sharing
from tests.scheduling.stage import GB, Stage, capacity, spec


def _twice(text: str) -> str:
    """An equal string that is another object."""
    return "".join(list(text))


def test_equal_parts_of_two_jobs_are_one_object() -> None:
    """Users, folders, requests and words of commands, however they came in."""
    stage = Stage(capacity(cpus=8))
    ids = [
        stage.submit(
            replace(
                spec(user=_twice("somebody"), memory_bytes=3 * GB, time_limit_s=float("77")),
                cwd=_twice("/home/somebody"),
                command=(_twice("python"), _twice("train.py"), str(number)),
            )
        )
        for number in range(2)
    ]
    one, two = (stage.job(job_id).spec for job_id in ids)
    assert one.user is two.user and one.cwd is two.cwd and one.resources is two.resources
    assert one.time_limit_s is two.time_limit_s
    assert one.command != two.command and one.command[1] is two.command[1]


def test_what_is_shared_keeps_its_type() -> None:
    """1, 1.0 and True are equal and not the same."""
    sharing = Sharing()
    kinds = [type(sharing.one(value)) for value in (1, 1.0, True)]
    assert kinds == [int, float, bool]


def test_a_shared_spec_equals_what_it_was() -> None:
    """Sharing changes objects, not values."""
    sharing = Sharing()
    for name in "abc":
        before = spec(name, time_limit_s=60.0, group="g", project="p", request="key")
        after = replace(before)
        sharing.spec(after)
        assert after == before


def test_only_so_much_is_remembered() -> None:
    """A million different folders do not stay for ever."""
    sharing = Sharing()
    for number in range(10_000):
        sharing.one(f"/run/{number}")
    assert len(sharing._known[str]) <= 4096
