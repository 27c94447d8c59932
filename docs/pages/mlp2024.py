# %%
import json
from pathlib import Path

from exhibits_on_pages import RESULTS, overview, show, table, values

from cloudchamber.papers.mlp2024.recipes import mlp
from cloudchamber.papers.words import numbers

# %% [markdown]
# # mlp2024: why features of MLPs condense
#
# *Why do features of multi-layer perceptrons condense in training?* (anonymous, under review; `mlp2024` here) says
# that early in training the features of an MLP grow *more* alike, whatever the class, and that a loop which
# enhances itself makes them so. This page follows the argument with our runs. It is executed: `make
# pages` builds it from the stored results, no number on it is typed by hand, and a test compares the
# page with them. `cloudchamber papers run mlp2024/NAME` runs an exhibit again.
#
# Claims were written before the first run at their scale and have not changed since
# ([how](papers.md#claims-cannot-move)). Lists of numbers have one per seed. Claims that a scale leaves out (Tiny
# ImageNet, other architectures) are not shown.

# %%
overview("mlp2024")

# %% [markdown]
# ## The argument in five steps
#
# 1. **The phenomenon.** For a while the loss hardly falls. In this *first phase* the features of samples of
#    different classes, and the gradients of samples of one class, grow alike; when the loss falls, they part
#    again.
# 2. **A common direction.** The changes of all weight vectors of a layer are nearly parallel to one direction C
#    (Lemma 1), so that gradients of different samples, passed down through those weights, become parallel too (Eq.
#    3).
# 3. **Its hold over the layer below.** Of what a sample changes in layer l, the part along C of layer l + 1
#    outweighs every other (Theorem 1).
# 4. **The loop.** Weights move along the features (`cos(αΔV, F) > 0`, Theorem 2), features move along the weights
#    (`o > 0`, Lemma 3): the more alike the features, the more alike the next changes. One or two classes, learned
#    first, set its sign; once they are learned their gradients vanish, and the phase is over.
# 5. **What helps.** What keeps features apart or noise large breaks the loop: norms that center, momentum, larger
#    initial weights. Depth and an L₂ term strengthen it.
#
# ## 1. The phenomenon

# %%
show("mlp2024/fig1", "mlp2024/fig11", "mlp2024/fig12", "mlp2024/fig2")

# %% [markdown]
# How alike the gradients within a class become depends on the layer and on how long the plateau lasts. The cosine at
# the start → its highest until the loss has left → at the end; 9 layers of 512 on CIFAR-10, seed 0:

# %% show
extra = json.loads(Path("benchmarks/results/mlp2024_settings.json").read_text())
layers = [f"linear{layer}" for layer in range(1, 9)]
table(
    ("gradients, by γ", "loss leaves", *layers),
    [(setting, *values(row, ["loss begins", *layers])) for setting, row in extra["gradients"].items()],
)

# %% [markdown]
# The shallower networks of Figure 12 take longer for their features to part. Feature cosine of layer 3 on MNIST:

# %% show
columns = ("start", "top", "top at", "2000", "4000", "6000")
table(("network, seed 0", *columns), [(setting, *values(row, columns)) for setting, row in extra["late"].items()])

# %% [markdown]
# Samples against samples, at a few steps: high blocks at the end of the first phase, structure after it.

# %%
show("mlp2024/fig8", "mlp2024/fig9")

# %% [markdown]
# On data without pictures, with depth:

# %%
show("mlp2024/fig14")

# %% [markdown]
# Whether features rise hangs on the initialization: PyTorch's own has biases, which make all samples alike in the upper
# layers from the start. 7 layers of 128, seed 0; start → highest until the loss has left → at the end:

# %% show
shown = ("linear2", "linear3", "linear4")
table(
    ("initialization", "loss leaves", *(f"features, {name}" for name in shown), "gradients, linear3"),
    [
        (
            setting,
            *values(row, ["loss begins"]),
            *values(row["feature_cosine"], shown),
            *values(row["gradient_cosine"], ["linear3"]),
        )
        for setting, row in extra["census"].items()
    ],
)

# %% [markdown]
# ## 2. A common direction
#
# Strengths of the first five common directions of the mean weight changes, for the two classes learned best.

# %%
show("mlp2024/fig3", "mlp2024/fig50")

# %% [markdown]
# ## 3. Its hold over the layer below

# %%
show("mlp2024/tab1", "mlp2024/tab2")

