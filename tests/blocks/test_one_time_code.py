"""One-time codes against the vectors of RFC 6238, and everything that is no code."""

import pytest

from blocks.errors import WrongCode
from blocks.one_time_code import NO_STEP, confirm, new_seed, read_code, step_of

RFC_SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""`12345678901234567890`, as the RFC's appendix B has it, in Base32."""
RFC_VECTORS = {
    59: "287082",
    1_111_111_109: "081804",
    1_111_111_111: "050471",
    1_234_567_890: "005924",
    2_000_000_000: "279037",
    20_000_000_000: "353130",
}
"""Unix time → the last six of its eight digits."""


@pytest.mark.parametrize(("now", "code"), RFC_VECTORS.items())
def test_the_vectors_of_the_rfc(now: int, code: str) -> None:
    assert step_of(RFC_SEED, code, now) == now // 30


@pytest.mark.parametrize(("drift", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_clock_may_be_off_by_one_step(drift: int, accepted: bool) -> None:
    step = 1_111_111_109 // 30
    found = step_of(RFC_SEED, "081804", step * 30 + drift)
    assert found == (step if accepted else NO_STEP)


def test_spaces_between_the_digits_do_not_matter() -> None:
    assert confirm(RFC_SEED, " 081 804 ", 1_111_111_109) == 1_111_111_109 // 30


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "08180", "0818040", "08180a", "-81804", "+81804", "0x8180", "081804\n", "081\t804", "081\u00a0804"),
        *("٠٨١٨٠٤", "\uff10\uff18\uff11\uff18\uff10\uff14", "⁰⁸¹⁸⁰⁴", "08180\u0664", "081804\x00", "\ud800" * 6),
        *("{{ 81804 }}", "{% raw %}", "' OR 1 = 1", "081804" * 1700),
    ],
    ids=ascii,
)
def test_anything_else_is_a_wrong_code(text: str) -> None:
    with pytest.raises(WrongCode) as refused:
        read_code(text)
    assert str(refused.value) == (
        "This code is not one of that name now: it is wrong, too old or was used before."
        " Look at the name, wait for the next code and enter that one. Nothing was changed."
    )


def test_a_seed_has_160_bits_and_is_never_the_same() -> None:
    seeds = {new_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert {len(seed) for seed in seeds} == {160 // 5}
