# %%
from exhibits_on_pages import RESULTS, overview, show, table

from cloudchamber.papers.overview2025.orientations import CUT, DEGREES, KINKS, apart, bending_at

# %% [markdown]
# # overview2025: condensation, from two neurons to transformers
#
# *An overview of condensation phenomenon in deep learning* (`overview2025` here) says that neurons of one layer
# tend to become alike when networks train from small weights, that they do so in many architectures, and that this
# is why wide networks generalize. This page follows the argument with our runs. It is executed: `make
# pages` builds it from the stored results, no number on it is typed by hand, and a test compares the
# page with them. `cloudchamber papers run overview2025/NAME` runs an exhibit again.
#
# Claims were written before the first run at their scale and have not changed since
# ([how](papers.md#claims-cannot-move)); the few that were added after it say so. Lists of numbers have one per seed.

# %%
overview("overview2025")

# %% [markdown]
# ## The argument in five steps
#
# 1. **Through training the number of orientations grows.** A network begins with one or two orientations and adds
#    others as it needs them (Section 3).
# 2. **It is everywhere.** tanh networks, convolutions, residual networks (Section 4).
# 3. **When.** How initialization scales with width decides: the phase diagram (Section 5).
# 4. **Why.** The leading order of the activation holds a few directions at first (6.1); narrow networks' critical
#    points live on in wide ones (6.2); dropout penalizes what is not condensed (6.3).
# 5. **What for.** A transformer that condenses reasons instead of memorizing; a condensed network can be made small,
#    and needs as many samples as the narrow network that it equals (Section 7).
#
# ## 1. Condensation through training
#
# A two-layer ReLU network of 100 neurons learns a target of four bends. A neuron `a σ(wx + b)` is a point: its
# orientation, the angle of (w, b), says where it bends (at x = −b/w) and to which side it grows; its amplitude is
# the length.

# %%
show("overview2025/fig1")

# %% [markdown]
# Twenty seeds begin alike: within 100 epochs all neurons that move point to 45°, which bends at the left edge of
# the data: the network is a straight line. Where they end differs, but not by chance. Every orientation is one that
# bends where the target does, to one side or the other, or is left over at an edge of the data, where a neuron is
# linear. Which side it is depends on the seed:

# %%
ends = RESULTS.arrays("overview2025/fig1", "laptop")
strong = ends.end_amplitude >= CUT * ends.end_amplitude.max("neuron")
rows = []
for place in (*KINKS, 1.0):
    right = float(bending_at([place])[0])
    counts = []
    for angle in (right, right + 180):
        near = (apart(ends.end_angle.values, angle) <= DEGREES) & strong.values
        counts.append(f"{(angle + 180) % 360 - 180:.0f}°: {int(near.any(1).sum())} seeds, {int(near.sum())} neurons")
    rows.append((f"{place:g}", *counts))
table(("bend at x =", "growing to the right", "growing to the left"), rows)

# %% [markdown]
# Static neurons are those that cannot see the data: with `wx + b ≤ 0` on all of [−1, 1] no gradient reaches them.
# That is a quarter of all random directions, −135° to −45°.
#
# ## 2. Condensation everywhere
#
# ### tanh networks at the end of training

# %%
show("overview2025/fig2")

# %% [markdown]
# ### Convolutions and residual networks
#
# Here a neuron is a channel, and two things can be compared: its kernel, and what it gives out for all images and
# positions. Cosines of few numbers are large by chance, and neighbouring pixels are alike, so that outputs of
# unrelated kernels look alike too. Each block strength, the mean |cos| over pairs of channels, therefore stands beside
# that of the same layer with shuffled kernels on the same images.

# %%
show("overview2025/fig3", "overview2025/fig4")

# %% [markdown]
# ## 3. When: the phase diagram
#
# `f = κ Σ_k a_k σ(w_k·x)` with standard normal a and w, `κ = m^−γ`; γ' is the exponent of the ratio of both layers'
# scales. As the width m grows, the relative distance RD that a layer moves vanishes (linear), or grows without bound
# (condensed). Each cell trains networks of several widths and fits the power of the width
# ([how cells are judged](phase-diagrams.md#how-a-cell-is-judged)).

# %%
show("overview2025/fig5")

# %% [markdown]
# ## 4. Why
#
# ### At first: the directions that the activation's leading order holds
#
# While weights are small, `ẇ = a ∇φ(w)` with φ a form of degree p, the multiplicity of the activation: 1 for tanh, 2
# for x·tanh. Neurons turn to the maxima of φ on the circle (a > 0) or to its minima (a < 0), which
# `theory.condensed_directions` computes from the data alone, before any training.

