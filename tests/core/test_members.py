"""The record of an ensemble: of any members in any order, and back to the record of one of them."""

import numpy as np
import pytest
import xarray as xr
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.members import join_members, one_member, shared_settings
from cloudchamber._core.members_buffer import MembersBuffer, MembersFrame, MembersObservation
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.registry import Quantity
from cloudchamber._core.schema import SCHEMA_VERSION, CoverageRow, Frame, LayerInfo
from cloudchamber._core.storage import open_record, save_record

LOSS = Quantity("loss", "loss in words", "L", ("step",))
COSINE = Quantity("cosine", "cosine in words", "cos", ("step", "layer"), bounds=(-1.0, 1.0), paper="mlp2024")
STRENGTH = Quantity("strength", "strengths", "s_i", ("step", "layer", "direction"))
IMAGE = Quantity("image", "of samples", "S", ("image_step", "layer", "sample", "sample_other"), paper="zhou2022")
LEVEL = Quantity("level", "a number of the run", "l", ())
NULL = Quantity("null", "a number per layer", "m", ("layer",))

FRAME = Frame(
    layers=(LayerInfo("a", "Linear", 3, 5, "relu"), LayerInfo("b", "Linear", 2, 3, "none")),
    coverage=(CoverageRow("a", "Linear", "measured"), CoverageRow("n", "LayerNorm", "skipped, because …")),
    classes=2,
    quantities=(LOSS, COSINE, STRENGTH, IMAGE, LEVEL, NULL),
    sample_classes=(0, 0, 1),
    neuron_ids=((0, 2), (1,)),
    recipe="seed: 0\n",
    environment={"threads": 1},
)
COUNT = 3
CONSTANTS = {"level": np.array([1.0, 2.0, np.nan]), "null": np.arange(6.0).reshape(3, 2)}


def buffer(**changes):
    return MembersBuffer(FRAME, MembersFrame(COUNT, **{"constants": CONSTANTS, **changes}))


def values(seed, *, images):
    """What one member shows: NaN and masked entries among the numbers."""
    random = np.random.default_rng(seed)
    cosine = np.ma.MaskedArray(random.normal(size=2), mask=random.random(2) < 0.3)
    cosine.data[random.random(2) < 0.3] = np.nan
    found = {"loss": np.ma.MaskedArray(random.normal(), mask=False), "cosine": cosine}
    found["strength"] = np.ma.MaskedArray(random.normal(size=(2, 2)), mask=random.random((2, 2)) < 0.3)
    if images:
        found["image"] = np.ma.MaskedArray(random.normal(size=(2, 3, 3)).astype(np.float32), mask=False)
    return found


def side_by_side(each):
    return {name: np.ma.stack([found[name] for found in each]) for name in each[0]}


SCHEDULES = st.lists(st.dictionaries(st.integers(0, 6), st.booleans(), min_size=1), min_size=COUNT, max_size=COUNT)
"""For each member, the observed steps, and whether images are taken there."""


@settings(deadline=None, max_examples=40, derandomize=True)
@given(schedules=SCHEDULES, together=st.booleans())
def test_each_member_is_a_record_of_its_own(schedules, together):
    ensemble, recipes = buffer(recipes=("seed: 0\n", "seed: 1\n", "seed: 2\n")), ["seed: 0\n", "seed: 1\n", "seed: 2\n"]
    for step, images in [(step, images) for step in range(7) for images in (False, True)]:
        members = tuple(k for k in range(COUNT) if schedules[k].get(step) is images)
        found = [values(100 * k + step, images=images) for k in members]
        if together and members:
            ensemble.append(MembersObservation(step, members, side_by_side(found)))
    for k in () if together else (2, 0, 1):  # one member after the other
        for step in sorted(schedules[k]):
            found = values(100 * k + step, images=schedules[k][step])
            ensemble.append(MembersObservation(step, (k,), side_by_side([found])))
    record = ensemble.dataset()
    for k in range(COUNT):
        alone = RecordBuffer(
            Frame(
                **{
                    **FRAME.__dict__,
                    "recipe": recipes[k],
                    "constants": {name: value[k].tolist() for name, value in CONSTANTS.items()},
                }
            )
        )
        for step in sorted(schedules[k]):
            alone.append(Observation(step, values(100 * k + step, images=schedules[k][step])))
        expected, found = alone.dataset(), one_member(record, k)
        if "image" in record and "image" not in expected:  # others have images
            assert found.image.size == 0
            found = found.drop_vars("image").assign_attrs(citations=expected.citations)
        assert found.identical(expected)


