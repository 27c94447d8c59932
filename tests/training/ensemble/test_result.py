"""What training returns: members, losses, files."""

import pytest
import torch
from ensemble_cases import chain, regression, stack
from torch import nn

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput
from cloudchamber.training import SGD, Ensemble, LossRatio, Watch, train_ensemble


def trained(**options):
    models = stack(lambda: nn.Sequential(chain(), nn.BatchNorm1d(1)), 3)
    options = {"loss": "mse", "optimizer": SGD(torch.tensor([0.1, 0.2, 0.3])), "steps": 10, **options}
    return train_ensemble(models, regression(), **options)


def test_losses_are_kept_as_often_as_wanted():
    every = trained()
    assert every.loss_steps.tolist() == list(range(1, 11))
    third = trained(losses_every=3)
    assert third.loss_steps.tolist() == [3, 6, 9]
    assert torch.equal(third.losses, every.losses[:, [2, 5, 8]])
    assert torch.equal(third.loss, every.loss)
    assert trained(losses_every=11).losses.shape == (3, 0)


def test_snapshots_are_the_parameters_of_shorter_trainings():
    result = trained(snapshot_steps=[0, 4, 10])
    assert result.snapshot_steps.tolist() == [0, 4, 10]
    for place, steps in enumerate([0, 4, 10]):
        shorter = trained(steps=steps)
        for name, values in result.snapshots.items():
            assert torch.equal(values[:, place], shorter.parameters[name])
    assert trained().snapshots["0.0.weight"].shape[1] == 0


def test_a_snapshot_after_a_members_end_is_nan():
    result = trained(steps=60, stop=LossRatio(0.6), snapshot_steps=[5, 60], chunk=1)
    for k, stop in enumerate(result.stopped_at.tolist()):
        kept = [bool(values[k].isfinite().all()) for values in result.snapshots["0.0.weight"][:, None].unbind(2)]
        assert kept == [stop >= 5, stop >= 60]


@pytest.mark.parametrize("steps", [[3, 2], [5, 5], [11], [-1]])
def test_snapshots_that_cannot_be_are_refused(steps):
    with pytest.raises(InvalidInput, match=r"snapshot_steps"):
        trained(snapshot_steps=steps)


def test_no_steps_leave_the_models_as_they_are():
    result = trained(steps=0)
    assert (result.stopped_at.tolist(), result.reasons, result.losses.shape) == ([0, 0, 0], ("steps",) * 3, (3, 0))
    assert result.loss.isnan().all()
    for k, model in enumerate(stack(lambda: nn.Sequential(chain(), nn.BatchNorm1d(1)), 3)):
        assert all(
            torch.equal(value, result.member(k).state_dict()[name]) for name, value in model.state_dict().items()
        )


def test_a_member_is_a_module_of_its_own():
    result = trained()
    member = result.member(1)
    assert torch.equal(member[0][0].weight, result.parameters["0.0.weight"][1])
    assert torch.equal(member[1].running_mean, result.fixed["1.running_mean"][1])
    assert all(value.requires_grad for value in member.parameters())
    with torch.no_grad():
        member[0][0].weight.zero_()
    assert result.member(1)[0][0].weight.abs().min() > 0
    assert torch.equal(result.member(-1)[0][0].weight, result.parameters["0.0.weight"][2])


@pytest.mark.parametrize("k", [3, -4])
def test_a_member_that_is_not_there_is_refused(k):
    with pytest.raises(InvalidInput, match=r"members are 0 … 2; got"):
        trained().member(k)


def assert_same(one, other):
    for name in ("parameters", "fixed", "snapshots"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for name in ("loss", "loss_steps", "losses", "stopped_at", "snapshot_steps"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0, equal_nan=True)
    assert one.reasons == other.reasons


def test_what_is_saved_is_loaded(tmp_path):
    x, y = regression()
    result = trained(
        stop=LossRatio(0.6), snapshot_steps=[2], observe=Watch(probe=(x, y), every=5, measures=["feature_cosine"])
    )
    result.save(tmp_path / "new" / "folder")
    loaded = Ensemble.load(tmp_path / "new" / "folder")
    assert_same(loaded, result)
    assert loaded.record.identical(result.record)
    with pytest.raises(InvalidInput, match="loaded without"):
        loaded.member(0)


def test_with_an_architecture_members_are_made_of_what_was_loaded(tmp_path):
    result = trained()
    result.save(tmp_path)
    template = nn.Sequential(chain(), nn.BatchNorm1d(1))
    loaded = Ensemble.load(tmp_path, template)
    x, _ = regression()
    assert loaded.record is None
    assert torch.equal(loaded.member(2)(x), result.member(2)(x))
    with pytest.raises(InvalidInput, match="`template` is a model of the ensemble's architecture"):
        Ensemble.load(tmp_path, chain())


def test_damage_is_noticed(tmp_path):
    trained().save(tmp_path)
    path = tmp_path / "ensemble.safetensors"
    whole = path.read_bytes()
    for place in (20, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamagedFile, match="must be a whole ensemble"):
            Ensemble.load(tmp_path)
    for content in (b"", whole[:-3], b"\x00" * 100):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match="Remedy: train it again"):
            Ensemble.load(tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileAccess, match=r"ensemble\.safetensors; got: No such file"):
        Ensemble.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccess, match="must be writable"):
        trained().save(tmp_path / "file")
