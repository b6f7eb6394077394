"""File systems and folders, from the text of a mount table."""

from __future__ import annotations

import pytest

from gflow.persistence import location

TABLE = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw,relatime shared:5 - nfs4 server:/export/home rw,vers=4.2
31 30 0:41 / /home/ada/scratch\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /mnt/one rw - ext4 /dev/sdc1 rw
33 22 0:43 / /mnt/one rw - fuse.sshfs user@host:/ rw
34 22 0:44 / /homestead rw - btrfs /dev/sdd1 rw
""".strip()
MOUNTS = location.parse_mounts(TABLE)


@pytest.mark.parametrize(
    ("path", "filesystem"),
    [
        ("/var/lib/gflow", "ext4"),
        ("/home/ada/.local/state/gflow", "nfs4"),
        ("/home/ada/scratch disk/gflow", "xfs"),
        ("/mnt/one/gflow", "fuse.sshfs"),
        ("/homestead", "btrfs"),
        ("/", "ext4"),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, filesystem: str) -> None:
    """The deepest mount above a path holds it; of two at one point, the later one."""
    mount = location.mount_of(path, MOUNTS)
    assert mount is not None and mount.filesystem == filesystem


def choose(preferred: str, **options: object) -> location.Choice:
    """Choose for uid 1000 on machine m1."""
    return location.choose(
        preferred,
        environment=options.pop("environment", {}),  # type: ignore[arg-type]
        uid=1000,
        machine="m1",
        mounts=MOUNTS,
        insist=bool(options.pop("insist", False)),
    )


def test_a_local_folder_is_taken_as_it_is() -> None:
    """On a local file system nothing is moved."""
    assert choose("/var/lib/gflow") == ("/var/lib/gflow", "ext4", False, None)


def test_a_network_home_is_avoided() -> None:
    """The state goes to a local folder, and the choice says why."""
    chosen = choose("/home/ada/.local/state/gflow")
    assert chosen.path == "/var/tmp/gflow-1000"
    assert chosen.reason is not None and "nfs4" in chosen.reason


def test_the_local_state_home_comes_first() -> None:
    """XDG_STATE_HOME is used when it is local, with a folder for this machine."""
    chosen = choose(
        "/home/ada/.local/state/gflow",
        environment={"XDG_STATE_HOME": "/home/ada/scratch disk"},
    )
    assert chosen.path == "/home/ada/scratch disk/gflow/m1"


def test_a_state_home_on_the_network_is_skipped() -> None:
    """XDG_STATE_HOME on NFS does not help."""
    chosen = choose("/home/ada/x", environment={"XDG_STATE_HOME": "/home/ada/state"})
    assert chosen.path == "/var/tmp/gflow-1000"


def test_insisting_keeps_the_network_folder() -> None:
    """Who insists gets the folder, marked as on the network."""
    chosen = choose("/home/ada/x", insist=True)
    assert (chosen.path, chosen.network) == ("/home/ada/x", True)


def test_damaged_lines_are_skipped() -> None:
    """A line that is no mount is left out."""
    assert location.parse_mounts("garbage\n1 2 3 - ext4") == []


def test_this_machine_has_a_file_system() -> None:
    """The real table is understood."""
    assert location.filesystem_of("/proc") == "proc"
