"""What members draw beside what the same calls draw for one model alone."""

import pytest
import torch
from ensemble_cases import normal
from torch import nn
from torch.nn import functional

from cloudchamber.training.ensemble.randomness import MemberRandomness, noted_draws

CPU = torch.device("cpu")
X = normal(4, 3, 5)
CALLS = {
    "dropout": lambda x: functional.dropout(x, 0.5),
    "dropout of a keyword": lambda x: functional.dropout(input=x, p=0.3),
    "dropout in place": lambda x: functional.dropout(x.clone(), 0.5, True, True),
    "dropout in place by keyword": lambda x: functional.dropout(x.clone(), 0.5, inplace=True),
    "dropout of everything": lambda x: functional.dropout(x, 1.0),
    "channels": lambda x: functional.dropout1d(x, 0.5),
    "alpha": lambda x: functional.alpha_dropout(x, 0.4, training=True),
    "alpha of channels": lambda x: functional.feature_alpha_dropout(x, 0.4, training=True),
    "module": nn.Dropout1d(0.5),
    "torch": lambda x: torch.dropout(x, 0.5, True),
    "noise": lambda x: x + torch.randn_like(x),
    "like a number": lambda x: x + torch.rand_like(x, dtype=torch.float32),
    "whole numbers": lambda x: x + torch.randint_like(x, 10),
    "new": lambda x: x + torch.rand(3, 1) + torch.randn(5) + torch.randint(0, 9, (5,)),
    "order": lambda x: x[:, torch.randperm(3)],
    "transposed": lambda x: functional.dropout(x.mT, 0.5),
    "several": lambda x: functional.dropout(torch.tanh(functional.dropout(x, 0.2)), 0.5) + torch.rand(1),
}


@pytest.mark.parametrize("name", CALLS)
def test_members_draw_as_they_would_alone(name):
    call, seeds = CALLS[name], [3, 0, 3, 2**40]
    random = MemberRandomness(seeds, noted_draws(lambda: call(X), CPU), CPU)
    for step in range(3):
        drawn = random.drawn()
        for k, seed in enumerate(seeds):
            with random.putting([[part[k] for part in parts] for parts in drawn]):
                ours = call(X)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                theirs = [call(X) for _ in range(step + 1)][-1]
            torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)


def test_noting_advances_no_random_state():
    state = torch.get_rng_state()
    assert len(noted_draws(lambda: CALLS["several"](X), CPU)) == 3
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("call", [nn.Dropout(0.5).eval(), nn.Dropout(0.0), nn.AlphaDropout(0.5).eval(), torch.tanh])
def test_calls_that_draw_nothing_are_not_noted(call):
    assert noted_draws(lambda: call(X), CPU) == []


def test_those_who_are_kept_go_on_as_they_were():
    draws = noted_draws(lambda: CALLS["noise"](X), CPU)
    few, all_of_them = (MemberRandomness([5, 6, 7], draws, CPU) for _ in range(2))
    few.drawn(), all_of_them.drawn()
    few.keep(torch.tensor([2, 0]))
    ours, theirs = few.drawn()[0][0], all_of_them.drawn()[0][0]
    assert torch.equal(ours, theirs[[2, 0]])
