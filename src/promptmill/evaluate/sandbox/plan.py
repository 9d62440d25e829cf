"""How tests can be run: which names they take from the program, and whether they can run in a process of their own.

Decided from the tests alone, never from what a program defines or returns: otherwise a hostile program could choose to
be judged in its own process, where it could forge the verdict.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BUILTINS = frozenset(dir(builtins)) | {"__name__"}
PLAIN = (int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range)
# of other types that cross; not those that objects of a program's own often have, too: total, name, date, x
FURTHER = """
    appendleft extendleft popleft rotate maxlen most_common subtract move_to_end default_factory typecode itemsize
    tolist tobytes isdisjoint mapping limit_denominator quantize as_tuple adjusted is_nan is_zero is_signed is_finite
    is_infinite to_integral_value normalize year month day hour minute second microsecond tzinfo weekday isoweekday
    isoformat isocalendar toordinal strftime timestamp utcoffset astimezone timetuple total_seconds days seconds
    microseconds _asdict _fields _replace __next__
"""
PLAIN_ATTRIBUTES = frozenset(name for kind in PLAIN for name in dir(kind)) | set(FURTHER.split())
# what gives items of what it is given
THROUGH = frozenset({"enumerate", "zip", "sorted", "list", "tuple", "set", "reversed", "iter", "next", "min", "max"})
FILES = frozenset({"tempfile", "shutil", "pathlib"})  # modules that tests write files with
# parts of modules that tests change for both sides, or patch them with
CHANGING = frozenset({
    "mock", "patch", "environ", "setrecursionlimit", "set_int_max_str_digits", "redirect_stderr", "chdir",
})  # fmt: skip
# what asks of a function more than a call would tell
LOOKING = frozenset({
    "signature", "getsource", "iscoroutinefunction", "isgeneratorfunction", "isfunction", "getdoc", "get_type_hints",
    "hasattr", "getattr", "setattr", "vars", "dir", "type",
})  # fmt: skip
CLASS_NAME = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)?")


class Plan(NamedTuple):
    """How to run some tests.

    Attributes:
        called: names of the program that the tests call.
        modules: modules of the standard library that the tests use without importing them.
        together: why they cannot be run in a process of their own; empty where they can.
        missing: a package that they import and the sandbox does not have; empty where there is none.
        seeded: they set the seed of `random`.
    """

    called: tuple[str, ...]
    modules: tuple[str, ...]
    together: str
    missing: str = ""
    seeded: bool = False


def plan_of(setup: str, tests: Sequence[str], entry_point: str | None) -> Plan:
    """Look at tests.

    Raises:
        SyntaxError: they are no Python.
    """
    text = "\n".join(tests)
    tree = ast.parse(text)
    top = symtable.symtable(text, "<tests>", "exec")
    bound = _bound(top) | _bound(symtable.symtable(setup, "<setup>", "exec"))
    free = {name for name in _read(top) if name not in bound and name not in BUILTINS}
    if entry_point:
        free.add(entry_point)
    nodes = list(ast.walk(tree))
    free = free or _called_first(tree)
    looked_into = [node for node in nodes if isinstance(node, ast.Attribute)]
    attributes = {node.value.id for node in looked_into if isinstance(node.value, ast.Name)}
    modules = {name for name in free & attributes if name in sys.stdlib_module_names}
    called = free - modules
    imported = set(_imported(nodes))
    before = list(ast.walk(ast.parse(setup))) if "import" in setup or "class" in setup else []
    classes = {node.name for node in before if isinstance(node, ast.ClassDef)}
    together = _why_together(nodes, called, called & attributes)
    together = together or _surroundings(nodes, imported | modules, called, classes)
    everywhere = imported | set(_imported(before))
    missing = {name for name in everywhere if name not in sys.stdlib_module_names}
    seeded = any(_last_name(node.func) == "seed" for node in nodes if isinstance(node, ast.Call))
    return Plan(tuple(sorted(called)), tuple(sorted(modules)), together, min(missing, default=""), seeded)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _surroundings(nodes: list[ast.AST], modules: set[str], called: set[str], classes: set[str]) -> str:
    """Why these tests need the program's process: they change, or use, what both would find in one; or nothing."""
    found: str | None = "the tests use files" if modules & FILES else ""
    for node in nodes:
        if isinstance(node, ast.Attribute):
            found = found or _changed(node, modules)
        elif isinstance(node, ast.ImportFrom):
            found = found or ("the tests patch modules" if CHANGING & {alias.name for alias in node.names} else "")
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "open":
                found = found or "the tests use files"
            if _last_name(node.func) in LOOKING:
                names = [each.id for each in node.args if isinstance(each, ast.Name) and each.id in called]
                found = found or (f"the tests look into '{names[0]}'" if names else "")
        elif isinstance(node, ast.Name) and node.id in classes:
            found = found or f"'{node.id}' is a class of the setup"
    return found or ""


