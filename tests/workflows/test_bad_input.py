"""Bad input: one line that starts with `error: ` and says what to do, exit code 2, nothing half-written."""

import json
import os
import socket
import subprocess
import sys

import pytest

PROMPTS = '{"prompts": ["Name three rivers."], "count": 1}'


@pytest.fixture(scope="module")
def url(fake):
    with fake(context=2000) as address:
        yield address


@pytest.fixture
def refused(mill, tmp_path, asked, url):
    """Run a command that must be refused: return its error line; nothing was sent and no answer was made."""

    def run(*arguments, folder=tmp_path / "run"):
        sent = asked(url)
        said = mill(*arguments)
        assert said.code == 2, said
        assert asked(url) == sent
        assert list(folder.glob("generate/*")) + list(folder.glob("exports/vllm*")) == []
        assert list(tmp_path.rglob("*.tmp")) == []
        return said.error

    return run


@pytest.fixture
def refused_input(refused, recipe, url, tmp_path):
    """The error line for an input file with this name and content."""

    def run(name, content, **source):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        flags = [f"--set=source.{key}={value}" for key, value in source.items()]
        error = refused("lengths", "run", recipe(url), "--input", path, "--out", tmp_path / "run", *flags)
        assert list((tmp_path / "run").glob("prompts/*")) == []
        return error.removeprefix(f"error: {path}")

    return run


def test_a_missing_file(refused_input, tmp_path):
    assert refused_input("missing.jsonl", None).startswith(": no such file. Check the path")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jsonl", "", ": no rows. Check that this is the right file"),
        ("empty.json", "", ": "),
        ("none.json", '{"prompts": [], "count": 0}', ": no rows. Check"),
        ("blank.txt", "\n\n", ": no rows. Check"),
        ("three.jsonl", '"a"\n"b"\n{"prompt": "c\n"d"\n', ":3: is not valid JSON"),
        ("cut.json", '{"prompts": ["a", "b', ": item 2: the file ends inside the JSON. It was cut off"),
        ("count.json", '{"prompts": ["a"], "count": 2}', ": count is 2, but there are 1 prompts."),
        ("numbers.json", '{"prompts": ["a", 17, "b"], "count": 3}', ": item 2: is the number 17, not a text or an obj"),
        ("numbers.jsonl", '{"prompt": "a"}\n{"prompt": 17}\n', ":2: column 'prompt' holds the number 17, not a text."),
        ("list.jsonl", "[1, 2]\n", ":1: is a list, not a text or an object."),
        ("column.jsonl", '{"promt": "a"}\n', ":1: no column prompt, text, question"),
        ("column.csv", "name,age\nBob,3\n", ":2: no column prompt, text, question"),
        ("latin.txt", b"caf\xe9\n", ":1: is not UTF-8 (byte 0xe9)."),
        ("wide.jsonl", '"a"\n'.encode("utf-16"), ": is UTF-16. Convert it to UTF-8"),
        ("packed.jsonl", b"\x1f\x8b\x08\x00", ": is packed with gzip. Let its name end in .gz"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08\x00", ": the packing is broken or cut off"),
        ("nan.jsonl", '{"prompt": "a", "score": NaN}\n', ":1: holds NaN, which is not valid JSON."),
        ("a.docx", "PK", ": unknown ending. Set format to json, jsonl"),
    ],
)
def test_an_input_file_that_is_no_set_of_prompts(refused_input, name, content, says):
    assert refused_input(name, content).startswith(says)


def test_a_column_that_is_not_there_and_one_that_is_meant(refused_input):
    error = refused_input("a.jsonl", '{"prompt": "a", "quastion": "b"}\n', text="question")
    assert error.startswith(":1: no column 'question'. Did you mean 'quastion'? There are: prompt, quastion.")


def test_an_input_that_is_a_folder_without_data(refused, recipe, url, tmp_path):
    (tmp_path / "nothing").mkdir()
    error = refused("lengths", "run", recipe(url), "--input", tmp_path / "nothing", "--out", tmp_path / "run")
    assert f"{tmp_path / 'nothing'}: no data file in this folder." in error


def test_a_bad_row_behind_many_good_ones_leaves_no_half_of_the_prompts(refused_input):
    good = '"a"\n' * 3000
    assert refused_input("long.jsonl", good + "{\n").startswith(":3001: is not valid JSON")


