# %% [markdown]
# # 22 Many processes
#
# - **Question:** How do many processes train one model, and why is it the model that one process would have trained?
# - **Teaches:** data parallelism, the ring all-reduce, ZeRO and fully sharded parameters, the bytes that each of them
#   keeps and sends; four slips that training code makes, and what happens when a worker dies
# - **Minutes:** 120 to read and solve, 1 to run
#
# You need: training with AdamW (lesson 05), the GPT block (lesson 04), mean and variance.
#
# Letters: n processes, of which one has the number r (its **rank**, from 0 to n - 1); N parameters; B examples in a
# batch, b = B / n on each process. All logarithms are natural unless a base is given.

# %% [setup]
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# %%
import importlib
import json
import math
import os
import subprocess
import tempfile
from random import Random

import torch
from torch.nn import functional as F

import llmasos
from lessons.machinery.lesson_api import part, predict, result, seed
from lessons.machinery.pictures import curves, heatmap
from llmasos.models.flops import n_parameters_of
from llmasos.planning.training import state_bytes, traffic_bytes
from llmasos.training.fully_sharded import FullySharded, fully_shard
from llmasos.training.ring import all_gather, all_reduce, all_reduce_bytes, in_threads, reduce_scatter, split
from llmasos.training.zero import ZeroOptimizer, flatten

SEED = seed()
torch.manual_seed(SEED)
torch.set_num_threads(1)

# `run 22 --mine` puts your own functions here
shard_bounds = part("shard_bounds", None)
mean_gradient = part("mean_gradient", None)
reduce_scatter_step = part("reduce_scatter_step", None)
bytes_per_process = part(
    "bytes_per_process",
    lambda stage, N, n: (state_bytes(stage, N, n, (2, 2, 12)), traffic_bytes(stage, N, n, 2, 2)),
)
zero1_step = part("zero1_step", None)

# %% [markdown]
# ## 22.1 A mean can be cut into pieces
#
# Llama 3 405B was trained on 16,384 GPUs (Dubey et al. 2024, table 4). Why so many? Its training took
# $3.8 \cdot 10^{25}$ operations. A single H100 does about $4 \cdot 10^{14}$ of them in a second, and would have needed
# three thousand years. And it could not even have begun: with AdamW and 16-bit training, each parameter takes 16 bytes
# (22.3), so the state of the model takes 6.5 TB, and the GPU has 80 GB. So there are two problems, **time** and
# **memory**. This lesson solves both, with processes that share nothing but a cable.
#
# The first idea is called **data parallelism**. All n processes have the same model. Each takes b = B / n examples of
# the batch and computes the gradient of its own mean loss; then they average. If $g_r$ is the gradient of process r,
#
# $$ \frac1n \sum_{r=0}^{n-1} g_r \;=\; \frac1n \sum_r \frac1b \sum_{i \in r} \nabla \ell_i
#    \;=\; \frac1B \sum_{i=1}^{B} \nabla \ell_i . $$
#
# The right-hand side is what one process would have computed with the whole batch. This is not an approximation. All
# copies of the model begin with the same weights and subtract the same updates, so they stay equal forever.
#
# The formula has one condition: the pieces must be **equally large**. Process r may have $m_r$ targets, because texts
# have different lengths and padding does not count. Then the mean of the means is not the mean: a token in a short text
# weighs more than one in a long text. The right gradient weights each process by its targets, $\sum_r m_r g_r / \sum_r
# m_r$. (In the library every process divides by the number of targets in the *whole* global batch, over all processes
# and all accumulation steps; see `training/trainer.py`.) Exercise **mean_gradient** asks for it.
#
# Now a real model. The cell below writes a small program to a file. Its functions are a GPT that reads characters, a
# batch that is a function of the seed and the step alone, and a loss; its main part comes in 22.4, where three
# processes run this same file.

# %%
PROGRAM = '''
"""What each process runs: python many_processes.py RANK SIZE SEED. The lesson imports the same file."""

import json, os, signal, sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn import functional as F

from llmasos.datasets.storyworld import stories
from llmasos.models import GPT, ModelConfig
from llmasos.storage.safetensors import load_tensors, save_tensors
from llmasos.training.fully_sharded import fully_shard, whole_weights
from llmasos.training.ring import ProcessRing, all_reduce
from llmasos.training.zero import ZeroOptimizer, flatten

FOLDER, STEPS, B, T = Path(__file__).parent, 24, 12, 32
TEXT = " ".join(story.text for story in stories("train", 40))
LETTERS = sorted(set(TEXT))
IDS = torch.tensor([LETTERS.index(letter) for letter in TEXT])
CONFIG = ModelConfig(vocab_size=len(LETTERS), context_length=T, n_layers=2, n_heads=2, d_model=32, tie_embeddings=False)


def make_model(seed):
    torch.manual_seed(seed)
    return GPT(CONFIG).double()  # float64, so that "equal" can mean many digits


def batch(seed, step):
    """(B, T + 1) characters: the same for every process that asks, and for every number of processes."""
    starts = torch.randint(len(IDS) - T, (B, 1), generator=torch.Generator().manual_seed(1000 * seed + step))
    return IDS[starts + torch.arange(T + 1)]


def loss_of(model, rows):
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def adamw(parameters, eps=1e-8):
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, eps=eps)


def set_gradients(model, flat):
    """Give each parameter its part of a flat vector of gradients."""
    start = 0
    for p in model.parameters():
        p.grad = flat[start : start + p.numel()].view_as(p)
        start += p.numel()


def gradient(model, rows):
    """The gradient of the mean loss, as one flat vector."""
    model.zero_grad()
    loss_of(model, rows).backward()
    return flatten([p.grad for p in model.parameters()])
'''

