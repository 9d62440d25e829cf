"""Flags over a recipe: what is given wins, what is not given is left to the recipe."""

import click
import pytest

from promptmill import cli, config
from promptmill.cli.options import plain, recipe_options
from promptmill.errors import ConfigError
from promptmill.workflows.lengths import SHORT_FLAGS, Lengths

RECIPE = """\
source: {path: prompts.json, text: question}
select: [{kind: sample, n: 5}, {kind: dedup}]
generate: {k: 2, model: big, sampling: {temperature: 0.1}}
"""


@pytest.fixture
def resolved(tmp_path):
    """The recipe that a command line means."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)

    def resolve(*arguments, recipe=True):
        @click.command()
        @click.option("--out")
        @recipe_options(Lengths, SHORT_FLAGS)
        def command(document, out):
            return config.check(document, Lengths)

        return command.main([*([str(path)] if recipe else []), *arguments], standalone_mode=False)

    return resolve


def test_without_flags_the_recipe_stands_as_it_is(resolved):
    recipe = resolved()
    assert (recipe.generate.k, recipe.generate.model, recipe.generate.sampling.temperature) == (2, "big", 0.1)
    assert recipe.source["text"] == "question"


def test_a_flag_wins_over_the_recipe_and_leaves_the_rest(resolved):
    recipe = resolved("--temperature", "0.9", "--generate.k", "4")
    assert (recipe.generate.k, recipe.generate.model, recipe.generate.sampling.temperature) == (4, "big", 0.9)


def test_a_flag_given_with_the_default_value_still_wins(resolved):
    assert resolved("--temperature", "0.7").generate.sampling.temperature == 0.7


def test_the_short_and_the_long_name_are_one_option(resolved):
    assert resolved("--model", "small") == resolved("--generate.model", "small")
    assert resolved("--input", "other.json").source["path"] == "other.json"
    assert resolved("--max-tokens", "context").generate.sampling.max_tokens == "context"
    assert resolved("--max-tokens", "64").generate.sampling.max_tokens == 64


def test_set_reaches_table_entries_by_kind_and_by_number_and_comes_last(resolved):
    recipe = resolved("--set", "select.sample.n=7", "--set", "select.1.kind=turns", "--set", "generate.k=9",
                      "--generate.k", "8")  # fmt: skip
    assert recipe.select[0] == {"kind": "sample", "n": 7, "seed": 42}
    assert recipe.select[1]["kind"] == "turns"
    assert recipe.generate.k == 9


def test_flags_alone_make_a_recipe(resolved):
    recipe = resolved("--input", "a.json", "--server-url", "http://127.0.0.1:1", "--model", "m", recipe=False)
    assert recipe.source == {"kind": "prompts", "path": "a.json", "text": None, "id": None, "language": None,
                             "meta": [], "format": "auto"}  # fmt: skip
    assert recipe.generate.endpoints[0]["kind"] == "openai"
    assert recipe.generate.endpoints[0]["base_url"] == "http://127.0.0.1:1"


def test_values_are_read_as_yaml_reads_them(resolved):
    recipe = resolved("--set", "generate.sampling.stop=[END, 'no']", "--set", "generate.sampling.seed=null",
                      "--set", "generate.sampling.extra={min_tokens: 3}")  # fmt: skip
    assert recipe.generate.sampling.stop == ["END", "no"]
    assert recipe.generate.sampling.seed is None
    assert recipe.generate.sampling.extra == {"min_tokens": 3}


def test_what_can_only_be_a_text_is_one_whatever_it_looks_like(resolved):
    recipe = resolved("--model", "2026", "--tokenizer-path", "true", "--generate.system", "null")
    assert (recipe.generate.model, recipe.slices.tokenizer, recipe.generate.system) == ("2026", "true", None)


def test_an_assignment_without_a_value_or_a_key_is_refused(resolved):
    for wrong in ("generate.k", "=3"):
        with pytest.raises(ConfigError, match=r"is not of the form key\.path=value"):
            resolved("--set", wrong)


def test_a_path_into_a_list_that_has_no_such_item_names_those_there_are(resolved):
    with pytest.raises(
        ConfigError, match=r"--set select.turns.n: select has no item 'turns'. There are: sample, dedup."
    ):
        resolved("--set", "select.turns.n=1")


def test_no_recipe_and_no_flag_says_what_to_give(resolved):
    with pytest.raises(ConfigError, match=r"no recipe is named\. Give a recipe file, or flags"):
        resolved(recipe=False)


def test_the_recipe_in_the_run_folder_is_used_when_none_is_named(resolved, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(RECIPE.replace("k: 2", "k: 5"))
    assert resolved("--out", str(tmp_path / "run"), recipe=False).generate.k == 5


def test_a_default_is_shown_as_yaml_would_have_it():
    assert [plain(value) for value in (None, True, 0.7, [], ["a", 1], "context")] == [
        "null", "true", "0.7", "[]", "[a, 1]", "context"]  # fmt: skip


def test_the_help_names_every_option_with_its_default(capsys):
    assert cli.run(["lengths", "run", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for flag in ("--input", "--output", "--server-url", "--model", "--max-tokens", "--temperature", "--batch-size"):
        assert f"{flag}," in text or f"{flag} " in text
    assert "--generate.k VALUE samples per prompt. [1]" in text
    assert "--slices.step VALUE tokens between two slices. [50]" in text