def test_the_schema():
    made = buffer()
    made.append(MembersObservation(0, (2, 0), side_by_side([values(k, images=True) for k in (2, 0)])))
    made.append(MembersObservation(4, (1,), side_by_side([values(4, images=False)])))
    record = made.dataset()
    assert {name: record[name].dims for name in record.data_vars} == {
        "loss": ("member", "step"),
        "cosine": ("member", "step", "layer"),
        "strength": ("member", "step", "layer", "direction"),
        "image": ("member", "image_step", "layer", "sample", "sample_other"),
        "level": ("member",),
        "null": ("member", "layer"),
        "valid": ("member", "quantity", "step", "layer"),
    }
    assert record.loss.notnull().values.tolist() == [[True, False], [False, True], [True, False]]
    assert record.stopped_at.values.tolist() == [0, 4, 0]
    assert made.dataset([3, 4, 5]).stopped_at.values.tolist() == [3, 4, 5]
    assert record.images_taken.values.tolist() == [[True], [False], [True]]
    assert (record.image.dtype, record.loss.dtype, record.valid.dtype) == (np.float32, np.float64, bool)
    assert record.attrs["schema_version"] == SCHEMA_VERSION
    assert record.attrs["recipe"] == "seed: 0\n"
    assert record.loss.attrs["long_name"] == "loss in words"
    assert record.cosine.attrs["range"] == [-1.0, 1.0]
    assert not {"member_recipe"} & set(record.coords)


@pytest.mark.parametrize("observed", [(), (0,), (0, 1, 2)])
def test_records_survive_the_disk(tmp_path, observed):
    made = buffer(recipes=("a: 1\n", "a: 2\n", "ä: 3\n"), sample_classes=((0, 0, 1), (0, 1, 1), (0, 1, 1)))
    for step in range(0, 6 * len(observed[:1]), 3):
        found = [values(k + step, images=step == 0) for k in observed]
        made.append(MembersObservation(step, observed, side_by_side(found)))
    record = made.dataset()
    save_record(record, tmp_path / "record.nc")
    assert open_record(tmp_path / "record.nc").identical(record)
    assert open_record(tmp_path).identical(record)


def test_samples_of_each_member():
    made = buffer(sample_classes=((0, 0, 1), (0, 1, 1), (1, 1, 1)))
    made.append(MembersObservation(0, (0, 1, 2), side_by_side([values(k, images=True) for k in range(3)])))
    record = made.dataset()
    assert record.sample_class.dims == ("member", "sample")
    assert one_member(record, 1).sample_class.values.tolist() == [0, 1, 1]


def test_steps_grow_for_each_member_by_itself():
    made = buffer()
    made.append(MembersObservation(5, (0,), side_by_side([values(0, images=False)])))
    made.append(MembersObservation(2, (1,), side_by_side([values(1, images=False)])))
    for members, step, rule in (
        ((0,), 5, "last of member 0: 5"),
        ((1, 0), 3, "last of member 0: 5"),
        ((3,), 9, r"a member is one of 0 … 2; got 3"),
        ((-1,), 9, "a member is one of"),
        ((2, 2), 9, "observed once at a step"),
    ):
        found = side_by_side([values(abs(k), images=False) for k in members])
        with pytest.raises(InvalidInput, match=rule):
            made.append(MembersObservation(step, members, found))
    assert made.last_step(1) == 2  # nothing was taken over from what was refused
    assert len(made.observations) == 2