temporary = tempfile.TemporaryDirectory(prefix="lesson-22-")  # deleted at the end
folder = Path(temporary.name)
(folder / "many_processes.py").write_text(PROGRAM, encoding="utf-8")
sys.path.insert(0, str(folder))
many = importlib.import_module("many_processes")

model = many.make_model(SEED)
rows = many.batch(SEED, 0)
whole = many.gradient(model, rows)
pieces = [many.gradient(model, rows[rank::3]) for rank in range(3)]


def relative_error(a, b):
    return ((a - b).norm() / b.norm()).item()


print(f"{n_parameters_of(many.CONFIG):,} parameters, a batch of {len(rows)} × {many.T} characters on 3 processes")
print(f"one process alone, relative error:   {relative_error(pieces[0], whole):.2g}")
print(f"mean of three, relative error:       {relative_error(sum(pieces) / 3, whole):.2g}")

# %% [markdown]
# A third of the batch gives a gradient that is far from that of the whole batch, and the mean of the three thirds is
# right to 15 digits. Now let the pieces be unequal: the first process has texts of 32 characters, the second of 16, and
# the third of 4.

# %%
predict("how large is the error of the mean of means: 1 %, 10 %, or more?")

# %%
lengths = (32, 16, 4)
parts = [rows[4 * r : 4 * r + 4, : length + 1] for r, length in enumerate(lengths)]
gradients = [many.gradient(model, each) for each in parts]
n_targets = [4 * length for length in lengths]
losses = torch.cat([
    F.cross_entropy(model(each[:, :-1]).flatten(0, 1), each[:, 1:].flatten(), reduction="none") for each in parts
])  # fmt: skip
model.zero_grad()
losses.mean().backward()  # every character counts the same
exact = flatten([p.grad for p in model.parameters()])
if mean_gradient is not None:
    print(f"your mean_gradient, relative error:  {relative_error(mean_gradient(gradients, n_targets), exact):.2g}")
print(f"targets on each process: {n_targets}")
result("mean of means: relative error of the gradient", relative_error(sum(gradients) / 3, exact), 0.37, 0.17)

# %% [markdown]
# **What to see.** The mean of means is wrong by a third. Sixteen characters weigh as much as 128 do. Nothing
# fails, the loss falls, and the model is trained on a different problem from the one you meant. Such a bug was in
# popular training libraries for years, with gradient accumulation in place of processes, where the same condition holds
# (Unsloth 2024, *Bug fixes in LLM training*).

# %% [markdown]
# ## 22.2 A ring
#
# In each step the processes must add up their gradients, and all must get the sum. The name for that is **all-reduce**.
# The obvious way is a **star**: all send to process 0, it adds, and sends the sum back to all. With a gradient of S
# bytes, process 0 must then receive (n - 1)·S bytes and send (n - 1)·S. With 1,000 processes, one cable carries two
# thousand gradients, and 999 cables wait.
#
# In a **ring**, each process sends only to its right-hand neighbor, and all cables are used all the time (Patarasuk &
# Yuan 2009; Gibiansky 2017 brought it to deep learning). Cut each tensor into n chunks, and in each step let every
# process pass one chunk on:
#
# 1. **Reduce-scatter**, n - 1 steps. Process r starts by sending its chunk r - 1 (process 0 its last one). It adds what
#    comes from the left to its own chunk of that number, and passes the sum on in the next step. After n - 1 steps,
#    process r has the complete sum of chunk r.
# 2. **All-gather**, n - 1 steps. Each process passes on the complete chunk that it got last. In the end, every process
#    has every chunk.
#
# Each process sends one chunk of S / n bytes in each of 2 (n - 1) steps:
#
# $$ \text{bytes sent} = 2 \, \frac{n-1}{n} \, S \;<\; 2S . $$
#
# **The bytes do not grow with n.** That is why data parallelism works on thousands of GPUs. No algorithm can do better
# if every process is to have the sum (Patarasuk & Yuan 2009). What does grow is the number of steps, and
# each one has a latency: rings of thousands are therefore built of rings of rings, or of trees.
#
# The picture shows one ring of four. Exercise **reduce_scatter_step** asks for a step of the first half.

# %%
n = 4
counts = []  # after each step: (process, chunk), how many processes are in the sum


def watched(ring):
    """The library's all-reduce, one step at a time, with a 1 for each summand."""
    held = torch.ones(n)
    states = [held.clone()]
    for step in range(n - 1):
        outgoing = (ring.rank - 1 - step) % n
        held[(outgoing - 1) % n] += ring.exchange(held[outgoing])
        states.append(held.clone())
    for step in range(n - 1):
        outgoing = (ring.rank - step) % n
        held[(outgoing - 1) % n] = ring.exchange(held[outgoing])
        states.append(held.clone())
    return torch.stack(states)


