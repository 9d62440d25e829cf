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
PLAIN_ATTRIBUTES = frozenset(name for kind in PLAIN for name in dir(kind))
CLASS_NAME = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)?")


class Plan(NamedTuple):
    """How to run some tests.

    Attributes:
        called: names of the program that the tests call.
        modules: modules of the standard library that the tests use without importing them.
        together: why they cannot be run in a process of their own; empty where they can.
        missing: a package that they import and the sandbox does not have; empty where there is none.
    """

    called: tuple[str, ...]
    modules: tuple[str, ...]
    together: str
    missing: str = ""


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
    together = _why_together(nodes, called, called & attributes)
    missing = {name for name in _imported([*nodes, *ast.walk(ast.parse(setup))]) if name not in sys.stdlib_module_names}
    return Plan(tuple(sorted(called)), tuple(sorted(modules)), together, min(missing, default=""))


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
            if isinstance(node.value, ast.Name) and node.value.id in made:
                name = made[node.value.id]
            elif _calls(node.value, called):
                name = _calls(node.value, called)
            else:
                continue
            if name in classes or node.attr not in PLAIN_ATTRIBUTES or not isinstance(node.ctx, ast.Load):
                return f"the tests look into what '{name}' returns"
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


def _calls(node: ast.expr, called: set[str]) -> str:
    """The program's function that an expression calls, or nothing."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in called:
        return node.func.id
    return ""


def _assigned_from(nodes: list[ast.AST], called: set[str]) -> dict[str, str]:
    """Variable -> the program's function whose result it holds."""
    return {
        target.id: _calls(node.value, called)
        for node in nodes
        if isinstance(node, ast.Assign) and _calls(node.value, called)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
