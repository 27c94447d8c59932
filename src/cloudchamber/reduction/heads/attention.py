"""Attention with heads of any number and width, in the place of `nn.MultiheadAttention`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from cloudchamber._core.errors import require

Returned = tuple[Tensor, Tensor | None]


class HeadwiseAttention(nn.Module):
    """`nn.MultiheadAttention` with heads of any number and width; `H·d` and `H·c` need not be its input's.

    Called as `nn.MultiheadAttention` is, with the same masks. Attention weights that are returned are those of the
    heads that there are. Its state dict: `q_proj`, `k_proj`, `v_proj` (H·d, H·d, H·c rows, head by head) and `out_proj`
    (H·c columns), each with `weight` and, where biased, `bias`.

    Args:
        widths: of the queries, keys and values that it is given, and of its output.
        num_heads: H.
        queries: d, width of queries and keys in a head.
        values: c, width of values in a head.
        biases: whether the first three projections have biases, and whether the last does.
        dropout: of the attention weights.
        batch_first: whether samples come before positions.

    >>> attention = HeadwiseAttention((8, 8, 8, 8), num_heads=1, queries=3, values=5, biases=(True, True))
    >>> x = torch.zeros(7, 4, 8)
    >>> [tuple(each.shape) for each in attention(x, x, x)]
    [(7, 4, 8), (4, 7, 7)]
    """

    in_proj_weight: None = None  # what torch's transformers look at: no fast path for it
    in_proj_bias: None = None
    _qkv_same_embed_dim = False

    def __init__(
        self,
        widths: Sequence[int],
        num_heads: int,
        queries: int,
        values: int,
        biases: tuple[bool, bool],
        dropout: float = 0.0,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = widths[0], num_heads, dropout, batch_first
        self.q_proj = nn.Linear(widths[0], num_heads * queries, biases[0])
        self.k_proj = nn.Linear(widths[1], num_heads * queries, biases[0])
        self.v_proj = nn.Linear(widths[2], num_heads * values, biases[0])
        self.out_proj = nn.Linear(num_heads * values, widths[3], biases[1])

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Returned:
        """Attend; arguments, shapes and what is returned are those of `nn.MultiheadAttention`.

        Raises:
            InvalidInput: if `is_causal` comes without its mask, or there are masks for other heads.
        """
        require(attn_mask is not None or not is_causal, "`is_causal` says of `attn_mask` that it is", None, "pass it")
        if query.ndim == 2:
            given = [each[None] for each in (query, key, value)]
            padding = None if key_padding_mask is None else key_padding_mask[None]
        else:
            given = [each if self.batch_first else each.transpose(0, 1) for each in (query, key, value)]
            padding = key_padding_mask
        mixed, weights = self._attend(given, self._mask(given[0], attn_mask, padding), need_weights)
        output = self.out_proj(mixed)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if query.ndim == 2:
            return output[0], None if weights is None else weights[0]
        return output if self.batch_first else output.transpose(0, 1), weights

    def _attend(self, given: Sequence[Tensor], mask: Tensor | None, need_weights: bool) -> Returned:
        """Return what the output projection receives, (n, L, H·c), and the weights, (n, H, L, S), where asked for."""
        projections = zip((self.q_proj, self.k_proj, self.v_proj), given, strict=True)
        q, k, v = (project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for project, x in projections)
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            mixed = fn.scaled_dot_product_attention(q, k, v, mask, dropout)
            return mixed.transpose(1, 2).flatten(2), None
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        weights = fn.dropout(torch.softmax(scores if mask is None else scores + mask, -1), dropout)
        return (weights @ v).transpose(1, 2).flatten(2), weights

    def _mask(self, query: Tensor, attention: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Return what is added to the scores, of a shape that fits (n, H, L, S)."""
        added = None if attention is None else _additive(attention, query)
        if added is not None and added.ndim == 3:
            added = added.unflatten(0, (len(query), -1))
            fits = added.shape[1] in (1, self.num_heads)
            require(
                fits, f"a mask is for all heads, or for each of {self.num_heads}", added.shape[1], "pass one for all"
            )
        if padding is None:
            return added
        padded = _additive(padding, query)[:, None, None]
        return padded if added is None else added + padded


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
    return mask.to(like.dtype)
