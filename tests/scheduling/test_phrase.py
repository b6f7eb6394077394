"""Amounts as people read them."""

import pytest

from gflow.scheduling import phrase


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(512 << 20, "512M"), (47 << 29, "23.5G"), (1000 << 30, "0.9766T"), (100 << 40, "100T")],
)
def test_size_has_the_unit_that_leaves_few_digits(size_bytes: int, text: str) -> None:
    """No size is written with an exponent below a thousand terabytes."""
    assert phrase.size(size_bytes) == text
