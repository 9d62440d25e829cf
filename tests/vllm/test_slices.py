"""Slices of what a real vLLM generated: the ids it reports are the ones that the rows count."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from promptmill.derive.slice_files import write_slices
from promptmill.derive.slices import SliceOptions
from promptmill.records import Completion, Message, Prompt, Usage
from promptmill.tokens import load_tokenizer

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

TEXTS = Path(__file__).parents[1] / "data" / "texts.jsonl"
HARD = [
    "Answer with ten different emoji, families and flags too.",
    "用中文写一句话",
    "Écris une phrase avec des accents.",
]


def rows(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def texts():
    return [row["text"] for row in rows(TEXTS)]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("smollm2")


def completion(post, url, prompt, number):
    """Ask for a chat answer with its ids; every fifth ends at a stop string, every third may be cut by the limit."""
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": prompt.plain}],
        "max_tokens": 60 if number % 3 == 0 else 400,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": number,
        "return_token_ids": True,
        "stop": ["\n\n"] if number % 5 == 4 else [],
    }
    answer = post(f"{url}/v1/chat/completions", body)
    (choice,) = answer["choices"]
    usage = Usage(
        prompt_tokens=answer["usage"]["prompt_tokens"], completion_tokens=answer["usage"]["completion_tokens"]
    )
    return Completion(
        key=f"k{number}",
        prompt_id=prompt.id,
        model="smollm2",
        text=choice["message"]["content"],
        finish=choice["finish_reason"],
        usage=usage,
        token_ids=tuple(choice["token_ids"]),
    )


@pytest.fixture(scope="module")
def pairs(vllm_url, post):
    asked = [row["text"] for row in rows(TEXTS) if row["from"] == "mt_bench"][:42] + HARD
    prompts = [
        Prompt(id=f"p{n}", source="test", messages=(Message(role="user", content=text),))
        for n, text in enumerate(asked)
    ]
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda item: completion(post, vllm_url, item[1], item[0]), enumerate(prompts))
        return list(zip(prompts, found, strict=True))


def test_the_converted_tokenizer_gives_the_ids_of_the_one_in_the_gguf_file(tokenizer, vllm_model):
    assert len(texts()) >= 400
    assert load_tokenizer(str(vllm_model)).encode(texts()) == tokenizer.encode(texts())
    assert load_tokenizer(str(vllm_model)).pieces == tokenizer.pieces


def test_vllm_itself_gives_the_same_ids(tokenizer, vllm_url, post):
    # vLLM parses special tokens in a text, and an answer never holds one.
    given = [text for text in texts() if "<|" not in text][:100]
    theirs = [
        post(f"{vllm_url}/tokenize", {"model": "smollm2", "prompt": text, "add_special_tokens": False})["tokens"]
        for text in given
    ]
    assert tokenizer.encode(given) == theirs


def test_every_row_counts_the_ids_that_vllm_reported(tokenizer, pairs, tmp_path):
    counts = write_slices(pairs, tokenizer, SliceOptions(), tmp_path, stem="r")
    assert counts["server_ids"] == counts["completions"] == len(pairs) == 45
    assert (counts["encoded"], counts["ids_not_matching"], counts["usage_differs"]) == (0, 0, 0)
    assert counts["whole"] > 10
    assert counts["censored"] > 5
    by_prompt = {prompt.plain: answer for prompt, answer in pairs}
    for name, left in (("training", "remaining_tokens"), ("censored", "remaining_tokens_at_least")):
        found = rows(tmp_path / f"r_{name}.jsonl")
        assert len(found) == counts[f"{name}_rows"] > 0
        for row in found:
            answer = by_prompt[row["input_prompt"]]
            assert answer.finish == ("stop" if name == "training" else "length")
            assert answer.text.startswith(row["output_prompt"])
            assert row["number_of_output_tokens"] + row[left] == len(answer.token_ids) == answer.usage.completion_tokens
        last = {row["input_prompt"]: row for row in found}
        assert all(row[left] == 0 and row["output_prompt"] == by_prompt[p].text for p, row in last.items())
