"""Attention as people write it."""

import torch
from torch import nn
from torch.nn import functional as fn


class Apart(nn.Module):
    """Three projections, softmax by hand, a width that follows the heads."""

    def __init__(self):
        super().__init__()
        self.num_heads, self.scale = 4, 2**-0.5
        self.q, self.k, self.v, self.o = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8)

    def forward(self, x, mask=None):
        q, k, v = (each(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (self.q, self.k, self.v))
        scores = self.scale * q @ k.transpose(-1, -2)
        scores = scores if mask is None else scores.masked_fill(mask, -torch.inf)
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class KeysFirst(Apart):
    """As in minGPT."""

    def forward(self, x):
        k, q, v = (each(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (self.k, self.q, self.v))
        mixed = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.o(mixed.flatten(2))


class Counted(nn.Module):
    """As in HF: the width of all heads is an attribute."""

    def __init__(self):
        super().__init__()
        self.num_attention_heads, self.attention_head_size, self.all_head_size = 4, 2, 8
        self.query, self.key, self.value, self.dense = (nn.Linear(8, 8) for _ in range(4))

    def split(self, x):
        return x.view(*x.shape[:2], self.num_attention_heads, self.attention_head_size).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        mixed = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.dense(mixed.reshape(*mixed.shape[:2], self.all_head_size))


class Causal(nn.Module):
    """As in nanoGPT: the width of all heads is that of the input; dropout."""

    def __init__(self):
        super().__init__()
        self.n_head, self.n_embd, self.dropout = 4, 8, 0.5
        self.c_attn, self.c_proj = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        q = q.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        v = v.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        dropout = self.dropout if self.training else 0
        y = fn.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=dropout, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))


class ByHead(nn.Module):
    """As in GPT-NeoX: each head's queries, keys and values in a row; rotated by their positions."""

    def __init__(self):
        super().__init__()
        self.heads, self.qkv, self.out = 4, nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, self.heads, 6).transpose(1, 2).chunk(3, -1)
        angle = torch.arange(length, dtype=x.dtype)[:, None]
        q, k = (angle.cos() * each + angle.sin() * each.flip(-1) * torch.tensor([-1.0, 1.0]).to(x) for each in (q, k))
        mixed = fn.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(n, length, width))


class Strict(Apart):
    """Does not run with other numbers of heads."""

    def forward(self, x):
        if self.o.in_features != 8:
            raise RuntimeError("eight it is")
        return super().forward(x)


class NoAttention(nn.Module):
    """Four layers and a number, but nothing of heads."""

    def __init__(self):
        super().__init__()
        self.heads, self.layers = 4, nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])

    def forward(self, x):
        a, b, c, d = self.layers
        return d(torch.relu(a(x)) * torch.sigmoid(b(x)) + c(x))


class Stream(nn.Module):
    """A block of a transformer."""

    def __init__(self, attention):
        super().__init__()
        self.norm, self.attention, self.head = nn.LayerNorm(8), attention(), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x + self.attention(self.norm(x)))
