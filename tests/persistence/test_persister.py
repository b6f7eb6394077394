"""The real process at the end of a real pipe."""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import pytest

from gflow.model.record import Key, Record
from gflow.persistence import message, persister
from tests.persistence.harness import Supervisor, job


def test_a_durable_record_is_there_after_kill_9(supervisor: Supervisor, state_dir: str) -> None:
    """What was acknowledged is loaded again although the persister was killed at once."""
    supervisor.save({("job", 7): job(7)})
    supervisor.kill()
    rows, info = Supervisor(state_dir).loaded()
    assert rows[("job", 7)] == job(7)
    assert info["clean_shutdown"] is False


def test_opening_tells_that_it_goes_on(state_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a large store knows that somebody is at it, and at what."""
    monkeypatch.setattr(persister, "_BUSY_S", -1.0)
    supervisor = Supervisor(state_dir)
    assert supervisor.expect(message.Busy).what == "opening the store"
    supervisor.expect(message.Loaded)


def test_an_orderly_end_is_remembered(supervisor: Supervisor, state_dir: str) -> None:
    """After the sentinel the process exits 0 and the next start sees a clean shutdown."""
    supervisor.save({("job", 1): job(1)})
    assert supervisor.stop() == 0
    _, info = Supervisor(state_dir).loaded()
    assert info["clean_shutdown"] is True
    assert info["warnings"] == []


def test_the_end_of_the_supervisor_ends_the_persister(supervisor: Supervisor) -> None:
    """EOF on the pipe ends the process, with nothing left to do for anybody."""
    assert supervisor.leave() == 0


def test_an_ended_job_moves_to_history(supervisor: Supervisor, state_dir: str) -> None:
    """A final record leaves the live table and is found by a history query."""
    supervisor.save({("job", 3): job(3)})
    supervisor.save({("job", 3): job(3, "COMPLETED")})
    answer = supervisor.ask("history", users=["ada"])
    assert [key for key, _ in answer.records] == [("job", 3)]
    supervisor.stop()
    rows, _ = Supervisor(state_dir, keep_finished_s=-1e12).loaded()
    assert ("job", 3) not in rows


def test_a_request_of_many_frames_is_one_transaction(
    supervisor: Supervisor, state_dir: str
) -> None:
    """A list that was not sent to its end before the persister died is absent altogether."""
    records: dict[Key, Record] = {("job", id): job(id) for id in range(1, 1001)}
    supervisor.put(records, atomic=True)
    supervisor.pump_until(lambda: supervisor.link.seq_sent >= 3)
    supervisor.kill()
    rows, _ = Supervisor(state_dir).loaded()
    assert not [key for key in rows if key[0] == "job"]


def test_a_list_is_saved_by_the_replacement(supervisor: Supervisor, state_dir: str) -> None:
    """A death in the middle of a list costs nothing: the replacement gets all of it."""
    records: dict[Key, Record] = {("job", id): job(id) for id in range(1, 1001)}
    position = supervisor.put(records, atomic=True)
    supervisor.pump_until(lambda: supervisor.link.seq_sent >= 3)
    supervisor.kill()
    supervisor.replace()
    supervisor.pump_until(lambda: supervisor.link.durable >= position)
    supervisor.stop()
    rows, _ = Supervisor(state_dir).loaded()
    assert {key: record for key, record in rows.items() if key[0] == "job"} == records


def test_a_question_of_a_dead_persister_is_answered_with_an_error(supervisor: Supervisor) -> None:
    """Nobody waits for ever: open questions fail when the process dies."""
    id = supervisor.link.query("history", {})
    supervisor.kill()
    failed = supervisor.messages.pop()
    assert isinstance(failed, message.Answer)
    assert failed.id == id and failed.error is not None


def test_transitions_of_one_job_come_in_order(supervisor: Supervisor) -> None:
    """Every transition is kept under its own number and listed in order."""
    transitions: dict[Key, Record] = {
        ("transition", 5, n): {"n": n, "to": "RUNNING"} for n in (0, 2, 1)
    }
    supervisor.save({("job", 5): job(5), ("transition", 6, 0): {"n": 0}, **transitions})
    answer = supervisor.ask("transitions", id=5)
    assert [record["n"] for _, record in answer.records if isinstance(record, dict)] == [0, 1, 2]


def test_blobs_come_back_byte_for_byte(supervisor: Supervisor, state_dir: str) -> None:
    """A blob is asked for by its hash, and comes along at load when a live job names it."""
    data = bytes(range(256)) * 1000
    supervisor.save({("blob", "h1"): data, ("job", 2): job(2, script="h1")})
    assert supervisor.ask("blob", hash="h1").records == [(("blob", "h1"), data)]
    supervisor.stop()
    rows, _ = Supervisor(state_dir).loaded()
    assert rows[("blob", "h1")] == data


def test_a_job_is_found_wherever_it_is(supervisor: Supervisor) -> None:
    """A query by id answers from the live table and from history alike."""
    supervisor.save({("job", 1): job(1), ("job", 2): job(2, "FAILED")})
    assert supervisor.ask("job", id=1).records == [(("job", 1), job(1))]
    assert supervisor.ask("job", id=2).records == [(("job", 2), job(2, "FAILED"))]
    assert supervisor.ask("job", id=3).records == []


def test_parents_of_live_jobs_come_along(supervisor: Supervisor, state_dir: str) -> None:
    """An ended job is loaded however old it is when a live job depends on it."""
    waiting = job(2, dependencies=[{"type": "afterok", "jobs": [1], "delay_s": 0.0}])
    supervisor.save({("job", 1): job(1, "COMPLETED"), ("job", 2): waiting})
    supervisor.stop()
    rows, _ = Supervisor(state_dir, keep_finished_s=1.0).loaded()
    assert rows[("job", 1)] == job(1, "COMPLETED")


def test_ended_tasks_of_live_arrays_are_counted(supervisor: Supervisor, state_dir: str) -> None:
    """For an array that goes on, load tells states and positions of the tasks that ended."""
    array = {"id": 10, "spec": {"name": "a", "user": "ada"}, "state": "PENDING", "size": 5}
    tasks: dict[Key, Record] = {
        ("job", 11 + p): job(11 + p, "COMPLETED", array_id=10, task=p) for p in (0, 1, 3)
    }
    supervisor.save({("array", 10): array, **tasks})
    supervisor.stop()
    _, info = Supervisor(state_dir).loaded()
    assert info["array_ended"] == [[10, {"COMPLETED": 3}]]
    assert info["array_ended_positions"] == [[10, [[0, 2], [3, 4]]]]


def test_the_id_floor_is_in_the_marker_before_it_is_acknowledged(
    supervisor: Supervisor, state_dir: str
) -> None:
    """Even with the store deleted, ids go on above every acknowledged floor."""
    supervisor.save({("meta", "id_floor"): {"value": 5000}})
    supervisor.kill()
    for name in ("state.db", "state.db-wal"):
        os.unlink(os.path.join(state_dir, name))
    _, info = Supervisor(state_dir, init_empty=True).loaded()
    assert info["id_floor"] == 5000


def test_a_replacement_by_exec_goes_on(supervisor: Supervisor, state_dir: str) -> None:
    """A fresh interpreter with the inherited pipe takes over where the dead one stopped."""
    supervisor.save({("job", 1): job(1)})
    supervisor.kill()
    supervisor.settings["load"] = False
    supervisor.start_by_exec()
    supervisor.save({("job", 2): job(2)})
    supervisor.channel.send(supervisor.link.sentinel_frame())
    supervisor.expect(message.Closed)
    assert supervisor.replacement is not None
    assert supervisor.replacement.wait(10.0) == 0
    rows, info = Supervisor(state_dir).loaded()
    assert {("job", 1), ("job", 2)} <= set(rows)
    assert info["clean_shutdown"] is True


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGTSTP,
        signal.SIGUSR1,
        signal.SIGPIPE,
    ],
)
def test_signals_do_not_disturb_it(supervisor: Supervisor, number: signal.Signals) -> None:
    """Only EOF, the sentinel and SIGKILL end it; nothing stops it that a terminal sends."""
    assert supervisor.process.pid is not None
    os.kill(supervisor.process.pid, number)
    supervisor.save({("job", 1): job(1)})
    assert supervisor.stop() == 0


def test_it_keeps_no_descriptor_but_its_own(supervisor: Supervisor, state_dir: str) -> None:
    """Standard ones, the pipe, the store and its log: nothing of the supervisor's."""
    supervisor.save({("job", 1): job(1)})
    folder = f"/proc/{supervisor.process.pid}/fd"
    links = {fd: os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}
    others = sorted(
        os.path.relpath(target, state_dir) if target.startswith(state_dir) else target[:7]
        for fd, target in links.items()
        if int(fd) > 2
    )
    assert others == ["socket:", "state.db", "state.db-wal"]


def test_a_stopped_persister_costs_the_supervisor_nothing(supervisor: Supervisor) -> None:
    """While it is stopped, changes gather behind one batch; after SIGCONT all are saved."""
    assert supervisor.process.pid is not None
    os.kill(supervisor.process.pid, signal.SIGSTOP)
    for id in range(1, 2001):
        supervisor.put({("job", id): job(id)})
        supervisor.pump()
    assert supervisor.link.changed == 2000
    assert supervisor.channel.unsent_bytes < 2 * 65536
    os.kill(supervisor.process.pid, signal.SIGCONT)
    supervisor.pump_until(lambda: supervisor.link.drained)


def test_a_refusal_is_a_sentence_and_an_exit(state_dir: str) -> None:
    """A store that cannot be opened is told, and the process ends with 1."""
    os.mkfifo(f"{state_dir}/state.db")
    supervisor = Supervisor(state_dir)
    refused = supervisor.expect(message.OpenRefused)
    assert "a FIFO" in refused.message
    assert supervisor.leave() == 1


def test_damage_met_while_loading_is_a_refusal(state_dir: str) -> None:
    """A store whose structure breaks under the load is told like one that cannot be opened."""
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    supervisor.save({("job", 1): job(1)})
    supervisor.stop()
    connection = sqlite3.connect(f"{state_dir}/state.db")
    connection.execute("DROP TABLE live")
    connection.commit()
    connection.close()
    assert "state.db" in Supervisor(state_dir).expect(message.OpenRefused).message


def test_questions_are_answered_while_a_list_is_half_sent(supervisor: Supervisor) -> None:
    """A transaction of many frames delays answers, it does not lose them."""
    position = supervisor.put({("job", id): job(id) for id in range(1, 1001)}, atomic=True)
    answer = supervisor.ask("history")
    assert answer.error is None
    supervisor.pump_until(lambda: supervisor.link.durable >= position)


def test_expired_history_is_told(state_dir: str) -> None:
    """Housekeeping runs by itself and names the jobs whose logs may go."""
    supervisor = Supervisor(state_dir, keep_history_s=60.0, housekeeping_interval_s=0.05)
    supervisor.loaded()
    supervisor.save(
        {
            ("job", 1): job(1, "COMPLETED", finished_at=1000.0),
            ("job", 2): job(2, "COMPLETED", finished_at=time.time()),
        }
    )
    assert supervisor.expect(message.Expired).job_ids == [1]


def test_relaxed_durability_survives_kill_9(state_dir: str) -> None:
    """Relaxed gives up power cuts only: an acknowledged record survives the process."""
    supervisor = Supervisor(state_dir, relaxed=True)
    supervisor.loaded()
    supervisor.save({("job", 1): job(1)})
    supervisor.kill()
    rows, _ = Supervisor(state_dir).loaded()
    assert ("job", 1) in rows