def test_a_server_that_nobody_started(refused, recipe, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        error = refused("lengths", "run", recipe(nobody), "--out", tmp_path / "run")
    assert error == (f"error: {nobody}: nothing answers (connection refused). Start the server, or check base_url.")


def test_a_server_without_the_model(refused, recipe, url, tmp_path):
    error = refused("lengths", "run", recipe(url), "--model", "fakee", "--out", tmp_path / "run")
    assert error == f"error: {url}: no model 'fakee'. Did you mean 'fake'? It serves: fake."


def test_an_address_that_is_none(refused, recipe, url, tmp_path):
    error = refused("lengths", "run", recipe(url), "--server-url", "localhost:8000", "--out", tmp_path / "run")
    assert error == (
        "error: --server-url: generate.endpoints.0.base_url: 'localhost:8000' is no address. Write it like "
        "http://127.0.0.1:8000."
    )
    wrong = recipe(url.replace("http:", "htp:"))
    line = next(n for n, text in enumerate(wrong.read_text().splitlines(), 1) if "htp:" in text)
    assert refused("check", wrong).startswith(f"error: {wrong}:{line}: generate.endpoints.0.base_url: 'htp://")


def test_no_server_and_no_model_at_all(refused, tmp_path):
    (tmp_path / "p.json").write_text(PROMPTS)
    given = ["--input", tmp_path / "p.json", "--out", tmp_path / "run", "--tokenizer-path", "bytes"]
    assert "generate.model: is missing. Name the model" in refused("lengths", "generate", *given)
    error = refused("lengths", "generate", *given, "--model", "fake")
    assert "generate.endpoints: is empty and there is no 'serve:'. Name a server (--server-url URL, or export " in error


def test_a_refused_key(mill, recipe, fake, tmp_path, asked):
    with fake(keys=("right",)) as url:
        said = mill("lengths", "run", recipe(url), "--out", tmp_path / "run")
        assert said.code == 2
        assert "Incorrect API key provided. Name the key's variable in api_key_env." in said.error
        assert asked(url) == 0


def test_a_variable_without_a_key(refused, recipe, url, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    key = "--set=generate.endpoints.0.api_key_env=NO_SUCH_KEY"
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "run", key)
    assert "the environment variable NO_SUCH_KEY is not set or empty. Export it first." in error


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (["rmp=3"], "--set generate.endpoints.0.rmp: generate.endpoints.0.rmp: unknown option. Did you mean 'rpm'?"),
        (["price_in=0.15", "price_out=0.6/1M"], "generate.endpoints.0: price_in: '0.15' has no unit. Write it like"),
        (["price_in=0.15/1M"], "generate.endpoints.0: price_in and price_out go together. Give both, or none."),
        (["weight=0"], "--set generate.endpoints.0.weight: generate.endpoints.0.weight: 0: Expected `float` > 0.0."),
        (["api_keys_env=EMPTY"], "error: generate.endpoints.0: api_keys_env: the environment variable EMPTY is not"),
        (["api_keys_env=TWO", "api_key_env=TWO"], "generate.endpoints.0: api_key_env and api_keys_env exclude"),
        (["service=b"], "generate.endpoints.0: service names keys inside api_keys_env. Give that one, too."),
        (["api_keys_env=TWO", "service=b"], "error: generate.endpoints.0: api_keys_env: the environment variable TWO"),
    ],
)
def test_a_wrong_option_of_a_lane(refused, recipe, url, monkeypatch, tmp_path, assignments, says):
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("TWO", '["one", "two"]')
    flags = [f"--set=generate.endpoints.0.{assignment}" for assignment in assignments]
    assert says in refused("lengths", "run", recipe(url), "--out", tmp_path / "run", *flags)


def test_a_cap_on_money_needs_a_price_wherever_the_server_comes_from(refused, recipe, url, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    cap = "--generate.budget.max_cost=1"
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "run", cap)
    assert "budget.max_cost: endpoints.0 has no price, so money cannot be counted." in error
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "run", cap, "--set", "generate.endpoints=[]")
    assert "budget.max_cost: no endpoint of this recipe has a price, so money cannot be counted." in error


def test_a_prompt_longer_than_the_context_is_a_failed_row_and_the_others_are_answered(mill, recipe, url, tmp_path):
    path = recipe(url, prompts=["Name three rivers.", "x" * 3000])
    said = mill("lengths", "run", path, "--out", tmp_path / "run")
    assert said.code == 1
    results = json.loads((tmp_path / "run" / "exports" / "vllm_results.json").read_text())
    assert [result["status"] for result in results["results"]] == ["success", "failed"]
    detail = results["results"][1]["full_response"]["error"]["detail"]
    assert "maximum context length is 2000 tokens. However, your prompt has" in detail


