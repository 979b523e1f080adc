# %% [markdown]
# # 03 Attention
#
# - **Question:** How?
# - **Teaches:** x
# - **Minutes:** 1
# ## 3.2 The past
# ## 3.3 A
# ## 3.4 B
# ## 3.5 C
# ## 3.6 D
# ## 3.7 E
# ## 3.8 F
