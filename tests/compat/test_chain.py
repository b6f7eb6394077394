"""What a chain of a hundred thousand dependencies costs the commands: a look at each, no more."""

from __future__ import annotations

from gflow.cli.classic import redo, tree

_LONG = 100_000


def record(job_id: int, *parents: int) -> dict[str, object]:
    """As much of a job as a tree is made from."""
    return {"id": job_id, "dependencies": [{"jobs": [*parents]}] if parents else [], "labels": {}}


def test_the_tree_of_a_long_chain_is_not_wide() -> None:
    """One line per job, in their order, indented to a bound."""
    chain = [record(1), *(record(n, n - 1) for n in range(2, _LONG + 1))]
    lines = list(tree.branches(chain))
    assert [one.record and one.record["id"] for one in lines] == list(range(1, _LONG + 1))
    assert lines[3].prefix == "    ╰─"
    assert max(len(one.prefix) for one in lines) < 200


def test_all_that_was_lost_in_a_long_chain_is_found() -> None:
    """And nothing that was lost to another job."""
    culprits = {n: n - 1 for n in range(2, _LONG + 1)} | {_LONG + 2: _LONG + 1}
    assert redo.behind(culprits, 1) == list(range(2, _LONG + 1))


def test_who_is_lost_to_each_other_is_found_once() -> None:
    """Records that name each other, as an update may have left them, end the search."""
    assert redo.behind({2: 3, 3: 2, 4: 3}, 2) == [3, 4]
