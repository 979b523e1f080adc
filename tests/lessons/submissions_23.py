"""Judged solutions of lesson 23; see test_wrong_and_right.py."""

WRONG = {
    "finish_times": {
        "a batch begins one step after the last": """
def finish_times(arrivals, lengths, n_slots, static):
    import heapq
    if not static:
        free, ends = [0] * n_slots, []
        for a, length in zip(arrivals, lengths):
            ends.append(max(a, heapq.heappop(free)) + length)
            heapq.heappush(free, ends[-1])
        return ends
    ends, t, i = [], 0, 0
    while i < len(arrivals):
        t = max(t, arrivals[i])
        j = i
        while j < len(arrivals) and j - i < n_slots and arrivals[j] <= t:
            ends.append(t + lengths[j])
            j += 1
        t, i = max(ends[i:j]) + 1, j
    return ends
""",
        "a batch of those that arrived before its start": """
def finish_times(arrivals, lengths, n_slots, static):
    ends = []
    if static:
        t = 0
        while len(ends) < len(arrivals):
            i = len(ends)
            t = max(t, arrivals[i])
            batch = [i] + [j for j in range(i + 1, min(i + n_slots, len(arrivals))) if arrivals[j] < t]
            ends += [t + lengths[j] for j in batch]
            t = max(ends[i:])
        return ends
    for i, (a, length) in enumerate(zip(arrivals, lengths)):
        ends.append(max([a] + sorted(ends)[-n_slots:][:1] * (i >= n_slots)) + length)
    return ends
""",
        "step by step": """
def finish_times(arrivals, lengths, n_slots, static):
    ends, running, t = [], [], 0
    while len(ends) < len(arrivals):
        running = [end for end in running if end > t]
        room = 0 if static and running else n_slots - len(running)
        while room and len(ends) < len(arrivals) and arrivals[len(ends)] <= t:
            ends.append(t + lengths[len(ends)])
            running.append(ends[-1])
            room -= 1
        t += 1
    return ends
""",
    },
    "page_tables": {
        "the texts are modified": """
def page_tables(texts, s):
    known, tables, n = {}, [], 0
    for text in texts:
        table, prefix = [], ()
        while text:
            page, text[:] = tuple(text[:s]), text[s:]
            prefix += page
            if len(page) < s or prefix not in known:
                if len(page) == s:
                    known[prefix] = n
                table.append(n)
                n += 1
            else:
                table.append(known[prefix])
        tables.append(table)
    return tables
""",
        "tokens run together": """
def page_tables(texts, s):
    known, tables, n = {}, [], 0
    for text in texts:
        table = []
        for i in range(0, len(text), s):
            name = "".join(map(str, text[: i + s]))
            if i + s > len(text) or name not in known:
                if i + s <= len(text):
                    known[name] = n
                table.append(n)
                n += 1
            else:
                table.append(known[name])
        tables.append(table)
    return tables
""",
        "a page that is not whole is remembered": """
def page_tables(texts, s):
    known, tables, n = {}, [], 0
    for text in texts:
        table = []
        for i in range(0, len(text), s):
            name = tuple(text[: i + s])
            if name not in known:
                known[name] = n
                n += 1
            table.append(known[name])
        tables.append(table)
    return tables
""",
    },
    "verify": {
        "a tie is accepted": """
def verify(p, q, proposed, u):
    def draw(w, x):
        sums = w.double().cumsum(0)
        return int((sums <= x * sums[-1]).sum())
    for i, t in enumerate(proposed):
        if u[i] * q[i, t].item() > p[i, t].item():
            return [*proposed[:i], draw((p[i] - q[i]).clamp(min=0), u[i + 1])]
    return [*proposed, draw(p[-1], u[-1])]
""",
        "the boundary belongs to the left": """
def verify(p, q, proposed, u):
    def draw(w, x):
        sums = w.double().cumsum(0)
        return int((sums < x * sums[-1]).sum())
    for i, t in enumerate(proposed):
        if u[i] * q[i, t].item() >= p[i, t].item():
            return [*proposed[:i], draw((p[i] - q[i]).clamp(min=0), u[i + 1])]
    return [*proposed, draw(p[-1], u[-1])]
""",
        "always the last number": """
def verify(p, q, proposed, u):
    def draw(w, x):
        sums = w.double().cumsum(0)
        return int((sums <= x * sums[-1]).sum())
    for i, t in enumerate(proposed):
        if u[i] * q[i, t].item() >= p[i, t].item():
            return [*proposed[:i], draw((p[i] - q[i]).clamp(min=0), u[-1])]
    return [*proposed, draw(p[-1], u[-1])]
""",
    },
    "quantize_groups": {
        "floats": """
import torch
from torch.nn import functional as F
def quantize_groups(weight, g):
    x = F.pad(weight, (0, -weight.shape[1] % g)).reshape(len(weight), -1, g)
    scale = x.abs().amax(2) / 7
    z = (x / scale.where(scale > 0, torch.ones_like(scale))[..., None]).round()
    return z.reshape(len(weight), -1)[:, : weight.shape[1]], scale
""",
        "the padding takes the last weight's place": """
import torch
from torch.nn import functional as F
def quantize_groups(weight, g):
    x = F.pad(weight, (-weight.shape[1] % g, 0)).reshape(len(weight), -1, g)
    scale = x.abs().amax(2) / 7
    z = (x / scale.where(scale > 0, torch.ones_like(scale))[..., None]).round().to(torch.int8)
    return z.reshape(len(weight), -1)[:, -weight.shape[1] :], scale
""",
        "the reciprocal": """
import torch
from torch.nn import functional as F
def quantize_groups(weight, g):
    x = F.pad(weight, (0, -weight.shape[1] % g)).reshape(len(weight), -1, g)
    scale = 7 / x.abs().amax(2).clamp(min=1e-30)
    z = (x * scale[..., None]).round().to(torch.int8)
    return z.reshape(len(weight), -1)[:, : weight.shape[1]], scale
""",
    },
    "allowed_tokens": {
        "circles are walked forever": """
def allowed_tokens(tokens, automaton, accepting, state, left):
    def near(at, n):
        return at in accepting or n > 0 and any(near(b, n - 1) for b in automaton[at].values() if b != at)
    out = []
    for token in tokens:
        at = state
        for byte in token:
            at = automaton[at].get(byte) if at is not None else None
        out.append(state in accepting if not token else at is not None and near(at, left))
    return out
""",
        "the end needs a byte": """
def allowed_tokens(tokens, automaton, accepting, state, left):
    distance = {a: 0 for a in accepting}
    for _ in automaton:
        for a, steps in automaton.items():
            for b in steps.values():
                if b in distance and distance[b] + 1 < distance.get(a, 10**9):
                    distance[a] = distance[b] + 1
    out = []
    for token in tokens:
        at = state
        for byte in token:
            at = automaton.get(at, {}).get(byte)
        out.append(state in accepting and left >= 1 if not token else distance.get(at, 10**9) <= left)
    return out
""",
        "states are 0, 1, 2, …": """
def allowed_tokens(tokens, automaton, accepting, state, left):
    distance = [0 if a in accepting else 10**9 for a in range(len(automaton))]
    for _ in automaton:
        for a in range(len(automaton)):
            for b in automaton[a].values():
                distance[a] = min(distance[a], distance[b] + 1)
    out = []
    for token in tokens:
        at = state
        for byte in token:
            at = automaton[at].get(byte) if at is not None else None
        out.append(state in accepting if not token else at is not None and distance[at] <= left)
    return out
""",
    },
    "misled_by_a_mask": {
        "just not enough": """
def misled_by_a_mask():
    return [0.9, 0.1], [0.0125, 1.0]
""",
        "counts": """
def misled_by_a_mask():
    return [90, 10], [0.01, 1.0]
""",
    },
}

