"""The call by which a process looks into another one and steers it."""

from __future__ import annotations

import ctypes
import errno
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def ptrace(request: int, task: int, address: int = 0, data: int = 0) -> None:
    """ProcessLookupError where the task is gone."""
    if _LIBC.ptrace(request, task, address, data) < 0:
        number = ctypes.get_errno()
        if number == errno.ESRCH:
            raise ProcessLookupError
        raise OSError(number, os.strerror(number))
