"""Models with several inputs and outputs of any kind: what they are called with, and which tensor the loss takes."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.anatomy import capture, choose_views

N = 5
FIELDS = ("inputs", "features", "feature_gradients")


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


class TwoInputs(nn.Module):
    """Takes tokens and a mask by keyword, changes the mask in place, and returns a dataclass."""

    def __init__(self):
        super().__init__()
        self.tokens, self.body, self.head = nn.Embedding(9, 4), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, tokens, mask):
        mask /= mask.sum(1, keepdim=True)
        hidden = fn.relu(self.body(self.tokens(tokens)))
        return Output(self.head((hidden * mask[:, :, None]).sum(1)), hidden)


def batch(n=N):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 9, (n, 7), generator=generator), torch.rand(n, 7, generator=generator) + 0.1


CALLS = {
    "tuple": (lambda t, m: (t, m), lambda model, inputs: model(*inputs).logits),
    "list": (lambda t, m: [t, m], lambda model, inputs: model(*inputs).logits),
    "dict": (lambda t, m: {"tokens": t, "mask": m}, lambda model, inputs: model(**inputs).logits),
    "nested": (
        lambda t, m: {"x": (t, {"m": m}), "scale": 1.0, "name": None},
        lambda model, i: model(i["x"][0], mask=i["x"][1]["m"]).logits,
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_inputs_of_any_nesting(call):
    torch.manual_seed(0)
    model, (tokens, mask) = TwoInputs(), batch()
    nest, forward = CALLS[call]
    kept, plan, chosen = mask.clone(), None, choose_views(model, None)
    hidden = fn.relu(model.body(model.tokens(tokens)))
    loss = model.head((hidden * (mask / mask.sum(1, keepdim=True))[:, :, None]).sum(1)).square().sum()
    (expected,) = torch.autograd.grad(loss, hidden)
    for _ in range(2):
        seen = capture(
            model,
            nest(tokens, mask),
            lambda out: out.square().sum(),
            layers=chosen,
            fields=FIELDS,
            forward=forward,
            plan=plan,
        )
        plan = seen.plan
        assert torch.equal(mask, kept)
        assert list(seen.layers) == ["tokens", "body", "head"]
        torch.testing.assert_close(seen.layers["body"].features, hidden.detach())
        torch.testing.assert_close(seen.layers["body"].feature_gradients, expected)
        assert seen.loss == pytest.approx(float(loss.detach()))
    assert plan.served == 1


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (lambda t, m: (t, m[:2]), r"got tensors of shapes \[\(5, 7\), \(2, 7\)\]"),
        (lambda t, m: {"scale": 1.0}, "got dict"),
        (lambda t, m: (t, torch.tensor(1.0)), r"got tensors of shapes \[\(5, 7\), \(\)\]"),
        (lambda t, m: "text", "got str"),
    ],
)
def test_wrong_inputs(inputs, words):
    model = TwoInputs()
    with pytest.raises(InvalidInput, match=words):
        capture(model, inputs(*batch()), torch.sum, layers=choose_views(model, None), fields=FIELDS)


def test_a_forward_that_returns_no_tensor_is_told_what_to_do():
    model = TwoInputs()
    with pytest.raises(Unsupported, match=r"returns one tensor; got Output. Remedy: give `forward=`"):
        capture(model, batch(), torch.sum, layers=choose_views(model, None), fields=FIELDS, forward=lambda m, i: m(*i))


def test_unknown_fields():
    model = nn.Linear(3, 2)
    with pytest.raises(InvalidInput, match="a field is one of"):
        capture(model, torch.ones(4, 3), torch.sum, layers=choose_views(model, None), fields={"feature"})


def test_samples_that_are_not_first_are_named():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(fn.relu(self.body(x.transpose(0, 1))).mean(0))

    model = TimeFirst()
    seen = capture(model, torch.ones(N, 7, 4), torch.sum, layers=choose_views(model, None), fields=FIELDS)
    assert list(seen.layers) == ["head"]
    assert "shape (7, 5, 6), whose first dimension is not the probe's 5 samples" in seen.unusable["body"]


def test_recurrent_modules_with_time_first_are_seen_with_samples_first():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.lstm(x.transpose(0, 1))[0][-1])

    torch.manual_seed(0)
    model, x = TimeFirst(), torch.randn(N, 7, 4)
    layers = capture(
        model, x, lambda out: out.square().sum(), layers=choose_views(model, None), fields=(*FIELDS, "gates")
    ).layers
    assert torch.equal(layers["lstm.l0.input_gate"].inputs[..., :4], x)
    assert layers["lstm.l0.input_gate"].feature_gradients.shape == (N, 7, 6)
    assert layers["lstm.l0.input_gate"].activation == "sigmoid"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    model = TwoInputs().cuda()
    inputs = tuple(tensor.cuda() for tensor in batch())
    state = torch.cuda.get_rng_state()
    seen = capture(
        model,
        inputs,
        torch.sum,
        layers=choose_views(model, None),
        fields=FIELDS,
        forward=lambda m, i: m(*i).logits,
        training_mode=True,
    )
    assert all(layer.feature_gradients.is_cuda for layer in seen.layers.values())
    assert torch.equal(state, torch.cuda.get_rng_state())
