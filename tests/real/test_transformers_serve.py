"""`transformers serve` with a tiny model of random weights, made here.

Wants an interpreter with transformers 5 and its extra `serving`: this one, or the one that
PROMPTMILL_TRANSFORMERS_PYTHON names.
"""

import asyncio
import importlib.util
import os
import sys

import pytest

from promptmill.endpoints import processes
from promptmill.endpoints.openai import openai
from promptmill.endpoints.serve import running, start
from promptmill.errors import ConfigError
from promptmill.records import Message, Request, Sampling

pytestmark = pytest.mark.real
PYTHON = os.environ.get("PROMPTMILL_TRANSFORMERS_PYTHON")


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A one-layer model that knows every byte."""
    if PYTHON is None and importlib.util.find_spec("fastapi") is None:
        pytest.skip("no transformers[serving] here; PROMPTMILL_TRANSFORMERS_PYTHON names no interpreter that has it")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("models") / "tiny"
    vocabulary = {c: i for i, c in enumerate(["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    made = transformers.LlamaForCausalLM(config)
    made.generation_config.do_sample = True
    made.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def server(model, **options):
    python = PYTHON or sys.executable
    return {"kind": "transformers", "model": str(model), "device": "cpu", "python": python, **options}


def test_a_folder_is_served_and_asked_by_the_openai_protocol(state, model):
    def request(sample, seed):
        return Request(
            prompt_id="p", model=str(model), sample=sample, protocol="chat",
            messages=(Message(role="user", content="hi"),),
            sampling=Sampling(max_tokens=12, temperature=1.0, seed=seed, stop=("<|im_end|>",)),
        )  # fmt: skip

    async def go(url):
        endpoint = openai(base_url=url)
        try:
            await endpoint.check(str(model))
            several = await endpoint.complete_many([request(0, 1), request(1, 1)])
            return [*several, *[await endpoint.complete(request(0, seed)) for seed in (1, 2)]]
        finally:
            await endpoint.close()

    with running(server(model), wait_s=240) as found:
        first, again, other = asyncio.run(go(found.url))  # it knows no n: of two samples one comes
        pid = found.pid
    assert processes.birth(pid) is None
    assert first.finish in {"stop", "length"}
    assert 1 <= first.usage.completion_tokens <= 12
    assert first.text == again.text
    assert other.text != first.text


def test_a_model_that_cannot_be_loaded_is_one_line_with_the_end_of_the_log(state, model, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match=r"server transformers: it ended while starting: .*The whole log: ") as caught:
        start(server(broken), wait_s=240)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"it ended while starting: .*No such option.*--nothing"):
        start(server(model, extra_args=("--nothing",)), wait_s=240)
    assert processes.started() == []
