"""Image towers: patches, positions and pooling; a GPT that reads an image prefix; errors; files."""

import pytest
import torch
from model_helpers import gradients, random_gpt, random_ids, randomize
from torch import nn
from torch.nn import functional

from llmasos.errors import UserError
from llmasos.models import (
    ModelConfig,
    Transformer,
    VisionConfig,
    VisionEncoderDecoder,
    VisionLanguageModel,
    VisionTransformer,
)
from llmasos.models.image_captioning import load_vision, save_vision
from llmasos.models.vision import PatchEmbedding
from llmasos.objectives import CaptionedImage, Captioning

SMALL = {"image_size": 8, "patch_size": 4, "n_channels": 3, "n_layers": 2, "n_heads": 2, "d_model": 8,
         "pooling": "cls"}  # fmt: skip


def random_tower(**fields) -> VisionTransformer:
    return randomize(VisionTransformer(VisionConfig(**{**SMALL, **fields})).double()).eval()


def random_images(n: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_captioner(**fields) -> VisionLanguageModel:
    model = VisionLanguageModel(random_tower(), random_gpt(**fields))
    randomize(model.projection.double())
    return model.eval()


def test_patch_embedding_is_a_convolution_whose_stride_is_its_kernel():
    embedding = randomize(PatchEmbedding(VisionConfig(**SMALL)).double())
    conv = nn.Conv2d(3, 8, kernel_size=4, stride=4).double()
    with torch.no_grad():
        conv.weight.copy_(embedding.proj.weight.view(8, 3, 4, 4))
        conv.bias.copy_(embedding.proj.bias)
    images = random_images()
    torch.testing.assert_close(embedding(images), conv(images).flatten(2).transpose(1, 2))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("positions", ["learned", "none"])
def test_only_positions_tell_a_tower_where_a_patch_is(positions, pooling):
    tower, images = random_tower(positions=positions, pooling=pooling, n_classes=5), random_images()
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4)  # (B, 3, 2, 2, 4, 4)
    moved = patches.flip(2).transpose(2, 3)  # rotated by a quarter: all four are somewhere else
    moved = moved.permute(0, 1, 2, 4, 3, 5).reshape(images.shape)
    difference = (tower(images) - tower(moved)).abs().max().item()
    assert difference < 1e-12 if positions == "none" else difference > 1e-3


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_gradients_reach_every_parameter_and_every_pixel(pooling):
    tower = random_tower(pooling=pooling, n_classes=5)
    images = random_images().requires_grad_()
    of_images, *of_parameters = gradients(tower(images), [images, *tower.parameters()])
    assert (of_images != 0).all() and all(gradient.any() for gradient in of_parameters)


