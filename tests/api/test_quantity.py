from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.api import quantity
from gflow.api.quantity import GrammarError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("1:2:3", 3723),
        ("1-2", 93600),
        ("1-2:3", 93780),
        ("1-2:3:4", 93784),
        ("90s", 90),
        ("2h", 7200),
        ("1d12h", 129600),
        ("1.5h", 5400),
        ("0", 0),
        ("UNLIMITED", None),
    ],
)
def test_durations_are_slurms(text: str, seconds: float | None) -> None:
    """sbatch(1)'s forms, and numbers with units, mean these seconds."""
    assert quantity.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1e3", "x", "1:2:3:4", "१", "1 h", "9" * 50, "1--2"])
def test_other_durations_are_refused(text: str) -> None:
    """What is no duration is an error that quotes it."""
    with pytest.raises(GrammarError, match="time"):
        quantity.parse_duration(text)


@given(st.integers(0, 10**9))
def test_shown_durations_mean_what_they_show(seconds: int) -> None:
    """What format_duration writes, parse_duration reads, where Slurm's grammar has the form."""
    shown = quantity.format_duration(seconds)
    assert quantity.parse_duration(shown) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500 << 20), ("500M", 500 << 20), ("20g", 20 << 30), ("1.5GiB", 3 << 29), ("0", 0)],
)
def test_sizes(text: str, size: int) -> None:
    """Units are powers of 1024; a bare number is megabytes."""
    assert quantity.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1e3", "G", "99999999T", "1 2", "٣"])
def test_other_sizes_are_refused(text: str) -> None:
    """Negative, huge and strange sizes are errors."""
    with pytest.raises(GrammarError, match="size"):
        quantity.parse_size(text)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (1023, "1023B"), (1536, "1.5K"), (10 << 30, "10G"), (1 << 20, "1M"), (None, "-")],
)
def test_shown_sizes_are_short(size: int | None, shown: str) -> None:
    """Three digits and a unit."""
    assert quantity.format_size(size) == shown


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("sigusr1", 10), ("9", 9), ("64", 64)])
def test_signals(text: str, number: int) -> None:
    """Signals go by name, with or without SIG, or by number."""
    assert quantity.parse_signal(text) == number


@pytest.mark.parametrize("text", ["0", "65", "-9", "FOO", "", "SIG_IGN", "1e1"])
def test_other_signals_are_refused(text: str) -> None:
    """Numbers out of range and unknown names are errors."""
    with pytest.raises(GrammarError, match="signal"):
        quantity.parse_signal(text)


def test_rlimits() -> None:
    """Soft and hard, with units and without end."""
    assert quantity.parse_rlimit("nofile=1024") == ("NOFILE", 1024, 1024)
    assert quantity.parse_rlimit("RLIMIT_AS=1G:unlimited") == ("AS", 1 << 30, -1)


@pytest.mark.parametrize("text", ["x=1", "nofile", "nofile=", "nofile=5:3", "nofile=-5", "as=9e9"])
def test_other_rlimits_are_refused(text: str) -> None:
    """Unknown names, missing values and a soft value above the hard one are errors."""
    with pytest.raises(GrammarError, match="limit"):
        quantity.parse_rlimit(text)


def test_counters() -> None:
    """Names with counts; a bare name counts one."""
    assert quantity.parse_counts("license:2,disk,a=3") == {"license": 2, "disk": 1, "a": 3}


@given(st.text(max_size=80))
def test_quoted_text_is_one_printable_line(text: str) -> None:
    """Whatever a user wrote, a message that quotes it stays one printable line."""
    assert quantity.quoted(text).isprintable()


@given(st.text(max_size=30))
def test_parsers_raise_nothing_but_grammar_errors(text: str) -> None:
    """Any text at all is parsed or is a GrammarError."""
    for parse in (
        quantity.parse_duration,
        quantity.parse_size,
        quantity.parse_signal,
        quantity.parse_rlimit,
        quantity.parse_counts,
    ):
        try:
            parse(text)
        except GrammarError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("USR1", (10, 60.0, True)),
        ("USR1@300", (10, 300.0, True)),
        ("B:sigusr1@5m", (10, 300.0, False)),
        ("b:15@0", (15, 0.0, False)),
    ],
)
def test_warnings(text: str, meant: tuple[int, float, bool]) -> None:
    """As sbatch writes them: seconds, 60 of them when nothing is said; B: is the command alone."""
    assert tuple(quantity.parse_warning(text).values()) == meant


@pytest.mark.parametrize("text", ["", "B:", "@60", "USR1@", "USR1@-1", "NOPE", "65", "USR1@none"])
def test_wrong_warnings(text: str) -> None:
    """Refused with what was written."""
    with pytest.raises(GrammarError):
        quantity.parse_warning(text)
