"""For all tests: one thread. Tiny tensors gain nothing from two, and lose much when the cores are busy elsewhere."""

import torch

torch.set_num_threads(1)
