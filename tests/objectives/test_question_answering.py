"""Answers as spans: exact characters, complete in some window, the best of all windows, null without an answer."""

import math

import numpy as np
import pytest
import torch
from fine_tuning_helpers import FAMILIES, story_tokenizer, tokenizer_of
from model_helpers import randomize
from torch.nn import functional as F
from training_helpers import tiny_settings

from llmasos.datasets.batching import Examples
from llmasos.datasets.examples import QA, Answer
from llmasos.datasets.storyworld import stories
from llmasos.errors import UserError
from llmasos.models import ModelConfig, build_model
from llmasos.objectives import SpanExtraction, best_answer, make_windows, predict_spans
from llmasos.objectives.question_answering import covering_tokens
from llmasos.training.trainer import Trainer

KINDS = [("wordpiece", False), ("wordpiece", True), ("bpe", False), ("byte", False)]
WORDS = "the cat sat on a mat while Zoë's 12 dogs (all old) ran; naïve Ölga laughed — twice".split()


def story_questions(n_stories: int) -> list[QA]:
    return [
        QA(story.text, q.question, (Answer(q.answer, q.start),))
        for story in stories("val", n_stories) for q in story.questions
    ]  # fmt: skip


def random_qa(chance, n_words: int) -> QA:
    """A long context, and some of its words as the answer."""
    words = chance.choice(WORDS, n_words).tolist()
    first = int(chance.integers(n_words))
    text = " ".join(words[first : first + int(chance.integers(1, 5))])
    start = len(" ".join([*words[:first], ""]))
    return QA(" ".join(words), "Who ran?", (Answer(text, start),))


def perfect_logits(windows) -> list[torch.Tensor]:
    """The logits of a model that is certain of every window's answer."""
    logits = [torch.zeros(len(window.inputs.ids), 2) for window in windows]
    for scores, window in zip(logits, windows, strict=True):
        scores[window.answer[0], 0] = scores[window.answer[1], 1] = 10.0
    return logits


def is_null(window) -> bool:
    return window.answer == (window.inputs.cls_index, window.inputs.cls_index)


# ── windows ──


@pytest.mark.parametrize("kind, lowercase", KINDS)
def test_the_covering_tokens_of_every_story_answer_cut_out_its_exact_characters(kind, lowercase):
    tokenizer, questions = story_tokenizer(kind, lowercase), story_questions(100)
    assert len(questions) == 530
    for qa in questions:
        spans, (answer,) = tokenizer.encode_with_offsets(qa.context), qa.answers
        first, last = covering_tokens(spans, answer)
        assert qa.context[spans.starts[first] : spans.ends[last]].strip() == answer.text
        assert spans.ends[first] > answer.start and spans.starts[last] < answer.start + len(answer.text)  # no fewer do


@pytest.mark.parametrize("kind, lowercase", KINDS)
@pytest.mark.parametrize("stride", [0, 3, 11])
def test_windows_cover_the_context_and_answers_up_to_the_stride_are_complete_in_one(kind, lowercase, stride):
    tokenizer, chance = story_tokenizer(kind, lowercase), np.random.default_rng(stride)
    n_short = 0
    for _ in range(40):
        qa = random_qa(chance, int(chance.integers(1, 120)))
        context, windows = tokenizer.encode_with_offsets(qa.context), make_windows(qa, tokenizer, 48, stride)
        first, last = covering_tokens(context, qa.answers[0])
        covered = []
        for window in windows:
            n, inputs = len(window.starts), window.inputs
            assert len(inputs.ids) <= 48 and n == len(window.ends)
            begin = next(
                i
                for i in range(len(context.ids))
                if context.starts[i : i + n] == window.starts.tolist()
                and context.ids[i : i + n] == inputs.ids[inputs.second_start : inputs.second_start + n]
                and i >= len(covered) - stride
            )
            assert begin == max(0, len(covered) - stride)  # each shares `stride` tokens with the one before
            covered += range(len(covered), begin + n)
            if not is_null(window):
                answer = [token - window.inputs.second_start + begin for token in window.answer]
                assert answer == [first, last]
        assert len(covered) == len(context.ids)
        if last - first <= stride:
            assert not all(map(is_null, windows))
            n_short += 1
    assert n_short >= 1 or stride == 0  # a bpe word and the space before it are two tokens


def test_a_short_context_is_one_window_and_an_empty_one_too():
    tokenizer = story_tokenizer("bpe")
    (window,) = make_windows(QA("Ann ran.", "Who?", (Answer("Ann", 0),)), tokenizer, 32, 4)
    assert window.inputs == tokenizer.build_inputs(tokenizer.encode("Who?"), tokenizer.encode("Ann ran."))
    (empty,) = make_windows(QA("", "Who?", ()), tokenizer, 32, 4)
    assert is_null(empty) and len(empty.starts) == 0


