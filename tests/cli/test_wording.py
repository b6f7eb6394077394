from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from gflow.cli import wording
from gflow.cli.command import Failure


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to name files in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_are_a_command() -> None:
    """Words that name no file are argument and arguments."""
    assert wording.interpret(["python", "-c", "1 + 1"]) == {"command": ["python", "-c", "1 + 1"]}


def test_after_two_dashes_it_is_always_a_command(folder: Path) -> None:
    """-- ends every guess: a file of that name does not matter."""
    (folder / "job.sh").write_text("echo")
    assert wording.interpret(["--", "job.sh", "--x"]) == {"command": ["job.sh", "--x"]}
    assert wording.interpret(["--", "a b"]) == {"command": ["a b"]}


def test_a_text_file_is_a_script(folder: Path) -> None:
    """It is captured now; what follows are its arguments."""
    (folder / "job.sh").write_text("#!/bin/sh\necho $1\n")
    assert wording.interpret(["job.sh", "-n", "x"]) == {
        "script": "#!/bin/sh\necho $1\n",
        "args": ["-n", "x"],
        "name": "job.sh",
    }


def test_a_binary_is_a_command(folder: Path) -> None:
    """A file that is no text is run where it is."""
    (folder / "prog").write_bytes(b"\x7fELF\0\0")
    assert wording.interpret(["./prog", "x"]) == {"command": [str(folder / "prog"), "x"]}


def test_a_path_must_exist() -> None:
    """A first word with a slash that names nothing is refused."""
    with pytest.raises(Failure, match="no such file") as caught:
        wording.interpret(["./jbo.sh"])
    assert caught.value.code == 1


@pytest.mark.parametrize("line", ["make && make test", "echo $HOME", "sleep 5", "a;b", "x=1"])
def test_one_word_with_shell_characters_is_a_line(line: str) -> None:
    """A quoted line runs in bash."""
    assert wording.interpret([line]) == {"command": ["bash", "-c", line]}


def test_a_file_with_blanks_in_its_name_is_a_script(folder: Path) -> None:
    """A file that is there wins over the shell."""
    (folder / "my job.sh").write_text("true")
    assert wording.interpret(["my job.sh"])["script"] == "true"


def test_a_folder_or_fifo_is_not_read(folder: Path) -> None:
    """What is no regular file is never opened for reading to its end."""
    os.mkfifo(folder / "pipe")
    (folder / "dir").mkdir()
    assert wording.interpret(["pipe"]) == {"command": ["pipe"]}
    assert wording.interpret(["dir"]) == {"command": ["dir"]}


def test_standard_input_is_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """- reads it."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"echo hi\n")))
    assert wording.interpret(["-", "a"]) == {"script": "echo hi\n", "args": ["a"], "name": "stdin"}


@pytest.mark.parametrize("data", [b"", b" \n", b"\0", b"\xff\xfe"])
def test_standard_input_must_hold_a_script(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, blanks and bytes that are no text are refused."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(Failure):
        wording.interpret(["-"])


@pytest.mark.parametrize("words", [[], ["--"]])
def test_nothing_is_a_usage_error(words: list[str]) -> None:
    """No words: exit 2."""
    with pytest.raises(Failure) as caught:
        wording.interpret(words)
    assert caught.value.code == 2


def test_text_in_another_encoding_is_no_script(folder: Path) -> None:
    """JSON could not carry it: it is refused, or run in place where it may be executed."""
    script = folder / "job.sh"
    script.write_bytes(b"echo caf\xe9\n")
    for words in (["job.sh"], ["./job.sh"]):
        with pytest.raises(Failure, match="not UTF-8 text"):
            wording.interpret(words)
    script.chmod(0o700)
    assert wording.interpret(["./job.sh"]) == {"command": [str(script)]}
