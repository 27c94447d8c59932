"""Passive observation shows what the training step itself computed, and changes not a bit of it."""

import pytest
import torch
from models_zoo import ZOO
from passive_cases import FIELDS, Keeps, assert_same_bits, train

from cloudchamber.anatomy import PassivePass, capture, choose_views


@pytest.mark.parametrize("options", [{"held": FIELDS | {"weight"}}, {"streamed": FIELDS}], ids=["held", "streamed"])
@pytest.mark.parametrize("name", ZOO)
def test_training_is_bit_identical(name, options):
    plain, _ = train(ZOO[name], watch=False)
    seen, results = train(ZOO[name], watch=True, **options)
    assert_same_bits(plain, seen)
    assert all(list(result.layers) == list(ZOO[name].layers) for result in results)
    assert all(not result.reason and result.passes == (0,) for result in results)
    if "held" in options:
        for result in results:
            for layer in result.layers.values():
                assert all(getattr(layer, field) is not None for field in FIELDS | {"weight"})


@pytest.mark.parametrize("name", ["MLP", "CNN with batch norm", "ResNet", "dropout net", "tiny GPT", "LSTM"])
@pytest.mark.parametrize("how", [{"accumulate": 3}, {"context": lambda: torch.autocast("cpu", torch.bfloat16)}])
def test_accumulated_gradients_and_autocast_are_bit_identical(name, how):
    plain, _ = train(ZOO[name], watch=False, steps=4, **how)
    seen, results = train(ZOO[name], watch=True, steps=4, every=1, held=FIELDS, streamed=FIELDS, **how)
    assert_same_bits(plain, seen)
    assert all(result.samples == (12,) * how.get("accumulate", 1) for result in results)


@pytest.mark.parametrize("name", ZOO)
def test_it_shows_what_a_probe_pass_in_training_mode_shows(name):
    """In float64 against `capture` on the same batch, in the learning pass and in a planned one."""
    case, dtype = ZOO[name], torch.float64
    model = case.make(dtype)
    chosen, plan, probe_plan = choose_views(model, None), None, None
    for step in range(3):
        x, y = case.batch(step, dtype=dtype)
        torch.manual_seed(step)
        for _ in range(2):  # the first may be made in two passes, which draw other masks
            twin = capture(
                model,
                x,
                lambda out, y=y: case.loss(out, y),
                layers=chosen,
                fields=FIELDS | {"weight"},
                training_mode=True,
                plan=probe_plan,
            )
            probe_plan = twin.plan
        with PassivePass(model, chosen, held=FIELDS | {"weight"}, plan=plan) as armed:
            case.loss(model(x), y).backward()
        plan = armed.result.plan
        assert list(armed.result.layers) == list(twin.layers) == list(case.layers)
        for key, layer in armed.result.layers.items():
            assert (layer.activation, layer.next) == (case.layers[key], twin.layers[key].next)
            for field in FIELDS | {"weight"}:
                found, expected = getattr(layer, field), getattr(twin.layers[key], field)
                torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        model.zero_grad()


@pytest.mark.parametrize("name", ZOO)
def test_what_is_streamed_is_what_is_held(name):
    case = ZOO[name]
    model = case.make()
    chosen, plan = choose_views(model, None), None
    for step in range(3):
        x, y = case.batch(step)
        sink = Keeps()
        torch.manual_seed(0)
        with PassivePass(model, chosen, streamed=FIELDS, sink=sink, plan=plan) as streaming:
            case.loss(model(x), y).backward()
        torch.manual_seed(0)
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as holding:
            case.loss(model(x), y).backward()
        plan = streaming.result.plan
        assert {key for _, key, _ in sink.told} == set(case.layers)
        for (number, key, field), tensor in sink.told.items():
            assert number == 0
            assert torch.equal(tensor, getattr(holding.result.layers[key], field)), (key, field)
        assert len(sink.told) == len(case.layers) * len(FIELDS)
        assert all(getattr(layer, field) is None for layer in streaming.result.layers.values() for field in FIELDS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ZOO)
def test_on_a_gpu(name):
    case = ZOO[name]
    model = case.make().cuda()
    chosen, plan = choose_views(model, None), None
    for step in range(3):
        x, y = (tensor.cuda() for tensor in case.batch(step))
        with PassivePass(model, chosen, held=FIELDS, plan=plan) as armed:
            case.loss(model(x), y).backward()
        plan = armed.result.plan
        assert list(armed.result.layers) == list(case.layers)
        assert all(layer.features.is_cuda for layer in armed.result.layers.values())
