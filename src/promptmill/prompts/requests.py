"""What exactly is sent for a prompt, for each of its samples.

With protocol `chat` the server applies the model's own template to the messages. With `completion` the text is sent
as it is, or put into a template of the recipe at `{prompt}`. Problems are put into words before (see `problems`).
"""

from __future__ import annotations

from collections.abc import Iterator

from promptmill.errors import DataError
from promptmill.records import Message, Prompt, Protocol, Request, Sampling


def requests(
    prompt: Prompt,
    *,
    model: str,
    k: int,
    protocol: Protocol,
    sampling: Sampling,
    template: str | None,
    system: str | None,
) -> Iterator[Request]:
    """Yield the k requests of a prompt, samples 0 to k - 1.

    Raises:
        DataError: a template with `completion` meets a chat of several turns.
    """
    messages: tuple[Message, ...] | None = None
    text: str | None = None
    if protocol == "chat":
        messages = prompt.messages or (Message(role="user", content=prompt.plain),)
        if template is not None:
            *before, last = messages
            messages = (*before, Message(role=last.role, content=template.replace("{prompt}", last.content)))
        if system is not None:
            messages = (Message(role="system", content=system), *messages)
    else:
        if template is not None and len(prompt.messages or ()) > 1:
            raise DataError(
                f"prompt {prompt.id} ({prompt.source}): a chat of several turns does not fit a template with "
                "protocol 'completion'. Use protocol 'chat', or select 'turns' with take: first."
            )
        text = prompt.plain if template is None else template.replace("{prompt}", prompt.plain)
    for sample in range(k):
        yield Request(
            prompt_id=prompt.id,
            model=model,
            sample=sample,
            protocol=protocol,
            messages=messages,
            text=text,
            sampling=sampling,
        )
