"""Every entry of every table keeps the promises of its kind. A plug-in can be held to the same with its own names."""

import inspect

import msgspec
import pytest

from promptmill import config, registry

ENTRIES = [(table, name) for table in registry.TABLES for name in registry.TABLES[table]]
NEEDED = {  # options without a default, filled for the tests
    "chats": {"path": "x"}, "prompts": {"path": "x"}, "problems": {"path": "x"},
    "commonsense_qa": {"path": "x"}, "gsm8k": {"path": "x"}, "nq_open": {"path": "x"},
    "hub": {"dataset": "x"}, "hub_problems": {"dataset": "x"},
    "openai": {"base_url": "http://127.0.0.1:1"},
    "llamacpp": {"base_url": "http://127.0.0.1:1"}, "transformers": {"model": "x"}, "vllm": {"model": "x"},
    "tgi": {"base_url": "http://127.0.0.1:1"}, "function": {"function": "promptmill.endpoints.fake:serve"},
}  # fmt: skip


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_every_option_has_a_help_line_a_type_and_a_default_that_its_type_allows(table, name):
    function = registry.load(table, name)
    for option in registry.options(function):
        assert option.help, f"{table}.{name}.{option.name} has no line in Args:"
        if option.default is not msgspec.NODEFAULT:
            msgspec.convert(option.default, option.type)


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_every_entry_says_what_it_is_in_one_line_and_takes_its_options_by_name(table, name):
    function = registry.load(table, name)
    assert (function.__doc__ or "").strip().splitlines()[0].endswith(".")
    kinds = {p.kind for p in inspect.signature(function).parameters.values() if p.name != "transport"}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_every_entry_can_be_written_in_a_recipe(table, name):
    document = config.Document(
        {"use": {"kind": name, **(NEEDED.get(name, {}) if table != "metrics" else {})}}, {}, "test"
    )
    use = config.check_use(document, "use", table)
    assert set(use) == {"kind", *(option.name for option in registry.options(registry.load(table, name)))}


@pytest.mark.parametrize("name", registry.TABLES["endpoints"])
def test_every_endpoint_has_its_three_methods_and_shows_no_more_than_its_place(name):
    endpoint = registry.build("endpoints", {"kind": name, **NEEDED[name]})
    assert all(inspect.iscoroutinefunction(getattr(endpoint, method)) for method in ("complete", "check", "close"))
    assert not isinstance(endpoint, registry.HasChoices) or inspect.iscoroutinefunction(endpoint.complete_many)
    assert next(iter(NEEDED[name].values())) in repr(endpoint)


def test_an_unknown_name_lists_what_is_there():
    with pytest.raises(
        registry.ConfigError, match=r"filters: no 'dedupe'. Did you mean 'dedup'. There are: dedup, language"
    ):
        registry.load("filters", "dedupe")
