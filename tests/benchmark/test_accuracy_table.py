"""The rows of bench/accuracy.py: each has its own name, and what it is compared with."""

from __future__ import annotations

from bench.accuracy import rows


def test_rows_have_names_of_their_own_and_peers_before_them() -> None:
    seen: set[str] = set()
    for row in rows():
        assert row.name not in seen
        assert not row.peer or row.peer in seen, row
        assert row.origin.name == row.name or row.origin.name in seen, row
        seen.add(row.name)
