"""Claims, verdicts and standings: their laws, their round trips, and what bad input says."""

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unchecked import refused

from cloudchamber import DamagedFile
from cloudchamber.claims import Claim, Verdict, check, standing

laws = settings(derandomize=True, deadline=None, max_examples=200)
FIELDS = {
    "name": "ratio",
    "statement": "more than tenfold",
    "quantity": "S_primary / S_k",
    "basis": "the paper's words",
    "source": "mlp2024, Table 1",
}
numbers = st.floats(allow_nan=True, allow_infinity=True)
OVERS = ("every seed", "most seeds", "mean of seeds")


def claim(**more):
    return Claim(**{**FIELDS, "at_least": 10.0, **more})


def slow_every(claim, values):
    """The rule for every seed, in the plainest words."""
    if not values:
        return "not run"
    for value in values:
        if not math.isnan(value) and not claim.allows(value):
            return "holds not"
    whole = len(values) >= claim.seeds and not any(map(math.isnan, values))
    return "holds" if whole else "not decidable"


@laws
@given(st.lists(numbers, max_size=6), st.integers(1, 5))
def test_every_seed_is_what_the_plain_loop_says(values, seeds):
    one = claim(seeds=seeds)
    assert check(one, values).outcome == slow_every(one, values)


@laws
@given(st.lists(numbers, max_size=6), st.sampled_from(OVERS), st.randoms(use_true_random=False))
def test_the_order_of_the_seeds_is_of_no_account(values, over, random):
    one, shuffled = claim(over=over), list(values)
    random.shuffle(shuffled)
    first, second = check(one, values), check(one, shuffled)
    assert first.outcome == second.outcome or over == "mean of seeds"


@laws
@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=6), st.sampled_from(OVERS), st.floats(0, 1e6))
def test_wider_bounds_never_turn_holding_into_failing(values, over, wider):
    if check(claim(over=over), values).outcome == "holds":
        assert check(claim(over=over, at_least=10.0 - wider), values).outcome != "holds not"


@laws
@given(st.lists(numbers, min_size=1, max_size=6), st.sampled_from(OVERS))
def test_too_few_seeds_never_hold(values, over):
    assert check(claim(over=over, seeds=2 * len(values)), values).outcome != "holds"


@pytest.mark.parametrize("values", list(itertools.product([5.0, 15.0, math.nan], repeat=3)))
def test_most_seeds_cannot_be_turned_by_what_is_not_known(values):
    """Whatever the unknown numbers were, a decided verdict would have been the same."""
    one = claim(over="most seeds")
    outcome = check(one, values).outcome
    filled = [
        check(one, [v if not math.isnan(v) else f for v, f in zip(values, fill, strict=True)]).outcome
        for fill in itertools.product([5.0, 15.0], repeat=3)
    ]
    assert outcome in ("not decidable", filled[0])
    if outcome != "not decidable":
        assert set(filled) == {outcome}


def test_a_mean_nearer_to_the_bound_than_its_error_is_not_decidable():
    one = claim(over="mean of seeds")
    assert check(one, [11.0, 12.0, 13.0]).outcome == "holds"
    assert check(one, [9.0, 10.5, 11.0]).outcome == "not decidable"
    assert check(one, [1.0, 2.0, 3.0]).outcome == "holds not"
    assert check(one, [math.inf, 12.0, 13.0]).outcome == "holds"
    assert check(claim(over="mean of seeds", seeds=1), [10.0]).outcome == "holds"


def test_the_reason_says_what_was_missing():
    verdict = check(claim(), [12.0, math.nan, 13.0], why="no first phase")
    assert verdict.outcome == "not decidable"
    assert "2 seeds of 3" in verdict.reason
    assert "no first phase" in verdict.reason
    assert check(claim(), None, why="to be built").reason == "to be built"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "other"),
        ("statement", "tenfold"),
        ("quantity", "S"),
        ("basis", "ours"),
        ("source", "elsewhere"),
        ("at_least", 9.0),
        ("at_most", 99.0),
        ("paper", (10.9,)),
        ("over", "most seeds"),
        ("seeds", 1),
    ],
)
def test_whatever_is_changed_in_a_claim_changes_its_fingerprint(field, value):
    assert claim(**{field: value}).fingerprint != claim().fingerprint
    assert claim().fingerprint == claim().fingerprint


def test_the_fingerprint_is_the_same_tomorrow():
    assert claim(paper=(10.9,)).fingerprint == "637a487b5a992bd8"


@laws
@given(st.lists(numbers, max_size=5), st.floats(-1e9, 1e9), st.sampled_from(OVERS))
def test_claims_and_verdicts_survive_json(values, bound, over):
    one = claim(at_least=bound, over=over, paper=(1.5,))
    assert Claim.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False))) == one
    verdict = check(one, values)
    again = Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False)))
    assert repr(again) == repr(verdict)


@pytest.mark.parametrize(
    ("stored", "kind"),
    [({"name": "x"}, Claim), ({**FIELDS, "paper": [], "extra": 1}, Claim), ({}, Verdict), ({"claim": "x"}, Verdict)],
)
def test_what_is_no_claim_or_verdict_is_damage(stored, kind):
    with pytest.raises(DamagedFile, match="Remedy"):
        kind.from_json(stored)


def test_an_unknown_outcome_is_damage():
    stored = {**check(claim(), [1.0]).to_json(), "outcome": "perhaps"}
    with pytest.raises(DamagedFile, match="perhaps"):
        Verdict.from_json(stored)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"at_least": None}, "has a bound"),
        ({"at_least": 3.0, "at_most": 1.0}, "leave room"),
        ({"seeds": 0}, "a seed or more"),
        ({"over": "some seeds"}, "every seed"),
    ],
)
def test_a_claim_that_claims_nothing_is_refused(more, words):
    with refused(words):
        claim(**more)


OUTCOMES = ("holds", "holds not", "not decidable", "not run")


@pytest.mark.parametrize("outcomes", [o for n in range(4) for o in itertools.product(OUTCOMES, repeat=n)])
def test_a_standing_follows_from_the_outcomes(outcomes):
    found = standing(list(outcomes))
    assert (found == "reproduced") == (len(outcomes) > 0 and set(outcomes) == {"holds"})
    assert (found == "not run") == (set(outcomes) <= {"not run"})
    if found == "partly reproduced":
        assert "holds" in outcomes
    if found == "not reproduced":
        assert "holds not" in outcomes
        assert "holds" not in outcomes
    if found == "not decidable":
        assert not {"holds", "holds not"} & set(outcomes)
