"""Memory that training frees and asks for again in every iteration, kept by the process meanwhile.

By default the C library returns every large block to the system and gets it back full of zeros: a third of the time of
calibrating MobileNetV2 was the kernel's, clearing pages.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Parameters of mallopt, as glibc's malloc.h numbers them."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed until the end; nothing happens where the C library is not glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        # Where glibc's own adjustment ends, which a call of mallopt switches off.
        library.mallopt(MMAP_MAX, 1 << 16)
        library.mallopt(MMAP_THRESHOLD, 32 << 20)
        library.mallopt(TRIM_THRESHOLD, 64 << 20)
        library.malloc_trim(0)
