"""RFC 9111 section 4.2: freshness lifetime, age, stale responses. One test a sentence."""

from __future__ import annotations

import pytest

from neuro.http.dates import format_date
from neuro.http.fields import Fields
from neuro.http.freshness import (
    Freshness,
    HeuristicRule,
    compute_freshness,
    corrected_initial_age_s,
    parse_age_s,
)

NOW_S = 1_700_000_000


def freshness(*lines: tuple[str, str], status: int = 200, **options: object) -> Freshness:
    fields = Fields((name.encode(), value.encode()) for name, value in lines)
    arguments: dict[str, object] = {"request_time_s": NOW_S, "response_time_s": NOW_S, **options}
    return compute_freshness(status, fields, **arguments)  # type: ignore[arg-type]


def date(offset_s: int) -> str:
    return format_date(NOW_S + offset_s).decode()


def test_4_2_1_max_age_is_the_lifetime() -> None:
    result = freshness(("Cache-Control", "max-age=60"))
    assert (result.lifetime_s, result.source, result.is_explicit) == (60, "max-age", True)


@pytest.mark.parametrize(
    "value",
    ["max-age=0, s-maxage=60", "s-maxage=60, max-age=0", "max-age=3600, S-MaxAge=60"],
)
def test_4_2_1_s_maxage_precedes_max_age_in_a_shared_cache(value: str) -> None:
    assert freshness(("Cache-Control", value)).lifetime_s == 60


def test_4_2_1_s_maxage_precedes_max_age_over_several_lines() -> None:
    result = freshness(("Cache-Control", "max-age=3600"), ("Cache-Control", "s-maxage=1"))
    assert result.lifetime_s == 1


def test_5_3_max_age_precedes_expires() -> None:
    result = freshness(("Cache-Control", "max-age=0"), ("Expires", date(3600)), ("Date", date(0)))
    assert result.lifetime_s == 0
    result = freshness(("Cache-Control", "max-age=60"), ("Expires", "0"), ("Date", date(0)))
    assert result.lifetime_s == 60


def test_4_2_1_expires_minus_date_is_the_lifetime() -> None:
    assert freshness(("Expires", date(400)), ("Date", date(300))).lifetime_s == 100


def test_4_2_1_expires_before_date_is_stale() -> None:
    assert freshness(("Expires", date(300)), ("Date", date(400))).lifetime_s == 0


@pytest.mark.parametrize("value", ["0", "", "-1", "now", "Thu, 18 Aug 50 02:01:18 GMT"])
def test_5_3_an_invalid_expires_means_already_expired(value: str) -> None:
    result = freshness(("Expires", value), ("Date", date(0)))
    assert (result.lifetime_s, result.source, result.is_explicit) == (0, "expires", True)


def test_4_2_1_two_expires_lines_make_the_response_stale() -> None:
    assert freshness(("Expires", date(900)), ("Expires", date(900))).lifetime_s == 0


def test_9110_6_6_1_the_time_of_reception_stands_in_for_a_missing_or_invalid_date() -> None:
    assert freshness(("Expires", date(10))).lifetime_s == 10
    assert freshness(("Expires", date(10)), ("Date", "foo")).lifetime_s == 10


@pytest.mark.parametrize(
    "value",
    [
        "max-age=60, max-age=60",
        "max-age=1, max-age=60",
        "max-age",
        "max-age=",
        "max-age=-60",
        "max-age=60.5",
        "max-age=60a",
        "max-age=a60",
        "max-age='60'",
        "max-age =60",
        "max-age= 60",
        'max-age="60',
    ],
)
def test_4_2_1_malformed_or_repeated_max_age_makes_the_response_stale(value: str) -> None:
    result = freshness(("Cache-Control", value), ("Expires", date(900)), ("Date", date(0)))
    assert result.lifetime_s == 0


def test_4_2_1_repeated_max_age_over_two_lines_makes_the_response_stale() -> None:
    result = freshness(("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=60"))
    assert result.lifetime_s == 0


def test_5_2_both_token_and_quoted_arguments_are_accepted() -> None:
    assert freshness(("Cache-Control", 'max-age="60"')).lifetime_s == 60


