"""`nn.MultiheadAttention`: a layer for each of its projections, of queries, keys, values and the output.

Attention itself is an operation between these layers. The keys and values that `add_bias_kv` appends are no neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as fn

from cloudchamber.anatomy.composites import Nodes, Part, Replay, computed_in
from cloudchamber.anatomy.view import ONE_SAMPLE, LayerView, part_name, position_rows, read_weight, weight_rows

PROJECTIONS = ("query", "key", "value")


def attention_views(name: str, module: Any) -> tuple[LayerView, ...]:
    """Return a view per projection.

    >>> [view.name for view in attention_views("attn", torch.nn.MultiheadAttention(8, 2))]
    ['attn.query', 'attn.key', 'attn.value', 'attn.out_proj']
    """
    return tuple(_view(name, module, part) for part in (*PROJECTIONS, "out_proj"))


def _view(name: str, module: Any, part: str) -> LayerView:
    fan_in = {"key": module.kdim, "value": module.vdim}.get(part, module.embed_dim)
    biased = module.out_proj.bias is not None if part == "out_proj" else module.in_proj_bias is not None
    return LayerView(
        part_name(name, part),
        module=part_name(name, part) if part == "out_proj" else name,
        layer_type=f"{type(module).__name__} {part}",
        width=module.embed_dim,
        fan_in=fan_in,
        bias=biased,
        neurons=lambda: weight_rows(*_projection(module, part)),
        input_rows=position_rows,
        output_rows=position_rows,
        positions_axis=1,
        part=part,
        activation="none",
    )


def _projection(module: Any, part: str) -> tuple[Tensor, Tensor | None]:
    """Return the weight and the bias of a projection, detached."""
    if part == "out_proj":
        inner = module.out_proj
        return read_weight(inner, "weight"), None if inner.bias is None else read_weight(inner, "bias")
    number = PROJECTIONS.index(part)
    if module._qkv_same_embed_dim:
        weight = read_weight(module, "in_proj_weight").chunk(3)[number]
    else:
        weight = read_weight(module, f"{part[0]}_proj_weight")
    return weight, None if module.in_proj_bias is None else read_weight(module, "in_proj_bias").chunk(3)[number]


class _Masks(NamedTuple):
    """What is added to the scores: (1 or n · heads, L, S) or None, and whether torch makes the causal mask itself."""

    added: Tensor | None
    causal: bool


def replay_attention(module: Any, arguments: Mapping[str, Any]) -> Replay:
    """Compute a call of `nn.MultiheadAttention` again."""
    query, key, value = (arguments[name] for name in PROJECTIONS)
    if query.is_nested or key.is_nested or value.is_nested:
        return Replay.impossible("it was called with nested tensors")
    if query.ndim != 3:
        return Replay.impossible(ONE_SAMPLE)
    dtype = _projection(module, "out_proj")[0].dtype
    given = [tensor.transpose(0, 1) if module.batch_first else tensor for tensor in (query, key, value)]
    received = [tensor.to(computed_in(dtype)) for tensor in given]
    projected = [_project(module, part, x) for part, x in zip(PROJECTIONS, received, strict=True)]
    mixed, weights = _attend(module, projected, arguments)
    output = _project(module, "out_proj", mixed)
    names = (*PROJECTIONS, "out_proj")
    pairs = zip(names, (*received, mixed), (*projected, output), strict=True)
    parts = {name: _part(x, z) for name, x, z in pairs}
    returned = output.transpose(0, 1) if module.batch_first else output
    return Replay((returned,) if weights is None else (returned, weights), parts, dtype)


def _project(module: Any, part: str, x: Tensor) -> Tensor:
    # Copied: the optimizer may change them before gradients are asked for.
    weight, bias = _projection(module, part)
    return fn.linear(x, weight.to(x, copy=True), None if bias is None else bias.to(x, copy=True))


def _part(x: Tensor, z: Tensor) -> Part:
    nodes = Nodes((z,), lambda tensors: tensors[0].transpose(0, 1))
    return Part(x.detach().transpose(0, 1), nodes, nodes, torch.ones_like)


def _attend(module: Any, projected: list[Tensor], arguments: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Return what the output projection receives, (L, n, E), and the weights if they are returned."""
    length, n, width = projected[0].shape
    q, k, v = projected
    if module.bias_k is not None:
        k = torch.cat([k, read_weight(module, "bias_k").to(k).expand(1, n, -1)])
        v = torch.cat([v, read_weight(module, "bias_v").to(v).expand(1, n, -1)])
    if module.add_zero_attn:
        k, v = (torch.cat([tensor, tensor.new_zeros(1, n, width)]) for tensor in (k, v))
    masks = _masks(module, arguments, q, len(k))
    by_head = [tensor.reshape(len(tensor), n * module.num_heads, -1).transpose(0, 1) for tensor in (q, k, v)]
    dropout = module.dropout if module.training else 0.0
    attend = _with_weights if arguments["need_weights"] else _without_weights
    mixed, weights = attend(by_head, masks, dropout, n)
    mixed = mixed.transpose(0, 1).reshape(length, n, width)
    if weights is None or not arguments["average_attn_weights"]:
        return mixed, weights
    return mixed, weights.mean(1)


def _with_weights(by_head: list[Tensor], masks: _Masks, dropout: float, n: int) -> tuple[Tensor, Tensor]:
    q, k, v = by_head
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    weights = torch.softmax(scores if masks.added is None else scores + masks.added, dim=-1)
    weights = fn.dropout(weights, dropout) if dropout else weights
    return weights @ v, weights.unflatten(0, (n, -1))


def _without_weights(by_head: list[Tensor], masks: _Masks, dropout: float, n: int) -> tuple[Tensor, None]:
    q, k, v = (tensor.unflatten(0, (n, -1)) for tensor in by_head)
    added = masks.added
    if added is not None:
        added = added[None] if len(added) == 1 else added.unflatten(0, (n, -1))
    return fn.scaled_dot_product_attention(q, k, v, added, dropout, masks.causal).flatten(0, 1), None


def _masks(module: Any, arguments: Mapping[str, Any], q: Tensor, keys: int) -> _Masks:
    """Return the masks as torch takes them, with nothing added for keys that the module appends."""
    attention, padding = (_additive(arguments[name], q.dtype, keys) for name in ("attn_mask", "key_padding_mask"))
    if attention is not None and attention.ndim == 2:
        attention = attention[None]
    causal = arguments["is_causal"] and padding is None and not arguments["need_weights"]
    added = None if causal else attention
    if padding is None:
        return _Masks(added, causal)
    by_head = padding[:, None].repeat_interleave(module.num_heads, 0)
    return _Masks(by_head if added is None else added + by_head, causal)


def _additive(mask: Tensor | None, dtype: torch.dtype, keys: int) -> Tensor | None:
    if mask is None:
        return None
    added = torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask
    return fn.pad(added.to(dtype), (0, keys - mask.shape[-1]))
