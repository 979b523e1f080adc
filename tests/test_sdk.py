"""LLMTrainer: opening, training on all types of data, evaluating, using, saving; and agreement with the packages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from task_helpers import RUNS, train, workplace, write_jsonl

import llmasos
from llmasos import LLMServing, LLMTrainer, hub, sdk
from llmasos.cli.train import main as train_main
from llmasos.datasets import infer as infer_module
from llmasos.datasets.infer import infer_format
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.models import weights_of
from llmasos.tasks.language_modeling import LanguageModeling

REVIEWS = [(f"a {mood} film number {i}", "good" if mood == "lovely" else "bad") for i in range(12)
           for mood in ("lovely", "dreadful")]  # fmt: skip
FEW = {"max_steps": 2, "eval_interval": 2}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A tiny run of each family."""
    folder = tmp_path_factory.mktemp("sdk")
    with workplace(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(infer_module, "cache_folder", lambda: folder / "cache")
        for name in ("text", "bert", "translate"):
            assert train(*RUNS[name], "--steps", "3", "--out", f"runs/{name}") == 0
        yield


def same(one, other) -> bool:
    ours, theirs = weights_of(one), weights_of(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_three_lines_of_the_proposal():
    model = LLMTrainer.from_pretrained("runs/text")
    result = model.train("Once there was a house. " * 300, **FEW)
    model.save_pretrained("my_llm")
    assert result.steps == 2 and result.folder.parent == Path("runs") and not result.interrupted
    assert result.folder.name.startswith("text-language-modeling")  # with a number if other tests came first
    again = LLMTrainer.from_pretrained("my_llm")
    assert same(again.model, model.model) and again.generate("Once", max_new_tokens=5) == model.generate(
        "Once", max_new_tokens=5
    )
    assert not same(again.model, LLMTrainer.from_pretrained("runs/text").model), "it has learned"


@pytest.mark.parametrize("model, data, task", [
    ("text", ["one document. " * 60, "another one. " * 60], "language-modeling"),
    ("text", Path("stories.txt"), "language-modeling"),
    ("text", "stories.txt", "language-modeling"),
    ("text", REVIEWS, "text-classification"),
    ("text", [{"prompt": f"Say {i}.", "answer": str(i)} for i in range(20)], "instruction-tuning"),
    ("bert", "stories.txt", "bert-pretraining"),
    ("bert", REVIEWS, "text-classification"),
    ("bert", [{"text": text, "label": label} for text, label in REVIEWS], "text-classification"),
    ("bert", "questions.jsonl", "question-answering"),
    ("translate", [("eins", "one"), ("zwei", "two"), ("drei", "three"), ("vier", "four")] * 5, "translation"),
    ("translate", "pairs.tsv", "translation"),
], ids=lambda value: str(value)[:30])  # fmt: skip
def test_the_objective_that_fits_is_found_and_said(model, data, task, capsys):
    trainer = LLMTrainer.from_pretrained(f"runs/{model}")
    trainer.train(data, **FEW)
    assert f"task {task}: it fits" in capsys.readouterr().out
    recipe = json.loads((Path(trainer.name) / "recipe.json").read_text())
    assert (recipe["task"], recipe["max_steps"]) == (task, 2)
    assert recipe["init_from"].startswith(f"runs/{model}/checkpoints")


@pytest.mark.parametrize("model, task, settings", [
    ("text", "language-modeling", {}),
    ("bert", "bert-pretraining", {"next_sentence": False}),
])  # fmt: skip
def test_a_text_shorter_than_the_context_shortens_the_windows_and_says_so(model, task, settings, capsys):
    trainer = LLMTrainer.from_pretrained(f"runs/{model}")
    context = trainer.model.config.context_length
    result = trainer.train(["a b c", "d e", "f g h"], task=task, **settings, **FEW)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("windows")]
    assert len(lines) == 1 and lines[0].endswith(f"because the text is shorter than the context of {context}")
    assert result.steps == 2 and trainer.model.config.context_length == context


def test_messages_name_arguments_and_not_flags():
    with pytest.raises(UserError, match="next_sentence=False") as error:
        LLMTrainer.from_pretrained("runs/bert").train(["One.", "Two."], task="bert-pretraining", **FEW)
    assert "--" not in str(error.value)
    with pytest.raises(UserError, match="skip such rows with skip_bad"):
        rows = [{"text": "a", "label": "b"}, {"text": "", "label": "c"}] * 5
        LLMTrainer.from_pretrained("runs/bert").train(rows, task="text-classification", **FEW)


def test_training_goes_on_from_where_it_stopped_and_keeps_its_head():
    model = LLMTrainer.from_pretrained("runs/bert")
    model.train(REVIEWS, **FEW)
    head = model.model.head.weight.clone()
    model.train([pair for pair in REVIEWS if pair[1] == "good"] + REVIEWS[:2], learning_rate=1e-9, **FEW)
    assert model.model.config.labels == ("bad", "good")
    torch.testing.assert_close(model.model.head.weight, head, atol=1e-6, rtol=0)


def test_what_was_given_in_memory_is_kept_so_that_the_run_can_be_resumed():
    model = LLMTrainer.from_pretrained("runs/bert")
    run = model.train(REVIEWS, **FEW).folder
    assert train_main(["--resume", "--out", str(run), "--steps", "4"]) == 0


def test_steps_follow_from_epochs_and_the_data():
    model = LLMTrainer.from_pretrained("runs/bert")
    model.train(REVIEWS, epochs=2, batch_size=4)
    recipe = json.loads((Path(model.name) / "recipe.json").read_text())
    n_train = 24 - int(open_held_out(recipe["data"]))
    per_epoch = -(-n_train // 4) * 4
    assert recipe["max_steps"] == round(2 * per_epoch / 4) and recipe["warmup_steps"] == recipe["max_steps"] // 10


def open_held_out(data: str) -> int:
    from llmasos.datasets import open_examples

    return len(open_examples("labeled_text", data).val)


def test_frozen_layers_stay_as_they_are():
    model = LLMTrainer.from_pretrained("runs/text")
    before = {name: tensor.clone() for name, tensor in weights_of(model.model).items()}
    model.train("stories.txt", freeze_layers=1, learning_rate=0.01, **FEW)
    after = weights_of(model.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"final_norm.weight", "final_norm.bias", "lm_head.weight"}, "all that comes after the blocks"


def test_uses_are_those_of_the_rooms():
    gpt = LLMTrainer.from_pretrained("runs/text")
    options = {"max_new_tokens": 6, "temperature": 0.0}
    expected = [g.text for g in generate(gpt.model, gpt.tokenizer, ["Anna", "Ben"], SamplingOptions(**options))]
    assert gpt.generate(["Anna", "Ben"], **options) == expected and gpt.generate("Anna", **options) == expected[0]
    assert "".join(gpt.stream("Anna", **options)) == expected[0]
    assert len(gpt.generate("Anna", n=3, max_new_tokens=2)) == 3
    assert isinstance(gpt.chat("Hello", max_new_tokens=3), str)
    for draft in (gpt, "runs/text"):
        assert gpt.generate("Anna", draft=draft, **options) == expected[0]
        assert gpt.generate(["Anna", "Ben"], draft=draft, **options) == expected

    bert = LLMTrainer.from_pretrained("runs/bert")
    assert len(bert.fill_mask("Anna saw the [MASK] house.", n=3)[0]) == 3
    vectors = bert.embed(["Anna saw the house.", "Ben."])
    assert vectors.shape == (2, 32) and torch.allclose(vectors.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(bert.embed("Ben."), vectors[1], rtol=1e-5, atol=1e-5)

    result = bert.train(REVIEWS, **FEW)
    assert str(result).split() == ["run", "steps", "val_loss", str(result.folder), "2", f"{result.val_loss:.4f}"]
    assert result._repr_html_().startswith("<table><tr><th>run</th><th>steps</th><th>val_loss</th></tr><tr><td>")
    answer = bert.classify("a lovely film")
    assert set(answer) == {"good", "bad"} and sum(answer.values()) == pytest.approx(1.0)
    assert list(answer.values()) == sorted(answer.values(), reverse=True)
    assert bert.evaluate(REVIEWS).metrics[0].name == "accuracy"

    translator = LLMTrainer.from_pretrained("runs/translate")
    assert isinstance(translator.translate("eins zwei", beams=2, max_new_tokens=4), str)
    assert len(translator.summarize(["eins", "zwei"], max_new_tokens=4)) == 2
    assert translator.evaluate("pairs.tsv").metrics[0].name == "BLEU"

    reader = LLMTrainer.from_pretrained("runs/bert")
    reader.train("questions.jsonl", **FEW)
    assert reader.answer("Where does Anna live?", "Anna lives in the red house.").text in "Anna lives in the red house."


def test_half_precision_is_half_the_file():
    model = LLMTrainer.from_pretrained("runs/text")
    model.save_pretrained("full")
    model.save_pretrained("half", half=True)
    full, half = (Path(name, "model.safetensors").stat().st_size for name in ("full", "half"))
    assert 0.5 * full <= half < 0.65 * full
    torch.testing.assert_close(
        weights_of(LLMTrainer.from_pretrained("half").model)["token_embedding.weight"],
        weights_of(model.model)["token_embedding.weight"], rtol=1e-3, atol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("model, data, words", [
    ("translate", ["a text"], "can learn translation, .*, text-embedding, and the data is of the format text"),
    ("bert", "nothing.csv", "no file, folder or dataset 'nothing.csv'"),
    ("text", "", "the data is empty or holds only empty texts"),
    ("text", 17, "the data is 17; expected"),
    ("bert", [(f"a {i}", f"b {i}") for i in range(9)], "the second of the two texts is different .* not labels"),
    ("bert", [{"review": "a", "stars": 1}], "has the columns review, stars; expected"),
    ("bert", [{"text": "a", "label": object()}], "line 1: the label is an object, expected a text"),
], ids=lambda value: str(value)[:25])  # fmt: skip
def test_data_that_cannot_be_learned_from_gets_a_sentence(model, data, words):
    with pytest.raises(UserError, match=words):
        LLMTrainer.from_pretrained(f"runs/{model}").train(data, **FEW)


@pytest.mark.parametrize("settings, words", [
    ({"task": "sing"}, "task is 'sing'; it must be one of: language-modeling"),
    ({"task": "translation"}, "learns from pairs, and this data is of the format text"),
    ({"epochs": 0}, "epochs is 0; it must be a number above 0"),
    ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    ({"freeze_layers": 7, "max_steps": 1}, "the model has 1 layers"),
], ids=str)  # fmt: skip
def test_settings_that_make_no_sense_get_a_sentence(settings, words):
    with pytest.raises(UserError, match=words):
        LLMTrainer.from_pretrained("runs/text").train("stories.txt", **settings)


def test_what_a_model_cannot_do_gets_a_sentence():
    bert, gpt = LLMTrainer.from_pretrained("runs/bert"), LLMTrainer.from_pretrained("runs/text")
    for use, words in (
        (lambda: bert.generate("Anna"), "runs/bert is a bert: it cannot continue a text. It can fill in masked tokens"),
        (lambda: gpt.generate("Anna", draft="runs/bert"), "runs/bert is a bert: it cannot continue a text"),
        (
            lambda: gpt.generate("Anna", draft=LLMTrainer.from_pretrained("storyworld-gpt")),
            "has another tokenizer than",
        ),
        (lambda: gpt.generate("Anna", draft=gpt, stop=".", max_new_tokens=2), "stop is not supported by speculative"),
        (lambda: bert.fill_mask("no mask here"), "MASK"),
        (lambda: gpt.embed(["a"], pooling="median"), "pooling is 'median'"),
        (lambda: gpt.chat([{"role": "robot", "content": "a"}]), "message 1 has the role 'robot'"),
        (lambda: gpt.chat([]), "at least one message"),
    ):
        with pytest.raises(UserError, match=words):
            use()


def test_messages_in_a_file_are_recognised():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    write_jsonl("chats.jsonl", [{"messages": messages}] * 3)
    assert infer_format("chats.jsonl").formats == ("conversations",)
    assert infer_format("storyworld:50").formats[0] == "text" and "conversations" in infer_format("storyworld").formats


def test_the_face_names_what_there_is():
    assert llmasos.LLMTrainer is LLMTrainer
    assert {"LLMTrainer", "LLMServing", "__version__"} <= set(dir(llmasos))
    with pytest.raises(AttributeError, match="no attribute 'Trainer'; did you mean 'LLMTrainer'"):
        _ = llmasos.Trainer
    with pytest.raises(AttributeError, match="no attribute 'numpy'; it has LLMTrainer"):
        _ = llmasos.numpy


def test_the_first_lines_of_the_sdk_are_an_index_of_its_methods_in_their_order():
    lines = re.findall(r"^    \w+ {2,}(.+)$", sdk.__doc__, re.MULTILINE)
    named = re.findall(r"\w+", " ".join(lines))
    helpers = {"check", "describe", "opened_draft"}
    defined = [name for name in vars(LLMTrainer) if not name.startswith("_") and name not in helpers]
    assert named == defined


def test_importing_llmasos_imports_nothing_large():
    code = "import sys; before = set(sys.modules); import llmasos; dir(llmasos); print(*set(sys.modules) - before)"
    root = Path(llmasos.__file__).resolve().parents[1]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert {module for module in result.stdout.split() if module.startswith("llmasos")} == {"llmasos"}
    assert not {"torch", "numpy", "difflib", "tiktoken"} & set(result.stdout.split())


def test_a_shipped_model_can_be_trained_and_used_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = LLMTrainer.from_pretrained("storyworld-de-en")
    german = "Es war einmal ein neugieriges Mädchen namens Anna."
    assert model.translate(german) == "Once there was a curious girl called Anna."
    bert = LLMTrainer.from_pretrained("storyworld-bert")
    assert bert.fill_mask("Once there was a [MASK] girl called Anna.")[0][0][1] > 0.1
    bert.train(REVIEWS, **FEW)
    assert hub.load_config(bert.name).head == "classifier"


def test_verbose_false_prints_nothing(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("llmasos.datasets.tokens.default_cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # so that there would be bars
    monkeypatch.setattr(LanguageModeling, "continuations", lambda *args, n=1, **options: ["."] * n)  # quickly
    model = LLMTrainer.from_pretrained("storyworld-gpt", verbose=False)
    texts = [f"Once there was a fox who lived on hill {i}. " * 12 for i in range(20)]
    model.train(texts, max_steps=1, batch_size=2, verbose=False)
    model.evaluate(texts, verbose=False)
    LLMServing.from_pretrained("storyworld-gpt", verbose=False)
    assert capfd.readouterr() == ("", "")
    model.train(texts, max_steps=1, batch_size=2)
    captured = capfd.readouterr()
    assert all(words in captured.out for words in ("tokens ", "Three texts", "Next: ")) and "step/s" in captured.err
