"""The hand-written safetensors format against the reference package, and against damaged files."""

import json
import subprocess
import sys

import pytest
import safetensors
import safetensors.torch
import torch
from disk_helpers import small_disk

from llmasos.errors import UserError
from llmasos.storage.safetensors import DTYPES, load_tensors, read_header, save_tensors


def _random_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    n_bytes = torch.Size(shape).numel() * dtype.itemsize
    if dtype == torch.bool:
        return torch.randint(0, 2, shape).bool()
    return torch.randint(0, 256, (n_bytes,), dtype=torch.uint8).view(dtype).view(shape)


def _tensors() -> dict[str, torch.Tensor]:
    """One tensor of every dtype, and the shapes that fail first: a scalar, an empty one, odd sizes."""
    torch.manual_seed(0)
    tensors = {f"layer.{name}": _random_tensor(dtype, (3, 5)) for name, dtype in DTYPES.items()}
    tensors["é scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors["odd bytes"] = torch.tensor([1, 2, 3], dtype=torch.uint8)
    return tensors


def _assert_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype and actual[name].shape == tensor.shape, name
        if tensor.numel():  # compared as bytes, since NaN != NaN
            left, right = (t.contiguous().reshape(-1).view(torch.uint8) for t in (actual[name], tensor))
            assert torch.equal(left, right), name


def _write_raw(path, header, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_files_are_byte_for_byte_those_of_the_reference(tmp_path):
    save_tensors(tmp_path / "ours", _tensors(), {"format": "pt"})
    safetensors.torch.save_file(_tensors(), tmp_path / "theirs", {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_each_reads_what_the_other_wrote(tmp_path):
    save_tensors(tmp_path / "ours", _tensors(), {"format": "pt"})
    safetensors.torch.save_file(_tensors(), tmp_path / "theirs")
    _assert_same(safetensors.torch.load_file(tmp_path / "ours"), _tensors())
    _assert_same(load_tensors(tmp_path / "theirs"), _tensors())
    with safetensors.safe_open(tmp_path / "ours", "pt") as file:
        assert file.metadata() == {"format": "pt"} == read_header(tmp_path / "ours").metadata


def test_no_tensors_at_all_is_a_valid_file(tmp_path):
    save_tensors(tmp_path / "none", {})
    assert load_tensors(tmp_path / "none") == {} == safetensors.torch.load_file(tmp_path / "none")


def test_transposed_strided_expanded_and_required_gradient_tensors_are_saved_by_value(tmp_path):
    base = torch.arange(24.0).view(4, 6)
    tensors = {"t": base.t(), "strided": base[:, ::2], "expanded": torch.ones(1).expand(3)}
    tensors["grad"] = torch.ones(2, requires_grad=True)
    save_tensors(tmp_path / "a", tensors)
    _assert_same(load_tensors(tmp_path / "a"), tensors)


def test_writing_to_a_loaded_tensor_never_reaches_the_file(tmp_path):
    save_tensors(tmp_path / "a", {"w": torch.zeros(1000)})
    before = (tmp_path / "a").read_bytes()
    load_tensors(tmp_path / "a")["w"].fill_(1.0)
    assert (tmp_path / "a").read_bytes() == before
    assert load_tensors(tmp_path / "a")["w"].sum() == 0


def test_a_loaded_tensor_outlives_the_replacement_of_its_file(tmp_path):
    save_tensors(tmp_path / "a", {"w": torch.zeros(100_000)})
    old = load_tensors(tmp_path / "a")["w"]
    save_tensors(tmp_path / "a", {"w": torch.ones(3)})
    assert old.sum() == 0 and load_tensors(tmp_path / "a")["w"].sum() == 3


def test_unaligned_data_of_other_writers_is_read(tmp_path):
    header = {"byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    header["w"] = {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]}
    _write_raw(tmp_path / "a", header, b"\x07" + torch.tensor([1.5, -2.0]).numpy().tobytes())
    loaded = load_tensors(tmp_path / "a")["w"]
    assert loaded.tolist() == [1.5, -2.0] and loaded.data_ptr() % 4 == 0


def test_saving_holds_no_second_copy_in_memory(tmp_path):
    """Saving 80 MB of tensors raises the process's peak memory by less than a tenth of that."""
    code = """
import resource, sys, torch
from llmasos.storage.safetensors import save_tensors
tensors = {str(i): torch.ones(2_000_000) for i in range(10)}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_tensors(sys.argv[1], tensors)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 8_000, "kilobytes"


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, dtype=torch.complex128), torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta")]
)
def test_unsupported_tensors_are_errors_before_anything_is_written(tmp_path, tensor):
    with pytest.raises(ValueError, match="cannot hold 'w'"):
        save_tensors(tmp_path / "a", {"w": tensor})
    assert not (tmp_path / "a").exists()


def test_every_truncation_is_noticed(tmp_path):
    save_tensors(tmp_path / "a", {"w": torch.ones(4), "b": torch.ones(2)})
    whole = (tmp_path / "a").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut is not a whole safetensors file"):
            load_tensors(tmp_path / "cut")


def test_no_flipped_byte_of_the_header_escapes_as_another_error(tmp_path):
    save_tensors(tmp_path / "a", {"w": torch.ones(4), "b": torch.ones(2, dtype=torch.int64)})
    whole = bytearray((tmp_path / "a").read_bytes())
    for position in range(8 + int.from_bytes(whole[:8], "little")):
        for flip in (0x01, 0x10, 0x80):
            damaged = bytearray(whole)
            damaged[position] ^= flip
            (tmp_path / "flipped").write_bytes(damaged)
            try:
                load_tensors(tmp_path / "flipped")  # a flip inside a name gives a valid file with another name
            except UserError as error:
                assert "flipped" in str(error)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DAMAGED = {
    "not JSON": (b"{nonsense", b"", "header cannot be read"),
    "not UTF-8": (b'{"\xff": 1}', b"", "header cannot be read"),
    "deep nesting": (b"[" * 200_000, b"", "header cannot be read"),
    "a list": (b"[]", b"", "not a JSON object"),
    "a name twice": (b'{"w": 1, "w": 2}', b"", "'w' occurs twice"),
    "metadata of numbers": ({"__metadata__": {"step": 1}}, b"", "__metadata__"),
    "entry without shape": ({"w": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8), "'w' is not described"),
    "unknown dtype": ({"w": {**F32, "dtype": "F128"}}, bytes(8), "'w' has the unknown dtype 'F128'"),
    "dtype no string": ({"w": {**F32, "dtype": ["F32"]}}, bytes(8), "'w' has the unknown dtype"),
    "negative size": ({"w": {**F32, "shape": [-2]}}, bytes(8), "'w' has the shape"),
    "size true": ({"w": {**F32, "shape": [True, 2]}}, bytes(8), "'w' has the shape"),
    "offsets reversed": ({"w": {**F32, "data_offsets": [8, 0]}}, bytes(8), "'w' has the data_offsets"),
    "shape and bytes differ": ({"w": {**F32, "shape": [3]}}, bytes(8), "'w' of F32 .3. needs 12 bytes"),
    "beyond the file": ({"w": F32}, bytes(4), "has"),
    "bytes left over": ({"w": F32}, bytes(9), "has"),
    "overlap": ({"v": F32, "w": {**F32, "data_offsets": [4, 12]}}, bytes(12), "'w' starts at byte 4"),
    "hole": ({"v": F32, "w": {**F32, "data_offsets": [12, 20]}}, bytes(20), "'w' starts at byte 12"),
    "impossible strides": (
        {"w": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}},
        b"",
        "'w' of shape .* cannot be created",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_headers_are_named(tmp_path, case):
    header, data, message = DAMAGED[case]
    _write_raw(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(UserError, match=message) as caught:
        load_tensors(tmp_path / "bad.safetensors")
    assert "bad.safetensors" in str(caught.value)


def test_a_header_length_of_exabytes_allocates_nothing(tmp_path):
    (tmp_path / "a").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="9,223,372,036,854,775,808 bytes long, the file has 10"):
        load_tensors(tmp_path / "a")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match="could not read"):
            load_tensors(path)


def test_disk_full_keeps_the_earlier_file(tmp_path):
    save_tensors(tmp_path / "a", {"w": torch.ones(3)})
    with pytest.raises(UserError, match="could not write .*: the file grew larger"), small_disk():
        save_tensors(tmp_path / "a", {"w": torch.zeros(1_000_000)})
    assert load_tensors(tmp_path / "a")["w"].sum() == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
