r"""An LLM as fallback for what rules cannot settle: a prompt for a pair of answers, and a verdict from the reply.

`prompt_for` puts question, reference and candidate into a template; the requests go through the same engine as all
others; `parse` reads the reply. Equal pairs give equal prompts, so they are judged once.

The candidate was written by a model and may try to speak to the judge. Each of the three texts therefore stands between
marks that it cannot write:

- a mark holds a hash of all three texts, and a text that holds its own mark gets another one;
- whatever could open or close a mark or be a token of a chat template (`<|im_end|>`, `</s>`, `[INST]`) is broken by a
  space after its bracket, which changes no meaning;
- control characters, and invisible ones that hide text from people, are written out (`\u{202e}`);
- a long text is cut in its middle, visibly.

Marking data is what Hines et al. (2024), "Defending Against Indirect Prompt Injection Attacks With Spotlighting", call
delimiting; it makes a model that obeys the data less likely, not impossible. What does not depend on the model is the
other half: a verdict with a reason that stands in the judged texts is never read as the judge's, so an echo of the
candidate decides nothing.

Not covered: grades between right and wrong, several judges, asking (workflows do that).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from typing import Annotated, Any

import msgspec

from promptmill.endpoints.reasoning import THINK_TAGS, split
from promptmill.errors import DataError
from promptmill.io.templates import read_template
from promptmill.records import Message, Prompt, Reference, Verdict, content_id
from promptmill.registry import Metric

VALUES: dict[str, float | None] = {"yes": 1.0, "no": 0.0, "cannot tell": None}
REPLY_CHARS = 50_000  # no verdict is that long
DETAIL_CHARS = 300

_FIELD = re.compile(r"\{(mark|question|reference|answer)\}")
_NEEDED = ("reference", "answer")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_TAG = re.compile(r"<(?=[\w/|!?\uff5c])|\[(?=/?[A-Za-z_]{2,}\])")
_JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji need them
_OBJECT = re.compile(r'\{\s*["}]')  # mathematics has braces, too, but not these
_BLOCK = re.compile(r"<(question|reference|answer)-([0-9a-f]{8})>\n(.*?)\n</\1-\2>", re.DOTALL)
_VERDICT = re.compile(r"verdict\W{0,20}(yes|no|cannot\s+tell)\b", re.IGNORECASE)
_NOT_LETTERS = re.compile(r"\\u\{[0-9a-f]+\}|[\W_]+")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')


class JudgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How answers that rules cannot settle are put before a judge.

    Attributes:
        prompt_file: file with the judge's task, with {reference} and {answer} in it, {question} and {mark} where wanted; left out, the one that comes with promptmill.
        max_chars: longer questions, references and answers are cut in their middle.
    """  # noqa: E501 - one line per option: it is the help text

    prompt_file: str | None = None
    max_chars: Annotated[int, msgspec.Meta(ge=100)] = 4000


def judge() -> Metric:
    """Leave every answer to the model of the recipe's section judge, without asking the rules first."""
    return lambda _reference, _answer: Verdict(value=None, method="judge", detail="not judged yet", settled=False)


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """The judge's task.

    Attributes:
        text: with `{reference}` and `{answer}` in it, `{question}` and `{mark}` where wanted.
        fingerprint: hash of the text.
    """

    text: str
    fingerprint: str


def load_template(prompt_file: str | None) -> Template:
    """The judge's task from a file, or the packaged one.

    Raises:
        ConfigError: the file cannot be read, or has no place for reference or answer.
    """
    if prompt_file is None:
        text = (files("promptmill") / "templates" / "judge.txt").read_text(encoding="utf-8")
    else:
        text = read_template(prompt_file, key="judge.prompt_file", fields=_NEEDED)
    return Template(text=text, fingerprint=content_id(text))


def prompt_for(question: str, reference: Reference, answer: str, *, template: Template, max_chars: int) -> Prompt:
    """The prompt that asks whether `answer` means the same as the reference.

    Args:
        question: what was asked.
        reference: what a right answer is.
        answer: the answer that was taken out of a response.
        template: the judge's task.
        max_chars: longer texts are cut in their middle.

    Returns:
        A prompt whose id depends on the three texts alone, as they are shown.

    Raises:
        DataError: the reference has no answer.
    """
    texts = {"question": _question(question, reference), "reference": _right(reference), "answer": answer}
    if not texts["reference"]:
        raise DataError("judge: the reference has no answer to compare with. Only tests or nothing cannot be judged.")
    shown = {name: _neutral(text, max_chars) for name, text in texts.items()}
    mark = _mark(shown)
    blocks = {name: f"<{name}-{mark}>\n{text}\n</{name}-{mark}>" for name, text in shown.items()}
    # in one go, so that a text that holds a field's name is not filled in
    content = _FIELD.sub(lambda field: {**blocks, "mark": mark}[field[1]], template.text.strip())
    return Prompt(
        id=content_id(["judge", shown]),
        source="judge",
        messages=(Message(role="user", content=content),),
        meta={"judge_prompt": template.fingerprint},
    )


