"""How sweeps are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.api import sweep
from gflow.api.operations import Peer
from gflow.api.quantity import GrammarError
from gflow.api.specification import Parser
from gflow.errors import Refused
from gflow.model.job import ArraySpec, Spec


def parse(**raw: object) -> Spec:
    """The spec of a command with these fields."""
    return Parser(Peer(1, 1, 1, "me")).parse({"command": ["true"], **raw}).spec


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr=0.1,0.01", ["0.1", "0.01"]),
        ("n=1..5", ["1", "2", "3", "4", "5"]),
        ("n=1..10..4", ["1", "5", "9"]),
        ("n=5..1..-2", ["5", "3", "1"]),
        ("p=0.1..0.3..0.1", ["0.1", "0.2", "0.3"]),
        ("n=08..11", ["08", "09", "10", "11"]),
        ("n=1..2,7", ["1", "2", "7"]),
        ('s="a,b",c', ["a,b", "c"]),
        ("s=a=b", ["a=b"]),
    ],
)
def test_values(text: str, values: list[str]) -> None:
    """Lists, ranges with steps, and values in quotes."""
    assert list(*sweep.parse_param(text).values()) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr", "lr=0.1,0.01"),
        ("lr=", "empty value"),
        ("lr=1,,2", "empty value"),
        ("learning rate=1", "learning_rate"),
        ("n=5..1", "1..5"),
        ("n=1..5..0", "step of 0"),
        ("n=1..99999999", "more than"),
    ],
)
def test_malformed_parameters(text: str, words: str) -> None:
    """The sentence names the part and the nearest valid form."""
    with pytest.raises(GrammarError) as refused:
        sweep.parse_param(text)
    assert words in str(refused.value)


def test_a_table() -> None:
    """The first line names the columns; quotes, blank lines and a byte order mark are fine."""
    text = '\ufefflr, name\n0.1,"a,b"\n\n0.2,c\n'
    assert sweep.parse_table(text, "t.csv") == {"lr": ["0.1", "0.2"], "name": ["a,b", "c"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a,b\n", "no line of values"),
        ("a,b\n1\n", "line 2"),
        ("a,a\n1,2\n", "two columns"),
        ("a,\n1,2\n", "no parameter"),
    ],
)
def test_malformed_tables(text: str, words: str) -> None:
    """The file and the line are named."""
    with pytest.raises(GrammarError) as refused:
        sweep.parse_table(text, "t.csv")
    assert words in str(refused.value) and "'t.csv'" in str(refused.value)


@given(st.text(max_size=30))
def test_nothing_but_grammar_errors(text: str) -> None:
    """Any text at all is parsed or is a GrammarError."""
    for parse_one in (sweep.parse_param, lambda text: sweep.parse_table(text, "t.csv")):
        try:
            parse_one(text)
        except GrammarError as error:
            assert str(error).isprintable()


def test_a_sweep_is_an_array() -> None:
    """One task for each combination, numbered from 1; an object is a product of its names."""
    spec = parse(sweep={"lr": ["0.1", 0.01], "seed": [1, 2, 3]}, array_limit=2)
    assert spec.array == ArraySpec(((1, 6, 1),), 2)
    assert spec.sweep[0] == (("lr",), (("0.1",), ("0.01",)))
    assert parse(sweep=[{"a": ["1", "2"], "b": ["x", "y"]}]).array == ArraySpec(((1, 2, 1),))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"sweep": []}, "list of tables"),
        ({"sweep": {"lr": []}}, "list of values"),
        ({"sweep": {"lr": [None]}}, "strings or numbers"),
        ({"sweep": [{"a": ["1"], "b": ["1", "2"]}]}, "different lengths"),
        ({"sweep": [{"a": ["1"]}, {"a": ["2"]}]}, "given twice"),
        ({"sweep": {"lr": ["1"], "LR": ["2"]}}, "GFLOW_PARAM_LR"),
        ({"sweep": {"l r": ["1"]}}, "l_r"),
        ({"sweep": {"a": ["1", "2"]}, "array": "1-3"}, "3 tasks"),
        ({"sweep": {"a": ["1"]}, "params": {"a": "1"}}, "params"),
        ({"sweep": {"a": ["x"] * 60_000}}, "more than 50000 values"),
        ({"array_limit": 2}, "belongs to an array"),
    ],
)
def test_bad_sweeps(raw: dict[str, object], words: str) -> None:
    """One sentence names the part that is wrong."""
    with pytest.raises(Refused) as refused:
        parse(**raw)
    assert words in str(refused.value)
