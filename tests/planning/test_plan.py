"""The formulas of `plan` against published numbers, against tensors in memory, and as a command."""

import re

import pytest
import torch

from llmasos.__main__ import main
from llmasos.errors import UserError
from llmasos.models import build_model, n_parameters_of, preset
from llmasos.nn import KVCache
from llmasos.planning import DEVICES, optimal_shape, plan_serving, plan_training, reserved_tokens, shape_with
from llmasos.planning.published import PUBLISHED
from llmasos.planning.serving import cache_bytes_per_token
from llmasos.planning.training import STATES, activation_values, state_bytes, tensor_parallel_bytes, traffic_bytes
from llmasos.training.optimizers import make_optimizers
from llmasos.training.recipe import TrainingSettings

H100 = DEVICES["h100"]


@pytest.mark.parametrize("figure", PUBLISHED, ids=lambda figure: figure.what)
def test_a_formula_is_within_a_tenth_of_the_published_figure(figure):
    assert abs(figure.error) < 0.1, f"{figure.predict():.4g}, published: {figure.published:.4g}"


@pytest.mark.parametrize("name, changes", [("gpt-laptop", {}), ("gpt-small", {}), ("gpt-laptop", {"n_experts": 4})])
def test_the_backward_pass_keeps_the_activations_that_the_formula_counts(name, changes):
    config = preset(name, vocab_size=64, context_length=64, n_layers=2, **changes)
    model = build_model(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        output = model(torch.zeros(4, 64, dtype=torch.long))  # held, so that no storage is used twice
    assert 4 * 64 * 4 * activation_values(config) == pytest.approx(sum(kept.values()), rel=0.1)
    del output


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_gradients_and_optimizer_take_the_bytes_of_the_table(optimizer):
    config = preset("gpt-laptop", vocab_size=64, context_length=64, d_model=256)
    model = build_model(config)
    model(torch.zeros(1, 8, dtype=torch.long)).sum().backward()
    optimizers = make_optimizers(model, TrainingSettings(optimizer=optimizer))
    tensors = [*model.parameters(), *(parameter.grad for parameter in model.parameters())]
    for each in optimizers:
        each.step()
        tensors += [value for state in each.state.values() for value in state.values() if torch.is_tensor(value)]
    measured = sum(tensor.nbytes for tensor in tensors)
    predicted = state_bytes("ddp", n_parameters_of(config), 1, STATES["fp32", optimizer])
    assert measured == pytest.approx(predicted, rel=0.02)  # Muon leaves embeddings and norms to AdamW


@pytest.mark.parametrize("name", ["gpt-laptop", "llama-laptop"])
def test_the_cache_takes_the_bytes_of_the_formula(name):
    c = preset(name)
    cache = KVCache.empty(c.n_layers, 1, c.n_kv_heads, c.context_length, c.head_size, torch.bfloat16)
    measured = cache.kv.nbytes
    assert measured == cache_bytes_per_token(c) * c.context_length


def test_bytes_per_parameter_are_those_of_the_course():
    for n in (1, 2, 8):
        per = {name: state_bytes(name, 1, n, STATES["bf16", "adamw"]) for name in ("ddp", "zero1", "zero2", "zero3")}
        assert per == pytest.approx({"ddp": 16, "zero1": 4 + 12 / n, "zero2": 2 + 14 / n, "zero3": 16 / n})


def test_traffic_of_a_ring():
    assert traffic_bytes("ddp", 1000, 1, 2, 2) == tensor_parallel_bytes(preset("gpt2"), 8, 2, 1) == 0
    assert traffic_bytes("ddp", 1000, 4, 2, 2) == 2 * 3 / 4 * 2000 == traffic_bytes("zero2", 1000, 4, 2, 2)
    assert traffic_bytes("zero3", 1000, 4, 2, 2) == 1.5 * traffic_bytes("zero1", 1000, 4, 2, 2)


@pytest.mark.parametrize("size", [1e6, 1e7, 1e8, 1e9, 7e9, 7e10, 1e12])
def test_a_shape_has_the_size_that_was_asked_for(size):
    config = shape_with(size)
    assert n_parameters_of(config) == pytest.approx(size, rel=0.01 if size > 1e8 else 0.04)
    assert config.n_heads % config.n_kv_heads == 0


def test_a_budget_is_spent():
    for budget in (1e18, 1e21, 1e24):
        plan = plan_training(optimal_shape(budget), H100)
        assert plan.flops == pytest.approx(budget, rel=0.05)
        assert plan.n_tokens == 20 * plan.n_parameters


def test_time_is_operations_over_rate_and_shared_layers_share_memory():
    config = preset("gpt2")
    one, eight = (plan_training(config, H100, n, 1e9, mfu=0.5) for n in (1, 8))
    assert one.seconds == one.flops / (0.5 * H100.flops) == pytest.approx(8 * eight.seconds)
    shared = plan_training(config, H100, 8, 1e9, tensor_parallel=8)
    assert shared.state_bytes["ddp"] == one.state_bytes["ddp"] / 8
    assert shared.activation_bytes == one.activation_bytes / 8
    assert shared.traffic_bytes["ddp"] == tensor_parallel_bytes(config, 1024, 2, 8) > 0


def test_serving_is_limited_by_memory():
    config = preset("gpt2")
    plan = plan_serving(config, H100)
    left = H100.memory - plan.weight_bytes - plan.n_sequences * plan.cache_bytes_per_token * config.context_length
    assert 0 <= left < plan.cache_bytes_per_token * config.context_length
    assert plan_serving(config, H100, weights="int8").weight_bytes == plan.weight_bytes / 2


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["gpt2", "--device", "a100", "--devices", "8"], r"124M parameters.*2.49B tokens.*ZeRO-3 \(FSDP\).*KV cache"),
        (
            ["--parameters", "1T", "--devices", "16384", "--tensor-parallel", "8"],
            r"1T parameters.* 12 TB.*checkpointed",
        ),
        (["--compute", "1e21"], r"20 per parameter.*one device"),
        (["llama3-405b"], r"ZeRO-3 with activation checkpointing needs 177 or more.*at least 11 of these devices"),
        (["storyworld-gpt", "--tokens", "3M", "--price", "2"], r"1.19M parameters.*at 2 an hour"),
        (["bert-base"], r"110M parameters"),
        (["mixtral-8x7b"], r"46.7B parameters \(12.9B active\).*258B tokens, 20 per active parameter"),
        (["--published"], r"GPT-3: parameters +1.746e\+11 +1.746e\+11 +[+-]0.0%"),
    ],
)
def test_the_command(arguments, expected, capsys):
    assert main(["plan", *arguments]) == 0
    out = capsys.readouterr().out
    assert re.search(expected, out, re.DOTALL), out
    assert max(map(len, out.splitlines())) < 150


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "say which model"),
        (["gpt2", "--compute", "1e21"], "say which model"),
        (["gpt5"], "did you mean 'gpt2'"),
        (["gpt2", "--device", "h100s"], "did you mean 'h100'"),
        (["gpt2", "--devices", "0"], "the number of devices"),
        (["gpt2", "--devices", "6", "--tensor-parallel", "4"], "cannot be split into groups of 4"),
        (["gpt2", "--mfu", "1.5"], "mfu"),
        (["gpt2", "--tokens", "many"], "write for example 124M"),
        (["gpt2", "--memory", "-1"], "positive"),
        (["gpt2", "--devices", "8", "--batch-tokens", "100"], "choose at least 8,192 tokens"),
        (["gpt2", "--batch-tokens", "inf"], "the number of tokens in a step is inf"),
        (["gpt2", "--price", "nan"], "--price is nan"),
        (["--parameters", "1e30"], "the number of parameters"),
        (["--parameters", "nan"], "the number of parameters"),
        (["--compute", "inf"], "the budget"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, capsys):
    assert main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_numbers_that_are_out_of_range():
    with pytest.raises(UserError, match="rows per device"):
        plan_training(preset("gpt2"), H100, rows_per_device=0)
    with pytest.raises(UserError, match="number of tokens"):
        plan_training(preset("gpt2"), H100, n_tokens=float("nan"))


def test_pages_make_room_for_more_texts_and_slots_do_not_depend_on_the_length():
    config = preset("gpt2")
    slots, short_slots = plan_serving(config, H100), plan_serving(config, H100, text_length=100)
    assert slots.n_sequences == short_slots.n_sequences
    pages = plan_serving(config, H100, text_length=100, page_size=16)
    free = H100.memory - pages.weight_bytes
    assert pages.n_sequences == int(free // (112 * pages.cache_bytes_per_token))  # 7 pages of 16
    assert plan_serving(config, H100, page_size=16).n_sequences == slots.n_sequences


def test_waste_of_slots_and_pages():
    lengths = [1, 16, 17, 1000]
    assert reserved_tokens(lengths, 1024) - sum(lengths) == sum(1024 - n for n in lengths)
    assert reserved_tokens(lengths, 1024, 16) - sum(lengths) == 15 + 0 + 15 + 8
    with pytest.raises(UserError, match="page_size"):
        reserved_tokens(lengths, 1024, 0)


def test_the_command_says_how_many_texts_fit_in_pages(capsys):
    assert main(["plan", "gpt2", "--text-length", "100", "--page-size", "16"]) == 0
    assert "sequences of 100 tokens in pages of 16 fit" in capsys.readouterr().out
