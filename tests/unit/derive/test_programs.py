"""The program in an answer: every shape, what stands around it, and text that holds no program."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.derive.programs import code
from promptmill.records import Reference

SETUP = 'import math\n\n\ndef area(r: float) -> float:\n    """The area of a circle."""\n'
HUMANEVAL = Reference(setup=SETUP, entry_point="area", tests=("assert area(1) > 3",))
MBPP = Reference(tests=("assert area(1) > 3",))
WINDOWS = "def area(r):\r\n    return 3 * r\r\n"
FUNCTION = "def area(r):\n    x = r * r\n    return 3.14 * x\n"
extract = code()


def found(text, reference=MBPP):
    answer = extract(text, reference)
    assert answer is None or text[answer.span[0] : answer.span[1]].strip()
    return (answer.text, answer.method) if answer else None


@pytest.mark.parametrize(
    ("text", "program", "method"),
    [
        (FUNCTION, FUNCTION, "whole"),
        (f"```python\n{FUNCTION}```", FUNCTION, "fence"),
        (f"```\n{FUNCTION}```", FUNCTION, "fence"),
        (f"~~~py\n{FUNCTION}~~~", FUNCTION, "fence"),
        ("1. First:\n   ```python\n   def area(r):\n       return 3 * r\n   ```\n",
         "def area(r):\n    return 3 * r\n", "fence"),
        (f"Sure!\n```Python\n{FUNCTION}\n```\nDone.", FUNCTION, "fence"),
        (f"```python\n{FUNCTION}", FUNCTION, "fence"),
        (f"```python\ndef area(r):\n    return 0\n```\nWrong. Better:\n```python\n{FUNCTION}```", FUNCTION, "fence"),
        (f"```python\n{FUNCTION}```\nUse it:\n```python\nprint(area(2))\n```", FUNCTION, "fence"),
        (f"```python\n{FUNCTION}```\nOutput:\n```\n12.56\n```", FUNCTION, "fence"),
        (f"```json\n{{}}\n```\n```python\n{FUNCTION}```", FUNCTION, "fence"),
        ("```python\nPI = 3\n```\nthen\n```python\ndef area(r):\n    return PI * r\n```",
         "PI = 3\n\n\ndef area(r):\n    return PI * r\n", "fences"),
        (f"{FUNCTION}```\nThis returns the area, as asked.", FUNCTION, "fence, whole"),
        (f"```python\r\n{WINDOWS}```\r\n", WINDOWS, "fence"),
        (f"[BEGIN]\n{FUNCTION}[DONE]", FUNCTION, "begin, whole"),
        (f"[BEGIN]\n```python\n{FUNCTION}```\n[DONE]", FUNCTION, "begin, fence"),
        (f"[BEGIN]\nx = 1\n[DONE]\n[BEGIN]\n{FUNCTION}[DONE]", FUNCTION, "begin, whole"),
        (f"[BEGIN]\n{FUNCTION}", FUNCTION, "begin, whole"),
        (f"Here it is:\n{FUNCTION}\nThis is right.", FUNCTION, "lines"),
        (f"Here it is:\n\nimport math\nPI = math.pi\n\n{FUNCTION}\nExplanation: easy (very).",
         f"import math\nPI = math.pi\n\n{FUNCTION}", "lines"),
        (f"{FUNCTION}\nDone", FUNCTION, "whole"),
        (f"<think>def area(r): return 0</think>\n{FUNCTION}", FUNCTION, "whole"),
        ("def area(r):\n    return '''\nunindented\n'''\n", "def area(r):\n    return '''\nunindented\n'''\n", "whole"),
    ],
)  # fmt: skip
def test_a_program_is_found(text, program, method):
    assert found(text) == (program, method)


@pytest.mark.parametrize(
    "text",
    [
        "    x = r * r\n    return 3.14 * x\n",
        "x = r * r\nreturn 3.14 * x\n",
        "  x = r * r\n  return 3.14 * x\n",
        "\tx = r * r\n\treturn 3.14 * x\n",
        "        x = r * r\n        return 3.14 * x\n",
        "x = r * r\n    return 3.14 * x\n",
        "\n\n    x = r * r\n    return 3.14 * x\n\nThis computes the area.\n",
        "    x = r * r\n    return 3.14 * x\n\n# The area grows with the square.\n```\n",
        "Here is the body:\n\n    x = r * r\n    return 3.14 * x\n",
        "```python\n    x = r * r\n    return 3.14 * x\n```",
        "    x = r * r\n    return 3.14 * x\n```\nThis computes the area of a circle.\n",
        "```python\nx = r * r\nreturn 3.14 * x\n```",
    ],
)
def test_a_body_goes_behind_the_setup_at_any_indentation(text):
    program, method = found(text, HUMANEVAL)
    assert program.startswith(f"{SETUP}    x = r * r\n    return 3.14 * x\n")
    assert method in {"body", "fence, body"}


def test_a_body_whose_first_line_opens_a_block_keeps_its_shape():
    text = "for x in range(3):\n        if x:\n            return x\n    return 0\n"
    assert found(text, HUMANEVAL) == (
        f"{SETUP}    for x in range(3):\n        if x:\n            return x\n    return 0\n", "body"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("", MBPP),
        ("I cannot help with that.", MBPP),
        ("I cannot help with that.", HUMANEVAL),
        ("The answer is 42", HUMANEVAL),
        ("<think>\n" + FUNCTION, MBPP),
        ("<think>a</think> <think>\n" + FUNCTION, MBPP),
        ("area", MBPP),
    ],
)
def test_text_without_a_program_gives_no_answer(text, reference):
    assert found(text, reference) is None


def test_a_fenced_block_that_is_no_python_is_an_answer_that_will_fail():
    assert found("```python\ndef area(r) return r\n```") == ("def area(r) return r\n", "fence, no python")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000, "[" * 5_000 + "]" * 5_000, "-" * 90_000 + "1", "not " * 30_000 + "1", "a." * 50_000,
        "def area(r):\n" + "".join(" " * n + "if 1:\n" for n in range(1, 400)), "x = 1\n" * 16_000 + "(",
        "import a\n)" * 11_000, "```python\n(" * 5_000, "[BEGIN]" * 20_000, "lambda: " * 12_000, "f'{" * 10_000,
        "def area(r): return (\n" * 4_000, "\x00" * 1000, "\ud800" * 100, "@" * 1000, "    " * 50_000 + "x",
    ],
)  # fmt: skip
def test_hostile_text_ends_soon(text):
    began = time.process_time()
    for reference in (MBPP, HUMANEVAL):
        found(text, reference)
    assert time.process_time() - began < 120  # it is the order of magnitude that counts: minutes would stall a run


@settings(max_examples=150)
@given(st.text(st.sampled_from("def area(r):\n return x`[]BEGIN~ \t'\"#="), max_size=200))
def test_whatever_the_text_there_is_an_answer_or_none(text):
    found(text, MBPP)
    found(text, HUMANEVAL)