states = torch.stack(in_threads(n, watched))  # (process, step, chunk)
heatmap(
    [[x for state in process.tolist() for x in (*(c / n for c in state), 0)] for process in states],
    [f"process {r}" for r in range(n)],
    ["0", "1", "2", "3", " "] * (2 * n - 1),
    "A ring of four: summands in each chunk, before and after each of 6 steps", "22-ring",
)  # fmt: skip
assert (states[:, -1] == n).all()
if reduce_scatter_step is not None:
    held = [torch.arange(8.0).view(4, 2) * 10**r for r in range(n)]
    for step in range(n - 1):
        held = reduce_scatter_step(held, step)
    print("your reduce-scatter:", [held[r][r].tolist() for r in range(n)])

# %% [markdown]
# **What to see.** Four numbered columns are the chunks of one process; each group of four is one moment. On the left
# all are pale: one summand each. In each of the next three groups, one chunk of each process gets darker, a different
# one for each process, until each has one that is complete, on the diagonal. Then the dark ones are copied.
#
# Does the library send as many bytes as the formula says? It counts them.

# %%
S = 4 * 5040  # bytes: 5,040 is a multiple of 1 to 10
sent = {n: in_threads(n, lambda ring: (all_reduce(torch.ones(5040), ring), ring.bytes_sent)[1]) for n in range(1, 9)}
print(" n   sent by each   formula   star, by process 0")
for n, counted in sent.items():
    assert counted == [all_reduce_bytes(S, n)] * n
    print(f"{n:2} {counted[0]:12,} {all_reduce_bytes(S, n):11,.0f} {2 * (n - 1) * S:14,}")
result("8 processes: bytes sent, in tensors", sent[8][0] / S, 1.75, 0.001)

# %% [markdown]
# ## 22.3 Sixteen bytes for each parameter
#
# Now the memory. In 16-bit training with AdamW, a process keeps for each parameter
#
# | | bytes |
# |---|---|
# | the weight, bf16 | 2 |
# | its gradient, bf16 | 2 |
# | a copy of the weight in fp32, so that small steps are not lost | 4 |
# | the moving average of the gradient, fp32 | 4 |
# | that of its square, fp32 | 4 |
#
# That is 16 bytes, and with data parallelism all n processes keep the same 16. **ZeRO** (Rajbhandari et al. 2020) keeps
# each number only once. AdamW treats every weight by itself, so process r can update the r-th part of the weights
# alone:
#
# - **Stage 1** shards the 12 bytes of the optimizer. Reduce-scatter the gradients, update your part, all-gather the
#   weights. Those are the two halves of an all-reduce, so it costs no extra traffic.
# - **Stage 2** also keeps only its part of the gradients.
# - **Stage 3**, or **FSDP**, also keeps only its part of the weights. Each layer gathers its weights when it computes,
#   forward and backward, and drops them right after. That is one all-gather more: half as much traffic again.
#
# | | bytes kept per parameter | sent in a step, per parameter, times (n - 1)/n |
# |---|---|---|
# | data parallel | 16 | 2 + 2 |
# | stage 1 | 4 + 12/n | 2 + 2 |
# | stage 2 | 2 + 14/n | 2 + 2 |
# | stage 3 | 16/n | 2 + 2 + 2 |
#
# Exercises **bytes_per_process** and **zero1_step** ask for this table and for a step of stage 1.
#
# Here is one function for all four, on threads in place of processes. The "model" is a vector of weights whose gradient
# is that of a linear regression; the optimizer is torch's AdamW. We count the bytes of the tensors that exist between
# two steps.

# %%
N, STAGES = 1680, ("ddp", "zero1", "zero2", "zero3")
generator = torch.Generator().manual_seed(SEED)
start = torch.randn(N, generator=generator)
inputs, targets = torch.randn(32, N, generator=generator), torch.randn(32, generator=generator)


def train(stage, ring, steps=3):
    """Mixed-precision training of one process. Returns the whole weights, bytes kept and bytes sent."""
    n, r = ring.size, ring.rank
    x, y = inputs[r::n].bfloat16(), targets[r::n].bfloat16()
    master = start if stage == "ddp" else split(start, n)[r]  # fp32
    master = torch.nn.Parameter(master.clone())
    weights = (split(start, n)[r] if stage == "zero3" else start).bfloat16()
    optimizer = torch.optim.AdamW([master], lr=0.01)
    for _ in range(steps):
        w = all_gather(weights, ring).view(-1) if stage == "zero3" else weights  # for the forward pass
        error = x @ w - y
        w = all_gather(weights, ring).view(-1) if stage == "zero3" else weights  # and again for the backward pass
        gradient = 2 * x.T @ error / len(x)  # (N,), bf16
        if stage == "ddp":
            gradient = all_reduce(gradient, ring) / n
            mine = gradient
        else:
            mine = reduce_scatter(split(gradient, n), ring) / n
            gradient = gradient if stage == "zero1" else mine
        master.grad = mine.float()
        optimizer.step()
        new = master.detach().bfloat16()
        weights = new if stage in ("ddp", "zero3") else all_gather(new, ring).view(-1)
    moments = [t for t in optimizer.state[master].values() if t.numel() > 1]
    kept = sum(t.nbytes for t in (weights, gradient, master.detach(), *moments))
    sent = ring.bytes_sent
    return (all_gather(weights, ring).view(-1) if stage == "zero3" else weights), kept / N, sent / N / steps


