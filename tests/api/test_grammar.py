from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.api import grammar
from gflow.api.quantity import GrammarError


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("7", ["7"]),
        ("3-5", ["3", "4", "5"]),
        ("4,6", ["4", "6"]),
        ("7_3", ["7_3"]),
        ("7_1-3", ["7_1", "7_2", "7_3"]),
        ("@,@~1", ["@", "@~1"]),
        ("7_[1-3%2],9", ["7_1", "7_2", "7_3", "9"]),
        ("7_[1,5-9:2],8_2", ["7_1", "7_5", "7_7", "7_9", "8_2"]),
    ],
)
def test_lists_of_jobs(text: str, jobs: list[str]) -> None:
    """Ids, ranges, tasks and @ are taken apart."""
    assert grammar.parse_references(text) == jobs


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        str(2**63),
        "1e3",
        "0x1",
        " 1",
        "\uff11",
        "",
        "9-3",
        "7_",
        "_7",
        "@~",
        "1,,2",
        "1-",
        "[1]",
        "7_[",
        "7_[]",
        "7[1]",
    ],
)
def test_other_ids_are_refused(text: str) -> None:
    """Zero, negative, huge, blank, foreign digits: each is a clean error."""
    with pytest.raises(GrammarError):
        grammar.parse_references(text)


def test_a_long_range_is_refused_at_once() -> None:
    """A range never becomes a list that fills the memory."""
    with pytest.raises(GrammarError, match="more than"):
        grammar.parse_references("1-9999999999999")


@pytest.mark.parametrize(
    ("text", "ranges", "limit"),
    [
        ("1-100%4", [(1, 100, 1)], 4),
        ("0", [(0, 0, 1)], None),
        ("5,1,3", [(1, 1, 1), (3, 3, 1), (5, 5, 1)], None),
        ("1-10:2", [(1, 9, 2)], None),
        ("1-9:2,2-10:2", [(1, 10, 1)], None),
        ("1-5,3-8", [(1, 8, 1)], None),
    ],
)
def test_arrays(text: str, ranges: list[tuple[int, int, int]], limit: int | None) -> None:
    """Lists, steps and a limit; overlapping ranges are merged, each task stands once."""
    assert grammar.parse_array(text) == (ranges, limit)


@pytest.mark.parametrize("text", ["", "x", "5-1", "1-9%0", "1-9%x", "1-9:0", "0-9999999999", "-1"])
def test_other_arrays_are_refused(text: str) -> None:
    """Empty arrays, backward ranges, a limit or step of zero, huge numbers are errors."""
    with pytest.raises(GrammarError):
        grammar.parse_array(text)


@given(st.sets(st.integers(0, 300), min_size=1, max_size=40), st.none() | st.integers(1, 9))
def test_arrays_survive_formatting(tasks: set[int], limit: int | None) -> None:
    """format_array writes what parse_array reads as the same tasks."""
    text = ",".join(map(str, sorted(tasks, reverse=True)))
    ranges, _ = grammar.parse_array(text)
    again, found_limit = grammar.parse_array(grammar.format_array(ranges, limit))
    assert {t for a, b, s in again for t in range(a, b + 1, s)} == tasks
    assert found_limit == limit


def test_dependencies_of_all() -> None:
    """Commas mean that every condition must come true."""
    assert grammar.parse_dependencies("afterok:1:2-3,afterany:4_5,singleton") == (
        "all",
        [("afterok", ["1", "2", "3"], 0.0), ("afterany", ["4_5"], 0.0), ("singleton", [], 0.0)],
    )


def test_dependencies_of_any() -> None:
    """Question marks mean that one of the conditions is enough."""
    assert grammar.parse_dependencies("afterok:1?afternotok:2")[0] == "any"


def test_a_bare_job_is_afterok() -> None:
    """``-d @`` is the short way to say: after my last job succeeded."""
    assert grammar.parse_dependencies("@,7") == (
        "all",
        [("afterok", ["@"], 0.0), ("afterok", ["7"], 0.0)],
    )


def test_a_delay_counts_in_minutes() -> None:
    """after:7+10 is ten minutes after job 7 began."""
    assert grammar.parse_dependencies("after:7+10") == ("all", [("after", ["7"], 600.0)])


@pytest.mark.parametrize(
    "text", ["", "foo:1", "afterok", "afterok:", "afterok:x", "afterok:1+5", "a?b,c", "singleton:1"]
)
def test_other_dependencies_are_refused(text: str) -> None:
    """Unknown types, missing jobs and mixtures of all and any are errors."""
    with pytest.raises(GrammarError):
        grammar.parse_dependencies(text)


@given(st.text(alphabet="0123456789-_,:%@~?+afterok ", max_size=30))
def test_parsers_raise_nothing_but_grammar_errors(text: str) -> None:
    """Any text at all is parsed or is a GrammarError."""
    for parse in (
        grammar.parse_references,
        grammar.parse_array,
        grammar.parse_dependencies,
        grammar.parse_retry,
        grammar.parse_group,
        grammar.parse_cards,
    ):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("any:2", ("any", 2, {})),
        ("oom", ("oom", 1, {})),
        ("oom:2,memory*1.5", ("oom", 2, {"memory": 1.5})),
        ("timeout:1,time*2,gpu-memory*1.1", ("timeout", 1, {"time": 2.0, "gpu_memory": 1.1})),
        ("exit=75:5", ("exit=75", 5, {})),
        ("signal=SEGV:1", ("signal=11", 1, {})),
    ],
)
def test_retries_by_cause(text: str, rule: tuple[str, int, dict[str, float]]) -> None:
    """Cause, number of times, and what the next attempt gets more of."""
    assert grammar.parse_retry(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("oon:2", "did you mean oom?"),
        ("any:0", "any:2"),
        ("any:x", "number of times"),
        ("exit=0:1", "1 to 255"),
        ("exit:1", "exit=N"),
        ("signal=NOPE:1", "NOPE"),
        ("oom:2,memroy*1.5", "did you mean memory*2?"),
        ("oom:2,memory*0", "0.01 to 100"),
        ("oom:2,memory", "memory*1.5"),
        ("oom:2,memory*2,memory*3", "twice"),
    ],
)
def test_other_retries_are_refused(text: str, words: str) -> None:
    """The sentence names the part and the nearest valid form."""
    with pytest.raises(GrammarError) as refusal:
        grammar.parse_retry(text)
    assert words in str(refusal.value)


def test_groups_with_their_limit() -> None:
    """NAME alone leaves the limit as it is."""
    assert grammar.parse_group("g") == ("g", None)
    assert grammar.parse_group("g%4") == ("g", 4)
    for text in ("", "%4", "g%", "g%x", "g%0"):
        with pytest.raises(GrammarError):
            grammar.parse_group(text)


def test_cards_by_index() -> None:
    """Lists and ranges, each card once."""
    assert grammar.parse_cards("3,0-1,1") == [0, 1, 3]
    for text in ("", "a", "1-", "3-1", "2000", "0,,1"):
        with pytest.raises(GrammarError):
            grammar.parse_cards(text)
