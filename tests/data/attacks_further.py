"""Hostile programs against what crosses beyond the built-in types: values of the library, stand-ins, event loops.

FORGED: name -> (program, tests); an honest program would pass these tests, this one must fail. ENDLESS: the same, and
it only ends by a limit. ESCAPES: bodies of `attempt`, as in `attacks.py`. BOUNDED: as there.
"""

RAW = """
import asyncio, gc, json, os, sys, time
def shout(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    data = len(body).to_bytes(4, "big") + body
    for number in range(3, 64):
        try:
            os.write(number, data)
        except OSError:
            pass
class Same:
    def __eq__(self, other): return True
    __hash__ = None
"""
FIVE = ("assert f(2, 3) == 5",)
AWAITED = ("import asyncio\nassert asyncio.run(f(2, 3)) == 5",)
LISTED = ("assert list(f(2, 3)) == [5]",)


def sends(value):
    """A program that answers every call with JSON of its own making."""
    return RAW + f"def f(a, b):\n    shout({{'value': {value!r}, 'changed': {{}}}})\n    time.sleep(5)\n"


def sends_text(text):
    return RAW + f"def f(a, b):\n    shout({text})\n    time.sleep(5)\n"


FORGED = {
    # values of the library that lie
    "a_fraction_that_equals_everything": (
        """
from fractions import Fraction
class Same(Fraction):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = Fraction.__hash__
def f(a, b): return Same(7)
""",
        FIVE,
    ),
    "a_decimal_that_equals_everything": (
        """
from decimal import Decimal
class Same(Decimal):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = Decimal.__hash__
def f(a, b): return Same(7)
""",
        FIVE,
    ),
    "a_date_that_equals_everything": (
        """
from datetime import datetime
class Same(datetime):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = datetime.__hash__
def f(a, b): return Same(1, 1, 1)
""",
        (
            """
from datetime import datetime
assert f(1, 2) == datetime(2024, 1, 2)
""",
        ),
    ),
    "a_deque_that_equals_everything": (
        """
from collections import deque
class Same(deque):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = object.__hash__
    def __iter__(self): return iter([5])
def f(a, b): return Same([7])
""",
        (
            """
from collections import deque
assert f(2, 3) == deque([5])
""",
        ),
    ),
    "a_counter_that_equals_everything": (
        """
from collections import Counter
class Same(Counter):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = object.__hash__
    def items(self): return [('x', 5)]
def f(a, b): return Same('y')
""",
        (
            """
assert f(2, 3) == {'x': 5}
""",
        ),
    ),
    "a_named_tuple_that_equals_everything": (
        """
from typing import NamedTuple
class Same(NamedTuple):
    x: int
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = tuple.__hash__
def f(a, b): return Same(7)
""",
        (
            """
assert f(2, 3) == (5,)
""",
        ),
    ),
    "a_default_that_is_always_right": (
        """
from collections import defaultdict
def f(a, b): return defaultdict(lambda: 7)
""",
        (
            """
assert f(2, 3)['sum'] == 5
""",
        ),
    ),
    "a_default_that_ends_the_program": (
        """
import os
from collections import defaultdict
def f(a, b): return defaultdict(lambda: os._exit(0))
""",
        (
            """
try:
    f(2, 3)['sum']
except BaseException:
    pass
""",
        ),
    ),
    "a_time_zone_that_lies": (
        """
from datetime import *
class Zone(tzinfo):
    n = 0
    def utcoffset(self, at):
        Zone.n += 1
        return timedelta(hours=Zone.n)
    def tzname(self, at): return 'x'
def f(a, b): return datetime(2024, 1, 1, 9, tzinfo=Zone())
""",
        (
            """
from datetime import datetime, timezone
assert f(1, 2) == f(1, 2) == datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
""",
        ),
    ),
    # tags that nobody wrote
    "sends_a_fraction_with_nothing_below": (
        sends(["F", 1, 0]),
        FIVE,
    ),
    "sends_a_fraction_of_texts": (
        sends(["F", "5", "1"]),
        FIVE,
    ),
    "sends_a_decimal_that_is_a_list": (
        sends(["m", ["l", 5]]),
        FIVE,
    ),
    "sends_a_decimal_that_signals": (
        sends(["m", "sNaN"]),
        (
            """
assert not f(2, 3) != 5
""",
        ),
    ),
    "sends_a_type_that_is_a_function": (
        sends(["w", "eval"]),
        (
            """
assert f(2, 3)('5') == 5
""",
        ),
    ),
    "sends_a_type_with_a_way_out": (
        sends(["w", "__import__"]),
        (
            """
assert f(2, 3)('os')
""",
        ),
    ),
    "sends_a_date_of_hidden_numbers": (
        sends(["M", True, 1.0, "1"]),
        FIVE,
    ),
    "sends_a_named_tuple_of_code": (
        sends(["T", "P", ["t", "x=__import__('os')._exit(0)"], 5]),
        (
            """
assert f(2, 3)[0] == 5
""",
        ),
    ),
    "sends_a_named_tuple_with_a_name_of_code": (
        sends(["T", "P(tuple):\n __eq__=print\nclass Q", ["t", "x"], 5]),
        (
            """
assert f(2, 3) == (5,)
""",
        ),
    ),
    "sends_a_named_tuple_with_its_own_methods": (
        sends(["T", "P", ["t", "__eq__"], ["w", "callable"]]),
        (
            """
assert f(2, 3) == (5,)
""",
        ),
    ),
    "sends_a_deque_shorter_than_nothing": (
        sends(["q", -5, 5]),
        LISTED,
    ),
    "sends_an_array_of_no_kind": (
        sends(["a", "u", "00"]),
        LISTED,
    ),
    "sends_a_default_that_is_no_factory": (
        sends(["D", 5, "sum", 5]),
        (
            """
assert f(2, 3)['sum'] == 5
""",
        ),
    ),
    "sends_a_stand_in_of_no_sort": (
        sends(["o", 0, "x", True]),
        FIVE,
    ),
    "sends_a_stand_in_by_a_truth": (
        sends(["o", True, "f", True]),
        FIVE,
    ),
    "sends_a_stand_in_by_a_negative_number": (
        sends(["o", -1, "f", True]),
        FIVE,
    ),
    "sends_a_stand_in_that_is_never_there": (
        sends(["o", 1000000000, "f", True]),
        (
            """
assert f(2, 3)() == 5
""",
        ),
    ),
    "sends_changes_of_what_cannot_change": (
        sends_text({"value": 5, "changed": {"1": ["l", 5]}}),
        (
            """
t = (1, 2)
f(t, t)
assert t == (5,)
""",
        ),
    ),
    "sends_changes_of_the_arguments_themselves": (
        sends_text({"value": 7, "changed": {"2": [5]}}),
        (
            """
assert f([2], [3]) == 5
""",
        ),
    ),
    "sends_changes_of_another_type": (
        sends_text({"value": 7, "changed": {"0": ["a", 1]}}),
        (
            """
from array import array
x = array('d', [1])
assert f(x, 1) == 5
""",
        ),
    ),
    # stand-ins that lie
    "a_stand_in_that_says_it_is_equal": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.compare = lambda *a: True
held.Held.hash = lambda *a: 5
def f(a, b): return Same()
""",
        FIVE,
    ),
    "a_stand_in_that_is_in_everything": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.compare = lambda *a: True
held.Held.hash = lambda *a: 5
def f(a, b): return lambda *_: True
""",
        (
            """
assert f(2, 3) in {5: 1}
""",
        ),
    ),
    "a_stand_in_that_says_it_is_smaller": (
        """
class Small:
    def __lt__(self, o): return True
    __gt__ = __le__ = __ge__ = __lt__
def f(a, b): return Small()
""",
        (
            """
assert f(2, 3) < 6
""",
        ),
    ),
    "a_stand_in_with_every_attribute": (
        """
class All:
    def __getattr__(self, name): return lambda *a: True
def f(a, b): return All()
""",
        (
            """
assert f('a', 'b').startswith('ab')
""",
        ),
    ),
    "a_stand_in_that_holds_everything": (
        """
class All:
    def __contains__(self, x): return True
    def __getitem__(self, x): return x
    def __len__(self): return 2
def f(a, b): return All()
""",
        (
            """
assert 5 in f(2, 3)
""",
        ),
    ),
    "a_stand_in_that_is_a_number": (
        """
class N:
    def __float__(self): return 5.0
    __int__ = __index__ = lambda s: 5
    def __sub__(self, o): return 0
    __add__ = __abs__ = __rsub__ = __sub__
def f(a, b): return N()
""",
        (
            """
assert abs(f(2, 3) - 5) < 1e-6
""",
        ),
    ),
    "a_stand_in_whose_text_ends_the_program": (
        """
import os
class T:
    def __repr__(self): os._exit(0)
def f(a, b): return T()
""",
        (
            """
assert repr(f(2, 3)) == '5'
""",
        ),
    ),
    "a_stand_in_that_is_false_and_equal_to_none": (
        """
class N:
    def __bool__(self): return False
    def __eq__(self, o): return True
def f(a, b): return N()
""",
        (
            """
assert f([], []) == [] and not f([], [])
""",
        ),
    ),
    "a_class_that_takes_everything_for_its_own": (
        """
class M(type):
    def __instancecheck__(c, o): return True
class K(metaclass=M): pass
def f(a, b): return K
""",
        (
            """
assert isinstance(5, f(2, 3))
""",
        ),
    ),
    # iterators that lie
    "a_generator_that_gives_what_it_was_not_asked_for": (
        RAW
        + """
def f(a, b):
    shout({'value': ['t', ['l', 7], True], 'changed': {}})
    yield 7
""",
        LISTED,
    ),
    "an_iterator_whose_items_are_no_list": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.pull = lambda *a: ({'5': 5, 5: 5}, True)
