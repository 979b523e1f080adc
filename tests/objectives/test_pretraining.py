"""Next-sentence prediction, and BERT's pretraining, which adds masked language modeling."""

import math

import pytest
import torch
from objective_helpers import cut, framed_pairs, gradients_of, learn, rngs, tiny_bert, tokenizer
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.objectives import MaskedLM, MaskedLMAndNextSentence, NextSentence


def test_frames_are_stacked_and_follow_as_they_say():
    pairs = framed_pairs(6)
    batch = NextSentence(tokenizer()).collate(pairs)
    assert batch["follows"].tolist() == [True, False, False, True, False, False]
    for row, (inputs, _) in enumerate(pairs):
        n = len(inputs.ids)
        assert batch["ids"][row, :n].tolist() == inputs.ids and batch["segments"][row, :n].tolist() == inputs.segments
        assert batch["attention_mask"][row].sum() == n


def test_the_first_class_means_that_it_follows():
    """As in BERT's published weights: next_sentence[:, 0] is the logit of "it follows"."""
    objective, model = NextSentence(tokenizer()), tiny_bert()
    batch = objective.collate(framed_pairs(6))
    logprobs = F.log_softmax(model(batch["ids"], batch["attention_mask"], batch["segments"]).next_sentence, dim=-1)
    expected = -sum(logprobs[row, 0 if follows else 1] for row, follows in enumerate(batch["follows"]))
    torch.testing.assert_close(objective.loss_sums(model, batch)["next_sentence"].double(), expected, rtol=1e-6, atol=0)
    assert objective.n_targets(batch) == {"next_sentence": 6}

    torch.nn.init.zeros_(model.next_sentence_head.weight)
    model.next_sentence_head.bias.data = torch.tensor([5.0, -5.0], dtype=torch.float64)  # always: it follows
    assert objective.n_correct(model, batch) == {"next_sentence": 2}


def test_the_loss_without_any_knowledge_is_log_2():
    objective, model = NextSentence(tokenizer()), tiny_bert()
    torch.nn.init.zeros_(model.next_sentence_head.weight)
    torch.nn.init.zeros_(model.next_sentence_head.bias)
    loss = objective.loss_sums(model, objective.collate(framed_pairs(6)))["next_sentence"]
    assert loss.item() / 6 == pytest.approx(math.log(2))


def test_pretraining_is_both_objectives_with_one_forward_pass():
    both, masked, following = (kind(tokenizer()) for kind in (MaskedLMAndNextSentence, MaskedLM, NextSentence))
    model, pairs = tiny_bert(), framed_pairs(6)
    batch = both.collate(pairs, rngs(6))
    hidden = masked.collate([pair.inputs for pair in pairs], rngs(6))
    assert all(torch.equal(batch[name], hidden[name]) for name in hidden)
    forward_passes = []
    model.register_forward_hook(lambda *_: forward_passes.append(1))
    losses, correct = both.loss_sums(model, batch), both.n_correct(model, batch)
    assert len(forward_passes) == 2, "one for the losses, one for the answers"
    parts = {**masked.loss_sums(model, batch), **following.loss_sums(model, batch)}
    assert losses.keys() == parts.keys() == both.n_targets(batch).keys()
    for name in parts:
        torch.testing.assert_close(losses[name].double(), parts[name], rtol=1e-6, atol=0)
    assert both.n_targets(batch) == {**masked.n_targets(batch), **following.n_targets(batch)}
    assert correct == {**masked.n_correct(model, batch), **following.n_correct(model, batch)}


@pytest.mark.parametrize("kind", [NextSentence, MaskedLMAndNextSentence])
def test_neither_padding_nor_other_rows_change_the_loss_or_a_gradient(kind):
    objective, model = kind(tokenizer()), tiny_bert()
    batch = objective.collate(framed_pairs(6), rngs(6))
    together = objective.loss_sums(model, batch)
    apart = [objective.loss_sums(model, cut(batch, row)) for row in range(6)]
    for name in together:
        torch.testing.assert_close(together[name], sum(loss[name] for loss in apart), rtol=1e-6, atol=0)
    whole, parts = gradients_of(model, together), [gradients_of(model, loss) for loss in apart]
    assert all(gradient is not None for gradient in whole), "data-parallel training requires one for every parameter"
    for i, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, sum(part[i] for part in parts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind, limit", [(NextSentence, 0.1), (MaskedLMAndNextSentence, 1.1)])
def test_a_few_pairs_can_be_overfitted(tmp_path, kind, limit):
    objective, model, pairs = kind(tokenizer()), tiny_bert(d_model=32).float(), framed_pairs(4)
    loss = learn(objective, model, pairs, tmp_path, steps=300)
    assert loss < limit, "without any knowledge log 2 = 0.69 for the pairs and 3.5 for the tokens"
    assert objective.n_correct(model, objective.collate(pairs, rngs(4)))["next_sentence"] == 4


def test_a_model_without_next_sentences_learns_masked_tokens_alone():
    model = tiny_bert(next_sentence=False, n_segments=0)
    pairs, both = framed_pairs(6), MaskedLMAndNextSentence(tokenizer())
    with pytest.raises(UserError, match="does not predict next sentences.*--no-next-sentence"):
        both.loss_sums(model, both.collate(pairs, rngs(6)))
    objective = MaskedLM(tokenizer())
    loss = objective.loss_sums(model, objective.collate([pair.inputs for pair in pairs], rngs(6)))["masked"]
    loss.backward()
    assert loss.isfinite() and all(parameter.grad is not None for parameter in model.parameters())
