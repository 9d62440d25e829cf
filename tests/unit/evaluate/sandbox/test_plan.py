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
    ],
)
def test_tests_that_need_values_alone_are_run_apart(test):
    assert plan_of("", [test], None).together == ""


def test_tests_that_are_no_python_are_told():
    with pytest.raises(SyntaxError):
        plan_of("", ["assert f(1) ="], None)