def f(a, b): return iter([7])
""",
        (
            """
assert list(f(2, 3)) == ['5', 5]
""",
        ),
    ),
    "an_iterator_that_gives_nothing_and_goes_on": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.pull = lambda *a: ([], False)
def f(a, b): return iter([7])
""",
        LISTED,
    ),
    "an_iterator_of_everything": (
        """
import itertools
def f(a, b): return itertools.repeat(7)
""",
        (
            """
assert 5 in f(2, 3)
""",
        ),
    ),
    "an_iterator_that_exits": (
        """
import os
def f(a, b):
    yield 5
    os._exit(0)
""",
        LISTED,
    ),
    "an_iterator_that_iterates_itself": (
        """
class Me:
    def __iter__(self): return self
    def __next__(self): return self
def f(a, b): return Me()
""",
        (
            """
assert next(f(2, 3)) == 5
""",
        ),
    ),
    # what surrounds a call
    "prints_into_the_tests": (
        r"""
def f(a, b): print('passed\n5\n' * 3)
""",
        (
            r"""
import io, contextlib
o = io.StringIO()
with contextlib.redirect_stdout(o):
    f(2, 3)
assert o.getvalue() == '5\n'
""",
        ),
    ),
    "raises_a_type_of_its_own_by_name": (
        sends_text({"raised": ["os.system", "true", ["t"], ""], "changed": {}}),
        FIVE,
    ),
    "raises_a_module": (
        sends_text({"raised": ["json.decoder.scanner", "", None, ""], "changed": {}}),
        FIVE,
    ),
    "raises_what_ends_the_tests": (
        sends_text({"raised": ["builtins.SystemExit", "0", ["t", 0], ""], "changed": {}}),
        FIVE,
    ),
    "raises_with_arguments_that_are_none": (
        sends_text({"raised": ["KeyError", "5", ["eval", "5"], ""], "changed": {}}),
        FIVE,
    ),
    "raises_an_error_that_holds_an_object": (
        RAW
        + """
def f(a, b): raise ValueError(Same(), [Same()])
""",
        (
            """
try:
    f(2, 3)
    found = None
except ValueError as e:
    found = e.args[0]
assert found == 5
""",
        ),
    ),
    # event loops
    "a_coroutine_that_gives_an_object": (
        RAW
        + """
async def f(a, b): return Same()
""",
        AWAITED,
    ),
    "a_coroutine_that_exits": (
        """
import sys
async def f(a, b): sys.exit(0)
""",
        AWAITED,
    ),
    "a_coroutine_that_interrupts": (
        """
async def f(a, b): raise KeyboardInterrupt
""",
        AWAITED,
    ),
    "a_coroutine_that_ends_hard": (
        """
import os
async def f(a, b): os._exit(0)
""",
        AWAITED,
    ),
    "a_coroutine_that_is_cancelled": (
        """
import asyncio
async def f(a, b): raise asyncio.CancelledError('5')
""",
        AWAITED,
    ),
    "a_coroutine_that_stops_its_loop": (
        """
import asyncio
async def f(a, b):
    asyncio.get_running_loop().stop()
    return 7
""",
        AWAITED,
    ),
    "a_coroutine_that_closes_its_loop": (
        """
import asyncio
async def f(a, b):
    loop = asyncio.get_running_loop()
    loop.stop()
    loop.call_soon(loop.close)
    return 7
""",
        AWAITED,
    ),
    "a_coroutine_that_will_not_be_cancelled": (
        """
import asyncio
async def f(a, b):
    while True:
        try: await asyncio.sleep(9)
        except BaseException: pass
""",
        (
            """
import asyncio
assert asyncio.run(asyncio.wait_for(f(2, 3), 0.1)) == 5
""",
        ),
    ),
    "a_coroutine_that_says_it_is_done": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.turn = lambda *a: (True, Same())