def test_an_output_that_is_a_folder(refused, recipe, url, tmp_path):
    (tmp_path / "there").mkdir()
    error = refused("lengths", "run", recipe(url), "--output", tmp_path / "there")
    there = tmp_path / "there"
    assert error == f"error: {there}: is a folder. Name a file in it, such as {there / 'results.json'}."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prompts.json", "recipe.yaml", "there"]


def test_an_output_below_a_file(refused, recipe, url, tmp_path):
    error = refused("lengths", "run", recipe(url), "--output", tmp_path / "prompts.json" / "results.json")
    assert f"{tmp_path / 'prompts.json'} is a file, not a folder." in error


def test_a_run_folder_that_is_a_file(refused, recipe, url, tmp_path):
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "prompts.json")
    assert f"{tmp_path / 'prompts.json'} is a file, not a folder. Name another path." in error


def test_a_folder_that_holds_other_things(refused, recipe, url, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "mine", folder=tmp_path / "mine")
    assert "is not empty and holds no run ('thesis.tex' ...). Name a new folder with --out." in error
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


def test_two_recipes_in_one_folder(mill, recipe, url, tmp_path, asked):
    out = tmp_path / "run"
    assert mill("lengths", "run", recipe(url), "--out", out).code == 0
    sent = asked(url)
    said = mill("lengths", "run", recipe(url, system="Be brief.", protocol="chat"), "--out", out)
    assert said.code == 2
    assert "What differs: generate.system: None -> 'Be brief.'. Use another --out" in said.error
    assert asked(url) == sent


RECIPE = """\
workflow: lengths
source:
  kind: prompts
  path: PROMPTS
generate:
  model: fake
  k: 1
  sampling:
    temperature: 0.7
  endpoints:
    - kind: openai
      base_url: URL
slices:
  step: 20
"""


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        ("workflow: lengths", "workflow: lenghts",
         ":1: workflow: 'lenghts': Invalid enum value 'lenghts'. Did you mean 'lengths'? There are: lengths."),
        ("kind: prompts", "kind: promts",
         ":3: source.kind: no 'promts'. Did you mean 'prompts'? There are: chats, "),
        ("path: PROMPTS", "paht: PROMPTS", ":4: source.paht: unknown option. Did you mean 'path'? There are: path, "),
        ("model: fake", "modell: fake", ":6: generate.modell: unknown option. Did you mean 'model'? There are: model,"),
        ("k: 1", "k: three", ":7: generate.k: 'three': Expected `int`, got `str`."),
        ("k: 1", "k: 0", ":7: generate.k: 0: Expected `int` >= 1."),
        ("k: 1", "k: yes", ":7: generate.k: 'yes': Expected `int`, got `str`."),
        ("k: 1", "protocol: caht",
         ":7: generate.protocol: 'caht': Invalid enum value 'caht'. Did you mean 'chat'? There are: chat, completion."),
        ("k: 1", "template: none", ":5: generate: template: has no '{prompt}' in it. Put it where the prompt goes."),
        ("temperature: 0.7", "temprature: 0.7",
         ":9: generate.sampling.temprature: unknown option. Did you mean 'temperature'? There are: temperature, "),
        ("temperature: 0.7", "max_tokens: contxt", ":9: generate.sampling.max_tokens: 'contxt': "),
        ("base_url: URL", "timeout_s: 5", ":11: generate.endpoints.0: openai needs 'base_url'. address of the server"),
        ("kind: openai", "kind: opnai", ":11: generate.endpoints.0.kind: no 'opnai'. Did you mean 'openai'?"),
        ("slices:", "slcies:", ":13: slcies: unknown option. Did you mean 'slices'?"),
        ("step: 20", "step: 0", ":13: slices: step: 0 is less than 1. Give the number of tokens between two slices."),
        ("step: 20", "shares: [1, 1, 1]", ":13: slices: shares: [1.0, 1.0, 1.0] are not fractions that sum to 1."),
        ("step: 20", "step: 20\n  step: 30", ":15: slices.step: stands twice"),
        ("step: 20", "step: 20\nselect: [{kind: dedupe}]", ":15: select.0.kind: no 'dedupe'. Did you mean 'dedup'?"),
    ],
)  # fmt: skip
def test_a_recipe_with_a_wrong_key_table_or_value_names_file_line_and_key(refused, url, tmp_path, line, instead, says):
    (tmp_path / "prompts.json").write_text(PROMPTS)
    path = tmp_path / "recipe.yaml"
    assert RECIPE.count(line) == 1
    text = RECIPE.replace(line, instead).replace("URL", url).replace("PROMPTS", str(tmp_path / "prompts.json"))
    path.write_text(text)
    error = refused("lengths", "run", path, "--out", tmp_path / "run").removeprefix(f"error: {path}")
    assert error.startswith(says), error
    assert not (tmp_path / "run").exists()
    if "lenghts" not in instead:
        assert refused("check", path).removeprefix(f"error: {path}") == error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", ":1: not YAML"),
        ("- 1\n", ":1: a recipe is a mapping of keys, this is a list."),
        ("", ""),
        ("workflow: lengths\nworkflow: lengths\n", ":2: workflow: stands twice"),
        ("workflow: !!python/name:os.system x\n", ":1: not YAML"),
        ("a: \x07", ": not YAML"),
    ],
)
def test_a_recipe_that_is_no_mapping_of_yaml(refused, tmp_path, text, says):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    for command in (["lengths", "run", path], ["check", path]):
        assert refused(*command).startswith(f"error: {path}{says}")


