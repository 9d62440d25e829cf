import asyncio
import selectors
import time

import pytest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A real BERT of 8 numbers a vector, weights at random, one token a letter."""
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=32).save_pretrained(folder)
    return folder


class Jumping(selectors.DefaultSelector):
    """Waits for nothing: where a loop would sleep, its clock moves on. Not for work of other threads or processes.

    `time.sleep` moves the clock too: it is what a machine that stands still does.
    """

    now = 1000.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that never comes"
            self.now += timeout + 1e-6  # as with real clocks, never early
        return ready

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def at_once(monkeypatch):
    """Run a coroutine in a time of its own, in which a wait takes no time and no machine is slow."""

    def run(work, loop=asyncio.SelectorEventLoop):
        selector = Jumping()
        with monkeypatch.context() as patch, asyncio.Runner(loop_factory=lambda: loop(selector)) as runner:
            patch.setattr(time, "monotonic", lambda: selector.now)
            patch.setattr(time, "sleep", selector.sleep)
            return runner.run(work)

    return run
