"""Fine-tuning: what `--init-from` takes from a run of any family, what `--compare` adds, and errors."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from task_helpers import (
    RUNS,
    TASK_OF,
    assert_same_weights,
    ctrl_c,
    last_tensors,
    pull_the_plug,
    resume,
    stopping,
    the_error,
    train,
    workplace,
)

from llmasos.errors import UserError
from llmasos.hub import load_config
from llmasos.models import weights_of
from llmasos.storage import load_tensors, read_json
from llmasos.tasks import task_class
from llmasos.tasks.run import compare
from llmasos.tokenizers import load_tokenizer
from llmasos.training.checkpoints import all_checkpoints, model_folder
from llmasos.training.named_recipes import RECIPES, named_recipe, or_from_shipped
from llmasos.training.recipe import make_recipe

TASKS = {
    "classify": ("--task", "text-classification", "--data", "labeled.csv"),
    "answer": ("--task", "question-answering", "--data", "questions.jsonl"),
}
FAMILIES = {"bert": "bert", "text": "gpt", "translate": "transformer"}  # pretrained run → its family
WORTH = "What pretraining gained"


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A run of each family and a fine-tuned one, trained once for all tests."""
    with workplace(tmp_path_factory.mktemp("init")):
        for name in FAMILIES:
            assert train(*RUNS[name], "--steps", "3", "--out", f"runs/{name}") == 0
        assert train(*RUNS["classify"], "--steps", "1", "--out", "runs/classify") == 0
        yield


def task_from(run: str, task: str, **changes):
    """A task that starts from a run, in the state in which `train` builds the model."""
    data = dict(zip(TASKS[task][::2], TASKS[task][1::2], strict=True))["--data"]
    recipe = make_recipe(task=TASK_OF[task], data=data, init_from=run, **changes)
    return task_class(recipe.task).setup(recipe)


# What is taken from the run


def test_a_modern_block_and_then_longer_texts(capsys):
    """Flags for every part of the block; then the same weights, fine-tuned on texts of twice the length."""
    block = ("--positions", "rotary", "--norm", "rmsnorm", "--activation", "swiglu", "--n-kv-heads", "1")
    block = (*block, "--sliding-window", "20")
    assert train(*RUNS["text"], *block, "--steps", "1", "--out", "runs/modern") == 0
    short = load_config(model_folder("runs/modern"))
    assert (short.positions, short.norm, short.activation) == ("rotary", "rmsnorm", "swiglu")
    assert (short.n_kv_heads, short.sliding_window, short.rope_scaling) == (1, 20, None)
    flags = ("--data", "stories.txt", "--init-from", "runs/modern", "--steps", "1", "--context-length", "96")
    for scaling, factor, expected in (("yarn", (), 2.0), ("linear", ("--rope-factor", "2.5"), 2.5)):
        out = f"runs/longer-{scaling}"
        assert train(*flags, "--rope-scaling", scaling, *factor, "--sliding-window", "30", "--out", out) == 0
        longer = load_config(model_folder(out))
        assert (longer.context_length, longer.sliding_window, longer.n_kv_heads) == (96, 30, 1)
        assert (longer.rope_scaling.type, longer.rope_scaling.factor) == (scaling, expected)
        assert longer.rope_scaling.original_context_length == 48
        assert resume(out, "--steps", "2") == 0
    assert "runs/modern (its weights)" in capsys.readouterr().out


def test_a_chat_template_gives_a_pretrained_model_its_special_tokens(capsys):
    """The model's own rows are kept, the new ones start as copies of the end-of-text token's; then all are trained."""
    chats = [{"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}."}]}
             for n in range(40)]  # fmt: skip
    Path("chats.jsonl").write_text("".join(f"{json.dumps(chat)}\n" for chat in chats))
    flags = ("--task", "instruction-tuning", "--data", "chats.jsonl", "--init-from", "runs/text")
    assert train(*flags, "--steps", "1", "--out", "runs/plain") == 0
    assert load_config(model_folder("runs/plain")).vocab_size == load_config(model_folder("runs/text")).vocab_size
    recipe = make_recipe(task="instruction-tuning", data="chats.jsonl", init_from="runs/text", chat_template="chatml")
    task = task_class(recipe.task).setup(recipe)
    old, n = load_tensors(model_folder("runs/text") / "model.safetensors"), task.tokenizer.vocab_size
    new = weights_of(task.build_model())
    resized = [name for name in old if len(old[name]) == n - 2]  # both embeddings of tokens, and the output layer
    assert {"token_embedding.weight", "lm_head.weight"} <= {name.removeprefix("model.") for name in resized}, resized
    for name in resized:
        end = old[name][task.tokenizer.end_of_text]
        assert torch.equal(new[name], torch.stack([*old[name], end, end]))
    assert all(torch.equal(new[other], old[other]) for other in old if other not in resized)
    assert train(*flags, "--chat-template", "chatml", "--steps", "1", "--out", "runs/chat") == 0
    assert "template chatml" in capsys.readouterr().out
    tokenizer = load_tokenizer(model_folder("runs/chat"))
    assert tokenizer.special_tokens.keys() == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert load_config(model_folder("runs/chat")).vocab_size == tokenizer.vocab_size == n
    assert resume("runs/chat", "--steps", "2") == 0
    again = ("--init-from", "runs/chat", "--chat-template", "chatml", "--steps", "1", "--out", "runs/chat-2")
    assert train(*flags[:4], *again) == 0  # it has the tokens already
    assert load_config(model_folder("runs/chat-2")).vocab_size == n


