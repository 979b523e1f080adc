"""Judged solutions of lesson 06; see test_wrong_and_right.py."""

WRONG = {
    "temperature": {
        "subtracts the largest logit of the batch": """
def temperature(logits, t):
    e = ((logits - logits.max()) / t).exp()
    return e / e.sum(-1, keepdim=True)
""",
        "logits clipped to the range of exp": """
def temperature(logits, t):
    return (logits / t).clamp(-80, 80).softmax(-1)
""",
        "t is at least 0.1": """
def temperature(logits, t):
    return (logits / max(t, 0.1)).softmax(-1)
""",
        "squeezes a dimension of size 1": """
def temperature(logits, t):
    p = (logits.squeeze() / t).softmax(-1)
    return p.view(logits.shape)
""",
        "view of a transposed tensor": """
def temperature(logits, t):
    flat = logits.view(-1) / t
    return flat.view(logits.shape).softmax(-1)
""",
        "scales the logits in place": """
def temperature(logits, t):
    logits /= t
    return logits.softmax(-1)
""",
    },
    "min_p": {
        "dropped logits set to -10": """
def min_p(logits, p):
    q = logits.softmax(-1)
    return logits.masked_fill(q < p * q.amax(-1, keepdim=True), -10.0).softmax(-1)
""",
        "dropped logits set to -1000": """
def min_p(logits, p):
    q = logits.softmax(-1)
    return logits.masked_fill(q < p * q.amax(-1, keepdim=True), -1000.0).softmax(-1)
""",
        "exp without subtracting the maximum": """
def min_p(logits, p):
    e = logits.exp()
    e = e * (e >= p * e.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)
""",
        "at most one of the most likely tokens at p = 1": """
def min_p(logits, p):
    q = logits.softmax(-1)
    keep = q > p * q.amax(-1, keepdim=True)
    keep[range(len(q)), q.argmax(-1)] = True
    return q * keep / (q * keep).sum(-1, keepdim=True)
""",
        "looks at the fifty most likely tokens only": """
import torch
def min_p(logits, p):
    top, ids = logits.softmax(-1).topk(min(50, logits.size(-1)))
    top = top * (top >= p * top[:, :1])
    return torch.zeros_like(logits).scatter(-1, ids, top / top.sum(-1, keepdim=True))
""",
        "a dropped token keeps a trace": """
def min_p(logits, p):
    q = logits.softmax(-1)
    keep = q >= p * q.amax(-1, keepdim=True)
    q = q * keep + 5e-5 * ~keep
    return q / q.sum(-1, keepdim=True)
""",
    },
    "top_p": {
        "higher id first among equals": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(stable=True)
    q, order = q.flip(-1), order.flip(-1)
    keep = q.cumsum(-1) - q < p
    return torch.zeros_like(q).scatter(-1, order, q * keep / (q * keep).sum(-1, keepdim=True))
""",
        "one token too many when the sum is exactly p": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(descending=True, stable=True)
    keep = q.cumsum(-1) - q <= p
    return torch.zeros_like(q).scatter(-1, order, q * keep / (q * keep).sum(-1, keepdim=True))
""",
        "always two tokens at least": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(descending=True, stable=True)
    keep = q.cumsum(-1) - q < p
    keep[:, :2] = True
    return torch.zeros_like(q).scatter(-1, order, q * keep / (q * keep).sum(-1, keepdim=True))
""",
        "looks at the fifty most likely tokens only": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(descending=True, stable=True)
    keep = q.cumsum(-1) - q < p
    keep[:, 50:] = False
    return torch.zeros_like(q).scatter(-1, order, q * keep / (q * keep).sum(-1, keepdim=True))
""",
        "dropped logits set to -100": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(descending=True, stable=True)
    drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, q.cumsum(-1) - q >= p)
    return logits.masked_fill(drop, -100.0).softmax(-1)
""",
        "a tie keeps all": """
import torch
def top_p(logits, p):
    q = logits.softmax(-1)
    s = q.sort(descending=True).values
    last = (s.cumsum(-1) - s < p).sum(-1, keepdim=True) - 1
    keep = q >= s.gather(-1, last)
    return q * keep / (q * keep).sum(-1, keepdim=True)
""",
    },
    "cached_attention": {
        "a mask table of eight positions": """
import torch
MASK = torch.ones(8, 8).tril().bool()
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    S = 0 if cache is None else len(cache[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    scores = (h @ w_q.T) @ k.T / k.size(1) ** 0.5
    return scores.masked_fill(~MASK[S : S + len(x), : len(k)], float("-inf")).softmax(-1) @ v, (k, v)
""",
        "hidden scores set to -15": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    S = 0 if cache is None else len(cache[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    scores = (h @ w_q.T) @ k.T / k.size(1) ** 0.5
    hidden = torch.ones_like(scores).triu(S + 1).bool()
    return scores.masked_fill(hidden, -15.0).softmax(-1) @ v, (k, v)
""",
        "remembers the cache instead of reading it": """
import torch
MINE = [None]
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    old = None if cache is None else MINE[0]
    S = 0 if old is None else len(old[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if old is not None:
        k, v = torch.cat([old[0], k]), torch.cat([old[1], v])
    MINE[0] = k, v
    scores = (h @ w_q.T) @ k.T / k.size(1) ** 0.5
    return scores.masked_fill(torch.ones_like(scores).triu(S + 1).bool(), float("-inf")).softmax(-1) @ v, (k, v)
""",
        "no mask for a piece of two": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    S = 0 if cache is None else len(cache[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    scores = (h @ w_q.T) @ k.T / k.size(1) ** 0.5
    if cache is None:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
    return scores.softmax(-1) @ v, (k, v)
""",
        "the last positions of the table": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    S = 0 if cache is None else len(cache[0])
    h = x + positions[: S + len(x) + 1][-len(x) - 1 :][: len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    scores = (h @ w_q.T) @ k.T / k.size(1) ** 0.5
    return scores.masked_fill(torch.ones_like(scores).triu(S + 1).bool(), float("-inf")).softmax(-1) @ v, (k, v)
""",
        "exp without subtracting the maximum loses very low scores": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    S = 0 if cache is None else len(cache[0])
    h = x + positions[S : S + len(x)]
    k, v = h @ w_k.T, h @ w_v.T
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    e = ((h @ w_q.T) @ k.T / k.size(1) ** 0.5).exp().tril(S)
    return e @ v / e.sum(-1, keepdim=True), (k, v)
""",
        "grows the caller's lists": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    keys, values = ([], []) if cache is None else cache
    out = []
    for row in x:
        h = row + positions[len(keys)]
        keys.append(w_k @ h), values.append(w_v @ h)
        K, V = torch.stack(list(keys)), torch.stack(list(values))
        out.append((K @ (w_q @ h) / len(w_q) ** 0.5).softmax(0) @ V)
    return torch.stack(out), (keys, values)
""",
    },
    "beam_search": {
        "the last token ends a text": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) / 6) ** alpha
    beam, done = [(0.0, [])], []
    for _ in range(max_tokens):
        new = [(t + l, ids + [i], i) for t, ids in beam for ls in [next_logprobs(ids)] for i, l in enumerate(ls)]
        new.sort(reverse=True)
        last = max(i for _, _, i in new)
        done += [c for c in new[:beams] if c[2] == last]
        beam = [c[:2] for c in new if c[2] != last][:beams]
        if beams == 1 and done:
            break
    best = (sorted(done, key=score, reverse=True) + beam)[:beams]
    return [(c[1], score(c)) for c in best]
""",
        "finished texts cut to K by log-probability": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) / 6) ** alpha
    beam, done = [(0.0, [])], []
    for _ in range(max_tokens):
        new = sorted(((t + l, ids + [i]) for t, ids in beam for i, l in enumerate(next_logprobs(ids))), reverse=True)
        done = sorted(done + [c for c in new[:beams] if c[1][-1] == end], reverse=True)[:beams]
        beam = [c for c in new if c[1][-1] != end][:beams]
        if beams == 1 and done:
            break
    best = (sorted(done, key=score, reverse=True) + beam)[:beams]
    return [(c[1], score(c)) for c in best]
""",
        "stops when no text of the beam is more likely than the K finished ones": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) / 6) ** alpha
    beam, done = [(0.0, [])], []
    for _ in range(max_tokens):
        new = sorted(((t + l, ids + [i]) for t, ids in beam for i, l in enumerate(next_logprobs(ids))), reverse=True)
        done += [c for c in new[:beams] if c[1][-1] == end]
        beam = [c for c in new if c[1][-1] != end][:beams]
        if beams == 1 and done or len(done) >= beams and beam[0][0] < sorted(done)[-beams][0]:
            break
    best = (sorted(done, key=score, reverse=True) + beam)[:beams]
    return [(c[1], score(c)) for c in best]
""",
        "drops texts below a log-probability of -100": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) / 6) ** alpha
    beam, done = [(0.0, [])], []
    for _ in range(max_tokens):
        new = sorted(((t + l, ids + [i]) for t, ids in beam for i, l in enumerate(next_logprobs(ids))), reverse=True)
        new = [c for c in new if c[0] > -100]
        done += [c for c in new[:beams] if c[1][-1] == end]
        beam = [c for c in new if c[1][-1] != end][:beams]
        if beams == 1 and done:
            break
    best = (sorted(done, key=score, reverse=True) + beam)[:beams]
    return [(c[1], score(c)) for c in best]
""",
        "texts kept as strings of digits": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) / 6) ** alpha
    beam, done = [(0.0, "")], []
    for _ in range(max_tokens):
        new = [(t + l, s + str(i)) for t, s in beam for i, l in enumerate(next_logprobs([int(c) for c in s]))]
        new.sort(reverse=True)
        done += [c for c in new[:beams] if c[1].endswith(str(end))]
        beam = [c for c in new if not c[1].endswith(str(end))][:beams]
        if beams == 1 and done:
            break
    best = (sorted(done, key=score, reverse=True) + beam)[:beams]
    return [([int(d) for d in c[1]], score(c)) for c in best]
