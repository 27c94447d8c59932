"""Merging on trained networks, beside Torch-Pruning at the same widths and with the same updates afterwards.

The parts, each kept in results/merging.json as soon as it is measured, so that the script goes on where it was stopped:
- `exact`: networks that were made wide by splitting, merged back.
- `cases`: the trained networks of `merging_nets.py` within several tolerances.
- `beside`: the same networks narrowed to the widths that merging chose, by merging and by Torch-Pruning (groups ranked
  by magnitude, and by a first-order Taylor expansion of the loss on the examples), before and after more updates.
- `latency`: seconds of the narrow network over those of the wide one, in turn.
- `wide`: time and memory for one layer of 4096 neurons, in a process of its own.

Torch-Pruning is no dependency: `pip install --no-deps torch-pruning`, or the part is left out.

Run: python benchmarks/merging.py FOLDER_OF_THE_NETWORKS      (8 minutes on one core; --afresh forgets old ones)
     python benchmarks/merging.py --quick      (latency and wide, on a quiet machine)
     python benchmarks/merging.py --table      (writes the tables into README.md)
"""

from __future__ import annotations

import copy
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from merging_nets import NETS, SEEDS, ResidualNet, data_of, fresh, predictions, train, trained
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

import cloudchamber as cc
from cloudchamber._core.files import make_folder, write_text
from cloudchamber.anatomy import default_forward
from cloudchamber.anatomy.channels import find_channels
from cloudchamber.reduction.change import Change, Fold

RESULTS = Path(__file__).parent / "results" / "merging.json"
README = Path(__file__).parent / "README.md"
TOLERANCES = (1e-3, 0.01, 0.03, 0.1)
BESIDE = {"published": 0.03, "tanh": 0.1, "dropout": 0.1, "default": 0.1, "convolutions": 0.1, "residual": 0.3}
EXAMPLES = {"mnist": 1000, "cifar10": 400}
UPDATES = 100
SIZES = ("parameters", "flops")


def examples(net: str) -> tuple[Tensor, Tensor]:
    """Training samples that merging sees, and their labels."""
    x, y, _, _ = data_of(net)
    count = EXAMPLES[NETS[net].data]
    return x[:count], y[:count]


def accuracy(model: nn.Module, net: str) -> float:
    _, _, x, y = data_of(net)
    return (predictions(model, x) == y).double().mean().item()


def size_of(model: nn.Module, net: str) -> dict[str, float]:
    """Parameters, and FLOPs of one sample."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *NETS[net].example))
    return {"parameters": sum(p.numel() for p in model.parameters()), "flops": counter.get_total_flops()}


def latency(net: str, widths: dict[str, int], rounds: int = 40) -> float:
    """Seconds of a narrow network over those of the wide one, 200 samples, in turn; median over rounds.

    Both are at their initialization: what counts is their widths.
    """
    wide, x, ratios = fresh(net, 0).eval(), examples(net)[0][:200], []
    small = narrower(wide, x[:2], widths)
    with torch.no_grad():
        for turn in range(rounds):
            seconds = [0.0, 0.0]
            for at in (turn % 2, 1 - turn % 2):
                model = (small, wide)[at]
                start = time.perf_counter()
                model(x)
                seconds[at] = time.perf_counter() - start
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[4:])


def narrower(model: nn.Module, x: Tensor, widths: dict[str, int]) -> nn.Module:
    """The first neurons of each layer alone: a network of given widths, whatever it computes."""
    small = copy.deepcopy(model)
    for space in find_channels(copy.deepcopy(model), x, default_forward).spaces:
        kept = widths.get(space.makers[0], space.size)
        matrix, none = torch.eye(space.size, kept, dtype=torch.float64), torch.zeros(space.size, dtype=torch.float64)
        if kept < space.size:
            Change(space, torch.arange(kept), {key: Fold(matrix, none) for key in space.readers}).apply(small)
    return small


def exact(name: str) -> dict[str, Any]:
    """Split a network, merge it back."""
    activations = {"relu": nn.ReLU, "leaky relu": nn.LeakyReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "linear": nn.Identity}
    torch.manual_seed(0)
    if name == "residual":
        model, x = ResidualNet(), torch.randn(100, 3, 32, 32)
        copies: dict[str, Any] = {"stem": 2, "block1.conv1": 3, "block2.conv1": 2}
        for _ in range(3):  # so that the norms have seen something
            model(x)
    elif name.startswith("transformer"):
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        model, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(100, 8, 32)
        copies = {"layers.0.linear1": 2, "layers.1.linear1": 3}
        if name.endswith("heads"):
            copies = {"layers.0.self_attn": 2, "layers.1.self_attn": 3}
    else:
        act = activations[name]
        model = nn.Sequential(nn.Linear(20, 40), act(), nn.Linear(40, 30), act(), nn.Linear(30, 5))
        x, copies = torch.randn(500, 20), {"0": 3, "2": 2}
        copies = {"2": 2} if name == "linear" else copies
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.float64):
        held = copy.deepcopy(model).eval().to(dtype)
        wide = cc.split_neurons(held, x.to(dtype), copies, tie="shares")
        small, _ = cc.merge_neurons(wide, x.to(dtype), tolerance=0)
        with torch.no_grad():
            change = (small(x.to(dtype)) - wide(x.to(dtype))).norm() / wide(x.to(dtype)).norm()
        counts = [sum(p.numel() for p in each.parameters()) for each in (held, wide, small)]
        found[str(dtype).removeprefix("torch.")] = {"change": change.item(), "parameters": counts}
    return found


def case(net: str, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Merge a trained network within each tolerance."""
    model, rows = trained(folder, net, seed), []
    _, _, x, y = data_of(net)
    before = predictions(model, x)
    for tolerance in TOLERANCES:
        start = time.perf_counter()
        small, summary = cc.merge_neurons(model, examples(net)[0], tolerance=tolerance)
        after = predictions(small, x)
        rows.append(
            {
                "tolerance": tolerance,
                "seconds": time.perf_counter() - start,
                "error": summary.error.relative,
                "layers": [[each.name, each.before, each.after, each.how] for each in summary.plan.layers],
                "parameters": summary.parameters,
                "agreement": (before == after).double().mean().item(),
                "accuracy": [(each == y).double().mean().item() for each in (before, after)],
            }
        )
    return rows


