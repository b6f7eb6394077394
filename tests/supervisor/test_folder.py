"""Folders are private, ours, and short enough for a socket."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gflow.errors import ConfigError
from gflow.supervisor import folder
from gflow.supervisor.folder import Folders, prepare


def folders(state: Path, runtime: Path) -> Folders:
    """Both folders as a user asks for them."""
    return prepare(str(state), str(runtime), system=False, insist_on_network=False)


def mode(path: str) -> int:
    """Permission bits."""
    return stat.S_IMODE(os.stat(path).st_mode)


def test_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """0700, also when the folder was there with more."""
    (tmp_path / "state").mkdir(mode=0o777)
    before = os.umask(0)
    try:
        made = folders(tmp_path / "state", tmp_path / "run")
    finally:
        os.umask(before)
    assert (mode(made.state), mode(made.runtime)) == (0o700, 0o700)


def test_new_state_folder_is_told_apart(tmp_path: Path) -> None:
    """A folder that was there before may be an unmounted disk; a new one is not."""
    assert folders(tmp_path / "state", tmp_path / "run").new
    assert not folders(tmp_path / "state", tmp_path / "run").new


def test_long_runtime_folder_falls_back(tmp_path: Path) -> None:
    """A socket path over 107 bytes cannot be bound, so the folder in /tmp is used."""
    made = folders(tmp_path / "state", tmp_path / ("x" * 100) / "run")
    assert made.runtime == f"/tmp/gflow-{os.getuid()}"


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    """Somebody else's link must not lead us."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="no folder"):
        folders(tmp_path / "state", tmp_path / "run")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A folder that was made by another user before us is not used."""
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to uid 12345"):
        folders(tmp_path / "state", tmp_path / "run")


def test_unusable_path_is_one_sentence(tmp_path: Path) -> None:
    """A file in the way is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        folders(tmp_path / "file" / "state", tmp_path / "run")


def test_a_folder_in_tmp_that_others_can_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it may be anybody's."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setattr(folder, "_fallback", lambda: str(shared))
    with pytest.raises(ConfigError, match="others can write to it"):
        folders(tmp_path / "state", shared)
