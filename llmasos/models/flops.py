"""The size of a model and the FLOPs per token, by formula.

Counting multiply and add as two operations, a matrix of n weights costs 2n FLOPs per token forward and twice that
backward (one product for the input's gradient, one for the weight's), so training costs 6n. Attention adds, in every
layer, the products q kᵀ and weights·v: 2 · 2·T·H·D per token forward, where H·D, the width of all heads together, is
C in nearly all models. Together (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B):

    FLOPs per trained token = 6·N + 12·A·H·D·T

N counts the weights that are multiplied: all matrices including the output layer, but not the embeddings, which are
looked up; of a mixture of experts, the router and the k experts of a token. A is the number of attentions: one per
layer, two per layer of a Transformer's decoder. Attention is counted over all T positions although a causal kernel may
skip half of them: the papers' convention. With a sliding window, T is at most its length. What a model computes once
for a whole text (BERT's pooler, a label) is not counted.

**A token** of a Transformer is one of the target together with one of the source, assumed to be equally long: one pass
through the encoder and one through the decoder. Under a head there is no decoder, and a token is an input token.
"""

from llmasos.models.config import ModelConfig


def n_parameters_of(config: ModelConfig) -> int:
    """The number of parameters by formula, without building the model.

    Embeddings V·C (+ P·C learned positions, + segments and a norm in a BERT, + tables of
    n-grams, + V·D·Hkv value embeddings in each layer); in each layer attention 2·C·D·(H + Hkv),
    feed-forward 2·C·d_ff (3 if it is gated) and two norms; a final norm with pre-norm; the biases; and the head. A
    mixture of experts has its feed-forwards E times, and in each layer a router E·C.

    >>> n_parameters_of(ModelConfig())  # GPT-2 small
    124439808
    """
    c = config
    embeddings = (c.vocab_size + (c.max_ngram - 1) * c.ngram_buckets) * c.d_model
    if c.value_embeddings:
        embeddings += c.n_layers * c.vocab_size * c.n_kv_heads * c.head_size
    if c.positions == "learned":
        embeddings += c.context_length * c.d_model
    if c.family == "bert":
        embeddings += c.n_segments * c.d_model + norm_parameters(c) * (
            1 if c.first_norm else 0
        )  # one in another's place
    embeddings += c.relative_attention_num_buckets * c.n_heads
    return embeddings + stack_parameters(c, c.n_layers) + head_parameters(c)


def n_active_parameters_of(config: ModelConfig) -> int:
    """The number of parameters used to compute one token, without the experts that the token does not use."""
    has_decoder = config.family == "transformer" and config.generates
    n_layers = config.n_layers + (config.n_decoder_layers if has_decoder else 0)
    idle = (config.n_experts - config.n_active_experts) * expert_parameters(config)
    return n_parameters_of(config) - n_layers * idle


def n_position_values(config: ModelConfig) -> int:
    """The number of values in the tables of sinusoidal (P, C) or rotary positions (twice P, D/2): not trained."""
    if config.positions.startswith("sinusoidal"):
        return config.context_length * config.d_model
    n_tables = 1 if config.local_rope_theta is None else 2
    return n_tables * config.context_length * config.n_rotated if config.positions == "rotary" else 0


def head_parameters(config: ModelConfig) -> int:
    """Parameters after the first stack of blocks: of the head, or of the layers for the family's own pretraining."""
    c = config
    dense = c.d_model**2 + (0 if c.pooler == "norm" else c.d_model)
    pooler = (dense + (norm_parameters(c) if c.pooler == "norm" else 0)) if c.has_pooler else 0
    if c.head == "features":
        return pooler
    if c.head == "question_answering":
        return 2 * (c.d_model + 1)
    if c.head == "token_classifier":
        return pooler + len(c.labels) * (c.d_model + 1)
    if c.head in ("classifier", "reward"):
        return pooler + max(1, len(c.labels)) * (c.d_model + 1)
    output = 0 if c.tie_embeddings else c.vocab_size * c.d_model
    output += c.vocab_size if c.output_bias and c.family != "bert" else 0
    if c.family == "bert":
        masked_lm = dense + norm_parameters(c) + output + c.vocab_size  # dense, norm, decoder
        return pooler + masked_lm + (2 * (c.d_model + 1) if c.next_sentence else 0)
    if c.family == "transformer":
        output += c.relative_attention_num_buckets * c.n_heads
        return stack_parameters(c, c.n_decoder_layers, cross_attention=True) + output
    return output


