"""A curve of bounded size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflow.monitoring.series import LARGEST, Series

SAMPLES = st.lists(
    st.tuples(st.floats(0.01, 100), st.floats(0, 64), st.integers(0, 10**12)), max_size=400
)


@given(SAMPLES)
def test_it_never_grows_beyond_its_bound(samples: list[tuple[float, float, int]]) -> None:
    """However long the job runs."""
    series, now_s = Series(1.0), 0.0
    for passed_s, cpus, rss_bytes in samples:
        now_s += passed_s
        series.add(now_s, cpus, rss_bytes)
        assert len(series.figures()["cpus"]) < LARGEST
        assert len(series.figures()["cpus"]) == len(series.figures()["rss_bytes"])


@given(SAMPLES)
def test_peaks_survive_thinning(samples: list[tuple[float, float, int]]) -> None:
    """The highest of all samples that have become points is still in the curve."""
    series, now_s, highest, waiting = Series(1.0), 0.0, 0, 0
    for passed_s, cpus, rss_bytes in samples:
        now_s += passed_s
        waiting = max(waiting, rss_bytes)
        if series.add(now_s, cpus, rss_bytes):
            highest, waiting = max(highest, waiting), 0
    assert max(series.figures()["rss_bytes"], default=0) == highest


def test_a_point_is_the_mean_of_its_samples() -> None:
    """For processors; memory keeps the peak."""
    series = Series(2.0)
    assert not series.add(0.0, 1.0, 10)
    assert not series.add(1.0, 2.0, 30)
    assert series.add(2.0, 3.0, 20)
    assert series.figures() == {"step_s": 2.0, "cpus": [2.0], "rss_bytes": [30]}


def test_thinning_doubles_the_step() -> None:
    """Half the points, each for twice the time."""
    series = Series(1.0)
    for second in range(LARGEST + 1):
        series.add(float(second), 1.0, second)
    figures = series.figures()
    assert (figures["step_s"], len(figures["cpus"])) == (2.0, LARGEST // 2)


def test_told_in_turn() -> None:
    """Short curves are told with every point; of many long ones, as many at each moment."""
    told = []
    for turn in range(16):
        series = Series(2.0)
        series.add(0.0, 1.0, 1)
        moments = []
        for second in range(2, 42, 2):
            assert series.add(float(second), 1.0, second)
            moments.append(series.is_told(turn))
        assert all(moments[:7]) and sum(moments[8:16]) == 1
        told.append(moments[8:16])
    assert [sum(column) for column in zip(*told)] == [2] * 8
