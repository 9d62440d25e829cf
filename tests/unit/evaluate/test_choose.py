"""The metric that is taken where the recipe names none."""

import pytest

from promptmill.evaluate.choose import auto, metric_of
from promptmill.records import Reference


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (Reference(tests=("assert add(1, 2) == 3",)), "code"),
        (Reference(answer="bat", choices=("trout", "bat")), "em_mc"),
        (Reference(answer="42"), "math"),
        (Reference(answer="15th place"), "math"),
        (Reference(answer=r"\frac{1}{2}"), "math"),
        (Reference(answer=r"\text{Evelyn}"), "math"),
        (Reference(answer="x^2+1"), "math"),
        (Reference(answer="(1, 2)"), "math"),
        (Reference(answer="November 25, 2018"), "math"),
        (Reference(answer="Michio Sugeno"), "exact"),
        (Reference(answer="Paris, France"), "exact"),
        (Reference(answer="the symbol ×"), "exact"),  # noqa: RUF001 - as in NQ-open
        (Reference(answer="many", aliases=("42",)), "math"),
        (Reference(), "exact"),
    ],
)
def test_the_metric_fits_the_reference(reference, name):
    assert metric_of(reference) == name


def test_auto_judges_each_row_by_its_own_metric_and_ends_their_processes():
    metric = auto(workers=1)
    assert metric(Reference(answer="bat", choices=("trout", "bat")), "B").method == "em_mc"
    assert metric(Reference(answer="5"), "5.0").method == "number"
    assert metric(Reference(answer=r"\sqrt{8}"), r"2\sqrt{2}").method == "math_verify"
    text = metric(Reference(answer="Michio Sugeno"), "Sugeno")
    assert (text.value, text.method, text.settled) == (0.0, "exact", False)
    metric.close()
