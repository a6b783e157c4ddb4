"""The results of a sweep: one SQLite file with one table, `points`, written by one process as results come."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from intsim.costing.plan import Key
from intsim.errors import CostError

APPLICATION_ID = 0x696E7473
"""In the file's header, for a file that is not ours to be left alone."""


@dataclass(frozen=True)
class Row:
    """One point's estimate; `error` instead of it where there is none, such as a width that the target lacks."""

    macs: int | None = None
    total_cycles: int | None = None
    compute_cycles: int | None = None
    stall_cycles: int | None = None
    latency_ms: float | None = None
    dram_bits: int | None = None
    energy_pj: float | None = None
    utilisation: float | None = None
    error: str | None = None


Finished = tuple[Key, str, Row]
"""Of one point: its names, the digest of what the result depends on, and the result."""

_KEY, _ROW = Key._fields, tuple(field.name for field in fields(Row))
_COLUMNS = (*_KEY, "digest", *_ROW)
_QUOTED_KEY = ", ".join(f'"{name}"' for name in _KEY)
_CREATE = f"""CREATE TABLE IF NOT EXISTS points (
    network TEXT, allocation TEXT, target TEXT, "array" TEXT, batch INTEGER, digest TEXT NOT NULL,
    macs INTEGER, total_cycles INTEGER, compute_cycles INTEGER, stall_cycles INTEGER, latency_ms REAL,
    dram_bits INTEGER, energy_pj REAL, utilisation REAL, error TEXT,
    PRIMARY KEY ({_QUOTED_KEY})
) WITHOUT ROWID"""
_INSERT = f"INSERT OR REPLACE INTO points VALUES ({', '.join('?' * len(_COLUMNS))})"


class Results:
    """An open file of results."""

    def __init__(self, connection: sqlite3.Connection):
        self.connection = connection

    def digests(self) -> dict[Key, str]:
        """What is there already."""
        rows = self.connection.execute(f"SELECT {_QUOTED_KEY}, digest FROM points")
        return {Key(*row[:-1]): row[-1] for row in rows}

    def failures(self) -> int:
        """Points without an estimate."""
        (count,) = self.connection.execute("SELECT count(*) FROM points WHERE error IS NOT NULL").fetchone()
        return int(count)

    def add(self, finished: Iterable[Finished]) -> None:
        """Keep results, all of them or, should the process die, none; a point's older result is replaced."""
        with self.connection:
            values = ((*key, digest, *(getattr(row, name) for name in _ROW)) for key, digest, row in finished)
            self.connection.executemany(_INSERT, values)


@contextmanager
def open_results(path: str | Path) -> Iterator[Results]:
    """The file at `path`, made where there is none; readers may look into it meanwhile.

    raises   CostError: a file that is something else, or that another sweep is writing
    """
    try:
        connection = sqlite3.connect(path, timeout=5)
        try:
            (owner,) = connection.execute("PRAGMA application_id").fetchone()
            (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if owner != APPLICATION_ID and objects:
                raise CostError(f"results {path}: a database of something else; name another file")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(_CREATE)
            yield Results(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OverflowError) as error:  # SQLite counts in int64
        raise CostError(f"results {path}: cannot be written: {error}") from None
