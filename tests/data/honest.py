"""Honest programs of varied style with their tests: name -> (a right program, a wrong one, the tests).

What is expected of each is not written here: a plain interpreter says it (tests/unit/evaluate/test_code_honest.py).
"""

PROGRAMS = {
    "a class whose methods the tests use": (
        """
class Stack:
    def __init__(self):
        self._items = []
    def push(self, item):
        self._items.append(item)
        return self
    def pop(self):
        if not self._items:
            raise IndexError("pop from an empty stack")
        return self._items.pop()
    def __len__(self):
        return len(self._items)
""",
        """
class Stack:
    def __init__(self):
        self._items = []
    def push(self, item):
        self._items.append(item)
        return self
    def pop(self):
        return self._items.pop(0)
    def __len__(self):
        return len(self._items)
""",
        """
s = Stack()
s.push(1).push(2)
assert s.pop() == 2
assert len(s) == 1
s.pop()
try:
    s.pop()
    assert False, "nothing was raised"
except IndexError as error:
    assert str(error) == "pop from an empty stack"
""",
    ),
    "a class that a function makes": (
        """
class Account:
    def __init__(self, balance=0):
        self.balance = balance
    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance += amount
        return self.balance
def open_account(balance=0):
    return Account(balance)
def transfer(source, target, amount):
    source.balance -= amount
    target.balance += amount
def total(*accounts):
    return sum(a.balance for a in accounts)
""",
        """
class Account:
    def __init__(self, balance=0):
        self.balance = balance
def open_account(balance=0):
    return Account(balance)
def transfer(source, target, amount):
    target.balance += amount
def total(*accounts):
    return sum(a.balance for a in accounts)
""",
        """
a, b = open_account(100), open_account(50)
transfer(a, b, 30)
assert total(a, b) == 150
assert total(a) == 70 and total(b) == 80
assert a is not b and a != b and a is not None
assert len({a, b, a}) == 2
""",
    ),
    "a closure that the tests call": (
        """
def make_adder(n):
    def add(x):
        return x + n
    return add
def compose(*functions):
    def composed(x):
        for f in reversed(functions):
            x = f(x)
        return x
    return composed
""",
        "def make_adder(n):\n    return lambda x: x - n\ndef compose(*functions):\n    return functions[0]\n",
        """
add5 = make_adder(5)
assert callable(add5)
assert add5(3) == 8 and make_adder(-1)(1) == 0
double_then_add = compose(make_adder(1), make_adder(10))
assert double_then_add(1) == 12
assert sorted([3, -1, 2], key=make_adder(1)) == [-1, 2, 3]
assert list(map(make_adder(2), [1, 2])) == [3, 4]
""",
    ),
    "a closure with a state": (
        """
def counter(start=0):
    count = start
    def step(by=1):
        nonlocal count
        count += by
        return count
    return step
""",
        """
def counter(start=0):
    def step(by=1):
        return start + by
    return step
""",
        """
c, d = counter(), counter(10)
assert [c(), c(), c(5)] == [1, 2, 7]
assert d() == 11 and c() == 8
""",
    ),
    "recursion with a cache": (
        """
from functools import lru_cache
@lru_cache(maxsize=None)
def ways(n):
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)
""",
        """
from functools import lru_cache
@lru_cache(maxsize=None)
def ways(n):
    return n if n < 2 else ways(n - 1) + ways(n - 2)
""",
        "assert ways(0) == 1\nassert ways(5) == 8\nassert ways(90) == 4660046610375530309\n",
    ),
    "heapq and tuples": (
        """
import heapq
def shortest(graph, start):
    seen, heap = {}, [(0, start)]
    while heap:
        cost, node = heapq.heappop(heap)
        if node in seen:
            continue
        seen[node] = cost
        for other, weight in graph.get(node, {}).items():
            heapq.heappush(heap, (cost + weight, other))
    return seen
""",
        """
def shortest(graph, start):
    seen, queue = {start: 0}, [start]
    while queue:
        node = queue.pop(0)
        for other, weight in graph.get(node, {}).items():
            if other not in seen:
                seen[other] = seen[node] + weight
                queue.append(other)
    return seen
""",
        """
graph = {"a": {"b": 7, "c": 1}, "c": {"b": 2}, "b": {}}
assert shortest(graph, "a") == {"a": 0, "c": 1, "b": 3}
assert graph == {"a": {"b": 7, "c": 1}, "c": {"b": 2}, "b": {}}
""",
    ),
    "itertools handed on as it is": (
        """
import itertools
def pairs(xs):
    return itertools.combinations(xs, 2)
def running(xs):
    return itertools.accumulate(xs)
""",
        """
import itertools
def pairs(xs):
    return itertools.permutations(xs, 2)
def running(xs):
    return iter(xs)
""",
        """
assert list(pairs([1, 2, 3])) == [(1, 2), (1, 3), (2, 3)]
p = pairs("ab")
assert next(p) == ("a", "b")
assert next(p, None) is None
assert sorted(running([3, -1, 2])) == [2, 3, 4]
assert (2, 3) in pairs([1, 2, 3])
""",
    ),
    "map, filter, zip and reversed": (
        """
def squares(xs): return map(lambda x: x * x, xs)
def evens(xs): return filter(lambda x: x % 2 == 0, xs)
def paired(a, b): return zip(a, b)
def backwards(xs): return reversed(xs)
""",
        """
def squares(xs): return [x * x for x in xs]
def evens(xs): return [x for x in xs if x % 2]
def paired(a, b): return zip(b, a)
def backwards(xs): return xs
""",
        """
assert list(squares([1, 2, 3])) == [1, 4, 9]
assert squares([1]) != [1]
assert sum(evens(range(10))) == 20
assert dict(paired("ab", [1, 2])) == {"a": 1, "b": 2}
assert tuple(backwards([1, 2])) == (2, 1)
""",
    ),
    "a generator without end": (
        """
def primes():
    found = []
    n = 2
    while True:
        if all(n % p for p in found):
            found.append(n)
            yield n
        n += 1
""",
        """
def primes():
    n = 2
    while True:
        yield n
        n += 1
""",
        """
from itertools import islice, takewhile
assert list(islice(primes(), 100))[-1] == 541
g = primes()
assert [next(g) for _ in range(5)] == [2, 3, 5, 7, 11]
assert next(g) == 13
assert sum(takewhile(lambda p: p < 30, primes())) == 129
""",
    ),
    "a generator whose later items take for ever": (
        """
def perfect():
    yield 6
    yield 28
    yield 496
    while True:
        pass
""",
        "def perfect():\n    yield 6\n    yield 27\n    yield 496\n    while True:\n        pass\n",
        "g = perfect()\nassert [next(g), next(g), next(g)] == [6, 28, 496]\n",
    ),
    "a generator that raises and ends": (
        """
def take(xs):
    for x in xs:
        if x < 0:
            raise ValueError(f"negative: {x}")
        yield x
""",
        "def take(xs):\n    if any(x < 0 for x in xs):\n        raise ValueError('negative')\n    return iter(xs)\n",
        """
g = take([1, 2, -3, 4])
assert next(g) == 1
got = []
try:
    for x in g:
        got.append(x)
except ValueError as error:
    got.append(str(error))
assert got == [2, "negative: -3"]
assert list(g) == []
assert list(take(range(1000))) == list(range(1000))
""",
    ),
    "a generator handed back": (
        """
def numbers(n):
    for i in range(n):
        yield i
def total(xs): return sum(xs)
""",
        "def numbers(n):\n    return range(1, n)\ndef total(xs): return sum(xs) + 1\n",
        """
assert total(numbers(5)) == 10
g = numbers(5)
next(g), next(g)
assert total(g) == 9 and list(g) == []
""",
    ),
    "patterns": (
        """
import re
WORD = re.compile(r"[^\\W\\d_]+", re.UNICODE)
def words(text):
    return [w.lower() for w in WORD.findall(text)]
def masked(text):
    return re.sub(r"\\d(?=\\d{4})", "*", text)
""",
        """
import re
def words(text):
    return re.findall(r"[a-z]+", text.lower())
def masked(text):
    return re.sub(r"\\d", "*", text)
""",
        """
assert words("Ünïcode, naïve 42 words_here") == ["ünïcode", "naïve", "words", "here"]
assert masked("4111111111111111") == "************1111"
""",
    ),
    "dates": (
        """
from datetime import date, datetime, timedelta
def parse(text):
    return datetime.strptime(text, "%Y-%m-%d").date()
def between(a, b):
    return parse(b) - parse(a)
def workdays(start, n):
    day = start
    while n:
        day += timedelta(days=1)
        n -= day.weekday() < 5
    return day
""",
        """
from datetime import datetime, timedelta
def parse(text):
    return datetime.strptime(text, "%Y-%m-%d")
def between(a, b):
    return (parse(b) - parse(a)).days
def workdays(start, n):
    return start + timedelta(days=n)
""",
        """
import datetime as dt
assert parse("2024-02-29") == dt.date(2024, 2, 29)
assert parse("2024-02-29").isoformat() == "2024-02-29"
assert isinstance(parse("2024-01-01"), dt.date)
assert between("2024-02-28", "2024-03-01") == dt.timedelta(days=2)
assert between("2024-02-28", "2024-03-01").days == 2
assert workdays(dt.date(2024, 5, 3), 3) == dt.date(2024, 5, 8)
d = parse("2024-05-06")
assert (d.year, d.month, d.day) == (2024, 5, 6)
try:
    parse("2024-02-30")
    assert False
except ValueError:
    pass
""",
    ),
    "moments with a zone": (
        """
from datetime import datetime, timezone, timedelta
def stamp(seconds, hours=0):
    return datetime.fromtimestamp(seconds, timezone(timedelta(hours=hours)))
""",
        "from datetime import datetime\ndef stamp(seconds, hours=0):\n    return datetime.utcfromtimestamp(seconds)\n",
        """
from datetime import datetime, timezone
assert stamp(0) == datetime(1970, 1, 1, tzinfo=timezone.utc)
assert stamp(0, 2) == stamp(0)
assert stamp(0, 2).hour == 2
assert str(stamp(86400, -3)) == "1970-01-01 21:00:00-03:00"
""",
    ),
    "exact fractions": (
        """
from fractions import Fraction
def harmonic(n):
    return sum((Fraction(1, k) for k in range(1, n + 1)), Fraction(0))
""",
        "def harmonic(n):\n    return sum(1 / k for k in range(1, n + 1))\n",
        """
from fractions import Fraction
assert harmonic(4) == Fraction(25, 12)
assert isinstance(harmonic(3), Fraction)
assert harmonic(4).numerator == 25
assert harmonic(2) * 2 == 3
assert harmonic(60).denominator > 10**20
""",
    ),
    "money in decimals": (
        """
from decimal import Decimal, ROUND_HALF_UP
def with_tax(price, rate):
    return (Decimal(price) * (1 + Decimal(rate))).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
""",
        "def with_tax(price, rate):\n    return round(float(price) * (1 + float(rate)), 2)\n",
        """
from decimal import Decimal
assert with_tax("10.05", "0.10") == Decimal("11.06")
assert str(with_tax("1", "0.5")) == "1.50"
assert isinstance(with_tax("1", "1"), Decimal)
assert sum([with_tax("0.1", "0")] * 3) == Decimal("0.3")
""",
    ),
    "counters and friends": (
        """
from collections import Counter, OrderedDict, defaultdict, deque
def count(words): return Counter(words)
def group(words):
    found = defaultdict(list)
    for w in words:
        found[len(w)].append(w)
    return found
def ordered(pairs): return OrderedDict(pairs)
def last(xs, n): return deque(xs, maxlen=n)
""",
        """
def count(words): return {w: words.count(w) for w in words}
def group(words): return {len(w): [w] for w in words}
def ordered(pairs): return dict(reversed(pairs))
def last(xs, n): return list(xs)[-n:]
""",
        """
from collections import Counter, OrderedDict, deque
assert count("abca") == {"a": 2, "b": 1, "c": 1}
assert count("abca")["z"] == 0
assert count("abca").most_common(1) == [("a", 2)]
assert count("ab") + count("b") == Counter(a=1, b=2)
assert group(["a", "bb", "c"]) == {1: ["a", "c"], 2: ["bb"]}
assert group([])[7] == []
assert ordered([("b", 1), ("a", 2)]) == OrderedDict([("b", 1), ("a", 2)])
assert list(ordered([("b", 1), ("a", 2)])) == ["b", "a"]
assert last(range(10), 3) == deque([7, 8, 9])
assert last([1], 2).maxlen == 2
q = last([1, 2], 2)
q.append(3)
assert list(q) == [2, 3]
""",
    ),
    "views of dicts": (
        """
def names(d): return d.keys()
def sizes(d): return d.values()
def rows(d): return d.items()
""",
        "def names(d): return list(d)\ndef sizes(d): return d\ndef rows(d): return list(d.items())\n",
        """
d = {"a": 1, "b": 2}
assert names(d) == {"a", "b"}
assert names(d) & {"a"} == {"a"}
assert sorted(sizes(d)) == [1, 2] and sum(sizes(d)) == 3
assert ("a", 1) in rows(d) and rows(d) == d.items()
assert list(names(d)) == ["a", "b"] and len(sizes(d)) == 2
""",
    ),
    "named tuples": (
        """
from typing import NamedTuple
from collections import namedtuple
Point = namedtuple("Point", ["x", "y"])
class Line(NamedTuple):
    start: tuple
    end: tuple
def middle(a, b): return Point((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
def line(a, b): return Line(a, b)
""",
        "def middle(a, b): return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)\ndef line(a, b): return [a, b]\n",
        """
assert middle((0, 0), (2, 4)) == (1, 2)
assert isinstance(middle((0, 0), (2, 4)), tuple)
assert line((0, 0), (1, 1))[1] == (1, 1)
assert repr(middle((0, 0), (2, 4))) == "Point(x=1.0, y=2.0)"
""",
    ),
    "data classes": (
        """
from dataclasses import dataclass, field, asdict
@dataclass(order=True, frozen=True)
class Item:
    price: float
    name: str = field(compare=False)
def cheapest(rows):
    return min(Item(p, n) for n, p in rows)
def as_row(item): return asdict(item)
def sorted_names(rows): return [i.name for i in sorted(Item(p, n) for n, p in rows)]
""",
        """
from dataclasses import dataclass, asdict
@dataclass
class Item:
    price: float
    name: str
def cheapest(rows): return Item(rows[0][1], rows[0][0])
def as_row(item): return asdict(item)
def sorted_names(rows): return [n for n, p in rows]
""",
        """
rows = [("pear", 3.0), ("fig", 1.5), ("kiwi", 2.0)]
assert as_row(cheapest(rows)) == {"price": 1.5, "name": "fig"}
assert cheapest(rows) == cheapest(rows[::-1])
assert str(cheapest(rows)) == "Item(price=1.5, name='fig')"
assert sorted_names(rows) == ["fig", "kiwi", "pear"]
""",
    ),
    "an enumeration that is handed back": (
        """
from enum import Enum, IntEnum
class Light(Enum):
    RED = 1
    GREEN = 2
class Level(IntEnum):
    LOW = 1
    HIGH = 2
def first(): return Light.RED
def turn(light): return Light.GREEN if light is Light.RED else Light.RED
def level(n): return Level.HIGH if n > 5 else Level.LOW
""",
        "def first(): return 1\ndef turn(light): return 2\ndef level(n): return 3\n",
        """
assert turn(turn(first())) is first()
assert turn(first()) != first()
assert level(9) == 2 and level(1) < level(7)
assert str(first()) == "Light.RED"
""",
    ),
    "typing and nested functions": (
        """
from __future__ import annotations
from typing import Iterable, Optional, TypeVar
T = TypeVar("T")
def flatten(xs: Iterable[T | list[T]], depth: Optional[int] = None) -> list[T]:
    out: list[T] = []
    def walk(x, left):
        if isinstance(x, (list, tuple)) and left != 0:
            for each in x:
                walk(each, None if left is None else left - 1)
        else:
            out.append(x)
    for x in xs:
        walk(x, depth)
    return out
""",
        "def flatten(xs, depth=None):\n    return [y for x in xs for y in (x if isinstance(x, list) else [x])]\n",
        """
assert flatten([1, [2, [3, (4,)]], []]) == [1, 2, 3, 4]
assert flatten([1, [2, [3]]], depth=1) == [1, 2, [3]]
assert flatten((1, "ab")) == [1, "ab"]
""",
    ),
    "global state": (
        """
_users = {}
_next = 1
def add_user(name):
    global _next
    if name in _users.values():
        raise KeyError(name)
    _users[_next] = name
    _next += 1
    return _next - 1
def get_users(): return dict(_users)
def reset():
    global _next
    _users.clear()
    _next = 1
""",
        """
_users = {}
def add_user(name):
    _users[len(_users)] = name
    return len(_users) - 1
def get_users(): return dict(_users)
def reset(): _users.clear()
""",
        """
reset()
assert add_user("ann") == 1 and add_user("bob") == 2
try:
    add_user("ann")
    raise AssertionError("twice")
except KeyError as error:
    assert error.args == ("ann",)
assert get_users() == {1: "ann", 2: "bob"}
reset()
assert get_users() == {}
""",
    ),
    "decorators": (
        """
import functools
calls = []
def logged(f):
    @functools.wraps(f)
    def inner(*a, **k):
        calls.append(f.__name__)
        return f(*a, **k)
    return inner
@logged
def area(w, h=1, *, scale=1): return w * h * scale
def count(): return len(calls)
""",
        "def area(w, h=1, *, scale=1): return w + h\ndef count(): return 0\n",
        """
assert area(2, 3) == 6
assert area(2, scale=5) == 10
assert count() == 2
assert area(*[1], **{'h': 4}) == 4
""",
    ),
    "a demonstration under main that reads input": (
        """
def solve(line):
    a, b = map(int, line.split())
    return a + b
if __name__ == "__main__":
    for _ in range(int(input())):
        print(solve(input()))
""",
        "def solve(line):\n    return line\nif __name__ == '__main__':\n    print(solve(input()))\n",
        "assert solve('2 3') == 5\nassert solve(' -1   1 ') == 0\n",
    ),
    "a program that prints": (
        """
import sys
def report(rows):
    print("name", "sum", sep="\\t")
    for name, xs in rows:
        print(f"{name:>5}|{sum(xs):.2f}")
    sys.stdout.write("done\\n")
    return len(rows)
""",
        "def report(rows):\n    for name, xs in rows:\n        print(name, sum(xs))\n    return len(rows)\n",
        """
import io
from contextlib import redirect_stdout
out = io.StringIO()
with redirect_stdout(out):
    assert report([("a", [1, 2]), ("bcd", [0.005])]) == 2
assert out.getvalue() == "name\\tsum\\n    a|3.00\\n  bcd|0.01\\ndone\\n"
assert report([]) == 0
""",
    ),
    "a program that asks": (
        """
def greet():
    name = input("Name? ")
    print(f"Hello, {name}!")
    return name.upper()
""",
        "def greet():\n    return input()\n",
        """
import builtins
asked = []
def fake(prompt=""):
    asked.append(prompt)
    return "Zoë"
builtins.input = fake
assert greet() == "ZOË"
assert asked == ["Name? "]
""",
    ),
    "big outputs": (
        """
def grid(n): return [[i * j for j in range(n)] for i in range(n)]
def text(n): return "\\n".join(str(i) * 10 for i in range(n))
""",
        "def grid(n): return [[0] * n] * n\ndef text(n): return 'x' * n\n",
        "assert sum(map(sum, grid(400))) == 6368040000\nassert len(text(50_000).splitlines()) == 50_000\n",
    ),
    "unicode": (
        """
import unicodedata
def plain(text):
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
def turned(text): return text[::-1]
""",
        "def plain(text): return text.encode('ascii', 'ignore').decode()\ndef turned(text): return text\n",
        """
assert plain("Crème Brûlée") == "Creme Brulee"
assert turned("a😀é\\u200d") == "\\u200dé😀a"
assert turned("\\ud83d\\ude00"[::-1]) == "\\ud83d\\ude00"
assert len(turned("日本語")) == 3
""",
    ),
    "large whole numbers": (
        "import math\ndef factorial(n): return math.factorial(n)\ndef power(a, b, m): return pow(a, b, m)\n",
        "def factorial(n): return float(n)\ndef power(a, b, m): return a\n",
        """
assert factorial(25) == 15511210043330985984000000
assert len(str(factorial(1000))) == 2568
assert factorial(30_000) == __import__('math').factorial(30_000)
assert power(3, 10**18, 10**9 + 7) == pow(3, 10**18, 10**9 + 7)
""",
    ),
    "floats with a tolerance": (
        """
def root(x):
    guess = x or 1.0
    for _ in range(60):
        guess = (guess + x / guess) / 2
    return guess
def mean(xs): return sum(xs) / len(xs) if xs else float("nan")
def minus_zero(): return -0.0
""",
        "def root(x): return x / 2\ndef mean(xs): return 0.0\ndef minus_zero(): return 0.0\n",
        """
import math
assert abs(root(2) - 2 ** 0.5) < 1e-12
assert math.isclose(root(1e10), 1e5, rel_tol=1e-9)
assert math.isnan(mean([])) and mean([]) != mean([])
assert math.copysign(1, minus_zero()) == -1
assert round(mean([0.1, 0.2]), 10) == 0.15
""",
    ),
    "exceptions that are expected": (
        """
import json
class Invalid(ValueError):
    def __init__(self, field):
        super().__init__(f"invalid field: {field}")
        self.field = field
def check(row):
    if "name" not in row:
        raise Invalid("name")
    if not isinstance(row["name"], str):
        raise TypeError("name must be text", row["name"])
    return row["name"]
def read(text): return json.loads(text)
def item(xs, n): return xs[n]
""",
        """
def check(row):
    return row.get("name")
def read(text):
    try:
        return eval(text)
    except Exception:
        return None
def item(xs, n): return xs[n % len(xs)]
""",
        """
import json
def raises(kind, work, *arguments):
    try:
        work(*arguments)
    except kind as error:
        return error
    raise AssertionError("nothing was raised")
assert str(raises(ValueError, check, {})) == "invalid field: name"
assert raises(TypeError, check, {"name": 5}).args == ("name must be text", 5)
assert check({"name": "x"}) == "x"
raises(json.JSONDecodeError, read, "{")
assert raises(IndexError, item, [1], 5)
assert str(raises(KeyError, item, {}, "k")) == "'k'"
assert raises(ZeroDivisionError, lambda: 1 / 0)
""",
    ),
    "tests with helpers, loops and chance": (
        """
def sort(xs):
    if len(xs) < 2:
        return xs[:]
    pivot, *rest = xs
    return sort([x for x in rest if x < pivot]) + [pivot] + sort([x for x in rest if x >= pivot])
""",
        """
def sort(xs):
    if len(xs) < 2:
        return xs[:]
    pivot, *rest = xs
    return sort([x for x in rest if x < pivot]) + [pivot] + sort([x for x in rest if x > pivot])
""",
        """
import random
from collections import Counter
def is_sorted(xs):
    return all(a <= b for a, b in zip(xs, xs[1:]))
random.seed(7)
for size in range(0, 60, 7):
    xs = [random.randint(0, 20) for _ in range(size)]
    before = list(xs)
    got = sort(xs)
    assert is_sorted(got) and Counter(got) == Counter(xs), (size, got)
    assert xs == before
""",
    ),
    "a program that draws by a seed of the tests": (
        "import random\ndef roll(n): return [random.randint(1, 6) for _ in range(n)]\n",
        "import random\ndef roll(n): return [random.randrange(6) for _ in range(n)]\n",
        """
import random
random.seed(42)
expected = [random.randint(1, 6) for _ in range(5)]
random.seed(42)
assert roll(5) == expected
assert all(1 <= r <= 6 for r in roll(200))
random.seed(1)
a, b = roll(50), roll(50)
assert a != b
""",
    ),
    "arguments changed in place": (
        """
from collections import deque
def sort(xs): xs.sort()
def dedupe(d):
    for k in [k for k, v in d.items() if v is None]:
        del d[k]
def rotate(q, n): q.rotate(n)
def blank(data):
    for i in range(len(data)):
        data[i] = 0
def same(x): return x
""",
        """
def sort(xs): return sorted(xs)
def dedupe(d): return {k: v for k, v in d.items() if v is not None}
def rotate(q, n): return q
def blank(data): return bytes(len(data))
def same(x): return type(x)(x)
""",
        """
from array import array
from collections import deque
a = [3, 1]
assert sort(a) is None
assert a == [1, 3]
d = {"a": None, "b": 1}
dedupe(d)
assert d == {"b": 1}
q = deque([1, 2, 3])
rotate(q, 1)
assert q == deque([3, 1, 2])
data, numbers = bytearray(b"abc"), array("i", [1, 2])
blank(data)
blank(numbers)
assert data == bytearray(3) and numbers == array("i", [0, 0])
t, row = (1, [2]), [[0] * 2] * 2
assert same(a) is a and same(t) is t and same(q) is q
row = same(row)
row[0][0] = 5
assert row[1][0] == 5
""",
    ),
    "arrays and bytes": (
        """
from array import array
def pack(xs): return array("d", xs)
def reverse(data): return bytearray(reversed(data))
def digest(text):
    import hashlib
    return hashlib.sha256(text.encode()).digest()
""",
        "def pack(xs): return list(xs)\ndef reverse(data): return list(data)\ndef digest(text): return text\n",
        """
from array import array
assert pack([1, 2.5]) == array("d", [1.0, 2.5])
assert reverse(b"abc") == b"cba" and isinstance(reverse(b"a"), bytearray)
assert pack([1]).typecode == "d" and pack([1, 2])[1] == 2.0
assert digest("a").hex().startswith("ca978112")
""",
    ),
    "sets, frozen sets and ranges": (
        """
def divisors(n): return frozenset(d for d in range(1, n + 1) if n % d == 0)
def odd(n): return range(1, n, 2)
""",
        "def divisors(n): return [d for d in range(1, n + 1) if n % d == 0]\ndef odd(n): return list(range(1, n, 2))\n",
        """
assert divisors(6) == {1, 2, 3, 6}
assert {divisors(4): "four"}[frozenset([1, 2, 4])] == "four"
assert odd(6) == range(1, 6, 2) and 3 in odd(6) and odd(10**12)[-1] == 10**12 - 1
""",
    ),
    "a function that awaits": (
        """
import asyncio
async def double(x, delay=0.0):
    await asyncio.sleep(delay)
    if x < 0:
        raise ValueError("negative")
    return x * 2
async def both(a, b):
    return await asyncio.gather(double(a), double(b))
""",
        "import asyncio\nasync def double(x, delay=0.0):\n    return x\nasync def both(a, b):\n    return (a, b)\n",
        """
import asyncio
assert asyncio.run(double(2)) == 4
assert asyncio.run(both(1, 2)) == [2, 4]
async def main():
    got = await asyncio.gather(*(double(n, 0.01 * n) for n in range(5)))
    task = asyncio.create_task(double(5))
    got.append(await task)
    try:
        await double(-1)
    except ValueError as error:
        got.append(str(error))
    try:
        await asyncio.wait_for(double(1, 1000), 0.05)
    except asyncio.TimeoutError:
        got.append("late")
    return got
assert asyncio.run(main()) == [0, 2, 4, 6, 8, 10, "negative", "late"]
""",
    ),
    "an event loop inside": (
        """
import asyncio
async def worker(queue, out):
    while True:
        n = await queue.get()
        out.append(n * n)
        queue.task_done()
def squares(ns):
    async def main():
        queue, out = asyncio.Queue(), []
        tasks = [asyncio.create_task(worker(queue, out)) for _ in range(3)]
        for n in ns:
            queue.put_nowait(n)
        await queue.join()
        for t in tasks:
            t.cancel()
        return sorted(out)
    return asyncio.run(main())
def in_thread():
    async def main():
        return await asyncio.to_thread(lambda: 42)
    return asyncio.run(main())
""",
        "def squares(ns): return list(ns)\ndef in_thread(): return None\n",
        "assert squares([3, 1, 2]) == [1, 4, 9]\nassert squares([]) == []\nassert in_thread() == 42\n",
    ),
    "coroutines that wait for each other": (
        """
import asyncio
_box = []
_ready = None
async def produce(n):
    global _ready
    _ready = _ready or asyncio.Event()
    await asyncio.sleep(0.01)
    _box.append(n)
    _ready.set()
    return "put"
async def consume():
    global _ready
    _ready = _ready or asyncio.Event()
    await _ready.wait()
    return _box.pop()
""",
        "async def produce(n): return 'put'\nasync def consume(): return None\n",
        """
import asyncio
async def main():
    return await asyncio.gather(consume(), produce(7))
assert asyncio.run(main()) == [7, "put"]
""",
    ),
    "an asynchronous generator": (
        """
import asyncio
async def ticks(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
async def total(source):
    return sum([x async for x in source])
""",
        "async def ticks(n):\n    for i in range(n + 1):\n        yield i\nasync def total(source): return 0\n",
        """
import asyncio
async def main():
    return [x async for x in ticks(4)], await total(ticks(5))
assert asyncio.run(main()) == ([0, 1, 2, 3], 10)
async def test_first():
    async for x in ticks(3):
        assert x == 0
        break
""",
    ),
    "threads and locks": (
        """
import threading
def count(n):
    total, lock = [0], threading.Lock()
    def work():
        for _ in range(100):
            with lock:
                total[0] += 1
    threads = [threading.Thread(target=work) for _ in range(n)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return total[0]
""",
        "def count(n): return n\n",
        "assert count(4) == 400\nassert count(0) == 0\n",
    ),
    "deep recursion with its own limit": (
        """
import sys
sys.setrecursionlimit(20000)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
""",
        "def depth(n): return 0 if n == 0 else 1 + depth(n - 1)\n",
        "assert depth(5000) == 5000\n",
    ),
    "functions of the tests as arguments": (
        """
from functools import reduce
def fold(f, xs, start): return reduce(f, xs, start)
def convert(kind, xs): return [kind(x) for x in xs]
def kind_of(x): return type(x)
""",
        "def fold(f, xs, start): return start\ndef convert(kind, xs): return xs\ndef kind_of(x): return str(type(x))\n",
        """
import operator
assert fold(operator.mul, [1, 2, 3], 1) == 6 and fold(max, [4, 9, 2], 0) == 9
assert convert(int, ["1", "2"]) == [1, 2] and convert(len, ["ab"]) == [2]
assert kind_of(1.5) is float and kind_of(None) == type(None)
""",
    ),
    "a function of the tests' own as argument": (
        "def apply(f, n, x):\n    for _ in range(n):\n        x = f(x)\n    return x\n",
        "def apply(f, n, x):\n    return f(x)\n",
        """
seen = []
def note(x):
    seen.append(x)
    return x + 1
assert apply(note, 3, 0) == 3 and seen == [0, 1, 2]
""",
    ),
    "files": (
        "def lines(path):\n    with open(path) as file:\n        return [l.strip() for l in file if l.strip()]\n",
        "def lines(path):\n    with open(path) as file:\n        return file.readlines()\n",
        """
with open("a.txt", "w") as file:
    file.write("one\\n\\n two \\n")
assert lines("a.txt") == ["one", "two"]
try:
    lines("missing.txt")
    assert False
except FileNotFoundError:
    pass
""",
    ),
    "an object that is none of ours": (
        "class Empty:\n    def __len__(self): return 0\ndef empty(): return Empty()\ndef thing(): return object()\n",
        "def empty(): return None\ndef thing(): return None\n",
        """
assert thing() is not None and thing() != thing()
assert empty() is not None and not empty()
assert not isinstance(thing(), (int, str, list))
""",
    ),
    "an iterable of the program's own": (
        """
class Countdown:
    def __init__(self, n): self.n = n
    def __iter__(self):
        n = self.n
        while n > 0:
            yield n
            n -= 1
    def __repr__(self): return f"Countdown({self.n})"
def countdown(n): return Countdown(n)
""",
        "def countdown(n): return range(n)\n",
        """
c = countdown(3)
assert list(c) == [3, 2, 1] and list(c) == [3, 2, 1]
assert 2 in c and 9 not in c
assert max(c) == 3 and f"{c!r}" == "Countdown(3)"
""",
    ),
    "a context manager and a generator that is sent to": (
        """
from contextlib import contextmanager
log = []
@contextmanager
def section(name):
    log.append("in " + name)
    try:
        yield name.upper()
    finally:
        log.append("out " + name)
def averager():
    total, count, mean = 0, 0, None
    while True:
        total += yield mean
        count += 1
        mean = total / count
def entries(): return list(log)
""",
        """
from contextlib import contextmanager
@contextmanager
def section(name):
    yield name
def averager():
    while True:
        yield 0
def entries(): return []
""",
        """
try:
    with section("a") as name:
        assert name == "A"
        raise KeyError
except KeyError:
    pass
assert entries() == ["in a", "out a"]
g = averager()
next(g)
assert [g.send(10), g.send(20)] == [10, 15]
""",
    ),
    "complex numbers and bits": (
        """
import cmath
def roots(a, b, c):
    d = cmath.sqrt(b * b - 4 * a * c)
    return (-b + d) / (2 * a), (-b - d) / (2 * a)
def bits(n): return bin(n).count('1')
""",
        "def roots(a, b, c): return (0, 0)\ndef bits(n): return n\n",
        """
assert roots(1, 0, 1) == (1j, -1j)
assert abs(roots(1, 2, 5)[0] - (-1 + 2j)) < 1e-12
assert bits(2**200 - 1) == 200
""",
    ),
    "bisect, statistics, string and textwrap": (
        """
import bisect, statistics, string, textwrap
def grade(score): return "FDCBA"[bisect.bisect([60, 70, 80, 90], score)]
def middle(xs): return statistics.median(xs)
def wrapped(text): return textwrap.fill(text, 10)
def filled(name): return string.Template("hi $who").substitute(who=name)
""",
        """
def grade(score): return 'F'
def middle(xs): return xs[0]
def wrapped(text): return text
def filled(name): return name
""",
        """
import statistics
assert [grade(s) for s in (33, 99, 77, 70, 89, 90)] == list("FACCBA")
assert middle([3, 1, 2]) == 2 and middle([1, 2]) == 1.5
try:
    middle([])
    assert False
except statistics.StatisticsError:
    pass
assert wrapped("aaa bbb ccc") == "aaa bbb\\nccc" and filled("x") == "hi x"
""",
    ),
}
