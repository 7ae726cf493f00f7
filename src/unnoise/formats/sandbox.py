"""Take from this process, for good, everything but reading and writing the files that it has open.

A seccomp filter lets about thirty system calls through. Every other one fails with EPERM: opening a file, a socket,
starting a process, sending a signal.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; include/uapi/linux/{filter,seccomp,audit}.h
"""

import ctypes
import platform
import struct
import sys

# Calls of memory, threads, time and open files, by their numbers. Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl
# (read, write, close, fstat, lseek, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, pread64,
# pwrite64, readv, writev, sched_yield, mremap, madvise, getpid, exit, fcntl, fsync, ftruncate, gettimeofday, getrusage,
# sigaltstack, gettid, futex, sched_getaffinity, restart_syscall, clock_gettime, exit_group, set_robust_list, getrandom,
# membarrier, rseq)
X86_64 = (
    0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 24, 25, 28, 39, 60, 72, 74, 77, 96, 98, 131, 186, 202,
    204, 219, 228, 231, 273, 318, 324, 334,
)  # fmt: skip
# The same calls. Source: Linux, include/uapi/asm-generic/unistd.h
AARCH64 = (
    63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 67, 68, 65, 66, 124, 216, 233, 172, 93, 25, 82, 46, 169, 165,
    132, 178, 98, 123, 128, 113, 94, 99, 278, 283, 293,
)  # fmt: skip
# machine -> AUDIT_ARCH_*, allowed calls, the number of seccomp
MACHINES = {"x86_64": (0xC000003E, X86_64, 317), "aarch64": (0xC00000B7, AARCH64, 277)}
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
ALLOW, DENY, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # SECCOMP_RET_ALLOW, ERRNO of EPERM, KILL_PROCESS
NO_NEW_PRIVILEGES, SET_FILTER, ALL_THREADS = 38, 1, 1


def enter() -> bool:
    """Enter the sandbox. Return False where the system has none: not Linux, another machine, no seccomp."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return False
    architecture, allowed, seccomp = MACHINES[platform.machine()]
    code = _program(architecture, allowed)
    program = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: number of instructions, and their address
    table = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(seccomp, SET_FILTER, ALL_THREADS, table) == 0)


def _program(architecture: int, allowed: tuple[int, ...]) -> bytes:
    """Assemble the filter: another architecture kills, an allowed number passes, any other one is refused."""
    rows = [(LOAD, 0, 0, ARCHITECTURE), (JUMP_EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    count = len(allowed)
    rows += [(JUMP_EQUAL, count - place, 0, number) for place, number in enumerate(allowed)]
    rows += [(RETURN, 0, 0, DENY), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *row) for row in rows)