""",
        "K results even if there are fewer texts": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) / 6) ** alpha
    beam, done = [(0.0, [])], []
    for _ in range(max_tokens):
        new = sorted(((t + l, ids + [i]) for t, ids in beam for i, l in enumerate(next_logprobs(ids))), reverse=True)
        done += [c for c in new[:beams] if c[1][-1] == end]
        beam = [c for c in new if c[1][-1] != end][:beams]
        if beams == 1 and done:
            break
    best = sorted(done, key=score, reverse=True) + beam
    best += [best[-1]] * (beams - len(best))
    return [(c[1], score(c)) for c in best[:beams]]
""",
        "whole-number division in the length penalty": """
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    score = lambda c: c[0] / ((5 + len(c[1])) // 6) ** alpha
    beam, done = [(0.0, [])], []
    for _ in range(max_tokens):
        new = sorted(((t + l, ids + [i]) for t, ids in beam for i, l in enumerate(next_logprobs(ids))), reverse=True)
        done += [c for c in new[:beams] if c[1][-1] == end]
        beam = [c for c in new if c[1][-1] != end][:beams]
        if beams == 1 and done:
            break
    best = (sorted(done, key=score, reverse=True) + beam)[:beams]
    return [(c[1], score(c)) for c in best]
""",
    },
    "beams_lose": {
        "two beams miss the best text by 0.015 only": """
import torch
def beams_lose():
    third = torch.tensor([0.4, 0.35, 0.25]), torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.4, 0.0], [0.0, 0.9, 0.1]])
    return third
""",
        "a row that sums to 0.99": """
import torch
def beams_lose():
    return torch.tensor([0.4, 0.35, 0.25]), torch.tensor([[0.33, 0.33, 0.33], [0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
""",
    },
}

