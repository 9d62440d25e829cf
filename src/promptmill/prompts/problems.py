r"""A problem put into words: the question, its options or tests, and the form that the answer is to have.

The words are text files that a user can copy and edit (`promptmill answers templates DIR`): `open.txt`, `choice.txt`,
`function.txt` (a function to complete, HumanEval) and `program.txt` (a task with tests, MBPP). `{question}`,
`{choices}` and `{tests}` are filled in, once; every other brace stays, so that `\boxed{...}` needs no escape.

Not covered: few-shot examples.
"""

from __future__ import annotations

import re
from importlib.resources import files
from string import ascii_uppercase
from typing import Literal

import msgspec
from msgspec.structs import replace

from promptmill.io.templates import read_template
from promptmill.records import Message, Prompt, Reference

Kind = Literal["open", "choice", "function", "program"]
Templates = dict[Kind, str]
KINDS: tuple[Kind, ...] = ("open", "choice", "function", "program")
_NEEDED = {"choice": ("question", "choices")}
_FIELD = re.compile(r"\{(question|choices|tests)\}")


class TemplateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Files with the words around a problem; left out, the ones that come with promptmill.

    Attributes:
        open: for open questions, with {question} in it.
        choice: for multiple-choice questions, with {question} and {choices} in it.
        function: for a Python function to complete, with {question} in it.
        program: for a task with tests, with {question} in it, and {tests} if they are to be shown.
    """

    open: str | None = None
    choice: str | None = None
    function: str | None = None
    program: str | None = None


def packaged(name: str) -> str:
    """The text of a template that comes with promptmill."""
    return (files("promptmill") / "templates" / f"{name}.txt").read_text(encoding="utf-8")


def load_templates(options: TemplateOptions) -> Templates:
    """The text of every template.

    Raises:
        ConfigError: a file is missing, or has no place for the question.
    """
    return {kind: _load(kind, getattr(options, kind)) for kind in KINDS}


def _load(kind: Kind, path: str | None) -> str:
    if path is None:
        return packaged(kind)
    return read_template(path, key=f"generate.templates.{kind}", fields=_NEEDED.get(kind, ("question",)))


def kind_of(reference: Reference | None) -> Kind:
    """Which template a problem wants."""
    if reference is None or not (reference.choices or reference.tests):
        return "open"
    if reference.choices:
        return "choice"
    return "function" if reference.setup is not None else "program"


def in_words(prompt: Prompt, templates: Templates) -> Prompt:
    """The prompt as it is asked. The last message of a chat is the question; those before it stay."""
    reference = prompt.reference or Reference()
    fields = {
        "choices": "\n".join(
            f"{letter}. {text}" for letter, text in zip(ascii_uppercase, reference.choices, strict=False)
        ),
        "tests": "\n".join(reference.tests),
    }
    template = templates[kind_of(prompt.reference)].strip()

    def fill(question: str) -> str:
        values = {**fields, "question": question.strip("\n")}
        return _FIELD.sub(lambda field: values[field[1]], template)

    if prompt.messages is None:
        return replace(prompt, text=fill(prompt.text or ""))
    *before, last = prompt.messages
    return replace(prompt, messages=(*before, Message(role=last.role, content=fill(last.content), name=last.name)))