def test_5_2_directive_names_compare_without_case() -> None:
    assert freshness(("Cache-Control", "MaX-aGe=60")).lifetime_s == 60


@pytest.mark.parametrize(
    "value", ['ext="max-age=3600", max-age=1', 'max-age=1, ext="a, max-age=3600"']
)
def test_5_2_a_directive_inside_a_quoted_string_is_text(value: str) -> None:
    assert freshness(("Cache-Control", value)).lifetime_s == 1


def test_5_2_3_unknown_directives_are_ignored() -> None:
    assert freshness(("Cache-Control", "foobar, x=1, max-age=60")).lifetime_s == 60


@pytest.mark.parametrize("value", ["2147483648", "2147483649", "99999999999", "9" * 5000])
def test_1_2_2_overflowing_delta_seconds_count_as_2_to_the_31(value: str) -> None:
    assert freshness(("Cache-Control", f"max-age={value}")).lifetime_s == 2**31


def test_1_2_2_leading_zeros_are_digits() -> None:
    assert freshness(("Cache-Control", "max-age=" + "0" * 5000 + "60")).lifetime_s == 60


@pytest.mark.parametrize("offset_s", [-1, 0])
def test_4_2_a_response_is_fresh_only_while_its_lifetime_exceeds_its_age(offset_s: int) -> None:
    result = freshness(("Cache-Control", "max-age=60"))
    assert (result.expires_s > NOW_S + 60 + offset_s) == (offset_s < 0)


def test_4_2_3_age_value_adds_to_the_age() -> None:
    result = freshness(("Cache-Control", "max-age=3600"), ("Age", "7200"), ("Date", date(0)))
    assert result.age_s(NOW_S) == 7200
    assert result.expires_s < NOW_S


def test_4_2_3_corrected_age_adds_the_delay_of_the_exchange() -> None:
    fields = Fields(((b"Age", b"10"),))
    assert corrected_initial_age_s(fields, NOW_S - 5, NOW_S) == 15


def test_4_2_3_the_larger_of_apparent_and_corrected_age_counts() -> None:
    slow = Fields(((b"Age", b"5"), (b"Date", format_date(NOW_S - 100))))
    assert corrected_initial_age_s(slow, NOW_S, NOW_S) == 100
    fast = Fields(((b"Age", b"5"), (b"Date", format_date(NOW_S + 100))))
    assert corrected_initial_age_s(fast, NOW_S, NOW_S) == 5


def test_4_2_3_a_clock_that_runs_backwards_gives_no_negative_delay() -> None:
    assert corrected_initial_age_s(Fields(), NOW_S + 9, NOW_S) == 0


def test_4_2_3_resident_time_adds_to_the_age() -> None:
    assert freshness(("Age", "5")).age_s(NOW_S + 7) == 12


@pytest.mark.parametrize(
    "values",
    [
        ["abc"], ["-7200"], ["7200.0"], ["0, 0"], ["7200;foo=bar"], [""],
        ["0", "0"], ["7200", "0"], ["0", "7200"],
    ],
)  # fmt: skip
def test_5_1_a_malformed_or_repeated_age_makes_the_response_stale(values: list[str]) -> None:
    lines = [("Age", value) for value in values]
    result = freshness(("Cache-Control", "max-age=3600"), *lines)
    assert (result.lifetime_s, result.source) == (0, "invalid-age")
    assert parse_age_s(Fields((b"Age", value.encode()) for value in values)) is None


@pytest.mark.parametrize(("value", "expected"), [("0,7200", 0), ("7200,0", 7200), ("5, 9", 5)])
def test_5_1_the_first_member_of_a_list_valued_age_counts(value: str, expected: int) -> None:
    assert parse_age_s(Fields(((b"Age", value.encode()),))) == expected


def test_4_2_2_no_heuristic_and_no_default_unless_the_policy_says_so() -> None:
    result = freshness(("Last-Modified", date(-100_000)), ("Date", date(0)))
    assert (result.lifetime_s, result.source) == (0, "none")
    assert freshness(default_ttl_s=30).lifetime_s == 30


