"""Heads of attention: those that were split merge back; attention with other heads computes what torch's does."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from models_zoo import Attention
from reduction.attentions import Apart, ByHead, Causal, Counted, KeysFirst, NoAttention, Stream, Strict
from reduction.merging_cases import widths
from torch import nn

import cloudchamber as cc
from cloudchamber.anatomy import default_forward
from cloudchamber.reduction import merge_finding
from cloudchamber.reduction.heads import HeadwiseAttention, find_hosts
from cloudchamber.reduction.heads.blocks import Blocks, HeadGroups, merged

laws = settings(max_examples=15, deadline=None)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blocks_of(seed, heads=3, width=2, values=2, inputs=5, outputs=5):
    q, k = drawn(seed, heads, width, inputs + 1), drawn(seed + 1, heads, width, inputs + 1)
    return Blocks(q, k, drawn(seed + 2, heads, values, inputs + 1), drawn(seed + 3, heads, outputs, values))


def attended(blocks, x):
    """Heads as they are written in books, one after the other."""
    rows = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    total = torch.zeros(len(x), blocks.o.shape[1], dtype=torch.float64)
    for q, k, v, o in zip(blocks.q, blocks.k, blocks.v, blocks.o, strict=True):
        scores = (rows @ q.T) @ (rows @ k.T).T / len(q) ** 0.5
        total += torch.softmax(scores, -1) @ rows @ v.T @ o.T
    return total


def with_copy(blocks, turned):
    """The last head gets the attention of the first, in other coordinates."""
    turn = drawn(turned, 2, 2) + 2 * torch.eye(2, dtype=torch.float64)
    q, k = blocks.q.clone(), blocks.k.clone()
    q[-1], k[-1] = turn @ q[0], torch.linalg.inv(turn).T @ k[0]
    k[-1, :, -1] += 1.0  # adds the same to the scores of all keys
    return Blocks(q, k, blocks.v, blocks.o)


@laws
@given(seed=st.integers(0, 1000))
def test_heads_with_one_attention_are_one_with_their_values_side_by_side(seed):
    blocks, x = with_copy(blocks_of(seed), seed + 9), drawn(seed + 4, 6, 5)
    wide = merged(blocks, HeadGroups(torch.tensor([0, 1, 0]), torch.tensor([0, 1]), 2, 4))
    assert wide.size == (2, 2, 4)
    assert torch.allclose(attended(wide, x), attended(blocks, x), atol=1e-9)


@laws
@given(seed=st.integers(0, 1000))
def test_they_are_one_of_the_same_width_where_the_rank_allows_it(seed):
    blocks, x = with_copy(blocks_of(seed), seed + 9), drawn(seed + 4, 6, 5)
    blocks.v[2] = drawn(seed + 5, 2, 2) @ blocks.v[0]
    narrow = merged(blocks, HeadGroups(torch.tensor([0, 1, 0]), torch.tensor([0, 1]), 2, 2))
    assert torch.allclose(attended(narrow, x), attended(blocks, x), atol=1e-9)
    blocks.q[:2, 1], blocks.k[:2, 1] = blocks.q[:2, 0], 2 * blocks.k[:2, 0]  # scores of rank 1
    lower = merged(blocks, HeadGroups(torch.tensor([0, 1, -1]), torch.tensor([0, 1]), 1, 2))
    two = Blocks(*(each[:2] for each in (blocks.q, blocks.k, blocks.v, blocks.o)))
    assert torch.allclose(attended(lower, x), attended(two, x), atol=1e-9)


def rewritten(attention, x):
    """The same attention as a `HeadwiseAttention`."""
    model = nn.ModuleDict({"inner": attention})
    hosts, skipped = find_hosts(model, x, lambda model, x: model["inner"](x, x, x, need_weights=False)[0])
    assert not skipped
    hosts[0].write(model, hosts[0].read(model))
    return model["inner"]


@pytest.mark.parametrize(("batch_first", "bias"), [(True, True), (False, False)])
def test_attention_of_any_heads_computes_what_torchs_does(batch_first, bias):
    attention = nn.MultiheadAttention(8, 4, bias=bias, batch_first=batch_first).double().eval()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, y = drawn(0, 3, 5, 8), drawn(1, 3, 5, 8)
    ours = rewritten(attention, x)
    assert isinstance(ours, HeadwiseAttention)
    causal = torch.triu(torch.full((5, 5), -torch.inf, dtype=torch.float64), 1)
    padding = torch.zeros(3, 5, dtype=torch.bool).index_fill(1, torch.tensor([4]), True)
    padding = padding if batch_first else torch.zeros(5, 3, dtype=torch.bool).index_fill(1, torch.tensor([2]), True)
    per_head = 0.3 * drawn(2, (3 if batch_first else 5) * 4, *((5, 5) if batch_first else (3, 3)))
    causal = causal if batch_first else causal[:3, :3]
    for arguments in (
        {},
        {"need_weights": False},
        {"attn_mask": causal, "is_causal": True, "need_weights": False},
        {"attn_mask": causal == -torch.inf, "average_attn_weights": False},
        {"key_padding_mask": padding, "attn_mask": causal == -torch.inf},
        {"key_padding_mask": padding, "need_weights": False},
        {"attn_mask": per_head},
    ):
        for a, b in zip(ours(x, y, y, **arguments), attention(x, y, y, **arguments), strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.allclose(a, b, atol=1e-12)
    assert torch.allclose(ours(x[0], y[0], y[0])[0], attention(x[0], y[0], y[0])[0], atol=1e-12)


def test_dropout_of_the_weights_is_that_of_torch():
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True).double()
    x = drawn(0, 3, 5, 8)
    ours = rewritten(attention.eval(), x).train()
    attention.train()
    torch.manual_seed(0)
    expected = attention(x, x, x)[0]
    torch.manual_seed(0)
    assert torch.allclose(ours(x, x, x)[0], expected, atol=1e-12)


def test_masks_for_other_heads_are_said():
    ours = HeadwiseAttention((8, 8, 8, 8), 3, 2, 2, (True, True))
    x = torch.zeros(2, 4, 8)
    with pytest.raises(cc.InvalidInput, match="each of 3"):
        ours(x, x, x, attn_mask=torch.zeros(8, 2, 2))
    with pytest.raises(cc.InvalidInput, match="is_causal"):
        ours(x, x, x, is_causal=True)


def encoder():
    layer = nn.TransformerEncoderLayer(8, 4, 10, batch_first=True, activation="gelu", dropout=0.0)
    return nn.TransformerEncoder(layer, 2)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(8, 2, 10, batch_first=True, activation="gelu", dropout=0.0)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.layer(x, 0.5 * x.flip(1), tgt_mask=mask, tgt_is_causal=True)


MODELS = {
    "encoder": (encoder, {"layers.0.self_attn": 2, "layers.1.self_attn": [1, 3, 1, 2]}, (4, 4)),
    "decoder": (Decoder, {"layer.self_attn": 3, "layer.multihead_attn": 2}, (2, 2)),
}


def made(name):
    make, copies, heads = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().double().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model, drawn(0, 40, 3, 8), copies, heads


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_heads_that_were_split_merge_back_and_are_rebuilt(name, tmp_path):
    model, x, copies, heads = made(name)
    wide = cc.split_neurons(model, x, copies, tie="shares")
    assert torch.allclose(wide(x), model(x), atol=1e-12)
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    merged = [module.num_heads for module in small.modules() if isinstance(module, HeadwiseAttention)]
    assert tuple(merged) == heads
    assert summary.error.relative < 1e-13
    assert count(small) == count(model)
    assert all(layer.unit == "heads" and layer.copies == layer.merged for layer in summary.plan.layers)
    cc.save_merged(small, summary, tmp_path)
    again = cc.load_merged(tmp_path, lambda: cc.split_neurons(MODELS[name][0]().double().eval(), x, copies))
    assert torch.equal(again(x), small(x))
    assert str(cc.load_plan(tmp_path)) == str(summary.plan)
    replayed, measured = cc.load_plan(tmp_path).apply(wide, x)
    assert measured.error.relative < 1e-13
    assert count(replayed) == count(small)


def test_padding_reaches_the_merged_encoder_in_evaluation():
    model, x, copies, _ = made("encoder")
    small, _ = cc.merge_neurons(cc.split_neurons(model, x, copies), x, tolerance=0)
    padding = torch.tensor([[False, False, True]] * len(x))
    model.use_nested_tensor = False
    with torch.no_grad():
        wanted, got = (each(x, src_key_padding_mask=padding) for each in (model, small))
    assert torch.allclose(got[:, :2], wanted[:, :2], atol=1e-12)


def test_heads_that_are_narrower_than_they_look_become_so():
    model, x, _, _ = made("encoder")
    attention = model.layers[0].self_attn
    with torch.no_grad():
        attention.in_proj_weight[16:24].view(4, 2, 8)[:, 1] = 3 * attention.in_proj_weight[16:24].view(4, 2, 8)[:, 0]
        attention.in_proj_bias[16:24].view(4, 2)[:, 1] = 3 * attention.in_proj_bias[16:24].view(4, 2)[:, 0]
        model.layers[1].self_attn.out_proj.weight[:, 2:4] = 0.0  # a head that adds nothing
    small, summary = cc.merge_neurons(model, x, tolerance=0)
    assert small.layers[0].self_attn.v_proj.out_features == 4
    assert small.layers[0].self_attn.q_proj.out_features == 8
    assert small.layers[1].self_attn.num_heads == 3
    assert summary.error.relative < 1e-13
    assert "values 2 → 1 wide" in str(summary.plan)
    assert "dimensions in the heads of layers.0.self_attn act as copies (values 2 → 1 wide)" in str(summary)
    assert "25% of the heads of layers.1.self_attn" in merge_finding(summary).title


def test_different_heads_stay_and_odd_attentions_are_named():
    model, x, _, _ = made("encoder")
    small, summary = cc.merge_neurons(model, x, tolerance=1e-3)
    assert isinstance(small.layers[0].self_attn, nn.MultiheadAttention)
    assert ("layers.0.self_attn (heads)", 4) in summary.plan.kept
    with pytest.raises(cc.InvalidInput, match="'equal' or 'shares'"):
        cc.split_neurons(model, x, {"layers.1.self_attn": 2}, tie="inputs")
    plan = cc.plan_merge(cc.split_neurons(model, x, {"layers.1.self_attn": 2}), x)
    with pytest.raises(cc.InvalidInput, match="another checkpoint"):
        plan.apply(model)
    model.layers[0].self_attn.add_zero_attn = True
    assert "appends keys" in dict(find_hosts(model, x, default_forward)[1])["layers.0.self_attn"]


def test_heads_are_found_in_the_order_of_the_model():
    model, x, _, _ = made("encoder")
    hosts, _ = find_hosts(model, x, default_forward)
    assert [host.module for host in hosts] == ["layers.0.self_attn", "layers.1.self_attn"]


def written(attention):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Stream(attention).double().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model, drawn(0, 40, 3, 8)


@pytest.mark.parametrize("attention", [Apart, Counted, Causal, ByHead, lambda: Attention(8, 4, causal=True)])
def test_attention_as_people_write_it_is_merged_back_and_rebuilt(attention, tmp_path):
    model, x = written(attention)
    wide = cc.split_neurons(model, x, {"attention": [2, 1, 3, 1]}, tie="shares")
    assert torch.allclose(wide(x), model(x), atol=1e-12)
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    assert (summary.plan.layers[0].before, summary.plan.layers[0].after) == (7, 4)
    assert summary.error.relative < 1e-13
    assert widths(small) == widths(model)
    assert small.state_dict().keys() == model.state_dict().keys()
    cc.save_merged(small, summary, tmp_path)
    again = cc.load_merged(tmp_path, lambda: cc.split_neurons(written(attention)[0], x, {"attention": [2, 1, 3, 1]}))
    assert torch.equal(again(x), small(x))
    assert torch.equal(again.double().train().eval()(x[:5, :2]), small(x[:5, :2]))  # samples and positions are free


def test_fewer_heads_drop_out_in_training_as_before():
    model, x = written(Causal)
    with torch.no_grad():
        model.attention.c_attn.weight[16:18] = 0.0
        model.attention.c_attn.bias[16:18] = 0.0  # a head that adds nothing
    small, summary = cc.merge_neurons(model, x, tolerance=0)
    assert summary.plan.layers[0].constant == 1
    assert small.attention.n_head == 3
    assert small.attention.c_proj.in_features == 6
    assert not torch.allclose(small.train()(x), model.eval()(x), atol=1e-3)
    with torch.no_grad():
        mean, wanted = torch.stack([small(x) for _ in range(300)]).mean(0), model(x)
    assert float((mean - wanted).norm() / wanted.norm()) < 0.1
    assert torch.allclose(small.eval()(x), model(x), atol=1e-12)


@pytest.mark.parametrize(("attention", "named"), [(Strict, "other numbers"), (NoAttention, None)])
def test_what_is_no_attention_or_does_not_run_stays(attention, named):
    model, x = written(attention)
    hosts, skipped = find_hosts(model, x, default_forward)
    assert not hosts
    assert (named or "") in dict(skipped).get("attention", "")
    assert bool(skipped) == bool(named)


def test_queries_are_told_from_keys_whatever_comes_first():
    model, x = written(KeysFirst)
    (host,), _ = find_hosts(model, x, default_forward)
    assert host.projections == ("attention.q", "attention.k", "attention.v")


def test_weights_that_are_shared_keep_their_heads():
    model, x = written(Apart)
    model.attention.k.weight = model.attention.q.weight
    assert "shares weights" in dict(find_hosts(model, x, default_forward)[1])["attention"]


def test_heads_of_a_small_initialization_are_one():
    model, x = written(Apart)
    with torch.no_grad():  # all look everywhere alike, and what they add has the rank of one
        model.attention.q.weight.mul_(1e-6)
        model.attention.q.bias.mul_(1e-6)
        model.attention.v.weight.copy_(model.attention.v.weight[:2].repeat(4, 1))
    small, summary = cc.merge_neurons(model, x, tolerance=1e-4)
    assert small.attention.num_heads == 1
    assert summary.error.relative < 1e-4
