r"""What a sentence says of the options that it names: that one fits, that one does not, or nothing.

| said | example |
|---|---|
| good | "D makes the most sense", "B ✅", "so (B)", "the most plausible continuation: B" |
| bad | "A is wrong", "rule out C", "unlike D", "tempting" |
| open | "it could be B", "if A were right", "option C describes ..." |
| bare | the option is named, and no more |

Only what belongs to the option is read: its own clause, up to the next option that is named. In an entry of a list
("Option C: Correct. Both ...") the verdict stands at the beginning or is a sign.

Not covered: a verdict in other words, and most of those in other languages.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from promptmill.derive.answers.choices import Options
from promptmill.derive.answers.languages import CORRECT, MOST
from promptmill.derive.answers.mentions import COMMON, Mention, joined, mentions
from promptmill.derive.answers.page import Page

_FAR = 90
_BAD_BEFORE = re.compile(
    r"(?:n't|\b(?:not|nor|neither|never|cannot|unlike|than|versus|except|over|eliminat\w+|rul(?:e|es|ed|ing)\sout|"
    r"discard\w*|exclud\w+|reject\w*|dismiss\w*|cross\w*\sout|instead\sof|(?:different|far|distinct|differs?)\sfrom|tempt(?:ing|ed)\sto\s\w+|no\ses|n'est\spas|não\sé|non\sè|nicht|kein\w*|(?:är|er)\s(?:inte|ikke)|не|nie|değil|(?:was|were)\s(?:\w+\s)?(?:going|about|inclined)\sto\s\w+)|(?:不是|不选|并非))"
    r"(?:(?:\W|\b(?:[a-z]|and|or|nor|options?|choices?|answers?|both|be|is|the|as|out)\b)*|\s[^,.;:]{0,40})$|"
    r"\b(?:wrong|incorrect|instinct|initially|at\sfirst|originally|first\sthought|mistake\w*|distractors?)\b[^,;.]{0,30}$"
)
_BAD = (
    r"not|incorrect(?:ly)?|wrong|false|eliminated|invalid|implausible|unlikely|irrelevant|misstates?|ignores?|fails?|"
    r"contradicts?|lacks?|tempting|contender|too|out|opposite|inconsistent|excluded|cannot|neither|no|falsch|fausse?|"
    r"faux|incorrect[ao]s?|errad[ao]|sbagliat[ao]|неверн\w+|неправильн\w+|nicht|pas|não|не"
)
_GOOD = (
    r"correct|right|best|accurate|yes|fits|matches|satisf\w+|works|holds|wins?|winner|the\sanswer|my\s(?:final\s)?(?:answer|choice|pick)|the\sonly|for\ssure|definitely|"
    r"makes?\s(?:the\smost\s|more\s|perfect\s)?sense|left|remains|stands|better|it\sis$|what\si|strong(?:er|est)|preferable|stimmt|"
    rf"richtig|korrekt|juste|exacte?|correct[ao]s?|corrett[ao]|верн\w+|правильн\w+|{MOST}"
)
_SIGN_BAD, _SIGN_GOOD = "(?:[✗✘❌×❎🚫]|誤り|错误|不正确|틀)", "(?:[✓✔✅☑👍]|正しい|正解|正确|정답|맞)"
_VERDICT = re.compile(rf"(?P<bad>\b(?:{_BAD})\b|n't\b|{_SIGN_BAD})|(?P<good>\b(?:{_GOOD})\b|{_SIGN_GOOD})")
_ENTRY_VERDICT = re.compile(
    r"^\W*(?:(?:this\s)?(?:is|are|looks?|seems?)\s)?(?:the\s|also\s|clearly\s)?"
    rf"(?:(?P<bad>(?:{_BAD})\b|{_SIGN_BAD})|(?P<good>(?:{_GOOD})\b|{_SIGN_GOOD}))|"
    rf"(?:(?P<bad_end>{_SIGN_BAD})|(?P<good_end>{_SIGN_GOOD}))\W*$"
)
_PRAISE = re.compile(rf"\b(?:correct|right|best|accurate|{MOST}|strongest)\b|(?:{CORRECT})")
_LEADS = re.compile(
    r"(?:\b(?:so|thus|hence|therefore|must\sbe|leaves(?:\sus\swith)?|leaving|choose|chose|pick|select|go\s(?:for|with)|"
    r"going\swith|say|correction|confident\sin|listed\sas|labell?ed|marked|making\sit|namely|i\.e\.,?|sondern|sino|finally|actually|"
    r"corresponds?\sto|matches|matching|gives|i'd|that's|it's|which\sis|this\sis|that\sis|prefer|would\sbe|should\sbe|"
    r"what|only|argue\sfor|lean(?:ing)?\s(?:towards?|to)|settled?\son|(?:vote|opt)\sfor|favou?r|also|daher|somit|folglich|donc|entonces|luego|quindi|dus|portanto|logo|zatem|więc|значит|итак|"
    r"chọn|wybieram|elijo|escolho|scelgo|choisis|wähle|kies|väljer|velger|vælger|выбираю|pilih)|なので|ので|だから|よって|所以|因此|므로|따라서|选|選|"
    r"[→⇒:]|[=-]>|(?<=[\"'])\s=|\\rightarrow|\\implies)\W{0,6}(?:(?:only|clearly|the|an?|just|then|be|is|it|for)\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"\b(?:if|could|might|may|possib\w+|unless|whether|suppose|assum\w+|consider\w*|perhaps|maybe|either|"
    r"let's|let\sme|look(?:ing)?\sat|check\w*|examin\w+|analy[sz]\w+|test\w*|evaluat\w+|try|"
    r"(?:some|many|most|other|few)\s(?:people|students|readers|users)|(?:start|begin)(?:ing)?\s(?:with|by)|who\s(?:chose|picked|selected|answered|said|choose|pick|select|say)|approach|(?<!is\sthe\s)definition|step\s\d|doubt\w*|(?:some|others|people|many|you|one)\s(?:\w+\s)?(?:would|will))\b"
)
_BETWEEN = re.compile(r"\b(?:between|entre|zwischen|tra|fra|tussen|między|между)\s[^,;]{0,40}$|\bboth\s\W{0,3}$")
_TELLS = re.compile(r"\W*(?:says?|refers?|describes?|is\sabout|talks?|(?:is|are)\san?)\b")  # "Option B refers to ..."
_IF = re.compile(r"\W*if\b")
_UNREAL = re.compile(
    r"\b(?:example|sample)\s(?:answer|response|output)\b|\b(?:user|students?|candidate|he|she|they)\s(?:\w+\s)?(?:chose|picked|selected|answered|said|wrote)\b|\bif\b.{0,60}\b(?:were|had)\b"
)
_BOTH = re.compile(r"\bboth\s\W{0,3}(?:options?\s)?\W{0,3}\Z")
_SO = re.compile(r",\s(?:so|thus|therefore|hence)\b")
_NEAR = re.compile(r"[,:]\s")
CLAUSE = re.compile(
    r"[;—]|,\s(?=(?:sondern|sino|mais|ma|mas|но|а)\s)|\s[-–]\s|,\s(?:but|while|whereas|since|because|so|not|which|although|though|unlike|where|whose|when|as|and\sso|hence|thus|da|"
    r"weil|car|porque|perché|denn)\b|\s(?:but|while|whereas|because|since|although|though)\s|[.!?]\s"
)
_ENTRY = re.compile(
    r"[\s|*_>+•\-–]{0,8}(?:\(?(?:[A-Za-z]|[1-9](?=[.)]\s))[).:|]|[A-Z]\s[-–—]\s|(?i:option|choice|answer|solution)\s\(?[A-Za-z1-9]\)?\s?[:.\-–—(])"
)
_ENTRY_HEAD = 16
_OFFER = re.compile(
    r"\W*(?:(?:the|answer|possible|available)\s){0,2}(?:options|choices|answers|alternatives|optionen|opciones|opções|opzioni)\b[^:\n]{0,30}:"
)
_ALL_BUT = re.compile(
    r"\b(?:all|every|each|alle|tou(?:te)?s|tod[oa]s|tutt[ei])\b[^.;]{0,30}\b(?:except|but|other\sthan|besides|apart\sfrom|außer|sauf|salvo|excepto|menos|tranne)\s(?:for\s)?"
    r"(?:option\s|choice\s|answer\s)?\W*$"
)


class Said(NamedTuple):
    """What a sentence says of options.

    Attributes:
        place: where the sentence stands.
        entry: whether it is an entry of a list of options.
        good: what it speaks for.
        bad: what it speaks against.
        bare: what it only names.
        open: what it leaves open.
    """

    place: tuple[int, int]
    entry: bool
    good: list[Mention]
    bad: list[Mention]
    bare: list[Mention]
    open: list[Mention]


def said_in(page: Page, place: tuple[int, int], options: Options) -> Said:
    """What one sentence says of the options that it names."""
    named = mentions(page, place, options)
    if _OFFER.match(page.lower, *place):
        return Said(place, entry=False, good=[], bad=[], bare=[], open=named)
    entry = _is_entry(page.clear, *place)
    said = Said(place, entry, [], [], [], [])
    kinds = {"good": said.good, "bad": said.bad, "bare": said.bare, "open": said.open}
    for number, mention in enumerate(named):
        after = behind(page, mention, _until(page, mention, named[number + 1 :], place[1]), options)
        in_head = entry and mention.start - place[0] < _ENTRY_HEAD
        before = clause_before(page, mention, place[0])
        leads = _LEADS.search(page.clear, max(mention.head - 60, place[0]), mention.head) is not None
        leads = leads or _is_result(page, mention, place[0])
        kinds[_verdict(before, after, leads=leads, entry=in_head)].append(mention)
    told = {m.option for m in (*said.good, *said.bad)}
    bare = [m for m in said.bare if m.option not in told or _is_reached(page, m, said.bad)]
    pairs = [m for m in said.open if _BOTH.search(page.lower, place[0], m.head)]  # "both A and C"
    left_open = [m for m in (*bare, *said.good) if any(joined(page, o, m) for o in pairs)]
    bare = [m for m in bare if m not in left_open]
    good = [m for m in said.good if m not in left_open]
    together = [m for m in bare for g in good if joined(page, g, m)]  # "so the mantle and the crust differ"
    return said._replace(bare=bare, good=[*good, *together], open=[*said.open, *left_open])


def _is_reached(page: Page, mention: Mention, bad: list[Mention]) -> bool:
    """Whether what is said against an option leads to it: "Nitrogen is not a noble gas, so the odd one is A."."""
    return any(m.option == mention.option and _SO.search(page.lower, m.end, mention.head) for m in bad)


def _is_result(page: Page, mention: Mention, start: int) -> bool:
    """Whether an option in words, no value of code, stands behind an equals sign ("antlers = moose")."""
    word = page.lower[mention.start : mention.end]
    return (
        not mention.letter
        and word[0].isalpha()
        and word not in COMMON
        and page.clear.endswith("= ", start, mention.head)
    )


def _is_entry(clear: str, start: int, end: int) -> bool:
    """Whether a sentence is an entry of a list of options: a letter and its mark, and more than those on the line."""
    if not _ENTRY.match(clear, start, end + 2):
        return False
    rest = clear[end + 1 : end + 80].split("\n", maxsplit=1)[0]
    return len(clear[start:end].strip(" \n*_()")) > 1 or bool(rest.strip(" *_)"))


def clause_before(page: Page, mention: Mention, start: int) -> str:
    """What stands before an option in its clause, in lower case."""
    head = start
    for match in CLAUSE.finditer(page.lower, start, mention.head):
        head = match.start() if match[0].endswith(("not", "unlike")) else match.end()
    return page.lower[head : mention.head]


def behind(page: Page, mention: Mention, within: tuple[int, int], options: Options) -> str:
    """What follows an option and is said of it, its own text left out, in lower case."""
    at, end = within
    own = options.texts[mention.option].lower().strip(" .") if at == mention.end else ""
    text = page.lower.find(own, at, at + len(own) + 6) if own else -1
    return page.lower[text + len(own) if text >= 0 else at : end]


def _until(page: Page, mention: Mention, others: list[Mention], end: int) -> tuple[int, int]:
    """Where what is said of an option begins and ends: "A and B are wrong" is said of both."""
    at = mention.end
    before = mention
    for other in others:
        if other.option == mention.option:
            continue
        if not joined(page, before, other):
            return at, other.head
        before, at = other, other.end
    return at, end


def _verdict(before: str, after: str, *, leads: bool, entry: bool) -> Literal["good", "bad", "bare", "open"]:
    """What is said of an option by what stands around it."""
    clause = None if entry else CLAUSE.search(after)
    after = after if entry else after[: clause.start() if clause else _FAR]
    near = _NEAR.split(before)[-1]
    told = (_ENTRY_VERDICT if entry else _VERDICT).search(after)
    if _ALL_BUT.search(before):
        return "good" if told and told["bad"] and "." not in after[: told.start()] else "bad"
    if _BAD_BEFORE.search(before) or (told and (told["bad"] or told.groupdict().get("bad_end"))):
        return "bad"
    if (
        _UNREAL.search(before)
        or _OPEN.search(near)
        or _BETWEEN.search(near)
        or (not entry and (_OPEN.search(after) or _TELLS.match(after)))
    ):
        return "open"
    if told or leads or (not entry and _PRAISE.search(near)):
        return "good"
    return "open" if _IF.match(before) and ", then " not in before else "bare"
