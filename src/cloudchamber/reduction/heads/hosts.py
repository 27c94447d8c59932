"""Where heads are: the modules whose attention can have other heads, read and written as `Blocks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from cloudchamber.reduction.change import replace_tensor
from cloudchamber.reduction.heads.attention import HeadwiseAttention
from cloudchamber.reduction.heads.blocks import Blocks
from cloudchamber.reduction.heads.rows import heads_of_columns, put_columns, put_rows, with_bias


@runtime_checkable
class Host(Protocol):
    """A module of a model that holds heads."""

    @property
    def module(self) -> str:
        """Its qualified name."""
        ...

    @property
    def projections(self) -> tuple[str, ...]:
        """Qualified names of the layers that make queries, keys and values."""
        ...

    @property
    def free(self) -> bool:
        """Whether the heads may be of any width, and what lies between queries, keys and scores is known."""
        ...

    def read(self, model: nn.Module) -> Blocks:
        """Return the weights of the heads.

        Raises:
            LookupError: if the model has no such module.
        """
        ...

    def write(self, model: nn.Module, blocks: Blocks) -> None:
        """Give a model other heads, in place."""
        ...

    def watched(self) -> tuple[str, ...]:
        """Return the modules that receive what queries and keys are made of."""
        ...

    def received(self, module: str, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return what "q" and "k" are made of in a call of a watched module."""
        ...


@dataclass(frozen=True)
class MultiheadHost:
    """An `nn.MultiheadAttention`, which gives its place to a `HeadwiseAttention`, or one of these.

    Attributes:
        module: its qualified name.
    """

    module: str

    @property
    def projections(self) -> tuple[str, ...]:
        """The layers of a `HeadwiseAttention`."""
        return tuple(f"{self.module}.{each}_proj" for each in "qkv")

    @property
    def free(self) -> bool:
        """Yes."""
        return True

    def read(self, model: nn.Module) -> Blocks:
        """Return the weights of the heads."""
        held: Any = model.get_submodule(self.module)
        if not isinstance(held, nn.MultiheadAttention | HeadwiseAttention):
            raise LookupError(f"{self.module} is a {type(held).__name__}")
        projections = _projections(held)
        q, k, v = (with_bias(*each).unflatten(0, (held.num_heads, -1)) for each in projections)
        return Blocks(q, k, v, heads_of_columns(held.out_proj, held.num_heads))

    def write(self, model: nn.Module, blocks: Blocks) -> None:
        """Put a `HeadwiseAttention` in the module's place."""
        held: Any = model.get_submodule(self.module)
        (first, bias), *_ = _projections(held)
        heads, queries, values = blocks.size
        widths = [each.shape[-1] - 1 for each in (blocks.q, blocks.k, blocks.v)] + [blocks.o.shape[1]]
        biases = (bias is not None, held.out_proj.bias is not None)
        with torch.random.fork_rng(devices=[]):
            made = HeadwiseAttention(widths, heads, queries, values, biases, held.dropout, held.batch_first)
        made = made.to(first.device, first.dtype).train(held.training).requires_grad_(first.requires_grad)
        for project, each in zip((made.q_proj, made.k_proj, made.v_proj), (blocks.q, blocks.k, blocks.v), strict=True):
            put_rows(project, each.flatten(0, 1))
        put_columns(made.out_proj, blocks.o)
        if held.out_proj.bias is not None:
            replace_tensor(made.out_proj, "bias", held.out_proj.bias.detach())
        model.set_submodule(self.module, made)
        _without_nested_tensors(model)

    def watched(self) -> tuple[str, ...]:
        """The module itself."""
        return (self.module,)

    def received(self, module: str, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the module's query and key."""
        del module
        given = dict(zip(("query", "key"), args, strict=False)) | dict(kwargs)
        return {"q": given["query"], "k": given["key"]}


def multihead_hosts(model: nn.Module, called: Mapping[str, int]) -> tuple[list[MultiheadHost], list[tuple[str, str]]]:
    """Return the attention modules of torch that may have other heads, and those that may not, with the reasons.

    Args:
        model: the model.
        called: how often each module is called, by qualified name.
    """
    places = [(name, module) for name, module in model.named_modules(remove_duplicate=False)]
    hosts, skipped = [], []
    for name, module in places:
        if isinstance(module, nn.MultiheadAttention | HeadwiseAttention) and called.get(name):
            reason = _obstacle(name, module, sum(other is module for _, other in places))
            if reason:
                skipped.append((name, reason))
            else:
                hosts.append(MultiheadHost(name))
    return hosts, skipped


def _obstacle(name: str, module: Any, places: int) -> str:
    """Why the heads of an attention module have to stay, or ""."""
    if not name:
        return "its heads stay, as it is the model itself"
    if type(module) not in (nn.MultiheadAttention, HeadwiseAttention):
        return f"its heads stay, as {type(module).__name__} may do something else with them"
    if places > 1:
        return "its heads stay, as it is used in several places"
    if any(is_parametrized(each) for each in module.modules()):
        return "its heads stay, as its weights are computed from others"
    appended = getattr(module, "bias_k", None) is not None or getattr(module, "add_zero_attn", False)
    return "its heads stay, as it appends keys to those that it is given" if appended else ""


def _projections(module: Any) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of the projections of queries, keys and values."""
    if isinstance(module, HeadwiseAttention):
        return [(each.weight, each.bias) for each in (module.q_proj, module.k_proj, module.v_proj)]
    together = module._qkv_same_embed_dim
    weights = module.in_proj_weight.chunk(3) if together else [getattr(module, f"{each}_proj_weight") for each in "qkv"]
    biases = [None] * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    return list(zip(weights, biases, strict=True))


def _without_nested_tensors(model: nn.Module) -> None:
    """Keep torch's encoders from handing their layers nested tensors, which only torch's own attention takes."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
