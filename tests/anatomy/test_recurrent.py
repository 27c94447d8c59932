"""Gates of LSTM, GRU and RNN: as modules of their own would show them, for every option that torch has."""

import copy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from replay_cases import CPU, call, check, refusal, replayed, views_of
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence
from view_cases import close, gaussian, laws, seeds

from cloudchamber._core.errors import Unsupported
from cloudchamber.anatomy.replay import current_random_state, output_tensors, replay, replay_gradients

TYPES = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
CELLS = {"LSTMCell": nn.LSTMCell, "GRUCell": nn.GRUCell, "RNNCell": nn.RNNCell}
N, T, D, H = 4, 5, 3, 2


def made(kind, seed=0, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    return (TYPES | CELLS)[kind](D, H, dtype=dtype, **options)


def states(module, n, seed):
    """Initial states as the module takes them."""
    layers = module.num_layers * (2 if module.bidirectional else 1)
    h = gaussian(layers, n, getattr(module, "proj_size", 0) or H, seed=seed)
    return (h, gaussian(layers, n, H, seed=seed + 1)) if isinstance(module, nn.LSTM) else h


@st.composite
def calls(draw):
    """A recurrent module of any options, and the arguments of a call."""
    kind = draw(st.sampled_from(sorted(TYPES)))
    layers = draw(st.integers(1, 3))
    options = {
        "num_layers": layers,
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.4])) if layers > 1 else 0.0,
    }
    options |= {"proj_size": 1} if kind == "LSTM" and draw(st.booleans()) else {}
    options |= {"nonlinearity": "relu"} if kind == "RNN" and draw(st.booleans()) else {}
    module = made(kind, draw(seeds), **options).train(draw(st.booleans()))
    n, steps = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    x = gaussian(*((n, steps) if module.batch_first else (steps, n)), D, seed=draw(seeds))
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(1, steps), min_size=n, max_size=n))
        by_length = draw(st.booleans())
        lengths = sorted(lengths, reverse=True) if by_length else lengths
        x = pack_padded_sequence(x, lengths, batch_first=module.batch_first, enforce_sorted=by_length)
    given_states = draw(st.booleans())
    return module, (x, states(module, n, draw(seeds))) if given_states else (x,)


@laws
@given(calls(), seeds)
def test_the_weights_gradient_is_that_of_autograd(case, seed):
    check(*case, seed=seed)


@laws
@given(st.sampled_from(sorted(CELLS)), st.booleans(), st.booleans(), st.integers(1, 4), seeds)
def test_cells(kind, bias, with_states, n, seed):
    module = made(kind, seed, bias=bias)
    h, c = gaussian(n, H, seed=seed), gaussian(n, H, seed=seed + 1)
    given_states = ((h, c) if kind == "LSTMCell" else h,) if with_states else ()
    parts = check(module, (gaussian(n, D, seed=seed + 2), *given_states), seed=seed)
    assert all(part.outputs.shape == (n, H) for part in parts.values())


def by_hand_lstm(module, x):
    """The equations, gate by gate: z, f per gate, (n, T, H), and the hidden states."""
    W, U, b = module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0 + module.bias_hh_l0
    names, rows = (
        ("input_gate", "forget_gate", "cell_gate", "output_gate"),
        (slice(k * H, (k + 1) * H) for k in range(4)),
    )
    gates = dict(zip(names, rows, strict=True))
    seen, hidden = {name: ([], []) for name in names}, []
    h = c = x.new_zeros(len(x), H)
    for x_t in x.unbind(1):
        z = {name: x_t @ W[rows].T + h @ U[rows].T + b[rows] for name, rows in gates.items()}
        f = {
            name: torch.tanh(value) if name == "cell_gate" else 1 / (1 + torch.exp(-value)) for name, value in z.items()
        }
        c = f["forget_gate"] * c + f["input_gate"] * f["cell_gate"]
        h = f["output_gate"] * torch.tanh(c)
        hidden.append(h)
        for name in names:
            seen[name][0].append(z[name])
            seen[name][1].append(f[name])
    return seen, torch.stack(hidden, 1)


