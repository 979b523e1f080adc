"""Arguments of the SDK: an unsuitable model or an argument of the wrong type gives one sentence."""

import dataclasses
import inspect
import re
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

from llmasos import LLMServing, LLMTrainer
from llmasos.arguments import convert
from llmasos.capabilities import CAPABILITIES, capabilities_of
from llmasos.errors import UserError, in_words
from llmasos.models import build_model
from llmasos.prompting import Tool, calculator
from llmasos.training.device import pick_device

SHIPPED = ("storyworld-gpt", "storyworld-chat", "storyworld-bert", "storyworld-de-en")
HEADS = {"classifier": ("happy", "sad"), "question_answering": (), "reward": ()}
USES = {  # method → its smallest use
    "generate": lambda model: model.generate("Anna", max_new_tokens=2),
    "stream": lambda model: list(model.stream("Anna", max_new_tokens=2)),
    "chat": lambda model: model.chat("Hello", max_new_tokens=2),
    "fill_mask": lambda model: model.fill_mask("Anna [MASK] home."),
    "unmask": lambda model: model.unmask("Anna [MASK] home."),
    "translate": lambda model: model.translate("Anna ging.", max_new_tokens=2),
    "summarize": lambda model: model.summarize("Anna ging.", max_new_tokens=2),
    "classify": lambda model: model.classify("Anna was happy."),
    "answer": lambda model: model.answer("Where is Anna?", "Anna is at home."),
    "embed": lambda model: model.embed("Anna"),
    "find_entities": lambda model: model.find_entities("Anna was happy."),
    "score": lambda model: model.score("Anna"),
}
CAPABILITY = {row.method: name for name, row in CAPABILITIES.items()} | {
    "stream": "completion",
    "summarize": "translation",
    "unmask": "fill-mask",
}


@pytest.fixture(scope="module")
def models() -> dict[str, LLMTrainer]:
    """A model of each family, and of each family with each other head."""
    models = {name: LLMTrainer.from_pretrained(name, device="cpu") for name in SHIPPED}
    for name in ("storyworld-gpt", "storyworld-bert", "storyworld-de-en"):
        for head, labels in HEADS.items():
            config = dataclasses.replace(models[name].model.config, head=head, labels=labels)
            key = f"{name} with {head}"
            models[key] = LLMTrainer(build_model(config).eval(), models[name].tokenizer, key)
    return models


@pytest.mark.parametrize("method", USES)
def test_every_use_of_every_model_works_or_is_one_sentence(models, method):
    assert {row.method for row in CAPABILITIES.values()} - {""} <= set(USES), "a use of every capability is tried here"
    for name, model in models.items():
        config, capability = model.model.config, CAPABILITY[method]
        able = capabilities_of(config.family, config.head)
        if capability in able:
            USES[method](model)
            continue
        with pytest.raises(UserError) as error:
            USES[method](model)
        sentence = str(error.value)
        assert sentence.startswith(f"{name} is a {config.family}"), sentence
        assert f"it cannot {CAPABILITIES[capability].summary}." in sentence and "Instead, " in sentence
        assert all(f"({CAPABILITIES[other].method})" in sentence for other in able if CAPABILITIES[other].method)


def serving(model: LLMTrainer) -> LLMServing:
    return LLMServing(model.model, model.tokenizer, model.name)


