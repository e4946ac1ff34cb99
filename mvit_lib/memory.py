"""Keeping freed memory: the cheapest speed-up on Linux."""

import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
LARGEST_INT = 2**31 - 1


def keep_freed_pages() -> bool:
    """Ask the C library to keep freed memory for the next tensor instead of giving it back.

    By default glibc returns every large block to the kernel, which then clears it, page by page, each
    time a tensor of that size is made again. Call this once at the start of a program; the environment
    variables MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=2147483647 do the same from outside.
    The process holds on to the largest amount it has used.

    Returns whether it took effect: True with glibc, False elsewhere, where it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: LARGEST_INT}
    return all(libc.mallopt(option, value) == 1 for option, value in settings.items())
