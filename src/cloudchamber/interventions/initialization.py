"""Initialization of every layer that the anatomy knows, in place; or a dry run that says what it would be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber._core.seeding import derive_seed, generator, preserved_random_state
from cloudchamber.anatomy import choose_views
from cloudchamber.anatomy.weights import Block, blocks_of
from cloudchamber.interventions.schemes import Fans, ParametrizationConfig, PytorchDefaultConfig, Role, Scheme
from cloudchamber.interventions.start import Initialization, LayerStart
from cloudchamber.theory import PARAMETRIZATIONS

_PLAIN = (nn.Linear, nn.modules.conv._ConvNd)
_KINDS: dict[str, type[Scheme]] = {
    name: kind for kind in get_args(Scheme) for name in get_args(kind.model_fields["name"].annotation)
}


def initialize(
    model: nn.Module, scheme: Scheme | str, seed: int = 0, *, dry_run: bool = False, **settings: Any
) -> Initialization:
    """Draw the weights of every layer of `model` anew, in place, by a scheme.

    Args:
        model: every layer that the anatomy knows is initialized: linear, convolutional and recurrent ones, embeddings
            (whose padding stays zero), attention; other modules are left alone. It is drawn on the CPU, so that the
            weights are the same wherever the model is.
        scheme: a config, or the name of one with its fields as further arguments: "xavier_normal", "kaiming_normal",
            "lecun_normal", "normal", "power_std", "power_variance", "pytorch_default", "condensed", "anti_condensed",
            "parametrization", or directly the name of a parametrization ("ntk", "mean_field+", …).
        seed: the same seed gives the same weights; global random states stay as they are.
        dry_run: change nothing, only say what it would be.
        settings: fields of the scheme that is named.

    Returns:
        What every layer has, and its learning rate's factor; it prints as a table with the regime.

    Raises:
        InvalidInput: if the scheme is not known, a setting is wrong, the model has no layers that are known, or a
            scheme with an output of zero cannot pair its last hidden neurons; the model stays as it was.

    Source: mlp2024, Section 3.3; xu2024, Table 1; overview2025, Sections 3 and 5; zhou2022, Section 4.1.

    >>> layer = nn.Linear(2000, 2000)
    >>> initialize(layer, "xavier_normal", variance_scale=0.25).layers[0].std == 0.25**0.5 * (2 / 4000) ** 0.5
    True
    >>> round(layer.weight.std().item() / (2 / 4000) ** 0.5, 2)
    0.5
    """
    config = _config(scheme, settings)
    blocks = [block for chosen in choose_views(model, None).values() for block in blocks_of(chosen)]
    fans = list(_fans(blocks))
    layers = tuple(_started(block, of, config) for block, of in zip(blocks, fans, strict=True))
    paired = isinstance(config, ParametrizationConfig) and config.zero_output
    if paired:
        _require_pairs(blocks)
    if not dry_run:
        with torch.no_grad():
            _draw(blocks, fans, config, seed)
            if paired:
                _pair(blocks[-2], blocks[-1])
    return Initialization(config, layers, fans[-1].width)


def _config(scheme: Scheme | str, settings: dict[str, Any]) -> Scheme:
    if not isinstance(scheme, str):
        require(isinstance(scheme, get_args(Scheme)), f"a scheme is one of {list(_KINDS)}", repr(scheme), "name one")
        require(not settings, "a config holds its own settings", sorted(settings), "leave them out, or name the scheme")
        return scheme
    names = [*_KINDS, *PARAMETRIZATIONS]
    require(scheme in names, f"a scheme is one of {', '.join(names)}", repr(scheme), "check the spelling")
    known = scheme in _KINDS
    kind, fields = (_KINDS[scheme], {"name": scheme}) if known else (ParametrizationConfig, {"scaling": scheme})
    try:
        return kind(**fields, **settings)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InvalidInput(
            f"the fields of {scheme!r} are {sorted(kind.model_fields)}; got {settings} ({problems}). "
            "Remedy: check names and values."
        ) from error


def _fans(blocks: list[Block]) -> Iterator[Fans]:
    holders = list(dict.fromkeys(block.module for block in blocks))
    width = blocks[-1].fan_in
    for block in blocks:
        place = holders.index(block.module)
        role: Role = "last" if place == len(holders) - 1 else "first" if place == 0 else "between"
        yield Fans(block.fan_in, block.fan_out, role, len(holders), width)


def _started(block: Block, fans: Fans, config: Scheme) -> LayerStart:
    drawn_by_itself = isinstance(config, PytorchDefaultConfig) and not isinstance(block.module, _PLAIN)
    return LayerStart(
        block.view.name,
        block.owner,
        block.view.layer_type,
        fans.fan_in,
        fans.fan_out,
        math.nan if drawn_by_itself else config.deviation(fans),
        config.rate(fans),
        block.parameters,
    )


def _draw(blocks: list[Block], fans: list[Fans], config: Scheme, seed: int) -> None:
    random = generator(seed, "initialization")
    others = set()
    for block, of in zip(blocks, fans, strict=True):
        if not isinstance(config, PytorchDefaultConfig):
            _normal(block, config.deviation(of), config.bias_deviation(of), random)
        elif isinstance(block.module, _PLAIN):
            _pytorch_default(block.module, random)
        elif block.module not in others:
            others.add(block.module)
            _made_anew(block, seed)
    for module in {block.module for block in blocks}:
        padding = getattr(module, "padding_idx", None)
        if isinstance(module, nn.Embedding) and padding is not None:
            module.weight[padding] = 0


def _normal(block: Block, deviation: float, bias_deviation: float, random: torch.Generator) -> None:
    for tensor in block.weights:
        _fill(tensor, deviation, random)
    for tensor in block.biases:
        _fill(tensor, bias_deviation, random)


def _fill(tensor: Tensor, deviation: float, random: torch.Generator) -> None:
    if deviation == 0:
        tensor.zero_()
    elif tensor.device.type == "cpu":
        tensor.normal_(0.0, deviation, generator=random)
    else:
        tensor.copy_(torch.empty(tensor.shape, dtype=tensor.dtype).normal_(0.0, deviation, generator=random))


def _pytorch_default(module: Any, random: torch.Generator) -> None:
    # The calls of `reset_parameters`, which takes no generator.
    nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=random)
    if module.bias is not None:
        bound = module.weight[0].numel() ** -0.5
        nn.init.uniform_(module.bias, -bound, bound, generator=random)


def _made_anew(block: Block, seed: int) -> None:
    """Let other modules of torch draw their weights themselves."""
    reset = getattr(block.module, "reset_parameters", None) or getattr(block.module, "_reset_parameters", None)
    if reset is None:
        raise InvalidInput(
            f"pytorch_default is what a module's reset_parameters draws; got {block.view.name}, "
            f"{type(block.module).__name__}, without one. Remedy: choose a scheme of its own."
        )
    with preserved_random_state([block.weights[0].device]):
        torch.manual_seed(derive_seed(seed, "initialization", block.owner))
        for child in block.module.children():  # attention leaves its output projection as it is
            child.reset_parameters()  # pyright: ignore
        reset()


def _require_pairs(blocks: list[Block]) -> None:
    fits = (
        len(blocks) > 1
        and all(isinstance(block.module, nn.Linear) for block in blocks[-2:])
        and blocks[-2].view.width == blocks[-1].view.fan_in
        and blocks[-1].view.fan_in % 2 == 0
    )
    require(
        fits,
        "an output of zero is made by pairs of neurons: the last two layers are linear and an even number is between",
        ", ".join(f"{block.view.name} ({block.view.width}×{block.view.fan_in})" for block in blocks[-2:]),
        "choose another scheme",
    )


def _pair(hidden: Block, last: Block) -> None:
    """Let the second half of the hidden neurons be copies of the first, with opposite output weights."""
    half = last.view.fan_in // 2
    for tensor in (*hidden.weights, *hidden.biases):
        tensor[half:] = tensor[:half]
    last.weights[0][:, half:] = -last.weights[0][:, :half]
    for bias in last.biases:
        bias.zero_()
