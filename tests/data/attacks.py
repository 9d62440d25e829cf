"""Hostile programs. Each is judged by tests that an honest one would pass, or tries to get out and says how that went.

FORGED: must not pass. ESCAPES: `attempt` must come back with "stopped"; anything it raises is caught for it.
EXHAUST: must end in time, without passing; what it may get is bounded by its own test where there is one.
"""

TASK = ("assert add(2, 3) == 5", "assert add(20, 22) == 42", "assert add([1], [2]) == [1, 2]")
RAW = """
import gc, json, os, stat, struct, sys, threading, time
def frame(message):
    body = json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body
def descriptors():
    found = []
    for number in range(3, 300):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found
def shout(data, every=True):
    for number in descriptors():
        try:
            os.write(number, data)
        except OSError:
            pass
"""

FORGED = {
    "prints_passed": "print('passed'); print('OK'); print('1.0')\ndef add(a, b): print('passed'); return None",
    "exits_with_0_while_loading": "import sys; sys.exit(0)",
    "ends_hard_with_0_while_loading": "import os; os._exit(0)",
    "exits_with_0_when_called": "import sys\ndef add(a, b): sys.exit(0)",
    "ends_hard_with_0_when_called": "import os\ndef add(a, b): os._exit(0)",
    "raises_SystemExit_when_called": "def add(a, b): raise SystemExit(0)",
    "raises_KeyboardInterrupt": "def add(a, b): raise KeyboardInterrupt",
    "raises_a_BaseException_of_its_own": "class Quiet(BaseException): pass\ndef add(a, b): raise Quiet('passed')",
    "exits_from_atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): return None",
    "kills_itself": "import signal\ndef add(a, b): signal.raise_signal(signal.SIGKILL)",
    "aborts": "import os\nos.abort()",
    "returns_an_object_that_equals_everything": """
class Same:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 5
def add(a, b): return Same()
""",
    "returns_an_int_that_equals_everything": """
class Same(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def add(a, b): return Same(7)
""",
    "returns_a_list_that_equals_everything": """
class Same(list):
    def __eq__(self, other): return True
    def __iter__(self): return iter([1, 2])
def add(a, b): return Same()
""",
    "lies_about_its_class": """
class Same:
    __class__ = int
    def __eq__(self, other): return True
    def __index__(self): return 5
def add(a, b): return Same()
""",
    "hides_in_a_container": """
class Same:
    def __eq__(self, other): return True
def add(a, b): return [Same(), Same()] if isinstance(a, list) else Same()
""",
    "a_metaclass_lies": """
class Meta(type):
    def __instancecheck__(cls, other): return True
    def __eq__(cls, other): return True
    __hash__ = type.__hash__
class Same(metaclass=Meta): pass
def add(a, b): return Same
""",
    "returns_nan": "def add(a, b): return float('nan')",
    "returns_true": "def add(a, b): return True",
    "returns_what_the_test_may_hold": "def add(a, b): return '2 + 3 == 5'",
    "returns_a_generator_without_end": "import itertools\ndef add(a, b): return itertools.count()",
    "returns_a_generator_that_exits": "import os\ndef add(a, b):\n    yield 5\n    os._exit(0)",
    "returns_a_number_of_a_million_digits": "def add(a, b): return 7 ** 1_200_000",
    "returns_a_text_of_a_hundred_megabytes": "def add(a, b): return 'x' * 100_000_000",
    "returns_a_list_nested_100000_deep": "def add(a, b):\n    v = []\n    for _ in range(10**5): v = [v]\n    return v",
    "returns_itself_in_itself": "def add(a, b):\n    v = []\n    v.append(v)\n    return v",
    "returns_a_function": "def add(a, b): return lambda *_: 5",
    "returns_a_module": "import os\ndef add(a, b): return os",
    "patches_builtins": """
import builtins
builtins.AssertionError = type("Quiet", (Exception,), {})
builtins.len = lambda *_: 0
builtins.isinstance = lambda *_: True
builtins.type = lambda *_: int
builtins.compile = lambda *a, **k: None
builtins.exec = lambda *a, **k: None
def add(a, b): return None
""",
    "patches_unittest": """
import unittest
unittest.TestCase.assertEqual = lambda *a, **k: None
unittest.TestResult.wasSuccessful = lambda *a: True
def add(a, b): return None
""",
    "patches_json_and_struct": """
import json, struct
json.dumps = lambda *a, **k: '{"passed": true, "value": 5, "detail": "", "together": false}'
json.loads = lambda *a, **k: {"call": "add", "arguments": ["t"], "options": ["d"]}
def add(*a, **k): return 5
""",
    "patches_the_harness": """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith("promptmill"):
        for attribute in list(vars(module)):
            value = getattr(module, attribute)
            if callable(value) and not isinstance(value, type):
                setattr(module, attribute, lambda *a, **k: (True, "", False))
def add(a, b): return None
""",
    "imports_the_harness_and_calls_it": """
from promptmill.evaluate.sandbox import tests
tests.ruling = lambda *a, **k: (True, "", False)
tests.judge.__globals__["RIGHT"] = True
tests.judge.__globals__["WRONG"] = True
def add(a, b): return None
""",
    "patches_the_graph_of_values": """
from promptmill.evaluate.sandbox import values
values.Graph.dump = lambda *a, **k: ["passed", True]
values.Graph.load = lambda *a, **k: ()
def add(*a, **k): return None
""",
    "writes_a_verdict_into_every_descriptor": RAW
    + """
shout(frame({"passed": True, "detail": "", "together": False}) * 3)
def add(a, b): return None
""",
    "writes_a_verdict_when_called": RAW
    + """
def add(a, b):
    shout(frame({"passed": True, "detail": "", "together": False}))
    shout(json.dumps({"code": 0, "late": False}).encode())
    return None
""",
    "answers_before_it_is_asked": RAW + "shout(frame({'loaded': True}) + frame({'value': 5, 'changed': {}}) * 50)\n"
    "def add(a, b): return None",
    "answers_from_a_thread": RAW
    + """
def later():
    while True:
        shout(frame({"passed": True, "value": None, "changed": {}}))
        time.sleep(0.01)
threading.Thread(target=later, daemon=True).start()
def add(a, b): return None
""",
    "finds_the_channel_by_gc": RAW
    + """
def add(a, b):
    for thing in gc.get_objects():
        if type(thing).__name__ in ("Channel", "socket"):
            try:
                thing.send({"passed": True, "detail": "", "together": False})
            except Exception:
                pass
    return None
""",
    "looks_for_the_answer_in_memory": RAW
    + """
def add(a, b):
    for thing in gc.get_objects() + [v for d in gc.get_objects() if type(d) is dict for v in list(d.values())]:
        if type(thing) is str and "assert add(" in thing and thing.count("\\n") < 3:
            return eval(thing.split("==")[1])
    return None
""",
    "looks_for_the_answer_in_frames": """
import sys
def add(a, b):
    at = sys._getframe()
    while at:
        for value in at.f_locals.values():
            if isinstance(value, str) and "== 5" in value: return 5
            if isinstance(value, dict) and "tests" in value: return 5
        at = at.f_back
    return None
""",
    "looks_for_the_answer_in_raw_memory": """
import ctypes, re
def add(a, b):
    base = id(a) & ~0xFFFFF
    found = b""
    for n in range(256):
        try: found += ctypes.string_at(base + n * 4096, 4096)
        except Exception: break
    return 5 if b"assert add(2, " + b"3) == 5" in found else None
""",
    "changes_the_arguments_to_fit": "def add(a, b):\n    if isinstance(a, list): a[:] = []; b[:] = []\n    return []",
    "sends_changes_of_what_was_not_sent": RAW
    + """
def add(a, b):
    shout(frame({"value": 5, "changed": {"0": ["x"], "99": [], "-1": [1]}}))
    return None
""",
    "sends_references_to_nothing": RAW + "def add(a, b):\n    shout(frame({'value': ['r', -1]}))\n    return None",
    "sends_booleans_as_references": RAW + "def add(a, b):\n    shout(frame({'value': ['r', True]}))\n    return None",
    "sends_a_type_by_name": RAW
    + "def add(a, b):\n    shout(frame({'raised': ['eval', '__import__(\"os\")._exit(0)']}))",
    "sends_an_exception_that_ends_the_tests": RAW + "def add(a, b):\n    shout(frame({'raised': ['SystemExit', '0']}))",
    "sends_garbage": RAW + "shout(os.urandom(4096))\ndef add(a, b): return None",
    "sends_a_frame_of_four_gigabytes": RAW + "shout(b'\\xff\\xff\\xff\\xff' + b'x' * 1000)\ndef add(a, b): return None",
    "sends_json_nested_a_million_deep": RAW
    + """
body = b"[" * 1_000_000
shout(len(body).to_bytes(4, "big") + body)
def add(a, b): return None
""",
    "sends_a_list_where_an_answer_should_be": RAW + "shout(frame([1, 2, 3]))\ndef add(a, b): return None",
    "sends_a_million_empty_lists": RAW
    + """
body = b'{"value":["l"' + b',["l"]' * 2_500_000 + b"]}"
def add(a, b): shout(len(body).to_bytes(4, "big") + body)
""",
    "closes_every_descriptor": "import os\nos.closerange(0, 1000)\ndef add(a, b): return None",
    "closes_every_descriptor_when_called": "import os\ndef add(a, b): os.closerange(0, 1000)",
    "replaces_every_descriptor": RAW + "for n in descriptors(): os.dup2(0, n)\ndef add(a, b): return None",
    "traces_everything": """
import sys
sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
sys.excepthook = lambda *a: None; sys.unraisablehook = lambda *a: None
def add(a, b): return None
""",
    "removes_builtins": "import builtins\nfor n in list(vars(builtins)): delattr(builtins, n)\n",
    "an_exception_whose_text_lies": """
class Passed(AssertionError):
    def __str__(self): return "passed"
    __repr__ = __str__
def add(a, b): raise Passed
""",
    "an_exception_whose_text_exits": """
import os
class Ends(Exception):
    def __str__(self): os._exit(0)
def add(a, b): raise Ends
""",
    "defines_the_tests_own_names": "def add(a, b): return None\ndef check(*a): return True\nAssertionError = None\n",
    "crashes_the_interpreter": "import ctypes\ndef add(a, b): ctypes.string_at(0)",
    "the_wrong_program": "def add(a, b): return a - b if isinstance(a, int) else None",
    "no_program": "",
    "no_python": "def add(a, b) return a + b",
    "a_null_byte": "def add(a, b):\n    return 5\0",
    "brackets_10000_deep": "(" * 10_000 + ")" * 10_000,
    "reads_from_standard_input": "def add(a, b): return input()",
}

