"""Resolving names: folders, runs, shipped models, the Hugging Face cache, and a hub with failing downloads."""

import errno
import os
import re
import shutil
import subprocess
import sys
import threading

import huggingface_hub
import pytest
import torch
import transformers
from hub_helpers import V, our_outputs, outputs
from hub_server import COMMIT, Hub
from model_helpers import random_ids

from llmasos import hub
from llmasos.__main__ import main as llmasos
from llmasos.errors import UserError
from llmasos.hub import find_model_folder, hub_cache
from llmasos.hub.resolve import shipped_models
from llmasos.storage import read_json, write_json
from llmasos.tokenizers import train_tokenizer

IDS = random_ids(2, 7, vocab_size=V)
REAL = torch.ones(2, 7, dtype=torch.bool)


def save(model, folder) -> None:
    """Save a model and a tokenizer with transformers."""
    model.save_pretrained(folder, max_shard_size="100KB")
    train_tokenizer("bpe", ["the cat sat on the mat"], 257).save(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small random GPT-2, in one file and in several, as on the hub."""
    folder = tmp_path_factory.mktemp("models")
    config = transformers.GPT2Config(
        vocab_size=257, n_positions=64, n_embd=64, n_layer=2, n_head=4, bos_token_id=256, eos_token_id=256
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    save(model, folder / "sharded")
    shutil.copytree(folder / "sharded", folder / "whole")
    for file in (folder / "whole").glob("model*"):
        file.unlink()
    model.save_pretrained(folder / "whole")
    (folder / "whole" / "onnx.bin.txt").write_text("not needed")
    return {"gpt2": folder / "whole", "someone/sharded": folder / "sharded"}


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    """The hub, an empty cache, and no access token."""
    for variable in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    server = Hub(dict(files))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    yield server
    server.close()


def left_over(tmp_path) -> list[str]:
    """Names of temporary files in the cache."""
    return sorted(p.name for p in (tmp_path / "hf").rglob("*") if p.name.endswith(".part") or "tmp-" in p.name)


@pytest.mark.parametrize("name", ["gpt2", "someone/sharded"])
def test_a_model_is_downloaded_once_and_completely(server, name, tmp_path):
    model, tokenizer = hub.load_pretrained(name, say=print)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(server.models[name]).eval()
    torch.testing.assert_close(our_outputs(model, IDS, REAL), outputs(theirs, IDS, REAL), rtol=1e-5, atol=1e-5)
    assert tokenizer.vocab_size == 257
    requests = list(server.requests)
    assert find_model_folder(name) == find_model_folder(f"{name}@{COMMIT}") == find_model_folder(name)
    assert server.requests == requests, "the second time there is no request"
    assert not any("onnx" in path for path, _ in requests)
    assert left_over(tmp_path) == []


def test_an_adapter_is_downloaded_with_its_base_model(server, files, tmp_path, capsys):
    peft = pytest.importorskip("peft", reason="peft, which writes the adapter, is not installed")
    gpt2 = transformers.GPT2LMHeadModel.from_pretrained(files["gpt2"])
    config = peft.LoraConfig(r=2, lora_alpha=7, target_modules="all-linear", task_type="CAUSAL_LM")
    theirs = peft.get_peft_model(gpt2, config).eval()
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    theirs.save_pretrained(tmp_path / "adapter")
    fields = read_json(tmp_path / "adapter" / "adapter_config.json")
    write_json(tmp_path / "adapter" / "adapter_config.json", {**fields, "base_model_name_or_path": "gpt2"})
    server.models["someone/adapter"] = tmp_path / "adapter"
    model, tokenizer = hub.load_pretrained("someone/adapter", say=print)
    torch.testing.assert_close(our_outputs(model, IDS, REAL), outputs(theirs, IDS, REAL), rtol=1e-4, atol=1e-4)
    assert tokenizer.vocab_size == 257
    requests = list(server.requests)
    again, _ = hub.load_pretrained("gpt2", adapter="someone/adapter", say=print)
    torch.testing.assert_close(our_outputs(again, IDS, REAL), our_outputs(model, IDS, REAL))
    shutil.rmtree(find_model_folder("gpt2").parents[1])
    assert llmasos(["models"]) == 0
    assert re.search("someone/adapter +adapter of gpt2 ", capsys.readouterr().out)
    assert server.requests == requests, "both were in the cache, and a list downloads nothing"


def test_an_adapter_in_an_unknown_file_is_refused_and_one_beside_a_whole_model_is_ignored(server, files, tmp_path):
    for name, source in (("pickled", "onnx.bin.txt"), ("beside", "model.safetensors")):
        shutil.copytree(files["gpt2"], tmp_path / name, ignore=shutil.ignore_patterns("model.safetensors"))
        shutil.copy(files["gpt2"] / source, tmp_path / name)
        (tmp_path / name / "adapter_config.json").write_text("{}")
        (tmp_path / name / "adapter_model.bin").write_text("a pickle")
        server.models[f"someone/{name}"] = tmp_path / name
    with pytest.raises(UserError, match="no weights that llmasos can read.*of an adapter, adapter_model.safetensors"):
        find_model_folder("someone/pickled")
    assert not (find_model_folder("someone/beside") / "adapter_config.json").exists()


def test_the_cache_is_shared_with_the_hugging_face_libraries(server, tmp_path, monkeypatch):
    find_model_folder("someone/sharded")
    folder = str(tmp_path / "hf" / "hub")
    theirs = transformers.GPT2LMHeadModel.from_pretrained("someone/sharded", cache_dir=folder, local_files_only=True)
    assert theirs.config.n_embd == 64
    assert [r.repo_id for r in huggingface_hub.scan_cache_dir(folder).repos] == ["someone/sharded"]
    assert not huggingface_hub.scan_cache_dir(folder).warnings

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_model_folder("someone/sharded").name == COMMIT
    assert [(r.name, p.name) for r, p in hub_cache.cached_models()] == [("someone/sharded", COMMIT)]


def test_an_interrupted_a_corrupted_and_a_slow_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr("llmasos.storage.download.time.sleep", lambda seconds: None)
    server.failures = {"model.safetensors": ["cut", "500", "corrupt", "slow"], "config.json": ["corrupt"]}
    folder = find_model_folder("gpt2")
    assert (folder / "model.safetensors").read_bytes() == (server.models["gpt2"] / "model.safetensors").read_bytes()
    ranges = [r for path, r in server.requests if path.endswith("model.safetensors")]
    size = (folder / "model.safetensors").stat().st_size
    assert ranges == [None, f"bytes={size // 2}-", f"bytes={size // 2}-", None], "resumed; then from the start"
    assert left_over(tmp_path) == []


def test_a_file_with_a_wrong_checksum_is_not_in_the_snapshot(server, tmp_path):
    server.failures = {"model.safetensors": ["corrupt"] * 9}
    with pytest.raises(UserError, match="no model 'gpt2'.*could not be downloaded.*model.safetensors.*another file"):
        find_model_folder("gpt2")
    assert not list((tmp_path / "hf").rglob("snapshots/*/model.safetensors"))
    assert left_over(tmp_path) == []
    server.failures = {}
    assert (find_model_folder("gpt2") / "model.safetensors").is_file()


def test_an_incomplete_model_is_completed(server, tmp_path):
    folder = find_model_folder("someone/sharded")
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    (folder / os.readlink(shard)).resolve().unlink()
    shard.unlink()
    (folder / "config.json.mine").write_text("mine")
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("changed by the user")
    server.requests.clear()
    assert find_model_folder("someone/sharded") == folder and shard.is_file()
    assert (folder / "config.json").read_text() != "changed by the user", "it is what the hub has"
    assert (folder / "config.json.old").read_text() == "changed by the user", "and nothing is lost"
    assert (folder / "config.json.mine").read_text() == "mine"
    assert [path.rpartition("/")[2] for path, _ in server.requests if "resolve" in path] == [shard.name]


@pytest.mark.parametrize("damage", [b"\xff\xfe\0", b"", b"../../elsewhere"])
def test_a_damaged_name_of_a_revision_is_asked_for_again(server, damage):
    folder = find_model_folder("gpt2")
    ref = folder.parents[1] / "refs" / "main"
    ref.write_bytes(damage)
    assert hub_cache.cached_models() == [] and find_model_folder("gpt2") == folder and ref.read_text() == COMMIT


@pytest.mark.slow
def test_a_killed_download_resumes(server, tmp_path):
    server.failures = {"model.safetensors": ["stall"]}
    script = "from llmasos.hub import find_model_folder; find_model_folder('gpt2', progress=False)"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=os.getcwd())
    part = None
    for _ in range(20_000):
        part = next((p for p in (tmp_path / "hf").rglob("*.part") if p.stat().st_size > 100_000), None)
        if part or process.poll() is not None:
            break
        threading.Event().wait(0.01)
    process.kill()
    process.wait()
    assert part is not None, "the process was to be killed in the middle"
    have = part.stat().st_size
    server.proceed.set()
    server.requests.clear()
    find_model_folder("gpt2", progress=False)
    assert ("/gpt2/resolve/" + COMMIT + "/model.safetensors", f"bytes={have}-") in server.requests


def test_two_processes_download_once(server, tmp_path):
    server.failures = {"model.safetensors": ["slow"]}
    script = "from llmasos.hub import find_model_folder; print(find_model_folder('gpt2', progress=False))"
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    while not server.requests and other.poll() is None:
        threading.Event().wait(0.01)
    place = find_model_folder("gpt2", progress=False)  # while the other one downloads
    assert other.communicate(timeout=300)[0].strip() == str(place) and other.returncode == 0
    assert sum(path.endswith("model.safetensors") for path, _ in server.requests) == 1


def test_a_link_that_another_process_has_just_made_is_taken(tmp_path, monkeypatch):
    blob, name = tmp_path / "blob", tmp_path / "snapshot" / "config.json"
    blob.write_text("{}")
    hub_cache.link(blob, name)
    monkeypatch.setattr("llmasos.hub.hub_cache.os.path.lexists", lambda path: False)  # as a moment ago
    hub_cache.link(blob, name)
    assert name.read_text() == "{}"
    other = tmp_path / "other"
    other.write_text("[]")
    with pytest.raises(UserError, match="is in the way"):
        hub_cache.link(other, name)


def test_the_token_is_sent_to_the_hub_only(server, files, monkeypatch, tmp_path):
    server.token = "hf_secret"
    with pytest.raises(UserError, match="it is not public and needs an access token: set HF_TOKEN"):
        find_model_folder("gpt2")
    other = Hub(dict(files))  # another host, to which a file is redirected
    seen = []
    original = other.answer
    other.answer = lambda handler: (seen.append(handler.headers.get("Authorization")), original(handler))
    send = server.send_file

    def redirect(handler, name, file):
        if not file.endswith(".safetensors"):
            return send(handler, name, file)
        handler.send_response(302)
        handler.send_header("Location", f"{other.address.replace('127.0.0.1', 'localhost')}/gpt2/resolve/x/{file}")
        handler.end_headers()

    server.send_file = redirect
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    find_model_folder("gpt2")
    other.close()
    assert seen == [None]


def test_a_moved_model_is_found(server, files):
    server.models = {"openai-community/gpt2": files["gpt2"]}
    server.moved = {"gpt2": "openai-community/gpt2"}
    assert (find_model_folder("gpt2") / "config.json").is_file()


def test_a_model_cached_under_its_full_name_is_found_under_the_short_one(server, files):
    server.models = {"openai-community/gpt2": files["gpt2"]}
    folder = find_model_folder("openai-community/gpt2")
    server.requests.clear()
    assert find_model_folder("gpt2") == folder and server.requests == []


# ── errors ──


@pytest.mark.parametrize("name, words", [
    ("t5", r"no model 't5': there is no folder t5;.*storyworld-bert.*cache .*no such model or revision"),
    ("gpt2@v9", "no such model or revision"),
    ("my_llm", r"there is no folder my_llm; .* a model of your own must first be written there by save_pretrained\.$"),
    ("runs/nope", r"^there is no run 'runs/nope': there is no folder runs/nope; list yours with .*llmasos models\.$"),
    ("runs/qa-storyworld", r"^there is no run 'runs/qa-.*; train it first with .*train.* qa-storyworld\.$"),
    ("gtp2", r"^there is no model 'gtp2'; did you mean 'gpt2'\? \(it could not be downloaded: there is no such model"),
    ("me/storyworld-brt", r"no model 'me/storyworld-brt': there is no folder .*no such model or revision"),
    ("../secrets", "no model '../secrets': there is no folder"),
    ("a/b/c", "no model 'a/b/c'"),
    ("", "the name is empty"),
    ("runs/nothing", "there is no folder runs/nothing"),
])  # fmt: skip
def test_unknown_names_have_a_clear_error(server, name, words):
    with pytest.raises(UserError, match=words):
        find_model_folder(name)


@pytest.mark.parametrize("name, meant", [
    ("storyworld-brt", "storyworld-bert"),
    ("storyworld-chta", "storyworld-chat"),
    ("storyworld-gpt@v2", "storyworld-gpt"),
])  # fmt: skip
def test_a_misspelled_shipped_name_gets_a_hint_without_a_request(server, name, meant):
    with pytest.raises(UserError) as error:
        find_model_folder(name)
    assert str(error.value) == f"there is no model {name!r}; did you mean {meant!r}?" and server.requests == []


def test_an_existing_model_with_a_similar_name_is_found(server, files, tmp_path, monkeypatch):
    """The hint comes after folders and the cache, and is not given for names with an owner."""
    server.models = {"someone/storyworld-gtp": files["gpt2"]}
    assert (find_model_folder("someone/storyworld-gtp") / "config.json").is_file()
    shutil.copytree(files["gpt2"], tmp_path / "storyworld-gtp")
    monkeypatch.chdir(tmp_path)
    assert find_model_folder("storyworld-gtp") == tmp_path.relative_to(tmp_path) / "storyworld-gtp"


def test_a_file_instead_of_a_folder_is_an_error(server, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("hello")
    for file in ("README.md", files["gpt2"] / "model.safetensors"):
        with pytest.raises(UserError, match=r"is a file, and a model is a folder.*give the name of the folder"):
            find_model_folder(file)
    assert server.requests == []


@pytest.mark.parametrize("evil", ["../../evil.json", "/etc/evil", "a\\..\\evil", "C:evil"])
def test_a_file_name_outside_the_folder_is_an_error(server, evil, tmp_path):
    server.extra = [{"rfilename": evil, "size": 1, "blobId": "0" * 40}]
    with pytest.raises(UserError, match="lies outside its folder"):
        find_model_folder("gpt2")
    assert not (tmp_path / "hf").exists() or not list((tmp_path / "hf").rglob("*.json"))


@pytest.mark.parametrize("entry", [
    {"rfilename": "x", "size": -1, "blobId": "0" * 40}, {"rfilename": "x", "size": 1, "blobId": "../../x"},
    {"rfilename": "x"}, "x",
], ids=str)  # fmt: skip
def test_an_invalid_list_of_files_is_an_error(server, entry):
    server.extra = [entry]
    with pytest.raises(UserError, match="did not respond with a list of files"):
        find_model_folder("gpt2")


def test_a_model_without_readable_weights_is_an_error_that_lists_its_files(server, files, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{}")
    (tmp_path / "odd" / "model.onnx").write_text("x")
    server.models = {"someone/odd": tmp_path / "odd"}
    with pytest.raises(UserError, match="has no weights that llmasos can read.*config.json, model.onnx"):
        find_model_folder("someone/odd")


def test_the_offline_error_says_where_we_looked_and_what_to_do(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as error:
        find_model_folder("gpt2")
    sentence = str(error.value)
    for piece in ("'gpt2'", str(tmp_path / "hf" / "hub"), "HF_HUB_OFFLINE is set", "copy the files of", "/gpt2"):
        assert piece in sentence
    assert server.requests == []


def test_an_unreachable_hub_is_named(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="http://127.0.0.1:9 cannot be reached"):
        find_model_folder("gpt2")


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only")])
def test_a_disk_that_cannot_be_written_is_explained(server, number, words, monkeypatch, tmp_path):
    import llmasos.storage.download as download

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(download._Fetch, "receive", fail)
    with pytest.raises(UserError, match=words):
        find_model_folder("gpt2")


def test_every_shipped_model_has_a_card_and_opens_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "storyworld-bert" in shipped_models()
    for name in shipped_models():
        folder = find_model_folder(name)
        assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\nlicense: mit\n"), name
        model, tokenizer = hub.load_pretrained(name, say=lambda text: pytest.fail(text))
        assert not model.training and tokenizer.vocab_size <= model.config.vocab_size
        assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000
