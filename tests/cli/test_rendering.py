from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli import rendering
from gflow.cli.rendering import Column


@given(st.text(max_size=60))
def test_escaped_text_prints_on_one_line(text: str) -> None:
    """Whatever is in a name, it stays on its line and moves no cursor."""
    assert rendering.escape(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 🙂", "plain é 🙂"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\r", "a\\nb\\r"),
        ("\u202ertl", "\\u202ertl"),
        ("\x9b", "\\x9b"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    """Escapes, newlines, bidi marks and C1 controls are shown as such; letters stay."""
    assert rendering.escape(text) == shown


@given(st.text(max_size=40), st.integers(1, 30))
def test_cut_text_fits(text: str, width: int) -> None:
    """A cut text takes at most its cells."""
    assert rendering.text_width(rendering.cut(rendering.escape(text), width)) <= width


def lines(
    capsys: pytest.CaptureFixture[str], columns: list[Column], rows: list[list[str]]
) -> list[str]:
    rendering.print_table(columns, rows)
    return capsys.readouterr().out.splitlines()


def test_tables_fit_the_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that may be cut make room; wide letters count twice."""
    monkeypatch.setenv("COLUMNS", "40")
    columns = [Column("ID"), Column("NAME", shrinks=True), Column("N", right=True)]
    shown = lines(capsys, columns, [["1", "x" * 90, "5"], ["22", "漢" * 50, "100"]])
    assert all(rendering.text_width(line) <= 40 for line in shown)
    assert len({rendering.text_width(line) for line in shown[1:]}) == 1


def test_a_name_with_newlines_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per job, whatever it is called."""
    assert len(lines(capsys, [Column("NAME", shrinks=True)], [["a\nb\nc"], ["d"]])) == 3


def test_a_pipe_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    """Styles are for terminals."""
    rendering.print_table([Column("ST")], [["R"]], styles=["state"])
    assert "\x1b" not in capsys.readouterr().out


def test_colours_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets them, and NO_COLOR takes them away."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    rendering.print_table([Column("ST")], [["R"]], styles=["state"])
    assert "\x1b[32mR" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    rendering.print_table([Column("ST")], [["R"]], styles=["state"])
    assert "\x1b" not in capsys.readouterr().out