# %%
show("overview2025/fig6")

# %% [markdown]
# The paper's setting is lost. What decides whether two pairs are seen for p = 2 is the neurons' speeds: a neuron's
# growth depends on its own size there, and the largest runs away before others have turned. With output weights of
# one size, neurons of one sign have one speed, and plain gradient flow gives both pairs in every seed.

# %% [markdown]
# ### The loss landscape: narrow networks in wide ones
#
# Split a neuron into copies that share its output weight: the output is the same, and a point where the gradient
# vanishes stays one. So a wide network meets the losses of narrow ones on its way. The Hessian of the narrow network
# is a part of that of the wide one, which has at least as many negative, zero and positive eigenvalues; for tanh a
# minimum may become a saddle, from which the wide network goes on.

# %%
show("overview2025/fig7")

# %%
found = RESULTS.arrays("overview2025/fig7", "laptop")
kinds, rows = found.case.values, []
for kind in dict.fromkeys(kinds):
    one = found.isel(point=kinds == kind)
    negative, wide = (one[name].sel(count="negative") for name in ("inertia", "wide_inertia"))
    fallen = int((one.wide_inertia < one.inertia).any("count").sum())
    turned = int(((negative == 0) & (wide > 0).any("embedding")).sum())
    rows.append((kind, len(negative), int((negative == 0).sum()), wide.size, fallen, turned))
table(("network", "critical points", "minima", "embeddings", "a count falls", "minima that become saddles"), rows)

# %% [markdown]
# ReLU has no curvature that copies could turn against each other: σ'' = 0, and where the loss is critical Σ r σ' x = 0
# for every neuron with an output weight. Its minima stay minima, with many more zero eigenvalues.

# %% [markdown]
# ### Dropout
#
# Dropout adds on average R₁ = (1 − p)/(2np) Σᵢ Σⱼ ‖Wⱼ fⱼ(xᵢ)‖² to the loss, the sum of the *squares* of what
# neurons give. For a given output that is least where all give the same, so dropout condenses networks that start from
# no small weights. R₁ in place of dropout, which is not random, is the control. Orientations are counted by what they
# give to the output, so that neurons which do nothing do not count.

# %%
show("overview2025/fig8", "overview2025/fig9")

# %% [markdown]
# ## 5. What for
#
# ### Transformers that reason
#
# Four anchors each add a number; two in a row compose. 14 of the 16 compositions are trained on. Who remembers
# sequences knows no other; who has learned what a composition adds can apply it to other numbers, and who has learned
# what each anchor adds knows all 16. The rate γ of the initialization (standard deviation d_in^(−γ)) decides.

# %%
show("overview2025/fig10")

# %% [markdown]
# ### How many samples a network needs
#
# The optimistic estimate: a target is recovered from as many samples as the narrowest network that represents it has
# parameters, however wide the network that learns it. The estimate is a lower one; what is measured is how near
# gradient descent from small weights comes to it, and whether the width counts.

# %%
show("overview2025/section7.1")

# %% [markdown]
# ### Making a condensed network small
#
# Where neurons are the same they can be one. The published rule takes those within a cosine of 0.9 of each other;
# `merge_neurons` compares what neurons compute and refits the next layer ([how](merging.md)). The same rule at a lower
# cosine makes any network as narrow as the condensed one, and shows what that costs where nothing is condensed.

# %%
show("overview2025/section7.3")

# %%
mean = RESULTS.arrays("overview2025/section7.3", "paper").mean("seed")
rows = []
for start in mean.start.values:
    one = mean.sel(start=start)
    lost = [f"{100 * float(one.accuracy - one[name].sel(way='as narrow')):.1f}" for name in ("before", "after")]
    widths = [f"{float(one.neurons.sel(way=way)):.0f}" for way in mean.way.values]
    rows.append((start, f"{float(one.moved):.2g}", *widths, " → ".join(lost)))
heads = ("initial variance", "weights moved by", *mean.way.values, "points lost as narrow, at once → after updates")
table(heads, rows)

# %% [markdown]
# ## What is known beyond the paper
#
# - *Which orientations Figure 1 ends on* is decided by the target up to a side: a bend can be made from the left or
#   from the right, and the seed chooses.
# - *The number of orientations does not only grow.* It overshoots while neurons are on their way to new orientations,
#   and falls when they arrive.
# - *"A pair of opposite directions" is the target's.* Where the direction that the initial stage chooses is not the one
#   that fits, one neuron goes on alone and most stay behind (Figure 2).
# - *Two pairs for x·tanh* need neurons of equal speed, not a particular optimizer (Figure 6).
