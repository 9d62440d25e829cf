"""The stage `judge` of `answers`: what the rules cannot settle is put before a model, by the same engine as all else.

The judge has a run of its own in the folder `judge` of the run: its prompts, its answers, its journal, so that a kill
loses nothing and equal pairs are judged once. When other answers are unsettled later, the prompts are made anew and the
verdicts that are there are kept by what was asked (`earlier.jsonl`).

Not covered: several judges and votes among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from msgspec.structs import replace

from promptmill.config import Table, Use
from promptmill.evaluate.judge import JudgeOptions, Template, load_template, parse, prompt_for
from promptmill.generate.index import read_outcomes
from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part
from promptmill.io.jsonl import iter_jsonl, write_jsonl
from promptmill.records import Completion, Outcome, Prompt, Score, Verdict, content_id
from promptmill.run import MANIFEST, Run, open_run
from promptmill.workflows import asking as asked
from promptmill.workflows import stages
from promptmill.workflows.asking import Asking
from promptmill.workflows.grading import is_unsettled, scores_of
from promptmill.workflows.opening import remembered_model
from promptmill.workflows.options import JudgeGenerate
from promptmill.workflows.stages import Reporter

FOLDER = "judge"
EARLIER = "earlier.jsonl"
ROWS_PER_PART = 2000
Beat = Callable[[dict[str, Any]], None]


class Judge(JudgeOptions, frozen=True, kw_only=True):
    """Who settles what the rules cannot.

    Attributes:
        serve: a server to start for the judge and to stop after it, an entry of the table `servers`.
        generate: which model is asked, and how hard; k is 1.
    """

    serve: Annotated[Use, Table("servers")] | None = None
    generate: JudgeGenerate = JudgeGenerate()

    def __post_init__(self) -> None:
        """Check what one field says about another."""
        if self.serve is not None and self.generate.endpoints:
            raise ValueError("serve: the server that it starts is asked, and no other. Take out generate.endpoints.")


class Bench:
    """The judge of a run: his prompts and what he said.

    Args:
        out: the folder of the run that is judged.
        judge: the recipe's section.
    """

    def __init__(self, out: Path, judge: Judge) -> None:
        self.path = out / FOLDER
        self._judge = judge
        self._template: Template = load_template(judge.prompt_file)

    def asking(self, *, known: str | None = None) -> Asking:
        """Who is asked."""
        found = asked.asking(self._judge.generate, self._judge.serve, known=known)
        return replace(found, section="judge.generate")

    def prompt(self, prompt: Prompt, score: Score) -> Prompt | None:
        """What the judge is asked about a score; None for what is settled or has nothing to compare with."""
        reference = prompt.reference
        if reference is None or score.answer is None or not is_unsettled(score):
            return None
        if reference.answer is None and not reference.aliases:
            return None
        return prompt_for(
            prompt.plain, reference, score.answer.text, template=self._template, max_chars=self._judge.max_chars
        )

    def ask(self, prompts: Iterable[Prompt], *, reporter: Reporter, beat: Beat) -> dict[str, Any]:
        """Put prompts before the judge; those that were asked before are not asked again.

        Args:
            prompts: of pairs that the rules left open.
            reporter: is told what happens.
            beat: is told how far the judge is, for the heartbeat of the run that is judged.
        """
        asking = self.asking()
        different = {prompt.id: prompt for prompt in prompts}
        if not different:  # no folder for a run that asks nothing
            return {"asked": 0}
        with open_run(self.path, workflow=FOLDER, seeds={}) as run:
            run.identify("prompts", content_id([self._template.fingerprint, *different]))
            run.identify("generate", asking.identity())
            if not stages.prompts_stand(run) or asked_otherwise(run):
                self._renew(run, asking, different.values())
            counts = asked.ask(run, asking, reporter=_Prefixed(reporter, beat))
            return {"asked": len(different), **counts}

    def _renew(self, run: Run, asking: Asking, prompts: Iterable[Prompt]) -> None:
        """Make the prompts anew, and give them the answers that were given to such requests before."""
        kept = {outcome.key: outcome for outcome in self._answers(run.path)}
        if kept:
            write_jsonl(run.path / EARLIER, kept.values())
        run.clear("generate")
        stages.keep_prompts(run, iter(prompts), rows_per_part=ROWS_PER_PART)
        for part in asked.parts_of(run, asking):
            run.folder("generate")
            journal = Journal(part.outcomes)
            for prompt in part.read_prompts():
                for request in asking.requests(prompt):
                    if request.key in kept:
                        journal.append(kept[request.key])
            journal.close()

    def _answers(self, path: Path) -> Iterator[Completion]:
        """Every answer that the judge ever gave here."""
        for file in (path / EARLIER, *sorted((path / "generate").glob("part-*.jsonl"))):
            yield from _completions(read_outcomes(file))
        for file in sorted((path / "generate").glob("part-*.journal")):
            yield from _completions(read_outcomes(file, torn=True))

    def verdicts(self) -> dict[str, Verdict]:
        """What the judge said, by the id of the prompt; empty if he was never asked."""
        if not (self.path / MANIFEST).exists():
            return {}
        asking = self.asking(known=remembered_model(self.path))
        said = {completion.key: completion for completion in self._answers(self.path)}
        found: dict[str, Verdict] = {}
        for file in sorted((self.path / "prompts").glob("part-*.jsonl")):
            for prompt in iter_jsonl(file, Prompt):
                if prompt.meta.get("judge_prompt") != self._template.fingerprint:
                    continue  # he was asked in other words
                for request in asking.requests(prompt):
                    if request.key in said:
                        found[prompt.id] = parse(said[request.key].text, asked=prompt, model=asking.model)
        return found

    def facts(self) -> dict[str, str]:
        """Who the judge is, for every row he judged."""
        known = remembered_model(self.path) if (self.path / MANIFEST).exists() else None
        return {"model": self.asking(known=known).model, "prompt": self._template.fingerprint}


def asked_otherwise(run: Run) -> bool:
    """Whether today's requests differ from those that the answers were given to."""
    return bool(run.changed("generate"))


def unsettled(run: Run, parts: Iterable[Part], bench: Bench) -> Iterator[Prompt]:
    """What the judge is to be asked about the scores of these parts."""
    for part in parts:
        prompts = {prompt.id: prompt for prompt in part.read_prompts()}
        for score in iter_jsonl(scores_of(run, part), Score):
            prompt = bench.prompt(prompts[score.prompt_id], score)
            if prompt is not None:
                yield prompt


def _completions(outcomes: Iterator[Outcome]) -> Iterator[Completion]:
    return (outcome for outcome in outcomes if isinstance(outcome, Completion))


class _Prefixed:
    """Says whose lines these are."""

    def __init__(self, reporter: Reporter, beat: Beat) -> None:
        self._reporter, self._beat = reporter, beat

    def line(self, text: str) -> None:
        """Say one line."""
        self._reporter.line(f"judge: {text}")

    def progress(self, facts: dict[str, Any]) -> None:
        """Show how far the judge is."""
        self._beat(facts)
        self._reporter.progress(facts)