WRONG = [  # (model, call, words of the sentence)
    ("storyworld-gpt", lambda m: m.generate(None), r"prompt is None; it must be a text or a list of texts\.$"),
    ("storyworld-gpt", lambda m: m.generate(7), "prompt is 7; it must be a text"),
    ("storyworld-gpt", lambda m: m.generate(b"Anna"), "prompt is bytes; it must be a text"),
    ("storyworld-gpt", lambda m: m.generate(["Anna", None]), "prompt 2 is None; it must be a text"),
    ("storyworld-gpt", lambda m: m.generate({"Anna", "Ben"}), "prompt is a set; it must be a text or a list"),
    (
        "storyworld-gpt",
        lambda m: m.generate("Anna", draft=7),
        "draft is 7; it must be a text or a path or an LLMTrainer",
    ),
    ("storyworld-gpt", lambda m: m.generate("Anna", n="two"), "n is 'two'; it must be a whole number"),
    ("storyworld-gpt", lambda m: m.generate("Anna", n=True), "n is True; it must be a whole number"),
    ("storyworld-gpt", lambda m: m.generate("Anna", n=0), "n is 0; it must be a whole number of at least 1"),
    ("storyworld-gpt", lambda m: m.generate(), "missing a required argument: 'prompt'"),
    ("storyworld-gpt", lambda m: m.stream(["Anna"]), "prompt is a list; it must be a text"),
    ("storyworld-gpt", lambda m: m.chat(None), "messages is None"),
    ("storyworld-gpt", lambda m: m.chat(3), "messages is 3"),
    ("storyworld-gpt", lambda m: m.chat(["Hello"]), "messages 1 is 'Hello'; it must be a dictionary or a Message"),
    ("storyworld-gpt", lambda m: m.chat([{"role": "user", "content": 3}]), r"message 1 \(user\) has no text"),
    ("storyworld-gpt", lambda m: m.chat([]), "at least one message"),
    ("storyworld-gpt", lambda m: m.chat("Hi", tools=[3]), "tools 1 is 3; it must be a function or a Tool"),
    ("storyworld-gpt", lambda m: m.chat("Hi", tools=3), "tools is 3; it must be a function or a Tool or a list, each"),
    ("storyworld-gpt", lambda m: m.membership_inference(["a"], ["b"], "gpt2"), "must be an LLMTrainer or None"),
    ("storyworld-gpt", lambda m: m.embed("Anna", pool="mean"), "embed has no argument 'pool'; did you mean 'pooling'"),
    ("storyworld-gpt", lambda m: m.embed("Anna", batch_size=0), "batch_size is 0; it must be a whole number of at"),
    ("storyworld-gpt", lambda m: m.embed("Anna", normalize="yes"), "normalize is 'yes'; it must be True or False"),
    ("storyworld-gpt", lambda m: m.train("text", epoch=1), "there is no setting 'epoch'; did you mean 'epochs'"),
    ("storyworld-gpt", lambda m: m.train("text", eval_dat="x"), "no setting 'eval_dat'; did you mean 'eval_data'"),
    ("storyworld-gpt", lambda m: m.train("text", learning_rat=1), "'learning_rat'; did you mean 'learning_rate'"),
    ("storyworld-gpt", lambda m: m.train("text", task="language-modelling"), "did you mean 'language-modeling'"),
    ("storyworld-gpt", lambda m: m.train("text", epochs="three"), "epochs is 'three'; it must be a number or None"),
    ("storyworld-gpt", lambda m: m.train(), "missing a required argument: 'train_data'"),
    ("storyworld-gpt", lambda m: m.evaluate("text", split=3), "split is 3; it must be a text or None"),
    ("storyworld-gpt", lambda m: m.save_pretrained(None), "folder is None; it must be a text or a path"),
    ("storyworld-gpt", lambda m: m.save_pretrained("x", half="yes"), "half is 'yes'; it must be True or False"),
    ("storyworld-bert", lambda m: m.fill_mask(None), "text is None; it must be a text"),
    ("storyworld-bert", lambda m: m.fill_mask("A [MASK].", n=0), "n is 0; it must be a whole number of at least 1"),
    ("storyworld-bert", lambda m: m.fill_mask("A [MASK].", 2.5), "n is 2.5; it must be a whole number"),
    ("storyworld-bert", lambda m: m.unmask("Anna."), r"has no \[MASK\]"),
    ("storyworld-bert", lambda m: m.unmask("A [MASK].", steps=0), "steps is 0"),
    ("storyworld-de-en", lambda m: m.translate(["Anna", 3]), "text 2 is 3; it must be a text"),
    ("storyworld-bert with classifier", lambda m: m.classify({"text": "a"}), "text is an object; it must be a text"),
    ("storyworld-bert with question_answering", lambda m: m.answer("Who?", None), "context is None"),
    (None, lambda m: LLMTrainer.from_pretrained("x" * 5000), "there is no model"),
    (None, lambda m: LLMServing.from_pretrained(None), "name is None; it must be a text or a path"),
    (None, lambda m: LLMServing.from_pretrained("storyworld-gpt", devise="cpu"), "did you mean 'device'"),
    ("storyworld-gpt", lambda m: serving(m).create_service(prt=0), "no argument 'prt'; did you mean 'port'"),
    ("storyworld-gpt", lambda m: serving(m).create_service(port="80"), "port is '80'; it must be a whole number"),
    ("storyworld-gpt", lambda m: serving(m).create_service(hosts="a"), "hosts is 'a'; it must be a list of texts"),
    (None, lambda m: LLMTrainer.from_pretrained(None), "name is None; it must be a text or a path"),
    (None, lambda m: LLMTrainer.from_pretrained("storyworld-gpt", device=3), "device is 3; it must be a text"),
    (None, lambda m: LLMTrainer.from_pretrained("storyworld-gpt", devise="cpu"), "did you mean 'device'"),
    (None, lambda m: LLMTrainer.from_pretrained("storyworld-gbt"), "did you mean 'storyworld-gpt'"),
    ("storyworld-gpt", lambda m: m.train("storyworld", lr=1e-3), "did you mean 'learning_rate'"),
    ("storyworld-gpt", lambda m: m.generate("a", do_sample=False), "did you mean 'temperature'"),
]