# %% [markdown]
# ### The size of Table 1
#
# Our sizes are a tenth of the paper's and less. What could make the difference is what the paper leaves open:
# which steps are averaged, which initialization, which scale of the gradient. The scale of C cannot: `V′C′ᵀC′ΔV′ᵀ`
# with `V′ = W′ᵀC′/C′ᵀC′` and `ΔV′ = ΔW′ᵀC′/C′ᵀC′` stays what it is when C is multiplied. Nor can a mean over the
# batch: it would make the changes of a single sample a hundred times smaller, not ten times larger.
#
# First, which steps: both tables by parts of the first phase, each with common directions of its own. Strengths are
# in 10⁻³, means over layers 2–6 and the two classes learned best.

# %% show
rates = {"tab1": mlp("cifar10", "laptop").optimizer.lr, "tab2": mlp("mnist", "laptop").optimizer.lr}
parts = []
for name, rate in rates.items():
    arrays = RESULTS.arrays(f"mlp2024/{name}", "laptop")
    for window in arrays.window.values:
        part = arrays.sel(window=window)
        primary, noise, ratio, second = (float(part[key]) for key in ("primary", "noise", "ratio", "second"))
        row = numbers([primary]), numbers([primary / rate]), numbers([noise]), numbers([ratio]), numbers([second])
        parts.append((name, window, *row))
table(("table, seed 0", "steps", "S_primary", "S_primary/η", "largest S_k", "smallest ratio", "s_1/s_2"), parts)

# %% [markdown]
# Then the steps over which the loss begins to fall, and another learning rate:

# %% show
quantities = ("primary", "noise", "primary / rate", "noise / rate", "ratio", "growth", "s_1/s_2")
head = ("S_primary", "S_k", "S_primary/η", "S_k/η", "smallest ratio", "layer 6 over 2", "s_1/s_2")
table(
    ("run, seed 0", "steps", *head),
    [(setting, f"{row['from']}–{row['to']}", *values(row, quantities)) for setting, row in extra["strengths"].items()],
)

# %% [markdown]
# ## 4. The loop

# %%
show("mlp2024/fig4", "mlp2024/fig5", "mlp2024/fig51", "mlp2024/fig52")

# %% [markdown]
# ### One or two classes first

# %%
show("mlp2024/fig6", "mlp2024/fig57")

# %% [markdown]
# What the paper says of MNIST's first phase depends on the initialization, which it does not give:

# %% show
columns = {
    "loss begins": "loss 5 % down",
    "loss down": "15 % down",
    "end": "first phase ends",
    "feature_cosine": "features: start → top → last",
    "gradient_cosine": "gradients",
    "learned where the loss begins": "classes learned at 5 %",
    "learned at the end": "at the end",
}
table(
    ("MNIST, seed 0", *columns.values()),
    [(setting, *values(row, list(columns))) for setting, row in extra["mnist"].items()],
)

# %% [markdown]
# ## 5. What helps, and what makes it worse

# %%
show("mlp2024/fig7", "mlp2024/fig55")

# %% [markdown]
# Whether features *fall* with a norm depends on how they are observed. Normalized by their own mean and deviation they
# are apart from the start; normalized by running averages, which begin at 0 and 1, the network is at first the one
# without norm, and its similarity falls while the averages settle:

# %% show
first = {int(step): step for row in extra["norms"].values() for step in row if step.isdigit()}
table(
    ("feature cosine of layer 3 at iteration", *map(str, sorted(first))),
    [(setting, *values(row, [first[step] for step in sorted(first)])) for setting, row in extra["norms"].items()],
)

# %%
show("mlp2024/fig56", "mlp2024/fig44", "mlp2024/fig45", "mlp2024/fig53", "mlp2024/fig61")

# %% [markdown]
# ## What is known beyond the paper
#
# - *Of a single sample Figure 4 says nothing.* A sample's change is `ΔV|ₓ = −η (Cᵀg) x`, exactly parallel to its
#   feature, so that its cosine is ±1 whatever was learned. Only the step of a batch can agree or disagree with the
#   features of samples; what chance gives is drawn beside it. For the same reason `o` is `cos(V, ΔF)` but for a sign.
# - *Sticking is a matter of time.* A run that counts as stuck may leave its plateau by itself later
#   ([diagnosis](diagnosis.md)); whether it will leave can be told before training for most networks
#   ([prediction](prediction.md)).
# - *Features are not weights.* That weight vectors of a two-layer network condense is decided by how small they
#   start ([phase diagrams](phase-diagrams.md)); features condense in all runs shown here, at Xavier's variances.
# - *The algebra.* Eq. (27) does not follow from Eq. (26), Γ and κ of Eq. (5) lack a division by `‖F‖²`, and Theorem
#   1 divides 0 by 0 for a sample without features; our closed forms need no division ([measures](measures.md)).
# - *Phase norm* leaves open whose cosine it watches, and this decides what it does ([variants](variants.md)).
# - *Which initialization the paper has* is not known; [what each shows](papers.md) of the first phase differs.
