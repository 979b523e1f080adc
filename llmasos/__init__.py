"""llmasos: an open "LLM operating system" for learning. Build, train, evaluate and use Transformers, from scratch.

The rooms in the order in which to read them: `nn` (the parts), `models`, `tokenizers`, `datasets`, `objectives`,
`training`, `generation`, `commands`. A room imports only from rooms before it.
"""

import os

# OpenMP's threads, which torch computes with on a CPU, by default wait for each other in a long busy loop. As soon as
# another program wants one of the cores, a training step then takes up to tens of times longer, because a thread that
# spins keeps the one it waits for from running. So: spin for some microseconds only, then sleep. torch must not have
# been imported before; otherwise these come too late, and do no harm.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "4000")
