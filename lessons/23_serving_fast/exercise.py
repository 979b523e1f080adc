"""Exercises of lesson 23: serving fast.

    python -m lessons check 23                     # what is right, what is wrong, and why
    python -m lessons check 23 --only verify
    python -m lessons hint 23 verify               # one more hint each time
    python -m lessons run 23 --mine                # the lesson, with your functions

Replace each `raise NotImplementedError` with your own code. Python's standard library and torch's elementary operations
are all you need; the library itself is not allowed. Import what you need at the top. Do not modify the inputs.

Letters: n slots; s tokens in a page; k drafted tokens; V size of the vocabulary; g weights in a group.
"""

from torch import Tensor


def finish_times(arrivals: list[int], lengths: list[int], n_slots: int, static: bool) -> list[int]:
    """1 (medium). When is each request done?

    Request i arrives at time arrivals[i] and takes lengths[i] steps from the moment it gets a slot. Requests get slots
    in the order in which they are listed, which is the order of their arrival.

    - Continuous batching (static is False): a request starts at the first time at which it has arrived, all requests
      before it have started, and a slot is free. A slot in which a text ends at time t is free again at time t, so the
      next request may start at t.
    - Static batching (static is True): if nothing is running and at least one request waits, a batch begins: the first
      requests that wait, at most n_slots of them, all start at this moment. Later arrivals wait until *all* of the
      batch are done, and the next batch may begin at that very time. If nobody waits then, it begins when the next
      request arrives, with all that arrive at this time, as far as there are slots.

    Args:
        arrivals: whole numbers, 0 or more, none smaller than the one before it; there may be none at all.
        lengths: whole numbers, 1 or more, equally many.
        n_slots: n, 1 or more.
        static: which of the two.

    Returns:
        for each request the time at which *its own* text is done: its start plus its length, also in a static batch.

    Times may be as large as 10¹², so do not count through the steps.

    Example: arrivals [0, 0, 1], lengths [2, 5, 3], two slots. Continuous: [2, 5, 5]. Static: [2, 5, 8].
    """
    raise NotImplementedError


def page_tables(texts: list[list[int]], s: int) -> list[list[int]]:
    """2 (medium). The page tables of several texts, with shared prefixes.

    Each text is cut into pages of s tokens; the last one may hold fewer. Texts are placed in the order in which they
    are listed, and each page of a text, from first to last,

    - is *shared* if it is whole (s tokens) and an earlier text of the list has a whole page at the same place with the
      same tokens, and with the same tokens in all places before it: then the table gets the number of that page;
    - otherwise it is new, and gets the smallest number that no page has yet, counting from 0.

    Args:
        texts: lists of token ids; a text may be empty, and so may be the list of texts.
        s: 1 or more.

    Returns:
        for each text its page table, the list of its pages' numbers. An empty text has none.

    Example with s = 2: the texts [5, 6, 7, 8], [5, 6, 7, 9], [7, 8] and [5, 6, 7] give [[0, 1], [0, 2], [3], [0, 4]].
    The first pages of three texts are shared. [7, 8] is no copy of page 1, because nothing is before it, and page 4 is
    not whole.
    """
    raise NotImplementedError


def verify(p: Tensor, q: Tensor, proposed: list[int], u: list[float]) -> list[int]:
    """3 (hard). Which tokens does a step of speculative decoding yield?

    The draft has proposed k tokens, token i drawn from q[i]; p[i] is the large model's distribution after the first i
    of them. From left to right, accept token i with probability min(1, p/q) of that token, else replace it with a token
    from max(p[i] - q[i], 0), normalized, and stop. If all k are accepted, add a token from p[k].

    Random numbers are given, so that there is one right answer. Token i (counting from 0) is accepted if and only if
    u[i] · q[i][token] < p[i][token]. The last token, whether after a rejection or after k acceptances, is drawn with
    the number that follows the last one used: u[i + 1] if token i was rejected, u[k] if all were accepted. To draw from
    weights w with a number x means: take the smallest token for which w[0] + … + w[token] > x · sum(w).

    Args:
        p: (k + 1, V), float32 or float64; each row sums to 1.
        q: (k, V), of the same type; each row sums to 1. q[i][proposed[i]] is above 0.
        proposed: k tokens; k may be 0.
        u: k + 1 numbers, from 0 to just below 1.

    Returns:
        the accepted tokens, followed by the one that was drawn: 1 to k + 1 whole numbers.

    Example with V = 2 and k = 1: p = [[0.5, 0.5], [0, 1]], q = [[0.8, 0.2]], proposed [0]. With u = [0.6, 0.3] token 0
    is accepted (0.48 < 0.5) and token 1 is drawn from p[1]: [0, 1]. With u = [0.7, 0.3] it is rejected (0.56), and the
    rest is [0, 0.3]: [1].
    """
    raise NotImplementedError


