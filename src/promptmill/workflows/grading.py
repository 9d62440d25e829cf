"""The stage `grade` of `answers`: stored answers -> scores, a file for each part, without a model.

An answer is taken out of each response by the extractor and judged by the metric; which ones follows from the problem
unless the recipe names them. Then the answers to a problem are compared with one another, for the majority vote. Parts
whose answers and rules did not change stay as they are. A metric that runs other processes is called from several
threads, so that they have something to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import msgspec
from msgspec.structs import replace

import promptmill
from promptmill import registry
from promptmill.config import Table, Use
from promptmill.derive.responses import Response, of_completion
from promptmill.evaluate.choose import Auto, metric_of
from promptmill.evaluate.votes import EQUALITIES, votes
from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part
from promptmill.io.jsonl import UNREADABLE, atomic, iter_jsonl, write_jsonl
from promptmill.records import Completion, Prompt, Reference, Score, Verdict, content_id
from promptmill.registry import Extractor, HasClose, Metric
from promptmill.run import Run
from promptmill.workflows.asking import Asking, outcome_sizes, parts_of
from promptmill.workflows.attempts import Usable, chosen
from promptmill.workflows.options import Positive, ProblemGenerate
from promptmill.workflows.stages import Reporter

MADE = "made.json"
TRIED = 1000  # problems that are looked at for the metrics that they want
AHEAD = 512  # responses whose grading is under way at a time
Row = tuple[Prompt, list[tuple[Response, Score]]]
UNANSWERED = Verdict(value=0.0, method="unanswered", detail="no answer was found in the response")


class GradeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are found and judged.

    Attributes:
        extractor: takes the answer out of a response, an entry of the table `extractors`; with `answer`, programs are taken out by `code` where a problem has tests.
        metric: judges the answer, an entry of the table `metrics`; `auto` chooses by the problem.
        code: options of the metric `code`, for problems with tests; with `metric: code` they may stand there, too.
        threads: responses that are graded at the same time.
    """  # noqa: E501 - one line per option: it is the help text

    extractor: Annotated[Use, Table("extractors", default="answer")] = msgspec.field(
        default_factory=lambda: {"kind": "answer"}
    )
    metric: Annotated[Use, Table("metrics")] = msgspec.field(default_factory=lambda: {"kind": "auto"})
    code: Annotated[Use, Table("metrics", default="code")] = msgspec.field(default_factory=lambda: {"kind": "code"})
    threads: Positive = 2

    def __post_init__(self) -> None:
        """Check what one field says about another."""
        self.use_of(Reference())

    def use_of(self, reference: Reference) -> Use:
        """The metric for answers to such a problem, an entry of the table `metrics`.

        Raises:
            ValueError: `code` says something of a metric that is not used, or that `metric` says otherwise.
        """
        kind = self.metric["kind"]
        if kind == "auto":
            return self.code if reference.tests else self.metric
        defaults = {option.name: option.default for option in registry.options(registry.load("metrics", "code"))}
        told = {name: value for name, value in self.code.items() if name != "kind" and value != defaults.get(name)}
        if (told and kind != "code") or self.code["kind"] != "code":
            raise ValueError(f"code: is not used, since metric is '{kind}'. Take it out, or take metric: auto.")
        own = {name: value for name, value in self.metric.items() if name != "kind" and value != defaults.get(name)}
        for name in sorted(own.keys() & told.keys()):
            if own[name] != told[name]:
                raise ValueError(f"code.{name}: is {told[name]}, and metric.{name} is {own[name]}. Keep one of them.")
        return {**self.metric, **told, **own}


