"""Plans are printed, replayed on other checkpoints, saved and loaded; the given model never changes."""

import copy
import json

import pytest
import torch
from reduction.merging_cases import CASES, made, widths
from torch import nn
from unchecked import refused

import cloudchamber as cc


def condensed(name, noise=0.0, dtype=torch.float64):
    model, x, copies = made(name, dtype=dtype)
    return cc.split_neurons(model, x, copies, tie="inputs", noise=noise), x


@pytest.mark.parametrize("name", CASES)
def test_a_merged_network_is_rebuilt_from_its_class(name, tmp_path):
    wide, x = condensed(name)
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    cc.save_merged(small, summary, tmp_path / "merged")
    make, _, copies = CASES[name]

    def original():
        model = make().double().eval()
        return cc.split_neurons(model, x, copies)

    again = cc.load_merged(tmp_path / "merged", original)
    assert torch.equal(again(x), small(x))
    plan = cc.load_plan(tmp_path / "merged")
    assert str(plan) == str(summary.plan)
    replayed, _ = plan.apply(wide)
    assert torch.allclose(replayed(x), small(x), atol=1e-12)


def test_a_plan_is_replayed_on_another_checkpoint(tmp_path):
    wide, x = condensed("gelu")
    plan = cc.plan_merge(wide, x, tolerance=0)
    other = copy.deepcopy(wide)
    with torch.no_grad():  # copies stay copies, all else moves
        other[4].weight.normal_()
        other[0].weight.mul_(1.1)
    small, summary = plan.apply(other, x)
    assert summary.error.relative < 1e-6
    assert widths(small) == widths(plan.apply(wide)[0])
    blind, _ = plan.apply(other)  # without examples: the plan's own factors, which are 1 for copies
    assert torch.allclose(blind(x), other(x), atol=1e-9)


def test_a_plan_says_what_it_will_do():
    wide, x = condensed("residual")
    text = str(cc.plan_merge(wide, x, tolerance=1e-6))
    assert "stem + block1.conv2 + block2.conv2: 8 → 4; 4 merged" in text
    assert "40 examples fitted, 40 held out" in text


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_model_stays_as_it_is(mode):
    wide, x = condensed("residual", dtype=torch.float32)
    getattr(wide, mode)()
    before, random = copy.deepcopy(wide.state_dict()), torch.random.get_rng_state()
    modules = {name: dict(vars(module)) for name, module in wide.named_modules()}
    small, _ = cc.merge_neurons(wide, x, tolerance=1e-3, fine_tune_steps=3)
    assert all(torch.equal(value, before[name]) for name, value in wide.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(vars(module).keys() == modules[name].keys() for name, module in wide.named_modules())
    assert all(module.training == (mode == "train") for module in wide.modules())
    assert all(module.training == (mode == "train") for module in small.modules())
    assert all(parameter.grad is None for parameter in wide.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in wide.modules())


def test_fine_tuning_wins_back_and_never_loses():
    wide, x = condensed("tanh", noise=0.3)
    rough, merged = cc.merge_neurons(wide, x, tolerance=0.3)
    tuned, summary = cc.merge_neurons(wide, x, tolerance=0.3, fine_tune_steps=200)
    assert widths(tuned) == widths(rough)
    assert summary.error.relative < merged.error.relative
    y = torch.randint(0, 3, (len(x),))
    _, labelled = cc.merge_neurons(wide, x, tolerance=0.3, fine_tune_steps=5, targets=y)
    assert labelled.fine_tuned == 5


def test_a_tighter_tolerance_is_kept_and_merges_no_more():
    wide, x = condensed("tanh", noise=0.1)
    kept = []
    for tolerance in (0.3, 0.03, 1e-3, 0):
        small, summary = cc.merge_neurons(wide, x, tolerance=tolerance)
        assert summary.error.relative <= max(tolerance, 1e-12)
        kept.append(sum(parameter.numel() for parameter in small.parameters()))
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


def test_what_is_damaged_or_does_not_fit_is_said(tmp_path):
    wide, x = condensed("relu")
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    folder = cc.save_merged(small, summary, tmp_path / "merged")
    with pytest.raises(cc.InvalidInput, match="another checkpoint"):
        cc.load_merged(folder, lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)))
    with pytest.raises(cc.InvalidInput, match="another checkpoint"):
        summary.plan.apply(nn.Sequential(nn.Linear(5, 14)))
    (folder / "plan.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(cc.DamagedFile, match="merge and save it again"):
        cc.load_plan(folder)
    with pytest.raises(cc.FileAccess, match="check the path"):
        cc.load_plan(tmp_path)


class Stubborn(nn.Module):
    """Fails with any other width, which no trace shows."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = Exact(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Exact(nn.Linear):
    def forward(self, x):
        if self.out_features != 6:
            raise RuntimeError("six it is")
        return super().forward(x)


def test_a_model_that_does_not_run_narrower_is_left_alone_and_named():
    model, x = Stubborn(), torch.randn(20, 4)
    with torch.no_grad():
        model.fc1.weight[3], model.fc1.bias[3] = model.fc1.weight[1], model.fc1.bias[1]
    small, summary = cc.merge_neurons(model, x, tolerance=0)
    assert small.fc1.out_features == 6
    assert "six it is" in dict(summary.plan.skipped)["fc1"]


def test_an_unsupported_layer_in_a_residual_group_is_named():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.branch = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.head = nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return self.head(x + self.norm(self.branch(x)))

    plan = cc.plan_merge(Mixed(), torch.randn(20, 1, 5, 5))
    reasons = dict(plan.skipped)
    assert "GroupNorm, which mixes channels" in reasons["branch"]
    assert reasons["stem"]
    assert not plan.layers


@pytest.mark.parametrize("tolerance", [-1e-3, float("nan"), float("inf")])
def test_a_tolerance_is_a_relative_change(tolerance):
    with pytest.raises(cc.InvalidInput, match="0 or more"):
        cc.merge_neurons(*condensed("relu"), tolerance=tolerance)


def test_other_bad_input_is_said():
    wide, x = condensed("relu")
    with pytest.raises(cc.InvalidInput, match=r"\(10, 4\).*Remedy"):
        cc.merge_neurons(wide, torch.randn(10, 4).double())
    with pytest.raises(cc.InvalidInput, match="finite"):
        cc.merge_neurons(wide, x * torch.nan)
    with pytest.raises(cc.InvalidInput, match="updates"):
        cc.merge_neurons(wide, x, fine_tune_steps=-1)
    with refused("a module"):
        cc.merge_neurons(wide.forward, x)  # pyright: ignore
    with pytest.raises(cc.InvalidInput, match="tensors"):
        cc.merge_neurons(wide, None)
    with pytest.raises(cc.InvalidInput, match="target for each"):
        cc.merge_neurons(wide, x, fine_tune_steps=1, targets=torch.zeros(3))


def test_one_example_is_enough_and_nothing_is_held_out():
    wide, x = condensed("relu")
    _, summary = cc.merge_neurons(wide, x[:1], tolerance=0)
    assert summary.plan.examples == (1, 0)
    assert "none held out" in str(summary.plan)