C = """
import ctypes, os, struct
libc, buffer = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer
environment = ctypes.c_void_p.in_dll(libc, 'environ')
def syscall(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0: raise OSError(ctypes.get_errno(), "refused")
    return result
"""

# each line is the body of `attempt`; what follows a "#!" names numbers of x86_64 that only exist there
ESCAPES = {
    "reads_the_users": "open('/etc/passwd').read()",
    "reads_the_users_by_a_way_around": "open('/tmp/../../../../etc/passwd').read()",
    "reads_the_users_by_a_link": "os.symlink('/etc/passwd', 'link'); open('link').read()",
    "reads_the_users_by_a_hard_link": "os.link('/etc/passwd', 'link'); open('link').read()",
    "lists_the_root": "os.listdir('/')",
    "lists_homes": "os.listdir('/home')",
    "lists_the_home_of_this_user": "os.listdir(HOME)",
    "reads_a_secret_file": "open(SECRET).read()",
    "reads_the_project": "open(PROJECT).read()",
    "reads_a_sealed_file": "open('/sealed').read()",
    "reads_its_own_environment": "assert CANARY in str(os.environ)",
    "reads_its_environment_in_memory": "assert CANARY in str(ctypes.string_at(environment.value, 256))",
    "reads_the_environment_of_others": "open('/proc/1/environ').read()",
    "lists_processes": "os.listdir('/proc')",
    "reads_its_memory_map": "open('/proc/self/maps').read()",
    "opens_descriptors_by_proc": "os.open('/proc/self/fd/3', os.O_RDWR)",
    "has_a_descriptor_of_others": "assert [n for n in descriptors() if not stat.S_ISFIFO(os.fstat(n).st_mode)]",
    "leads_somewhere_by_0_1_2": "assert any(os.fstat(n).st_rdev != os.stat('/dev/null').st_rdev for n in (0, 1, 2))",
    "connects_by_tcp": "socket.create_connection(('127.0.0.1', PORT), 1)",
    "sends_by_udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    "opens_a_unix_socket": "socket.socket(socket.AF_UNIX)",
    "opens_an_abstract_socket": "socket.socket(socket.AF_UNIX).bind('\\0sandbox')",
    "opens_a_pair_of_inet_sockets": "socket.socketpair(socket.AF_INET)",
    "opens_a_pair_of_datagram_sockets": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "opens_a_pair_of_packet_sockets": "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)",
    "opens_a_socket_behind_python": "syscall(41, 2, 1, 0)",
    "asks_a_name_server": "socket.getaddrinfo('localhost', 80)[0]; socket.socket()",
    "writes_into_the_root": "open('/new', 'w')",
    "writes_into_the_library": "open(os.path.dirname(os.__file__) + '/new.py', 'w')",
    "changes_the_library": "open(os.__file__, 'a')",
    "removes_from_the_library": "os.unlink(os.__file__)",
    "changes_rights_in_the_library": "os.chmod(os.__file__, 0o777)",
    "writes_shared_memory": "open('/dev/shm/new', 'w')",
    "writes_outside_by_a_link": "os.symlink(HOME, 'out'); open('out/new', 'w')",
    "makes_a_device": "os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))",
    "makes_a_pipe_with_a_name": "os.mkfifo('pipe')",
    "executes_a_file": "os.execv('/bin/sh', ['sh'])",
    "executes_the_interpreter": "os.execv(sys.executable, ['python'])",
    "starts_a_process": "subprocess.run(['true'])",
    "starts_a_shell": "assert os.system('true') == 0",
    "forks": "os.fork()",
    "forks_behind_python": "syscall(57)",
    "vforks_behind_python": "syscall(58)",
    "clones_behind_python": "syscall(56, 17, 0, 0, 0, 0)",
    "clones_by_the_new_call": "syscall(435, buffer(88), 88)",
    "leaves_a_daemon": "os.fork() and os.setsid()",
    "uses_multiprocessing": "multiprocessing.Process(target=print).start()",
    "spawns": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "signals_its_parent": "os.kill(os.getppid(), 9)",
    "signals_process_1_outside": "os.kill(1, 9) or os.kill(2, 9)",
    "signals_everybody": "os.kill(-1, 9)",
    "signals_its_group": "os.killpg(0, 9)",
    "signals_by_descriptor": "os.pidfd_open(os.getppid() or 1)",
    "queues_a_signal": "syscall(129, os.getppid(), 9, buffer(128))",
    "traces_its_parent": "syscall(101, 16, os.getppid() or 2, 0, 0)",
    "lets_itself_be_traced": "syscall(101, 0, 0, 0, 0)",
    "reads_memory_of_others": "syscall(310, os.getppid() or 2, buffer(16), 1, buffer(16), 1, 0)",
    "writes_memory_of_others": "syscall(311, os.getppid() or 2, buffer(16), 1, buffer(16), 1, 0)",
    "compares_with_others": "syscall(312, 1, 2, 0, 0, 0)",
    "takes_a_descriptor_of_others": "syscall(438, 3, 1, 0)",
    "mounts": "syscall(165, b'none', b'/tmp', b'tmpfs', 0, 0)",
    "mounts_by_the_new_calls": "syscall(430, b'tmpfs', 0)",
    "unmounts": "syscall(166, b'/tmp', 2)",
    "changes_the_root": "os.chroot('/tmp')",
    "pivots_the_root": "syscall(155, b'.', b'.')",
    "unshares": "syscall(272, 0x10000000)",
    "joins_a_namespace": "syscall(308, 0, 0)",
    "becomes_root": "os.setuid(0) or os.getuid() and 1 / 0",
    "takes_capabilities": "syscall(126, struct.pack('II', 0x20080522, 0), struct.pack('6I', *[0xffffffff] * 6))",
    "lifts_its_limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "lifts_the_limits_of_others": "resource.prlimit(os.getppid() or 2, resource.RLIMIT_CPU, (1, 1))",
    "asks_to_outlive_its_parent": "assert libc.prctl(1, 0, 0, 0, 0) == 0",
    "clears_its_filter": "assert libc.prctl(22, 0, 0, 0, 0) == 0",
    "lays_a_filter_of_its_own": "syscall(317, 1, 0, 0)",
    "adds_a_key": "syscall(248, b'user', b'x', b'x', 1, -3)",
    "reads_keys": "syscall(250, 0, -3, 0)",
    "loads_bpf": "syscall(321, 0, 0, 0)",
    "opens_performance_counters": "syscall(298, 0, 0, -1, -1, 0)",
    "handles_page_faults": "syscall(323, 1)",
    "opens_an_io_ring": "syscall(425, 8, buffer(120))",
    "makes_a_file_in_memory": "os.memfd_create('x')",
    "shares_memory": "syscall(29, 1234, 4096, 0o1666)",
    "opens_a_message_queue": "syscall(240, b'x', 0o102, 0o600, 0)",
    "opens_by_handle": "syscall(304, -100, buffer(128), 0)",
    "watches_files": "syscall(300, 0, 0)",
    "loads_a_module": "syscall(175, 0, 0, b'')",
    "reboots": "syscall(169, 0xfee1dead, 672274793, 0x1234567, 0)",
    "sets_the_clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "sets_the_name_of_the_machine": "socket.sethostname('x')",
    "types_into_the_terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "picks_processors": "os.sched_setaffinity(0, {0})",
    "takes_priority": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "locks_memory": "syscall(151, 1)",
    "sees_the_name_of_the_machine": "assert os.uname().nodename not in ('sandbox',)",
    "sees_other_interfaces": "assert len(socket.if_nameindex()) > 1",
    "removes_its_folder": "os.rmdir(os.getcwd())",
    "imports_packages": "import msgspec",
    "imports_the_engine": "import promptmill.generate.window",
}  # fmt: skip

