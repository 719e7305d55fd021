"""Run a command as on a processor without AMX: ``python without_amx.py lotbench measure STORE``.

Linux gives the registers of AMX only to a program that asks (``arch_prctl``).  Here the kernel
refuses, so that PyTorch, ONNX Runtime and OpenVINO take their kernels for AVX-512.  The command
sees a copy of /proc/cpuinfo without the flags of AMX, whose name says so, and stores that name.
It needs root on Linux, x86-64.
"""

import ctypes
import os
import re
import struct
import sys
import tempfile
from pathlib import Path

ARCH_PRCTL, ASKS_FOR_REGISTERS = 158, 0x1023
REFUSE, ALLOW = 0x00050000 | 95, 0x7FFF0000
# A filter of the kernel (seccomp): load the call's number, then its first argument.
FILTER = [
    (0x20, 0, 0, 0),
    (0x15, 0, 3, ARCH_PRCTL),
    (0x20, 0, 0, 16),
    (0x15, 0, 1, ASKS_FOR_REGISTERS),
    (0x06, 0, 0, REFUSE),
    (0x06, 0, 0, ALLOW),
]
NO_NEW_PRIVILEGES, SECCOMP, NEW_MOUNTS, PRIVATE, BIND = 38, 22, 0x20000, 1 << 18 | 1 << 14, 1 << 12

LIBC = ctypes.CDLL(None, use_errno=True)


class Filter(ctypes.Structure):
    """The kernel's ``sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library, and stop if it fails."""
    if getattr(LIBC, name)(*arguments) != 0:
        raise SystemExit(f"{name}: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    """Hide AMX, then become the command."""
    text = re.sub(r"(?m)^(model name.*)", r"\1 without AMX", Path("/proc/cpuinfo").read_text())
    with tempfile.NamedTemporaryFile("w", prefix="cpuinfo-") as copy:
        copy.write(re.sub(r" amx_\w+", "", text))
        copy.flush()
        call("unshare", NEW_MOUNTS)
        call("mount", b"none", b"/", None, PRIVATE, None)
        call("mount", copy.name.encode(), b"/proc/cpuinfo", None, BIND, None)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in FILTER))
    call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    call("prctl", SECCOMP, 2, ctypes.byref(Filter(len(FILTER), ctypes.addressof(code))), 0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