def test_a_window_without_the_whole_answer_and_an_unanswerable_question_are_null():
    tokenizer = story_tokenizer("byte")
    context = "abcdefghijklmnopqrstuvwxyz"
    windows = make_windows(QA(context, "?", (Answer("hijk", 7),)), tokenizer, 13, 2)  # windows of 10, 8 on each time
    assert [is_null(window) for window in windows] == [True, True, True]
    windows = make_windows(QA(context, "?", (Answer("ij", 8), Answer("x", 23))), tokenizer, 13, 2)  # the first counts
    assert [is_null(window) for window in windows] == [False, False, True]
    assert all(map(is_null, make_windows(QA(context, "?", ()), tokenizer, 13, 2)))


def test_a_question_that_is_too_long_is_cut_and_counted():
    tokenizer = story_tokenizer("byte")
    (window,) = make_windows(QA("abc", "0123456789ABCDEF", (Answer("b", 1),)), tokenizer, 22, 1)
    assert window.n_cut == 6 and tokenizer.decode(window.inputs.ids[: window.inputs.second_start - 1]) == "0123456789"
    with pytest.raises(UserError, match="windows of 22 tokens cannot share 10.*at most 9"):
        make_windows(QA("abc", "?", ()), tokenizer, 22, 10)


# ── the best answer ──


@pytest.mark.parametrize("kind, lowercase", KINDS)
def test_from_a_perfect_model_every_story_answer_comes_back(kind, lowercase):
    tokenizer = story_tokenizer(kind, lowercase)
    length, stride = (300, 60) if kind == "byte" else (100, 24)
    for qa in story_questions(20):
        windows = make_windows(qa, tokenizer, length, stride)
        # Windows without an answer are as confident as those with it: only the lowest null score counts.
        found = best_answer(qa.context, windows, perfect_logits(windows), max_answer_tokens=60)
        assert (found.text, found.start) == (qa.answers[0].text, qa.answers[0].start)
        none = QA(qa.context, qa.question, ())
        windows = make_windows(none, tokenizer, length, stride)
        assert best_answer(qa.context, windows, perfect_logits(windows)).text == ""


@pytest.mark.parametrize("max_answer_tokens", [1, 3, 30])
def test_the_best_answer_equals_that_of_brute_force(max_answer_tokens):
    tokenizer, chance, generator = story_tokenizer("wordpiece"), np.random.default_rng(1), torch.Generator()
    outcomes = set()
    for trial in range(60):
        generator.manual_seed(trial)
        qa = random_qa(chance, int(chance.integers(1, 30)))
        windows = make_windows(qa, tokenizer, 24, 4)
        logits = [torch.randn(len(window.inputs.ids), 2, generator=generator) for window in windows]
        logits = [
            x.index_add(0, torch.tensor([w.inputs.cls_index]), torch.full((1, 2), 2.0))
            for x, w in zip(logits, windows, strict=True)
        ]
        best, null = (-math.inf, 0, 0), math.inf
        for window, scores in zip(windows, logits, strict=True):
            null = min(null, (scores[window.inputs.cls_index, 0] + scores[window.inputs.cls_index, 1]).item())
            context_scores = scores[window.inputs.second_start :]
            for i in range(len(window.starts)):
                for j in range(i, min(i + max_answer_tokens, len(window.starts))):
                    score = (context_scores[i, 0] + context_scores[j, 1]).item()
                    best = max(best, (score, int(window.starts[i]), int(window.ends[j])), key=lambda b: b[0])
        for threshold in (0.0, 1.5, math.inf):
            found = best_answer(qa.context, windows, logits, max_answer_tokens, threshold)
            text = "" if null - best[0] > threshold else qa.context[best[1] : best[2]]
            assert found.text == text and found.score == best[0] and found.null_score == null
            assert found.start == (best[1] if text else 0)
            outcomes.add((threshold, text == ""))
    assert {(0.0, True), (0.0, False), (math.inf, False)} <= outcomes and (math.inf, True) not in outcomes


def test_nothing_can_be_found_in_an_empty_context():
    windows = make_windows(QA("", "Who?", ()), story_tokenizer("bpe"), 32, 4)
    assert best_answer("", windows, perfect_logits(windows), threshold=math.inf).text == ""


def test_an_answer_comes_without_the_white_space_of_its_tokens():
    tokenizer, context = story_tokenizer("bpe"), "It was  the cat."
    (window,) = make_windows(QA(context, "Who?", (Answer("the", 8),)), tokenizer, 32, 4)
    first = window.answer[0] - window.inputs.second_start
    assert context[window.starts[first]] == " "  # the case is real
    assert best_answer(context, [window], perfect_logits([window]))[:2] == ("the", 8)


