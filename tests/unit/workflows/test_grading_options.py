"""Which metric judges which problem, and where its options may stand."""

import msgspec
import pytest

from promptmill import config
from promptmill.errors import ConfigError
from promptmill.records import Reference
from promptmill.workflows.grading import GradeOptions

TESTS, TEXT = Reference(tests=("assert f() == 1",)), Reference(answer="4")


def options(**given):
    return config.check(config.Document({"grade": given}, {}, "recipe"), Recipe).grade


class Recipe(msgspec.Struct, kw_only=True):
    """A recipe of one section.

    Attributes:
        grade: how answers are judged.
    """

    grade: GradeOptions


def test_auto_judges_problems_with_tests_by_the_options_of_code():
    found = options(code={"timeout_s": 3})
    assert found.use_of(TESTS)["kind"] == "code"
    assert found.use_of(TESTS)["timeout_s"] == 3
    assert found.use_of(TEXT)["kind"] == "auto"


def test_options_of_code_hold_for_the_metric_code_wherever_they_stand():
    for given in (
        {"metric": "code", "code": {"timeout_s": 3}},
        {"metric": {"kind": "code", "timeout_s": 3}},
        {"metric": {"kind": "code", "timeout_s": 3}, "code": {"timeout_s": 3}},
    ):
        assert options(**given).use_of(TESTS)["timeout_s"] == 3
        assert options(**given).use_of(TEXT)["kind"] == "code"
    both = options(metric={"kind": "code", "timeout_s": 3}, code={"memory_mib": 100}).use_of(TESTS)
    assert (both["timeout_s"], both["memory_mib"]) == (3, 100)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"metric": {"kind": "code", "timeout_s": 3}, "code": {"timeout_s": 5}},
            r"recipe: grade: code\.timeout_s: is 5\.0, and metric\.timeout_s is 3\.0\. Keep one of them\.",
        ),
        (
            {"metric": "exact", "code": {"sandbox": "rlimits-only"}},
            r"recipe: grade: code: is not used, since metric is 'exact'\. Take it out, or take metric: auto\.",
        ),
        ({"metric": "code", "code": "exact"}, r"code: is not used, since metric is 'code'"),
    ],
)
def test_options_of_code_that_would_not_be_looked_at_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        options(**given)
