"""Bad input raises an error that names the rule, what was received and the remedy; the model is not at fault."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as fn
from unchecked import TYPES_ARE_CHECKED, refused

import cloudchamber as cc

X, Y = torch.randn(12, 6, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3


def mlp(outputs=3):
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))


def monitor(model=None, probe=(X, Y), loss=fn.cross_entropy, **options):
    return cc.Monitor(mlp() if model is None else model, probe=probe, loss=loss, image_samples=4, **options)


@pytest.mark.parametrize("name", ["every", "images_every"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, False, "3", [1], float("nan"), np.float64(2)])
def test_intervals_of_a_wrong_value(name, value):
    with refused(f"`{name}`"):
        monitor(**{name: value})


@pytest.mark.parametrize("count", [1, 0, -3, 501, 2.5, True])
def test_wrong_numbers_of_image_samples(count):
    with refused("`image_samples`"):
        cc.Monitor(mlp(), probe=(X, Y), loss=fn.cross_entropy, image_samples=count)


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ((X, Y[:-1]), "as many targets as inputs"),
        ((X[:0], Y[:0]), "at least 2 samples"),
        ((X[:1], Y[:1]), "at least 2 samples"),
        ((torch.tensor(1.0), torch.tensor(1)), "as many targets as inputs"),
        ((X.numpy(), Y.numpy()), "pair of tensors"),
        ((X,), "pair of tensors"),
        ((X, Y, Y), "pair of tensors"),
        ([X, Y.tolist()], "pair of tensors"),
        (X, "pair of tensors"),
        (None, "pair of tensors"),
        ("probe", "pair of tensors"),
    ],
)
def test_wrong_probes(probe, words):
    with refused(f"{words}"):
        monitor(probe=probe)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": mlp}, "`model` is an nn.Module"),
        ({"model": X}, "`model` is an nn.Module"),
        ({"loss": "cross_entropy"}, "`loss` is callable"),
        ({"mode": "test"}, "`mode` is 'eval' or 'train'"),
        ({"mode": 1}, "`mode` is 'eval' or 'train'"),
        ({"reduction": "average"}, "`reduction` is None or one of"),
        ({"measures": ["feature_cosin"]}, "a measure is one of"),
        ({"measures": "nothing"}, "a measure is one of"),
        ({"layers": "nothing"}, "each entry of `layers` matches a layer among"),
        ({"layers": []}, "`layers` is None or holds names, patterns and classes"),
        ({"layers": [0]}, "`layers` is None or holds names, patterns and classes"),
        ({"model": nn.ReLU()}, "at least one layer among"),
    ],
)
def test_wrong_options(options, words):
    with refused(f"{words}"):
        monitor(**options)


def test_one_measure_may_be_given_by_its_name():
    with monitor(measures="feature_cosine") as watcher:
        pass
    assert "feature_cosine" in watcher.record
    assert "gradient_cosine" not in watcher.record


@pytest.mark.parametrize("labels", [Y - 1, Y + 1, Y * 1000])
def test_labels_out_of_range(labels):
    with pytest.raises(cc.InvalidInput, match=r"labels of a network with 3 outputs lie in 0 … 2; got labels from"):
        monitor(probe=(X, labels)).__enter__()


@pytest.mark.parametrize("outputs", [lambda z: (z, z), lambda z: {"logits": z}])
def test_a_model_that_returns_no_tensor(outputs):
    class Returns(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            return outputs(self.body(x))

    with pytest.raises(cc.Unsupported, match=r"the model returns one tensor; got .* Remedy: give `forward=`"):
        monitor(Returns()).__enter__()


def test_a_model_of_which_nothing_can_be_observed_says_why():
    class Folds(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.a(x.reshape(-1, 3)).reshape(len(x), -1)

    with pytest.raises(cc.Unsupported, match=r"a is skipped, because its output has shape \(24, 3\).*b is skipped"):
        monitor(Folds(), loss=lambda o, y: o.square().mean()).__enter__()


def test_a_loss_that_couples_samples_must_be_declared():
    def loss(outputs, targets):
        return fn.mse_loss(outputs, outputs.roll(1, 0)).sqrt()

    with pytest.raises(cc.InvalidInput, match="samples change each other's loss"):
        monitor(loss=loss).__enter__()
    with monitor(loss=loss, reduction="mean") as watcher:
        watcher.observe(10)
    assert len(watcher.record.step) == 2


def test_a_wrongly_declared_reduction():
    with pytest.raises(cc.InvalidInput, match="reduction 'sum' is one number; got shape"):
        monitor(loss=nn.CrossEntropyLoss(reduction="none"), reduction="sum").__enter__()


def test_a_loss_that_cannot_be_differentiated():
    with pytest.raises(cc.InvalidInput, match="a loss can be differentiated"):
        monitor(loss=lambda o, y: fn.cross_entropy(o.detach(), y)).__enter__()


def test_observing_outside_of_the_block():
    watcher = monitor()
    with pytest.raises(cc.InvalidInput, match="inside its `with` block"):
        watcher.observe(1)
    with pytest.raises(cc.InvalidInput, match="has a record once entered"):
        _ = watcher.record
    with pytest.raises(cc.InvalidInput, match="has a record once entered"):
        _ = watcher.coverage
    with watcher:
        watcher.observe(10)
    for step in (11, 20):
        with pytest.raises(cc.InvalidInput, match="inside its `with` block"):
            watcher.observe(step)
    assert len(watcher.record.step) == 2  # the record stays


def test_entering_twice():
    watcher = monitor()
    with watcher, pytest.raises(cc.InvalidInput, match="entered once"):
        watcher.__enter__()
    with pytest.raises(cc.InvalidInput, match="entered once"):
        watcher.__enter__()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("step", [10, 9, 7, 1, 0, -1])
def test_steps_that_do_not_grow(step, force):
    with monitor(every=5) as watcher:
        watcher.observe(5)
        watcher.observe(10)
        with pytest.raises(cc.InvalidInput, match="`step` is a whole number of at least 11"):
            watcher.observe(step, force=force)
    assert watcher.record.step.values.tolist() == [0, 5, 10]


def test_steps_that_were_announced_but_not_observed_count_too():
    with monitor(every=100) as watcher:
        watcher.observe(7)
        with pytest.raises(cc.InvalidInput, match="at least 8"):
            watcher.observe(3)
    assert watcher.record.step.values.tolist() == [0, 7]  # the last announced step is observed at the end


@pytest.mark.parametrize("step", [3.0, "3", None, True, float("nan"), torch.tensor(3.5)])
def test_steps_of_a_wrong_type(step):
    with monitor() as watcher, refused("`step` is a whole number"):
        watcher.observe(step)


@pytest.mark.parametrize("loss", ["big", [1.0, 2.0], torch.ones(3), 1j])
def test_training_losses_of_a_wrong_type(loss):
    with monitor(every=1) as watcher:
        with refused("`train_loss` is a number"):
            watcher.observe(1, train_loss=loss)
        with refused("`epoch` is a number"):
            watcher.observe(2, epoch=loss)


def test_training_losses_may_be_numbers_or_tensors_with_a_graph():
    with monitor(every=1) as watcher:
        for step, loss in enumerate((1, 2.5, torch.tensor(3.0, requires_grad=True), torch.ones(1), float("inf")), 1):
            watcher.observe(step, train_loss=loss, epoch=step / 2)
    assert watcher.record.train_loss.values[1:].tolist() == [1, 2.5, 3, 1, float("inf")]
    assert watcher.record.epoch.values[1:].tolist() == [0.5, 1, 1.5, 2, 2.5]
    assert not watcher.record.valid.sel(quantity="train_loss").values[0].any()


def test_whole_numbers_of_numpy_are_not_wrong():
    if not TYPES_ARE_CHECKED:
        with monitor(every=np.int64(2), images_every=np.int32(4)) as watcher:
            watcher.observe(np.int64(2))
        assert watcher.record.step.values.tolist() == [0, 2]


def test_an_error_of_the_model_is_the_models():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        monitor(probe=(X[:, :3], Y)).__enter__()
