"""Recipes: every field is a flag, and every value is checked."""

import argparse

import pytest

from llmasos.errors import UserError
from llmasos.models import ModelConfig, preset
from llmasos.tasks import task_class
from llmasos.training.named_recipes import RECIPES, named_recipe
from llmasos.training.recipe import RESUMABLE, add_flags, make_recipe, read_recipe, settings


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(arguments))


def test_every_field_is_a_flag_with_help_and_survives_the_way_through_json():
    parser = argparse.ArgumentParser()
    add_flags(parser)
    text = "".join(parser.format_help().split())
    for name, _, field in settings():
        assert "--" + name.replace("_", "-") in text
        assert "".join(field.metadata["help"].split(",")[0].split()) in text, name
    flags = ("--steps", "7", "--learning-rate", "0.5", "--n-heads", "2", "--compile", "--data", "x.txt")
    recipe = make_recipe(**parse(*flags))
    assert (recipe.training.max_steps, recipe.training.learning_rate, recipe.training.compile) == (7, 0.5, True)
    assert (recipe.model.n_heads, recipe.data.source) == (2, "x.txt")
    assert read_recipe(recipe.flat()) == recipe == make_recipe(steps=7).replace(**recipe.flat())


def test_an_alias_is_another_name_of_the_same_setting():
    assert make_recipe(steps=7, out="x") == make_recipe(max_steps=7, out_dir="x")
    assert parse("--max-steps", "7", "--out-dir", "x") == parse("--steps", "7", "--out", "x")


def test_flags_that_were_not_given_leave_no_trace():
    assert parse() == {}
    assert parse("--no-compile") == {"compile": False}


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("max_steps", 0, "at least 1"), ("batch_size", -1, "at least 1"), ("learning_rate", 0.0, "above 0"),
        ("dropout", 1.0, "below 1"), ("beta2", 1.0, "below 1"), ("min_lr_ratio", 1.5, "at most 1"),
        ("optimizer", "sgd", "adamw, muon"), ("model", "gpt5", "gpt-laptop"),
        ("vocab_size", 100, "at least 257"), ("gradient_accumulation_steps", 3, "divide"),
        ("learning_rate", float("inf"), "a number above 0"), ("weight_decay", float("nan"), "a number of at least 0"),
        ("learning_rate", 1e308, "at most 1e+30"), ("weight_decay", 10**31, "at most 1e+30"),
        ("reward_seconds", 1e10, "at most 1,000,000"),
        ("grad_clip", float("inf"), "at least 0"), ("learning_rate", "fast", "a number above 0"),
        ("learning_rate", None, "a number above 0"), ("learning_rate", [0.1], "a number"),
        ("dropout", True, "a number"),
        ("batch_size", 2.0, "a whole number"), ("max_steps", 10**18, "at most 2,147,483,647"),
        ("seed", 2**63, "at most 9,223,372,036,854,775,807"), ("context_length", 10**9, "at most 134,217,728"),
        ("n_layers", 10**6, "at most 1,000"), ("n_heads", 10**18, "at most 65,536"), ("beams", "4", "a whole number"),
        ("length_penalty", float("inf"), "at most 10"), ("prompt", ["a"], "must be text"),
        ("compile", 1, "true or false"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_gets_a_sentence_with_the_name_the_value_and_the_range(field, value, says):
    with pytest.raises(UserError) as error:
        make_recipe(**{field: value})
    assert field in str(error.value) and str(value) in str(error.value) and says in str(error.value)


@pytest.mark.parametrize(
    "values, says",
    [
        ({"compare": True}, "--compare is about the weights of --init-from"),
        ({"init_weights": False}, "--no-init-weights is about the weights of --init-from"),
        ({"task": "translation", "init_from": "runs/x", "compare": True}, "it cannot compare translation"),
        (
            {"task": "text-classification", "init_from": "runs/x", "n_layers": 3},
            "n_layers cannot be changed, because --init-from runs/x",
        ),
        ({"languages": "de-en"}, "the task language-modeling learns from plain text, where --languages means nothing"),
        ({"task": "bert-pretraining", "skip_bad": True}, "where --skip-bad means nothing"),
        ({"task": "bert-pretraining", "train_examples": 5}, "where --train-examples means nothing"),
        ({"skip_bad": True}, "where --skip-bad means nothing"),
        ({"languages": "de-en"}, "where --languages means nothing"),
    ],
)
def test_settings_that_mean_nothing_together_are_refused(values, says):
    with pytest.raises(UserError, match=says):
        make_recipe(**values)


def test_dropout_may_be_changed_with_init_since_it_changes_no_size():
    recipe = make_recipe(task="text-classification", init_from="runs/x", dropout=0.1)
    assert recipe.model.overrides == {"dropout": 0.1}


@pytest.mark.parametrize("tied", [True, False, None])
def test_the_output_layer_is_tied_as_the_flag_says_and_with_mup_only_if_it_says_so(tied):
    flags = {} if tied is None else {"tie_embeddings": tied}
    assert make_recipe(**flags).model.overrides == flags
    assert make_recipe(**flags, mup_base_width=32).model.overrides["tie_embeddings"] is (tied or False)


def test_named_recipes_are_sound_and_say_what_to_expect():
    for name, named in RECIPES.items():
        recipe = named_recipe(name)
        assert isinstance(preset(recipe.model.preset, vocab_size=500, **recipe.model.overrides), ModelConfig)
        assert len(named.summary) > 20, name
        assert "val_loss" in named.expect or "not measured" in named.expect, f"{name} does not state its result"
    with pytest.raises(UserError, match="storyworld"):
        named_recipe("storyword")


def test_only_what_does_not_change_the_run_may_change_on_resume():
    assert RESUMABLE.isdisjoint({"data", "seed", "batch_size", "learning_rate", "d_model", "optimizer"})
    assert {name for name, _, _ in settings()} >= RESUMABLE


@pytest.mark.parametrize("name", ["translate-storyworld", "translate-multi30k"])
def test_the_translation_recipes_take_parallel_files_of_ones_own(name, tmp_path):
    """Such files have one direction, so a recipe must not require another."""
    for language in ("de", "en"):
        lines = "".join(f"{language} line {number}\n" for number in range(60))
        (tmp_path / f"train.{language}").write_text(lines)
    recipe = named_recipe(name, data=f"{tmp_path}/train.de,{tmp_path}/train.en")
    assert len(task_class(recipe.task).open_data(recipe).train) > 40
