"""The options every workflow shares: who is asked, and what changes the text that comes back."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Protocol

import msgspec

from promptmill.config import Table, Use
from promptmill.endpoints.link import Address
from promptmill.errors import ConfigError
from promptmill.generate.budget import Caps
from promptmill.generate.lane import MOST, LaneOptions
from promptmill.generate.reuse import Policy
from promptmill.prompts.problems import TemplateOptions, Templates, load_templates
from promptmill.records import Sampling

Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
OVER_HTTP = {"openai", "llamacpp", "tgi"}  # plug-ins read addresses of their own forms


class SamplingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What changes the text that comes back.

    Attributes:
        temperature: softmax temperature; null leaves it to the server.
        top_p: nucleus mass; null leaves it to the server.
        max_tokens: limit on new tokens, or `context`, what the prompt leaves of the model's context.
        stop: strings that end the answer.
        seed: seed of sample 0, sample j uses seed + j; null for none.
        extra: further body fields, passed to the server as they are.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = 0.7
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = 0.9
    max_tokens: Positive | Literal["context"] = "context"
    stop: list[str] = []
    seed: int | None = 42
    extra: dict[str, Any] = {}

    def record(self) -> Sampling:
        """The same as part of a request."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=tuple(self.stop),
            seed=self.seed,
            extra=self.extra,
        )


class GenerateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which model is asked, what, and how hard.

    Attributes:
        model: the name the server knows; with `serve`, the served model when left out.
        endpoints: the servers that have the model, `{kind: openai, base_url: ...}` each; with `serve`, that server.
        protocol: `chat` lets the server apply the model's template, `completion` sends raw text.
        template: text around each prompt, with `{prompt}` where it goes.
        system: a system message, for protocol chat.
        k: samples per prompt.
        sampling: what changes the text that comes back.
        choices: `auto` asks for the samples of a prompt in one request where the server gives several answers; `separate` asks for each alone, with a seed of its own.
        concurrency: requests in flight; `auto` finds out how many the servers can use.
        max_concurrency: most requests in flight that `auto` may find.
        delay_s: least seconds between the starts of two requests.
        attempts: how often a request is tried when the server is busy, broken or silent.
        deadline_s: seconds from the first send of a request to its outcome, all attempts together.
        patience_s: seconds without any answer, while every endpoint fails, after which the run stops.
        hedge: ask a second endpoint when an answer takes longer than 95 % of the others did.
        budget: caps on money, tokens, requests and time.
        reuse: answers that need not be asked again: `strict`, of the same request; `complete`, also of another max_tokens if they ended by themselves; `top-up`, also of another seed.
        store: a folder of answers that several runs share; left out, none.
        order: `prefix` sends prompts that begin alike one after another where that helps the server's prefix cache; `source` keeps their order.
        retry_refused: ask again what the server refused in an earlier run.
        max_failure_share: more failures than this share of the requests make the exit code 1.
    """  # noqa: E501 - one line per option: it is the help text

    DEFAULT_URL: ClassVar[str | None] = None
    """Whom a workflow asks when nobody says."""

    model: str | None = None
    endpoints: list[Annotated[Use, Table("endpoints", default="openai", beside=LaneOptions)]] = []
    protocol: Literal["chat", "completion"] = "chat"
    template: str | None = None
    system: str | None = None
    k: Positive = 1
    sampling: SamplingOptions = SamplingOptions()
    choices: Literal["auto", "separate"] = "auto"
    concurrency: Positive | Literal["auto"] = "auto"
    max_concurrency: Positive = MOST
    delay_s: Seconds = 0.0
    attempts: Positive = 5
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 1800.0
    patience_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    hedge: bool = False
    budget: Caps = Caps()
    reuse: Policy = "strict"
    store: str | None = None
    order: Literal["prefix", "source"] = "prefix"
    retry_refused: bool = False
    max_failure_share: Share = 0.01

    def __post_init__(self) -> None:
        """Check what one field says about another."""
        if self.template is not None and "{prompt}" not in self.template:
            raise ValueError("template: has no '{prompt}' in it. Put it where the prompt goes.")
        if self.system is not None and self.protocol == "completion":
            raise ValueError("system: goes with protocol 'chat' only. Write it into template.")
        for number, use in enumerate(self.endpoints):
            if use.get("api_key_env") is not None and use.get("api_keys_env") is not None:
                both = "api_key_env and api_keys_env exclude each other. Keep one, and set the other to null."
                raise ValueError(both, "endpoints", number)
            if use["kind"] in OVER_HTTP:
                try:
                    Address(use["base_url"])
                except ConfigError as error:
                    raise ValueError(f"{error}".removeprefix("base_url: "), "endpoints", number, "base_url") from error
        prices = [use.get("price_in") for use in self.endpoints]
        if self.budget.max_cost is not None and (not prices or None in prices):
            which = f"endpoints.{prices.index(None)} has" if prices else "no endpoint of this recipe has"
            raise ValueError(
                f"budget.max_cost: {which} {'no' if prices else 'a'} price, so money cannot be counted. Give each "
                "endpoint price_in and price_out, such as 0.15/1M."
            )

    def load_templates(self) -> Templates | None:
        """The words that a problem is put into; None where prompts are asked as they are."""
        return None


class ProblemSampling(SamplingOptions, frozen=True, kw_only=True):
    """As in every workflow, with the defaults of answers to problems."""

    max_tokens: Positive | Literal["context"] = 2048
    stop: list[str] = msgspec.field(default_factory=lambda: ["<end_of_turn>", "<|end_of_turn|>", "<|im_end|>"])


class ProblemGenerate(GenerateOptions, frozen=True, kw_only=True):
    """As in every workflow, with the words around a problem and further samples where one was of no use.

    Attributes:
        templates: files with the words around a problem.
        max_attempts: how often a problem is asked for the samples that are still missing because answers were of no use.
        unusable: which answers are of no use: `empty`, nothing but reasoning or blanks; `truncated`, cut by max_tokens; `unanswered`, no answer can be taken out.
    """  # noqa: E501 - one line per option: it is the help text

    DEFAULT_URL: ClassVar[str | None] = "http://localhost:8000/v1"

    k: Positive = 5
    sampling: ProblemSampling = ProblemSampling()
    templates: TemplateOptions = TemplateOptions()
    max_attempts: Positive = 3
    unusable: list[Literal["empty", "truncated", "unanswered"]] = msgspec.field(default_factory=lambda: ["empty"])

    def load_templates(self) -> Templates | None:
        """The words that a problem is put into.

        Raises:
            ConfigError: a file cannot be read, or has no place for the question.
        """
        return load_templates(self.templates)


class JudgeSampling(SamplingOptions, frozen=True, kw_only=True):
    """As in every workflow, with the defaults of verdicts."""

    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = 0.0
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    max_tokens: Positive | Literal["context"] = 512


class JudgeGenerate(GenerateOptions, frozen=True, kw_only=True):
    """As in every workflow, with the defaults of verdicts."""

    k: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    sampling: JudgeSampling = JudgeSampling()


class Recipe(Protocol):
    """What every workflow's recipe has."""

    @property
    def workflow(self) -> str:
        """Its name."""

    @property
    def source(self) -> Use:
        """Where the prompts come from."""

    @property
    def select(self) -> list[Use] | None:
        """Selection steps."""

    @property
    def serve(self) -> Use | None:
        """A server to start."""

    @property
    def generate(self) -> GenerateOptions:
        """Who is asked what."""

    @property
    def rows_per_part(self) -> int:
        """Prompts in one part file."""

    @property
    def output(self) -> str | None:
        """Where the results go."""

    @property
    def asks(self) -> dict[str, GenerateOptions]:
        """How each stage that asks a model asks it."""

    @property
    def later(self) -> str | None:
        """Who else is asked once the answers are there, which no plan can count; None if nobody is."""
