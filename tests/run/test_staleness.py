import pytest

from asyncopt import InputError
from asyncopt.run import staleness


@pytest.mark.parametrize(
    ("rule", "num_updates", "delay", "label"),
    [
        (0, 1000, 0, "0"),
        (20, 1000, 20, "20"),
        ("K**0.25", 10_000, 10, "K^1/4"),
        ("K**1/4", 10_000, 10, "K^1/4"),
        ("K^1/4", 10_000, 10, "K^1/4"),
        ("2*K**0.5", 10_000, 200, "2 K^1/2"),
        ("0.5 * K ** 0.625", 1000, 37, "0.5 K^5/8"),
        ("K**0", 1000, 1, "1"),
        ("K**1", 7, 7, "K^1"),
    ],
)
def test_rules(rule, num_updates, delay, label):
    parsed = staleness.parse(rule)
    assert parsed(num_updates) == delay
    assert parsed.label == label


@pytest.mark.parametrize(
    "rule", ["", "fast", "K", "K**", "K**-1", "K**1/0", "-2*K**0.5", "K**0.25+1", -1, 2.5, True, None]
)
def test_anything_else_is_refused(rule):
    with pytest.raises(InputError, match="staleness is"):
        staleness.parse(rule)
