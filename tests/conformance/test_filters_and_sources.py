"""Every entry of the tables `filters` and `sources` keeps to the protocol and explains its options."""

import json

import msgspec
import pytest

from promptmill import registry
from promptmill.errors import DataError
from promptmill.records import Message, Prompt
from promptmill.registry import Expand, Look
from promptmill.select.pipeline import select

FILTERS = sorted(registry.TABLES["filters"])
SOURCES = sorted(registry.TABLES["sources"])


def _prompts():
    for n in range(50):
        text = f"Please explain number {n % 40} to me, in simple words. " + "Thank you! " * (n % 7)
        yield Prompt(id=f"p{n}", source=f"s:{n}", messages=(Message(role="user", content=text),), meta={"n": n})


@pytest.mark.parametrize(("table", "name"), [("filters", f) for f in FILTERS] + [("sources", s) for s in SOURCES])
def test_every_option_is_keyword_only_typed_and_explained(table, name):
    function = registry.load(table, name)
    options = registry.options(function)
    assert len(options) == len([p for p in function.__annotations__ if p != "return" and not p.startswith("_")])
    for option in options:
        assert option.help, f"{name}: {option.name} has no line in Args"
        assert not option.name.startswith("_")
        if option.default is not msgspec.NODEFAULT:
            assert msgspec.convert(option.default, option.type, strict=True) == option.default
            assert json.loads(json.dumps(option.default)) == option.default, "survives being saved in a recipe"


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_builds_with_its_defaults_and_accounts_for_every_prompt(name, tmp_path):
    step = registry.build("filters", {"kind": name})
    assert isinstance(step, Look | Expand) or callable(step)
    dropped = []
    selection = select(
        _prompts(), [(name, step)], work=tmp_path, dropped=lambda prompt, *why: dropped.append((prompt.id, *why))
    )
    kept = [prompt.id for prompt in selection.kept]
    (count,) = selection.report
    assert count["in"] == 50
    assert count["out"] == len(kept)
    assert sorted(kept + [id_ for id_, _, _ in dropped]) == sorted(p.id for p in _prompts())
    assert sum(count["dropped"].values()) == len(dropped)
    assert all(step_name == name and reason and len(reason) < 60 for _, step_name, reason in dropped)
    assert kept == sorted(kept, key=lambda id_: int(id_[1:]))


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_gives_the_same_twice(name, tmp_path):
    runs = [
        list(select(_prompts(), [(name, registry.build("filters", {"kind": name}))], work=tmp_path).kept)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", [n for n in SOURCES if not n.startswith("hub")])
def test_a_source_is_lazy_and_names_the_file_that_is_missing(name, tmp_path):
    rows = registry.build("sources", {"kind": name, "path": str(tmp_path / "none.jsonl")})
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        next(rows)