RIGHT = {
    "temperature": {
        "logsumexp in float64": """
import torch
def temperature(logits, t):
    scaled = logits.double() / t
    return (scaled - torch.logsumexp(scaled, 1, keepdim=True)).exp()
""",
        "NumPy and back": """
import numpy as np, torch
def temperature(logits, t):
    z = np.array(logits.tolist()) / t
    z = np.exp(z - z.max(1)[:, None])
    return torch.tensor(z / z.sum(1)[:, None])
""",
    },
    "min_p": {
        "by log-probabilities": """
import math
def min_p(logits, p):
    logp = logits.log_softmax(-1)
    far = logp - logp.max(-1, keepdim=True).values < math.log(p)
    logp = logp.masked_fill(far, -math.inf)
    return (logp - logp.logsumexp(-1, keepdim=True)).exp()
""",
        "sorted, then scattered": """
import torch
def min_p(logits, p):
    q, order = logits.double().softmax(-1).sort(descending=True)
    q = torch.where(q / q[:, :1] >= p, q, 0.0)
    return torch.empty_like(q).scatter_(-1, order, q / q.sum(-1, keepdim=True))
""",
    },
    "top_p": {
        "a heap and a loop": """
import heapq, torch
def top_p(logits, p):
    out = torch.zeros(logits.shape)
    for b, row in enumerate(logits.softmax(-1).tolist()):
        heap, total = [(-q, i) for i, q in enumerate(row)], 0.0
        heapq.heapify(heap)
        while total < p and heap:
            q, i = heapq.heappop(heap)
            out[b, i] = -q
            total -= q
        out[b] /= total
    return out
""",
        "searchsorted": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(descending=True, stable=True)
    n = torch.searchsorted(q.cumsum(-1), torch.full((len(q), 1), p)) + 1
    q = q.where(torch.arange(q.size(-1)) < n, torch.tensor(0.0))
    return torch.zeros_like(q).index_put((torch.arange(len(q))[:, None], order), q / q.sum(-1, keepdim=True))
""",
    },
    "cached_attention": {
        "grouped by token, results as lists": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    old_k, old_v = cache or (torch.zeros(0, len(w_k)), torch.zeros(0, len(w_v)))
    S = old_k.shape[0]
    h = torch.stack([row + positions[S + i] for i, row in enumerate(x)])
    k, v = torch.vstack([old_k, h @ w_k.T]), torch.vstack([old_v, h @ w_v.T])
    out = [((h[i] @ w_q.T) @ k[: S + i + 1].T / k.shape[1] ** 0.5).softmax(0) @ v[: S + i + 1] for i in range(len(x))]
    return [torch.stack(out), [k, v]]
""",
        "zip of past and present, additive mask": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    S = len(cache[0]) if cache else 0
    h = x + positions.narrow(0, S, x.shape[0])
    new = h @ w_k.mT, h @ w_v.mT
    k, v = new if not cache else (torch.cat(pair) for pair in zip(cache, new))
    mask = torch.full((len(x), len(k)), float("-inf")).triu(1 + S)
    return torch.softmax(h @ w_q.mT @ k.mT * k.shape[-1] ** -0.5 + mask, 1) @ v, (k, v)
""",
    },
    "beam_search": {
        "a dataclass, heapq": """
import heapq
from dataclasses import dataclass
@dataclass(frozen=True)
class Text:
    tokens: tuple = ()
    logprob: float = 0.0
    def score(self, alpha): return self.logprob / ((5 + len(self.tokens)) / 6) ** alpha
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    beam, done = [Text()], []
    for _ in range(max_tokens):
        following = [(t, enumerate(next_logprobs(list(t.tokens)))) for t in beam]
        cand = [Text((*t.tokens, i), t.logprob + float(x)) for t, logprobs in following for i, x in logprobs]
        cand = heapq.nlargest(len(cand), cand, key=lambda t: t.logprob)
        done += [t for t in cand[:beams] if t.tokens[-1] == end]
        beam = [t for t in cand if t.tokens[-1] != end][:beams]
        if not beam or beams == 1 and done: break
    key = lambda t: -t.score(alpha)
    best = (sorted(done, key=key) + (sorted(beam, key=key)))[:beams]
    return [(list(t.tokens), t.score(alpha)) for t in best]
""",
        "scores as zero-dimensional tensors": """
import torch
def beam_search(next_logprobs, beams, max_tokens, end, alpha):
    beam, done = {(): torch.tensor(0.0)}, {}
    for _ in range(max_tokens):
        new = {(*ids, i): t + l for ids, t in beam.items() for i, l in enumerate(next_logprobs(list(ids)))}
        order = sorted(new, key=new.get, reverse=True)
        done |= {ids: new[ids] for ids in order[:beams] if ids[-1] == end}
        beam = {ids: new[ids] for ids in [o for o in order if o[-1] != end][:beams]}
        if beams == 1 and done:
            break
    score = {ids: t / ((5 + len(ids)) / 6) ** alpha for ids, t in {**done, **beam}.items()}
    by = lambda group: sorted(group, key=score.get, reverse=True)
    return tuple((ids, score[ids]) for ids in (by(done) + by(beam))[:beams])
""",
    },
    "beams_lose": {
        "with zeros, float64": """
import torch
def beams_lose():
    first = torch.tensor([0.3, 0.34, 0.36], dtype=torch.float64)
    return [first, torch.tensor([[1.0, 0, 0], [0.25, 0, 0.75], [0.4, 0.3, 0.3]])]
""",
    },
}

NAMED = {
    "temperature": {
        "normalized over the whole batch": """
def temperature(logits, t):
    e = (logits / t - (logits / t).max()).exp()
    return e / e.sum()
""",
        "exp without normalization": """
def temperature(logits, t):
    return (logits / t).exp()
""",
    },
    "min_p": {
        "maximum over the batch dimension": """
def min_p(logits, p):
    q = logits.softmax(-1)
    keep = q >= p * q.max(dim=0).values
    return (q * keep) / (q * keep).sum(dim=-1, keepdim=True)
""",
        "sum over the whole batch": """
def min_p(logits, p):
    q = logits.softmax(-1)
    q[q < p * q.amax(-1, keepdim=True)] = 0
    return q / q.sum()
""",
    },
    "top_p": {
        "1 - p instead of p": """
import torch
def top_p(logits, p):
    q, order = logits.softmax(-1).sort(descending=True, stable=True)
    keep = q.cumsum(-1) - q < 1 - p
    return torch.zeros_like(q).scatter(-1, order, q * keep / (q * keep).sum(-1, keepdim=True))
""",
    },
    "cached_attention": {
        "no positions": """
import torch
def cached_attention(x, positions, w_q, w_k, w_v, cache=None):
    q, k, v = x @ w_q.T, x @ w_k.T, x @ w_v.T
    S = 0 if cache is None else len(cache[0])
    if cache is not None:
        k, v = torch.cat([cache[0], k]), torch.cat([cache[1], v])
    mask = torch.ones(len(x), len(k)).triu(S + 1).bool()
    return (q @ k.T / k.size(1) ** 0.5).masked_fill(mask, float("-inf")).softmax(-1) @ v, (k, v)
""",
    },
}
