import json
import os
from pathlib import Path

import pytest

from promptmill.errors import ConfigError, DataError
from promptmill.records import Reference
from promptmill.sources.problems import problems

CHOICE = {"unique_id": "a", "question": "Which is a mammal?", "choices": ["trout", "bat", "wren"]}


@pytest.fixture
def file(tmp_path):
    def write(*rows, name="p.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.mark.parametrize(
    "right",
    [
        {"choice_index_correct": 1},
        {"answer_correct": "B"},
        {"answer_correct": "(b)"},
        {"answer_correct": " Bat "},
        {"answer_correct": "bat", "choice_index_correct": 1.0},
        {"answer_correct": "B", "choice_index_correct": "1"},
    ],
)
def test_the_right_option_may_be_told_by_index_letter_or_text(file, right):
    (prompt,) = problems(path=file(CHOICE | right))
    assert (prompt.id, prompt.text) == ("a", "Which is a mammal?")
    assert prompt.reference == Reference(answer="bat", choices=("trout", "bat", "wren"))
    assert prompt.meta == {"choice_index_correct": 1}


def test_an_open_problem_keeps_its_category_and_explanation_and_gets_an_id_by_content(file):
    row = {
        "question": "2 + 2?",
        "choices": None,
        "explanation_correct": "count",
        "answer_correct": 4,
        "category": "sum",
    }
    (first,) = problems(path=file(row))
    (again,) = problems(path=file(row, name="q.jsonl"))
    assert first.id == again.id
    assert len(first.id) == 16
    assert (first.reference.answer, first.meta) == ("4", {"category": "sum", "explanation_correct": "count"})


def test_an_option_that_is_itself_a_letter_is_taken_by_its_text(file):
    (prompt,) = problems(path=file({"question": "?", "choices": ["b", "a"], "answer_correct": "a"}))
    assert prompt.meta["choice_index_correct"] == 1


def test_code_is_judged_by_a_list_of_asserts_or_by_humanevals_check(file):
    mbpp = {"task_id": 1, "text": "Add.", "test_list": ["assert add(1, 2) == 3"]}
    human = {
        "task_id": "H/0", "prompt": "def f(x):\n", "entry_point": "f", "test": "def check(c):\n    assert c(1) == 1\n",
    }  # fmt: skip
    first, second = problems(path=file(mbpp, human))
    assert (first.id, first.reference.tests) == ("1", ("assert add(1, 2) == 3",))
    assert second.reference.tests == ("def check(c):\n    assert c(1) == 1\n\n\ncheck(f)",)
    assert (second.reference.entry_point, second.reference.setup) == ("f", "def f(x):\n")


def test_humaneval_that_calls_its_own_check_names_its_function_there(file):
    row = {"task_id": "Python/0", "prompt": "def f(x):\n", "test": "def check(f):\n    assert f(1) == 1\n\ncheck(f)\n"}
    (prompt,) = problems(path=file(row))
    assert prompt.reference.tests == (row["test"],)
    assert (prompt.reference.entry_point, prompt.reference.setup) == ("f", "def f(x):\n")


def test_what_mbpp_runs_before_its_tests_is_run_before_them(file):
    row = {
        "task_id": 1, "text": "Depth.", "test_list": ["assert depth(root) == 1"], "test_imports": ["import math"],
        "test_setup_code": "root = Node(1)", "challenge_test_list": ["assert depth(None) == 0"],
    }  # fmt: skip
    (prompt,) = problems(path=file(row))
    assert prompt.reference.tests == ("import math", "root = Node(1)", "assert depth(root) == 1")
    assert prompt.reference.setup is None


