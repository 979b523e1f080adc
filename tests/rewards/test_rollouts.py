"""Rollouts: answers are a function of seed and row, and come with the probabilities of their tokens when sampled."""

import pytest
import torch
from training_helpers import tiny_model

from llmasos.errors import UserError
from llmasos.objectives import PolicyGradient, collate_answers, frozen, token_log_probs
from llmasos.rewards import PromptToAnswer, TrainingRollouts, ValidationRollouts, reward_of
from llmasos.tokenizers import train_tokenizer

TOKENIZER = train_tokenizer("char", ["abcdefghij"])  # with the end of a text 11 ids
PROMPTS = [PromptToAnswer("ab", (1, 2)), PromptToAnswer("c", (3,)), PromptToAnswer("def", (4, 5, 6))]


def rollouts(kind=TrainingRollouts, reward=lambda prompt, text: len(set(text)), beta=0.0, new_tokens=4, **more):
    more = more or {"group_size": 2}
    source = kind(PROMPTS, TOKENIZER, reward_of(reward), new_tokens, beta, **more)
    source.policy, source.reference = tiny_model(), frozen(tiny_model(seed=1))
    return source


def test_the_log_probabilities_are_those_of_the_training_forward_pass():
    for item in rollouts().examples(0, range(8)):
        ids, targets = collate_answers([item.prompt], [item.ids])
        now = token_log_probs(tiny_model(), ids, targets)[0, -len(item.ids) :]
        torch.testing.assert_close(now, torch.tensor(item.log_probs), rtol=1e-4, atol=1e-5)
        before = token_log_probs(tiny_model(seed=1), ids, targets).sum()
        assert item.kl == pytest.approx(float((now.sum() - before).detach()), abs=1e-4)


def test_what_is_written_depends_on_seed_and_row_alone():
    source = rollouts()
    whole = source.examples(7, range(8, 16))
    parts = rollouts().examples(7, range(8, 12)) + rollouts().examples(7, range(12, 16))
    for a, b in zip(whole, parts, strict=True):
        assert a.ids == b.ids and a.reward == b.reward and a.advantage == pytest.approx(b.advantage)
    torch.rand(3)
    assert [a.ids for a in source.examples(7, range(8, 16))] == [a.ids for a in whole]
    assert [a.ids for a in source.examples(8, range(8, 16))] != [a.ids for a in whole], "another seed"
    assert len({tuple(a.ids) for a in rollouts(group_size=8).examples(7, range(8))}) > 4, "answers of a group differ"
    assert source.example(7, 9).ids == whole[1].ids


def test_the_advantages_are_taken_within_a_group_and_hold_the_kl():
    for beta in (0.0, 0.5):
        items = rollouts(beta=beta).examples(0, range(6))
        for first, second in zip(items[::2], items[1::2], strict=True):
            assert first.prompt == second.prompt
            difference = (first.reward - beta * first.kl) - (second.reward - beta * second.kl)
            assert first.advantage == pytest.approx(difference, abs=1e-5)
            assert second.advantage == pytest.approx(-difference, abs=1e-5)


def test_an_answer_ends_at_its_end_its_limit_or_the_end_of_the_context():
    items = rollouts(new_tokens=100).examples(0, range(30))
    end = TOKENIZER.end_of_text
    for item in items:
        assert item.finished == (item.ids[-1] == end) and end not in item.ids[:-1]
        assert len(item.prompt) + len(item.ids) <= 8
        assert item.finished or len(item.prompt) + len(item.ids) == 8
    assert any(item.finished for item in items) and not all(item.finished for item in items)


def test_equal_rewards_teach_nothing_and_are_mentioned_once():
    source, said = rollouts(reward=lambda prompt, text: 1.0), []
    source.say = said.append
    for step in range(3):
        items = source.examples(0, range(4 * step, 4 * step + 4))
        assert all(item.is_level and item.advantage == 0 for item in items)
    assert len(said) == 1 and "have the same reward (1) in every group" in said[0]
    objective, model = PolicyGradient(0.2, 0.0), tiny_model()
    objective.loss_sums(model, objective.collate(items))["policy"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_groups_that_a_process_would_have_to_share_are_refused():
    with pytest.raises(UserError, match="has 3 rows, which do not form whole groups of 2 answers; make --batch-size"):
        rollouts().examples(0, range(3))


def test_validation_rollouts_are_the_same_every_time_and_not_those_of_training():
    source = rollouts(ValidationRollouts, n=6)
    items = source.examples(0, range(6))
    assert [item.prompt for item in items] == [prompt.ids for prompt in PROMPTS] * 2
    assert source[4].ids == source.examples(0, range(4, 5))[0].ids == items[4].ids
    assert items[0].ids != items[3].ids, "the same prompt, other random numbers"
    assert source.reward.function("", "aab") == 2
