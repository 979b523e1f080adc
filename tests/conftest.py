"""For all tests: one thread, and a Ctrl-C that is heard.

Tiny tensors gain nothing from a second thread, and lose much when the cores are busy elsewhere. A shell that runs
pytest in the background lets it ignore Ctrl-C, which some tests press.
"""

import signal

import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