def test_a_chat_template_is_for_a_pretrained_model_that_learns_to_chat_and_whose_embedding_is_trained():
    chats = {"task": "instruction-tuning", "data": "chats.jsonl", "chat_template": "chatml"}
    for changes, problem in (
        ({}, "add --init-from"),
        ({"init_from": "runs/text", "task": "language-modeling"}, "is for the task instruction-tuning"),
        ({"init_from": "runs/text", "lora_rank": 2}, "which --lora-rank does not train"),
        ({"init_from": "runs/text", "freeze_layers": 0}, "which --freeze-layers does not train"),
    ):
        with pytest.raises(UserError, match=problem):
            make_recipe(**{**chats, **changes})


TOO_LONG = {
    "learned positions": (("--init-from", "runs/text", "--context-length", "96"), "has learned 48 positions"),
    "not rotary": (("--init-from", "runs/text", "--rope-scaling", "ntk"), "those of runs/text are 'learned'"),
    "scaled already": (("--init-from", "runs/longer-yarn", "--rope-scaling", "ntk"), "are scaled already"),
    "not longer": (("--init-from", "runs/modern", "--rope-scaling", "ntk"), "longer than the 48 tokens of runs/modern"),
    "no weights": (("--rope-scaling", "ntk"), "add --init-from"),
    "a factor of nothing": (("--init-from", "runs/modern", "--rope-factor", "2"), "--rope-factor is the factor of"),
    "another block": (("--init-from", "runs/modern", "--norm", "layernorm"), "norm cannot be changed"),
}


@pytest.mark.parametrize("case", TOO_LONG)
def test_a_context_that_cannot_be_extended_is_refused(case, capsys):
    flags, says = TOO_LONG[case]
    assert train("--data", "stories.txt", "--steps", "1", *flags, "--out", "refused") == 2
    assert says in the_error(capsys)
    assert not Path("refused").exists()