# ── the objective ──


@pytest.fixture(params=FAMILIES)
def pair(request):
    tokenizer = tokenizer_of(request.param)
    config = {"vocab_size": tokenizer.vocab_size, "context_length": 64, "n_layers": 2, "n_heads": 2, "d_model": 16}
    model = build_model(ModelConfig(**config, **FAMILIES[request.param], head="question_answering"))
    return SpanExtraction(tokenizer), randomize(model.double()).eval()


def few_windows(objective):
    questions = [
        QA("Ann met Bob.", "Who?", (Answer("Bob", 8),)),
        QA("The dog sat.", "Who ran?", ()),
        QA("It was an old red hat.", "What?", (Answer("old red hat", 10),)),
    ]
    return [window for qa in questions for window in make_windows(qa, objective.tokenizer, 64, 8)]


def test_a_batch_points_at_the_answers_and_only_the_context_and_the_classification_token_are_candidates(pair):
    objective, _ = pair
    windows = few_windows(objective)
    batch = objective.collate(windows)
    assert objective.n_targets(batch) == {"span": 3}
    for row, window in enumerate(windows):
        context = set(range(window.inputs.second_start, window.inputs.second_start + len(window.starts)))
        assert set(batch["candidates"][row].nonzero()[:, 0].tolist()) == context | {window.inputs.cls_index}
        assert tuple(batch["answers"][row].tolist()) == window.answer
        assert int(batch["attention_mask"][row].sum()) == len(window.inputs.ids)


def test_the_loss_of_a_batch_is_the_sum_of_the_losses_of_single_windows(pair):
    objective, model = pair
    windows = few_windows(objective)
    whole = objective.loss_sums(model, objective.collate(windows))["span"]
    alone = [objective.loss_sums(model, objective.collate([window]))["span"] for window in windows]
    torch.testing.assert_close(whole, sum(alone), rtol=1e-5, atol=1e-5)
    inputs, (first, last) = windows[0].inputs, windows[0].answer
    logits = model(torch.tensor([inputs.ids]), None, torch.tensor([inputs.segments]))[0]
    places = sorted({inputs.cls_index, *range(inputs.second_start, inputs.second_start + len(windows[0].starts))})
    log_p = F.log_softmax(logits[places], dim=0)
    expected = -(log_p[places.index(first), 0] + log_p[places.index(last), 1]) / 2
    torch.testing.assert_close(alone[0].double(), expected, rtol=1e-5, atol=1e-5)


def test_n_correct_counts_windows_with_both_ends_right(pair):
    objective, model = pair
    batch = objective.collate(few_windows(objective))
    logits = model(batch["ids"], batch["attention_mask"], batch["segments"]).masked_fill(
        ~batch["candidates"][..., None], -1e9
    )
    best = logits.argmax(dim=1)
    assert objective.n_correct(model, {**batch, "answers": best}) == {"span": 3}
    wrong = best + torch.tensor([[0, 1], [1, 0], [0, 0]])
    assert objective.n_correct(model, {**batch, "answers": wrong}) == {"span": 1}


def test_predicted_logits_are_those_of_each_window_alone_whatever_the_batch(pair):
    objective, model = pair
    windows = [w for qa in story_questions(2) for w in make_windows(qa, objective.tokenizer, 64, 8)][:12]
    windows += few_windows(objective)
    model.train()
    for batch_size in (1, 4, 100):
        logits = predict_spans(model, objective, windows, batch_size)
        assert model.training
        for window, got in zip(windows, logits, strict=True):
            inputs, n = window.inputs, len(window.starts)
            alone = model(torch.tensor([inputs.ids]), None, torch.tensor([inputs.segments]))[0].float()
            assert got.shape == (len(inputs.ids), 2) and got.dtype == torch.float32
            context = slice(inputs.second_start, inputs.second_start + n)
            torch.testing.assert_close(got[context], alone[context].detach(), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(got[inputs.cls_index], alone[inputs.cls_index].detach(), rtol=1e-5, atol=1e-5)


def test_the_training_loop_can_learn_it(pair, tmp_path):
    objective, model = pair
    torch.manual_seed(0)
    model, windows = build_model(model.config), few_windows(objective)
    settings = tiny_settings(max_steps=80, batch_size=3, learning_rate=1e-2, eval_interval=80)
    trainer = Trainer(model, objective, Examples(windows), windows, settings, tmp_path, say=lambda text: None)
    assert trainer.train().val_loss < 0.1
    found = [
        best_answer(context, [window], [logits]).text
        for context, window, logits in zip(
            ("Ann met Bob.", "The dog sat.", "It was an old red hat."),
            windows,
            predict_spans(model, objective, windows),
            strict=True,
        )
    ]
    assert found == ["Bob", "", "old red hat"]