def stack_parameters(config: ModelConfig, n_layers: int, cross_attention: bool = False) -> int:
    """Parameters of a stack of blocks and of its final norm, if it has one."""
    c, n_attentions = config, 2 if cross_attention else 1
    attention = attention_weights(c)
    attention += (c.n_heads + 2 * c.n_kv_heads) * c.head_size if c.qkv_bias else 0
    attention += 2 * c.head_size if c.qk_norm else 0
    layer = n_attentions * (attention + (c.d_model if c.bias else 0))
    layer += c.n_experts * expert_parameters(c) + router_weights(c)
    layer += (n_attentions + 1) * norm_parameters(c) * (2 if c.norm_position == "sandwich" else 1)
    return n_layers * layer + (0 if c.norm_position == "post" else norm_parameters(c))


def norm_parameters(config: ModelConfig) -> int:
    """Parameters of one norm: a weight, and a bias in a LayerNorm with bias."""
    return config.d_model * (2 if config.norm == "layernorm" and config.bias else 1)


def attention_weights(config: ModelConfig) -> int:
    """Weights in the matrices of one attention: q and out, k and v."""
    return 2 * config.d_model * config.head_size * (config.n_heads + config.n_kv_heads)


def expert_weights(config: ModelConfig) -> int:
    """Weights in the matrices of one feed-forward, or of one expert."""
    return (3 if config.gate else 2) * config.d_model * config.d_ff


def expert_parameters(config: ModelConfig) -> int:
    """`expert_weights` and biases."""
    biases = (2 if config.gate else 1) * config.d_ff + config.d_model
    return expert_weights(config) + (biases if config.bias else 0)


def router_weights(config: ModelConfig) -> int:
    """Weights in the router of one mixture of experts; an ordinary block has none."""
    return config.n_experts * config.d_model if config.n_experts > 1 else 0


def feed_forward_weights(config: ModelConfig) -> int:
    """Weights of a feed-forward layer that are used for one token: those of its experts and of the router."""
    return config.n_active_experts * expert_weights(config) + router_weights(config)


def flops_per_token(config: ModelConfig, sequence_length: int | None = None, predicted_fraction: float = 1.0) -> int:
    """Floating-point operations to train on one token, by the formula above.

    Args:
        config: the model.
        sequence_length: T, the number of tokens in a sequence (None = context_length).
        predicted_fraction: the fraction of a BERT's tokens that are predicted; only they pass through its output layer.
    """
    c, T = config, sequence_length or config.context_length
    N: float = c.n_layers * (attention_weights(c) + feed_forward_weights(c))
    n_attentions = c.n_layers
    if c.head == "question_answering":
        N += 2 * c.d_model
    elif c.head == "token_classifier":
        N += len(c.labels) * c.d_model
    elif c.is_pretraining and c.family == "bert":
        N += predicted_fraction * (c.d_model**2 + c.vocab_size * c.d_model)
    elif c.is_pretraining:
        N += c.vocab_size * c.d_model
        if c.family == "transformer":
            N += c.n_decoder_layers * (2 * attention_weights(c) + feed_forward_weights(c))
            n_attentions += 2 * c.n_decoder_layers
    n_keys = n_attentions * T  # in all attentions together
    if c.sliding_window is not None:
        n_keys = sum(min(T, c.sliding_window) if c.is_sliding(layer) else T for layer in range(c.n_layers))
    return round(6 * N + 12 * n_keys * c.n_heads * c.head_size)
