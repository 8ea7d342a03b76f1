"""What a process may still ask of the kernel: Landlock for files and TCP, seccomp for all other ways out (Linux).

Both need no rights, can't be undone, and hold for every thread that the process makes later. The lists deny: Python and
its libraries are not all alike, so what they need is not listed, and what would carry a secret out is.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from typing import Final

# linux/landlock.h; the three calls have the same numbers on all processors.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE_DIR: Final = 1 << 4
_REMOVE_FILE: Final = 1 << 5
_MAKE_REG: Final = 1 << 8
READING: Final = _READ_FILE | _READ_DIR
WRITING: Final = READING | _WRITE_FILE | _MAKE_REG | _REMOVE_FILE
REMOVING_FOLDERS: Final = _REMOVE_DIR
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
"""By version, how many rights over files it knows; 16, with those over devices, from the fifth on."""
_TCP_VERSION: Final = 4
_BIND_AND_CONNECT: Final = 0b11
_SCOPE_VERSION: Final = 6
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11

# linux/seccomp.h, linux/filter.h, linux/audit.h
_SET_FILTER: Final = 1
_ALL_THREADS: Final = 1
_KILL: Final = 0x80000000
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000
_EPERM: Final = 1
_ENOSYS: Final = 38
_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_PROCESSOR_AT: Final = 4
_ARGUMENTS_AT: Final = 16
_X32: Final = 0x40000000
"""A second set of numbers for the same calls on x86-64."""
_PROCESSORS: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""How the kernel names a processor, and its column in the tables below."""
_NONE: Final = "the kernel has no Landlock, or it is not switched on"

_CLONE_THREAD: Final = 0x00010000
_PR_SET_DUMPABLE: Final = 4
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Instruction = tuple[int, int, int, int]
"""What to do; how many instructions to skip if it holds, and if not; a number."""

Call = tuple[int | None, int | None]
"""Its number on x86-64 and on ARM64; none where the processor has no such call."""

_NEVER: Final[dict[str, Call]] = {
    # Other programs and processes.
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "perf_event_open": (298, 241),
    # Connections; the one to the parent is there already.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # Memory and messages that other processes share, and the kernel's key rings.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Ways round this filter, and round Landlock.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setrlimit": (160, 164),
    # Names and marks of files. Opening one for writing is asked further down, for its flags.
    "creat": (85, None),
    "truncate": (76, 45),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    # What only root could do.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
}
_FOR_FOLDERS: Final[dict[str, Call]] = {
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rmdir": (84, None),
}
# Their arguments lie in memory, where a filter can't look. A C library that hears that there is no such call takes the
# older one.
_UNREADABLE: Final[dict[str, Call]] = {"clone3": (435, 435), "openat2": (437, 437)}
_OPEN: Final = (2, None)
_OPENAT: Final = (257, 56)
_CLONE: Final = (56, 220)
_PRCTL: Final = (157, 167)
_PRLIMIT: Final = (302, 261)
_SECCOMP: Final[tuple[int, int]] = (317, 277)


def no_files(beneath: Iterable[tuple[int, int]] = ()) -> str:
    """Let this process open, make and remove no files but those beneath some directories; return why not, if so.

    What is open stays open.

    Args:
        beneath: a directory's descriptor, and the rights below it (`READING`, `WRITING`, `REMOVING_FOLDERS`).

    Raises:
        OSError: the kernel refused.
    """
    version = _landlock_version()
    if not version:
        return _NONE
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    _restrict(struct.pack("=Q", handled), beneath)
    return ""


def no_tcp() -> str:
    """Let this process neither connect nor listen by TCP; nor, where the kernel can, reach others in further ways.

    Those are abstract Unix sockets and signals. Returns and raises as `no_files`.
    """
    version = _landlock_version()
    if version < _TCP_VERSION:
        return f"the kernel's Landlock knows no TCP (version {version}; {_TCP_VERSION} does)" if version else _NONE
    scoped = struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS) if version >= _SCOPE_VERSION else b""
    _restrict(struct.pack("=QQ", 0, _BIND_AND_CONNECT) + scoped, ())
    return ""


def no_calls(*, writes: bool) -> str:
    """Take from this process the calls that start programs or processes, connect, trace, or change files.

    Such a call then fails with EPERM. Returns and raises as `no_files`.

    Args:
        writes: leave those by which files are made and removed: the process makes some.
    """
    name = platform.machine()
    if name not in _PROCESSORS:
        return f"no filter is written for this processor ({name})"
    code = b"".join(struct.pack("=HBBI", *each) for each in program(name, writes=writes))
    held = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(code) // struct.calcsize("=HBBI"), ctypes.addressof(held))
    _call(_SECCOMP[_PROCESSORS[name][1]], _SET_FILTER, _ALL_THREADS, described)
    return ""


def program(processor: str, *, writes: bool) -> list[Instruction]:
    """Return the filter: what each call of a process comes to.

    Args:
        processor: `x86_64` or `aarch64`.
        writes: as for `no_calls`.
    """
    kernels_name, column = _PROCESSORS[processor]
    found: list[Instruction] = [
        # First of all, since elsewhere the numbers below mean other calls.
        (_LOAD, 0, 0, _PROCESSOR_AT),
        (_IF_EQUAL, 1, 0, kernels_name),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if processor == "x86_64":
        found += [(_IF_AT_LEAST, 0, 1, _X32), _DENY]

    def rule(call: Call, *then: Instruction) -> None:
        number = call[column]
        if number is not None:
            found.extend([(_IF_EQUAL, 0, len(then), number), *then])

    for call in (*_NEVER.values(), *(() if writes else _FOR_FOLDERS.values())):
        rule(call, _DENY)
    for call in _UNREADABLE.values():
        rule(call, (_RETURN, 0, 0, _ERROR | _ENOSYS))
    if not writes:
        rule(_OPEN, _argument(1), (_IF_ANY_BIT, 0, 1, _WRITING), _DENY, _LET)
        rule(_OPENAT, _argument(2), (_IF_ANY_BIT, 0, 1, _WRITING), _DENY, _LET)
    # Threads only.
    rule(_CLONE, _argument(0), (_IF_ANY_BIT, 1, 0, _CLONE_THREAD), _DENY, _LET)
    rule(_PRCTL, _argument(0), (_IF_EQUAL, 0, 1, _PR_SET_DUMPABLE), _DENY, _LET)
    # Limits may be read, where the address of a new one is 0 in both halves.
    rule(_PRLIMIT, _argument(2), (_IF_EQUAL, 0, 2, 0), _argument(2, 4), (_IF_EQUAL, 1, 0, 0), _DENY, _LET)
    return [*found, _LET]


_DENY: Final[Instruction] = (_RETURN, 0, 0, _ERROR | _EPERM)
_LET: Final[Instruction] = (_RETURN, 0, 0, _ALLOW)


def _argument(number: int, half: int = 0) -> Instruction:
    """Load the low half of a call's argument, which is what comes first on these processors."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * number + half)


def _landlock_version() -> int:
    """Return 0 if there is none."""
    try:
        return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def _restrict(attributes: bytes, beneath: Iterable[tuple[int, int]]) -> None:
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for descriptor, rights in beneath:
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call that the C library has no name for.

    Raises:
        OSError: it failed.
    """
    if not sys.platform.startswith("linux"):
        raise OSError(_ENOSYS, "only Linux has it")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    # As wide as registers: the library can't know what these calls take.
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
