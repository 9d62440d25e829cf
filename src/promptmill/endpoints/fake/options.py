"""How the fake server behaves: what a test or a command line can ask of it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class FakeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the fake server behaves.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 picks a free one.
        model: name of the model it serves.
        claims: which server it says it is; token ids are asked of vLLM only.
        words: words per answer, a number, a range or shares of these, such as 0.8:20-100,0.2:300.
        latency_s: seconds before an answer or a fault, a number, a range or shares of these, such as 0.9:0.1,0.1:2.
        token_latency_s: further seconds for each generated token.
        reasoning: a thought before each answer, in a field or between tags; unclosed is one without end and answer.
        choices: what comes where n asks for several choices, all of them, one, or an error 400 (refused).
        equal_choices: all choices of a request are the same.
        slots: requests worked on at a time, the others wait; 0 is no limit.
        context: tokens (bytes) that prompt and answer may have together.
        faults: shares of requests that go wrong, such as 429:0.05,drop:0.01.
        script: what happens to the first, second, ... request of each content, such as 500,429,ok.
        fault_attempts: how often one content can be struck by a fault; 0 is no limit.
        seed: another seed, other faults and latencies.
        retry_after_s: seconds named in Retry-After.
        slow_s: seconds over which a slow answer is spread.
        max_in_flight: more requests than this at a time are refused with 429; 0 is no limit.
        keys: keys that are accepted; none means that no key is needed.
        key_quota: requests that one key may make in a window; 0 is no limit.
        quota_window_s: length of that window in seconds.
        key_lifetime: answers after which a key is refused for ever; 0 is no limit.
        batch_s: seconds that a batch is in progress.
        batch_script: how the first, second, ... batch ends, completed, expired or failed, such as expired,completed.
        batch_done: share of the lines that are done when a batch expires or is cancelled.
        batch_faults: shares of batch lines that go wrong, such as 500:0.05,missing:0.01.
        batch_lost: so many batches are made with an answer 500, as if the answer was lost.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    model: str = "fake"
    claims: Literal["vllm", "llama.cpp", "tgi", "other"] = "vllm"
    words: str = "20-200"
    latency_s: str = "0"
    token_latency_s: float = 0.0
    reasoning: Literal["none", "reasoning_content", "reasoning", "think", "unclosed"] = "none"
    choices: Literal["all", "one", "refused"] = "all"
    equal_choices: bool = False
    slots: int = 0
    context: int = 32768
    faults: str = ""
    script: str = ""
    fault_attempts: int = 0
    seed: int = 0
    retry_after_s: float = 1.0
    slow_s: float = 1.0
    max_in_flight: int = 0
    keys: tuple[str, ...] = ()
    key_quota: int = 0
    quota_window_s: float = 60.0
    key_lifetime: int = 0
    batch_s: float = 0.0
    batch_script: str = ""
    batch_done: float = 0.5
    batch_faults: str = ""
    batch_lost: int = 0
