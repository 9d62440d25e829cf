"""How many samples a problem is asked for follows from its stored outcomes alone."""

import pytest

from promptmill.generate.journal import Journal
from promptmill.records import Completion, Failure, Prompt, Reference
from promptmill.run import open_run
from promptmill.workflows import attempts, stages
from promptmill.workflows.asking import Asking, parts_of
from promptmill.workflows.options import ProblemGenerate

PROBLEM = Prompt(id="p", source="f:1", text="1 + 1?", reference=Reference(answer="2"))
GOOD, BAD, BUSY, REFUSED = "good", "", "overload", "refused"


@pytest.fixture
def told(tmp_path):
    """How many further samples are asked when the samples so far went so."""
    asking = Asking(options=ProblemGenerate(k=2), serve=None, model="m")

    def find(*went, max_attempts=3):
        with open_run(tmp_path / "run", workflow="answers", seeds={}) as run:
            run.identify("prompts", "p")
            run.identify("generate", asking.identity())
            if not stages.prompts_stand(run):
                stages.keep_prompts(run, iter([PROBLEM]), rows_per_part=10)
            (part,) = parts_of(run, asking)
            run.folder("generate")
            part.outcomes.unlink(missing_ok=True)
            journal = Journal(part.outcomes)
            journal.journal.unlink(missing_ok=True)
            for request, how in zip(asking.samples(PROBLEM, len(went)), went, strict=True):
                common = {"key": request.key, "prompt_id": "p", "model": "m", "sample": request.sample}
                if how in (BUSY, REFUSED):
                    journal.append(Failure(**common, kind=how, detail="x"))
                else:
                    journal.append(Completion(**common, text=how, finish="stop"))
            journal.close()
            found = attempts.further(
                run, asking, lambda _, completion: bool(completion.text), max_attempts=max_attempts, rule="r"
            )
            assert attempts.remembered(run.path) == found.further
            return len(list(found.requests(PROBLEM))) - 2

    return find


@pytest.mark.parametrize(
    ("went", "further"),
    [
        ((), 0),
        ((GOOD, GOOD), 0),
        ((GOOD, BAD), 1),
        ((BAD, BAD), 2),
        ((GOOD, BAD, GOOD), 1),
        ((BAD, BAD, GOOD, BAD), 3),
        ((BAD, BAD, BAD, BAD, BAD, BAD), 4),  # three attempts, and no fourth
        ((GOOD, BUSY), 0),  # the attempt goes on
        ((BAD, BUSY), 0),
        ((BAD, REFUSED), 1),  # what was refused is not asked in another way
        ((BAD, BAD, BUSY), 2),
    ],
)
def test_the_next_attempt_asks_for_what_the_last_one_lacks(told, went, further):
    assert told(*went) == further


def test_one_attempt_asks_for_nothing_further(told):
    assert told(BAD, BAD, max_attempts=1) == 0


def test_the_answers_that_count_are_the_usable_ones_then_others_by_sample_number():
    said = [Completion(key=str(n), prompt_id="p", model="m", sample=n, text=t, finish="stop") for n, t in enumerate(
        ["", "a", "", "b", "c"]
    )]  # fmt: skip
    failed = Failure(key="f", prompt_id="p", model="m", sample=5, kind="refused", detail="x")
    chosen = attempts.chosen(PROBLEM, [*said, failed, None], lambda _, c: bool(c.text), k=2)
    assert [each.sample for each in chosen] == [1, 3]
    chosen = attempts.chosen(PROBLEM, said[:3], lambda _, c: bool(c.text), k=2)
    assert [each.sample for each in chosen] == [0, 1]


def test_a_memory_that_cannot_be_read_is_made_anew(told, tmp_path):
    assert told(GOOD, BAD) == 1
    (tmp_path / "run" / attempts.FILE).write_text("{")
    assert told(GOOD, BAD) == 1
