r"""Extractor `code`: the program in a model's answer, whatever stands around it.

Worked answers to HumanEval's `def f(x):` with its docstring (the reference's `setup`):

    "    return x"  or  "return x"                    the body alone, at any indentation   -> setup + body
    "def f(x):\n    return x"                         the function                         -> itself
    "Sure:\n```python\ndef f(x): ...\n```\nIt ..."    a fenced block, or several           -> the last that has what the
                                                      tests call, with helpers from others
    "[BEGIN]\ndef f(x): ...\n[DONE]"                  MBPP's own marks                     -> what stands between them
    "Sure:\ndef f(x): ...\nThis returns x."           prose around code without a fence    -> the lines that are Python

The ladder ends in no answer: text in which no line is Python is not run. Reasoning in `<think>` tags is never searched.
Python is parsed to find its end, never run here. Not covered: other languages, diffs, notebooks.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from promptmill.records import Answer, Reference
from promptmill.registry import Extractor

MAX_CHARACTERS = 100_000  # a program; the parser's time and stack are spent on no more
MAX_BRACKETS = 150
MAX_PARSED = 1_000_000  # characters for one answer, all attempts together: about a second
FENCE = re.compile(r"^[ \t>]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n`]*$", re.MULTILINE)
MARKS = re.compile(r"\[BEGIN\]\s*?\n?(?P<inside>.*?)(?:\[DONE\]|\Z)", re.DOTALL)
PYTHON = {"", "python", "py", "python3", "py3", "python2", "ipython", "pycon"}
OPENING = re.compile(
    r"[ \t]*(?:from\s+[\w.]+\s+import\b|import\s+\w|def\s+\w|async\s+def\s|class\s+\w|@\w|[A-Za-z_]\w*\s*=[^=])"
)
CALLED = re.compile(r"\b([A-Za-z_]\w*)\s*\(")


class Piece(NamedTuple):
    """Part of the answer: where it begins, and what stands there."""

    start: int
    text: str


class _TooMuch(Exception):  # noqa: N818 - it is the text
    """An answer takes too long to be understood."""


class Wanted(NamedTuple):
    """What a program must have.

    Attributes:
        setup: code before a bare body.
        entry_point: the function of that body.
        names: functions of which one at least must be defined; any will do where there are none.
        parsed: how many characters the parser was given, in a list of one.
    """

    setup: str
    entry_point: str
    names: frozenset[str]
    parsed: list[int]


def code() -> Extractor:
    """Take the program out of an answer: a body, a function, fenced blocks, or code between prose."""
    return _program


def _program(text: str, reference: Reference) -> Answer | None:
    after = text.rfind("</think>")
    begin = 0 if after < 0 else after + len("</think>")
    if text.find("<think>", begin) >= 0:
        return None  # cut off while it was thinking
    names = {reference.entry_point} if reference.entry_point else set(CALLED.findall("\n".join(reference.tests)))
    wanted = Wanted(reference.setup or "", reference.entry_point or "", frozenset(names), [0])
    try:
        return _search(Piece(begin, text[begin:]), wanted)
    except _TooMuch:
        return None


def _search(answer: Piece, wanted: Wanted) -> Answer | None:
    marked = list(MARKS.finditer(answer.text))
    if marked:
        inside = Piece(answer.start + marked[-1].start("inside"), marked[-1]["inside"])
        if inside.text.strip():
            return _unmarked(inside, wanted, "begin, ")
    return _unmarked(answer, wanted, "")


def _unmarked(answer: Piece, wanted: Wanted, before: str) -> Answer | None:
    marks = list(FENCE.finditer(answer.text))
    if len(marks) % 2 and not marks[0]["language"]:  # the prompt may have opened it, and this is its end
        found = _of_text(Piece(answer.start, answer.text[: marks[0].start()]), wanted, f"{before}fence, ")
        if found is not None:
            return found
    blocks = [block for block in _fenced(answer, marks) if block.text.strip()]
    if blocks:
        return _of_blocks(blocks, wanted, f"{before}fence")
    return _of_text(answer, wanted, before)


def _fenced(answer: Piece, marks: list[re.Match[str]]) -> Iterator[Piece]:
    """Blocks of Python or of no language; the last may lack its end."""
    opened: re.Match[str] | None = None
    for mark in marks:
        if opened is None:
            opened = mark
        elif mark["mark"].startswith(opened["mark"]) and not mark["language"]:
            if opened["language"].lower() in PYTHON:
                inside = answer.text[opened.end() + 1 : mark.start()]
                yield Piece(answer.start + opened.end() + 1, inside)
            opened = None
    if opened is not None and opened["language"].lower() in PYTHON:
        yield Piece(answer.start + opened.end() + 1, answer.text[opened.end() + 1 :])


def _of_blocks(blocks: list[Piece], wanted: Wanted, method: str) -> Answer | None:
    """The last block that defines what the tests call, with what it needs from the blocks before it."""
    trees = [_parse(textwrap.dedent(block.text), wanted) for block in blocks]
    for at in reversed(range(len(blocks))):
        tree = trees[at]
        if tree is not None and _fits(tree, wanted):
            missing = _read(tree) - _defined(tree)
            parts = []
            for block, other in zip(blocks[:at], trees[:at], strict=True):
                if other is not None and _defined(other) & missing and not _defined(other) & _defined(tree):
                    parts.append(textwrap.dedent(block.text))
                    missing |= _read(other)
            text = "\n\n".join([*parts, textwrap.dedent(blocks[at].text)])
            return _answer(blocks[at], text, f"{method}s" if parts else method)
    for block in reversed(blocks):
        found = _of_text(block, wanted, f"{method}, ")
        if found is not None:
            return found
    longest = max(blocks, key=lambda block: len(block.text))
    return _answer(longest, textwrap.dedent(longest.text), f"{method}, no python")


def _of_text(piece: Piece, wanted: Wanted, before: str) -> Answer | None:
    """Code without a fence: all of it, a body, or lines between prose."""
    whole = textwrap.dedent(piece.text)
    tree = _parse(whole, wanted)
    if tree is not None and _fits(tree, wanted) and tree.body:
        return _answer(piece, _without_words(whole, tree), f"{before}whole")
    return _between(piece, wanted, f"{before}lines") or _body(piece, wanted, f"{before}body")


def _between(piece: Piece, wanted: Wanted, method: str) -> Answer | None:
    """The last run of lines that is Python and defines what the tests call."""
    lines = piece.text.splitlines(keepends=True)
    openings = [n for n, line in enumerate(lines) if OPENING.match(line)]
    found: Answer | None = None
    end_of_last = 0
    for first in openings[:200]:
        if first < end_of_last:
            continue
        run = _longest(lines[first:], wanted)
        tree = _parse(textwrap.dedent(run), wanted)
        if tree is None or not tree.body:
            continue
        end_of_last = first + run.count("\n") + 1
        if _fits(tree, wanted):
            start = piece.start + sum(map(len, lines[:first]))
            found = _answer(Piece(start, run), _without_words(textwrap.dedent(run), tree), method)
    return found


def _longest(lines: list[str], wanted: Wanted) -> str:
    """As many of the lines, from the first, as are Python together."""
    end = len(lines)
    while end > 0:
        text = "".join(lines[:end])
        wrong = _wrong_line(textwrap.dedent(text), wanted)
        if wrong == 0:
            return text
        end = min(end - 1, wrong - 1) if wrong <= end else end - 1
        while end > 0 and not lines[end - 1].strip():
            end -= 1
    return ""


def _body(piece: Piece, wanted: Wanted, method: str) -> Answer | None:
    """A function's body for the reference's setup, at any indentation, perhaps with more text after it.

    Of the readings of its indentation the one that makes Python of the most lines.
    """
    if not wanted.setup:
        return None
    setup = wanted.setup.rstrip() + "\n"
    most, best = 0, ""
    for body in _bodies(piece.text):
        lines = body.splitlines(keepends=True)
        end = len(lines)
        while end > most:
            program = setup + "".join(lines[:end])
            wrong = _wrong_line(program, wanted)
            tree = _parse(program, wanted) if wrong == 0 else None
            if tree is not None:
                if _has_body(tree, wanted):
                    most, best = end, _without_words(program, tree)
                break
            end = max(0, min(end - 1, wrong - 1 - setup.count("\n")))
    return _answer(piece, best, method) if most else None


def _bodies(text: str) -> Iterator[str]:
    """The text as a body, in the readings of its indentation that answers have."""
    text = text.strip("\n").expandtabs(4)
    lines = text.splitlines(keepends=True)
    first = lines[0] if lines else ""
    margin = len(first) - len(first.lstrip())
    if margin == 4:
        yield text  # it goes on where the setup ends
    if margin:
        less = (n for n, line in enumerate(lines) if line.strip() and len(line) - len(line.lstrip()) < margin)
        yield _indented("".join(lines[: next(less, len(lines))]))
    yield _indented(text)
    # the prompt ended inside the first line's indentation: only the others have theirs
    rest = _indented("".join(lines[1:]))
    yield f"    {first.strip()}\n{rest}"
    yield f"    {first.strip()}\n{textwrap.indent(rest, '    ')}"
    yield "    " + text
    inner = [line for line in lines if line.startswith(" ") or not line.strip()]
    yield _indented("".join(inner).lstrip("\n"))  # prose around an indented body


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text), "    ")


def _has_body(tree: ast.Module, wanted: Wanted) -> bool:
    """Whether the function has more than its docstring, and everything after it belongs to it."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    named = [node for node in functions if node.name == wanted.entry_point] or functions
    if not named:
        return False
    body = named[-1].body
    told = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    rest = body[1:] if told else body
    return any(not _is_words(statement) for statement in rest)