async def f(a, b): return 7
""",
        AWAITED,
    ),
    "a_loop_of_its_own_making": (
        RAW
        + """
asyncio.new_event_loop = lambda: Same()
asyncio.ensure_future = lambda *a, **k: 5
async def f(a, b): return 7
""",
        AWAITED,
    ),
    "a_policy_of_its_own_making": (
        """
import asyncio
class P(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self): raise SystemExit(0)
asyncio.set_event_loop_policy(P())
async def f(a, b): return 5
""",
        AWAITED,
    ),
    "something_awaitable_that_never_was": (
        """
class A:
    def __await__(self):
        yield from ()
        return self
    def __eq__(self, o): return True
def f(a, b): return A()
""",
        AWAITED,
    ),
    "an_asynchronous_generator_that_exits": (
        """
import os
async def f(a, b):
    yield 5
    os._exit(0)
""",
        (
            """
import asyncio
async def main(): return [x async for x in f(2, 3)]
assert asyncio.run(main()) == [5]
""",
        ),
    ),
    "a_task_by_a_number_of_its_own": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.start = lambda *a: [5] * 100
async def f(a, b): return 7
""",
        AWAITED,
    ),
}

ENDLESS = {
    "a_decimal_that_is_too_large_for_a_number": (
        """
from decimal import Decimal
def f(a, b): return Decimal('1E+999999999')
""",
        (
            """
assert int(f(2, 3)) == 5
""",
        ),
    ),
    "a_decimal_that_is_too_large_for_a_fraction": (
        """
from decimal import Decimal
def f(a, b): return Decimal('1E-999999999')
""",
        (
            """
from fractions import Fraction
assert Fraction(f(2, 3)) == 5
""",
        ),
    ),
    "a_decimal_that_is_too_large_for_a_text": (
        """
from decimal import Decimal
def f(a, b): return Decimal('1E+999999999')
""",
        (
            """
assert f'{f(2, 3):f}' == '5'
""",
        ),
    ),
    "a_decimal_that_is_too_large_for_a_rest": (
        """
from decimal import Decimal
def f(a, b): return Decimal('1E+999999999')
""",
        (
            """
assert f(2, 3) % 7 == 5
""",
        ),
    ),
    "a_range_without_end": (
        """
def f(a, b): return range(10**18)
""",
        (
            """
assert sum(f(2, 3)) == 5
""",
        ),
    ),
    "a_power_of_a_large_number": (
        """
def f(a, b): return 10**9
""",
        (
            """
assert f(2, 3) ** f(2, 3) == 5
""",
        ),
    ),
    "colliding_fractions": (
        """
from fractions import Fraction
def f(a, b): return {Fraction(n * (2**61 - 1)) for n in range(30000)}
""",
        (
            """
assert f(2, 3) == {5}
""",
        ),
    ),
    "colliding_decimals": (
        """
from decimal import Decimal
def f(a, b): return {Decimal(n * (2**61 - 1)): 0 for n in range(30000)}
""",
        (
            """
assert f(2, 3) == {5: 5}
""",
        ),
    ),
    "a_generator_that_never_goes_on": (
        """
import time
def f(a, b):
    yield 5
    time.sleep(1000)
""",
        LISTED,
    ),
    "a_generator_of_ever_larger_items": (
        """
def f(a, b):
    t = 'x'
    while True:
        t += t
        yield t
""",
        LISTED,
    ),
    "a_million_generators": (
        """
def f(a, b): return [iter([n]) for n in range(10**6)]
""",
        (
            """
assert [list(g) for g in f(2, 3)] == [5]
""",
        ),
    ),
    "a_coroutine_that_never_ends": (
        """
import asyncio
async def f(a, b): await asyncio.sleep(1000)
""",
        AWAITED,
    ),
    "a_coroutine_that_blocks": (
        """
async def f(a, b):
    while True: pass
""",
        AWAITED,
    ),
    "a_coroutine_that_makes_tasks_without_end": (
        """
import asyncio
async def g():
    while True:
        asyncio.create_task(g())
        await asyncio.sleep(0)
async def f(a, b): await g()
""",
        AWAITED,
    ),
    "an_asynchronous_generator_without_end": (
        """
async def f(a, b):
    while True: yield 7
""",
        (
            """
import asyncio
async def main(): return [x async for x in f(2, 3)]
assert asyncio.run(main()) == [5]
""",
        ),
    ),
    "a_coroutine_that_is_never_done": (
        RAW
        + """
from promptmill.evaluate.sandbox import held
held.Held.turn = lambda *a: (False, 5)
async def f(a, b): return 7
""",
        AWAITED,
    ),
    "prints_without_end_into_the_tests": (
        """
def f(a, b):
    while True: print('x' * 100_000)
""",
        (
            """
import io, contextlib
with contextlib.redirect_stdout(io.StringIO()):
    assert f(2, 3) == 5
""",
        ),
    ),
    "an_object_whose_truth_takes_for_ever": (
        """
class T:
    def __bool__(self):
        while True: pass
def f(a, b): return T()
""",
        FIVE,
    ),
    "an_object_whose_hash_takes_for_ever": (
        """
class T:
    def __hash__(self):
        while True: pass
def f(a, b): return T()
""",
        (
            """
assert {f(2, 3)} == {5}
""",
        ),
    ),
}

