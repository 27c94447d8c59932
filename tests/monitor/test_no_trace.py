"""Observing changes nothing: training with and without a monitor is bit for bit the same, and no trace is left."""

import copy
import io
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as fn
from unchecked import TYPES_ARE_CHECKED

import cloudchamber as cc


def mlp():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 2),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def dropout():
    return nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def frozen_part():
    model = cnn()
    model[1].requires_grad_(False)
    model[5].eval()  # its owner keeps this batch norm in evaluation while the rest trains
    return model


class Restless(nn.Module):
    """Draws from every random stream and keeps a state of its own in a plain attribute."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.calls, self.last = 0, None

    def forward(self, x):
        self.calls += 1
        noise = (0 if TYPES_ARE_CHECKED else random.random()) + np.random.rand() + torch.rand(()).item() + self.calls
        self.last = self.a(x) + noise
        return self.b(fn.relu(self.last))


NETS = {"mlp": mlp, "cnn": cnn, "dropout": dropout, "frozen part": frozen_part, "restless": Restless}
X, Y = torch.randn(64, 6, generator=torch.Generator().manual_seed(1)), torch.arange(64) % 3


def seed_everything(seed=0):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_states():
    python = () if TYPES_ARE_CHECKED else random.getstate()
    return [python, np.random.get_state()[1].tolist(), np.random.get_state()[2], torch.get_rng_state().tolist()]


def state_of(model, optimizer):
    """Everything of a training run that has bits."""
    state = {f"parameter {name}": p for name, p in model.named_parameters()}
    state |= {f"buffer {name}": b for name, b in model.named_buffers()}
    state |= {f"gradient {name}": p.grad for name, p in model.named_parameters()}
    for number, moments in enumerate(optimizer.state.values()):
        state |= {f"optimizer {number} {name}": value for name, value in moments.items()}
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in state.items()}


def bare_attributes(model):
    kept = ("_parameters", "_buffers", "_modules")
    return [
        {name: id(value) if name in kept else repr(value) for name, value in vars(module).items() if name != "last"}
        for module in model.modules()
    ]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        else:
            assert value == second[name], name


class Nobody:
    """A monitor that is not there."""

    def observe(self, step):
        pass


def monitor(model, **options):
    options = {"every": 3, "images_every": 30, "image_samples": 6} | options
    probe = (X[:12], Y[:12])
    return cc.Monitor(model, probe=probe, loss=options.pop("loss", fn.cross_entropy), **options)


def train(make, watched, *, steps=200, at="after", accumulate=1, autocast=False, **options):
    """Train, observing `at` the end of a step, "between" backward and update, or "before" the backward pass."""
    seed_everything()
    model = make()
    model.train()
    for module, like in zip(model.modules(), make().modules(), strict=True):
        module.training = like.training
    seed_everything()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with monitor(model, **options) if watched else nullcontext(Nobody()) as watcher:
        for step in range(1, steps + 1):
            for part in range(accumulate):
                batch = torch.randperm(64)[:16]
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    loss = fn.cross_entropy(model(X[batch]), Y[batch])
                    if at == "before" and part == accumulate - 1:
                        watcher.observe(step)
                loss.backward()
            if at == "between":
                watcher.observe(step)
            optimizer.step()
            if at == "after":
                watcher.observe(step)
            optimizer.zero_grad(set_to_none=step % 2 == 0)
    return state_of(model, optimizer), random_states(), bare_attributes(model), model


def assert_training_is_the_same(make, **how):
    steps = {"steps": how.pop("steps", 60)}
    quiet, quiet_random, quiet_attributes, _ = train(make, False, **steps, **{k: how[k] for k in how if k in LOOP})
    seen, seen_random, seen_attributes, model = train(make, True, **steps, **how)
    assert_same(quiet, seen)
    assert quiet_random == seen_random
    for first, second in zip(quiet_attributes, seen_attributes, strict=True):
        assert {k: v for k, v in first.items() if not isinstance(v, int)} == {
            k: v for k, v in second.items() if not isinstance(v, int)
        }
    assert_no_hooks(model)


LOOP = ("at", "accumulate", "autocast")


def assert_no_hooks(model):
    for module in model.modules():
        for name, value in vars(module).items():
            if "hooks" in name:
                assert not value, (module, name)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("net", NETS)
def test_200_steps_are_bit_identical(net, mode):
    assert_training_is_the_same(NETS[net], steps=200, mode=mode, every=5)


@pytest.mark.parametrize("at", ["between", "before"])
@pytest.mark.parametrize("net", NETS)
def test_observing_in_the_middle_of_a_step(net, at):
    assert_training_is_the_same(NETS[net], at=at, every=1, mode="train", steps=20)


@pytest.mark.parametrize("how", [{"accumulate": 3, "at": "before"}, {"autocast": True, "at": "before"}])
@pytest.mark.parametrize("net", ["cnn", "dropout"])
def test_accumulated_gradients_and_autocast(net, how):
    assert_training_is_the_same(NETS[net], every=2, steps=20, **how)


def test_a_frozen_module_stays_in_evaluation_when_observed_as_in_training():
    model = frozen_part()
    flags = []
    model[5].register_forward_hook(lambda module, *_: flags.append((module.training, model[2].training)))
    with monitor(model, mode="train") as watcher:
        watcher.observe(3)
    assert set(flags) == {(False, True)}
    model.eval()
    flags.clear()
    with monitor(model, mode="train"):
        pass
    assert set(flags) == {(True, True)}
    assert not model.training


@pytest.mark.parametrize(
    "context", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_the_record_does_not_depend_on_where_observing_happens(context):
    torch.manual_seed(0)
    model = cnn()
    with monitor(model) as plain:
        plain.observe(30)
    with context():
        inside = monitor(model).__enter__()
        inside.observe(30)
        assert torch.is_grad_enabled() == (context not in (torch.no_grad, torch.inference_mode))
    inside.__exit__(None, None, None)
    assert inside.record.identical(plain.record)
    assert model[0].training
    assert all(not parameter.is_inference() for parameter in model.parameters())


def test_a_probe_made_in_inference_mode_can_be_observed():
    with torch.inference_mode():
        x, y = torch.randn(8, 6), torch.arange(8) % 3
    with cc.Monitor(mlp(), probe=(x, y), loss=fn.cross_entropy, image_samples=4) as watcher:
        watcher.observe(10)
    assert watcher.record.gradient_cosine.notnull().any()


class Broken(nn.Module):
    """Fails in the forward pass when told to."""

    def __init__(self):
        super().__init__()
        self.body, self.act, self.head, self.fail = nn.Linear(6, 8), OwnActivation(), nn.Linear(8, 3), False

    def forward(self, x):
        h = self.act(self.body(x))
        if self.fail:
            raise LookupError("broken on purpose")
        return self.head(h)


class OwnActivation(nn.Module):
    def forward(self, x):
        return x * torch.tanh(x)


def everything(model):
    return state_of(model, torch.optim.SGD(model.parameters(), lr=0.1)), bare_attributes(model), random_states()


def fail_in_the_model(model, watcher, monkeypatch):
    model.fail = True


def fail_in_the_loss(model, watcher, monkeypatch):
    def loss(outputs, targets):
        raise LookupError("broken on purpose")

    monkeypatch.setattr(watcher._observer.sample_loss.__class__, "summed", lambda self, outputs: loss(outputs, None))


def fail_in_a_measure(model, watcher, monkeypatch):
    def values(self, seen, **_):
        torch.rand(3)
        raise LookupError("broken on purpose")

    monkeypatch.setattr(watcher._observer.evaluation.__class__, "values", values)


@pytest.mark.parametrize("fail", [fail_in_the_model, fail_in_the_loss, fail_in_a_measure])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_after_an_exception_everything_is_put_back(fail, mode, monkeypatch):
    model = Broken()
    model.head.eval()
    with monitor(model, mode=mode) as watcher:
        fail(model, watcher, monkeypatch)
        before = everything(model)
        with pytest.raises(LookupError, match="broken on purpose"):
            watcher.observe(3)
        after = everything(model)
        assert_same(before[0], after[0])
        assert before[1:] == after[1:]
        assert_no_hooks(model)
        assert not torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()
        monkeypatch.undo()
        model.fail = False
        watcher.observe(6)  # and the monitor goes on
    assert watcher.record.step.values.tolist() == [0, 6]


def test_after_an_exception_in_the_loop_nothing_more_is_observed():
    watcher = monitor(mlp())

    def loop():
        with watcher:
            watcher.observe(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert watcher.record.step.values.tolist() == [0]


def test_a_failure_while_entering_leaves_no_half_open_monitor():
    model = Broken()
    model.fail = True
    watcher = monitor(model)
    with pytest.raises(LookupError):
        watcher.__enter__()
    with pytest.raises(cc.InvalidInput):
        watcher.observe(1)
    assert_no_hooks(model)


def test_the_model_can_be_copied_and_saved_while_a_monitor_is_open():
    model, plain = Restless(), mlp()
    with monitor(model) as watcher, monitor(plain):
        watcher.observe(3)
        assert model.last is None  # what forward assigns is put back
        copied = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        copied.load_state_dict(torch.load(file, weights_only=True))
        torch.save(plain, io.BytesIO())
        assert vars(copied).keys() == vars(Restless()).keys()
    assert_no_hooks(model)


@pytest.mark.parametrize("build", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_weights_computed_by_old_style_hooks(build):
    def make():
        return nn.Sequential(build(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))

    quiet, *_ = train(make, False, steps=30)
    seen, *_, model = train(make, True, steps=30, mode="train")
    assert_same(quiet, seen)
    with monitor(model) as watcher:
        model(X)
        expected = torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach()
        torch.testing.assert_close(
            watcher._observer.target.capture(lambda o: o.sum(), {"weight"}).layers["0"].weight, expected
        )


def test_a_loss_that_holds_the_parameters_gives_them_no_gradient():
    model = mlp()

    def loss(outputs, targets):
        return fn.cross_entropy(outputs, targets) + 1e-4 * sum(p.square().sum() for p in model.parameters())

    with monitor(model, loss=loss) as watcher:
        watcher.observe(3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_module_keeps_its_buffers_and_a_random_loss_its_stream():
    class Centered(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("center", torch.zeros(3))

        def forward(self, outputs, targets):
            self.center.add_(outputs.detach().mean(0))
            torch.rand(2), random.random(), np.random.rand()
            return fn.cross_entropy(outputs, targets)

    loss, model = Centered(), mlp()
    before = random_states()
    with monitor(model, loss=loss) as watcher:
        watcher.observe(3)
    assert torch.equal(loss.center, torch.zeros(3))
    assert random_states() == before


def test_users_own_hooks_survive():
    model = mlp()
    calls = []
    handle = model[0].register_forward_hook(lambda *_: calls.append("forward"))
    model[2].register_full_backward_hook(lambda *_: None)
    with monitor(model) as watcher:
        watcher.observe(3)
        assert len(model[0]._forward_hooks) == 1
        assert len(model[2]._backward_hooks) == 1
    calls.clear()
    model(X)
    assert calls == ["forward"]
    handle.remove()
    assert not model[0]._forward_hooks


def test_the_users_probe_can_change_afterwards():
    x, y = X[:12].clone(), Y[:12].clone()
    torch.manual_seed(0)
    model = mlp()
    with cc.Monitor(model, probe=(x, y), loss=fn.cross_entropy, every=1, image_samples=6) as watcher:
        x.zero_(), y.zero_()
        watcher.observe(1)
    record = watcher.record
    assert record.probe_loss.values[0] == record.probe_loss.values[1]