RIGHT = {
    "finish_times": {
        "a list of slots": """
def finish_times(arrivals, lengths, n_slots, static):
    slots, ends, batch = [0] * n_slots, [], 0
    for a, length in zip(arrivals, lengths):
        if static:
            if batch == n_slots or not ends or a > start:
                start, batch = max(a, max(ends, default=0)), 0
            ends.append(start + length)
            batch += 1
        else:
            i = min(range(n_slots), key=slots.__getitem__)
            slots[i] = max(slots[i], a) + length
            ends.append(slots[i])
    return ends
""",
    },
    "page_tables": {
        "a tree": """
def page_tables(texts, s):
    root, tables, n = {}, [], 0
    for text in texts:
        node, table = root, []
        for i in range(0, len(text), s):
            page = tuple(text[i : i + s])
            if len(page) < s:
                table.append(n)
                n += 1
            else:
                if page not in node:
                    node[page] = (n, {})
                    n += 1
                table.append(node[page][0])
                node = node[page][1]
        tables.append(table)
    return tables
""",
    },
    "verify": {
        "bisect": """
from bisect import bisect_right
from itertools import accumulate
def verify(p, q, proposed, u):
    p, q, u = p.tolist(), q.tolist(), iter(u)
    text, weights = [], p[len(proposed)]
    for i, token in enumerate(proposed):
        if next(u) * q[i][token] >= p[i][token]:
            weights = [max(0, a - b) for a, b in zip(p[i], q[i])]
            break
        text.append(token)
    sums = list(accumulate(weights))
    return text + [bisect_right(sums, next(u) * sums[-1])]
""",
    },
    "quantize_groups": {
        "a scale for each weight": """
import torch
def quantize_groups(weight, g):
    columns = range(0, weight.shape[1], g)
    scale = torch.stack([weight[:, i : i + g].abs().amax(1) for i in columns], 1) / 7
    each = scale.repeat_interleave(g, 1)[:, : weight.shape[1]]
    z = torch.where(each > 0, weight / each, torch.zeros_like(weight))
    return torch.round(z).to(torch.int8), scale
""",
    },
    "allowed_tokens": {
        "sets of states that are near enough": """
def allowed_tokens(tokens, automaton, accepting, state, left):
    near = set(accepting) if left >= 0 else set()
    for _ in range(min(max(left, 0), len(automaton))):
        near |= {a for a, steps in automaton.items() if near & set(steps.values())}
    out = []
    for token in tokens:
        at = state
        for byte in token:
            at = automaton.get(at, {}).get(byte)
        out.append(at in near if token else state in accepting)
    return out
""",
    },
    "misled_by_a_mask": {
        "five tokens": """
def misled_by_a_mask():
    return [0.92, 0.02, 0.02, 0.02, 0.02], [0.001, 0.9, 0.9, 1, 1]
""",
    },
}

