"""`check`, `list`, `show` and `doctor` on real recipes, tables and runs."""

import json
import re
import sys
from pathlib import Path

import pytest

import promptmill
from promptmill import cli, registry
from promptmill.testing import FakeOptions, fake_server, fake_stats

ROOT = Path(__file__).parents[3]


@pytest.fixture
def mill(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("promptmill.cli.look.ANSWER_S", 120.0)  # a slow machine's server is there all the same

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def run_folder(mill, tmp_path):
    (tmp_path / "p.json").write_text('{"prompts": ["Name three rivers.", "Hi \\u001b[2J there."], "count": 2}')
    with fake_server(FakeOptions(words="3-9")) as url:
        flags = ["--input", tmp_path / "p.json", "--server-url", url, "--model", "fake", "--max-tokens", "500"]
        code, _, err = mill("lengths", "run", *flags, "--tokenizer-path", "smollm2", "--out", tmp_path / "run")
    assert code == 0, err
    return tmp_path / "run"


def test_the_example_recipe_is_whole(mill, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert mill("check", "examples/quickstart.yaml") == (
        0, "examples/quickstart.yaml: is a whole lengths recipe.\n", "")  # fmt: skip


def test_a_recipe_of_no_workflow_is_told_which_there_are(mill, tmp_path):
    (tmp_path / "r.yaml").write_text("workflow: length\n")
    code, _, err = mill("check", tmp_path / "r.yaml")
    assert code == 2
    assert err.endswith(
        "r.yaml:1: workflow: 'length' is no workflow. Did you mean 'lengths'? There are: answers, lengths.\n"
    )


def test_a_recipe_of_another_workflow_is_named_as_such_before_its_options(mill, tmp_path):
    (tmp_path / "r.yaml").write_text("source: {kind: problems, path: p.jsonl}\nworkflow: answers\ngrade: {}\n")
    code, _, err = mill("lengths", "run", tmp_path / "r.yaml")
    assert code == 2
    assert (
        err == f"error: {tmp_path / 'r.yaml'}:2: workflow: this recipe is of answers. Give it to promptmill answers.\n"
    )


def test_list_names_the_tables_and_their_entries(mill):
    code, out, _ = mill("list")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == sorted(registry.TABLES)
    assert "sources: chats, commonsense_qa, gsm8k, hub, hub_problems, nq_open, problems, prompts\n" in out


@pytest.mark.parametrize("table", sorted(registry.TABLES))
def test_list_shows_every_entry_of_a_table_with_help_and_defaults(mill, table):
    code, out, _ = mill("list", table)
    assert code == 0
    lines = out.splitlines()
    if table == "endpoints":
        at = lines.index("every endpoint also has, for its lanes:")
        assert "    rpm: requests per minute that one key may make. [null]" in lines[at:]
        lines = lines[:at]
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == list(registry.names(table))
    options = [line for line in lines if line.startswith("    ")]
    assert [line for line in options if line.count(":") < 1 or not line.endswith("]")] == []
    assert [line for line in options if line.partition(": ")[2].startswith("[")] == []


def test_list_of_no_table_suggests_one(mill):
    code, _, err = mill("list", "source")
    assert code == 2
    assert err.startswith("error: list: no table 'source'. Did you mean 'sources'? There are: encoders, endpoints, ")


def test_show_tells_counts_rows_and_files_of_a_run(mill, run_folder):
    code, out, err = mill("show", run_folder)
    assert (code, err) == (0, "")
    assert out.startswith(f"{run_folder}: workflow lengths, promptmill {promptmill.__version__}\n")
    for text in ("prompts: finished\n  kept: 2\n", "generate: finished\n  requests: 2\n  completions: 2\n",
                 "slices: finished\n", f"{run_folder}/exports/vllm_results.json  ("):  # fmt: skip
        assert text in out
    assert "\x1b" not in out


def test_show_lists_the_files_that_stand_beside_the_run_too(mill, tmp_path):
    (tmp_path / "p.json").write_text('["Name three rivers."]')
    with fake_server(FakeOptions(words="3-9")) as url:
        flags = ["--input", tmp_path / "p.json", "--server-url", url, "--model", "fake", "--max-tokens", "500"]
        mill("lengths", "run", *flags, "--tokenizer-path", "bytes", "--output", tmp_path / "results.json")
    code, out, _ = mill("show", tmp_path / "results.run")
    assert code == 0
    for name in ("results.run/exports/processed_dataset.json", "results.json", "results_training.jsonl"):
        assert out.count(f"\n{tmp_path / name}  (") == 1


def test_show_as_json_is_the_manifest_and_the_last_heartbeat(mill, run_folder):
    code, out, _ = mill("show", run_folder, "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["manifest"]["stages"]["generate"]["counts"]["completions"] == 2
    assert shown["status"]["stage"] == "done"


def test_show_of_a_folder_without_a_run_is_one_line(mill, tmp_path):
    code, _, err = mill("show", tmp_path)
    assert code == 2
    assert err == (f"error: {tmp_path}: no run is here (manifest.json is missing). Name the folder given with --out.\n")


def test_doctor_names_extras_models_and_servers(mill):
    with fake_server() as url:
        code, out, _ = mill("doctor", "--url", url, "--url", "http://127.0.0.1:9")
    assert code == 0
    assert out.startswith(f"promptmill {promptmill.__version__}, Python ")
    assert "packaged model smollm2: " in out
    assert f"server {url}: answers, fake\n" in out
    assert "server http://127.0.0.1:9: http://127.0.0.1:9: nothing answers (connection refused)." in out


def test_a_stage_whose_section_is_missing_is_refused(mill, run_folder):
    code, _, err = mill("lengths", "train", "--out", run_folder)
    assert code == 2
    assert err.endswith("has no section 'train'. Write 'train: {}' into it, or --set train={}.\n")


def test_a_library_that_a_later_stage_needs_is_missed_before_anything_is_asked(mill, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what Python itself does for a module that may not be there
    (tmp_path / "p.json").write_text('["Name three rivers."]')
    with fake_server() as url:
        flags = ["--input", tmp_path / "p.json", "--server-url", url, "--model", "fake", "--tokenizer-path", "smollm2"]
        code, _, err = mill("lengths", "run", *flags, "--out", tmp_path / "run", "--set", "train={}")
        assert fake_stats(url)["received"] == 0
    assert (code, err) == (
        2,
        "error: the stage 'train' needs the extra 'plots'. Install it: pip install 'promptmill[plots]'\n",
    )


def test_a_file_of_any_ending_is_a_source_when_its_format_is_named(mill, tmp_path):
    (tmp_path / "data.weird").write_text('["Name three rivers."]')
    (tmp_path / "r.yaml").write_text(
        f"workflow: lengths\nsource: {{path: {tmp_path}/data.weird, format: json}}\ngenerate: {{model: m}}\n"
    )
    assert mill("check", tmp_path / "r.yaml")[0] == 0
    code, out, err = mill("lengths", "prompts", tmp_path / "r.yaml", "--out", tmp_path / "run")
    assert code == 0, err
    assert "processed_dataset.json" in out


def test_doctor_says_how_code_would_be_sandboxed(mill):
    code, out, _ = mill("doctor")
    assert code == 0
    assert re.search(r"^sandbox for code: (full|only rlimits-only|none)", out, re.MULTILINE)
    assert re.search(r"^    memory is limited: active$", out, re.MULTILINE)


def test_doctor_names_a_server_once(mill):
    with fake_server() as url:
        code, out, _ = mill("doctor", "--url", url, "--url", url + "/")
    assert code == 0
    assert out.count(f"server {url}: answers, fake") == 1


def test_no_server_running_is_said(mill):
    assert mill("serve", "--list") == (0, "", "no server that promptmill started is running\n")
