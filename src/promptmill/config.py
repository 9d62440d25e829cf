"""Recipes: YAML -> checked structs, with the file and line in every complaint.

A recipe is described by msgspec structs; a field of type `Use` marked with `Table("sources")` names an entry of a
table (`{kind: chats, path: ...}`) whose options are checked against the function's own parameters. Strict on purpose:
unknown keys, doubled keys and wrong types are errors, and only `true` and `false` are booleans (`no` is Norwegian).
There is no `${VAR}` interpolation: secrets are named (`api_key_env`), never pasted into a file that is copied.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from promptmill import registry
from promptmill.errors import ConfigError
from promptmill.registry import Option, did_you_mean

T = TypeVar("T", bound=msgspec.Struct)
Use = dict[str, Any]
At = tuple[str | int, ...]


class Table(NamedTuple):
    """Marks a field whose value names an entry of a table.

    Attributes:
        name: the table.
        default: the kind when the recipe gives options but no kind.
        beside: a struct whose fields every entry may have too, whatever its kind.
    """

    name: str
    default: str | None = None
    beside: type[msgspec.Struct] | None = None


class Document(NamedTuple):
    """A recipe as written: plain values, and where each of them stands.

    Attributes:
        tree: nested dicts, lists and scalars.
        places: path of a value -> `file:line` or the flag that set it.
        name: what to call the whole.
    """

    tree: dict[str, Any]
    places: dict[At, str]
    name: str

    def error(self, at: At, text: str) -> ConfigError:
        """A ConfigError that names the place of `at`, or of the nearest thing around it."""
        near = at
        while near and near not in self.places:
            near = near[:-1]
        place = self.places.get(near, self.name)
        return ConfigError(f"{place}: {dotted(at)}: {text}" if at else f"{place}: {text}")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain values of YAML 1.2: `429:0.05` and `2026-01-02` are texts, `1e-4` is a number."""


_PLAIN = {
    "bool": ("true|True|false|False", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
    "null": ("~|null|Null|NULL|", "~nN\0"),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _firsts) in _PLAIN.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _firsts]
    )


def read_recipe(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: missing, not YAML, not a mapping, or a key stands twice; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such recipe. Check the path (working folder: {Path.cwd()}).") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder. Name a recipe, a YAML file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}.") from error
    loader = None
    try:
        loader = _Loader(text)
        loader.name = str(path)  # so that every mark names the file
        node = loader.get_single_node()
        places: dict[At, str] = {(): str(path)}
        tree = _construct(loader, node, (), places) if node else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}.") from error
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1: a recipe is a mapping of keys, this is a {type(tree).__name__}.")
    return Document(tree, places, str(path))


def _construct(loader: _Loader, node: yaml.Node, at: At, places: dict[At, str]) -> Any:
    places[at] = _place(node)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key in found:
                raise ConfigError(
                    f"{_place(key_node)}: {dotted((*at, str(key)))}: stands twice, or is not a plain key."
                )
            found[key] = _construct(loader, value_node, (*at, key), places)
            places[*at, key] = _place(key_node)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*at, i), places) for i, item in enumerate(node.value)]
    return loader.construct_object(node)


def _place(node: yaml.Node) -> str:
    return f"{node.start_mark.name}:{node.start_mark.line + 1}"


def parse_value(text: str, wanted: Any = Any) -> Any:
    """Read the value of a flag or of `--set key=value` as YAML would; what can only be a text is left as it is."""
    bare, table = unwrap(wanted)
    if bare is str and table is None and not (text == "null" and _optional(wanted)):
        return text
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return text


