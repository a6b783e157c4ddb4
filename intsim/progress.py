"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total), `done` from 0 to `total`."""


def silent(what: str, done: int, total: int) -> None:
    """The progress that nobody watches."""
