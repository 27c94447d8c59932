"""The compiled step: same numbers, in a process without type checks (the compiler cannot follow these)."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dense_cases import net, parameters, samples

from cloudchamber.training.ensemble.dense import compiled
from cloudchamber.training.ensemble.dense.chain import dense_chain
from cloudchamber.training.ensemble.dense.compiled import Compilation, CompiledGradients, can_compile, compiled_step
from cloudchamber.training.ensemble.dense.gradients import DenseGradients
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.optimizers import Adam
from cloudchamber.training.ensemble.step import PlainStep

SCRIPT = Path(__file__).parent / "compiled_agrees.py"


def dense(module, loss="mse"):
    return DenseGradients(dense_chain(module), Layout.of(module), loss, False)


@pytest.mark.skipif(not can_compile(), reason="torch finds no C++ compiler")
def test_compiled_steps_agree_with_plain_ones():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "agreed\n"


def test_without_a_compiler_the_step_is_plain(monkeypatch):
    monkeypatch.setattr(compiled, "can_compile", lambda: False)
    gradients = dense(net(3, 4, 1))
    step = compiled_step(gradients, Adam())
    assert isinstance(step, PlainStep)
    assert step.gradients is gradients


def test_a_missing_compiler_is_noticed(monkeypatch):
    from torch._inductor import cpp_builder

    def none_found():
        raise RuntimeError("no g++")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    assert not can_compile.__wrapped__()


def failing(*_, **__):
    def run(*_):
        raise RuntimeError("Python.h is missing\nand more")

    return run


def test_if_compiling_fails_steps_go_on_as_they_are_and_it_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(torch, "compile", failing)
    module = net(3, 4, 1).double()
    _, flat = parameters(module, 4)
    inputs, targets = samples(module, "mse", (5,))
    plain = dense(module)
    gradients = CompiledGradients(plain)
    gradients._compilation = Compilation(plain.program)
    out, expected = torch.empty_like(flat), torch.empty_like(flat)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            losses = gradients(flat, inputs, targets, out)
    assert torch.equal(losses, plain(flat, inputs, targets, expected))
    assert torch.equal(out, expected)
    assert [record.message for record in caplog.records] == [
        "the steps of an ensemble go on without being compiled: Python.h is missing"
    ]


def test_what_is_wrong_with_the_arguments_is_said_as_without_a_compiler(monkeypatch, caplog):
    monkeypatch.setattr(torch, "compile", failing)
    module = net(3, 4, 1).double()
    _, flat = parameters(module, 4)
    compilation = Compilation(dense(module).program)
    with pytest.raises(RuntimeError, match=r"[Ss]ize"):
        compilation(flat, {}, torch.zeros(5, 7, dtype=torch.float64), torch.zeros(5, 1, dtype=torch.float64))
    assert not caplog.records


def test_equal_programs_share_what_was_compiled():
    first, second = (CompiledGradients(dense(net(3, 4, 1))) for _ in range(2))
    assert first._compilation is second._compilation
    assert CompiledGradients(dense(net(3, 5, 1)))._compilation is not first._compilation


class Unhashable:
    __hash__ = None

    def __call__(self, outputs, targets):
        return (outputs - targets).square().mean()


def test_a_loss_that_cannot_be_a_key_shares_nothing():
    loss = Unhashable()
    first, second = (CompiledGradients(dense(net(3, 4, 1), loss)) for _ in range(2))
    assert first._compilation is not second._compilation