lines, at_eight = {}, {}
print("  n   stage   kept per parameter   formula    sent per parameter   formula")
for n in (1, 2, 4, 8):
    whole = None
    for stage in STAGES:
        weights, kept, sent = zip(*in_threads(n, lambda ring, stage=stage: train(stage, ring)), strict=True)
        formula = [x / N for x in bytes_per_process(stage, N, n)]
        print(f"{n:3} {stage:>7} {kept[0]:16.3f} {formula[0]:13.3f} {sent[0]:17.3f} {formula[1]:13.3f}")
        whole = weights[0] if whole is None else whole
        assert all(torch.equal(w, whole) for w in weights), "the same weights, bit for bit, on all processes and stages"
        lines.setdefault(stage, []).append((n, kept[0]))
        at_eight[stage] = kept[0], sent[0]  # the last n is 8
for stage, (kept, sent) in at_eight.items():
    expected = {"ddp": 16, "zero1": 4 + 12 / 8, "zero2": 2 + 14 / 8, "zero3": 16 / 8}[stage]
    result(f"{stage}, 8 processes: bytes kept per parameter", kept, expected, 0.001)
    traffic = 7 / 8 * (6 if stage == "zero3" else 4)
    result(f"{stage}, 8 processes: bytes sent per parameter", sent, traffic, 0.001)
curves(lines, "State of each process", "processes", "bytes per parameter", "22-memory")

# %% [markdown]
# **What to see.** Counted bytes equal the formulas to the last byte, and all four stages give the same weights, **bit
# for bit**: they add the same numbers in the same order. So the choice between them changes nothing about the model,
# only who keeps what. Stage 1 is free and saves most of what can be saved; that is why it is the usual first choice.
# In the picture, the line of stage 1 levels off at 4 bytes, while that of stage 3 keeps falling.
#
# With 16 bytes per parameter, an 80 GB GPU holds a model of 5 billion parameters and not one activation. With stage 3
# on 1,024 of them, the state of a model with $10^{12}$ parameters takes 16 GB on each. (Activations come on top; see
# `python -m llmasos plan --parameters 1T --devices 1024`.)
#
# The library trains in fp32 with 4 + 4 + 8 bytes; its own ZeRO-1 (`training/zero.py`) and its own fully sharded module
# (`training/fully_sharded.py`) keep 8 + 8/n and 16/n.


# %%
def state_per_parameter(parameters, optimizer):
    """Bytes of weights, gradients and optimizer state."""
    kept = [t for p in parameters for t in (p, p.grad) if t is not None]
    kept += [t for state in optimizer.state.values() for t in state.values() if t.dim()]
    return sum(t.numel() for t in kept) * 4 / n_parameters_of(many.CONFIG)  # as fp32


def zero_by_hand(ring):
    copy = many.make_model(SEED)
    optimizer = ZeroOptimizer([{"params": list(copy.parameters())}], many.adamw, ring)
    many.loss_of(copy, rows[ring.rank :: ring.size]).backward()
    optimizer.step()
    return state_per_parameter(copy.parameters(), optimizer.optimizer)


def sharded_by_hand(ring):
    sharded: FullySharded = fully_shard(many.make_model(SEED), ring)
    optimizer = many.adamw(sharded.parameters())
    many.loss_of(sharded, rows[ring.rank :: ring.size]).backward()
    optimizer.step()
    return state_per_parameter(sharded.parameters(), optimizer)


result("the library's ZeRO-1, 4 threads: bytes per parameter", in_threads(4, zero_by_hand)[0], 8 + 8 / 4, 0.01)
result("the library's full sharding, 4 threads", in_threads(4, sharded_by_hand)[0], 16 / 4, 0.01)

# %% [markdown]
# ## 22.4 Three processes
#
# So far everything ran in one process, with threads. Now the real thing: three Python processes that share nothing,
# connected by torch's `gloo` over the network interface of this machine. (On GPUs it would be NCCL, and nothing else
# would change.) The second half of the program trains the GPT of 22.1 in three ways, for 24 steps each:
#
# - **torch's own** `DistributedDataParallel`;
# - **ZeRO-1 by hand** and **fully sharded by hand**, with a ring of processes;
# - **plain data parallelism by hand**: all-reduce the gradients. In this one, process 2 is killed in step 15. What the
#   other two do then is the subject of 22.6.
#
# The question is whether all of them, and one single process, end with the same model.

