"""Text embedding as a task: data, errors, and the uses of a trained model."""

from pathlib import Path

import pytest
from task_helpers import RUNS, the_error, train, workplace

from llmasos import LLMTrainer
from llmasos.cli.cli import run
from llmasos.cli.sample import main as sample
from llmasos.datasets import Query, open_examples


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with workplace(tmp_path_factory.mktemp("embed")):
        yield


def test_a_trained_model_embeds_compares_and_is_evaluated(capsys):
    assert train(*RUNS["embed"], "--out", "run") == 0
    model = LLMTrainer.from_pretrained("run", device="cpu")
    assert model.embed(["Ben lives here."]).shape == (1, 32)
    report = model.evaluate("queries.csv", verbose=False)
    assert [metric.name for metric in report.metrics] == ["recall@1", "recall@10", "MRR", "BM25 recall@1"]
    assert report.outcomes.mean() == pytest.approx(report.metrics[0].value)
    Path("other.txt").write_text("Ben lives here.")
    capsys.readouterr()
    assert run(sample, ["run", "--device", "cpu", "--context", "other.txt", "--prompt", "Ben lives here."]) == 0
    assert capsys.readouterr().out.strip() == "cosine 1.000"
    assert run(sample, ["run", "--device", "cpu", "--prompt", "Ben lives here."]) == 2
    assert "--context" in the_error(capsys)


def test_pairs_in_memory_and_files_with_other_names(tmp_path):
    model = LLMTrainer.from_pretrained("storyworld-bert")
    pairs = [(f"where is {n}?", f"{n} is here.") for n in range(20)]
    result = model.train(pairs, task="text-embedding", max_steps=1, n_passages=2, batch_size=4, verbose=False,
                         out_dir=str(tmp_path / "run"))  # fmt: skip
    assert result.steps == 1 and model.model.config.head == "features"
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f'{{"anchor": "q{n}", "positive": "p{n}"}}\n' for n in range(20)))
    data = open_examples("queries", file)
    assert len(data.train) + len(data.val) == 20 and Query("q3", "p3") in data.train + data.val


def test_storyworld_has_a_question_for_each_story_and_held_out_titles_are_unique():
    data = open_examples("queries", "storyworld:300")
    titles = [query.query.partition(":")[0] for query in data.val]
    assert len(titles) == len(set(titles)) and len(data.train) == 300
    hero = data.val[0].query.split()[0]
    assert hero in data.val[0].passage and data.val[0].query.endswith("?")


@pytest.mark.parametrize("flags, message", [
    (["--batch-size", "6", "--n-passages", "4"], "make it a multiple of 4"),
    (["--batch-size", "4", "--gradient-accumulation-steps", "2", "--n-passages", "4"], "make it a multiple of 8"),
    (["--n-passages", "1"], "n_passages is 1"),
    (["--contrastive-temperature", "0"], "contrastive_temperature is 0"),
])  # fmt: skip
def test_groups_that_do_not_fit_are_one_sentence(flags, message, capsys):
    assert train(*RUNS["embed"], *flags, "--out", "never") == 2
    assert message in the_error(capsys) and not Path("never").exists()
