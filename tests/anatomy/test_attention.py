"""The projections of `nn.MultiheadAttention`: as linear layers of their own would show them, for every option."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from replay_cases import CPU, call, check, refusal, replayed, views_of
from torch import nn
from torch.nn import functional as fn
from view_cases import close, from_factors, gaussian, laws, seeds

from cloudchamber.anatomy.replay import current_random_state, output_tensors, random_state_needed, replay_gradients

N, HEADS, E = 3, 2, 4


def made(seed=0, **options):
    torch.manual_seed(seed)
    module = nn.MultiheadAttention(E, HEADS, dtype=torch.float64, **options)
    with torch.no_grad():  # torch starts the biases at zero
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.normal_()
    return module


def sequence_first(module, tensor):
    return tensor if module.batch_first else tensor.transpose(0, 1)


@st.composite
def calls(draw):
    """An attention of any options, and the arguments of a call."""
    apart = draw(st.booleans())
    module = made(
        draw(seeds),
        batch_first=draw(st.booleans()),
        bias=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.4])),
        add_bias_kv=draw(st.booleans()),
        add_zero_attn=draw(st.booleans()),
        **({"kdim": 3, "vdim": 5} if apart else {}),
    ).train(draw(st.booleans()))
    length = draw(st.integers(1, 4))
    x = sequence_first(module, gaussian(N, length, E, seed=draw(seeds)))
    kind = "all apart" if apart else draw(st.sampled_from(["self", "encoder", "all apart"]))
    source = length if kind == "self" else draw(st.integers(1, 4))
    key = sequence_first(module, gaussian(N, source, module.kdim, seed=draw(seeds)))
    value = sequence_first(module, gaussian(N, source, module.vdim, seed=draw(seeds)))
    args = {"self": (x, x, x), "encoder": (x, key, key), "all apart": (x, key, value)}[kind]
    return module, args, draw(masks(length, source))


@st.composite
def masks(draw, length, source):
    """Keywords of the call: no query is kept from all keys."""
    kwargs = {"need_weights": draw(st.booleans()), "average_attn_weights": draw(st.booleans())}
    later = torch.ones(length, source).triu(1).bool()
    kind = draw(st.sampled_from(["none", "bool", "float", "per head", "causal"]))
    kwargs |= {
        "none": {},
        "bool": {"attn_mask": later},
        "float": {"attn_mask": gaussian(length, source, seed=draw(seeds))},
        "per head": {"attn_mask": gaussian(N * HEADS, length, source, seed=draw(seeds))},
        "causal": {"attn_mask": later, "is_causal": True},
    }[kind]
    if draw(st.booleans()) and source > 1:
        padding = torch.zeros(N, source, dtype=torch.bool)
        padding[0, 1:] = True
        floats = kind in ("float", "per head")
        kwargs["key_padding_mask"] = (
            torch.zeros(N, source, dtype=torch.float64).masked_fill(padding, -9) if floats else padding
        )
    return kwargs


@laws
@given(calls(), seeds)
def test_the_weights_gradient_is_that_of_autograd(case, seed):
    module, args, kwargs = case
    parts = check(module, args, kwargs, seed)
    assert list(parts) == ["query", "key", "value", "out_proj"]
    assert all(part.outputs.shape[0] == N for part in parts.values())


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("extra", [{}, {"add_bias_kv": True, "add_zero_attn": True}])
def test_a_causal_mask_together_with_padding(need_weights, extra):
    module, x = made(batch_first=True, **extra), gaussian(N, 4, E)
    padding = torch.arange(4).expand(N, -1) >= torch.tensor([[4], [2], [3]])
    kwargs = {"attn_mask": torch.ones(4, 4).triu(1).bool(), "is_causal": True, "need_weights": need_weights}
    check(module, (x, x, x), kwargs)
    check(module, (x, x, x), {**kwargs, "key_padding_mask": padding})


@pytest.mark.parametrize("sample", range(N))
def test_projections_equal_those_of_an_unfused_twin_sample_by_sample(sample):
    module, x, targets = made(batch_first=True), gaussian(N, 5, E), gaussian(N, 5, E, seed=1)
    outputs = module(x, x, x, need_weights=False)
    (sent,) = torch.autograd.grad(((outputs[0] - targets) ** 2).sum(), outputs[0])
    parts, _ = replay_gradients(module, (x, x, x), {"need_weights": False}, outputs, [sent])
    weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    projected = [x[sample] @ weight.T + bias for weight, bias in zip(weights, biases, strict=True)]
    q, k, v = (each.chunk(HEADS, 1) for each in projected)
    heads = [torch.softmax(q_h @ k_h.T / 2**0.5, 1) @ v_h for q_h, k_h, v_h in zip(q, k, v, strict=True)]
    mixed = torch.cat(heads, 1)
    out = mixed @ module.out_proj.weight.T + module.out_proj.bias
    expected = torch.autograd.grad(((out - targets[sample]) ** 2).sum(), [*projected, out])
    for name, z, g in zip(parts, [*projected, out], expected, strict=True):
        close(parts[name].outputs[sample], z.detach())
        close(parts[name].output_gradients[sample], g)
        close(parts[name].feature_gradients[sample], g)
    close(parts["key"].inputs[sample], x[sample])
    close(parts["out_proj"].inputs[sample], mixed.detach())


def test_gradients_of_the_attention_weights_count_too():
    module, x = made(batch_first=True), gaussian(N, 5, E)
    outputs = module(x, x, x)
    assert len(output_tensors(outputs)) == 2
    sent = [None, gaussian(N, 5, 5)]
    parts, _ = replay_gradients(module, (x, x, x), {}, outputs, sent)
    assert parts["query"].output_gradients.any()
    assert not parts["value"].output_gradients.any()
    module.zero_grad()
    outputs[1].backward(sent[1])
    view = views_of(module)[0]
    found = from_factors(view, parts["query"].inputs, parts["query"].output_gradients)
    close(found[:, :-1], module.in_proj_weight.grad[:E])


def test_names_and_sizes():
    module = made(kdim=3, vdim=5)
    views = {view.name: view for view in views_of(module, "block.attn")}
    assert list(views) == [f"block.attn.{part}" for part in ("query", "key", "value", "out_proj")]
    assert [view.fan_in for view in views.values()] == [E, 3, 5, E]
    assert views["block.attn.key"].module == "block.attn"
    assert views["block.attn.out_proj"].module == "block.attn.out_proj"
    assert views["block.attn.key"].layer_type == "MultiheadAttention key"
    close(views["block.attn.key"].neurons()[:, :-1], module.k_proj_weight.detach(), 0)
    close(views["block.attn.key"].neurons()[:, -1], module.in_proj_bias[E : 2 * E].detach(), 0)


def test_dropout_needs_the_random_state_of_the_call():
    module, x = made(dropout=0.5), gaussian(4, N, E)
    for kwargs in ({"need_weights": True}, {"need_weights": False}):
        outputs, gradients, state = call(module, (x, x, x), kwargs)
        assert replay_gradients(module, (x, x, x), kwargs, outputs, gradients, state)[1] == ""
        assert "state before is not known" in refusal(module, (x, x, x), outputs, kwargs)
        other = current_random_state(CPU)
        assert "its dropout drew other random numbers" in refusal(module, (x, x, x), outputs, kwargs, other)
    assert not random_state_needed(module.eval())


def test_a_call_that_the_replay_does_not_reproduce_is_refused():
    module, x = made(), gaussian(4, N, E)
    outputs = module(x, x, x)
    assert "its outputs are others" in refusal(module, (x, x, x + 1), outputs)
    assert "its outputs are others" in refusal(module, (x, x, x), outputs, {"average_attn_weights": False})
    assert "its outputs are others" in refusal(module, (x, x, x), outputs, {"need_weights": False})
    one = x[:, 0]
    assert "without a dimension of samples" in refusal(module, (one, one, one), module(one, one, one))


def test_the_fast_path_of_evaluation_is_the_same_computation():
    module, x = made(batch_first=True).eval(), gaussian(N, 5, E)
    with torch.no_grad():
        outputs = module(x, x, x)
    parts, reason = replay_gradients(module, (x, x, x), {}, outputs, [gaussian(N, 5, E), None])
    assert reason == ""
    assert parts["query"].output_gradients.any()


@pytest.mark.parametrize("norm_first", [False, True])
def test_inside_a_transformer_in_training_with_dropout(norm_first):
    torch.manual_seed(0)
    model = nn.TransformerDecoderLayer(E, HEADS, 7, 0.3, batch_first=True, norm_first=norm_first, dtype=torch.float64)
    seen = {}

    def before(module, args, kwargs):
        seen[module] = [current_random_state(CPU)]

    def after(module, args, kwargs, outputs):
        outputs[0].retain_grad()
        seen[module] += [args, kwargs, outputs]

    attentions = [model.self_attn, model.multihead_attn]
    for attention in attentions:
        attention.register_forward_pre_hook(before, with_kwargs=True)
        attention.register_forward_hook(after, with_kwargs=True)
    model(gaussian(N, 5, E), gaussian(N, 6, E, seed=1)).square().sum().backward()
    for attention in attentions:
        state, args, kwargs, outputs = seen[attention]
        parts, reason = replay_gradients(attention, args, kwargs, outputs, [outputs[0].grad], state)
        assert reason == ""
        found = [
            from_factors(view, parts[view.part].inputs, parts[view.part].output_gradients)
            for view in views_of(attention)
        ]
        close(torch.cat(found[:3])[:, :-1], attention.in_proj_weight.grad)
        close(torch.cat(found[:3])[:, -1], attention.in_proj_bias.grad)
        close(found[3][:, :-1], attention.out_proj.weight.grad)


def test_nan_is_data():
    module, x = made(batch_first=True), gaussian(N, 5, E)
    x[1, 2] = torch.nan
    parts = replayed(module, (x, x, x))
    assert parts["query"].outputs[1, 2].isnan().all()
    assert not parts["out_proj"].outputs[[0, 2]].isnan().any()


def test_other_precisions():
    module, x = made(batch_first=True).to(torch.bfloat16), gaussian(N, 5, E, dtype=torch.bfloat16)
    parts = replayed(module, (x, x, x))
    assert parts["value"].output_gradients.dtype == torch.bfloat16
    expected = fn.linear(x, *(each.chunk(3)[2] for each in (module.in_proj_weight, module.in_proj_bias)))
    close(parts["value"].outputs.float(), expected.detach().float(), 0.05)