@pytest.mark.parametrize("pretrained", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_weights_sizes_and_tokenizer_come_from_the_run_named_by_init(task, pretrained, capsys):
    out, run = f"{task}-{pretrained}", f"runs/{pretrained}"
    assert train(*TASKS[task], "--init-from", run, "--out", out) == 0
    assert f"{run} (its weights), 1" in capsys.readouterr().out
    theirs, ours = load_config(model_folder(run)), load_config(model_folder(out))
    assert ours.family == FAMILIES[pretrained] and not ours.is_pretraining
    assert (ours.d_model, ours.context_length, ours.vocab_size) == (32, 48, theirs.vocab_size)
    text = "Anna saw the red house."
    assert load_tokenizer(Path(out, "tokenizer")).encode(text) == load_tokenizer(Path(run, "tokenizer")).encode(text)

    # Before the first step the body is theirs to the bit, and with other words for --no-init-weights it is not.
    body = task_from(run, task).build_model().backbone
    saved = load_tensors(model_folder(run) / "model.safetensors")
    for name, parameter in body.named_parameters():
        assert torch.equal(parameter, saved[name]), name
    random = task_from(run, task, init_weights=False).build_model().backbone
    assert not any(torch.equal(p, saved[n]) for n, p in random.named_parameters() if p.std() > 0)


def test_training_begins_with_those_weights():
    """With a tiny learning rate, the trained backbone still equals the pretrained one."""
    for flags, out in (((), "still"), (("--no-init-weights",), "still-random")):
        still = ("--learning-rate", "1e-12", "--weight-decay", "0", "--steps", "1", *flags)
        assert train(*TASKS["classify"], "--init-from", "runs/bert", *still, "--out", out) == 0
    before = load_tensors(model_folder("runs/bert") / "model.safetensors")
    with_weights, without = last_tensors("still"), last_tensors("still-random")
    name = "token_embedding.weight"
    assert torch.allclose(with_weights[f"backbone.{name}"], before[name], atol=1e-9)
    assert not torch.allclose(without[f"backbone.{name}"], before[name], atol=1e-2)


def test_a_plain_model_folder_a_checkpoint_and_a_fine_tuned_run_serve_as_init_too():
    shutil.copytree(model_folder("runs/bert"), "plain")
    for name in ("state.json", "optimizer.safetensors"):
        Path("plain", name).unlink()
    for number, init in enumerate(("plain", str(model_folder("runs/bert")), "runs/classify")):
        assert train(*TASKS["answer"], "--init-from", init, "--steps", "1", "--out", f"from-{number}") == 0


def test_a_text_model_is_trained_further_on_another_text():
    flags = ("--task", "language-modeling", "--data", "stories.txt", "--init-from", "runs/text")
    assert train(*flags, "--steps", "1", "--out", "on") == 0


def test_a_run_that_was_stopped_before_its_first_checkpoint_still_starts_from_init():
    """It starts again, but not from random weights."""
    flags = (*TASKS["classify"], "--init-from", "runs/bert", "--out")
    assert train(*flags, "early-whole") == 0
    with stopping("early", 1, pull_the_plug):
        assert train(*flags, "early") == 130
    assert not all_checkpoints(Path("early"))
    assert resume("early") == 0
    assert_same_weights("early", "early-whole")


def test_a_resumed_run_does_not_need_the_model_it_came_from():
    shutil.copytree("runs/bert", "runs/gone")
    with stopping("late", 4, pull_the_plug):
        assert train(*TASKS["classify"], "--init-from", "runs/gone", "--out", "late") == 130
    shutil.rmtree("runs/gone")
    assert resume("late") == 0


# The comparison


COMPARE = (*TASKS["answer"], "--init-from", "runs/bert", "--compare")


@pytest.fixture(scope="module")
def compared(place) -> str:
    """Run an uninterrupted comparison; returns the line that it prints."""
    assert train(*COMPARE, "--out", "compared") == 0
    return compare(*(read_json(Path(run, "results.json")) for run in ("compared", "compared/without-init")))


def test_compare_trains_both_and_prints_what_the_weights_were_worth(capsys, compared):
    assert train(*COMPARE, "--out", "compared-again") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == compared
    assert printed.count(" compared-again --prompt QUESTION --context text.txt\n") == 2, "not the baseline"
    assert compared.startswith(WORTH) and "exact match" in compared and "equal steps" in compared
    ours, theirs = last_tensors("compared"), last_tensors("compared/without-init")
    assert ours.keys() == theirs.keys() and not torch.equal(ours["head.weight"], theirs["head.weight"])
    alone = (*TASKS["answer"], "--init-from", "runs/bert", "--no-init-weights", "--out", "baseline")
    assert train(*alone) == 0
    assert_same_weights("baseline", "compared/without-init")


WHERE = {
    "inside the first": ("", 4, pull_the_plug),
    "inside the first, in order": ("", 4, ctrl_c),
    "between the two": ("/without-init", 0, pull_the_plug),
    "inside the second": ("/without-init", 4, pull_the_plug),
    "inside the second, in order": ("/without-init", 4, ctrl_c),
}


@pytest.mark.parametrize("where", WHERE)
def test_a_comparison_that_was_interrupted_anywhere_comes_to_the_same(where, capsys, compared):
    place, step, how = WHERE[where]
    out = where.replace(" ", "-").replace(",", "")
    with stopping(out + place, step, how):
        assert train(*COMPARE, "--out", out) == 130
    printed = capsys.readouterr().out
    assert WORTH not in printed
    if how is ctrl_c:
        assert printed.splitlines()[-1].endswith(f"--resume --out {out}")
    assert resume(out) == 0
    assert capsys.readouterr().out.splitlines()[-1] == compared
    for part in ("", "/without-init"):
        assert_same_weights(out + part, "compared" + part)


def test_the_second_half_continued_by_itself_prints_the_comparison_or_how_to_get_it(capsys, compared):
    with stopping("half/without-init", 4, ctrl_c):
        assert train(*COMPARE, "--out", "half") == 130
    for steps, last in ((8, "has not taken 8 steps; to continue it:"), (6, compared)):
        shutil.copytree("half", f"half-{steps}")
        assert resume(f"half-{steps}/without-init", "--steps", str(steps)) == 0
        assert last in capsys.readouterr().out.splitlines()[-1]


def test_a_finished_comparison_says_so_and_goes_on_with_both_if_asked(capsys):
    assert train(*COMPARE, "--out", "more") == 0
    assert resume("more") == 2
    assert "has taken all its 6 steps" in the_error(capsys)
    assert resume("more", "--steps", "9") == 0
    assert WORTH in capsys.readouterr().out
    for run in ("more", "more/without-init"):
        assert all_checkpoints(Path(run))[-1].name == "step-00000009"


def test_the_figures_of_a_comparison_are_those_of_the_two_results():
    def results(outcomes, value):
        score = {"name": "accuracy", "value": value, "low": value - 0.1, "high": value + 0.1, "n": 8, "digits": 2}
        return {"metrics": [score], "outcomes": outcomes}

    line = compare(results([1.0] * 8, 1.0), results([0.0] * 4 + [1.0] * 4, 0.5))
    assert "accuracy 1.00 (0.90–1.10) from pretrained weights, 0.50 (0.40–0.60) from random" in line
    assert "+0.50 (+" in line and "on the same 8 examples" in line
    same = compare(results([1.0] * 8, 1.0), results([1.0] * 8, 1.0))
    assert "+0.00 (too few for an interval) on the same 8 examples" in same


@pytest.mark.parametrize("name", RECIPES)
def test_the_sizes_that_a_recipe_names_give_way_to_init_and_its_other_settings_stay(name):
    recipe, plain = named_recipe(name, init_from="runs/mine"), named_recipe(name)
    assert recipe.model.init_from == "runs/mine" and not set(recipe.model.overrides) - {"dropout"}
    assert (recipe.task, recipe.data.source) == (plain.task, plain.data.source)
    assert recipe.training.max_steps == plain.training.max_steps
    assert named_recipe(name, max_steps=7).model.overrides == plain.model.overrides
    with pytest.raises(UserError, match="d_model cannot be changed"):
        named_recipe(name, init_from="runs/mine", d_model=64)


# What is refused


CLASSIFY = TASKS["classify"]
WRONG = {
    "not made yet": (
        (*CLASSIFY, "--init-from", "runs/bert-storyworld"), "make it first: python -m llmasos train bert-storyworld"),
    "no recipe's": ((*CLASSIFY, "--init-from", "runs/nothing"), "there is no folder runs/nothing"),
    "no model": ((*CLASSIFY, "--init-from", "cache"), "neither a run nor a model"),
    "sizes": ((*CLASSIFY, "--init-from", "runs/bert", "--d-model", "64"), "d_model cannot be changed"),
    "context": ((*CLASSIFY, "--init-from", "runs/bert", "--context-length", "96"), "leave --context-length out"),
    "preset": ((*CLASSIFY, "--init-from", "runs/bert", "--model", "bert-base"), "leave --model out"),
    "tokenizer": ((*CLASSIFY, "--init-from", "runs/bert", "--tokenizer", "char"), "leave --tokenizer out"),
    "bert from a gpt": (
        ("--task", "bert-pretraining", "--data", "stories.txt", "--init-from", "runs/text"), "runs/text is a gpt"),
    "text from a bert": (
        ("--task", "language-modeling", "--data", "stories.txt", "--init-from", "runs/bert"), "runs/bert is a bert"),
    "translate from a bert": (
        ("--task", "translation", "--data", "pairs.tsv", "--init-from", "runs/bert"), "family transformer, and runs/b"),
    "bert from a classifier": (
        ("--task", "bert-pretraining", "--data", "stories.txt", "--init-from", "runs/classify"), "has a classifier"),
    "damaged": ((*CLASSIFY, "--init-from", "damaged"), "damaged/model.safetensors"),
    "nothing to compare": ((*CLASSIFY, "--compare"), "--compare is about the weights of --init-from"),
    "no weights to leave": ((*CLASSIFY, "--no-init-weights"), "--no-init-weights is about the weights of --init-from"),
    "no right answers to compare": (
        ("--task", "translation", "--data", "pairs.tsv", "--init-from", "runs/translate", "--compare"),
        "it cannot compare translation"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["classify-storyworld", "qa-storyworld"])
def test_a_recipe_starts_from_the_shipped_model_if_its_run_is_not_there_and_says_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    recipe = or_from_shipped(named_recipe(name), said.append)
    assert recipe == named_recipe(name).replace(init_from="storyworld-bert")
    assert len(said) == 1 and "runs/bert-storyworld is not there" in said[0] and "storyworld-bert" in said[0]
    (tmp_path / "runs/bert-storyworld").mkdir(parents=True)
    assert or_from_shipped(named_recipe(name), said.append) == named_recipe(name) and len(said) == 1


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_init_gets_one_sentence_and_leaves_no_run_behind(case, capsys):
    if case == "damaged":
        shutil.copytree(model_folder("runs/bert"), "damaged", ignore=shutil.ignore_patterns("state.json"))
        weights = Path("damaged/model.safetensors")
        weights.write_bytes(weights.read_bytes()[:1000])
    flags, says = WRONG[case]
    assert train(*flags, "--out", "refused") == 2
    assert says in the_error(capsys) and not Path("refused").exists()
