"""Shared by the tests of passive observation: a model, a sink, training that is watched, a look for hooks left."""

import torch
from torch import nn

from cloudchamber.anatomy import PassivePass, choose_views

FIELDS = frozenset({"inputs", "outputs", "features", "output_gradients", "feature_gradients"})


class Keeps:
    """A sink that keeps copies of what it is told."""

    def __init__(self):
        self.told = {}

    def forward(self, number, key, field, tensor):
        self._take(number, key, field, tensor)

    def gradient(self, number, key, field, tensor):
        self._take(number, key, field, tensor)

    def together(self, number, tensors):
        for field, by_key in tensors.items():
            for key, tensor in by_key.items():
                self._take(number, key, field, tensor.detach())

    def _take(self, number, key, field, tensor):
        assert not tensor.requires_grad
        assert (number, key, field) not in self.told
        self.told[number, key, field] = tensor.clone()


def assert_no_hooks(model):
    for module in model.modules():
        assert "forward" not in vars(module)
        for name, value in vars(module).items():
            if "hooks" in name:
                assert not value, (module, name)


def state_of(model, optimizer):
    states = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    states += [value for moments in optimizer.state.values() for value in moments.values()]
    return [*(state.clone() for state in states if state is not None), torch.get_rng_state()]


def train(case, *, watch, steps=12, every=2, dtype=torch.float32, context=torch.enable_grad, accumulate=1, **options):
    model = case.make(dtype)
    torch.manual_seed(1)
    optimizer, chosen, plan, results = (
        torch.optim.Adam(model.parameters(), lr=1e-2),
        choose_views(model, None),
        None,
        [],
    )
    for step in range(steps):
        armed = torch.enable_grad()
        if watch and step % every == 0:
            armed = PassivePass(model, chosen, plan=plan, sink=Keeps(), **options)
        with armed:
            for part in range(accumulate):
                x, y = case.batch(accumulate * step + part, dtype=dtype)
                with context():
                    loss = case.loss(model(x), y) / accumulate
                loss.backward()
        if isinstance(armed, PassivePass):
            results.append(armed.result)
            plan = armed.result.plan
        optimizer.step()
        optimizer.zero_grad(set_to_none=step % 3 == 0)
    assert_no_hooks(model)
    return state_of(model, optimizer), results


def assert_same_bits(first, second):
    assert len(first) == len(second)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3
