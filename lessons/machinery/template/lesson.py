# %% [markdown]
# # NN TITLE
#
# - **Question:** What does a position know if it may only look back?
# - **Teaches:** one or two lines
# - **Minutes:** 10 to read and solve, 1 to run

# %% [setup]

# %%
import torch

from lessons.machinery.lesson_api import part, predict, result, seed

torch.manual_seed(seed())

# %% [markdown]
# ## NN.1 The largest so far
#
# The maximum of a growing past never falls: position $t + 1$ sees all that position $t$ sees, and one more number.

# %%
predict("How many of a thousand random numbers are larger than all before them?")

# %%
x = torch.randn(1000)
largest = part("largest_so_far", lambda x: x.cummax(0).values)(x)  # (T,)
result("records in a thousand numbers", 1 + (largest[1:] > largest[:-1]).sum().item(), 7.5, 7.0)

# %% [markdown]
# **What to see:** position $t$ holds a record with probability $1 / t$, so the mean number of records is the
# harmonic number $1 + 1/2 + … + 1/1000 = 7.5$.
#
# ## NN.2 Further reading
#
# - Feller (1968), *An introduction to probability theory and its applications*, volume 1.