def _changed(node: ast.Attribute, modules: set[str]) -> str:
    """What of a module an attribute stands for that tests change; or nothing."""
    if isinstance(node.value, ast.Call):
        changed = isinstance(node.ctx, ast.Store) and _last_name(node.value.func) == "getcontext"
        return "the tests change the context of decimals" if changed else ""
    if not isinstance(node.value, ast.Name) or node.value.id not in modules:
        return ""
    name = f"{node.value.id}.{node.attr}"
    stored = isinstance(node.ctx, ast.Store) and name != "sys.stdout"  # what is printed to it comes over
    return f"the tests change '{name}'" if stored or node.attr in CHANGING else ""


def _imported(nodes: list[ast.AST]) -> Iterator[str]:
    """The packages that code imports."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def _bound(table: symtable.SymbolTable) -> set[str]:
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}


def _read(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that are read and belong to no function or class of the tests."""
    module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (module or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _read(inner)


def _called_first(tree: ast.Module) -> set[str]:
    """The functions that asserts begin with, where a program's function has the name of a built-in one (`sum`)."""
    found = set()
    for statement in tree.body:
        calls = [each for each in ast.walk(statement) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)]
        if isinstance(statement, ast.Assert) and calls:
            first = min(calls, key=lambda call: (call.lineno, call.col_offset))
            found.add(first.func.id if isinstance(first.func, ast.Name) else "")
    return found


def _why_together(nodes: list[ast.AST], called: set[str], with_attributes: set[str]) -> str:
    """Why these tests need the program's objects, not just values; empty where they do not."""
    if with_attributes:
        return f"the tests look into '{min(with_attributes)}'"
    classes = sorted(name for name in called if CLASS_NAME.fullmatch(name))
    if classes and len(called) > 1:
        return f"'{classes[0]}' looks like a class"
    made = _assigned_from(nodes, called)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            name = _root(node.value, called, made)
            plain = node.attr in PLAIN_ATTRIBUTES and isinstance(node.ctx, ast.Load) and name not in classes
            if name and not plain:
                return f"the tests look into what '{name}' returns"
        elif isinstance(node, ast.withitem) and _root(node.context_expr, called, made):
            return f"the tests enter what '{_root(node.context_expr, called, made)}' returns"
    return _named_as_type(nodes, called)


def _named_as_type(nodes: list[ast.AST], called: set[str]) -> str:
    used = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            used |= {each.id for each in (node.func, *node.args) if isinstance(each, ast.Name)}
            if isinstance(node.func, ast.Name) and node.func.id in {"isinstance", "issubclass"}:
                used -= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    rest = sorted(called - used - _handed_on(nodes))
    return f"'{rest[0]}' is not called" if rest else ""


def _handed_on(nodes: list[ast.AST]) -> set[str]:
    """Functions that are given another name or held in a collection."""
    values = [node.value for node in nodes if isinstance(node, ast.Assign | ast.keyword | ast.Return)]
    values += [each for node in nodes if isinstance(node, ast.List | ast.Tuple) for each in node.elts]
    return {value.id for value in values if isinstance(value, ast.Name)}


def _root(node: ast.expr, called: set[str], made: dict[str, str]) -> str:
    """The program's function that a value comes from, or nothing: `f(1)[0]`, `next(f(1))`, `await f(1)`."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                if node.func.id in called:
                    return node.func.id
                if node.func.id in THROUGH:
                    return next(filter(None, (_root(each, called, made) for each in node.args)), "")
            node = node.func
        elif isinstance(node, ast.Attribute | ast.Subscript | ast.Await | ast.Starred | ast.NamedExpr):
            node = node.value
        else:
            return ""
    return made.get(node.id, "")


def _assigned_from(nodes: list[ast.AST], called: set[str]) -> dict[str, str]:
    """Variable -> the program's function whose result it holds, or part of that."""
    pairs = [pair for node in nodes for pair in _given(node)]
    made: dict[str, str] = {}
    for _ in range(4):  # as far as one hands on to the next against the order of the text
        before = len(made)
        for target, value in pairs:
            name = _root(value, called, made)
            if name:
                names = [each for each in ast.walk(target) if isinstance(each, ast.Name)]
                made |= {each.id: name for each in names if isinstance(each.ctx, ast.Store)}
        if len(made) == before:
            break
    return made


def _given(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Where a value is given a name: the name or names, and the value."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, node.context_expr