NAMED = {
    "page_tables": {
        "equal tokens are enough": """
def page_tables(texts, s):
    known, tables, n = {}, [], 0
    for text in texts:
        table = []
        for i in range(0, len(text), s):
            page = tuple(text[i : i + s])
            if len(page) == s and page in known:
                table.append(known[page])
                continue
            if len(page) == s:
                known[page] = n
            table.append(n)
            n += 1
        tables.append(table)
    return tables
""",
        "one page before is enough": """
def page_tables(texts, s):
    known, tables, n = {}, [], 0
    for text in texts:
        table, before = [], ()
        for i in range(0, len(text), s):
            page = tuple(text[i : i + s])
            if (before, page) in known and len(page) == s:
                table.append(known[before, page])
            else:
                known[before, page] = n
                table.append(n)
                n += 1
            before = page
        tables.append(table)
    return tables
""",
    },
    "verify": {
        "after a rejection from p": """
def verify(p, q, proposed, u):
    def draw(w, x):
        sums = w.double().cumsum(0)
        return int((sums <= x * sums[-1]).sum())
    for i, t in enumerate(proposed):
        if u[i] >= min(1, p[i, t].item() / q[i, t].item()):
            return proposed[:i] + [draw(p[i], u[i + 1])]
    return proposed + [draw(p[-1], u[-1])]
""",
    },
}