def quantize_groups(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    """4 (medium). Absmax quantization to four bits, by groups.

    Each row of the matrix is cut into groups of g neighbors. A group's scale is its largest absolute value divided by
    7, and each weight becomes the nearest whole number to weight / scale.

    Args:
        weight: (out, in), float32 or float64; both are 1 or more.
        g: 1 or more. It need not divide `in`: then the last group of each row has fewer weights.

    Returns:
        (z, scale): the whole numbers (out, in) int8, from -7 to 7, and the scales (out, G), of weight's dtype, with
        G = in / g, rounded up. For a group of zeros, z is 0 and the scale is 0.

    Example: the row [0.7, -0.1, 3.5, 0.0] with g = 2 gives z = [7, -1, 7, 0] and the scales [0.1, 0.5].
    """
    raise NotImplementedError


def allowed_tokens(
    tokens: list[bytes], automaton: dict[int, dict[int, int]], accepting: set[int], state: int, left: int
) -> list[bool]:
    """5 (hard). Which tokens may come next?

    A text is a sequence of bytes. The automaton reads it byte by byte: automaton[state][byte] is the next state; a
    byte that is not in automaton[state] must not come there. A text is valid if its last state is accepting.

    Args:
        tokens: the bytes of each token. The empty token b"" ends the text (there may be several, or none).
        automaton: {state: {byte: next state}}, with an entry for every state, which may be empty. The same state may be
            reached in several ways, and there may be circles.
        accepting: the accepting states; there may be none.
        state: the state after the text so far.
        left: how many bytes may still come *after* this token, before the text must end. Negative numbers mean that
            the text must end now.

    Returns:
        for each token, True if it may come. A token that ends the text may come if `state` is accepting, whatever
        `left` is. Another token may come if the automaton can read all of its bytes from `state`, and if from where it
        then is, some accepting state can be reached by reading at most `left` further bytes (possibly none).

    Example: the automaton {0: {97: 1}, 1: {98: 0, 99: 2}, 2: {}} with the accepting state 2 has the texts ac, abac,
    ababac, … (97 is a). In state 0 with left = 1, the tokens a, ab, ac, b and the end give [True, False, True, False,
    False]. With left = 2, ab may come, too.
    """
    raise NotImplementedError


def misled_by_a_mask() -> tuple[list[float], list[float]]:
    """6 (break it, and explain). Find a model that a mask misleads.

    A model writes texts of two tokens. The first is one of at least two, token i with probability first[i]. After it,
    the second token makes the text valid with probability valid[i]. The first token is never forbidden, since every one
    of them *can* still become a valid text; the second is masked.

    Constrained decoding therefore begins with token 0 with probability first[0]. But among the model's own valid texts,
    the fraction that begins with token 0 is first[0] · valid[0] / sum over i of first[i] · valid[i]. Find numbers for
    which constrained decoding begins with token 0 with probability 0.9 or more, though at most 0.1 of the model's own
    valid texts do.

    Returns:
        (first, valid): two lists of equally many numbers. Those of `first` are above 0 and sum to 1; those of `valid`
        are above 0 and at most 1.

    Then explain in WHY_MASKED below (at least 50 words) why a mask that only forbids what is impossible can change the
    distribution of what is possible, what a small product of the Z says about a text, and what one could do about it.
    """
    raise NotImplementedError


WHY_MASKED = """
"""


# 7 (open). Change one thing about the lesson's experiments: lengths that are all equal or have a heavy tail, shortest
# request first, a page size, a draft with two blocks or with int4 weights, acceptance at another temperature, four bits
# for the embedding, the group size at equal memory, a schema that the model has not seen. Change it in a copy of
# lesson.py. Predict first. Write down what you changed, what you predicted and why, what came out, and what you make of
# it (at least 60 words).
EXPERIMENT = """
"""