ATTEMPT = (
    (RAW + C).replace("{", "{{").replace("}", "}}")
    + """
import fcntl, multiprocessing, resource, socket, subprocess
HOME, SECRET, PROJECT, CANARY, PORT = {known!r}
def attempt():
    try:
        {body}
    except (OSError, AssertionError, ImportError, ValueError):
        return "stopped"
    return "escaped"
"""
)

EXHAUST = {
    "sends_half_a_frame_and_hangs": RAW + "shout(b'\\x00\\x00\\x01\\x00{')\ntime.sleep(60)",
    "sends_a_frame_drop_by_drop": RAW
    + """
for byte in b"\\x00\\x00\\x10\\x00" + b" " * 4096:
    shout(bytes([byte])); time.sleep(0.1)
""",
    "forks_without_end": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "loops_without_end": "def add(a, b):\n    while True: pass",
    "loops_without_end_while_loading": "while True: pass",
    "loops_in_c": "import itertools\ndef add(a, b): return sum(itertools.count())",
    "loops_in_a_pattern": "import re\ndef add(a, b): return re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "returns_a_dict_of_colliding_keys": "def add(a, b): return {n * (2 ** 61 - 1): 0 for n in range(30000)}",
    "loops_in_a_power": "def add(a, b): return (9 ** 9 ** 9) % 7",
    "loops_in_a_factorial": "import math\ndef add(a, b): return math.factorial(100_000_000)",
    "sleeps": "import time\ndef add(a, b): time.sleep(1000)",
    "ignores_every_signal_and_loops": """
import signal
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
    "loops_in_threads": """
import threading
def spin():
    while True: pass
for _ in range(1000):
    try: threading.Thread(target=spin).start()
    except RuntimeError: break
spin()
""",
    "waits_for_itself": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "writes_output_without_end": "def add(a, b):\n    while True: print('x' * 100_000, flush=True)",
    "fills_memory_with_a_list": "def add(a, b):\n    v = [0]\n    while True: v = v + v",
    "fills_memory_with_bytes": "def add(a, b): return len(bytearray(1 << 40))",
    "fills_memory_with_a_text": "def add(a, b): return len('x' * (1 << 36))",
    "fills_memory_with_maps": "import mmap\nkept = []\nwhile True: kept.append(mmap.mmap(-1, 1 << 24))",
    "fills_memory_with_objects": "class A: pass\nkept = []\nwhile True: kept.append(A())",
    "fills_memory_by_unpacking": "import zlib\nb = zlib.compress(bytes(1 << 24))\nv = [zlib.decompress(b) for _ in b]",
    "fills_memory_with_pipes": "import os\nkept = []\nwhile True:\n    r, w = os.pipe()\n    os.write(w, b'x' * 60000)",
    "recurses_without_end": "def add(a, b): return add(a, b)",
    "recurses_beyond_the_stack": "import sys\nsys.setrecursionlimit(10**9)\ndef add(a, b): return repr(add(a, b))",
    "recurses_in_repr": "import sys\nsys.setrecursionlimit(10**9)\nv = []\nfor _ in range(10**6): v = [v]\nrepr(v)",
    "opens_files_without_end": "kept = []\nwhile True: kept.append(open('/dev/null'))",
    "nests_folders_without_end": "import os\nwhile True:\n    os.mkdir('d'); os.chdir('d')",
    "removes_its_files_and_loops": "import os, shutil\nwhile True: shutil.rmtree(os.getcwd(), ignore_errors=True)",
    "links_in_circles": "import os\nos.symlink('b', 'a'); os.symlink('a', 'b')\nopen('a')",
}

# how much it got; the test bounds it
BOUNDED = {
    "threads": (80, """
import threading, time
def count():
    n = 0
    threading.stack_size(32768)
    try:
        while n < 5000:
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            n += 1
    except RuntimeError: pass
    return n
"""),
    "megabytes_of_files": (20, """
def count():
    written = 0
    for n in range(40):
        try:
            with open(f'f{n}', 'wb', buffering=0) as file:
                for _ in range(4): written += file.write(bytes(1 << 20))
        except OSError: pass
    return written >> 20
"""),
    "megabytes_of_one_sparse_file": (20, """
def count():
    try:
        with open('f', 'wb') as file: file.truncate(1 << 40)
    except OSError: return 0
    return 1 << 20
"""),
    "files": (1100, """
def count():
    for n in range(5000):
        try: open(f'f{n}', 'w').close()
        except OSError: return n
    return n
"""),
    "descriptors": (64, """
import os
def count():
    for n in range(5000):
        try: os.dup(0)
        except OSError: return n
    return n
"""),
    "megabytes_of_memory": (260, """
def count():
    kept = []
    try:
        while True: kept.append(bytearray(1 << 20))
    except MemoryError:
        n = len(kept)
        kept.clear()
        return n
"""),
}  # fmt: skip