def test_4_2_2_heuristics_must_not_be_used_when_an_explicit_time_is_present() -> None:
    result = freshness(
        ("Cache-Control", "max-age=1"), ("Last-Modified", date(-100_000)), heuristic=HeuristicRule()
    )
    assert result.lifetime_s == 1


def test_4_2_2_a_tenth_of_the_time_since_last_modified_is_the_heuristic() -> None:
    result = freshness(("Last-Modified", date(-1000)), ("Date", date(0)), heuristic=HeuristicRule())
    assert (result.lifetime_s, result.source, result.is_explicit) == (100, "heuristic", False)


def test_4_2_2_heuristics_need_a_cacheable_status_or_public() -> None:
    modified = ("Last-Modified", date(-1000))
    assert freshness(modified, status=500, heuristic=HeuristicRule()).lifetime_s == 0
    public = ("Cache-Control", "public")
    assert freshness(modified, public, status=500, heuristic=HeuristicRule()).lifetime_s == 100


@pytest.mark.parametrize(
    "directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"]
)
def test_4_2_4_explicit_directives_prohibit_stale_responses(directive: str) -> None:
    result = freshness(("Cache-Control", f"max-age=60, stale-if-error=9, {directive}"))
    assert not result.may_serve_stale
    assert result.stale_if_error_s == 0


def test_5861_windows_are_kept_where_stale_is_allowed() -> None:
    value = "max-age=60, stale-while-revalidate=30, stale-if-error=90"
    result = freshness(("Cache-Control", value))
    assert (result.stale_while_revalidate_s, result.stale_if_error_s) == (30, 90)


def test_5861_malformed_windows_are_no_windows() -> None:
    result = freshness(("Cache-Control", "max-age=60, stale-while-revalidate=x, stale-if-error"))
    assert (result.stale_while_revalidate_s, result.stale_if_error_s) == (0, 0)


def test_5_2_2_4_unqualified_no_cache_precedes_max_age() -> None:
    result = freshness(("Cache-Control", "max-age=60, No-CaChE"))
    assert (result.lifetime_s, result.source) == (0, "no-cache")


def test_5_2_2_4_qualified_no_cache_leaves_the_rest_fresh() -> None:
    assert freshness(("Cache-Control", 'no-cache="a, b", max-age=60')).lifetime_s == 60


def test_9213_2_2_a_valid_target_replaces_cache_control_and_expires() -> None:
    result = freshness(
        ("Cache-Control", "no-store, max-age=1"), ("CDN-Cache-Control", "max-age=60")
    )
    assert result.lifetime_s == 60
    result = freshness(("CDN-Cache-Control", "max-age=1"), ("Expires", date(900)))
    assert result.lifetime_s == 1
    result = freshness(("CDN-Cache-Control", "foo"), ("Expires", date(900)))
    assert result.lifetime_s == 0


@pytest.mark.parametrize("value", ["", "max-age=60,", "Max-Age=60", "max-age=60 x", "max-age=@"])
def test_9213_2_1_an_empty_or_invalid_target_is_ignored(value: str) -> None:
    result = freshness(("CDN-Cache-Control", value), ("Cache-Control", "max-age=7"))
    assert result.lifetime_s == 7


@pytest.mark.parametrize(
    "value", ["max-age=60.0", 'max-age="60"', "max-age=a", "max-age=-60", "max-age"]
)
def test_9213_2_1_values_of_the_wrong_type_are_not_consumed(value: str) -> None:
    result = freshness(("CDN-Cache-Control", value), ("Cache-Control", "max-age=7"))
    assert (result.lifetime_s, result.is_explicit) == (0, False)


def test_9213_2_1_parameters_are_ignored() -> None:
    assert freshness(("CDN-Cache-Control", "max-age=60;max-age=1")).lifetime_s == 60


def test_9213_2_2_no_cache_in_a_target_makes_max_age_inoperative() -> None:
    assert freshness(("CDN-Cache-Control", "max-age=60, no-cache")).source == "no-cache"
