"""What a shim is told: the start message, unpacked."""

from __future__ import annotations

from gflow.launching.protocol import Message


class Order:
    """Everything that one attempt needs; fields as in ``gflow.model``'s Start and Spec."""

    __slots__ = (
        "args",
        "array_id",
        "attempt",
        "command",
        "cpu_ids",
        "cpus",
        "cwd",
        "env",
        "epilog",
        "error_path",
        "gid",
        "gpu_ids",
        "grace_period_s",
        "hook_timeout_s",
        "job_id",
        "linger",
        "max_output_bytes",
        "memory_bytes",
        "name",
        "nice",
        "open_mode",
        "output_path",
        "prolog",
        "pty",
        "record",
        "rlimits",
        "script",
        "spare",
        "task",
        "task_count",
        "task_max",
        "task_min",
        "uid",
        "umask",
        "unguarded",
        "user",
        "variables",
        "watchers",
    )

    def __init__(self, message: Message, blobs: list[bytes | None]) -> None:
        self.job_id: int = message["job_id"]
        self.attempt: int = message["attempt"]
        self.name: str = message["name"]
        self.user: str = message["user"]
        self.uid: int = message["uid"]
        self.gid: int = message["gid"]
        self.command: list[str] = message["command"]
        self.args: list[str] = message.get("args", [])
        self.cwd: str = message["cwd"]
        self.array_id: int | None = message.get("array_id")
        self.task: int | None = message.get("task")
        self.task_min: int | None = message.get("task_min")
        self.task_max: int | None = message.get("task_max")
        self.task_count: int | None = message.get("task_count")
        self.cpus: int = message.get("cpus", 1)
        self.memory_bytes: int = message.get("memory_bytes", 0)
        self.cpu_ids: list[int] = message.get("cpu_ids", [])
        self.gpu_ids: list[int] = message.get("gpu_ids", [])
        #: None: whatever the launcher has.
        self.umask: int | None = message.get("umask")
        self.nice: int | None = message.get("nice")
        self.rlimits: list[tuple[str, int, int]] = message.get("rlimits", [])
        self.output_path: str | None = message.get("output_path")
        self.error_path: str | None = message.get("error_path")
        self.open_mode: str = message.get("open_mode", "truncate")
        #: Of each file; 0: any amount.
        self.max_output_bytes: int = message.get("max_output_bytes", 0)
        self.grace_period_s: float = message["grace_period_s"]
        self.linger: bool = message.get("linger", False)
        #: The command gets a terminal; these users, beside its owner and root, may look at it.
        self.pty: bool = message.get("pty", False)
        self.watchers: list[str] = message.get("watchers", [])
        #: Programs of the administrator, run before the command and when nothing of it is left.
        self.prolog: str | None = message.get("prolog")
        self.epilog: str | None = message.get("epilog")
        self.hook_timeout_s: float = message.get("hook_timeout_s", 60.0)
        #: A line for the job's end needs no run file: the job ended while it waited.
        self.unguarded: bool = message.get("unguarded", False)
        #: A file that can become the run file; None: it is made.
        self.spare: str | None = None
        #: Further variables, stronger than the environment's.
        self.variables: dict[str, str] = message.get("variables", {})
        #: zlib-compressed JSON object of strings; None: a small default environment.
        self.env = blobs[0]
        #: zlib-compressed text; None: ``command`` is run.
        self.script = blobs[1]
        #: The job's record as JSON, kept in the run file.
        self.record = blobs[2]

    @property
    def title(self) -> str:
        """``job 42``, or ``job 7_3`` for a task."""
        if self.array_id is None:
            return f"job {self.job_id}"
        return f"job {self.array_id}_{self.task}"