def beside(net: str, seed: int, folder: Path) -> dict[str, Any]:
    """Narrow a trained network in each way to the same widths, and train it on for as many updates."""
    model, (x, y) = trained(folder, net, seed), examples(net)
    merged, summary = cc.merge_neurons(model, x, tolerance=BESIDE[net])
    widths = {name: each.after for each in summary.plan.layers for name in each.name.split(" + ")}
    ways = {"merging": merged}
    if find_spec("torch_pruning") is not None:
        ways["magnitude"] = pruned(model, x, y, widths, "magnitude")
        ways["Taylor"] = pruned(model, x, y, widths, "taylor")
    found: dict[str, Any] = {"wide": {**size_of(model, net), "accuracy": accuracy(model, net)}, "widths": widths}
    for way, small in ways.items():
        before = accuracy(small, net)
        tuned = train(copy.deepcopy(small), net, seed + 100, UPDATES, NETS[net].lr / 5)
        found[way] = {**size_of(small, net), "before": before, "after": accuracy(tuned, net)}
    tuned = train(copy.deepcopy(model), net, seed + 100, UPDATES, NETS[net].lr / 5)
    found["wide"]["after"] = accuracy(tuned, net)
    return found


def pruned(model: nn.Module, x: Tensor, y: Tensor, widths: dict[str, int], how: str) -> nn.Module:
    """Let Torch-Pruning narrow a copy to given widths."""
    import torch_pruning as tp  # pyright: ignore

    held = copy.deepcopy(model)
    layers = dict(held.named_modules())
    ratios = {}
    for name, kept in widths.items():
        weight = getattr(layers[name], "weight")  # noqa: B009
        ratios[layers[name]] = 1 - kept / weight.shape[0]
    dense = [each for each in layers.values() if isinstance(each, nn.Linear | nn.Conv2d)]
    ignored = [each for each in dense if each not in ratios]
    importance = (
        tp.importance.GroupMagnitudeImportance(p=2) if how == "magnitude" else tp.importance.GroupTaylorImportance()
    )
    pruner = tp.pruner.MetaPruner(
        held, x[:2], importance, pruning_ratio=0.0, pruning_ratio_dict=ratios, ignored_layers=ignored, round_to=None
    )
    if how == "taylor":
        cross_entropy(held(x), y).backward()
    pruner.step()
    held.zero_grad()
    return held.eval()


def wide() -> dict[str, Any]:
    """Merge a layer of 4096 neurons, 1024 directions four times each with noise, in this process."""
    torch.manual_seed(0)
    first = nn.Linear(512, 4096)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(4096, 10))
    with torch.no_grad():
        rows = torch.randn(1024, 512).repeat(4, 1)
        first.weight.copy_(rows + 1e-3 * torch.randn_like(rows))
        first.bias.zero_()
    x = torch.randn(1000, 512)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, processor = time.perf_counter(), time.process_time()
    _, summary = cc.merge_neurons(model, x, tolerance=0.01)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mib_before": before / 1024,
        "kept": summary.plan.layers[0].after if summary.plan.layers else 4096,
        "error": summary.error.relative,
        "threads": torch.get_num_threads(),
    }


def in_own_process() -> dict[str, Any]:
    shown = subprocess.run([sys.executable, __file__, "--wide"], capture_output=True, text=True, check=True)
    return json.loads(shown.stdout.splitlines()[-1])