def parse(text: str, *, asked: Prompt, model: str) -> Verdict:
    """What a judge's reply says.

    Args:
        text: the reply.
        asked: the prompt it replies to, made by `prompt_for`.
        model: the judge.

    Returns:
        1.0 for yes, 0.0 for no; None for cannot tell and for a reply that cannot be read or contradicts itself.
    """
    method = f"judge: {model}, prompt {asked.meta['judge_prompt']}"

    def open_still(why: str) -> Verdict:
        return Verdict(value=None, method=method, detail=why, settled=False)

    if len(text) > REPLY_CHARS:
        return open_still("the judge's reply is too long to be a verdict")
    thought = split(text, given=None, tags=[THINK_TAGS])
    if not thought.closed:
        return open_still("the judge's reasoning did not end")
    try:
        said = [_verdict(found) for found in _objects(thought.text, strictly=True)]
    except ValueError:
        return open_still(f"the judge's reply is not the JSON asked for: {_line(text)}")
    echo = _Echo(asked.plain)
    own = [one for one in said if one is not None and not echo.holds(*one)]
    verdicts = {verdict for verdict, _ in own}
    if not own:
        why = "repeats what the judged texts hold" if any(said) else "holds no verdict"
        return open_still(f"the judge's reply {why}: {_line(text)}")
    if len(verdicts) > 1:
        return open_still(f"the judge contradicts itself: {_line(text)}")
    verdict, reason = own[-1]
    value = VALUES[verdict]
    return Verdict(value=value, method=method, detail=_line(reason) or verdict, settled=value is not None)


def _question(question: str, reference: Reference) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    options = [f"{letter}. {text}" for letter, text in zip(letters, reference.choices, strict=False)]
    return "\n".join([question, *options])


def _right(reference: Reference) -> str:
    """The right answer and its other spellings, one a line."""
    answers = [answer for answer in (reference.answer, *reference.aliases) if answer]
    first, *others = dict.fromkeys(answers) or [""]
    return "\n".join([first, *(f"or: {other}" for other in others)])


def _mark(shown: dict[str, str]) -> str:
    """Eight digits of a hash of the texts, that stand in none of them."""
    turn = 0
    while True:
        mark = content_id(["mark", turn, shown])[:8]
        if not any(mark in text for text in shown.values()):
            return mark
        turn += 1


def _neutral(text: str, max_chars: int) -> str:
    """The text as data: nothing in it can end the data, and nothing is invisible."""
    if len(text) <= max_chars:
        return _visible(text)
    half = max_chars // 2
    left_out = len(text) - 2 * half
    return f"{_visible(text[:half])}\n[... {left_out:,} characters are left out here ...]\n{_visible(text[-half:])}"


def _visible(text: str) -> str:
    plain = _LINE_ENDS.sub("\n", text)
    written = "".join(c if c in "\n\t" or _is_shown(c) else f"\\u{{{ord(c):x}}}" for c in plain)
    return _TAG.sub(lambda bracket: f"{bracket[0]} ", written)


def _is_shown(character: str) -> bool:
    # Cc control, Cf format (direction, tags), Cs half characters, Co private use
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co"} or character in _JOINERS


def _objects(text: str, *, strictly: bool) -> Iterator[dict[str, Any]]:
    r"""The outermost JSON objects of a text; an object that is broken is an error if `strictly`, else passed over.

    A backslash that JSON does not know is taken as it is: judges write `\frac` and `\(` into their reasons.
    """
    text = _ESCAPE.sub(lambda found: found[0] if found[1] else "\\\\", text)
    decoder = json.JSONDecoder(object_pairs_hook=_once, strict=False)
    at = 0
    while start := _OBJECT.search(text, at):
        try:
            found, at = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError) as error:
            if strictly:
                raise ValueError("broken object") from error
            at = start.start() + 1
        else:
            yield found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that stands twice in an object says two things."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _verdict(found: dict[str, Any]) -> tuple[str, str] | None:
    """Verdict and reason of an object; None where it is none."""
    verdict, reason = found.get("verdict"), found.get("reason", "")
    if not isinstance(verdict, str) or not isinstance(reason, str):
        return None
    word = " ".join(verdict.split()).casefold()
    return (word, " ".join(reason.split())) if word in VALUES else None


class _Echo:
    """What a judge could repeat from its prompt, instead of judging.

    Args:
        prompt: the prompt, its template included.
    """

    def __init__(self, prompt: str) -> None:
        found = [one for one in map(_verdict, _objects(prompt, strictly=False)) if one is not None]
        self._whole = set(found)
        data = "\n".join(block[3] for block in _BLOCK.finditer(prompt))
        self._verdicts = {" ".join(word[1].casefold().split()) for word in _VERDICT.finditer(data)}
        decoded = [one for one in map(_verdict, _objects(data, strictly=False)) if one is not None]
        self._verdicts |= {verdict for verdict, _ in decoded}
        self._letters = _letters(" ".join([data, *(reason for _, reason in decoded)]))

    def holds(self, verdict: str, reason: str) -> bool:
        """Whether this verdict is the template's example, or stands in the judged texts with this reason."""
        if (verdict, reason) in self._whole:
            return True
        return verdict in self._verdicts and _letters(reason) in self._letters


def _letters(text: str) -> str:
    """Letters and digits alone: an echo may be written a little differently."""
    return _NOT_LETTERS.sub("", text).casefold()


def _line(text: str) -> str:
    """A model's text as one printable line of bounded length."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * DETAIL_CHARS])
    line = " ".join(line.split())
    return line if len(line) <= DETAIL_CHARS else f"{line[: DETAIL_CHARS - 3]}..."