def test_a_recipe_that_is_not_there_is_a_folder_or_is_no_text(refused, tmp_path):
    assert refused("lengths", "run", tmp_path / "no.yaml").startswith(f"error: {tmp_path / 'no.yaml'}: no such recipe.")
    assert refused("check", tmp_path).startswith(f"error: {tmp_path}: is a folder. Name a recipe, a YAML file.")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as UTF-8 text" in refused("lengths", "run", tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--max-tokens", "many"], "error: --max-tokens: generate.sampling.max_tokens: 'many': "),
        (["--temperature", "hot"], "error: --temperature: generate.sampling.temperature: 'hot': Expected"),
        (["--temperature", "-1"], "error: --temperature: generate.sampling.temperature: -1: Expected"),
        (["--batch-size", "0"], "error: --batch-size: generate.concurrency: 0: Expected `int` >= 1."),
        (
            ["--batch-size", "few"],
            "error: --batch-size: generate.concurrency: 'few': Invalid enum value 'few'. A number, or: auto.",
        ),
        (["--generate.budget.max_cost", "0"], "error: --generate.budget.max_cost: generate.budget.max_cost: 0: Expect"),
        (
            ["--generate.reuse", "topup"],
            "error: --generate.reuse: generate.reuse: 'topup': Invalid enum value 'topup'. ",
        ),
        (["--delay", "-1"], "error: --delay: generate.delay_s: -1: Expected"),
        (["--limit", "0"], "error: Invalid value for '--limit': 0 is not in the range x>=1."),
        (["--limit", "few"], "error: Invalid value for '--limit': 'few' is not a valid integer range."),
        (["--frob"], "error: No such option '--frob'"),
        (["--max-token", "5"], "error: No such option '--max-token'"),
        (["--set", "generate.k"], "error: --set generate.k: is not of the form key.path=value."),
        (["--set", "generate.kk=3"], "error: --set generate.kk: generate.kk: unknown option. Did you mean 'k'?"),
        (["--set", "select.sample.n=3"], "error: --set select.sample.n: select: "),
        (["--model"], "error: Option '--model' requires an argument."),
        (["one.yaml"], "error: Got unexpected extra argument"),
    ],
)
def test_a_wrong_flag_names_the_flag(refused, recipe, url, tmp_path, flags, says):
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "run", *flags)
    assert error.startswith(says), error
    assert not (tmp_path / "run").exists()


