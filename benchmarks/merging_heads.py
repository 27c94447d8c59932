"""Merging the heads of trained transformers: how many of them, and how wide, the same output needs.

Two kinds of a small vision transformer on MNIST (16 patches, 64 wide, 2 blocks of 8 heads, Adam), three seeds each:
with torch's initialization, and with a hundredth of it for queries, keys and values. Raw: results/merging_heads.json.

Run: python benchmarks/merging_heads.py      (4 minutes on one core; --afresh forgets what was measured)
     python benchmarks/merging_heads.py --table      (writes the table into README.md)
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from merging_nets import SEEDS, data_of
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import cloudchamber as cc
from cloudchamber._core.files import write_text

RESULTS = Path(__file__).parent / "results" / "merging_heads.json"
README = Path(__file__).parent / "README.md"
KINDS = {"default": 1.0, "small": 0.01}
WHAT = {"default": "torch's initialization", "small": "q, k, v a hundredth of it"}
TOLERANCES = (0.01, 0.03, 0.1, 0.2)
UPDATES, BATCH, WIDTH, HEADS = 800, 100, 64, 8


class Transformer(nn.Module):
    """Patches, two blocks, the mean over the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.place = nn.Linear(49, WIDTH), nn.Parameter(0.02 * torch.randn(1, 16, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, 0.0, nn.functional.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of (n, 784) images."""
        x = x.reshape(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 16, 49)
        return self.head(self.blocks(self.patches(x) + self.place).mean(1))


def trained(kind: str, seed: int) -> nn.Module:
    """Train one network."""
    torch.manual_seed(seed)
    model = Transformer()
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight, gain=KINDS[kind])
    optimizer, (x, y, _, _) = torch.optim.Adam(model.parameters(), lr=1e-3), data_of("default")
    random = torch.Generator().manual_seed(seed)
    for _ in range(UPDATES):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        optimizer.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return model.eval()


def classes(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in x.split(500)])


def merged(kind: str, seed: int) -> dict[str, Any]:
    """Train a network and merge it within each tolerance."""
    model, (x, _, test, y) = trained(kind, seed), data_of("default")
    before, rows = classes(model, test), []
    for tolerance in TOLERANCES:
        small, summary = cc.merge_neurons(model, x[:1000], tolerance=tolerance)
        after = classes(small, test)
        heads = {each.name: [each.before, each.after, each.how] for each in summary.plan.layers if each.unit == "heads"}
        neurons = {each.name: [each.before, each.after] for each in summary.plan.layers if each.unit != "heads"}
        rows.append(
            {
                "tolerance": tolerance,
                "error": summary.error.relative,
                "heads": heads,
                "neurons": neurons,
                "parameters": summary.parameters,
                "agreement": (before == after).double().mean().item(),
                "accuracy": (after == y).double().mean().item(),
            }
        )
    return {"accuracy": (before == y).double().mean().item(), "rows": rows}


def table(kept: dict[str, Any]) -> str:
    """A row per kind: heads that are left in each block (first seed), means over the seeds."""
    rows = ["| transformer | accuracy | " + " | ".join(f"within {each:g}" for each in TOLERANCES) + " |"]
    rows.append("|" + "---|" * (len(TOLERANCES) + 2))
    for kind in KINDS:
        found = [kept[f"{kind} {seed}"] for seed in SEEDS]
        cells = [f"{100 * statistics.mean(each['accuracy'] for each in found):.1f}"]
        for at in range(len(TOLERANCES)):
            each = [net["rows"][at] for net in found]
            heads = ", ".join(left(each[0], block) for block in (0, 1))
            share = statistics.mean(row["parameters"][1] / row["parameters"][0] for row in each)
            agreement = statistics.mean(row["agreement"] for row in each)
            cells.append(f"{heads}; {share:.0%}; {agreement:.2%}")
        rows.append(f"| {WHAT[kind]} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def left(row: dict[str, Any], block: int) -> str:
    """How many heads of a block are left, and how wide their queries and keys are and their values."""
    _, heads, how = row["heads"].get(f"blocks.layers.{block}.self_attn (heads)", (HEADS, HEADS, ""))
    widths = [re.search(rf"{what} \d+ → (\d+)", how) for what in ("queries and keys", "values")]
    queries, values = (WIDTH // HEADS if found is None else int(found[1]) for found in widths)
    return f"{heads} × ({queries}, {values})"


def main() -> None:
    forget = "--afresh" in sys.argv or not RESULTS.exists()
    kept: dict[str, Any] = {} if forget else json.loads(RESULTS.read_text())
    if "--table" in sys.argv:
        begin, end = "<!-- merging:heads -->\n", "<!-- /merging:heads -->"
        before, _, rest = README.read_text(encoding="utf-8").partition(begin)
        write_text(README, before + begin + table(kept) + "\n" + end + rest.partition(end)[2])
        return
    for seed in SEEDS:
        for kind in KINDS:
            if f"{kind} {seed}" not in kept:
                kept[f"{kind} {seed}"] = merged(kind, seed)
                write_text(RESULTS, json.dumps(kept, indent=1) + "\n")
                print(kind, seed, json.dumps(kept[f"{kind} {seed}"]), flush=True)


if __name__ == "__main__":
    main()
