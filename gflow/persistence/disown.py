"""Jobs of a copied store: the processes that they name belong to the folder it was copied from."""

from __future__ import annotations

from gflow.model.state import ACTIVE
from gflow.persistence import codec
from gflow.persistence.codec import DamagedRecord, Item
from gflow.persistence.store import Store

#: Above PID_MAX_LIMIT (proc_sys_kernel(5), pid_max): no process has it, and no call takes it amiss.
NO_PID = (1 << 22) + 1
_NOBODY = {"boot_id": "", "pid": NO_PID, "start_ticks": 0}


def disown(store: Store) -> int:
    """Let active jobs name processes that nobody can be, in the open transaction.

    So their attempts count as lost, unless a run file of this folder says otherwise, and nobody
    signals the originals. Returns how many there were.
    """
    rows = store.connection.execute("SELECT id, crc, record FROM live WHERE kind = 'job'")
    items = []
    for id, crc, payload in rows.fetchall():
        item = Item(("job", id), crc, payload)
        try:
            codec.verify(item)
            record = codec.decode(item)
        except DamagedRecord:
            continue  # set aside when it is loaded
        if isinstance(record, dict) and record.get("state") in ACTIVE:
            items.append(codec.encode(item.key, {**record, "shim": _NOBODY, "process": _NOBODY}))
    store.apply(items)
    return len(items)
