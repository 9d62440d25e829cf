"""What is said of this machine is found by trying: a wall that is not there is not called active."""

import os
import struct
import subprocess
import sys

import pytest

from promptmill.errors import ConfigError
from promptmill.evaluate.sandbox import seccomp
from promptmill.evaluate.sandbox.jail import NAMESPACES
from promptmill.evaluate.sandbox.protections import ATTEMPTS, PROGRAM, protections, report


def of_full():
    try:
        return protections("full")
    except ConfigError as error:
        pytest.skip(str(error))


def test_every_wall_holds_here_at_the_full_level():
    found = of_full()
    assert [wall.name for wall in found if not wall.active] == []
    assert len(found) == len(NAMESPACES) + len(ATTEMPTS) + 1


def test_without_namespaces_it_is_said_that_there_are_none():
    walls = {wall.name: wall.active for wall in protections("rlimits-only")}
    assert not any(walls[f"own {name}"] for name in NAMESPACES.values())
    assert not walls["first of its own process tree"]
    assert walls["no new process"]
    assert walls["memory is limited"]


@pytest.mark.parametrize("name", ATTEMPTS)
def test_every_attempt_goes_through_where_there_is_no_wall(name, tmp_path):
    """Otherwise an attempt that fails by itself would be taken for a wall."""
    # a copy of the library's file and of the users stands for what the attempt would change
    body = ATTEMPTS[name].replace("os.__file__", repr(str(tmp_path / "os.py")))
    program = PROGRAM.format(body=body) + "\nsaid = attempt()\nos.write(1, said.encode())\nos._exit(0)\n"
    with (tmp_path / "open").open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
            pass_fds=[file.fileno()], env={**os.environ, "SECRET": "x"},
        )  # fmt: skip
    assert "went through" in done.stdout
    assert "stopped" not in done.stdout


def test_the_report_names_the_level_and_each_wall():
    of_full()
    lines = report()
    assert lines[0] == "sandbox for code: full"
    assert "    own network namespace: active" in lines
    assert "    no network: active" in lines


def decide(code, machine, number, arguments=()):
    """Run a filter as the kernel would: what it returns for one call."""
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, seccomp.ARCHITECTURE[machine], 0, *padded)
    at = value = 0
    while True:
        kind, yes, no, operand = steps[at]
        at += 1
        if kind == seccomp.LOAD:
            value = struct.unpack_from("=I", data, operand)[0]
        elif kind == seccomp.RETURN:
            return operand
        else:
            test = {
                seccomp.EQUAL: value == operand,
                seccomp.AT_LEAST: value >= operand,
                seccomp.ANY_BIT: bool(value & operand),
            }[kind]
            at += yes if test else no


REFUSED = seccomp.REFUSE | seccomp.EPERM


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_and_refuses_all_else(machine):
    code = seccomp.filter_code(machine)
    entries = [line.split() for line in seccomp.ALLOWED.split(";")]
    allowed = {int(e[seccomp.COLUMN[machine]]) for e in entries if e[seccomp.COLUMN[machine]] != "-"}
    special = {
        table[machine]
        for table in (
            seccomp.CLONE, seccomp.CLONE3, seccomp.IOCTL, seccomp.PRCTL, seccomp.PRLIMIT,
            seccomp.SOCKETPAIR, seccomp.SENDTO, seccomp.RECVFROM,
        )
    }  # fmt: skip
    assert len(allowed) > 90
    for number in range(600):
        if number not in special:
            wanted = seccomp.ALLOW if number in allowed else REFUSED
            assert (number, decide(code, machine, number)) == (number, wanted)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_looks_at_arguments_where_they_matter(machine):
    code = seccomp.filter_code(machine)
    thread, process = 0x3D0F00, 17
    assert decide(code, machine, seccomp.CLONE[machine], [thread]) == seccomp.ALLOW
    assert decide(code, machine, seccomp.CLONE[machine], [process]) == REFUSED
    assert decide(code, machine, seccomp.CLONE3[machine]) == seccomp.REFUSE | seccomp.ENOSYS
    assert decide(code, machine, seccomp.IOCTL[machine], [0, 0x5401]) == seccomp.ALLOW
    assert decide(code, machine, seccomp.IOCTL[machine], [0, 0x5412]) == seccomp.REFUSE | seccomp.ENOTTY
    assert decide(code, machine, seccomp.PRLIMIT[machine], [0]) == seccomp.ALLOW
    assert decide(code, machine, seccomp.PRLIMIT[machine], [1]) == REFUSED
    assert decide(code, machine, seccomp.PRCTL[machine], [1]) == REFUSED


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_a_pair_of_connected_sockets_and_no_address(machine):
    code = seccomp.filter_code(machine)
    pair = seccomp.SOCKETPAIR[machine]
    for kind in (1, 1 | 0o2000000, 1 | 0o4000, 1 | 0o2004000):  # SOCK_STREAM, CLOEXEC, NONBLOCK
        assert decide(code, machine, pair, [1, kind]) == seccomp.ALLOW
    for family, kind in ((2, 1), (0, 1), (16, 3), (1, 2), (1, 5), (1, 3), (1, 1 | 64), (1, 0)):
        assert decide(code, machine, pair, [family, kind]) == REFUSED
    for call in (seccomp.SENDTO[machine], seccomp.RECVFROM[machine]):
        assert decide(code, machine, call, [5, 99, 1, 0, 0, 0]) == seccomp.ALLOW
        assert decide(code, machine, call, [5, 99, 1, 0, 0x7FFF, 8]) == REFUSED
        assert decide(code, machine, call, [5, 99, 1, 0, 1 << 40, 8]) == REFUSED
        assert decide(code, machine, call, [5, 99, 1, 1, 0, 0]) == REFUSED  # out of band


def test_another_architectures_calls_kill():
    code = seccomp.filter_code("x86_64")
    assert decide(code, "aarch64", 63) == seccomp.KILL
    assert decide(code, "x86_64", 0x4000_0000) == seccomp.KILL


def test_a_processor_without_a_table_has_no_filter():
    with pytest.raises(NotImplementedError, match="no filter for riscv64"):
        seccomp.filter_code("riscv64")