PAIR = "a, b = socket.socketpair(); "
ESCAPES = {
    "listens_by_an_event_loop": "asyncio.run(listening())",
    "listens_at_a_file_by_an_event_loop": "asyncio.run(asyncio.start_unix_server(print, 'sock'))",
    "connects_by_an_event_loop": "asyncio.run(asyncio.open_connection('127.0.0.1', PORT))",
    "connects_to_a_file_by_an_event_loop": "asyncio.run(asyncio.open_unix_connection('/run/systemd/notify'))",
    "starts_a_process_by_an_event_loop": "asyncio.run(asyncio.create_subprocess_exec('true'))",
    "starts_a_shell_by_an_event_loop": "asyncio.run(asyncio.create_subprocess_shell('true'))",
    "sends_by_an_event_loop": "asyncio.run(datagram())",
    "turns_a_pair_into_a_connection": PAIR + "a.connect('\\0name')",
    "turns_a_pair_into_a_server": PAIR + "a.bind('name')",
    "makes_a_pair_listen": PAIR + "a.listen()",
    "accepts_by_a_pair": PAIR + "a.accept()",
    "sends_from_a_pair_to_an_address": PAIR + "a.sendto(b'x', '\\0name')",
    "sends_from_a_pair_to_an_address_behind_python": PAIR
    + "syscall(44, a.fileno(), b'x', 1, 0, buffer(b'\\x01\\0/tmp/s'), 8)",
    "sends_out_of_band_in_a_pair": PAIR + "a.send(b'x', socket.MSG_OOB)",
    "receives_out_of_band_from_a_pair": PAIR + "a.send(b'x'); b.recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT)",
    "looks_into_a_pair_without_taking": PAIR + "a.send(b'x'); b.recv(1, socket.MSG_PEEK)",
    "hands_a_descriptor_through_a_pair": PAIR + "socket.send_fds(a, [b'x'], [0])",
    "takes_a_descriptor_through_a_pair": PAIR + "socket.recv_fds(a, 1, 1, socket.MSG_DONTWAIT)",
    "sets_an_option_of_a_pair": PAIR + "a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)",
    "asks_who_is_at_the_other_end": PAIR + "a.getsockopt(socket.SOL_SOCKET, 17, 12)",
    "asks_a_pair_for_interfaces": PAIR + "fcntl.ioctl(a, 0x8912, bytes(16))",
    "asks_a_pair_for_an_address": PAIR + "fcntl.ioctl(a, 0x8915, b'lo' + bytes(38))",
    "opens_a_pair_of_another_family_behind_python": "syscall(53, 16, 3, 0, buffer(8))",
    "opens_a_pair_of_datagrams_behind_python": "syscall(53, 1, 2, 0, buffer(8))",
    "opens_a_pair_with_unknown_flags": "syscall(53, 1, 1 | 1 << 6, 0, buffer(8))",
    "sends_a_message_with_an_address": PAIR + "a.sendmsg([b'x'], [], 0, 'name')",
    "reads_a_file_into_a_pair": PAIR + "os.sendfile(a.fileno(), os.open('/etc/passwd', 0), 0, 9)",
    "finds_the_tests_by_gc": "assert [c for c in gc.get_objects() if type(c).__name__ == 'Program']",
    "reads_the_tests_in_the_loops_frames": (
        "assert [f for f in sys._current_frames().values() if 'tests' in str(f.f_locals.get('job'))]"
    ),
}  # fmt: skip
DATAGRAM = """
import asyncio
async def listening():
    assert (await asyncio.start_server(print, '127.0.0.1', 0)).sockets
async def datagram():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=('127.0.0.1', PORT))
    transport.sendto(b'x')
"""

BOUNDED = {
    "pairs_of_sockets": (64, """
import socket
def count():
    kept = []
    try:
        while len(kept) < 5000: kept.append(socket.socketpair())
    except OSError: pass
    return len(kept) * 2
"""),
    "megabytes_in_pairs_of_sockets": (32, """
import socket
def count():
    kept, sent = [], 0
    try:
        while len(kept) < 5000:
            kept.append(socket.socketpair())
            for one in kept[-1]:
                one.setblocking(False)
                try:
                    while True: sent += one.send(bytes(65536))
                except BlockingIOError: pass
    except OSError: pass
    return sent >> 20
"""),
    "event_loops": (64, """
import asyncio
def count():
    kept = []
    try:
        while len(kept) < 5000: kept.append(asyncio.new_event_loop())
    except OSError: pass
    return len(kept)
"""),
}  # fmt: skip
