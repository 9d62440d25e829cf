r"""Where a statement ends: at the end of its sentence or line, not inside `3.14`, `Dr. Smith`, `U.S.` or `$...$`.

`end_of` walks over the few characters at which a statement could end and asks each whether it does. Maths between
dollar signs, display maths, TeX groups and quotes are walked over as a whole, a quote or a dollar that is not closed
on its line counts for nothing. Nothing is looked at beyond 2,000 characters.

Not covered: whether what follows belongs to the answer; a clause of reasons is cut by `without_reasons`.
"""

from __future__ import annotations

import re

LONGEST = 2000
_STOPS = re.compile(
    r"\n|[.!?](?=[\s*_\"')\]<$]|$)|[。！？।۔]|\\\[|\\\(|\\begin\{|\$\$?|[\"`]|;\s|\{|<(?:/answer|br|/p)\b"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[Dd]r|Mr|Mrs|Ms|Mx|Prof|St|Mt|Ft|No|Nos|Nr|vs|Jr|Sr|Inc|Ltd|Co|Corp|Bros|approx|ca|e\.g|i\.e|z\.B|d\.h|"
    r"etc|[Ff]ig|[Ee]q|Gen|Col|Capt|Lt|Sgt|Maj|Adm|Rev|Hon|Gov|Sen|Rep|Pres|Ave|Blvd|Rd|cf|al|[Vv]ol|op|pp|[Cc]h|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|sq|min|max|sec|hr|ft|oz|lbs?|Univ|Dept|Est|[ap]\.m|Ph\.D|M\.D)"
    r"|(?:\b[A-Z]\.)*\b[A-Z])$"
)
_KEPT = re.compile(r"(?:\b(?:Jr|Sr|Inc|Ltd|Co|Corp|Bros|Esq|Ph\.D|M\.D|[ap]\.m)|\b(?:[A-Z]\.)+[A-Z])$")
_STARTER_WORDS = (
    "it this that these those the because since so therefore thus hence we he she they in i as if to however "
    "and but note there a an my you let here explanation reason also for first finally each when while what "
    "which who where how now then next step option choice answer question q problem both none all is are was "
    "only your please based given using since, although though after before with by on at from of its his her "
    "their our let's i'm it's that's "
)
_STARTERS = frozenset(_STARTER_WORDS.split())
_WORD = re.compile(r"\s*[*_\"'(]*([A-Za-z][A-Za-z']*|\S)?")
_REASON = re.compile(
    r"\s*(?:,\s*(?:which|who|whom|whose|whereas|where|while|so|but|as|since|because|not|rather than|"
    r"instead of|meaning|making|given|"
    r"giving|based|and (?:this|that is|it|therefore|not|so|thus|hence|we|i|you|that's)|that is|"
    r"thus|hence|therefore|due)\b"
    r"|,\s*i\.e\.|\b(?:because|since(?!\s+(?:1\d|20)\d\d)|given that|due to the fact|as (?:shown|we|it|this|they|"
    r"calculated|required|stated|per)|"
    r"so (?:that|the|we|it|i)|rather than|instead of|based on|according to|weil|da wir|car|porque|perch[eé])\b"
    r"|(?<=[\d$}%°])\s\((?:approximately|approx|about|roughly|rounded|or|the|in|to|where|when|≈)\b"
    r"[^()\n]{1,120}\)[.!\s]*$"  # "1/3 (about 0.33)"
    r"|\s\((?:since|because|it|he|she|they|this|as|i\.e\.|that is|which|see|from|rounded|note)\b|"
    r"\bwhich (?:is|was|means|equals|"
    r"can|gives|simplifies)\b|\s[—–]\s|\s--\s|，因为|，因此|，所以)",
    re.IGNORECASE,
)


def end_of(clear: str, start: int, limit: int) -> int:
    """Where the statement that begins at `start` ends, at most at `limit`."""
    limit = min(limit, start + LONGEST)
    at = start
    while stop := _STOPS.search(clear, at, limit):
        mark = stop[0]
        if mark[0] == "\n" or mark[0] == "<":
            return stop.start()
        if mark[0] in ".!?。！？।۔;":
            if _ends(clear, start, stop.start(), limit):
                kept = mark[0] == "." and (
                    clear.endswith("..", start, stop.start())
                    or _KEPT.search(clear, max(start, stop.start() - 24), stop.start())
                )
                return stop.start() + (1 if kept else 0)
            at = stop.end()
        else:
            at = _over(clear, stop, limit)
    return limit


def without_reasons(clear: str, start: int, end: int) -> int:
    """Where the answer ends and a clause of reasons begins ("5, because ...", "Paris, which is ...")."""
    if clear.startswith("that ", start) or clear.startswith(('"', "'", "“"), start):
        return end
    money = clear.count("$", start, end) % 2
    for reason in _REASON.finditer(clear, start + 1, end):
        if money or clear.count("$", start, reason.start()) % 2 == 0:
            return reason.start()
    return end


def _ends(clear: str, start: int, at: int, limit: int) -> bool:
    """Whether the mark at a place ends the sentence."""
    mark = clear[at]
    if mark in "。！？।۔;":
        return True
    word = _WORD.match(clear, at + 1, limit)
    follows = (word[1] or "") if word else ""
    if not follows or clear[at + 1 : at + 2] == "\n":
        return True
    if mark != ".":
        return True
    head = clear[max(start, at - 24) : at]
    abbreviation = _ABBREVIATION.search(head)
    if not abbreviation:
        return not (head.isdigit() and follows[0].islower() and len(head) < 3)
    return follows.lower() in _STARTERS and not follows[0].islower()


def _over(clear: str, opened: re.Match[str], limit: int) -> int:
    """The place behind the maths, group or quote that opens here; behind its mark where it is not closed."""
    mark = opened[0]
    at = opened.end()
    if mark == "{":
        closed = _group(clear, at, min(limit, at + 400))
        return at if closed is None else closed
    closing = {"\\[": "\\]", "\\(": "\\)", "\\begin{": "\\end{"}.get(mark, mark)
    found = clear.find(closing, at, limit)
    if found < 0:
        return at
    if mark in {"$", '"', "`", "\\("} and clear.find("\n", at, found) >= 0:
        return at
    if mark == "$" and (clear[at : at + 1].isspace() or (clear[at].isdigit() and clear[found - 1].isspace())):
        return at  # money: "$5 and $6"
    return found + len(closing)


def _group(clear: str, at: int, limit: int) -> int | None:
    depth = 1
    for brace in _BRACES.finditer(clear, at, limit):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    return None


_BRACES = re.compile(r"[{}]")