def measure(kept: dict[str, Any], key: str, run: Callable[[], Any]) -> None:
    """Measure what is not kept yet, and keep it."""
    if key not in kept:
        kept[key] = run()
        write_text(RESULTS, json.dumps(kept, indent=1) + "\n")
        print(key, json.dumps(kept[key])[:300], flush=True)


def write_tables(kept: dict[str, Any]) -> None:
    """Write the tables into README.md, between their marks."""
    text = README.read_text(encoding="utf-8")
    for mark, table in {"beside": beside_table(kept), "cases": cases_table(kept), "exact": exact_table(kept)}.items():
        begin, end = f"<!-- merging:{mark} -->\n", f"<!-- /merging:{mark} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + table + "\n" + end + rest.partition(end)[2]
    write_text(README, text)


def beside_table(kept: dict[str, Any]) -> str:
    """A row per network and way, means over the seeds."""
    rows = ["| network | way | parameters | FLOPs | latency | accuracy | after narrowing | after 100 updates |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for net in NETS:
        found = [kept[f"beside {net} {seed}"] for seed in SEEDS if f"beside {net} {seed}" in kept]
        for way in ("merging", "magnitude", "Taylor"):
            share = [statistics.mean(each[way][what] / each["wide"][what] for each in found) for what in SIZES]
            before, after = ([each[way][when] for each in found] for when in ("before", "after"))
            wide = [each["wide"]["accuracy"] for each in found]
            latency = kept.get(f"latency {net}")
            rows.append(
                f"| {NETS[net].what if way == 'merging' else ''} | {way} | {share[0]:.0%} | {share[1]:.0%} | "
                f"{'' if latency is None or way != 'merging' else f'{latency:.2f}×'} | "
                f"{spread(wide) if way == 'merging' else ''} | {spread(before)} | {spread(after)} |"
            )
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    """Mean and range over the seeds, in per cent."""
    return f"{100 * statistics.mean(values):.1f} ({100 * min(values):.1f}–{100 * max(values):.1f})"


def cases_table(kept: dict[str, Any]) -> str:
    """A row per network: widths and agreement within each tolerance, of the first seed, parameters of all."""
    rows = ["| network | " + " | ".join(f"within {tolerance:g}" for tolerance in TOLERANCES) + " |"]
    rows.append("|" + "---|" * (len(TOLERANCES) + 1))
    for net in NETS:
        found = [kept[f"case {net} {seed}"] for seed in SEEDS if f"case {net} {seed}" in kept]
        cells = []
        for at in range(len(TOLERANCES)):
            each = [rows[at] for rows in found]
            share = statistics.mean(row["parameters"][1] / row["parameters"][0] for row in each)
            widths = ", ".join(f"{before} → {after}" for _, before, after, _ in each[0]["layers"]) or "nothing"
            agreement = statistics.mean(row["agreement"] for row in each)
            cells.append(f"{widths}; {share:.0%}; {agreement:.2%}")
        rows.append(f"| {NETS[net].what} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def exact_table(kept: dict[str, Any]) -> str:
    """A row per kind of network."""
    rows = ["| network | parameters: narrow, split, merged back | change, float32 | float64 |", "|---|---|---|---|"]
    for name, found in kept.items():
        if name.startswith("exact"):
            counts = ", ".join(str(count) for count in found["float64"]["parameters"])
            changes = " | ".join(f"{found[dtype]['change']:.1e}" for dtype in ("float32", "float64"))
            rows.append(f"| {name.removeprefix('exact ')} | {counts} | {changes} |")
    return "\n".join(rows)


def main() -> None:
    what = next(each for each in sys.argv[1:] if each != "--afresh")
    if what == "--wide":
        print(json.dumps(wide()))
        return
    forget = "--afresh" in sys.argv or not RESULTS.exists()
    kept: dict[str, Any] = {} if forget else json.loads(RESULTS.read_text())
    if what == "--table":
        write_tables(kept)
        return
    if what == "--quick":
        measure(kept, "wide", in_own_process)
        for net in NETS:
            measure(kept, f"latency {net}", lambda net=net: latency(net, kept[f"beside {net} 0"]["widths"]))
        return
    folder = make_folder(what)
    for name in ("relu", "leaky relu", "tanh", "gelu", "linear", "residual", "transformer", "transformer, heads"):
        measure(kept, f"exact {name}", lambda name=name: exact(name))
    for seed in SEEDS:
        for net in NETS:
            measure(kept, f"beside {net} {seed}", lambda net=net, seed=seed: beside(net, seed, folder))
    for seed in SEEDS:
        for net in NETS:
            measure(kept, f"case {net} {seed}", lambda net=net, seed=seed: case(net, seed, folder))


if __name__ == "__main__":
    main()
