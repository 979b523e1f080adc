"""Every model is an ordinary torch module: pickled, moved, hooked, exported and sharded by torch's own tools.

One test for each tool, with the most different architectures, with and without a head.
"""

import copy
import io

import pytest
import torch
from model_helpers import VARIANTS, random_ids, randomize
from torch import Tensor, nn

from llmasos.models import ModelConfig, build_model
from llmasos.models.adapter import add_adapter, lora_layers
from llmasos.nn import quantize
from llmasos.tasks.text_embedding import embed
from llmasos.tokenizers import train_tokenizer

SMALL = {"vocab_size": 29, "context_length": 16, "n_layers": 2, "n_heads": 4, "d_model": 16}
BERT = {"family": "bert", "norm_position": "post", "activation": "gelu"}
TRANSFORMER = {"family": "transformer", "positions": "sinusoidal", "norm_position": "post", "activation": "relu"}
SHAPES = {
    **VARIANTS,
    "gpt2 by its formulas": {"fused": False},
    "bert": BERT,
    "bert by its formulas": {**BERT, "norm": "rmsnorm", "activation": "relu2", "fused": False},
    "transformer": TRANSFORMER,
    "distilbert": {**BERT, "n_segments": 0, "next_sentence": False},
    "mpnet": {**BERT, "n_segments": 0, "next_sentence": False, "relative_attention_num_buckets": 8},
    "modernbert": {**BERT, "norm_position": "pre", "positions": "rotary", "sliding_window": 4, "local_rope_theta": 20.0,
                   "layer_types": ("full_attention", "sliding_attention"), "activation": "geglu", "bias": False,
                   "n_segments": 0, "next_sentence": False, "pooler": "norm", "first_norm": False},
    "t5": {**TRANSFORMER, "positions": "none", "norm": "rmsnorm", "norm_position": "pre", "bias": False,
           "activation": "geglu_tanh", "relative_attention_num_buckets": 8, "scale_embeddings": False},
    "marian": {**TRANSFORMER, "positions": "sinusoidal_halves", "activation": "silu", "output_bias": True},
}  # fmt: skip
HEADS = {
    "classifier": {"head": "classifier", "labels": ("a", "b", "c")},
    "question_answering": {"head": "question_answering"},
    "token_classifier": {"head": "token_classifier", "labels": ("a", "b", "c")},
    "reward": {"head": "reward"},
    "features": {"head": "features"},
}
WITH_HEADS = {
    f"{family} {head}": {**SHAPES[family], **fields}
    for family in ("gpt2", "llama", "bert", "modernbert", "transformer", "distilbert", "mpnet", "t5", "marian")
    for head, fields in HEADS.items()
}
ALL = {**SHAPES, **WITH_HEADS}
ONE_HEAD = {  # of each of these families in the tests that take seconds
    "distilbert": "classifier", "mpnet": "question_answering", "t5": "features", "marian": "token_classifier",
}  # fmt: skip
LARGE_TOOLS = [
    shape
    for shape in ALL
    if all(not shape.startswith(f"{family} ") or shape == f"{family} {head}" for family, head in ONE_HEAD.items())
]
FEW = ("gpt2", "llama", "mixture", "bert", "transformer", "llama classifier", "bert classifier", "transformer features")

every_shape = pytest.mark.parametrize("shape", ALL)


def make(shape: str, seed: int | None = 0) -> nn.Module:
    """A small model in evaluation mode; all its parameters are random, or with seed None the initial ones."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{**SMALL, **ALL[shape]}))
    return (model if seed is None else randomize(model, seed)).eval()


def inputs(model: nn.Module, B: int = 3, T: int = 9, seed: int = 0) -> tuple[Tensor, ...]:
    """Ids and a mask (B, T) with padding, and a target for a translator."""
    ids = random_ids(B, T, seed=seed)
    mask = torch.arange(T) < torch.tensor([T, max(1, T - 3), max(1, T // 2), *[T] * B])[:B, None]
    if model.config.family == "transformer" and model.config.generates:
        return ids, random_ids(B, max(2, T - 2), seed=seed + 1), mask
    return ids, mask


def outputs(model: nn.Module, *args: Tensor) -> list[Tensor]:
    """The outputs of a model, as a list: BERT's pretraining has up to two."""
    return as_list(model(*(args or inputs(model))))