def by_hand_gru(module, x):
    W, U, b, e = module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0
    r, u, n = slice(0, H), slice(H, 2 * H), slice(2 * H, 3 * H)
    seen, hidden = {}, []
    h = x.new_zeros(len(x), H, requires_grad=True)
    for x_t in x.unbind(1):
        reset, update = (x_t @ W[g].T + b[g] + h @ U[g].T + e[g] for g in (r, u))
        z_input, z_hidden = x_t @ W[n].T + b[n], h @ U[n].T + e[n]
        f_reset, f_update = torch.sigmoid(reset), torch.sigmoid(update)
        candidate = torch.tanh(z_input + f_reset * z_hidden)
        h = (1 - f_update) * candidate + f_update * h
        hidden.append(h)
        pairs = ((reset, f_reset), (update, f_update), (z_input, candidate), (z_hidden, candidate))
        for name, pair in zip(("reset_gate", "update_gate", "candidate_input", "candidate_hidden"), pairs, strict=True):
            for values, value in zip(seen.setdefault(name, ([], [])), pair, strict=True):
                values.append(value)
    return seen, torch.stack(hidden, 1)


@pytest.mark.parametrize(("kind", "by_hand"), [("LSTM", by_hand_lstm), ("GRU", by_hand_gru)])
def test_gates_equal_those_of_an_unfused_twin_sample_by_sample(kind, by_hand):
    module, x = made(kind, batch_first=True), gaussian(N, T, D)
    targets = gaussian(N, T, H, seed=1)
    outputs = module(x)
    (sent,) = torch.autograd.grad(((outputs[0] - targets) ** 2).sum(), outputs[0])
    parts, _ = replay_gradients(module, (x,), {}, outputs, [sent, *[None] * (len(output_tensors(outputs)) - 1)])
    for sample in range(N):
        seen, hidden = by_hand(module, x[sample : sample + 1])
        loss = ((hidden - targets[sample]) ** 2).sum()
        for name, (z, f) in seen.items():
            part = parts[f"l0.{name}"]
            for found, steps in ((part.outputs, z), (part.features, f)):
                close(found[sample], torch.cat(steps).detach())
            for found, steps in ((part.output_gradients, z), (part.feature_gradients, f)):
                close(found[sample], torch.cat(torch.autograd.grad(loss, steps, retain_graph=True)))


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_packed_batch_shows_each_sequence_as_if_it_were_alone(kind):
    module = made(kind, num_layers=2, bidirectional=True)
    sequences = [gaussian(length, D, seed=length) for length in (2, 4, 1, 3)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    outputs = module(packed)
    hidden = outputs[1][0] if kind == "LSTM" else outputs[1]
    (sent,) = torch.autograd.grad((hidden**2).sum(), hidden)
    before = [None, sent, None][: len(output_tensors(outputs))]
    parts, reason = replay_gradients(module, (packed,), {}, outputs, before)
    assert reason == ""
    for number, sequence in enumerate(sequences):
        alone = module(sequence[:, None])
        gradients = [None, sent[:, number : number + 1], None][: len(before)]
        expected, _ = replay_gradients(module, (sequence[:, None],), {}, alone, gradients)
        for name, part in expected.items():
            for field in ("inputs", "outputs", "features", "gates", "output_gradients", "feature_gradients"):
                found = getattr(parts[name], field)[number]
                close(found[: len(sequence)], getattr(part, field)[0])
                assert not found[len(sequence) :].any()


def test_several_functions_of_the_outputs_share_one_replay():
    module, x = made("LSTM"), gaussian(T, N, D)
    outputs = module(x)
    found = replay(module, (x,), {}, outputs)
    each = [found.tensors([gaussian(T, N, H, seed=seed), None, None]) for seed in (1, 2)]
    both = found.tensors([gaussian(T, N, H, seed=1) + gaussian(T, N, H, seed=2), None, None])
    for name, part in both.items():
        close(part.output_gradients, each[0][name].output_gradients + each[1][name].output_gradients)
    values = found.tensors()["l0.input_gate"]
    assert values.output_gradients is None
    assert values.feature_gradients is None
    nothing = found.tensors([None, None, None])["l0.input_gate"]
    assert not nothing.output_gradients.any()


def test_names_and_sizes():
    module = nn.LSTM(5, 4, num_layers=2, bidirectional=True, proj_size=3)
    views = {view.name: view for view in views_of(module, "encoder.lstm")}
    assert len(views) == 2 * 2 * 5
    gate = views["encoder.lstm.l1_reverse.forget_gate"]
    assert (gate.module, gate.part, gate.layer_type) == ("encoder.lstm", "l1_reverse.forget_gate", "LSTM forget_gate")
    assert (gate.width, gate.fan_in, gate.bias, gate.positions_axis) == (4, 2 * 3 + 3, True, 1)
    weights = torch.cat([module.weight_ih_l1_reverse[4:8], module.weight_hh_l1_reverse[4:8]], 1)
    biases = module.bias_ih_l1_reverse[4:8] + module.bias_hh_l1_reverse[4:8]
    assert torch.equal(gate.neurons(), torch.cat([weights, biases[:, None]], 1).detach())
    projection = views["encoder.lstm.l0.projection"]
    assert (projection.width, projection.fan_in, projection.bias) == (3, 4, False)
    assert torch.equal(projection.neurons(), module.weight_hr_l0.detach())
    assert [view.name for view in views_of(nn.RNN(3, 4), "rnn")] == ["rnn.l0"]
    assert [view.name for view in views_of(nn.RNNCell(3, 4), "cell")] == ["cell"]
    assert [view.name for view in views_of(nn.GRUCell(3, 4), "(the model itself)")][:2] == ["reset_gate", "update_gate"]


def test_the_two_halves_of_a_grus_candidate_share_their_feature():
    module = made("GRU", batch_first=True)
    views = {view.part: view for view in views_of(module)}
    assert (views["l0.candidate_input"].fan_in, views["l0.candidate_hidden"].fan_in) == (D, H)
    parts = replayed(module, (gaussian(N, T, D),))
    close(parts["l0.candidate_input"].features, parts["l0.candidate_hidden"].features, 0)


def test_dropout_between_layers_needs_the_random_state_of_the_call():
    module, x = made("LSTM", num_layers=2, dropout=0.5), gaussian(T, N, D)
    outputs, gradients, state = call(module, (x,))
    assert replay_gradients(module, (x,), {}, outputs, gradients, state)[1] == ""
    assert "state before is not known" in refusal(module, (x,), outputs)
    other = current_random_state(CPU)
    assert "its dropout drew other random numbers" in refusal(module, (x,), outputs, state=other)
    module.eval()
    assert "its outputs are others" in refusal(module, (x,), outputs)


def test_a_call_that_the_replay_does_not_reproduce_is_refused():
    module, x = made("GRU"), gaussian(T, N, D)
    outputs = module(x)
    assert "its outputs are others" in refusal(module, (x + 1,), outputs)
    assert "its outputs are others" in refusal(module, (x,), outputs[0])
    assert "without a dimension of samples" in refusal(module, (x[:, 0],), module(x[:, 0]))
    assert "other arguments than GRU takes" in refusal(module, (x, None, None), outputs)
    with torch.no_grad():
        module.weight_hh_l0.add_(0.1)
    assert "its outputs are others" in refusal(module, (x,), outputs)
    cell = made("LSTMCell")
    assert "without a dimension of samples" in refusal(cell, (x[0, 0],), cell(x[0, 0]))


def test_a_subclass_with_a_forward_of_its_own_is_refused():
    class Doubled(nn.GRU):
        def forward(self, x, hx=None):
            return super().forward(torch.cat([x, x], 2), hx)

    module, x = Doubled(2 * D, H, dtype=torch.float64), gaussian(T, N, D)
    assert "could not be computed again" in refusal(module, (x,), module(x))


def test_only_composite_modules_are_replayed():
    with pytest.raises(Unsupported, match="Linear"):
        replay(nn.Linear(2, 2), (torch.zeros(1, 2),), {}, torch.zeros(1, 2))


def test_nothing_is_left_behind():
    module, x = made("LSTM", num_layers=2, dropout=0.5), gaussian(T, N, D).requires_grad_()
    outputs, gradients, state = call(module, (x,))
    module.zero_grad()
    x.grad = None
    torch.rand(1)  # the training went on: the state is no longer that after the call
    kept, before = x.detach().clone(), torch.get_rng_state()
    with torch.no_grad():
        parts, _ = replay_gradients(module, (x,), {}, outputs, gradients, state)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, kept)
    assert x.grad is None
    assert all(parameter.grad is None for parameter in module.parameters())
    assert module.training
    part = parts["l0.input_gate"]
    assert not any(tensor.requires_grad for tensor in (part.inputs, part.outputs, part.output_gradients))


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_may_be_asked_for_after_the_optimizer_changed_everything(frozen):
    module, x = made("LSTM").requires_grad_(not frozen), gaussian(T, N, D)
    outputs = module(x)
    found = replay(module, (x,), {}, outputs)
    sent = [gaussian(*tensor.shape, seed=9) for tensor in output_tensors(outputs)]
    expected = {name: part.output_gradients for name, part in found.tensors(sent).items()}
    inputs = {name: part.inputs.clone() for name, part in found.tensors().items()}
    with torch.no_grad():
        x.zero_()
        for parameter in module.parameters():
            parameter.zero_()
    for name, part in found.tensors(sent).items():
        close(part.output_gradients, expected[name], 0)
        close(part.inputs, inputs[name], 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_are_delivered_in_the_type_of_the_weights(dtype):
    exact = made("LSTM", num_layers=2, batch_first=True)
    module, x = copy.deepcopy(exact).to(dtype), gaussian(N, T, D)
    parts = replayed(module, (x.to(dtype),))
    twin = replayed(exact, (x,))
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    for name, part in parts.items():
        assert {getattr(part, field).dtype for field in ("inputs", "outputs", "gates", "output_gradients")} == {dtype}
        close(part.output_gradients.double(), twin[name].output_gradients, tolerance)


def test_under_autocast():
    module, x = made("LSTM", dtype=torch.float32, batch_first=True), gaussian(N, T, D, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = module(x)
        found = replay(module, (x,), {}, outputs)
    assert found.reason == ""
    assert found.tensors()["l0.input_gate"].features.dtype == torch.float32


def test_inputs_made_in_inference_mode():
    module = made("GRU")
    with torch.inference_mode():
        x = gaussian(T, N, D)
        outputs = module(x)
        found = replay(module, (x,), {}, outputs)
    sent = [gaussian(*tensor.shape) for tensor in output_tensors(outputs)]
    assert found.tensors(sent)["l0.reset_gate"].output_gradients.any()


def test_nan_is_data():
    module, x = made("RNN", batch_first=True), gaussian(N, T, D)
    x[1, 2] = torch.nan
    parts = replayed(module, (x,))
    z = parts["l0"].outputs
    assert z[1, 2:].isnan().all()
    assert not z[[0, 2, 3]].isnan().any()


def test_parametrized_weights_are_those_that_were_used():
    plain, x = made("LSTM", batch_first=True), gaussian(N, T, D)
    module = copy.deepcopy(plain)
    parametrizations.weight_norm(module, "weight_hh_l0")
    expected, parts = replayed(plain, (x,)), replayed(module, (x,))
    for name, part in parts.items():
        close(part.output_gradients, expected[name].output_gradients)
    for view, twin in zip(views_of(module), views_of(plain), strict=True):
        close(view.neurons(), twin.neurons())
