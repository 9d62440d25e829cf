"""What tests need of a program, seen from the tests alone."""

import pytest

from promptmill.evaluate.sandbox.plan import Plan, plan_of


def test_the_function_that_asserts_call_is_called():
    assert plan_of("", ["assert add(1, 2) == 3", "assert abs(add(1, 2)) == 3"], None) == Plan(("add",), (), "")


def test_a_function_with_the_name_of_a_built_in_one_is_called_where_there_is_no_other():
    assert plan_of("", ["assert sum(10, 15) == 6"], None).called == ("sum",)
    assert plan_of("", ["assert set(find(1)) == set([1])"], None).called == ("find",)


def test_what_the_setup_or_the_tests_define_is_not_the_programs():
    setup = "import math\n\ndef poly(xs, x):\n    return 0\n\ndef find_zero(xs):\n    '''Find.'''\n"
    test = "def check(candidate):\n    assert math.fabs(poly([1], candidate([1]))) < 1\n\ncheck(find_zero)"
    assert plan_of(setup, [test], "find_zero") == Plan(("find_zero",), (), "")


def test_a_module_of_the_standard_library_may_be_used_without_importing_it():
    assert plan_of("", ["assert math.isclose(half(1), 0.5)"], None) == Plan(("half",), ("math",), "")


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("root = Node(1)\nroot.left = Node(2)\nassert depth(root) == 2", "'Node' looks like a class"),
        ("assert chain([Pair(5, 24)], 1) == 3", "'Pair' looks like a class"),
        ("s = Stack()\ns.push(1)\nassert s.pop() == 1", "the tests look into what 'Stack' returns"),
        ("s = Stack()\ns.append(1)", "the tests look into what 'Stack' returns"),
        ("assert make(1).size == 1", "the tests look into what 'make' returns"),
        ("assert f.calls == 1", "the tests look into 'f'"),
        ("assert isinstance(f(1), Shape)", "'Shape' looks like a class"),
        ("assert limit == 10 and f(1)", "'limit' is not called"),
        ("x = make()\nx.name = 'a'", "the tests look into what 'make' returns"),
        ("assert make(1)[0].name == 'a'", "the tests look into what 'make' returns"),
        ("assert make(1)(2).name == 'a'", "the tests look into what 'make' returns"),
        ("for each, n in make(1):\n    assert each.name", "the tests look into what 'make' returns"),
        ("assert [e.name for e in sorted(make(1))] == []", "the tests look into what 'make' returns"),
        ("a, b = make(1)\nc = a\nassert c.name", "the tests look into what 'make' returns"),
        ("async def m():\n    x = await make(1)\n    assert x.name", "the tests look into what 'make' returns"),
        ("import builtins\nbuiltins.input = f\nassert f(1)", "the tests change 'builtins.input'"),
        ("import sys, io\nsys.stdin = io.StringIO('x')\nassert f(1)", "the tests change 'sys.stdin'"),
        ("import os\nos.environ['A'] = 'b'\nassert f(1)", "the tests change 'os.environ'"),
        ("from unittest.mock import patch\nwith patch('builtins.input'):\n    f()", "the tests patch modules"),
        ("with open('x', 'w') as file:\n    file.write('1')\nassert f('x')", "the tests use files"),
        ("import sys\nsys.setrecursionlimit(9999)\nf(1)", "the tests change 'sys.setrecursionlimit'"),
        ("import unittest.mock\nwith unittest.mock.patch('x'):\n    f()", "the tests change 'unittest.mock'"),
        ("from decimal import getcontext\ngetcontext().prec = 5\nf(1)", "the tests change the context of decimals"),
        ("import inspect\nassert inspect.signature(f) and f(1)", "the tests look into 'f'"),
        ("assert hasattr(f, 'cache_info') and f(1)", "the tests look into 'f'"),
        ("with make(1) as x:\n    assert x == 1", "the tests enter what 'make' returns"),
        ("import tempfile\nassert f(tempfile.mkdtemp())", "the tests use files"),
    ],
)
def test_tests_that_need_the_programs_objects_are_run_together_with_it(test, why):
    assert plan_of("", [test], None).together == why


@pytest.mark.parametrize(
    "test",
    [
        "x = f([1])\nx.append(2)\nassert x == [1, 2]",
        "assert f('a').upper() == 'A'",
        "assert list(map(f, [1])) == [2]",
        "for each in (f, g):\n    assert each(1) == 1",
        "assert sorted([1], key=f) == [1]",
        "def test_it():\n    assert f(1) == 1",
        "assert Extract([1]) == [1]",
        "assert find_Max([1]) == 1",
        "assert f(1).year == 2024 and f(1).most_common(2)[0][1] == 3",
        "import re\nm = re.match('a', f(1))\nassert m.group() == 'a'",
        "import asyncio\nassert asyncio.run(f(1)) == 1",
        "import asyncio\nasync def m():\n    return await asyncio.gather(f(1), f(2))\nassert asyncio.run(m())",
        "assert type(f(1)) is int and hasattr(f(1), 'real') and callable(f)",
        "import io, sys\nsys.stdout = io.StringIO()\nf(1)\nassert sys.stdout.getvalue() == ''",
    ],
)
def test_tests_that_need_values_alone_are_run_apart(test):
    assert plan_of("", [test], None).together == ""


def test_tests_that_use_a_class_of_the_setup_are_run_together():
    setup = "from enum import Enum\nclass Colour(Enum):\n    RED = 1\ndef f(x):\n    pass\n"
    assert plan_of(setup, ["assert f(1) == Colour.RED"], "f").together == "'Colour' is a class of the setup"
    assert plan_of(setup, ["assert f(1).name == 'RED'"], "f").together == "the tests look into what 'f' returns"
    assert plan_of(setup, ["assert f(1) == 1"], "f").together == ""


def test_a_seed_of_the_tests_is_noticed():
    assert plan_of("", ["import random\nrandom.seed(1)\nassert f() == 2"], None).seeded
    assert not plan_of("", ["import random\nassert f(random.random()) == 2"], None).seeded


def test_tests_that_are_no_python_are_told():
    with pytest.raises(SyntaxError):
        plan_of("", ["assert f(1) ="], None)
