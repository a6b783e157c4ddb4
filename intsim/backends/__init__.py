"""Ways to run an integer graph: reference (the specification), numba, native."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intsim.errors import one_of

if TYPE_CHECKING:
    from intsim.backends.base import Backend
    from intsim.ir.graph import Graph

BACKENDS = ("native", "numba", "reference")


def load_backend(name: str, graph: Graph, threads: int | None = None) -> Backend:
    """The graph prepared for a backend; InputError for a name that is not in BACKENDS.

    threads  at most so many; None takes what the process may use
    """
    one_of("backend", name, BACKENDS)
    if name == "reference":
        from intsim.backends.reference import ReferenceBackend

        return ReferenceBackend(graph, threads)
    if name == "numba":
        from intsim.backends.numba import NumbaBackend

        return NumbaBackend(graph, threads)
    from intsim.backends.native import NativeBackend

    return NativeBackend(graph, threads)
