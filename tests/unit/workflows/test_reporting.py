import pytest

from promptmill.workflows.reporting import files_of, vote


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000.0"),
        ("$18", "18.00"),
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac{a}{b}", r"\frac{a}{b}"),
        ("Eiffel Tower", "eiffel  tower."),
        ("B", "b"),
    ],
)
def test_answers_that_say_the_same_have_one_vote(one, other):
    assert vote(one) == vote(other)


@pytest.mark.parametrize(("one", "other"), [("18", "180"), ("50%", "50"), ("B", "C"), ("x+1", "x-1")])
def test_answers_that_differ_have_two(one, other):
    assert vote(one) != vote(other)


def test_a_text_without_end_is_a_vote_for_itself():
    assert vote("x" * 10**6) == "x" * 10**6


def test_the_files_stand_beside_one_another(tmp_path):
    assert [path.name for path in files_of(tmp_path / "m_d.jsonl")] == [
        "m_d.jsonl", "m_d_processed.jsonl", "m_d_summary.json",
    ]  # fmt: skip
