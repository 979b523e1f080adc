"""InfoNCE: values by hand, groups that do not depend on how a batch is split, and equal texts."""

import math

import pytest
import torch
from torch.nn import functional as F

from llmasos.models import ModelConfig, build_model
from llmasos.objectives import Contrastive, EncodedQuery, info_nce
from llmasos.tasks import embed
from llmasos.tokenizers import train_tokenizer

TOKENIZER = train_tokenizer("byte", [], 257)
TEXTS = [(f"where is {n}?", f"{n} is in the box {n * n}.") for n in range(8)]


def encoded(texts=TEXTS):
    return [EncodedQuery(*(TOKENIZER.build_inputs(TOKENIZER.encode(text)) for text in pair)) for pair in texts]


def model():
    torch.manual_seed(0)
    sizes = {"vocab_size": TOKENIZER.vocab_size, "context_length": 32, "n_layers": 1, "n_heads": 2, "d_model": 16}
    return build_model(ModelConfig(head="features", **sizes)).double()


def loss_of(network, texts, n_passages, temperature=0.1):
    objective = Contrastive(TOKENIZER, temperature, n_passages)
    batch = objective.collate(encoded(texts))
    assert objective.n_targets(batch) == {"info_nce": len(texts), "accuracy": len(texts)}
    return objective.loss_sums(network, batch)


def test_the_loss_and_its_gradient_are_those_worked_out_by_hand():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    passages = torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    loss = info_nce(queries, passages, temperature=0.5)  # scores [[1.2, 0], [1.6, 2]]
    expected = [math.log(1 + math.exp(-1.2)), math.log(1 + math.exp(-0.4))]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))
    loss.sum().backward()
    p = torch.tensor([[1 / (1 + math.exp(-1.2)), 0], [0, 1 / (1 + math.exp(-0.4))]], dtype=torch.float64)
    p[0, 1], p[1, 0] = 1 - p[0, 0], 1 - p[1, 1]
    torch.testing.assert_close(queries.grad, (p - torch.eye(2, dtype=torch.float64)) @ passages / 0.5)


def test_equal_vectors_have_the_loss_of_a_blind_guess():
    vectors = F.normalize(torch.ones(6, 3), dim=-1)
    torch.testing.assert_close(info_nce(vectors, vectors, 0.05), torch.full((6,), math.log(6)))


def test_the_loss_is_that_of_the_vectors_which_embed_makes():
    network = model()
    vectors = embed(network, TOKENIZER, [text for pair in zip(*TEXTS, strict=True) for text in pair], "mean")
    expected = info_nce(vectors[:8], vectors[8:], 0.1).sum()
    assert loss_of(network, TEXTS, 8)["info_nce"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_of_groups_is_the_sum_of_its_groups():
    """So micro-batches and processes, which hold whole groups, change neither the loss nor its gradient."""
    network = model()
    whole = loss_of(network, TEXTS, 4)["info_nce"]
    parts = [loss_of(network, TEXTS[i : i + 4], 4)["info_nce"] for i in (0, 4)]
    torch.testing.assert_close(whole, sum(parts))
    parameters = [p for p in network.parameters() if p.requires_grad]
    gradients = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (whole, sum(parts))]
    for a, b in zip(*gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert loss_of(network, TEXTS, 8)["info_nce"] > whole  # more negatives


def test_a_passage_that_occurs_twice_is_no_negative():
    network = model()
    twice = [TEXTS[0], ("and 0?", TEXTS[0][1])]
    sums = loss_of(network, twice, 2)
    assert sums["info_nce"].item() == 0 and sums["accuracy"].item() == 2


def test_equal_scores_of_different_passages_are_no_success():
    class Constant(torch.nn.Module):
        def forward(self, ids, mask, segments):
            return torch.ones(*ids.shape, 4)

    sums = loss_of(Constant(), TEXTS, 8)
    assert sums["accuracy"].item() == 0 and sums["info_nce"].item() == pytest.approx(8 * math.log(8), rel=1e-5)