# %%
MAIN = '''

def connect(name, rank, size):
    """Meet the others through a file."""
    dist.init_process_group("gloo", init_method=f"file://{FOLDER / name}", rank=rank, world_size=size,
                            timeout=timedelta(seconds=120))
    return ProcessRing()


def train_ddp(ring, seed):
    model = make_model(seed)
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = adamw(model.parameters())
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(wrapped, batch(seed, step)[ring.rank :: ring.size]).backward()
        optimizer.step()
    return dict(model.named_parameters())


def train_zero(ring, seed):
    model = make_model(seed)
    optimizer = ZeroOptimizer([{"params": list(model.parameters()), "weight_decay": 0.1}], adamw, ring)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, batch(seed, step)[ring.rank :: ring.size]).backward()
        optimizer.step()
    return dict(model.named_parameters())


def train_sharded(ring, seed):
    sharded = fully_shard(make_model(seed), ring)
    optimizer = adamw(sharded.parameters())
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(sharded, batch(seed, step)[ring.rank :: ring.size]).backward()
        optimizer.step()
    sent = ring.bytes_sent
    weights = whole_weights(sharded)
    ring.bytes_sent = sent  # this last all-gather is not part of a step
    return weights


def train_with_failure(ring, seed):
    """Plain data parallelism; a checkpoint every 10 steps; process 2 dies in step 15."""
    model, step, log = make_model(seed), 0, []
    optimizer = adamw(model.parameters())
    while step < STEPS:
        try:
            if step % 10 == 0 and ring.rank == 0:
                save(model, optimizer, step)
            flat = gradient(model, batch(seed, step)[ring.rank :: ring.size])
            if step == 15 and ring.rank == 2:
                os.kill(os.getpid(), signal.SIGKILL)  # no notice, no cleanup
            set_gradients(model, all_reduce(flat, ring) / ring.size)
            optimizer.step()
            step += 1
        except RuntimeError as error:  # a neighbor is gone
            log.append([step, str(error).split("] ")[-1].split(". ")[0][:60]])
            dist.destroy_process_group()
            ring = connect("two", ring.rank, 2)  # those that are left
            step = load(model, optimizer)
            log.append([step, f"continue with {ring.size} processes"])
    return dict(model.named_parameters()), log


def save(model, optimizer, step):
    tensors = {f"weight.{i}": p.detach() for i, p in enumerate(model.parameters())}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{name}.{i}": t for name, t in state.items()}
    save_tensors(FOLDER / "temporary", tensors | {"at": torch.tensor(step)})
    os.replace(FOLDER / "temporary", FOLDER / "checkpoint.safetensors")  # there is always a whole one


def load(model, optimizer):
    tensors = load_tensors(FOLDER / "checkpoint.safetensors")
    for i, p in enumerate(model.parameters()):
        p.data.copy_(tensors[f"weight.{i}"])
        optimizer.state[p] = {name: tensors[f"{name}.{i}"].clone() for name in ("step", "exp_avg", "exp_avg_sq")}
    return int(tensors["at"])


if __name__ == "__main__":
    rank, size, seed = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    ring = connect("three", rank, size)
    report = {}
    x = torch.randn(5040, generator=torch.Generator().manual_seed(rank))
    ours, theirs = all_reduce(x, ring), x.clone()
    dist.all_reduce(theirs)
    report["all_reduce"] = {"bytes": ring.bytes_sent, "difference": (ours - theirs).abs().max().item()}
    saved = {}
    for name, work in (("ddp", train_ddp), ("zero1", train_zero), ("zero3", train_sharded)):
        ring.bytes_sent = 0
        saved[name] = work(ring, seed)
        report[name] = {"bytes": ring.bytes_sent}
    saved["failure"], report["log"] = train_with_failure(ring, seed)
    if rank == 0:
        for name, weights in saved.items():
            save_tensors(FOLDER / name, {key: weight.detach() for key, weight in weights.items()})
        (FOLDER / "report.json").write_text(json.dumps(report), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()
'''
(folder / "many_processes.py").write_text(PROGRAM + MAIN, encoding="utf-8")
environment = {**os.environ, "PYTHONPATH": str(Path(llmasos.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
processes = [
    subprocess.Popen([sys.executable, str(folder / "many_processes.py"), str(rank), "3", str(SEED)],
                     env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for rank in range(3)
]  # fmt: skip
predict(
    "three processes, three programs, one process: in how many decimal places will the weights agree after 24 steps?"
)

# %%
alone = many.make_model(SEED)
optimizer = many.adamw(alone.parameters())
for step in range(many.STEPS):
    many.set_gradients(alone, many.gradient(alone, many.batch(SEED, step)))
    optimizer.step()
alone = dict(alone.named_parameters())

outputs = [process.communicate(timeout=500)[0] for process in processes]
codes = [process.returncode for process in processes]
assert codes[:2] == [0, 0], outputs
print(f"exit codes: {codes}")
report = json.loads((folder / "report.json").read_text(encoding="utf-8"))


def distance_from_alone(name):
    """The largest difference of a weight from that of one process."""
    weights = many.load_tensors(folder / name)
    assert weights.keys() == alone.keys()
    return max((weights[key] - weight).abs().max().item() for key, weight in alone.items())


n_bytes = 8 * n_parameters_of(many.CONFIG)  # float64
print(f"all-reduce by hand against torch's, largest difference: {report['all_reduce']['difference']:.2g} (fp32)")
print("largest difference of any weight from that of one process, after 24 steps")
for name, words in (("ddp", "torch's DDP"), ("zero1", "ZeRO-1 by hand"), ("zero3", "fully sharded by hand")):
    print(f"  {words:<22} {distance_from_alone(name):.1g}")
moved = sum((alone[key] - weight).abs().mean().item() for key, weight in many.make_model(SEED).named_parameters())
print(f"  (for comparison: training has moved a weight by {moved / len(alone):.2g} on average)")
for name, expected in (("zero1", 2 * 2 / 3), ("zero3", 3 * 2 / 3)):
    ratio = report[name]["bytes"] / many.STEPS / n_bytes
    result(f"{name}: bytes sent in a step, in models", ratio, expected, 0.003)
digits = -math.log10(max(distance_from_alone(name) for name in ("ddp", "zero1", "zero3")))
result("decimal places in which all agree", min(digits, 14), 11.3, 1.8)

# %% [markdown]
# **What to see.** By hand = torch's = one process. The only differences are in the last digits of float64, because the
# sums are computed in another order: $(a + b) + c \neq a + (b + c)$ in floating point. The bytes on the cable are those
# of the formula: 4/3 of the model for ZeRO-1, 2 for full sharding. (A little more, since each tensor is padded to a
# multiple of 3.)

# %% [markdown]
# ## 22.5 Four slips and their curves
#
# All of this takes little code, and if you forget a line of it, there is no error message. Here are four slips that
# real training code has made. To know exactly what each does, we take a problem for which the whole loss curve has a
# formula: linear regression with d inputs, $y = x \cdot w^* + \text{noise}$, with normal inputs and noise of variance
# $\sigma^2$, by plain stochastic gradient descent with rate $\eta$ and a fresh batch of B examples in each step. Let
# $E_t = \mathbb{E} \| w_t - w^* \|^2$, which is the **excess loss**: the mean squared error on new data is
# $\sigma^2 + E_t$. A step is $w_{t+1} - w^* = (I - \eta A)(w_t - w^*) + \eta\, z$ with $A = \frac1B \sum x x^\top$ and
# $z = \frac1B \sum x \cdot \text{noise}$. (The factor 2 of the square is part of $\eta$.) For normal inputs
# $\mathbb{E} A^2 = \frac{B + d + 1}{B} I$, so
#
# $$ E_{t+1} = \underbrace{\Big(1 - 2\eta + \eta^2 \, \frac{B + d + 1}{B}\Big)}_{a} E_t +
#    \underbrace{\eta^2 \, \frac{\sigma^2 d}{B}}_{c},
#    \qquad E_\infty = \frac{c}{1 - a} . $$
#
# We have n = 4 processes with b = 8 examples each, so B = 32, and d = 16, $\sigma = 1$, $\eta = 0.2$. Now the slips:
#
# 1. **No averaging.** Each process steps with its own gradient. (The model was not wrapped, or the call to all-reduce
#    sits in a branch that is not taken.) Process 0 then trains alone: the formula with b in place of B.
# 2. **The same data everywhere.** All processes draw with the same seed. (The sampler does not know the rank.) The mean
#    of four equal gradients is one of them: again the formula with b.
# 3. **A sum, not a mean.** All-reduce adds, and the division by n is forgotten: the formula with $n \eta$ in place of
#    $\eta$.
# 4. **Different initial weights.** Each process draws its own, here with a standard deviation of s = 0.5. All add the
#    same mean gradient, so their **differences never change**: process r is $\bar w_t + \delta_r$ with the same
#    $\delta_r$ forever. The mean $\bar w$ trains, with a little more noise, $c = \eta^2 (\sigma^2 d + (d + 1) \Delta) /
#    B$, where $\Delta = \mathbb{E} \|\delta_r\|^2 = (1 - 1/n)\, d\, s^2 = 3$. The model that is saved is one of the
#    copies, and its excess loss is $\Delta$ above that of the mean.

# %%
predict("which slips can you see in the training curve, and which two look exactly alike?")

# %%
d, b, n, rate, s, RUNS, STEPS = 16, 8, 4, 0.2, 0.5, 600, 40


def formula(B, rate, start=float(d), extra=0.0):
    """The excess loss after 0 … STEPS steps."""
    a, c = 1 - 2 * rate + rate**2 * (B + d + 1) / B, rate**2 * (d + extra) / B
    curve = [start]
    for _ in range(STEPS):
        curve.append(a * curve[-1] + c)
    return curve


def experiment(slip):
    """The mean excess loss of process 0 over many runs, and the mean distance between processes 0 and 1 at the end."""
    generator = torch.Generator().manual_seed(100 + SEED)
    w = torch.zeros(RUNS, n, d)  # w* is all ones
    if slip == "different initial weights":
        w = s * torch.randn(RUNS, n, d, generator=generator)
    curve = [(w[:, 0] - 1).square().sum(dim=1).mean().item()]
    for _ in range(STEPS):
        x = torch.randn(RUNS, n, b, d, generator=generator)
        noise = torch.randn(RUNS, n, b, generator=generator)
        if slip == "the same data everywhere":
            x, noise = x[:, :1].expand_as(x), noise[:, :1].expand_as(noise)
        error = torch.einsum("rnbd,rnd->rnb", x, w - 1) - noise
        g = torch.einsum("rnb,rnbd->rnd", error, x) / b  # (RUNS, n, d): one gradient for each process
        if slip != "no averaging":
            g = g.mean(dim=1, keepdim=True) * (n if slip == "a sum, not a mean" else 1)
        w = w - rate * g
        curve.append((w[:, 0] - 1).square().sum(dim=1).mean().item())
    return curve, (w[:, 0] - w[:, 1]).square().sum(dim=1).mean().item()


DELTA = (1 - 1 / n) * d * s**2
predicted = {
    "right": formula(n * b, rate),
    "no averaging": formula(b, rate),
    "the same data everywhere": formula(b, rate),
    "a sum, not a mean": formula(n * b, n * rate),
    "different initial weights": [
        DELTA + x for x in formula(n * b, rate, start=d + d * s**2 / n, extra=(d + 1) * DELTA)
    ],
}
measured, apart = {}, {}
for name in predicted:
    measured[name], apart[name] = experiment(name)
curves(
    {name: [(t, math.log10(x)) for t, x in enumerate(curve)] for name, curve in measured.items()},
    "Excess loss of process 0, and four slips", "step", "log10 of the excess loss", "22-slips",
)  # fmt: skip
print("                             excess loss at the end       ‖w₀ - w₁‖²")
for name, curve in measured.items():
    print(f"{name:>26} {curve[-1]:10.3f}  formula {predicted[name][-1]:6.3f} {apart[name]:12.3f}")
for name, spread in zip(measured, (0.008, 0.05, 0.05, 0.06, 0.25), strict=True):
    result(f"{name}: excess loss", measured[name][-1], predicted[name][-1], spread)
result("different initial weights: ‖w₀ - w₁‖²", apart["different initial weights"], 2 * d * s**2, 0.5)

# %% [markdown]
# **What to see.** Every curve falls, and every curve has a formula. The right one ends at 0.06. Without averaging, or
# with the same data, it ends at 0.29: you pay for four machines and get one. **These two curves are the same** (in the
# picture one hides the other), and no look at a loss can tell them apart. But one line of code can: print a checksum of
# the weights on each process (they differ without averaging), and one of the batch (they are equal with the same data).
# The sum is even *faster* at first, since its rate is four times as high, and that is why this slip is often taken for
# a success; but its excess loss ends nine times as high. And with different initial weights the loss levels off at 3.2,
# whatever you do to the learning rate.
#
# The sum has one more surprise. The factor n grows with the machine: what worked on 4 processes diverges on 8, as soon
# as $a > 1$.

# %%
print(" n   a, mean   a, sum   excess loss with the sum")
for n_more in (1, 2, 4, 8, 16):
    B = b * n_more
    a_mean, a_sum = (1 - 2 * x + x**2 * (B + d + 1) / B for x in (rate, rate * n_more))
    end = f"{(rate * n_more) ** 2 * d / B / (1 - a_sum):.2f}" if a_sum < 1 else "it diverges"
    print(f"{n_more:2} {a_mean:9.2f} {a_sum:8.2f}   {end}")

# %% [markdown]
# **With AdamW you would not have seen it.** AdamW divides the gradient by the square root of its own mean square, so a
# constant factor cancels. Try it with the GPT: the same 24 steps, all gradients times 4. (The denominator also has a
# small constant, $\epsilon$, usually $10^{-8}$. We try a smaller one, too.)

# %%
predict("AdamW with all gradients times 4: how much does a weight change? And plain SGD?")


# %%
def train_alone(make_optimizer, factor):
    copy = many.make_model(SEED)
    optimizer = make_optimizer(copy.parameters())
    for step in range(many.STEPS):
        many.set_gradients(copy, factor * many.gradient(copy, many.batch(SEED, step)))
        optimizer.step()
    return flatten(list(copy.parameters()))


begin = flatten(list(many.make_model(SEED).parameters()))
optimizers = {
    "AdamW": many.adamw,
    "AdamW, ε = 1e-12": lambda p: many.adamw(p, eps=1e-12),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05),
}
for name, make_optimizer in optimizers.items():
    mean, total = (train_alone(make_optimizer, factor) for factor in (1, 4))
    effect = ((total - mean).norm() / (mean - begin).norm()).item()
    print(f"{name}: difference between sum and mean, relative to what training has changed: {effect:.2g}")
    if "ε" in name:
        result("AdamW, gradients times 4: relative difference", effect, 0.0, 0.001)

# %% [markdown]
# **What to see.** AdamW hides the slip, except for its $\epsilon$. With the usual $\epsilon$ the weights differ by 0.4
# to 14 percent (five seeds), because the gradients of queries and keys are at first hardly larger than $\epsilon$. With
# a smaller one nothing is left of the factor 4. That is pleasant until you clip gradients, or change to SGD, or compare
# the reported gradient norm with someone else's. A test with SGD on one batch finds it at once, which is the general
# advice of this lesson: **one step, one batch, one process against n, all weights equal** is the test that finds all
# four slips and the mean of means, and it takes a second.

# %% [markdown]
# ## 22.6 When a worker dies
#
# In 22.4 process 2 was killed in step 15, in the middle of a sum, without any notice. This is what process 0 wrote:

# %%
for step, line in report["log"]:
    print(f"step {step:2}: {line}")
print(f"exit code of process 2: {codes[2]} (the signal SIGKILL)")
difference = distance_from_alone("failure")
print(f"largest difference from one process that was never interrupted: {difference:.1g}")
result("after the failure: decimal places that agree", min(14, -math.log10(difference)), 11.3, 1.8)

# %% [markdown]
# **What to see.** The neighbors of a dead process are the first to know, because their connection breaks. (The others
# would wait for *them*, which is why every collective operation has a timeout.) The gradient of step 15 is lost, and so
# are steps 10 to 14. The two that are left connect again, load the last checkpoint, and continue with two processes
# instead of three. Their model ends up **equal to that of one process that was never interrupted**. Three things made
# that possible:
#
# 1. The batch is a function of the seed and the step, and not of who computes it. No process has a random state of its
#    own that could die with it.
# 2. The mean over the batch does not depend on n. (What would happen with a sum?)
# 3. The checkpoint holds weights, both moments and the step, and it is written to a second file, which then replaces
#    the old one, so that there is a complete checkpoint at every moment.
#
# With sharded state there is a fourth: the shards of three processes must be put together and cut again for two.
# Exercise **shard_bounds** asks for the cut. Our trainer does all this with `--resume`; `torchrun` starts the processes
# again.
#
# ### How often should you save?
#
# Failures are part of daily life. In 54 days of Llama 3's training there were 419 unexpected interruptions on 16,384
# GPUs (Dubey et al. 2024, section 3.3.4): one every **three hours**, though a single GPU fails once in six *years* or
# so. If failures come at random with a mean time M between them, saving takes δ, and a restart takes R, then an
# interval of τ hours of work takes, on average,
#
# $$ (M + R) \left( e^{(\tau + \delta)/M} - 1 \right) $$
#
# hours (Daly 2006). Save too often, and you save all the time; too rarely, and each failure costs a lot. The best
# interval is about $\sqrt{2 \delta M}$ (Young 1974). We simulate failures and compare.

# %%
M, DELTA_SAVE, R = 54 * 24 / 419, 1 / 60, 1 / 6  # hours


def expected_hours(tau):
    return (M + R) * (math.exp((tau + DELTA_SAVE) / M) - 1)


def simulated_hours(tau, generator, segments=6000):
    """The mean time for an interval of work, with failures at random."""
    total, until_failure = 0.0, generator.expovariate(1 / M)
    for _ in range(segments):
        while until_failure < tau + DELTA_SAVE:  # it fails before it has saved: begin the interval again
            total += until_failure + R
            until_failure = generator.expovariate(1 / M)
        total += tau + DELTA_SAVE
        until_failure -= tau + DELTA_SAVE
    return total / segments


taus = [0.08, 0.16, 0.32, 0.64, 1.28, 2.56]
generator = Random(SEED)
wasted = {tau: 1 - tau / simulated_hours(tau, generator) for tau in taus}
curves(
    {
        "simulated": [(math.log2(60 * tau), x) for tau, x in wasted.items()],
        "formula": [(math.log2(60 * tau), 1 - tau / expected_hours(tau)) for tau in taus],
    },
    "Lost to failures and checkpoints", "log2 of minutes between checkpoints", "fraction of the time", "22-failures",
)  # fmt: skip
best = min((tau / 1000 for tau in range(10, 4000)), key=lambda tau: expected_hours(tau) / tau)
print(f"one failure in {M:.1f} hours; Young's interval √(2 δ M) = {60 * math.sqrt(2 * DELTA_SAVE * M):.1f} minutes")
result("the best interval by Daly's formula, minutes", 60 * best, 60 * math.sqrt(2 * DELTA_SAVE * M), 1.0)
for tau, spread in ((0.08, 0.015), (0.32, 0.015), (2.56, 0.03)):
    result(f"lost with {60 * tau:.0f} minutes between", wasted[tau], 1 - tau / expected_hours(tau), spread)

# %% [markdown]
# **What to see.** A flat valley: between 10 and 40 minutes it hardly matters. On both sides it rises steeply. With
# twice as many machines M halves, and the best interval falls by a factor of 1.4.

# %% [markdown]
# ## 22.7 What was left out
#
# - **Splitting a layer.** Tensor parallelism cuts each matrix (Shoeybi et al. 2019), pipeline parallelism cuts the
#   stack of layers (Huang et al. 2019), expert parallelism the experts (lesson 13), context parallelism the text. The
#   largest runs use four of them at once.
# - **Overlap.** DDP sends the gradients of the last layers while the first are still computing theirs, FSDP gathers the
#   next layer during the current one. Then most of the traffic costs no time.
# - **Larger batches** are what more processes give you at first. They help only up to a point, the critical batch size
#   (McCandlish et al. 2018), and the learning rate must be chosen again.
# - **Batch norm** and other layers that look at the whole batch see only their own b examples. Our models have none.
# - **Less traffic**: compressed gradients, and local steps with rare averaging (Douillard et al. 2023, *DiLoCo*).
#
# **Further reading.** Patarasuk & Yuan 2009, *Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations*.
# Rajbhandari et al. 2020, *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*. Zhao et al. 2023,
# *PyTorch FSDP*. Li et al. 2020, *PyTorch Distributed*. Goyal et al. 2017, *Accurate, Large Minibatch SGD* (section 3
# lists slips like ours). Dubey et al. 2024, *The Llama 3 Herd of Models*, section 3.3. Daly 2006, *A higher order
# estimate of the optimum checkpoint interval*. McCandlish et al. 2018, *An Empirical Model of Large-Batch Training*.
#
# **Now you.** `python -m lessons check 22` creates your file, `lessons/mine/22_many_processes.py`, with seven exercises
# in it. None of them starts a process: a list of tensors stands for the processes. When the checks pass,
# `python -m lessons run 22 --mine` trains with your functions.
