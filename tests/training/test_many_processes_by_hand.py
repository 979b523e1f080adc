"""Ring all-reduce, ZeRO-1, fully sharded parameters: equal to one process and to torch; bytes match the formulas."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from training_helpers import free_port

from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig
from llmasos.training.fully_sharded import FullySharded, fully_shard, sharded_bytes, whole_weights
from llmasos.training.ring import all_gather, all_reduce, all_reduce_bytes, in_threads, join, reduce_scatter, split
from llmasos.training.zero import ZeroOptimizer

TINY = ModelConfig(vocab_size=11, n_layers=2, n_heads=2, d_model=16, context_length=8)
ROOT = Path(__file__).parents[2]
SIZES = [1, 2, 3, 5]
SEEDING = Lock()


def ids(n: int = 6) -> torch.Tensor:
    return torch.randint(11, (n, 9), generator=torch.Generator().manual_seed(1))


def model(config: ModelConfig = TINY) -> GPT:
    with SEEDING:  # the threads share torch's generator
        torch.manual_seed(0)
        return GPT(config).double()


def loss_of(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def groups_of(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def adamw(groups):
    return torch.optim.AdamW(groups, lr=0.01, fused=False)


def trained_alone(steps: int = 4, max_grad_norm: float = 0.0):
    alone = model()
    optimizer = adamw(groups_of(alone))
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(alone, ids()).backward()
        if max_grad_norm:
            norm = torch.nn.utils.get_total_norm([p.grad for p in alone.parameters()])
            torch.nn.utils.clip_grads_with_norm_(alone.parameters(), max_grad_norm, norm - 1e-6)  # it adds 1e-6
        optimizer.step()
    return dict(alone.named_parameters())


def rows_of(ring) -> torch.Tensor:
    return ids()[ring.rank :: ring.size]


# The ring


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4)])
def test_every_process_gets_the_same_bits_of_the_sum(n, shape):
    summands = [torch.randn(shape, generator=torch.Generator().manual_seed(rank)) for rank in range(n)]
    kept = [x.clone() for x in summands]
    sums = in_threads(n, lambda ring: all_reduce(summands[ring.rank], ring))
    assert all(torch.equal(x, sums[0]) and x.shape == shape for x in sums)
    torch.testing.assert_close(sums[0], torch.stack(kept).sum(dim=0))
    assert all(map(torch.equal, summands, kept)), "the summands are left as they are"


@pytest.mark.parametrize("n", SIZES)
def test_the_bytes_sent_are_those_of_the_formula(n):
    tensor = torch.ones(60)  # a multiple of every n

    def sent(work):
        return in_threads(n, lambda ring: (work(ring), ring.bytes_sent)[1])

    assert sent(lambda ring: all_reduce(tensor, ring)) == [all_reduce_bytes(240, n)] * n
    assert sent(lambda ring: reduce_scatter(split(tensor, n), ring)) == [all_reduce_bytes(240, n) / 2] * n


def test_a_chunk_belongs_to_the_process_of_its_number():
    numbers = torch.arange(6.0).view(3, 2)
    sums = in_threads(3, lambda ring: reduce_scatter(numbers * 10**ring.rank, ring))
    assert torch.equal(torch.stack(sums), numbers * 111)
    assert all(torch.equal(x, numbers) for x in in_threads(3, lambda ring: all_gather(numbers[ring.rank], ring)))


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3)])
def test_join_inverts_split(shape):
    x = torch.randn(shape)
    assert torch.equal(join(split(x, 4), x), x)


def test_the_first_error_ends_all_threads_and_is_the_one_raised():
    def work(ring):
        if ring.rank == 2:
            raise ZeroDivisionError("in the third")
        return all_reduce(torch.ones(7), ring)

    with pytest.raises(ZeroDivisionError, match="in the third"):
        in_threads(4, work)
    with pytest.raises(RuntimeError, match="thread 0 has ended, and thread 1 waits for it"):
        in_threads(2, lambda ring: ring.rank and all_reduce(torch.ones(7), ring))


# ZeRO-1


@pytest.mark.parametrize("n, max_grad_norm", [(1, 0.0), (2, 0.0), (3, 0.1)])
def test_zero_takes_the_steps_of_one_process_and_keeps_an_nth_of_the_state(n, max_grad_norm):
    def work(ring):
        copy = model()
        optimizer = ZeroOptimizer(groups_of(copy), adamw, ring)
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(copy, rows_of(ring)).backward()
            optimizer.step(max_grad_norm)
        moments = [t for state in optimizer.optimizer.state.values() for t in state.values() if t.dim()]
        return dict(copy.named_parameters()), sum(t.numel() for t in moments)

    expected, count = trained_alone(max_grad_norm=max_grad_norm), sum(p.numel() for p in model().parameters())
    for weights, kept in in_threads(n, work):
        for name, weight in weights.items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-9, atol=1e-12)
        assert 2 * count / n <= kept <= 2 * count / n + 4  # filled up, in each of two groups, to a multiple of n


def test_zero_reports_the_norm_of_the_whole_gradient():
    alone = model()
    loss_of(alone, ids()).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in alone.parameters()]).item()

    def work(ring):
        copy = model()
        optimizer = ZeroOptimizer(groups_of(copy), adamw, ring)
        loss_of(copy, rows_of(ring)).backward()
        return optimizer.step(max_grad_norm=1e-3)

    assert in_threads(2, work) == [pytest.approx(norm, rel=1e-6)] * 2  # the norm of the gradient before clipping


# Fully sharded


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fully_sharded_takes_the_steps_of_one_process(n):
    def work(ring):
        sharded = fully_shard(model(), ring)
        optimizer = torch.optim.AdamW(sharded.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(sharded, rows_of(ring)).backward()
            optimizer.step()
        return whole_weights(sharded), sum(p.numel() for p in sharded.parameters())

    alone = model()
    optimizer = torch.optim.AdamW(alone.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(alone, ids()).backward()
        optimizer.step()
    expected, count = alone.state_dict(), sum(p.numel() for p in alone.parameters())
    for weights, kept in in_threads(n, work):
        assert weights.keys() == expected.keys()
        for name, weight in weights.items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-9, atol=1e-12)
        assert count / n <= kept <= count / n + 3  # one shard for each of three units, filled up to a multiple of n
        assert sharded_bytes(count, n) == 16 * count / n


@pytest.mark.parametrize("expert_units", [False, True])
def test_a_mixture_of_experts_is_sharded_by_blocks_or_from_the_inside_out_by_hand(expert_units):
    config = replace(TINY, n_experts=3)

    def work(ring):
        copy = model(config)
        for block in copy.blocks if expert_units else ():
            experts = block.feed_forward.experts
            for index, expert in enumerate(experts):
                experts[index] = FullySharded(expert, ring)
        sharded = fully_shard(copy, ring)
        optimizer = torch.optim.AdamW(sharded.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(sharded, rows_of(ring)).backward()
            optimizer.step()
        return whole_weights(sharded), len(list(sharded.parameters()))

    alone = model(config)
    optimizer = torch.optim.AdamW(alone.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(alone, ids()).backward()
        optimizer.step()
    expected = alone.state_dict()
    for weights, n_units in in_threads(2, work):
        assert n_units == 3 + 2 * 3 * expert_units and weights.keys() == expected.keys()
        for name, weight in weights.items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-9, atol=1e-12)


def test_what_a_unit_cannot_shard_is_refused():
    def outer_first(ring):
        copy = model()
        FullySharded(copy, ring)
        FullySharded(copy.blocks[0], ring)

    def frozen(ring):
        copy = model()
        copy.blocks[1].attention.requires_grad_(False)
        fully_shard(copy, ring)

    with pytest.raises(UserError, match="a DecoderBlock has no weights that are in no unit.*inner units before"):
        in_threads(1, outer_first)
    with pytest.raises(UserError, match=r"8 parameters of a DecoderBlock are frozen \(attention.q_proj.weight, …\)"):
        in_threads(1, frozen)


def test_a_step_sends_three_times_what_is_gathered_once():
    def work(ring):
        sharded = fully_shard(model(), ring)
        loss_of(sharded, rows_of(ring)).backward()
        return ring.bytes_sent, sum(8 * p.numel() for p in sharded.parameters())  # float64

    for sent, kept in in_threads(3, work):
        assert sent == 3 * (3 - 1) * kept  # all-gather, all-gather, reduce-scatter; n - 1 shards each


def test_no_whole_weight_outlives_the_unit_that_needs_it(monkeypatch):
    """During a block, only its own weights and those of the outer unit are in memory; between the passes, none are."""
    gathered = []
    gather = FullySharded.gather

    def watched(unit):
        flat = gather(unit)
        gathered.append(StorageWeakRef(flat.untyped_storage()))
        return flat

    monkeypatch.setattr(FullySharded, "gather", watched)

    def work(ring):
        def alive():
            return sum(not reference.expired() for reference in gathered)

        sharded, seen = fully_shard(model(), ring), []
        sharded.module.blocks[1].module.register_forward_pre_hook(lambda *_: seen.append(alive()))
        loss = loss_of(sharded, rows_of(ring))
        seen.append(alive())
        loss.backward()
        return [*seen, alive()]

    assert in_threads(1, work) == [[2, 0, 0]] and len(gathered) == 6  # three units, twice each


@pytest.mark.slow
@pytest.mark.parametrize("theirs", ["ddp", "fsdp"])
def test_two_processes_equal_torchs_own(theirs, tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests/training")!r})
import torch, torch.distributed as dist
from test_many_processes_by_hand import adamw, groups_of, loss_of, model, rows_of
from llmasos.training.fully_sharded import fully_shard as by_hand, whole_weights
from llmasos.training.ring import ProcessRing, all_reduce
from llmasos.training.zero import ZeroOptimizer
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
ring = ProcessRing()
x = torch.arange(7.0) + ring.rank
total = x.clone()
dist.all_reduce(total)
assert torch.equal(all_reduce(x, ring), total)
ours, theirs = model(), model()
if {theirs!r} == "ddp":
    optimizers = [ZeroOptimizer(groups_of(ours), adamw, ring), adamw(groups_of(theirs))]
    wrapped = [ours, DistributedDataParallel(theirs)]
else:
    ours = by_hand(ours, ring)
    for block in theirs.blocks:
        fully_shard(block)
    fully_shard(theirs)
    wrapped = [ours, theirs]
    optimizers = [torch.optim.AdamW(m.parameters(), lr=0.01) for m in wrapped]
for _ in range(4):
    for m, optimizer in zip(wrapped, optimizers):
        optimizer.zero_grad()
        loss_of(m, rows_of(ring)).backward()
        optimizer.step()
weights = dict(ours.named_parameters()) if {theirs!r} == "ddp" else whole_weights(ours)
for name, p in theirs.named_parameters():
    whole = p.full_tensor() if hasattr(p, "full_tensor") else p
    torch.testing.assert_close(weights[name].detach(), whole.detach(), rtol=1e-9, atol=1e-12)
dist.destroy_process_group()
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests/helpers", "WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", program], env={**environment, "RANK": str(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
