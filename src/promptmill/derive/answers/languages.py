r"""How an answer is announced, in some thirty languages: the noun, and the word or sign between it and the answer.

A noun is looked for as a plain string, and what follows is matched at that place alone. So a long text costs a few
string searches and no search by pattern, and `Antwort: C` can never be read as the letter `A` and something else.

To add a language, add a line: the nouns in lower case, the words that mean "is", the endings that may cling to the
answer (the Japanese `です`, the Turkish `'dir`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Announcement(NamedTuple):
    """One noun and what may follow it.

    Attributes:
        noun: the word, in lower case.
        tail: matched behind the noun, in lower case; the answer begins at its end.
        ending: what clings to the end of an answer in this language, or None.
        spaced: whether words of the language are parted by blanks.
        label: whether the noun announces only where it is a label, or "final" or "correct" stands before it.
    """

    noun: str
    tail: re.Pattern[str]
    ending: re.Pattern[str] | None
    spaced: bool = True
    label: bool = False


_OPEN = r"[\s*_\"'`✅✔]{0,4}"
_SIGN = r"(?:[:=|]|→|->|=>|⇒|\s[-–—]{1,2}(?=\s))"
_EN_BE = (
    r"is|are|was|be|may be|might be|could be|should be|must be|"
    r"would be|will be|has to be|can only be|could only be|seems to be|appears to be|"
    r"turns out to be|comes out to be|comes out to|comes to|becomes|equals|remains|would then be|will then be|must "
    r"therefore be|should therefore be|would therefore be|ought to be|is equal to"
)
_EN_TAIL = re.compile(
    r"s?(?:\s(?:choice|option|letter|number|value))?"
    r"(?:\s(?:your|the|this)\squestion|"
    r"\s{0,2}[(\[][^()\[\]\n]{1,40}[)\]]|,\s?(?:therefore|then|thus|of course|hence|however|in this case|"
    r"in short|in the end),?"
    r"|\s(?:to|for|of)\s[^.:;!?\n=]{0,30}?\b(?:which|what|how|who|whose|where|when|why|whether)\b[^.:;!?\n=]{0,80}"
    r"|\s(?:to|for|of|in|from|among|between|here|that|therefore|then|thus|i|we|you|now|as)\b[^.:;!?\n=]{0,70}?)?"
    rf"{_OPEN}(?:\s(?=(?:cannot|can't|can not|could not) be )|(?<![a-z])(?:{_EN_BE})(?=[\s:*\"'($\\\[,|…]|\.\.|"
    rf"$)[\s*_]{{0,3}}:?|{_SIGN})"
)


def _tail(be: str, *, words: int = 3) -> re.Pattern[str]:
    """The pattern behind a noun: a few words, then `is` or a sign."""
    be = "|".join(sorted(be.split("|"), key=len, reverse=True))  # "est donc" before "est"
    be = rf"(?<![^\W\d_])(?:{be})(?=[\s:*\"'($\\\[,\d]|$)[\s*_]{{0,3}}:?|" if be else ""
    return re.compile(
        rf"(?:\s{{1,2}}[^\s.:;!?,=]{{2,20}}){{0,{words}}}?(?:\s{{0,2}}\([^()\n]{{1,40}}\))?{_OPEN}(?:{be}{_SIGN})"
    )


def _joined_tail(be: str) -> re.Pattern[str]:
    """The pattern behind a noun where words are not parted by blanks."""
    return re.compile(rf"(?:\([^()\n]{{1,20}}\))?{_OPEN}(?:(?:{be}){_OPEN}[:=]?|{_SIGN}|\]\s?[:=]?)")


_END_TR = re.compile(r"\s?'?(?:d[iıuü]r|t[iıuü]r|d[iı]r)\s?[.!]?$")
_END_JA = re.compile(
    r"\s?(?:です|である|だ|になります|となります|でしょう|になる|となる|であります|が正解(?:です)?)(?:よ|ね)?[。.]?$"
)
_END_KO = re.compile(r"\s?(?:입니다|이다|이에요|예요|임|가 됩니다|이 됩니다|번입니다)[.。]?$")
_END_HI = re.compile(r"\s?(?:है|हैं|होगा)[।.]?$")
_END_FA = re.compile(r"\s?(?:است|می‌باشد)[.۔]?$")
_END_ZH = re.compile(r"(?:选项)?[。.]?$")

_SPACED: list[tuple[str, str, re.Pattern[str] | None]] = [
    ("antwort antwortmöglichkeit", r"ist|lautet|wäre|sind|beträgt|heißt|war|ist also|ist somit", None),
    ("réponse reponse", r"est|sont|serait|sera|vaut|est donc|est alors", None),
    ("respuesta", r"es|son|sería|seria|será|es por tanto|es entonces|es igual a", None),
    ("resposta", r"é|e|são|seria|será|és|és l[ae']|é igual a", None),
    ("risposta", r"è|e'|é|sono|sarebbe|sarà|è quindi", None),
    ("antwoord", r"is|luidt|zijn|was|is dus", None),
    ("antwurd", r"is", None),
    ("odpowiedź odpowiedzią odpowiedz", r"to|jest|brzmi|wynosi|są", None),
    ("svar svaret", r"är|er|blir|är alltså|er derfor", None),
    ("vastaus", r"on", None),
    ("vastus", r"on", None),
    ("odpověď odpoveď odpovědí odpoveďou", r"je|zní|jsou|znie|tedy je", None),
    ("válasz", r"a|az|:", None),
    ("răspuns răspunsul raspuns raspunsul", r"este|e|sunt|va fi", None),
    ("ответ ответом", r"это|есть|равен|равна|будет|является|таков", None),
    ("відповідь відповіддю", r"це|є|дорівнює|буде", None),
    ("отговор отговорът", r"е", None),
    ("одговор", r"је", None),
    ("odgovor", r"je|glasi", None),
    ("απάντηση απαντηση", r"είναι|ειναι", None),
    ("atsakymas", r"yra", None),
    ("atbilde", r"ir", None),
    ("cevap cevabı cevabımız yanıt yanıtı", r"ise|şudur|olarak|şıkkı|", _END_TR),
    ("doğru seçenek|doğru şık", r"|", _END_TR),
    ("الإجابة الاجابة الجواب إجابة جواب الإجابه", r"هي|هو|هى|تكون|يساوي", None),
    ("پاسخ", r"برابر است با|", _END_FA),
    ("תשובה התשובה", r"היא|הוא|הינה", None),
    ("उत्तर जवाब", r"|", _END_HI),
    ("सही विकल्प|सही जवाब", r"|", _END_HI),
    ("উত্তর", r"হল|হলো|হচ্ছে", None),
    ("đáp án|câu trả lời|đáp số|kết quả", r"là|đúng là|sẽ là", None),
    ("jawaban jawabannya jawapan", r"adalah|ialah|yaitu|yakni", None),
    ("jibu", r"ni", None),
    ("sagot", r"ay", None),
    ("erantzuna", r"da|", None),
    ("ateb", r"yw|ydy", None),
    ("ergebnis resultaat", r"ist|is", None),
    ("résultat", r"est|est donc", None),
    ("resultado", r"es|é|é igual a", None),
    ("risultato", r"è", None),
    ("wynik", r"to|wynosi", None),
    ("результат", r"равен", None),
]
_OPTION_NOUNS = [  # for multiple choice only
    ("pick selection correct choose select", ""),
    ("guess", "is|would be"),
    ("richtig korrekt", r"ist|sind|wäre"),
    ("opción alternativa inciso", r"es|é|è|sería|seria"),
    ("opção", r"é|seria"),
    ("opzione", r"è|sarebbe"),
    ("optie", r"is"),
    ("alternativet", r"är|er"),
    ("opcja", r"to|jest"),
    ("вариант", r"это|является"),
    ("επιλογή", r"είναι"),
]
SIGN_NOUNS = frozenset(_OPTION_NOUNS[0][0].split())
"""Words that announce an option only at the beginning of a line: "Correct: C"."""
OPTION_NOUNS = frozenset(noun for nouns, _ in _OPTION_NOUNS for noun in nouns.split())
_LABELS = {
    "kết quả",
    "결과",
    "résultat",
    "resultado",
    "risultato",
    "ergebnis",
    "resultaat",
    "wynik",
    "результат",
}  # results on the way as well as at the end
RESULT_NOUNS = frozenset(("result", "output", *_LABELS))
"""Words that announce where they are a label, "final", or said last."""
_JOINED: list[tuple[str, str, re.Pattern[str] | None]] = [
    ("答案", r"(?:应该|应当|应|就|则|最终|确实|即|便)?(?:是|为|选|等于|如下|為)(?:选项|：)?", _END_ZH),
    ("答え 答 解答 回答 正解 こたえ 正答", r"は|が|:", _END_JA),
    ("정답 답 답안 해답 결과", r"\s?(?:은|는|이|가)(?=[\s:*\"'($\\\[\d])", _END_KO),
    ("ข้อที่ถูกต้อง ข้อที่ถูก", r"คือ", None),
    ("คำตอบ", r"(?:ที่ถูกต้อง|สุดท้าย)?\s?(?:คือ|ก็คือ|เท่ากับ)(?:ข้อ)?", None),
]


def _announcements() -> tuple[Announcement, ...]:
    german = re.compile(
        rf"{_OPEN}(?:lautet|beträgt|ist also|ist somit|ist daher)(?=[\s:*\"'($\\\[,\d]|$)[\s*_]{{0,3}}:?"
    )
    found = [Announcement(noun, german, None) for noun in ("lösung", "ergebnis")]
    found += [
        Announcement("answer", _EN_TAIL, None),
        Announcement(
            "ans", re.compile(rf"[.\s]{{0,2}}{_SIGN}|\.?\s?(?=\([a-z]\))|\.\s(?=[-+$\\\d]|[a-z](?!\w))"), None
        ),
    ]
    found.append(Announcement("tl;dr", re.compile(rf"{_OPEN}{_SIGN}?"), None))
    found.append(Announcement("answer", re.compile(r"\.\s(?=[-+$\\\d(]|[a-z](?!\w))"), None, label=True))
    for noun in ("option", "choice", "alternative", "conclusion", "result", "solution", "statement", "letter"):
        found.append(Announcement(noun, _EN_TAIL, None, label=True))
    found.append(Announcement("output", _EN_TAIL, None))
    found.append(Announcement("option", re.compile(r"\s(?:ist|est|är|er)(?=[\s:*\"'(])"), None, label=True))
    for nouns, be in _OPTION_NOUNS:
        found += [Announcement(noun, _tail(be), None, label=True) for noun in nouns.split()]
    for nouns, be, ending in _SPACED:
        tail = _tail(be.removesuffix("|"))
        if be.endswith("|"):  # the language needs no word for "is"
            tail = re.compile(
                rf"(?:{tail.pattern})|\s{{1,2}}(?:(?:विकल्प|گزینه|şık|seçenek)\s)?(?=[\"'*($\\\d\[]|[a-z](?![a-z]))"
            )
        split = nouns.split("|") if "|" in nouns else nouns.split()
        found += [Announcement(noun, tail, ending, label=noun in _LABELS) for noun in split]
    for nouns, be, ending in _JOINED:
        found += [Announcement(noun, _joined_tail(be), ending, spaced=False) for noun in nouns.split()]
    return tuple(found)


ANNOUNCEMENTS = _announcements()
_OTHERS = tuple((place, one) for place, one in enumerate(ANNOUNCEMENTS) if not re.fullmatch("[a-z]+", one.noun))
_BY_WORD: dict[str, list[tuple[int, Announcement]]] = {}
for _place, _one in enumerate(ANNOUNCEMENTS):
    if re.fullmatch("[a-z]+", _one.noun):
        for _word in (_one.noun, f"{_one.noun}s"):
            _BY_WORD.setdefault(_word, []).append((_place, _one))
_WORDS = frozenset(_BY_WORD)


def announcements(lower: str, words: frozenset[str]) -> Iterator[Announcement]:
    """The announcements whose noun stands in a text."""
    found = {place: one for word in _WORDS & words for place, one in _BY_WORD[word]}
    plain = lower.isascii()
    found |= {place: one for place, one in _OTHERS if (not plain or one.noun.isascii()) and one.noun in lower}
    yield from (found[place] for place in sorted(found))


# Nouns that may stand right before a letter ("Antwort B", "Option C"), for multiple choice
BEFORE_LETTER = (
    r"option|options|choice|answer|alternative|letter|statement|number|selection|antwort|antwortmöglichkeit|möglichkeit|buchstabe|"
    r"aussage|opción|opcion|alternativa|respuesta|inciso|opção|opcao|resposta|letra|opzione|risposta|lettera|réponse|"
    r"reponse|proposition|l'option|la réponse|la opción|a opção|antwoord|optie|svar|svarsalternativ|"
    r"alternativ|odpowiedź|opcja|wariant|вариант|ответ|буква|пункт|варіант|відповідь|odpověď|možnost|možnosť|"
    r"vastaus|vaihtoehto|varianta|răspunsul|"
    r"seçenek|şık|cevap|الخيار|خيار|الإجابة|الحرف|گزینه|विकल्प|选项|選項|选择|選択肢|보기|선택지|đáp án|"
    r"phương án|opsi|pilihan|ข้อ|ตัวเลือก|επιλογή|אפשרות|תשובה"
)
MOST = (
    r"most\s(?:likely|appropriate|accurate|plausible|suitable|reasonable|probable|logical|consistent|sensible|fitting|natural|"
    r"correct|relevant|compelling|convincing|apt)"
)
CORRECT = (
    rf"(?:the\s)?(?:only\s)?(?:{MOST}|correct|right|best|answer|accurate|true answer|winner)\b|"
    r"(?:richtig|korrekt|die richtige|die korrekte|stimmt|trifft zu)\b|"
    r"(?:correcte?|la bonne|la réponse|juste|exacte?)\b|"
    r"(?:la\s)?(?:correct[ao]|respuesta)\b|(?:a\s)?(?:correta|resposta)\b|corrett[ao]\b|la risposta\b|juist\b|"
    r"rätt\b|riktig\b|poprawn[ay]\b|prawidłow[ay]\b|správn[áě]\b|верн\w{1,4}\b|правильн\w{1,4}\b|doğrudur|doğru\b|"
    r"正确|正解|정답|صحيح|صحيحة|सही|benar\b|đúng"
)
