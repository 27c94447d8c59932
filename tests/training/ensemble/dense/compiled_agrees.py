"""Run by test_dense_compiled.py: compiled and plain steps of the same ensemble, for several numbers of members."""

import logging

import torch
from dense_cases import net, normal, parameters, samples
from torch import nn

from cloudchamber.models import ScaledOutput
from cloudchamber.training.ensemble.dense.chain import dense_chain
from cloudchamber.training.ensemble.dense.compiled import compiled_step
from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.optimizers import SGD
from cloudchamber.training.ensemble.step import PlainStep


class Recorded(logging.Handler):
    """Fails where a warning says that a step was not compiled."""

    def emit(self, record):
        raise SystemExit(record.getMessage())


def trained(module, make, loss, dtype, steps=20):
    """Return parameters and losses after some steps, the last half with fewer members."""
    layout, flat = parameters(module, 6, dtype=dtype)
    inputs, targets = samples(module, loss, (30,), dtype=dtype)
    fixed = {name: normal(6, seed=5, dtype=dtype) for name, _ in module.named_buffers()}
    gradients = DenseGradients(dense_chain(module), Layout.of(module), loss, False, "exact", fixed)
    optimizer = SGD(lr=0.01)  # Adam divides rounding by what may be no larger
    step, state = make(gradients, optimizer), optimizer.state(flat, layout)
    for number in range(1, steps + 1):
        if number == steps // 2:
            rows = torch.tensor([0, 2, 3, 5])
            flat, state = flat[rows], {name: part[rows] if len(part) == 6 else part for name, part in state.items()}
            step.keep(rows)
        losses = step(flat, state, inputs, targets, torch.tensor(float(number), dtype=torch.float64))
    return flat, losses


def log_cosh(outputs, targets):
    return (outputs - targets).cosh().log().mean()


def agree(module, loss, dtype, tolerance):
    module = module.to(dtype)
    plain, fast = (trained(module, make, loss, dtype) for make in (PlainStep, compiled_step))
    torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance)
    print("agreed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("cloudchamber").addHandler(Recorded())
    # Wide enough for oneDNN's tanh; every compilation takes seconds, so that one module has it all.
    several = nn.Sequential(ScaledOutput(net(5, 70, 7, act="xtanh"), 1.0), nn.Tanh(), nn.GELU(), nn.Linear(7, 2))
    agree(several, log_cosh, torch.float32, 1e-5)
