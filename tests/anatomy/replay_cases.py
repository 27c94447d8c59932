"""What the tests of replays share: a call with its gradients by autograd, and its replay."""

import torch
from torch.nn.utils.rnn import PackedSequence
from view_cases import close, from_factors, gaussian, with_gradients_as_weights

from cloudchamber.anatomy.replay import (
    composite_type_of,
    current_random_state,
    output_tensors,
    random_state_needed,
    replay,
    replay_gradients,
)

CPU = torch.device("cpu")


def views_of(module, name="layer"):
    return composite_type_of(module).views(name, module)


def call(module, args, kwargs=None, seed=0):
    """What a module returned, gradients of that, and the random state before; weights have their gradient."""
    state = current_random_state(CPU) if random_state_needed(module) else None
    outputs = module(*args, **(kwargs or {}))
    tensors = output_tensors(outputs)
    gradients = [gaussian(*tensor.shape, seed=seed + i).to(tensor) for i, tensor in enumerate(tensors)]
    module.zero_grad()
    torch.autograd.backward(tensors, gradients)
    return outputs, gradients, state


def replayed(module, args, kwargs=None, seed=0):
    """The tensors of every part, with the gradients of a random function of all outputs."""
    outputs, gradients, state = call(module, args, kwargs, seed)
    parts, reason = replay_gradients(module, args, kwargs or {}, outputs, gradients, state)
    assert reason == ""
    return parts


def check(module, args, kwargs=None, seed=0):
    """Every part's factors give what autograd gives for the module's weights; F, D and their gradients fit Z and G."""
    parts = replayed(module, args, kwargs, seed)
    assert list(parts) == [view.part for view in views_of(module)]
    twins = views_of(with_gradients_as_weights(module))
    for view, twin in zip(views_of(module), twins, strict=True):
        part, expected = parts[view.part], twin.neurons()
        if view.bias and _has_two_biases(module, view):
            expected[:, -1] /= 2  # b_ih + b_hh, each with the gradient of both
        assert view.neurons().shape == expected.shape == (view.width, view.fan_in + view.bias)
        close(from_factors(view, part.inputs, part.output_gradients), expected)
        if "candidate" not in view.part:
            _check_features(view, part, packed=isinstance(args[0], PackedSequence))
        close(part.gates * part.feature_gradients, part.output_gradients)
    return parts


def _has_two_biases(module, view):
    return not isinstance(module, torch.nn.MultiheadAttention) and "candidate" not in view.part


def _check_features(view, part, packed):
    expected = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}.get(view.activation, torch.clone)
    # Beyond the end of a sequence all is zero, also where the activation of zero is not.
    there = part.features != 0 if packed else torch.ones_like(part.features, dtype=torch.bool)
    close(part.features[there], expected(part.outputs)[there])


def refusal(module, args, outputs, kwargs=None, state=None):
    """Why a call could not be computed again."""
    found = replay(module, args, kwargs or {}, outputs, state)
    assert found.parts == {}
    assert found.tensors() == {}
    return found.reason