def test_a_tower_learns_a_batch_by_heart():
    torch.manual_seed(0)
    tower = VisionTransformer(VisionConfig(**{**SMALL, "d_model": 16, "pooling": "mean"}, n_classes=4))
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 4
    optimizer = torch.optim.AdamW(tower.parameters(), lr=0.02)
    for _ in range(20):
        loss = functional.cross_entropy(tower(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3  # log 4 = 1.39 at the start, about 0.005 at the end


def test_the_initial_matrix_of_the_patches_keeps_their_variance():
    """With 1,024 entries, the measured standard deviation is within 2 %; 10 % cannot be chance."""
    weight = VisionTransformer(VisionConfig(patch_size=4, d_model=64)).patch_embedding.proj.weight  # (64, 16)
    assert weight.std().item() == pytest.approx(1 / 4, rel=0.1)


@pytest.mark.parametrize("fields", [{}, {"positions": "rotary"}, {"sliding_window": 6, "positions": "alibi"}], ids=str)
def test_a_captioner_reads_the_image_and_no_token_to_come(fields):
    model, images, ids = random_captioner(**fields), random_images(), random_ids(2, 6)
    logits = model(images, ids)
    assert logits.shape == (2, 6, 29)
    other = model(random_images(seed=1), ids)
    assert ((logits - other).abs().amax(dim=-1) > 1e-6).all() or "sliding_window" in fields
    changed = ids.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 29
    torch.testing.assert_close(model(images, changed)[:, :3], logits[:, :3], rtol=0, atol=1e-12)
    assert ((model(images, changed) - logits)[:, 3:].abs().amax(dim=-1) > 1e-6).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_padding_changes_no_caption(positions, side):
    model, images, ids = random_captioner(positions=positions), random_images(1), random_ids(1, 5)
    pad = (3, 0) if side == "left" else (0, 3)
    mask = functional.pad(torch.ones(1, 5, dtype=torch.bool), pad, value=False)
    padded = model(images, functional.pad(ids, pad, value=7), mask)
    torch.testing.assert_close(padded[:, mask[0]], model(images, ids), rtol=0, atol=1e-12)


def test_the_prefix_is_what_a_gpt_would_make_of_tokens_with_these_embeddings():
    """A prefix of token embeddings acts like the text of these tokens: the same positions, the same mask."""
    model, ids = random_captioner(), random_ids(2, 9)
    prefix = model.gpt.token_embedding(ids[:, :4])
    torch.testing.assert_close(model.read(prefix, ids[:, 4:]), model.gpt(ids)[:, 4:], rtol=0, atol=1e-12)


def test_the_loss_is_on_the_caption_alone_and_trains_the_tower_of_a_frozen_gpt():
    model = random_captioner()
    captions = ([1, 5, 6, 2], [1, 2])
    examples = [CaptionedImage(image.numpy(), ids) for image, ids in zip(random_images(), captions, strict=True)]
    batch, objective = Captioning().collate(examples), Captioning()
    assert objective.n_targets(batch) == {"causal": 4}
    loss = objective.loss_sums(model, batch)["causal"]
    alone = [objective.loss_sums(model, Captioning().collate([example]))["causal"] for example in examples]
    torch.testing.assert_close(loss, sum(alone), rtol=1e-5, atol=0)  # the loss is computed in float32
    model.gpt.requires_grad_(False)
    objective.loss_sums(model, batch)["causal"].backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in model.named_parameters() if not name.startswith("gpt.")}


@pytest.mark.parametrize("fields", [{}, {"positions": "rotary"}, {"sliding_window": 6, "positions": "alibi"}], ids=str)
def test_a_caption_is_the_most_probable_tokens_up_to_the_end(fields):
    """Each token is computed once, with a cache; the definition here runs the whole text through the model again."""
    model, images = random_captioner(**fields), random_images(3)
    captions = model.caption(images, begin_id=1, end_id=2, max_new_tokens=6)
    for image, caption in zip(images[:, None], captions, strict=True):
        ids = [1]
        for _ in range(6):
            ids.append(int(model(image, torch.tensor([ids]))[0, -1].argmax()))
        assert caption == (ids[1:] + [2])[: (ids[1:] + [2]).index(2)]
    end = captions[0][2]
    stopped = model.caption(images, begin_id=1, end_id=end, max_new_tokens=6)[0]
    assert stopped == captions[0][: captions[0].index(end)]
    assert model.caption(images, begin_id=1, end_id=2, max_new_tokens=0) == [[], [], []]


def random_encoder_decoder(**fields) -> VisionEncoderDecoder:
    sizes = {"vocab_size": 29, "context_length": 12, "n_layers": 1, "n_decoder_layers": 2, "n_heads": 2, "d_model": 8}
    config = ModelConfig(family="transformer", **{**sizes, "positions": "sinusoidal", **fields})
    return randomize(VisionEncoderDecoder(random_tower(), config).double()).eval()


@pytest.mark.parametrize("fields", [{}, {"positions": "learned"},
                                    {"positions": "none", "relative_attention_num_buckets": 4}], ids=str)  # fmt: skip
def test_a_decoder_looks_at_the_image_and_at_no_token_to_come(fields):
    model, images, ids = random_encoder_decoder(**fields), random_images(), random_ids(2, 6)
    logits = model(images, ids)
    assert ((logits - model(random_images(seed=1), ids)).abs().amax(dim=-1) > 1e-6).all()
    changed = ids.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 29
    torch.testing.assert_close(model(images, changed)[:, :3], logits[:, :3], rtol=0, atol=1e-12)
    captions = model.caption(images, begin_id=1, end_id=2, max_new_tokens=6)
    for image, caption in zip(images[:, None], captions, strict=True):  # the definition: the whole text each time
        text = [1]
        for _ in range(6):
            text.append(int(model(image, torch.tensor([text]))[0, -1].argmax()))
        assert caption == (text[1:] + [2])[: (text[1:] + [2]).index(2)]
    assert model.caption(images, begin_id=1, end_id=2, max_new_tokens=0) == [[], []]


def test_the_memory_is_a_set_of_patches_as_in_translation():
    """The Transformer computes the same from a source whose encoding is the image's."""
    model, images, ids = random_encoder_decoder(), random_images(), random_ids(2, 6)
    plain = randomize(Transformer(model.config).double()).eval()
    plain.load_state_dict({**plain.state_dict(), **{name: value for name, value in model.state_dict().items()
                                                   if name in plain.state_dict()}})  # fmt: skip
    memory = model.encode(images)
    plain.encode = lambda source, mask: memory
    torch.testing.assert_close(plain(ids, ids), model(images, ids), rtol=0, atol=1e-12)
    every = gradients(model(images, ids), list(model.parameters()))
    assert all(gradient.any() for gradient in every)


def test_an_encoder_decoder_learns_to_say_which_image_it_is():
    torch.manual_seed(0)
    model = random_encoder_decoder().float().train()
    images, objective = random_images(4).float().numpy(), Captioning()
    examples = [CaptionedImage(image, [1, 5 + i, 15 - i, 2]) for i, image in enumerate(images)]
    batch, optimizer = objective.collate(examples), torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(120):
        loss = objective.loss_sums(model, batch)["causal"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.caption(batch["images"], begin_id=1, end_id=2) == [[5 + i, 15 - i] for i in range(4)]


@pytest.mark.parametrize("kind", ["tower", "captioner", "encoder-decoder"])
def test_a_saved_model_computes_the_same(kind, tmp_path):
    make = {"tower": lambda: random_tower(n_classes=5), "captioner": random_captioner,
            "encoder-decoder": random_encoder_decoder}[kind]  # fmt: skip
    model = make().float()
    inputs = [random_images().float(), *([] if kind == "tower" else [random_ids(2, 4)])]
    save_vision(tmp_path, model)
    assert torch.equal(load_vision(tmp_path)(*inputs), model(*inputs))


@pytest.mark.parametrize("change, message", [
    ({"patch_size": 3}, "patch_size 3 does not divide image_size 8"),
    ({"patch_size": 16}, "choose for example image_size 16"),
    ({"n_heads": 3}, "n_heads 3 does not divide d_model 8"),
    ({"pooling": "max"}, "pooling is 'max'; it must be one of: cls, mean."),
    ({"dropout": 1.0}, "dropout is 1.0"),
    ({"n_layers": 0}, "n_layers is 0"),
    ({"d_model": "8"}, "d_model is '8'"),
])  # fmt: skip
def test_a_config_that_fits_nothing_is_refused(change, message):
    with pytest.raises(UserError) as error:
        VisionConfig(**{**SMALL, **change})
    assert message in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("images", [
    torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 12), torch.zeros(3, 8, 8), torch.zeros(2, 8, 8, 3),
    torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
], ids=lambda images: f"{tuple(images.shape)} {images.dtype}")  # fmt: skip
def test_images_of_another_shape_or_type_are_refused(images):
    with pytest.raises(UserError, match=r"this model reads floats \(batch, 3, 8, 8\)"):
        random_tower(n_classes=5)(images)


def test_what_does_not_belong_together_is_refused(tmp_path):
    tower = random_tower()
    with pytest.raises(UserError, match="n_classes is 0"):
        tower(random_images())
    for fields in ({"max_ngram": 2}, {"value_embeddings": True}):
        with pytest.raises(UserError, match="an image prefix needs a gpt"):
            VisionLanguageModel(tower, random_gpt(**fields))
    with pytest.raises(UserError, match="a sequence of 6 tokens does not fit"):
        VisionLanguageModel(tower, random_gpt(context_length=5))
    with pytest.raises(UserError, match="a sequence of 17 tokens does not fit"):
        random_captioner()(random_images(), random_ids(2, 12))
    with pytest.raises(UserError, match="a sequence of 17 tokens does not fit"):
        random_captioner().caption(random_images(), begin_id=1, end_id=-1)
    with pytest.raises(UserError, match="cross-attention need the config of a transformer"):
        VisionEncoderDecoder(tower, random_gpt().config)
    with pytest.raises(UserError, match="a sequence of 13 tokens does not fit"):
        random_encoder_decoder().caption(random_images(), begin_id=1, end_id=-1, max_new_tokens=13)
    with pytest.raises(UserError, match="holds no image tower"):
        load_vision(tmp_path)
