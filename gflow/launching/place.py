"""Where attempts leave their files, and which machine, boot and folder that is."""

from __future__ import annotations

import os

from gflow.launching import cgroup
from gflow.process import identity


class Place:
    """Paths and identity of one state folder on this boot of this machine."""

    __slots__ = (
        "boot_id",
        "folder",
        "groups",
        "limit_refusal",
        "logs",
        "machine_id",
        "reports",
        "runs",
        "spool",
        "state_dir",
    )

    def __init__(
        self, state_dir: str, spool_dir: str | None = None, cgroup_mode: str = "off"
    ) -> None:
        self.state_dir = state_dir
        self.runs = f"{state_dir}/runs"
        #: Scripts of running attempts. Elsewhere in system mode: their owners must get there.
        self.spool = spool_dir or f"{state_dir}/spool"
        self.logs = f"{state_dir}/logs"
        #: FIFO through which shims reach whichever launcher lives, where theirs is gone.
        self.reports = f"{self.runs}/.reports"
        self.machine_id = identity.machine_id()
        self.boot_id = identity.boot_id()
        status = os.stat(state_dir)
        #: A copy of the folder has another inode: run files in it are not about our processes.
        self.folder = f"{status.st_dev:x}:{status.st_ino:x}"
        name = f"gflow-{self.folder.replace(':', '-')}"
        #: Control groups of attempts; None: there are none.
        self.groups: cgroup.Groups | None
        #: Why they do not limit memory; None: they do.
        self.limit_refusal: str | None
        self.groups, self.limit_refusal = cgroup.find(name, cgroup_mode)

    def prepare(self) -> None:
        """Make the folders and the FIFO where they are missing, private to the owner.

        Others may pass through a spool folder outside of the state folder, and not look around.
        """
        for path in (self.runs, self.spool, self.logs):
            os.makedirs(path, mode=0o700, exist_ok=True)
        if not self.spool.startswith(f"{self.state_dir}/"):
            os.chmod(self.spool, 0o711)
        try:
            os.mkfifo(self.reports, 0o600)
        except FileExistsError:
            pass

    def run_path(self, job_id: int, attempt: int) -> str:
        return f"{self.runs}/{job_id}.{attempt}"

    def spool_path(self, job_id: int, attempt: int) -> str:
        return f"{self.spool}/{job_id}.{attempt}"

    def reason_path(self, job_id: int, attempt: int) -> str:
        """See :mod:`gflow.launching.notice`."""
        return f"{self.spool}/{job_id}.{attempt}.reason"

    def terminal_path(self, job_id: int, attempt: int) -> str:
        """The socket of its terminal, where its submitter gets to."""
        folder = self.runs if self.spool.startswith(f"{self.state_dir}/") else self.spool
        return terminal_path(folder, job_id, attempt)

    def group(self, job_id: int, attempt: int) -> cgroup.Group | None:
        return self.groups.of(job_id, attempt) if self.groups else None

    def mark(self, job_id: int, attempt: int) -> str:
        """What every process of an attempt carries in its environment as GFLOW_ATTEMPT_ID."""
        return f"{self.folder}:{job_id}.{attempt}"


def terminal_path(folder: str, job_id: int, attempt: int) -> str:
    """The socket of an attempt's terminal in a folder: of run files, or the spool of others."""
    return f"{folder}/{job_id}.{attempt}.tty"


def remove(path: str) -> None:
    """Delete a file that may be gone already."""
    try:
        os.unlink(path)
    except OSError:
        pass
