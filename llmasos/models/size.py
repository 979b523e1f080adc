"""How large a model is and how much work a token costs, by formula.

Counting multiply and add as two operations, a matrix of n weights costs 2n FLOPs per token forward and twice that
backward (one product for the input's gradient, one for the weight's), so training costs 6n. Attention adds, in every
layer, the products q kᵀ and weights·v: 2 · 2·T·C per token forward. Together (Kaplan et al. 2020, section 2.1;
Chowdhery et al. 2022, appendix B):

    FLOPs per trained token = 6·N + 12·L·C·T

N counts the weights that are multiplied: all matrices including the output layer, not the embeddings, which are looked
up. Attention is counted over all T positions although a causal kernel may skip half of them: the papers' convention.
"""

from torch import nn

from llmasos.models.config import ModelConfig


def n_parameters(model: nn.Module) -> int:
    """Number of trained values, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def n_parameters_of(config: ModelConfig) -> int:
    """The same for a GPT by formula, without building it.

    Embeddings V·C (+ P·C learned positions, + V·C if the output layer is not tied); in each layer attention
    2·C² + 2·C·Hkv·D, feed-forward 2·C·d_ff (3 for swiglu), two norms; one last norm with pre-norm; and the biases.

    >>> n_parameters_of(ModelConfig())  # GPT-2 small
    124439808
    """
    c = config
    norm = c.d_model * (2 if c.norm == "layernorm" and c.bias else 1)
    biases = 2 * c.d_model + 2 * c.n_kv_heads * c.head_size  # of attention
    biases += (2 if c.activation == "swiglu" else 1) * c.d_ff + c.d_model  # of feed-forward
    layer = weights_per_layer(c) + 2 * norm + (biases if c.bias else 0)
    embeddings = c.vocab_size * c.d_model * (1 if c.tie_embeddings else 2)
    positions = c.context_length * c.d_model if c.positions == "learned" else 0
    return embeddings + positions + c.n_layers * layer + (norm if c.norm_position == "pre" else 0)


def weights_per_layer(config: ModelConfig) -> int:
    """Number of weights in one block's matrices: those of attention (q, k, v, out) and of the feed-forward."""
    c = config
    attention = 2 * c.d_model**2 + 2 * c.d_model * c.n_kv_heads * c.head_size
    feed_forward = (3 if c.activation == "swiglu" else 2) * c.d_model * c.d_ff
    return attention + feed_forward


def flops_per_token(config: ModelConfig, sequence_length: int | None = None) -> int:
    """Floating-point operations to train on one token of a sequence of T tokens (None = context_length); see above."""
    c = config
    T = sequence_length or c.context_length
    N = c.n_layers * weights_per_layer(c) + c.vocab_size * c.d_model
    return 6 * N + 12 * c.n_layers * c.d_model * T