class Grader:
    """The extractors and metrics of a recipe; metrics that hold processes are ended with the block.

    Args:
        options: the `grade:` section.

    Attributes:
        options: the same.
    """

    def __init__(self, options: GradeOptions) -> None:
        self.options = options
        self._extractors: dict[str, Extractor] = {}
        self._metrics: dict[str, Metric] = {}

    def __enter__(self) -> Self:
        """Nothing is started before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what was started."""
        for metric in self._metrics.values():
            if isinstance(metric, HasClose):
                metric.close()
        self._metrics.clear()

    def extractor(self, reference: Reference) -> Extractor:
        """Takes answers to such a problem out of a response."""
        use = self.options.extractor
        if use["kind"] == "answer" and reference.tests:
            use = {"kind": "code"}
        if use["kind"] not in self._extractors:
            self._extractors[use["kind"]] = registry.build("extractors", use)
        return self._extractors[use["kind"]]

    def metric(self, reference: Reference) -> tuple[str, Metric]:
        """Judges answers to such a problem: its name, and itself."""
        use = self.options.use_of(reference)
        if use["kind"] not in self._metrics:
            self._metrics[use["kind"]] = registry.build("metrics", use)
        return use["kind"], self._metrics[use["kind"]]

    def graded(self, problems: Iterable[tuple[Prompt, list[Response]]]) -> Iterator[Row]:
        """Grade the responses to problems, several at a time; in their order."""
        with ThreadPoolExecutor(self.options.threads) as threads:
            waiting: list[tuple[Prompt, list[Response]]] = []
            n_waiting = 0
            for each in problems:
                waiting.append(each)
                n_waiting += 1 + len(each[1])
                if n_waiting >= AHEAD:
                    yield from self._all(threads, waiting)
                    waiting, n_waiting = [], 0
            yield from self._all(threads, waiting)

    def _all(self, threads: ThreadPoolExecutor, waiting: list[tuple[Prompt, list[Response]]]) -> Iterator[Row]:
        for prompt, _ in waiting:  # made here, in one thread
            if prompt.reference is not None:
                self.extractor(prompt.reference)
                self.metric(prompt.reference)
        pairs = [(prompt, response) for prompt, responses in waiting for response in responses]
        scores = threads.map(lambda pair: self.score(*pair), pairs)
        rows = [(prompt, [(each, next(scores)) for each in responses]) for prompt, responses in waiting]
        yield from threads.map(self._voted, rows)

    def _voted(self, row: Row) -> Row:
        """The same, with each score knowing what its answer counts as in a majority vote."""
        prompt, graded = row
        given = [(score.answer.text, score.verdict.value) for _, score in graded if score.answer is not None]
        reference = prompt.reference or Reference()
        name, metric = self.metric(reference)
        if isinstance(metric, Auto):
            name, metric = metric.fitting(reference)
        if len(set(given)) <= 1 or name == "code":
            return row

        def alike(one: str, other: str) -> bool | None:
            if name not in EQUALITIES:
                return False
            verdict = metric(Reference(answer=one, choices=reference.choices), other)
            return None if verdict.value is None and verdict.method == "math_verify" else verdict.value == 1.0

        found = dict(zip(given, votes(given, alike), strict=True))

        def with_vote(score: Score) -> Score:
            if score.answer is None:
                return score
            vote = found[score.answer.text, score.verdict.value]
            return score if vote == score.answer.text else replace(score, vote=vote)

        return prompt, [(response, with_vote(score)) for response, score in graded]

    def score(self, prompt: Prompt, response: Response) -> Score:
        """Grade one response."""
        reference = prompt.reference or Reference()
        name, metric = self.metric(reference)
        answer = self.extractor(reference)(response.text, reference)
        if reference.answer is None and not reference.aliases and not reference.tests:
            verdict = Verdict(value=None, method="no reference", detail="nothing says what is right")
        else:
            verdict = UNANSWERED if answer is None else metric(reference, answer.text)
        return Score(
            key=response.key,
            prompt_id=prompt.id,
            model=response.model,
            sample=response.sample,
            metric=name,
            answer=answer,
            verdict=verdict,
        )


class _Judged(msgspec.Struct, frozen=True):
    """Of a prompt, how it is judged."""

    reference: Reference | None = None


def check(parts: Iterable[Part], grader: Grader) -> None:
    """Make every extractor and metric that the problems want, before anything is asked.

    Raises:
        ConfigError: an option is wrong, or code cannot be run safely here.
        MissingExtra: a metric's library is not installed.
    """
    tried: set[str] = set()
    references = (each.reference for part in parts for each in iter_jsonl(part.prompts, _Judged))
    for number, reference in enumerate(references):
        if reference is None:
            continue
        grader.extractor(reference)
        name, metric = grader.metric(reference)
        fits = metric_of(reference) if name == "auto" and number < TRIED else name
        if name == "auto" and fits not in tried:  # it makes the metric that fits only when it is called
            metric(reference, reference.answer or "")
        tried.add(fits)


