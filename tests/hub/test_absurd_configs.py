"""Absurd configs: each value in each field of each format gives one sentence, before anything is allocated."""

import json
import subprocess
import sys

import pytest
from hub_helpers import published
from model_helpers import random_gpt

from llmasos.models import save_model

FORMATS = ("gpt2", "bert classifier", "llama 3 positions", "qwen3", "marian", "gpt-neox", "t5", "gemma3",
           "distilbert classifier", "mpnet body")  # fmt: skip
SIZES = {  # the fields of each format without a default, whose value must be a size
    "own": ["vocab_size", "context_length", "n_layers", "n_heads", "d_model"],
    "gpt2": ["vocab_size", "n_positions", "n_layer", "n_head", "n_embd"],
    "bert classifier": ["vocab_size", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"],
    "t5": ["vocab_size", "num_layers", "num_heads", "d_model", "d_kv", "d_ff"],
    "distilbert classifier": ["vocab_size", "n_layers", "n_heads", "dim", "hidden_dim"],
    "marian": ["vocab_size", "encoder_layers", "decoder_layers", "encoder_attention_heads", "d_model"],
}
SIZES["mpnet body"] = SIZES["bert classifier"]
SIZES["llama 3 positions"] = SIZES["qwen3"] = SIZES["gpt-neox"] = SIZES["gemma3"] = [
    *SIZES["bert classifier"],
    "max_position_embeddings",
]

# One process for all. Its address space is limited to what it has after its imports and 1.5 GiB more, so that whatever
# allocates for an absurd size fails with something else than a UserError.
PROGRAM = """
import json, resource, sys
from pathlib import Path
import torch
from llmasos.errors import UserError
from llmasos.hub.pretrained_folder import read_model

VALUES = ["'12'", "10**6", "10**9", "10**12", "10**18", "10**400", "10**5000", "-1", "0", "1.5", "1e300",
          "float('nan')", "float('inf')", "''", "None", "[]", "[1]", "{}", "True", "json.loads('[' * 900 + ']' * 900)"]
torch.set_num_threads(1)
folders = [Path(name) for name in sys.argv[1:]]
for folder in folders:
    read_model(folder, say=lambda text: None)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**29,) * 2)
read = {}
for folder in folders:
    good = json.loads((folder / "config.json").read_text())
    for name in good:
        for value in VALUES:
            sys.set_int_max_str_digits(0)
            (folder / "config.json").write_text(json.dumps({**good, name: eval(value)}))
            sys.set_int_max_str_digits(4300)
            try:
                read_model(folder, say=lambda text: None)
                read.setdefault(folder.name, {}).setdefault(name, []).append(value)
                if value == "'12'":  # a field that we ignore
                    break
            except UserError as error:
                assert str(error).endswith(".") and len(str(error)) < 1000, (folder.name, name, value, str(error))
            except BaseException as error:
                raise AssertionError(f"{folder.name}: {name} = {value[:20]}: {error!r}") from error
print(json.dumps(read))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, which only Linux enforces")
def test_an_absurd_value_in_any_field_is_a_sentence_before_memory_is_allocated(tmp_path):
    for name in FORMATS:
        published(name).save_pretrained(tmp_path / name)
    (tmp_path / "own").mkdir()
    save_model(tmp_path / "own", random_gpt(positions="rotary").float())
    folders = [str(tmp_path / name) for name in ("own", *FORMATS)]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    read = json.loads(done.stdout)
    accepted = {
        (name, size, *read[name][size]) for name, sizes in SIZES.items() for size in sizes if size in read[name]
    }
    assert accepted == {  # rotary positions take no weights, and a million of them little memory
        ("own", "context_length", "10**6"),
        ("llama 3 positions", "max_position_embeddings", "10**6"),
        ("qwen3", "max_position_embeddings", "10**6"),
        ("gpt-neox", "max_position_embeddings", "10**6"),
        ("gemma3", "max_position_embeddings", "10**6", "None"),  # null means the default of its family
    }