def test_a_member_that_is_not_there():
    record = buffer().dataset()
    with pytest.raises(InvalidInput, match=r"members are 0 … 2; got 7"):
        one_member(record, 7)
    with pytest.raises(InvalidInput, match="dimension `member`"):
        one_member(record.isel(member=0), 0)
    with pytest.raises(InvalidInput, match="dimension `member`"):
        join_members([record.isel(member=0)])
    with pytest.raises(InvalidInput, match="at least one"):
        join_members([])
    with pytest.raises(InvalidInput, match="same layers"):
        join_members([record, record.isel(layer=[0])])


def parts():
    """Two buffers with other steps, quantities and samples, and one that holds both."""
    whole, one, two = buffer(recipes=("a: 1\nb: 2\n", "a: 1\nb: 3\n", "a: 1\nb: 4\n")), [], []
    found = {step: [values(10 * k + step, images=step == 0) for k in range(3)] for step in (0, 3, 7)}
    for members, steps, into in (((0, 1), (0, 3), one), ((2,), (0, 7), two)):
        own = MembersBuffer(
            FRAME,
            MembersFrame(
                len(members),
                tuple(whole.members.recipes[k] for k in members),
                constants={name: value[list(members)] for name, value in CONSTANTS.items()},
            ),
        )
        for step in steps:
            some = side_by_side([found[step][k] for k in members])
            if step == 7:
                del some["strength"]
            whole.append(MembersObservation(step, members, some))
            own.append(MembersObservation(step, tuple(range(len(members))), some))
        into.append(own.dataset())
    return whole.dataset(), one[0], two[0]


def test_parts_make_the_whole():
    whole, one, two = parts()
    joined = join_members([one, two])
    assert joined.attrs == whole.attrs
    assert set(joined.variables) == set(whole.variables)
    for name in whole.variables:
        assert joined[name].dtype == whole[name].dtype, name
        xr.testing.assert_identical(joined[name].transpose(*whole[name].dims), whole[name])
        assert joined[name].dims == whole[name].dims
    assert join_members([one]).identical(one)


def test_parts_of_one_record_are_put_together_again():
    whole, *_ = parts()
    pieces = [whole.isel(member=[k]) for k in (2, 0, 1)]
    joined = join_members(pieces)
    assert joined.member.values.tolist() == [0, 1, 2]
    for place, k in enumerate((2, 0, 1)):
        assert one_member(joined, place).identical(one_member(whole, k))


NESTED = st.recursive(
    st.integers(0, 1) | st.none() | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def leaves(settings_, path=()):
    if not isinstance(settings_, dict):
        return {(path, repr(settings_))}
    return {leaf for key, value in settings_.items() for leaf in leaves(value, (*path, key))}


@settings(deadline=None, max_examples=100, derandomize=True)
@given(each=st.lists(st.dictionaries(st.sampled_from("abc"), NESTED, max_size=3), min_size=2, max_size=3))
def test_shared_settings_are_those_in_which_all_agree(each):
    text = shared_settings([yaml.safe_dump(one) for one in each])
    common = set.intersection(*({leaf for leaf in leaves(one) if leaf[0]} for one in each))
    found = {leaf for leaf in leaves(yaml.safe_load(text) or {}) if leaf[0]}
    assert found == common


@pytest.mark.parametrize("texts", [(), ("a: 1", "b: 1"), ("# a loop of one's own", "a: 1"), ("3", "a: 1")])
def test_nothing_shared(texts):
    assert shared_settings(texts) == ""


def test_the_same_recipe_is_kept_as_it_is():
    assert shared_settings(["# mine\na: 1"] * 3) == "# mine\na: 1"