def usable_of(options: ProblemGenerate, grader: Grader) -> Usable:
    """Whether an answer can be used, by the recipe's `unusable`."""
    rules = frozenset(options.unusable)

    def usable(prompt: Prompt, completion: Completion) -> bool:
        if "empty" in rules and not completion.text.strip():
            return False
        if "truncated" in rules and completion.finish == "length":
            return False
        reference = prompt.reference or Reference()
        return "unanswered" not in rules or grader.extractor(reference)(completion.text, reference) is not None

    return usable


def rule_of(options: ProblemGenerate, grade: GradeOptions) -> str:
    """An id of what `usable_of` does."""
    return content_id([sorted(options.unusable), grade.extractor if "unanswered" in options.unusable else None])


def iter_chosen(part: Part, asking: Asking, usable: Usable) -> Iterator[tuple[Prompt, list[Response]]]:
    """The problems of a part, each with its k responses."""
    outcomes = Journal(part.outcomes).read()
    for prompt in part.read_prompts():
        found = [outcomes.get(request.key) for request in asking.requests(prompt)]
        yield prompt, [of_completion(each) for each in chosen(prompt, found, usable, k=asking.options.k)]


def scores_of(run: Run, part: Part) -> Path:
    """Where the scores of a part are."""
    return run.path / "grade" / part.prompts.name


def make_scores(
    run: Run, asking: Asking, grader: Grader, usable: Usable, *, rule: str, reporter: Reporter
) -> dict[str, Any]:
    """Stage `grade`: judge every response that counts; return the counts."""
    parts = parts_of(run, asking)
    rules = msgspec.to_builtins(grader.options) | {"threads": None, "usable": rule, "k": asking.options.k}
    rules["version"] = promptmill.__version__  # the rules of another version may be others
    rested = {"limit": asking.limit, "further": content_id(asking.further), "outcomes": outcome_sizes(parts)}
    run.identify("grade", {"rules": rules, **rested})
    made_path = run.folder("grade") / MADE
    known = _read_made(made_path)
    if run.is_current("grade") and all(_stands(scores_of(run, part), known) for part in parts):
        reporter.line(f"grade: {run.counts('grade')['responses']} responses are graded already.")
        return run.counts("grade")
    run.begin("grade")
    counts = {"responses": 0, "unanswered": 0, "not_gradable": 0, "unsettled": 0}
    for part in parts:
        target, name = scores_of(run, part), part.prompts.name
        follows = [run.fingerprint("prompts"), rules, part.limit, asking.further.get(name), outcome_sizes([part])]
        made_of = content_id(follows)
        if not _stands(target, known) or known[name].made_of != made_of:
            rows = grader.graded(iter_chosen(part, asking, usable))
            write_jsonl(target, (score for _, graded in rows for _, score in graded))
            known[name] = Made(made_of, target.stat().st_size)
            with atomic(made_path) as file:
                file.write(msgspec.json.encode(known))
        _count(target, counts)
        run.heartbeat(stage="grade", **counts)
    run.finish("grade", counts)
    reporter.line(
        f"grade: {counts['responses']} responses: {counts['unanswered']} without an answer, "
        f"{counts['not_gradable']} that cannot be graded, {counts['unsettled']} that a judge could settle."
    )
    return counts


class Made(msgspec.Struct, frozen=True):
    """What is known of the scores of one part.

    Attributes:
        made_of: what they follow from: the rules, and the answers.
        size: bytes of their file; one that was cut or edited is made again.
    """

    made_of: str
    size: int


def _stands(path: Path, known: dict[str, Made]) -> bool:
    """Whether a file of scores is as it was written."""
    return path.name in known and path.is_file() and path.stat().st_size == known[path.name].size


def _read_made(path: Path) -> dict[str, Made]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Made])
    except (FileNotFoundError, *UNREADABLE):  # then everything is graded anew
        return {}


def _count(path: Path, counts: dict[str, int]) -> None:
    for score in iter_jsonl(path, Score):
        counts["responses"] += 1
        counts["unanswered"] += score.answer is None
        counts["not_gradable"] += score.verdict.value is None
        counts["unsettled"] += is_unsettled(score)


def is_unsettled(score: Score) -> bool:
    """Whether a judge could say more than the rules."""
    return score.answer is not None and (score.verdict.value is None or not score.verdict.settled)