def _is_words(statement: ast.stmt) -> bool:
    """Whether a statement is a bare name, as a word of prose reads to the parser."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Tuple | ast.Constant)


def _without_words(text: str, tree: ast.Module) -> str:
    """Without bare words after the code."""
    body = list(tree.body)
    while len(body) > 1 and _is_words(body[-1]):
        body.pop()
    return "\n".join(text.splitlines()[: body[-1].end_lineno])


def _fits(tree: ast.Module, wanted: Wanted) -> bool:
    defined = _defined(tree)
    return bool(defined & wanted.names) if wanted.names else bool(tree.body)


def _defined(tree: ast.Module) -> set[str]:
    """Names that a program binds at its top level."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


def _read(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _wrong_line(text: str, wanted: Wanted) -> int:
    """The first line that is no Python; 0 where all is."""
    found = _tree_or_line(text, wanted)
    return found if isinstance(found, int) else 0


def _parse(text: str, wanted: Wanted) -> ast.Module | None:
    found = _tree_or_line(text, wanted)
    return None if isinstance(found, int) else found


def _tree_or_line(text: str, wanted: Wanted) -> ast.Module | int:
    """The text as Python, or the first line that is none.

    Raises:
        _TooMuch: the answer took too much parsing already.
    """
    wanted.parsed[0] += len(text)
    if wanted.parsed[0] > MAX_PARSED:
        raise _TooMuch
    if len(text) > MAX_CHARACTERS or _deepest(text) > MAX_BRACKETS:
        return text.count("\n") + 1
    warnings.filterwarnings("ignore", module=r"<answer>")  # a string with '\d' is not worth a word here
    try:
        tree = compile(text, "<answer>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        return max(1, error.lineno or 1)
    except (ValueError, RecursionError, MemoryError):
        return text.count("\n") + 1
    assert isinstance(tree, ast.Module)
    return tree


def _deepest(text: str) -> int:
    """How deep brackets could be nested: the parser's stack is not tried on more."""
    depth = deepest = 0
    for mark in re.findall(r"[(\[{]|[)\]}]", text):
        depth = depth + 1 if mark in "([{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _answer(piece: Piece, text: str, method: str) -> Answer:
    return Answer(text=text.strip("\n") + "\n", method=method, span=(piece.start, piece.start + len(piece.text)))