def as_list(result: Tensor | tuple[Tensor | None, ...]) -> list[Tensor]:
    """The outputs that are not None, as a list."""
    return [result] if isinstance(result, Tensor) else [output for output in result if output is not None]


def assert_same_model(model: nn.Module, other: nn.Module) -> None:
    """Check for outputs equal bit for bit and the same parameters, including tied ones."""
    assert all(map(torch.equal, outputs(model), outputs(other)))
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in other.named_parameters()]


@every_shape
def test_a_pickled_model_and_a_copy_are_the_model(shape):
    model, file = make(shape), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert_same_model(model, torch.load(file, weights_only=False))
    assert_same_model(model, copy.deepcopy(model))


def test_models_with_adapters_and_quantized_ones_are_pickled_too():
    for model in (add_adapter(make("gpt2"), "base", rank=2), quantize(make("bert")), quantize(make("llama"))):
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        assert all(map(torch.equal, outputs(model), outputs(again)))
        assert len(lora_layers(again)) == len(lora_layers(model))


@every_shape
def test_a_state_dict_goes_there_and_back_and_names_each_weight_once(shape):
    model, other = make(shape), make(shape, seed=1)
    result = other.load_state_dict(model.state_dict(), strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert_same_model(model, other)
    parameters = [id(parameter) for parameter in model.parameters()]
    assert len(set(parameters)) == len(parameters)
    tied = model.config.is_pretraining and model.config.tie_embeddings
    assert len(list(model.named_parameters(remove_duplicate=False))) == len(parameters) + tied


@every_shape
@pytest.mark.parametrize("assign", [False, True])
def test_a_model_from_the_meta_device_gets_weights_tables_and_ties(shape, assign):
    model = make(shape)
    with torch.device("meta"):
        other = build_model(model.config)
    if not assign:
        assert all(buffer.is_meta for buffer in other.to("meta").buffers())
        other.to_empty(device="cpu")
    other.load_state_dict(model.state_dict(), assign=assign)
    assert_same_model(model, other.eval())


@every_shape
def test_half_precision_stays_near_and_leaves_no_trace(shape):
    model = make(shape, seed=None)
    expected, weights = outputs(model), copy.deepcopy(model.state_dict())
    for dtype, tolerance in ((torch.float16, 0.02), (torch.bfloat16, 0.1)):
        half = outputs(model.to(dtype))
        assert all(tensor.dtype == dtype for tensor in half)
        for a, b in zip(half, expected, strict=True):
            assert (a.float() - b).abs().max() < tolerance * b.abs().max()
        model.float().load_state_dict(weights)
        assert all(map(torch.equal, outputs(model), expected))


@pytest.mark.parametrize("shape", WITH_HEADS)
def test_a_hook_on_the_backbone_sees_every_call(shape):
    model, seen = make(shape), []
    model.backbone.register_forward_hook(lambda module, args, output: seen.append(output))
    outputs(model)
    assert len(seen) == 1 and seen[0].shape == (3, 9, 16)
    assert torch.equal(seen[0], model.backbone(*inputs(model)))


def test_a_hook_that_changes_the_hidden_states_changes_the_embedding_of_a_text():
    model, tokenizer = make("bert features"), train_tokenizer("char", ["abcdefghij"])
    before = embed(model, tokenizer, ["abc"], normalize=False)
    model.backbone.register_forward_hook(lambda module, args, output: output + 1)
    torch.testing.assert_close(embed(model, tokenizer, ["abc"], normalize=False), before + 1)


@every_shape
@pytest.mark.filterwarnings("ignore:torch")  # says that torchao will replace it
def test_torchs_dynamic_quantization_replaces_every_linear_layer(shape):
    """Only layers that are exactly `nn.Linear` are replaced."""
    model = make(shape, seed=None)
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    replaced = [name for name, module in quantized.named_modules() if "quantized.dynamic" in type(module).__module__]
    assert linears and replaced == linears
    for a, b in zip(outputs(quantized), outputs(model), strict=True):
        assert (a - b).abs().max() < 0.1 * b.abs().max()


# ── torch's larger tools ──


def export(model: nn.Module, n_inputs: int) -> nn.Module:
    """The exported program of a model for any batch size and any lengths."""
    B, T, T2 = (torch.export.Dim(name, min=low, max=16) for name, low in (("B", 1), ("T", 2), ("T2", 2)))
    shapes = ({0: B, 1: T}, {0: B, 1: T2}, {0: B, 1: T}) if len(inputs(model)) == 3 else ({0: B, 1: T},) * 2
    program = torch.export.export(model, inputs(model)[:n_inputs], dynamic_shapes=shapes[:n_inputs])
    return program.module()


def assert_exported_equals_eager(model: nn.Module, n_inputs: int) -> None:
    program = export(model, n_inputs)
    for B, T in ((3, 9), (1, 16), (5, 4), (2, 2)):
        args = inputs(model, B, T, seed=5)[:n_inputs]
        for a, b in zip(outputs(program, *args), outputs(model, *args), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", LARGE_TOOLS)
def test_an_exported_model_computes_every_size_with_and_without_gradients(shape, monkeypatch):
    """One program for all sizes; for some models also with one input, and without gradients on an old processor."""
    model = make(shape)
    assert_exported_equals_eager(model, 3)
    if shape not in FEW:  # an export takes seconds
        return
    if len(inputs(model)) == 2:
        assert_exported_equals_eager(model, 1)
    for name in ("SLOW_VECTOR_KERNEL", "SLOW_MKL"):
        monkeypatch.setattr(f"llmasos.nn.cpu.{name}", True)
    monkeypatch.setattr("llmasos.nn.cpu.SMALL_MATRIX", 0)
    with torch.no_grad():
        assert_exported_equals_eager(model, 3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", FEW)
def test_a_compiled_model_computes_the_same(shape):
    model = make(shape)
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager")
    for a, b in zip(outputs(compiled, *inputs(model)), outputs(model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_spawned_worker_gets_the_model(tmp_path):
    with torch.multiprocessing.get_context("spawn").Pool(1) as pool:
        for shape in ALL:
            model = make(shape).requires_grad_(False)
            results = as_list(pool.apply(model, inputs(model)))  # a model is a function
            assert all(map(torch.equal, results, outputs(model)))


@pytest.fixture(scope="module")
def process_group(tmp_path_factory):
    """A group of one process."""
    file = tmp_path_factory.mktemp("store") / "store"
    torch.distributed.init_process_group("gloo", init_method=file.as_uri(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("shape", LARGE_TOOLS)
@pytest.mark.filterwarnings("ignore")  # of torch's own code
def test_a_fully_sharded_model_computes_the_same_with_the_same_gradients(shape, process_group):
    from torch.distributed.fsdp import fully_shard

    model = make(shape)
    sharded = copy.deepcopy(model)
    backbone = getattr(sharded, "backbone", sharded)
    for name in ("blocks", "encoder_blocks", "decoder_blocks"):
        for block in getattr(backbone, name, []):
            fully_shard(block)
    fully_shard(sharded)
    results = outputs(sharded), outputs(model)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for result in results:
        sum(output.square().mean() for output in result).backward()
    for (name, ours), (same, theirs) in zip(model.named_parameters(), sharded.named_parameters(), strict=True):
        assert name == same
        if ours.grad is None:  # BERT's pooler, where only features are read
            assert theirs.grad is None
            continue
        torch.testing.assert_close(theirs.grad.full_tensor(), ours.grad, rtol=1e-4, atol=1e-5)
