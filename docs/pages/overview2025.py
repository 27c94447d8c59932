# %%
from exhibits_on_pages import overview, show

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
# ([how](papers.md#claims-cannot-move)). Lists of numbers have one per seed.

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

# %%
show("overview2025/fig1")

# %% [markdown]
# ## 2. Condensation everywhere
#
# ### tanh networks at the end of training

# %%
show("overview2025/fig2")

# %% [markdown]
# ### Convolutions and residual networks

# %%
show("overview2025/fig3", "overview2025/fig4")

# %% [markdown]
# ## 3. When: the phase diagram

# %%
show("overview2025/fig5")

# %% [markdown]
# ## 4. Why
#
# ### At first: the directions that the activation's leading order holds

# %%
show("overview2025/fig6")

# %% [markdown]
# ### The loss landscape: narrow networks in wide ones

# %%
show("overview2025/fig7")

# %% [markdown]
# ### Dropout

# %%
show("overview2025/fig8", "overview2025/fig9")

# %% [markdown]
# ## 5. What for
#
# ### Transformers that reason

# %%
show("overview2025/fig10")

# %% [markdown]
# ### How many samples a network needs

# %%
show("overview2025/section7.1")

# %% [markdown]
# ### Making a condensed network small

# %%
show("overview2025/section7.3")
