"""Landlock and a filter for sockets, set in the child before exec: what a program may open, and whether it has network.

Landlock (the kernel's documentation: userspace-api/landlock) denies every access to files that no rule allows, for the
program and all that it starts, for ever. It does not know sockets other than TCP, so those are left to seccomp.
"""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable, Mapping

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_PR_CAPBSET_DROP, _CAPABILITIES = 24, 64

_READ = 0b1101  # execute, read a file, list a folder
_WRITE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
_OF_FILES = (1 << 0) | (1 << 2) | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_KNOWN = ((5, 16), (3, 15), (2, 14), (1, 13))
"""From which version on how many rights to files there are."""
_SCOPES_FROM = 6
_SCOPES = 0b11  # sockets without a file, signals

_MACHINES: Mapping[str, tuple[int, int, int]] = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
"""AUDIT_ARCH, and the numbers of socket and io_uring_setup, which can make sockets too."""
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filters", ctypes.POINTER(_Filter)))


def version() -> int:
    """The version of the kernel's Landlock; 0 where there is none, or where sockets cannot be refused beside it."""
    if sys.platform != "linux" or os.uname().machine not in _MACHINES:
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def restrict(readable: Iterable[str], writable: Iterable[str], *, network: bool) -> None:
    """Let this process, for ever, only read and run what lies below some places, and change what lies below others.

    Places that are not there are passed over. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found = version()
    rights = (1 << next(count for since, count in _KNOWN if found >= since)) - 1
    rules = _Rules(rights, 0, _SCOPES if found >= _SCOPES_FROM else 0)
    size = ctypes.sizeof(rules) if found >= _SCOPES_FROM else ctypes.sizeof(ctypes.c_uint64)
    ruleset = _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0))
    for places, allowed in ((readable, _READ), (writable, rights)):
        for place in places:
            _allow(libc, ruleset, place, allowed & rights)
    for capability in range(_CAPABILITIES):
        # Root would read the environment of every process: CAP_PERFMON goes before Landlock.
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
    if not network:
        _refuse_sockets(libc)


def _allow(libc: ctypes.CDLL, ruleset: int, place: str, allowed: int) -> None:
    try:
        folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(folder).st_mode):
        allowed &= _OF_FILES
    rule = _Beneath(allowed, folder)
    _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    os.close(folder)


def _refuse_sockets(libc: ctypes.CDLL) -> None:
    """Let `socket` fail with "network is unreachable"; pairs of sockets, which lead nowhere else, are still made."""
    architecture, socket, io_uring = _MACHINES[os.uname().machine]
    refuse = _REFUSE | errno.ENETUNREACH
    steps = (
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 4, architecture),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 2, 0, _X32),
        (_EQUAL, 1, 0, socket),
        (_EQUAL, 0, 1, io_uring),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    )
    filters = (_Filter * len(steps))(*(_Filter(*step) for step in steps))
    program = _Program(len(steps), filters)
    _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
