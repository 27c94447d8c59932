"""Which path is taken, and that each gives the same numbers."""

import pytest
import torch
from ensemble_cases import Draws, chain, regression, stack

from cloudchamber._core.errors import InvalidInput
from cloudchamber.models import ScaledOutput
from cloudchamber.training import SGD, train_ensemble
from cloudchamber.training.ensemble import paths
from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.gradients import VmapGradients
from cloudchamber.training.ensemble.members import Members
from cloudchamber.training.ensemble.paths import Wish, choose_path


def chosen(make=chain, data=None, steps=10, **wish):
    return choose_path(Members.of(stack(make), None), "mse", Wish(**wish), data or regression(), steps)


def kind(path):
    return type(path.gradients({"scale": torch.ones(5)}, False, range(5)))


def test_chains_take_the_dense_path_and_others_the_general_one():
    assert kind(chosen()) is kind(chosen(path="dense")) is DenseGradients
    assert kind(chosen(lambda: ScaledOutput(chain(), 0.5))) is DenseGradients
    assert kind(chosen(path="vmap")) is kind(chosen(Draws)) is VmapGradients


def test_samples_that_do_not_fit_the_dense_path_take_the_general_one():
    x, y = regression()
    assert kind(chosen(data=(x[:, None], y[:, None]))) is VmapGradients


def test_much_work_is_compiled_where_that_can_be(monkeypatch):
    for able in (True, False):
        monkeypatch.setattr(paths, "can_compile", lambda able=able: able)
        for tanh, steps in (("exact", 2_000_000), ("rational", 80_000)):
            assert not chosen(steps=steps - 1, tanh=tanh).compiled
            assert chosen(steps=steps, tanh=tanh).compiled is able
            assert not chosen(steps=steps, tanh=tanh, compile=False).compiled
        assert not chosen(Draws, steps=2_000_000).compiled
    with pytest.raises(InvalidInput, match=r"compiling needs a C\+\+ compiler; got none"):
        chosen(compile=True)
    monkeypatch.setattr(paths, "can_compile", lambda: True)
    assert chosen(compile=True, steps=1).compiled


@pytest.mark.parametrize("wish", [{"path": "dense"}, {"path": "dense", "tanh": "rational"}])
def test_paths_agree(wish):
    results = [
        train_ensemble(stack(chain), regression(), loss="mse", optimizer=SGD(0.1), steps=10, **options)
        for options in ({"path": "vmap"}, wish)
    ]
    tolerance = 1e-5 if "tanh" in wish else 1e-12
    torch.testing.assert_close(results[0].losses, results[1].losses, rtol=tolerance, atol=tolerance)
    if "tanh" in wish:
        assert not torch.equal(results[0].losses, results[1].losses)
