"""What holds for every gradient flow."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn
from training.flow_cases import data, flat, gaussian, laws, net, unchanged

from cloudchamber.training.flow.explicit import DormandPrince, KernelEuler
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.stops import LossBelow, LossRatio, Steps, Time

METHODS = [DormandPrince(1e-5), Exponential(1e-5), KernelEuler()]
names = {"ids": lambda method: type(method).__name__}
seeds = st.integers(0, 10_000)


@pytest.mark.parametrize("method", METHODS, **names)
@laws
@given(seed=seeds, scale=st.sampled_from([0.01, 0.5, 2.0]), act=st.sampled_from([nn.Tanh, nn.ReLU]))
def test_the_loss_never_rises(method, seed, scale, act):
    model = net(2, 6, 1, seed=seed, scale=scale, act=act)
    flow = gradient_flow(model, data(seed=seed), until=[LossRatio(0.1), Steps(40)], method=method)
    times, losses = flow.times[0], flow.losses[0]
    assert (times.diff() > 0).all()
    assert (losses.diff() <= 1e-14 * losses[0]).all()
    assert losses[-1] == flow.loss[0] < losses[0]


@pytest.mark.parametrize("method", [DormandPrince(0.9), Exponential(0.9)], **names)
def test_it_never_rises_however_crude_the_step(method):
    models = [net(2, 20, 1, seed=seed, scale=1.5) for seed in range(20)]
    flow = gradient_flow(models, data(), until=Steps(25), method=method)
    assert int(flow.refused_steps.sum()) > 0
    assert (flow.losses.diff(dim=1).nan_to_num(nan=-1.0) <= 1e-14 * flow.losses[:, :1]).all()


@pytest.mark.parametrize("method", METHODS, **names)
@laws
@given(seed=seeds, factor=st.floats(0.01, 100.0))
def test_scaling_all_rates_scales_time(method, seed, factor):
    model = net(2, 5, 1, seed=seed)
    plain = gradient_flow(model, data(), until=Time(1.0), method=method)
    scaled = gradient_flow(model, data(), until=Time(1.0 / factor), rates={"0": factor, "2": factor}, method=method)
    assert torch.allclose(flat(plain.parameters), flat(scaled.parameters), rtol=1e-9, atol=1e-11)
    assert torch.equal(plain.steps, scaled.steps)


@pytest.mark.parametrize("method", METHODS, **names)
def test_a_member_of_a_stack_is_that_model_alone(method):
    models = [net(2, 5, 1, seed=seed, scale=0.2 + 0.3 * seed) for seed in range(4)]
    rates = torch.tensor([0.5, 1.0, 2.0, 3.0])
    rule = [LossRatio(0.3), Steps(300)]
    options = {"until": rule, "method": method, "times": [0.1, 0.5]}
    stack = gradient_flow(models, data(), rates={"0": rates}, **options)
    assert len(set(stack.steps.tolist())) > 1  # they stop on their own
    for place, model in enumerate(models):
        alone = gradient_flow(model, data(), rates={"0": float(rates[place])}, **options)
        assert alone.stopped[0] == stack.stopped[place]
        assert int(alone.steps) == int(stack.steps[place])
        for name, value in alone.parameters.items():
            assert torch.allclose(value[0], stack.parameters[name][place], rtol=1e-9, atol=1e-12)
        snapshots = flat(alone.snapshots), flat(stack.snapshots, place)
        assert torch.allclose(*snapshots, rtol=1e-9, atol=1e-12, equal_nan=True)
        held = stack.times[place][: int(alone.steps) + 1]
        assert torch.allclose(alone.times[0], held, rtol=1e-9)
        assert stack.times[place][int(alone.steps) + 1 :].isnan().all()


def test_chunks_change_nothing():
    models = [net(2, 5, 1, seed=seed) for seed in range(5)]
    whole = gradient_flow(models, data(), until=Time(1.0))
    parts = gradient_flow(models, data(), until=Time(1.0), chunk=2)
    assert torch.equal(whole.steps, parts.steps)
    assert torch.allclose(whole.losses, parts.losses, rtol=1e-9, equal_nan=True)
    for name, value in whole.parameters.items():
        assert torch.allclose(value, parts.parameters[name], rtol=1e-9)


@pytest.mark.parametrize(("method", "more"), [(DormandPrince(1e-5), 80), (Exponential(1e-5), 80)])
def test_a_plateau_costs_few_steps(method, more):
    """Ten thousand times smaller an initialization: a plateau many times as long, in a few more steps."""
    runs = [
        gradient_flow(net(2, 10, 1, scale=scale, bias=False), data(), until=LossRatio(0.9), method=method)
        for scale in (1e-2, 1e-6)
    ]
    assert all(flow.stopped == ("loss_ratio",) for flow in runs)
    assert float(runs[1].time) > 2.5 * float(runs[0].time)
    assert int(runs[1].steps) - int(runs[0].steps) < more


def test_a_stiff_late_phase_costs_the_exponential_step_little():
    x = gaussian(6, 3) * torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
    model, samples = net(3, 30, 1), (x, gaussian(6, 1, seed=4))
    rule = Time(60.0)
    explicit = gradient_flow(model, samples, until=rule, method=DormandPrince(1e-5))
    exponential = gradient_flow(model, samples, until=rule, method=Exponential(1e-5))
    assert torch.allclose(exponential.loss, explicit.loss, rtol=1e-3)
    assert 5 * int(exponential.steps) < int(explicit.steps)


class TestSnapshots:
    def test_they_are_the_flow_to_that_time(self):
        model = net(2, 5, 1)
        flow = gradient_flow(model, data(), until=Time(2.0), times=[0.0, 0.3, 1.7, 5.0], method=DormandPrince(1e-9))
        assert torch.allclose(flat(flow.snapshots)[:10].reshape(1, -1), flow.snapshots["0.weight"][0, 0].reshape(1, -1))
        assert torch.equal(flow.snapshots["0.weight"][0, 0], model[0].weight.detach())
        for place, time in enumerate([0.3, 1.7], start=1):
            short = gradient_flow(model, data(), until=Time(time), method=DormandPrince(1e-9))
            assert torch.allclose(flow.snapshots["0.weight"][0, place], short.parameters["0.weight"][0], rtol=1e-8)
            assert float(flow.snapshot_times[0, place]) == time
        assert flow.snapshots["0.weight"][0, 3].isnan().all()
        assert flow.snapshot_times[0, 3].isnan()

    def test_loss_ratios_are_kept_at_the_first_step_below(self):
        flow = gradient_flow(net(2, 5, 1), data(), until=LossRatio(0.4), loss_ratios=[0.9, 0.5, 0.1])
        ratios = flow.losses[0] / flow.losses[0, 0]
        for place, ratio in enumerate([0.9, 0.5]):
            first = int((ratios <= ratio).nonzero()[0])
            assert flow.snapshot_times[0, place] == flow.times[0, first]
        assert flow.snapshot_times[0, 2].isnan()

    def test_times_change_the_flow_within_its_tolerance_only(self):
        plain = gradient_flow(net(2, 5, 1), data(), until=Time(1.0))
        kept = gradient_flow(net(2, 5, 1), data(), until=Time(1.0), times=torch.linspace(0, 1, 30))
        assert torch.allclose(flat(plain.parameters), flat(kept.parameters), rtol=1e-4, atol=1e-6)


class TestStops:
    def test_rules_are_met_and_named(self):
        for rule, reason in [
            (LossRatio(0.5), "loss_ratio"),
            (LossBelow(0.8), "loss"),
            (Time(0.7), "time"),
            (Steps(3), "steps"),
        ]:
            flow = gradient_flow(net(2, 5, 1), data(), until=rule)
            assert flow.stopped == (reason,)
        assert int(flow.steps) == 3

    def test_the_first_rule_met_ends_it(self):
        flow = gradient_flow(net(2, 5, 1), data(), until=[Time(1e6), Steps(2)])
        assert flow.stopped == ("steps",)
        assert gradient_flow(net(2, 5, 1), data(), until=Time(0.0)).stopped == ("time",)

    def test_a_limit_on_steps_always_holds(self):
        flow = gradient_flow(net(2, 5, 1), data(), until=LossBelow(-1.0), most_steps=7)
        assert flow.stopped == ("steps",)

    def test_a_critical_point_is_stationary(self):
        flow = gradient_flow(net(2, 5, 1, scale=0.0, bias=False), data(), until=LossRatio(0.5))
        assert flow.stopped == ("stationary",)
        assert int(flow.steps) == 0

    def test_not_a_number_stops_at_once_and_keeps_the_data(self):
        models = [net(2, 5, 1), net(2, 5, 1)]
        with torch.no_grad():
            models[0][0].weight[0, 0] = torch.nan
        flow = gradient_flow(models, data(), until=Time(0.5), times=[0.0])
        assert flow.stopped == ("not_finite", "time")
        assert flow.loss[0].isnan()
        assert flow.times[0, 0] == 0
        assert flow.parameters["2.weight"][0].isfinite().all()

    def test_a_loss_that_breaks_on_the_way_keeps_what_was_reached(self):
        """R = mean √θ·x falls to where θ = 0: beyond, it is no number."""
        model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        nn.init.ones_(model.weight)
        x = torch.ones(1, 1, dtype=torch.float64)
        flow = gradient_flow(model, (x, x), loss=lambda out, _: out.sqrt().mean(), until=Time(5.0))
        assert flow.stopped[0] in ("not_finite", "stalled")
        assert float(flow.time) == pytest.approx(4 / 3, rel=1e-4)  # θ^{3/2} = 1 − 3t/4
        assert flow.losses[0].isfinite().all()


class TestModels:
    def test_the_model_is_not_changed_until_asked(self):
        model = net(2, 5, 1)
        before = unchanged(model)
        flow = gradient_flow(model, data(), until=Time(1.0))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
        flow.load_into(model)
        assert torch.equal(model[0].weight.detach(), flow.parameters["0.weight"][0])

    def test_float32_models_flow_in_float64(self):
        model = net(2, 5, 1).float()
        flow = gradient_flow(model, data(), until=Time(1.0))
        assert flow.parameters["0.weight"].dtype == torch.float64
        flow.load_into(model)
        assert model[0].weight.dtype == torch.float32

    def test_frozen_parameters_stay(self):
        model = net(2, 5, 1)
        model[0].requires_grad_(False)
        flow = gradient_flow(model, data(), until=Time(1.0))
        assert list(flow.parameters) == ["2.weight", "2.bias"]
        thawed = net(2, 5, 1)
        frozen = gradient_flow(thawed, data(), until=Time(1.0), rates={"0": 1e-12})
        assert torch.allclose(flow.parameters["2.weight"], frozen.parameters["2.weight"], rtol=1e-6)

    def test_buffers_are_used_and_not_changed(self):
        model = nn.Sequential(net(2, 5, 3), nn.BatchNorm1d(3, dtype=torch.float64), net(3, 1))
        model.eval()
        with torch.no_grad():
            model[1].running_mean += 1
        before = unchanged(model)
        flow = gradient_flow(model, data(), until=Time(0.5))
        assert flow.stopped == ("time",)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_what_comes_back_has_been_away(self):
        """y = 3x + 1 from w = 0, b = 1: the bias helps first, and returns."""
        model, x = nn.Linear(1, 1, dtype=torch.float64), torch.linspace(1, 2, 5, dtype=torch.float64)[:, None]
        with torch.no_grad():
            model.weight.fill_(0.0)
            model.bias.fill_(1.0)
        flow = gradient_flow(model, (x, 3 * x + 1), until=Time(1000.0), method=Exponential(1e-4))
        assert float(flow.parameters["bias"]) == pytest.approx(1.0, abs=1e-6)
        assert float(flow.relative_distance["bias"]) > 1.0
        assert float(flow.relative_distance["weight"]) == torch.inf

    def test_relative_distance_is_the_largest_over_steps(self):
        model = net(2, 5, 1)
        flow = gradient_flow(model, data(), until=Time(3.0), times=torch.linspace(0, 3, 50))
        start = model[0].weight.detach()
        away = (flow.snapshots["0.weight"][0] - start).flatten(1).norm(dim=1) / start.norm()
        assert float(flow.relative_distance["0.weight"]) == pytest.approx(float(away.max()), rel=1e-2)
        assert float(flow.relative_distance["0.weight"]) >= float(away.max())
