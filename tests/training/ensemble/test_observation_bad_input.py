"""Arguments that break a rule are refused with the rule, the value and a remedy."""

import pytest
import torch
from observation_cases import data, mlp, scattered
from torch.nn import functional as fn

from cloudchamber import InvalidInput
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.observation import EnsembleObserver
from cloudchamber.training.ensemble.watch import Watch

MODELS = scattered(mlp, 2)
LAYOUT = Layout.of(MODELS[0])
FLAT = LAYOUT.flat(MODELS)
X, Y = data()


def observer(probe=(X, Y), members=2, **options):
    watch = {name: options.pop(name) for name in list(options) if name in Watch.__dataclass_fields__}
    return EnsembleObserver(MODELS[0], LAYOUT, Watch(probe=probe, **watch), fn.cross_entropy, members, **options)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"members": 0}, "`members` is a whole number of at least 1; got 0"),
        ({"recipes": ["seed: 0"]}, "a recipe for each of the 2 members, or none; got 1 recipes"),
        ({"image_samples": 501}, "`image_samples` is a whole number in 2 … 500"),
        ({"every": 0}, "`every` is a whole number"),
        ({"images_every": -1}, "`images_every` is a whole number"),
        ({"measures": ["cosine"]}, "a measure is one of"),
    ],
)
def test_arguments(options, rule):
    with pytest.raises(InvalidInput, match=rule):
        observer(**options)


@pytest.mark.parametrize(
    ("probe", "options", "rule"),
    [
        ((X, Y[:5]), {}, "as many targets as inputs"),
        ((X, Y + 7), {}, "labels of a network with 3 outputs lie in 0 … 2"),
        ((X[None], Y[None]), {"probe_per_member": True}, "a probe for each of the 2 members; got 1"),
        ((X[:2], Y[:2]), {"probe_per_member": True}, "inputs and targets \\(K, n, ...\\)"),
        ((X.expand(2, 20, 5), Y), {"probe_per_member": True}, "inputs and targets \\(K, n, ...\\)"),
        ((X[None, :1].expand(2, 1, 5), Y[None, :1].expand(2, 1)), {"probe_per_member": True}, "at least 2 samples"),
        ((X.expand(2, 20, 5), torch.stack([Y, Y + 1])), {"probe_per_member": True}, "labels of a network"),
        ((X, Y), {"layers": ["nothing"]}, "each entry of `layers` matches"),
    ],
)
def test_probes_and_layers(probe, options, rule):
    with pytest.raises(InvalidInput, match=rule):
        observer(probe, **options).observe(0, FLAT, {}, range(2))


def test_probes_of_members_that_cannot_be_shown_side_by_side():
    labels = torch.stack([Y, torch.zeros_like(Y)])
    with pytest.raises(InvalidInput, match="cosine images show as many samples of each member"):
        observer((X.expand(2, 20, 5), labels), probe_per_member=True, image_samples=8).observe(0, FLAT, {}, range(2))


@pytest.mark.parametrize(
    ("flat", "members", "rule"),
    [
        (FLAT, [0], "one row for each of `members`"),
        (FLAT, [0, 0], "each of them once"),
        (FLAT[:0], [], "one row for each of `members`"),
        (FLAT, [0, 2], "a member is one of 0 … 1; got 2"),
    ],
)
def test_rows_and_members(flat, members, rule):
    with pytest.raises(InvalidInput, match=rule):
        observer().observe(0, flat, {}, members)


def test_steps_grow_for_each_member():
    one = observer(every=1)
    one.observe(3, FLAT[:1], {}, [0])
    one.observe(1, FLAT[1:], {}, [1])
    with pytest.raises(InvalidInput, match=r"last of member 0: 3\); got 2"):
        one.observe(2, FLAT, {}, [0, 1])
    with pytest.raises(InvalidInput, match="`step` is a whole number"):
        one.observe(-1, FLAT, {}, [0, 1])


def test_a_refused_observation_leaves_nothing_behind():
    one = observer(every=1)
    one.observe(1, FLAT[:1], {}, [0])
    with pytest.raises(InvalidInput, match="grow"):
        one.observe(1, FLAT.flip(0), {}, [1, 0])
    one.observe(1, FLAT[1:], {}, [1])
    assert one.record.step.values.tolist() == [1]


def test_a_record_before_any_observation():
    with pytest.raises(InvalidInput, match="once it was observed"):
        _ = observer().record


def test_the_end_of_every_member_is_told():
    one = observer()
    one.observe(0, FLAT, {}, [0, 1])
    with pytest.raises(InvalidInput, match="`stopped_at` has 2 entries; got 1"):
        one.finish([3])