def test_tables_hold_lists_as_json(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('question,choices,choice_index_correct,answer_correct\n"Q?","[""x"", ""y""]",1,\n"R?",,,7\n')
    first, second = problems(path=str(path))
    assert (first.reference.choices, first.reference.answer) == (("x", "y"), "y")
    assert (second.reference.choices, second.reference.answer) == ((), "7")


def test_tables_with_nulls_write_an_index_as_a_float(tmp_path):
    path = tmp_path / "p.csv"  # as pandas writes it
    path.write_text('question,choices,choice_index_correct,answer_correct\nQ?,"[""x"", ""y""]",1.0,\nR?,,,7\n')
    first, _ = problems(path=str(path))
    assert (first.reference.answer, first.meta["choice_index_correct"]) == ("y", 1)


@pytest.mark.parametrize(
    ("choices", "answer", "index", "right"),
    [
        (["O", "A", "B"], "B", 1, 1),  # the letter of one and the text of another: the index settles it
        (["O", "A", "B"], "B", 2, 2),
        (["O", "A", "B"], "B", None, 2),
        (["x", "x", "y"], "x", 1, 1),
        (["trout", "bat"], "B. bat", None, 1),
        (["trout", "bat"], "(b) Bat", None, 1),
        (["trout", "bat"], " (B) ", None, 1),
    ],
)
def test_the_right_option_is_named_by_its_text_its_letter_or_both(file, choices, answer, index, right):
    row = {"question": "?", "choices": choices, "answer_correct": answer, "choice_index_correct": index}
    (prompt,) = problems(path=file(row))
    assert (prompt.meta["choice_index_correct"], prompt.reference.answer) == (right, choices[right])


WRONG = {
    "contradicts": (CHOICE | {"answer_correct": "A", "choice_index_correct": 1}, "'A' is option A, and choice_index"),
    "out of range": (CHOICE | {"choice_index_correct": 3}, "choice_index_correct is 3, and there are 3 choices"),
    "negative": (CHOICE | {"choice_index_correct": -1}, "choice_index_correct is -1"),
    "no such option": (CHOICE | {"answer_correct": "whale"}, "is no letter and no text of the choices"),
    "letter too far": (CHOICE | {"answer_correct": "D"}, "is no letter and no text of the choices"),
    "two like it": (CHOICE | {"choices": ["bat", "Bat", "wren"], "answer_correct": "bat"}, "text of several choices"),
    "letter of another": (CHOICE | {"answer_correct": "A. bat"}, "is no letter and no text of the choices"),
    "empty answer": ({"question": "?", "answer_correct": " "}, "nothing says what is right"),
    "nothing right": ({"question": "?"}, "nothing says what is right"),
    "no question": ({"answer_correct": "4"}, "A problem needs its question"),
    "empty question": ({"question": " ", "answer_correct": "4"}, "holds an empty text, not a question"),
    "null question": ({"question": None, "answer_correct": "4"}, "column 'question' is null. A problem needs its"),
    "null in choices": (CHOICE | {"choices": ["a", None]}, "column 'choices' holds null in its list, not a text"),
    "index without choices": (
        {"question": "?", "options": ["a", "b"], "answer_correct": "a", "choice_index_correct": 0},
        "choice_index_correct is 0, and there are no choices",
    ),
    "same problem twice": (
        {"question": "fine?", "answer_correct": "yes"},
        "is the same problem as p.jsonl:1, and has no unique_id. Give",
    ),
    "one choice": ({"question": "?", "choices": ["a"], "answer_correct": "A"}, "has 1 options"),
    "empty choices": ({"question": "?", "choices": [], "answer_correct": "A"}, "has 0 options"),
    "27 choices": ({"question": "?", "choices": [str(n) for n in range(27)], "answer_correct": "A"}, "has 27 options"),
    "empty choice": (CHOICE | {"choices": ["a", ""], "answer_correct": "A"}, "holds an empty text"),
    "wrong type": (CHOICE | {"choices": {"a": 1}, "answer_correct": "A"}, "holds an object, not a list of texts"),
    "wrong index": (CHOICE | {"choice_index_correct": "one"}, "holds a text, not a number from 0"),
    "a list": ([1], "is a list, not an object"),
    "answer object": ({"question": "?", "answer_correct": {"a": 1}}, "holds an object, not an answer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_named_with_its_line(file, name):
    row, said = WRONG[name]
    with pytest.raises(DataError) as caught:
        list(problems(path=file({"question": "fine?", "answer_correct": "yes"}, row)))
    assert said in str(caught.value)
    assert "p.jsonl:2: " in str(caught.value)


def test_an_id_that_stands_twice_is_named_with_both_places(file):
    row = {"unique_id": "x", "question": "?", "answer_correct": "1"}
    with pytest.raises(DataError, match=r"p\.jsonl:2: the id 'x' stands at p\.jsonl:1 already"):
        list(problems(path=file(row, row)))


def test_an_id_that_stands_twice_is_found_in_files_of_one_name(file, tmp_path):
    row = {"unique_id": "x", "question": "?", "answer_correct": "1"}
    paths = []
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        paths.append(file(row | {"question": folder}, name=f"{folder}/0.jsonl"))
    with pytest.raises(DataError, match=r"test/0\.jsonl:1: the id 'x' stands at 0\.jsonl:1 already\. Give each"):
        list(problems(path=paths))


def test_an_empty_id_of_a_table_is_none(tmp_path):
    (tmp_path / "p.csv").write_text("unique_id,question,answer_correct\n,1 + 1?,2\nb,2 + 2?,4\n,3 + 3?,6\n")
    first, named, last = problems(path=str(tmp_path / "p.csv"))
    assert named.id == "b"
    assert first.id
    assert last.id not in {"", first.id}


def test_rows_that_contradict_themselves_are_dropped_and_counted_when_the_recipe_says_so(file, caplog):
    path = file({"question": "fine?", "answer_correct": "yes"}, CHOICE | {"choice_index_correct": 9})
    assert [prompt.text for prompt in problems(path=path, contradictions="drop")] == ["fine?"]
    assert "1 problems contradict themselves and were dropped, the first: p.jsonl:2" in caplog.text
    with pytest.raises(DataError, match="no problem is left"):
        list(problems(path=file(CHOICE | {"choice_index_correct": 9}), contradictions="drop"))


def test_the_first_n_are_taken(file):
    path = file(*({"question": f"{n}?", "answer_correct": "1"} for n in range(5)))
    assert [prompt.text for prompt in problems(path=path, n=2)] == ["0?", "1?"]


def test_less_than_one_problem_is_refused(file):
    with pytest.raises(ConfigError, match=r"source\.n: 0: is no number of problems\. Give 1 or more, or all\."):
        list(problems(path=file({"question": "?", "answer_correct": "1"}), n=0))


def test_a_text_where_a_list_of_tests_belongs_is_sent_to_the_column_of_humaneval(file):
    row = {"prompt": "def f():\n", "tests": "def check(candidate): ...", "entry_point": "f"}
    with pytest.raises(DataError, match=r"column 'tests' is no list\. .* HumanEval's text goes into 'test'\."):
        list(problems(path=file(row)))


def test_the_real_problem_files_are_read_whole():
    folder = Path(os.environ.get("PROMPTMILL_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (folder / "problems").exists():
        pytest.skip("the local data is not here")
    both = list(problems(path=str(folder / "problems" / "math_500_and_MMLU_pro_validation.jsonl")))
    assert len(both) == 1253
    assert sum(bool(prompt.reference.choices) for prompt in both) > 700
    assert len(list(problems(path=str(folder / "mbpp" / "mbpp.jsonl")))) == 974
    assert len(list(problems(path=str(folder / "humaneval" / "humaneval-python.jsonl")))) == 164
