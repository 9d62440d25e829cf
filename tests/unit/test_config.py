from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from promptmill import config
from promptmill.config import Table, Use
from promptmill.errors import ConfigError


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    """Inner.

    Attributes:
        depth: how deep.
        mode: which way.
    """

    depth: Annotated[int, msgspec.Meta(ge=1)] = 3
    mode: Literal["up", "down"] = "up"


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    """Outer.

    Attributes:
        name: what it is called.
        inner: the inside.
        engine: where it runs.
        steps: several entries.
        languages: words.
        maybe: may be left out.
    """

    name: str
    inner: Inner = Inner()
    engine: Annotated[Use, Table("engines", default="local")] = msgspec.field(default_factory=lambda: {"kind": "local"})
    steps: list[Annotated[Use, Table("engines")]] | None = None
    languages: list[str] = []
    maybe: Inner | None = None


def read(tmp_path: Path, text: str) -> config.Document:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return config.read_recipe(path)


def test_a_recipe_becomes_a_struct_with_every_default_filled_in(tmp_path):
    recipe = config.check(read(tmp_path, "name: x\nsteps: [local, {kind: local, workers: 2}]\n"), Outer)
    assert recipe.inner == Inner(depth=3, mode="up")
    assert recipe.steps == [{"kind": "local", "workers": 1}, {"kind": "local", "workers": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam: x\n", "r.yaml:1: nam: unknown option. Did you mean 'name'?"),
        ("name: x\ninner:\n  dept: 2\n", "r.yaml:3: inner.dept: unknown option. Did you mean 'depth'?"),
        ("name: x\ninner: {depth: 0}\n", "r.yaml:2: inner.depth: 0: Expected `int` >= 1"),
        ("name: x\ninner: {depth: many}\n", "r.yaml:2: inner.depth: 'many': Expected `int`, got `str`"),
        ("name: x\ninner: {mode: dwn}\n", "r.yaml:2: inner.mode: 'dwn': Invalid enum value 'dwn'"),
        ("name: x\nengine: {kind: locl}\n", "r.yaml:2: engine.kind: no 'locl'. Did you mean 'local'?"),
        ("name: x\nengine:\n  worker: 2\n", "r.yaml:3: engine.worker: unknown option. Did you mean 'workers'?"),
        ("name: x\nname: y\n", "r.yaml:2: name: stands twice"),
        ("inner: {}\n", "'name' is missing: what it is called."),
        ("name: [\n", "r.yaml:2: not YAML"),
        ("- 1\n", "r.yaml:1: a recipe is a mapping of keys, this is a list."),
        ("name: x\ninner: 3\n", "r.yaml:2: inner: a mapping of options is expected, not 3."),
    ],
)
def test_what_is_wrong_is_named_with_its_file_line_and_key(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        config.check(read(tmp_path, text), Outer)
    assert message in str(caught.value)


def test_no_is_norwegian_and_not_false(tmp_path):
    assert config.check(read(tmp_path, "name: x\nlanguages: [no, en]\n"), Outer).languages == ["no", "en"]


def test_an_override_reaches_through_missing_sections_and_into_lists_by_number_or_kind(tmp_path):
    document = read(tmp_path, "name: x\nsteps: [{kind: local}]\n")
    config.override(document, "inner.depth", 7, origin="--inner.depth")
    config.override(document, "maybe.depth", 8, origin="--set maybe.depth")
    config.override(document, "steps.local.workers", 2, origin="--set")
    config.override(document, "steps.1.kind", "local", origin="--set")
    recipe = config.check(document, Outer)
    assert (recipe.inner.depth, recipe.maybe.depth) == (7, 8)
    assert recipe.steps == [{"kind": "local", "workers": 2}, {"kind": "local", "workers": 1}]


def test_a_wrong_override_names_the_flag(tmp_path):
    document = read(tmp_path, "name: x\n")
    config.override(document, "inner.depth", "deep", origin="--inner.depth")
    with pytest.raises(ConfigError, match=r"^--inner.depth: inner.depth: 'deep': Expected `int`"):
        config.check(document, Outer)


def test_an_override_of_a_whole_section_is_named_for_what_is_wrong_inside_it(tmp_path):
    document = read(tmp_path, "name: x\nengine:\n  kind: local\n")
    config.override(document, "engine", "locl", origin="--engine")
    with pytest.raises(ConfigError, match=r"^--engine: engine\.kind: no 'locl'"):
        config.check(document, Outer)


def test_an_override_through_a_scalar_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="name is 'x', it has no 'first' inside"):
        config.override(read(tmp_path, "name: x\n"), "name.first", 1, origin="--set")


def test_a_dumped_recipe_reads_back_equal(tmp_path):
    recipe = config.check(read(tmp_path, "name: 'no'\ninner: {depth: 5}\n"), Outer)
    assert config.check(read(tmp_path, config.dump(recipe)), Outer) == recipe


def test_every_leaf_option_has_a_help_line():
    assert {path: option.help for path, option in config.iter_leaves(Outer)} == {
        "name": "what it is called.",
        "inner.depth": "how deep.",
        "inner.mode": "which way.",
        "engine": "where it runs.",
        "steps": "several entries.",
        "languages": "words.",
        "maybe.depth": "how deep.",
        "maybe.mode": "which way.",
    }


def test_differences_are_lines_of_path_old_and_new():
    old = {"a": 1, "b": {"c": [1, 2]}, "gone": True}
    new = {"a": 1, "b": {"c": [1, 3]}, "new": "x"}
    assert config.differences(old, new) == ["b.c.1: 2 -> 3", "gone: True -> None", "new: None -> 'x'"]


def test_a_missing_recipe_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no such recipe"):
        config.read_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("429:0.05", "429:0.05"), ("1:30", "1:30"), ("2026-01-02", "2026-01-02"), ("1e-4", 1e-4), ("1.5E3", 1500.0),
        ("no", "no"), ("true", True), ("0x10", 16), ("007", "007"), ("1_000", "1_000"), ("-3", -3), (".5", 0.5),
        ("null", None), ("~", None), ("", None), ("5.", 5.0), ("-.inf", float("-inf")), ("<<", "<<"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text, value):
    assert config.parse_value(text) == value
    assert type(config.parse_value(text)) is type(value)


def test_one_text_may_stand_where_a_list_of_texts_is_wanted(tmp_path):
    assert config.check(read(tmp_path, "name: x\nlanguages: '###'\n"), Outer).languages == ["###"]
    with pytest.raises(ConfigError, match="languages"):
        config.check(read(tmp_path, "name: x\nlanguages: 3\n"), Outer)


class Deeper(Inner, frozen=True, kw_only=True):
    """Deeper.

    Attributes:
        mode: which way, of two.
    """

    depth: Annotated[int, msgspec.Meta(ge=1)] = 9


def test_a_struct_inherits_the_help_of_its_options():
    assert {o.name: (o.default, o.help) for o in config.struct_options(Deeper)} == {
        "depth": (9, "how deep."),
        "mode": ("up", "which way, of two."),
    }