def test_a_wrong_argument_is_one_sentence(models):
    for name, call, words in WRONG:
        with pytest.raises(UserError, match=words) as error:
            call(models.get(name))
        assert re.search(r"[.?]$", str(error.value)) and "\n" not in str(error.value)


def test_the_same_thing_in_the_type_of_another_library_is_taken(models):
    gpt, bert, translator = (models[name] for name in ("storyworld-gpt", "storyworld-bert", "storyworld-de-en"))
    texts = ["Anna", "Ben"]
    expected = gpt.generate(texts, max_new_tokens=3, temperature=0.0)
    for same in (tuple(texts), np.array(texts), iter(texts), (text for text in texts), {"Anna": 1, "Ben": 2}.keys()):
        assert gpt.generate(same, max_new_tokens=3, temperature=0.0) == expected
    assert gpt.generate(np.str_("Anna"), np.int64(1), max_new_tokens=3, temperature=0.0) == expected[0]
    message = {"role": "user", "content": "Hello"}
    assert gpt.chat(message, temperature=0.0, max_new_tokens=3) == gpt.chat("Hello", temperature=0.0, max_new_tokens=3)
    assert len(bert.fill_mask("Anna [MASK] home.", np.int32(2))[0]) == 2
    assert len(bert.fill_mask("Anna [MASK] home.", 10**6)[0]) == bert.model.config.vocab_size
    assert len(translator.translate(np.array(["Anna", "Paul"]), max_new_tokens=2)) == 2


def test_tools_are_one_or_several(models):
    gpt, tool = models["storyworld-gpt"], Tool.of(calculator)
    expected = gpt.chat("Hi", tools=[calculator], temperature=0, max_new_tokens=3)
    for tools in (calculator, tool, [tool], (calculator,), iter([tool]), {"a": tool}.values()):
        assert gpt.chat("Hi", tools=tools, temperature=0, max_new_tokens=3) == expected


def test_a_model_may_be_the_reference_of_another(models):
    gpt = models["storyworld-gpt"]
    result = gpt.membership_inference(["A boy ran.", "A girl ran."], ["A cat.", "A dog."], reference=gpt)
    assert result.auc.value == 0.5  # the losses cancel


@pytest.mark.parametrize("cls", [LLMTrainer, LLMServing])
def test_every_annotation_can_be_checked(cls):
    methods = [m for name in dir(cls) if not name.startswith("_") and callable(m := getattr(cls, name))]
    checked = [method for method in methods if hasattr(method, "__wrapped__")]
    for method in checked:
        hints = typing.get_type_hints(method)
        for name in inspect.signature(method).parameters:
            for value in (object(), [object()]):
                try:
                    assert convert(value, hints.get(name, typing.Any), name) == value
                except UserError as error:
                    assert " it must be " in str(error)
    assert len(checked) >= 2


@pytest.mark.parametrize("device", ["auto", "cpu", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)], ids=repr)
def test_a_device_is_a_name_or_torchs_own(device):
    expected = pick_device() if device == "auto" else torch.device("cpu")
    assert LLMTrainer.from_pretrained("storyworld-gpt", device=device).device == expected


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "auto:1", "", torch.device("meta"), "cpu:1"], ids=repr)
def test_a_device_that_is_not_there_is_one_sentence(device):
    with pytest.raises(UserError, match=r"device '.*' is not available here; this machine has: .*cpu"):
        pick_device(device)


def test_what_a_value_is_in_words():
    values = [None, 1, 2.5, True, "a", b"a", [], (), {}, set(), object()]
    assert not [value for value in values if "Type" in in_words(value) or in_words(value).startswith("a int")]


@pytest.mark.parametrize("cls", [LLMTrainer, LLMServing])
def test_a_name_where_a_model_belongs_is_one_sentence(cls):
    for arguments, name in (((), "NAME"), (("gpt2",), "'gpt2'"), ((Path("runs/a"), "auto"), "'runs/a'")):
        with pytest.raises(UserError, match=re.escape(f"{cls.__name__}.from_pretrained({name}) opens both.")):
            cls(*arguments)
