"""Whatever happens to the bytes of a part, what can be read stays, and mending ends in one step."""

import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part
from promptmill.generate.proof import expect, look
from promptmill.generate.repair import mend
from promptmill.prompts.requests import requests
from promptmill.records import Completion, Failure, Prompt, Sampling, Usage

PROMPTS = [Prompt(id=f"p{n}", source="s", text=f"text {n}") for n in range(4)]
PLAN = "plan"


def to_requests(prompt):
    return requests(
        prompt, model="m", k=2, protocol="chat", sampling=Sampling(max_tokens=9), template=None, system=None
    )


KEYS = [[request.key for request in to_requests(prompt)] for prompt in PROMPTS]
N_KEYS = sum(map(len, KEYS))


def outcome(request, *, failed):
    names = {"key": request.key, "prompt_id": request.prompt_id, "model": "m", "sample": request.sample}
    if failed:
        return Failure(**names, kind="refused", detail="no")
    text = f"answer to {request.prompt_id}, é"
    return Completion(**names, text=text, finish="stop", usage=Usage(prompt_tokens=3, completion_tokens=4))


def make(folder, *, committed):
    """A part with an outcome for every request; the first `committed` files of the three are there."""
    prompts = folder / "prompts.jsonl"
    prompts.write_bytes(b"".join(msgspec.json.encode(prompt) + b"\n" for prompt in PROMPTS))
    part = Part(prompts, folder / "part-00000.jsonl", plan=PLAN)
    journal = Journal(part.outcomes)
    for prompt in PROMPTS:
        for request in to_requests(prompt):
            journal.append(outcome(request, failed=prompt.id == "p3"))
    journal.close()
    if committed:
        journal.commit(KEYS, plan=PLAN)
    return part


@st.composite
def damages(draw):
    """`(where as a share of the file, bytes that go, bytes that come)`, up to three of them."""
    one = st.tuples(st.floats(0, 1), st.integers(0, 60), st.binary(max_size=40))
    return draw(st.lists(one, min_size=1, max_size=3))


@settings(max_examples=150)
@given(committed=st.booleans(), suffix=st.sampled_from(["jsonl", "done"]), changes=damages())
def test_mending_keeps_every_line_that_was_not_touched_and_ends_in_one_step(committed, suffix, changes):
    folder = Path(tempfile.mkdtemp())
    try:
        part = make(folder, committed=committed)
        file = part.outcomes.with_suffix(f".{suffix}" if committed else ".journal")
        whole = file.read_bytes()
        content = whole
        for share, gone, new in changes:
            at = int(share * len(content))
            content = content[:at] + new + content[at + gone :]
        file.write_bytes(content)

        expected = expect(part, to_requests)
        mend(look(part, expected), folder / "damaged" / "part-00000.lines", dry=False)

        after = look(part, expected)
        assert {found.grade for found in after.tally.found()} <= {"note", "open"}
        assert mend(after, folder / "damaged" / "part-00000.lines", dry=False) == []
        readable = set(whole.splitlines()) & set(content.splitlines()) if file.suffix != ".done" else set()
        keys = [key for group in KEYS for key in group]
        untouched = {key for key in keys if any(key.encode() in line for line in readable)}
        if file.suffix == ".done":
            untouched = set(keys)
        assert untouched <= set(after.kept)
        outcomes = Journal(part.outcomes).read()
        assert untouched <= set(outcomes)
        if committed:  # where a summary vouches, nothing false is left
            wanted = {r.key: outcome(r, failed=p.id == "p3") for p in PROMPTS for r in to_requests(p)}
            assert all(outcomes[key] == wanted[key] for key in outcomes if key in wanted)
    finally:
        shutil.rmtree(folder)
