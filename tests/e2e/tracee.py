"""One system call made inside another process, which runs on as if nothing had been: what gdb's `call` does,
without gdb. x86-64 Linux; needs the right to ptrace (root, or CAP_SYS_PTRACE)."""
import ctypes
import os
import platform
import struct

ATTACH, DETACH, GETREGS, SETREGS, SINGLESTEP, POKEDATA, PEEKDATA = 16, 17, 12, 13, 9, 5, 2
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
         "ds es fs gs").split()
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def can():
    """Whether it works here; a sentence why not, else None."""
    if platform.machine() != "x86_64":
        return "written for x86-64"
    return None if os.geteuid() == 0 else "needs root"


def ptrace(request, pid, address=None, data=None):
    ctypes.set_errno(0)
    value = libc.ptrace(request, pid, address, data)
    if value == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value & 0xffffffffffffffff


def registers(pid):
    buffer = ctypes.create_string_buffer(8 * len(NAMES))
    ptrace(GETREGS, pid, None, ctypes.cast(buffer, ctypes.c_void_p))
    return dict(zip(NAMES, struct.unpack(f"<{len(NAMES)}Q", buffer.raw)))


def set_registers(pid, values):
    buffer = ctypes.create_string_buffer(struct.pack(f"<{len(NAMES)}Q", *(values[n] for n in NAMES)))
    ptrace(SETREGS, pid, None, ctypes.cast(buffer, ctypes.c_void_p))


def calls(pid, wanted):
    """Makes the thread `pid`, which waits in a system call, do each (number, argument…) of `wanted`; texts go
    to its stack. Returns the results; -errno for a failure."""
    results = []
    ptrace(ATTACH, pid)
    os.waitpid(pid, 0x40000000)  # __WALL
    try:
        saved = registers(pid)
        code = ptrace(PEEKDATA, pid, saved["rip"] - 2) & 0xffff
        assert code == 0x050f, f"it does not wait in a system call: {code:#x}"
        for number, *arguments in wanted:
            now = dict(saved, rax=number, orig_rax=0xffffffffffffffff, rip=saved["rip"] - 2)
            room = (saved["rsp"] - 4096) & ~15
            for name, value in zip(ARGUMENTS, arguments):
                if isinstance(value, str):
                    raw = value.encode() + b"\0"
                    raw += b"\0" * (-len(raw) % 8)
                    for at in range(0, len(raw), 8):
                        ptrace(POKEDATA, pid, room + at, struct.unpack_from("<Q", raw, at)[0])
                    value, room = room, room - 512
                now[name] = value & 0xffffffffffffffff
            set_registers(pid, now)
            ptrace(SINGLESTEP, pid)
            os.waitpid(pid, 0x40000000)
            result = registers(pid)["rax"]
            results.append(result - (1 << 64) if result >> 63 else result)
        set_registers(pid, saved)
    finally:
        ptrace(DETACH, pid)
    return results
