"""Lets a call of a stopped task fail: the kernel skips it, and its caller gets an error of our choice.

A sync that fails takes with it what it was to make durable, as on Linux: pages that could not be written count as clean
from then on, and the next sync succeeds without them. So the file is full of zeros afterwards, and who syncs it again, or
trusts it, is found out by what the file holds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
from contextlib import suppress

from tests.faults.calls import Call
from tests.faults.ptracing import ptrace

_GET_SET, _SET_SET = 0x4204, 0x4205
_REGISTERS, _ARM_CALL = 1, 0x404
_NO_CALL = -1
# Where the registers of an architecture hold the number of the call and what it gives back, in words of 8 bytes; on ARM
# the number is a set of its own.
_X86_NUMBER, _X86_RESULT, _X86_BYTES = 15, 10, 27 * 8
_ARM_RESULT, _ARM_BYTES = 0, 34 * 8


def error_of(call: Call, wanted: int) -> int:
    """With what it may fail: only who takes room can be told that there is none, and 0 where no file is at stake."""
    if call.is_statement:
        return 0
    return wanted if wanted != errno.ENOSPC or call.takes_room else errno.EIO


def fail(task: int, call: Call, error: int) -> None:
    """The call at which the task stands is not made; it fails with that error."""
    if call.is_sync:
        _forget(task, call)
    if platform.machine() == "x86_64":
        registers = _read(task, _X86_BYTES)
        struct.pack_into("=q", registers, 8 * _X86_NUMBER, _NO_CALL)
        struct.pack_into("=q", registers, 8 * _X86_RESULT, -error)
        _write(task, _REGISTERS, registers)
    else:
        _write(task, _ARM_CALL, ctypes.create_string_buffer(struct.pack("=i", _NO_CALL), 4))
        registers = _read(task, _ARM_BYTES)
        struct.pack_into("=q", registers, 8 * _ARM_RESULT, -error)
        _write(task, _REGISTERS, registers)


def _forget(task: int, call: Call) -> None:
    """What the file held is lost."""
    with suppress(OSError):
        descriptor = os.open(f"/proc/{task}/fd/{call.descriptor}", os.O_WRONLY)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                os.pwrite(descriptor, bytes(status.st_size), 0)
        finally:
            os.close(descriptor)


def _read(task: int, size: int) -> ctypes.Array[ctypes.c_char]:
    registers = ctypes.create_string_buffer(size)
    vector = _vector(registers)
    ptrace(_GET_SET, task, _REGISTERS, ctypes.addressof(vector))
    return registers


def _write(task: int, which: int, data: ctypes.Array[ctypes.c_char]) -> None:
    vector = _vector(data)
    ptrace(_SET_SET, task, which, ctypes.addressof(vector))


def _vector(data: ctypes.Array[ctypes.c_char]) -> ctypes.Array[ctypes.c_char]:
    """A struct iovec."""
    return ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(data), len(data)))
