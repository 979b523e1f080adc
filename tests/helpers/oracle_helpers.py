"""The correspondence of transformers' tensors and ours, for tests that compare whole models."""

import torch


def bert_weights(model, prefix="bert."):
    """transformers' name → our tensor, for a BERT without its heads."""
    layers = {
        "embeddings.LayerNorm": model.embedding_norm,
        **{
            f"embeddings.{name}_embeddings": table
            for name, table in (
                ("word", model.token_embedding),
                ("position", model.position_embedding),
                ("token_type", model.segment_embedding),
            )
        },
    }
    if hasattr(model, "pooler"):
        layers["pooler.dense"] = model.pooler
    for i, block in enumerate(model.blocks):
        a, f, layer = block.attention, block.feed_forward, f"encoder.layer.{i}"
        layers |= {
            f"{layer}.attention.self.query": a.q_proj,
            f"{layer}.attention.self.key": a.k_proj,
            f"{layer}.attention.self.value": a.v_proj,
            f"{layer}.attention.output.dense": a.out_proj,
            f"{layer}.attention.output.LayerNorm": block.attention_residual.norm,
            f"{layer}.intermediate.dense": f.up_proj,
            f"{layer}.output.dense": f.down_proj,
            f"{layer}.output.LayerNorm": block.feed_forward_residual.norm,
        }
    return {f"{prefix}{name}.{part}": p for name, layer in layers.items() for part, p in layer.named_parameters()}


def gpt2_weights(model):
    """transformers' name → our tensor. Its linear layers are stored input first: (in, out)."""
    weights = {"wte.weight": model.token_embedding.weight, "wpe.weight": model.position_embedding.weight}
    weights |= {f"ln_f.{part}": value for part, value in model.final_norm.named_parameters()}
    for i, block in enumerate(model.blocks):
        a = block.attention
        inputs = (a.q_proj, a.k_proj, a.v_proj)
        linear = {
            "attn.c_proj": a.out_proj,
            "mlp.c_fc": block.feed_forward.up_proj,
            "mlp.c_proj": block.feed_forward.down_proj,
        }
        weights[f"h.{i}.attn.c_attn.weight"] = torch.cat([p.weight for p in inputs]).T
        weights[f"h.{i}.attn.c_attn.bias"] = torch.cat([p.bias for p in inputs])
        for name, layer in linear.items():
            weights |= {f"h.{i}.{name}.weight": layer.weight.T, f"h.{i}.{name}.bias": layer.bias}
        for name, norm in (("ln_1", block.attention_residual.norm), ("ln_2", block.feed_forward_residual.norm)):
            weights |= {f"h.{i}.{name}.weight": norm.weight, f"h.{i}.{name}.bias": norm.bias}
    return {f"transformer.{name}": value for name, value in weights.items()}


def marian_weights(model):
    """transformers' name → our tensor."""
    layers = {"shared": model.token_embedding}
    for side, blocks in (("encoder", model.encoder_blocks), ("decoder", model.decoder_blocks)):
        for i, block in enumerate(blocks):
            f = block.feed_forward
            parts = {
                "fc1": f.up_proj,
                "fc2": f.down_proj,
                "final_layer_norm": block.feed_forward_residual.norm,
                "self_attn_layer_norm": block.attention_residual.norm,
            }
            parts |= {f"self_attn.{name}": layer for name, layer in block.attention.named_children()}
            if side == "decoder":
                parts["encoder_attn_layer_norm"] = block.cross_attention_residual.norm
                parts |= {f"encoder_attn.{name}": layer for name, layer in block.cross_attention.named_children()}
            layers |= {f"{side}.layers.{i}.{name}": layer for name, layer in parts.items()}
    return {f"model.{name}.{part}": p for name, layer in layers.items() for part, p in layer.named_parameters()}