def override(document: Document, path: str, value: Any, *, origin: str) -> None:
    """Set `a.b.c` in the tree, in place. A list item is named by its number or by its `kind`.

    Raises:
        ConfigError: the path leads through something that is not a mapping or list.
    """
    here: Any = document.tree
    at: At = ()
    keys = path.split(".")
    for number, key in enumerate(keys):
        step: str | int = key
        if isinstance(here, list):
            kinds = [item.get("kind") if isinstance(item, dict) else None for item in here]
            step = int(key) if key.isdecimal() else kinds.index(key) if key in kinds else -1
            if not -1 < step <= len(here):
                raise ConfigError(
                    f"{origin}: {dotted(at)} has no item '{key}'. There are: {', '.join(map(str, kinds))}."
                )
            if step == len(here):
                here.append({})
        elif not isinstance(here, dict):
            raise ConfigError(f"{origin}: {dotted(at)} is {here!r}, it has no '{key}' inside.")
        at = (*at, step)
        if number == len(keys) - 1:
            here[step] = value
            for old in [place for place in document.places if place[: len(at)] == at]:
                del document.places[old]  # what stood inside is gone
            document.places[at] = origin
        else:
            following = keys[number + 1]
            if isinstance(here, dict) and here.get(key) is None:
                here[key] = [] if following.isdecimal() else {}
                document.places[at] = origin
            here = here[step]


def assign(document: Document, assignment: str) -> None:
    """Lay what stands behind `--set`, `a.b.c=value`, over the tree.

    Raises:
        ConfigError: it is not of that form, or the path leads through something that is not a mapping or list.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {assignment}: is not of the form key.path=value.")
    override(document, path, parse_value(text), origin=f"--set {path}")


def check(document: Document, recipe: type[T]) -> T:
    """Turn the tree into `recipe`, every option checked and every default filled in.

    Raises:
        ConfigError: an unknown key, table entry or value, with its place and a suggestion.
    """
    checked: T = _check(document, document.tree, recipe, ())
    return checked


def _check(doc: Document, value: Any, wanted: Any, at: At) -> Any:
    bare, table = unwrap(wanted)
    if value is None and _optional(wanted):
        return None
    if table is not None:
        return _check_use(doc, value, table, at)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return _check_struct(doc, value, bare, at)
    if get_origin(bare) is list and isinstance(value, str) and get_args(bare)[0] is str:
        value = [value]  # one text where a list of texts may stand: --stop '###'
    if get_origin(bare) is list and isinstance(value, list):
        item = get_args(bare)[0]
        return [_check(doc, entry, item, (*at, i)) for i, entry in enumerate(value)]
    if isinstance(value, float) and value.is_integer() and int in [unwrap(arm)[0] for arm in (bare, *get_args(bare))]:
        value = int(value)  # 1e6 is what people write for a million tokens
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise doc.error(at, f"{value!r}: {error}.{_among(value, bare)}") from error


def _among(value: Any, wanted: Any) -> str:
    """The words that would do, where the type names them."""
    arms = [wanted, *(get_args(wanted) if get_origin(wanted) in (typing.Union, types.UnionType) else ())]
    words = [str(word) for arm in arms if get_origin(arm) is typing.Literal for word in get_args(arm)]
    bare = [unwrap(arm)[0] for arm in arms]
    lead = "A number, or" if int in bare or float in bare else "Or" if str in bare else "There are"
    return f"{did_you_mean(str(value), words)} {lead}: {', '.join(words)}." if words else ""


def _check_struct(doc: Document, value: Any, struct: type[msgspec.Struct], at: At) -> Any:
    if not isinstance(value, dict):
        raise doc.error(at, f"a mapping of options is expected, not {value!r}.")
    options = struct_options(struct)
    _refuse_unknown(doc, value, [option.name for option in options], at)
    checked = {}
    for option in options:
        inside = (*at, option.name)
        if option.name in value:
            checked[option.name] = _check(doc, value[option.name], option.type, inside)
        elif option.default is msgspec.NODEFAULT:
            raise doc.error(at, f"'{option.name}' is missing: {option.help}")
        else:  # defaults are checked too: that fills in what a table entry or section has inside
            checked[option.name] = _check(doc, msgspec.to_builtins(option.default), option.type, inside)
    try:
        return struct(**checked)
    except (ValueError, ConfigError) as error:  # a struct's own __post_init__: what is wrong, then where inside
        inside = error.args[1:] if type(error) is ValueError else ()
        raise doc.error((*at, *inside), f"{error.args[0]}" if inside else f"{error}") from error


def _check_use(doc: Document, value: Any, table: Table, at: At) -> Use:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        raise doc.error(at, f"an entry of the table '{table.name}' is expected: {{kind: NAME, ...}}, not {value!r}.")
    kind = value.get("kind", table.default)
    entries = registry.names(table.name)
    if kind is None:
        raise doc.error(at, f"'kind' is missing. There are: {', '.join(entries)}.")
    if kind not in entries:
        raise doc.error(
            (*at, "kind"), f"no '{kind}'.{did_you_mean(str(kind), entries)} There are: {', '.join(entries)}."
        )
    options = registry.options(registry.load(table.name, kind))
    beside = struct_options(table.beside) if table.beside is not None else []
    options += beside
    _refuse_unknown(doc, {k: v for k, v in value.items() if k != "kind"}, [o.name for o in options], at)
    checked: Use = {"kind": kind}
    for option in options:
        if option.name in value:
            checked[option.name] = _check(doc, value[option.name], option.type, (*at, option.name))
        elif option.default is msgspec.NODEFAULT:
            raise doc.error(at, f"{kind} needs '{option.name}'. {option.help}".rstrip())
        else:
            checked[option.name] = option.default
    if table.beside is not None:
        try:
            table.beside(**{option.name: checked[option.name] for option in beside})
        except ValueError as error:  # what one of its fields says about another
            raise doc.error(at, f"{error}") from error
    return checked


def check_use(document: Document, key: str, table: str) -> Use:
    """Check the entry of a table that stands at one key of a document; for commands that have no recipe.

    Raises:
        ConfigError: an unknown kind, option or value.
    """
    return _check_use(document, document.tree[key], Table(table), (key,))


def _refuse_unknown(doc: Document, value: dict[str, Any], known: Sequence[str], at: At) -> None:
    for key in value:
        if key not in known:
            there = f" There are: {', '.join(known)}." if known else " There are no options here."
            raise doc.error((*at, key), f"unknown option.{did_you_mean(key, known)}{there}")


def struct_options(struct: type[msgspec.Struct]) -> list[Option]:
    """The fields of a struct as options, with the help of its `Attributes:` section."""
    texts = {name: text for kind in reversed(struct.__mro__) for name, text in registry.help_lines(kind).items()}
    hints = get_type_hints(struct, include_extras=True)
    return [
        Option(name=f.encode_name, type=hints[f.name], default=_default(f), help=texts.get(f.name, ""))
        for f in msgspec.structs.fields(struct)
    ]


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def iter_leaves(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Yield `(dotted path, option)` of every option that is not itself a struct."""
    for option in struct_options(struct):
        bare, _ = unwrap(option.type)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            yield from iter_leaves(bare, f"{prefix}{option.name}.")
        else:
            yield f"{prefix}{option.name}", option


