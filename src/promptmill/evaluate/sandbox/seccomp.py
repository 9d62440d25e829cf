"""The system calls that a jailed process may make: a list of what is allowed, as a seccomp filter.

A Python program that computes needs about a hundred and fifty calls. All others are refused with "Operation not
permitted", so new calls of later kernels are refused too: no sockets but a pair that is connected with itself (event
loops wake themselves with it), no new processes (threads are allowed), no exec, no signals to others, no tracing, no
mounts, no namespaces, no keys, no bpf, no io_uring, no shared memory.

Written for x86_64 and aarch64; elsewhere there is no filter and `filter_code` raises `NotImplementedError`.
"""

from __future__ import annotations

import ctypes
import struct

from promptmill.evaluate.sandbox import syscalls

# name, number on x86_64, number on aarch64
ALLOWED = """
read 0 63; write 1 64; open 2 -; close 3 57; stat 4 -; fstat 5 80; lstat 6 -; poll 7 -; lseek 8 62; mmap 9 222;
mprotect 10 226; munmap 11 215; brk 12 214; rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139;
pread64 17 67; pwrite64 18 68; readv 19 65; writev 20 66; access 21 -; pipe 22 -; select 23 -; sched_yield 24 124;
mremap 25 216; msync 26 227; madvise 28 233; dup 32 23; dup2 33 -; pause 34 -; nanosleep 35 101; getitimer 36 102;
alarm 37 -; setitimer 38 103; getpid 39 172; sendfile 40 71; exit 60 93; wait4 61 260; uname 63 160; fcntl 72 25;
flock 73 32; fsync 74 82; fdatasync 75 83; truncate 76 45; ftruncate 77 46; getdents 78 -; getcwd 79 17; chdir 80 49;
fchdir 81 50; rename 82 -; mkdir 83 -; rmdir 84 -; creat 85 -; link 86 -; unlink 87 -; symlink 88 -; readlink 89 -;
chmod 90 -; fchmod 91 52; umask 95 166; gettimeofday 96 169; getrlimit 97 163; getrusage 98 165; sysinfo 99 179;
times 100 153; getuid 102 174; getgid 104 176; geteuid 107 175; getegid 108 177; getppid 110 173; getpgrp 111 -;
getgroups 115 158; getresuid 118 148; getresgid 120 150; getpgid 121 155; getsid 124 156; rt_sigpending 127 136;
rt_sigtimedwait 128 137; rt_sigsuspend 130 133; sigaltstack 131 132; utime 132 -; statfs 137 43; fstatfs 138 44;
getpriority 140 141; sched_getparam 143 121; sched_getscheduler 145 120; arch_prctl 158 -; gettid 186 178; time 201 -;
futex 202 98; sched_getaffinity 204 123; epoll_create 213 -; getdents64 217 61; set_tid_address 218 96;
restart_syscall 219 128; fadvise64 221 223; timer_create 222 107; timer_settime 223 110; timer_gettime 224 108;
timer_getoverrun 225 109; timer_delete 226 111; clock_gettime 228 113; clock_getres 229 114; clock_nanosleep 230 115;
exit_group 231 94; epoll_wait 232 -; epoll_ctl 233 21; tgkill 234 131; utimes 235 -; waitid 247 95; openat 257 56;
mkdirat 258 34; newfstatat 262 79; unlinkat 263 35; renameat 264 38; linkat 265 37; symlinkat 266 36;
readlinkat 267 78; fchmodat 268 53; faccessat 269 48; pselect6 270 72; ppoll 271 73; set_robust_list 273 99;
get_robust_list 274 100; utimensat 280 88; epoll_pwait 281 22; timerfd_create 283 85; fallocate 285 47;
timerfd_settime 286 86; timerfd_gettime 287 87; eventfd2 290 19; epoll_create1 291 20; dup3 292 24; pipe2 293 59;
preadv 295 69; pwritev 296 70; getcpu 309 168; renameat2 316 276; getrandom 318 278;
membarrier 324 283; copy_file_range 326 285; statx 332 291; rseq 334 293; close_range 436 436; faccessat2 439 439;
epoll_pwait2 441 441; futex_waitv 449 449
"""
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = {"x86_64": 435, "aarch64": 435}
IOCTL = {"x86_64": 16, "aarch64": 29}
PRCTL = {"x86_64": 157, "aarch64": 167}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
ARCHITECTURE = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
COLUMN = {"x86_64": 1, "aarch64": 2}
SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
SENDTO = {"x86_64": 44, "aarch64": 206}
RECVFROM = {"x86_64": 45, "aarch64": 207}
UNIX, STREAM = 1, (0x1, 0x8_0001, 0x801, 0x8_0801)  # AF_UNIX; SOCK_STREAM, alone, closed on exec, not blocking, both
CLONE_THREAD = 0x0001_0000
TERMINAL_CALLS = (0x5401, 0x5413, 0x5421, 0x541B, 0x5450, 0x5451)  # TCGETS, size, FIONBIO, FIONREAD, close on exec
NAME_CALLS = (15, 16, 0x5356_4D41)  # the name of a thread, of memory

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|..., BPF_RET
NUMBER, ARCH, FIRST, SECOND, FOURTH, FIFTH = (
    0,
    4,
    16,
    24,
    40,
    48,
)  # offsets in struct seccomp_data; arguments are little-endian
ALLOW, KILL, REFUSE = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
EPERM, ENOTTY, ENOSYS = 1, 25, 38


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _one_of(number: int, offset: int, values: tuple[int, ...], otherwise: int) -> bytes:
    """If the call is `number`: allow it for these values of an argument, refuse it for others."""
    checks = b"".join(_step(EQUAL, value, 0, 1) + _step(RETURN, ALLOW) for value in values)
    body = _step(LOAD, offset) + checks + _step(RETURN, REFUSE | otherwise)
    return _step(EQUAL, number, 0, len(body) // 8) + body


def _pair(machine: str) -> bytes:
    """A pair of sockets that are connected with each other, and what an event loop does with one.

    Nothing else can be reached with such a socket: it is of the kind that takes no address, and none may be given.
    Flags may not be given either.
    """
    kinds = b"".join(_step(EQUAL, kind, 0, 1) + _step(RETURN, ALLOW) for kind in STREAM)
    made = _step(LOAD, FIRST) + _step(EQUAL, UNIX, 1, 0) + _step(RETURN, REFUSE | EPERM)
    made += _step(LOAD, SECOND) + kinds + _step(RETURN, REFUSE | EPERM)
    code = _step(EQUAL, SOCKETPAIR[machine], 0, len(made) // 8) + made
    nothing = b"".join(  # no flags (out-of-band data had holes), and no address: both halves of where one would be
        _step(LOAD, at) + _step(EQUAL, 0, 1, 0) + _step(RETURN, REFUSE | EPERM) for at in (FOURTH, FIFTH, FIFTH + 4)
    )
    body = nothing + _step(RETURN, ALLOW)
    for number in (SENDTO[machine], RECVFROM[machine]):
        code += _step(EQUAL, number, 0, len(body) // 8) + body
    return code


def _ranges(machine: str) -> list[tuple[int, int]]:
    """The allowed numbers as first and last of each run, in rising order."""
    entries = [line.split() for line in ALLOWED.split(";")]
    numbers = sorted(int(entry[COLUMN[machine]]) for entry in entries if entry[COLUMN[machine]] != "-")
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return list(zip(starts, ends, strict=True))


def filter_code(machine: str) -> bytes:
    """The filter as the kernel takes it.

    Raises:
        NotImplementedError: no numbers are known for this processor.
    """
    if machine not in ARCHITECTURE:
        raise NotImplementedError(f"no filter for {machine}")
    code = [_step(LOAD, ARCH), _step(EQUAL, ARCHITECTURE[machine], 1, 0), _step(RETURN, KILL), _step(LOAD, NUMBER)]
    if machine == "x86_64":  # the second table of numbers, x32
        code += [_step(AT_LEAST, 0x4000_0000, 0, 1), _step(RETURN, KILL)]
    threads = _step(LOAD, FIRST) + _step(ANY_BIT, CLONE_THREAD, 0, 1) + _step(RETURN, ALLOW)
    threads += _step(RETURN, REFUSE | EPERM)
    code += [_step(EQUAL, CLONE[machine], 0, len(threads) // 8), threads]
    # its flags lie in memory that a filter cannot read; told that it does not exist, the C library takes `clone`
    code += [_step(EQUAL, CLONE3[machine], 0, 1), _step(RETURN, REFUSE | ENOSYS)]
    code += [_one_of(IOCTL[machine], SECOND, TERMINAL_CALLS, ENOTTY)]
    code += [_one_of(PRLIMIT[machine], FIRST, (0,), EPERM)]  # its own limits alone
    code += [_one_of(PRCTL[machine], FIRST, NAME_CALLS, EPERM)]
    code += [_pair(machine)]
    for first, last in _ranges(machine):  # in rising order: the kernel tries every number when it takes the filter
        code += [_step(AT_LEAST, last + 1, 3, 0), _step(AT_LEAST, first, 0, 1)]
        code += [_step(RETURN, ALLOW), _step(RETURN, REFUSE | EPERM)]
    code += [_step(RETURN, REFUSE | EPERM)]
    return b"".join(code)


def install(code: bytes) -> None:
    """Put this process and its threads behind the filter for good; needs `no_new_privileges` before."""
    steps = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    program = Program(len(code) // 8, ctypes.cast(steps, ctypes.c_void_p))
    syscalls.prctl(syscalls.PR_SET_SECCOMP, 2, ctypes.byref(program))  # SECCOMP_MODE_FILTER
