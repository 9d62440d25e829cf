"""Every error promptmill raises, as one tree.

    PromptmillError
    ├── ConfigError       the recipe or a flag is wrong
    ├── DataError         an input file or row is wrong
    ├── RunError          the run folder is locked, foreign or damaged
    ├── MissingExtra      an optional library is not installed
    ├── BudgetReached     a cap of the recipe was reached
    └── EndpointError     a server did not give a completion
        ├── RateLimited   429: wait and ask again
        ├── Unavailable   5xx, unreadable body: ask again
        │   ├── Overloaded   503, 529: the server has too much to do; ask less, and again
        │   └── Unreachable  no connection, or it broke: ask again
        ├── Timeout       no answer within the deadline: ask again
        ├── Refused       4xx: asking again cannot help
        │   ├── TooLong      the prompt does not fit the model's context
        │   └── Filtered     a content filter refused the prompt
        └── AuthFailed    401/403: the key is wrong, not the request
            └── QuotaSpent   402, or 429 that says so: the key has no quota or money left

The message form is *where*: *what*. *What to do.* Foreign exceptions (sockets, json) are mapped to this tree in
`endpoints/` and nowhere else.
"""


class PromptmillError(Exception):
    """Base of all errors that a user can act on; the CLI prints them as one line and exits with code 2."""


class ConfigError(PromptmillError):
    """A recipe, flag or option is wrong."""


class DataError(PromptmillError):
    """An input file or a row in it is wrong."""


class RunError(PromptmillError):
    """A run folder is locked by another process, belongs to another recipe, or is damaged."""


class MissingExtra(PromptmillError):  # noqa: N818 - the plan's word; it reads as what is wrong
    """An optional library is not installed."""

    def __init__(self, extra: str, *, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the extra '{extra}'. Install it: pip install 'promptmill[{extra}]'")
        self.extra = extra


class BudgetReached(PromptmillError):  # noqa: N818 - named by what happened
    """A hard cap of the recipe was reached; what was done is kept."""


class EndpointError(PromptmillError):
    """A server did not give a completion.

    Attributes:
        kind: one word for counting, stored in `Failure.kind`.
        retry_after_s: how long the server asked to wait, if it did.
        sent: the request reached the server and may be on the bill, although there is no answer.
    """

    kind = "endpoint"

    def __init__(self, detail: str, *, retry_after_s: float | None = None, sent: bool = False) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.sent = sent


class RateLimited(EndpointError):  # noqa: N818 - named by what happened
    """The server asks to slow down (429)."""

    kind = "rate"


class Unavailable(EndpointError):  # noqa: N818 - named by what happened
    """The server failed (5xx, wrong JSON)."""

    kind = "unavailable"


class Overloaded(Unavailable):
    """The server has too much to do (503, 529): ask less of it."""

    kind = "overload"


class Unreachable(Unavailable):
    """No connection could be made, or it broke before the answer was whole.

    Attributes:
        stale: a connection that was kept from an earlier request ended before the server can have begun with this one.
    """

    kind = "network"
    stale = False


class Timeout(EndpointError):  # noqa: N818 - named by what happened
    """No answer within the deadline."""

    kind = "timeout"


class Refused(EndpointError):  # noqa: N818 - named by what happened
    """The request itself was refused (4xx); asking again cannot help."""

    kind = "refused"


class TooLong(Refused):
    """The prompt, or prompt and limit together, do not fit the model's context."""

    kind = "too_long"


class Filtered(Refused):
    """A content filter of the server refused the prompt."""

    kind = "filter"


class AuthFailed(EndpointError):  # noqa: N818 - named by what happened
    """The key was refused (401/403)."""

    kind = "auth"


class Forbidden(AuthFailed):
    """403: the key may not do this, or a firewall before the server does not like this one prompt."""


class QuotaSpent(AuthFailed):
    """The key has no quota or no money left (402, or 429 with `insufficient_quota`): waiting does not help."""

    kind = "quota"