def unwrap(wanted: Any) -> tuple[Any, Table | None]:
    """Return the type without Annotated and Optional, and the table it names, if any."""
    table = None
    if get_origin(wanted) is Annotated:
        wanted, *marks = get_args(wanted)
        table = next((mark for mark in marks if isinstance(mark, Table)), None)
    if get_origin(wanted) in (typing.Union, types.UnionType):
        inner = [arm for arm in get_args(wanted) if arm is not type(None)]
        if len(inner) == 1:
            bare, found = unwrap(inner[0])
            return bare, table or found
    return wanted, table


def _optional(wanted: Any) -> bool:
    if get_origin(wanted) is Annotated:
        wanted = get_args(wanted)[0]
    return get_origin(wanted) in (typing.Union, types.UnionType) and type(None) in get_args(wanted)


def dotted(at: At) -> str:
    """`('a', 0, 'b')` -> `a.0.b`."""
    return ".".join(str(step) for step in at)


def dump(recipe: msgspec.Struct) -> str:
    """The resolved recipe as YAML, in the order of its definition."""
    return yaml.safe_dump(msgspec.to_builtins(recipe), sort_keys=False, allow_unicode=True)


def differences(old: Any, new: Any, at: At = ()) -> list[str]:
    """Lines `path: old -> new` for every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), (*at, key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, (*at, i))]
    return [] if old == new else [f"{dotted(at)}: {old!r} -> {new!r}"]
