"""The environment of a job: the submitter's, and what gflow says about the allocation."""

from __future__ import annotations

import os
import zlib

from gflow.launching import notice, privilege, protocol, tree
from gflow.launching.order import Order

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
#: Of a terminal whose submitter had none; what nearly all of them understand.
_TERM = "xterm-256color"
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG")


def build(order: Order, mark: str, reason_path: str, *, changes_user: bool) -> dict[str, str]:
    """All variables of the command: the submitter's, weaker than those about the allocation."""
    return {
        **submitters(order, changes_user=changes_user),
        notice.VARIABLE: reason_path,
        tree.MARK: mark,
    }


def submitters(order: Order, *, changes_user: bool) -> dict[str, str]:
    """The same without what the attempt alone has, for what is no part of it.

    Without any of the submitter's own, those of a login: of his (``changes_user``) or of ours.
    """
    if order.env is None:
        environment = {"PATH": _DEFAULT_PATH}
        environment |= {name: os.environ[name] for name in _KEPT if name in os.environ}
        if changes_user:
            environment |= privilege.home_variables(order.user, order.uid)
    else:
        environment = protocol.decode(zlib.decompress(order.env))
    if order.pty:
        environment.setdefault("TERM", _TERM)
    environment |= allocation(order)
    environment |= order.variables
    return environment


def allocation(order: Order) -> dict[str, str]:
    """What gflow says about the job and what it was given."""
    variables = {
        "GFLOW_JOB_ID": str(order.job_id),
        "GFLOW_JOB_NAME": order.name,
        "GFLOW_ATTEMPT": str(order.attempt),
        "GFLOW_CPUS": str(order.cpus),
        "GFLOW_CPU_IDS": ",".join(map(str, order.cpu_ids)),
        "GFLOW_MEMORY_BYTES": str(order.memory_bytes),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, order.gpu_ids)),
    }
    if order.array_id is not None:
        variables["GFLOW_ARRAY_JOB_ID"] = str(order.array_id)
        for name, value in (
            ("ID", order.task),
            ("MIN", order.task_min),
            ("MAX", order.task_max),
            ("COUNT", order.task_count),
        ):
            if value is not None:
                variables[f"GFLOW_ARRAY_TASK_{name}"] = str(value)
    return variables