def test_a_command_that_is_none(refused):
    assert refused("lenghts").startswith("error: No such command 'lenghts'")
    assert refused("lengths", "slice").startswith("error: No such command 'slice'")
    assert refused("lengths", "run").startswith("error: no recipe is named. Give a recipe file, or flags")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/such/folder/tokenizer.json", "error: tokenizer no/such/folder/tokenizer.json: no such file or folder."),
        ("gpt5", "error: tokenizer gpt5: no such file or folder. Name a folder with tokenizer.json"),
    ],
)
def test_a_missing_tokenizer_is_found_before_anything_is_asked(refused, recipe, url, tmp_path, name, says):
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "run", "--tokenizer-path", name)
    assert error.startswith(says)
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_file_that_is_none(refused, recipe, url, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    error = refused("lengths", "run", recipe(url), "--out", tmp_path / "run", "--tokenizer-path", tmp_path)
    assert f"{tmp_path / 'tokenizer.json'}: is not a tokenizer.json" in error


@pytest.mark.parametrize("stage", ["slices", "train", "simulate"])
def test_a_stage_without_those_before_it_says_which_and_makes_no_folder(refused, recipe, url, tmp_path, stage):
    section = ["--slices.step", "50", "--set", f"{stage}={{}}"]
    error = refused("lengths", stage, recipe(url), "--out", tmp_path / "run", *section)
    assert error.startswith(f"error: {tmp_path / 'run'}: no run is here")
    assert not (tmp_path / "run").exists()


def test_a_selection_that_leaves_nothing(refused, recipe, url, tmp_path):
    path = recipe(url, prompts=["a"])
    error = refused("lengths", "run", path, "--out", tmp_path / "run", "--set", "select=[{kind: language, keep: [zh]}]")
    assert "no prompt is left" in error


def test_a_damaged_journal_line_is_named_and_nothing_is_sent(mill, recipe, url, tmp_path, asked):
    out = tmp_path / "run"
    mill("lengths", "run", recipe(url), "--out", out)
    part = out / "generate" / "part-00000.jsonl"
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join([lines[0], b'{"type": "compl\n', *lines[2:]]))
    sent = asked(url)
    said = mill("lengths", "run", recipe(url), "--out", out)
    assert said.code == 2
    assert f"{part}:2: is not an outcome" in said.error
    assert asked(url) == sent


def test_a_damaged_manifest_is_named(mill, recipe, url, tmp_path):
    out = tmp_path / "run"
    mill("lengths", "run", recipe(url), "--out", out)
    (out / "manifest.json").write_text('{"stages": ')
    said = mill("lengths", "run", recipe(url), "--out", out)
    assert said.code == 2
    assert f"{out / 'manifest.json'}: is damaged" in said.error
    assert mill("show", out).error.startswith(f"error: {out / 'manifest.json'}: is damaged")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = f"{sys.executable} -m promptmill lengths run --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=240, check=True, env=os.environ.copy()
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["in.json", "in_training.jsonl", "in_splits/train.jsonl"])
def test_an_input_in_the_place_of_an_output_is_refused_and_left_alone(refused, recipe, url, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"prompt": "Name three rivers."}\n')
    error = refused("lengths", "run", recipe(url), "--input", path, "--output", tmp_path / "in.json")
    assert error == f"error: {path}: is read as the input and would be overwritten. Name another --output or --out."
    assert path.read_text() == '{"prompt": "Name three rivers."}\n'


def test_an_input_in_the_place_of_the_selected_prompts_is_left_alone(refused, recipe, url, tmp_path):
    path = tmp_path / "run" / "exports" / "processed_dataset.json"
    path.parent.mkdir(parents=True)
    path.write_text(PROMPTS)
    error = refused("lengths", "prompts", recipe(url), "--input", path, "--out", tmp_path / "run")
    assert error.startswith(f"error: {path}: is read as the input and would be overwritten.")
    assert path.read_text() == PROMPTS


@pytest.mark.parametrize("output", ["", "/"])
def test_an_output_that_names_no_file(refused, recipe, url, output):
    said = refused("lengths", "run", recipe(url), "--output", output)
    assert said == f"error: output: '{output}' names no file. Write it like results/results.json."


def test_training_without_rows_that_it_can_read_is_refused_before_anything_is_asked(refused, recipe, url):
    path = recipe(url, slices={"formats": ["parquet"]})
    assert refused("lengths", "run", path, "--set", "train={}").endswith(
        "slices.formats: train reads the rows as JSON Lines. Name jsonl too."
    )


def test_a_window_between_two_slices_is_found_before_anything_is_asked(mill, recipe, fake, asked):
    with fake() as url:
        path = recipe(url, slices={"step": 30})
        path.write_text(path.read_text() + "train: {}\nsimulate: {window: 50}\n")
        for command in (("check", path), ("lengths", "run", path)):
            said = mill(*command)
            assert (said.code, asked(url)) == (2, 0)
            assert "simulate.window: 50 is no multiple of slices.step (30)" in said.error
