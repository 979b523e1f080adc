"""The checks of lesson 23, and the known mistakes."""

import heapq
import math
from functools import cache
from itertools import count
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.machinery.exercises import Case, Exercise, Misconception, WrittenAnswer

# 1. finish_times


def schedule(arrivals: list[int], lengths: list[int], n_slots: int, static: bool) -> list[int]:
    ends: list[int] = []
    if static:
        t = 0
        while len(ends) < len(arrivals):
            first = len(ends)
            t = max(t, arrivals[first])
            candidates = range(first, min(first + n_slots, len(arrivals)))
            batch = [lengths[i] for i in candidates if arrivals[i] <= t]
            ends += [t + length for length in batch]
            t += max(batch)
        return ends
    free = [0] * n_slots  # when each slot is free, as a heap
    for arrival, length in zip(arrivals, lengths, strict=True):
        end = max(arrival, free[0]) + length
        heapq.heapreplace(free, end)
        ends.append(end)
    return ends


def schedule_by_sorting(arrivals: list[int], lengths: list[int], n_slots: int, static: bool) -> list[int]:
    """A slot is free when all but n - 1 of the earlier texts have ended; a batch, when all have."""
    ends: list[int] = []
    start = begun = 0
    for i, (arrival, length) in enumerate(zip(arrivals, lengths, strict=True)):
        if not static:
            start = max(arrival, sorted(ends)[-n_slots] if i >= n_slots else 0)
        elif i == begun + n_slots or arrival > start:
            start, begun = max(arrival, max(ends, default=0)), i
        ends.append(start + length)
    return ends


def schedule_by_events(arrivals: list[int], lengths: list[int], n_slots: int, static: bool) -> list[int]:
    """From one moment at which something happens to the next."""
    ends, running, t = [], [], 0
    while len(ends) < len(arrivals):
        running = [end for end in running if end > t]
        n_free = n_slots - len(running) if not (static and running) else 0
        while n_free and len(ends) < len(arrivals) and arrivals[len(ends)] <= t:
            ends.append(t + lengths[len(ends)])
            running.append(ends[-1])
            n_free -= 1
        if len(ends) < len(arrivals):
            t = min([time for time in (*running, arrivals[len(ends)]) if time > t])
    return ends


def schedule_wrong(late=0, slots=None, in_turn=False, static_as=None, whole=False, full=False, early=False):
    """A schedule with one thing changed."""

    def wrong(arrivals: list[int], lengths: list[int], n_slots: int, static: bool) -> list[int]:
        static = static if static_as is None else static_as
        n_slots = n_slots if slots is None else slots
        ends: list[int] = []
        if static:
            t = 0
            while len(ends) < len(arrivals):
                first = len(ends)
                last = min(first + n_slots, len(arrivals)) - 1
                t = max(t, arrivals[last if full else first])
                batch = [lengths[i] for i in range(first, last + 1) if early or arrivals[i] <= t]
                ends += [t + (max(batch) if whole else length) for length in batch]
                t += max(batch) + late
            return ends
        free = [0] * n_slots
        for i, (arrival, length) in enumerate(zip(arrivals, lengths, strict=True)):
            slot = i % n_slots if in_turn else free.index(min(free))
            end = max(arrival, free[slot]) + length
            free[slot] = end + late
            ends.append(end)
        return ends

    return wrong


def schedule_before_arrival(arrivals: list[int], lengths: list[int], n_slots: int, static: bool) -> list[int]:
    """A slot that is free takes the next request, even before it arrives."""
    if static:
        return schedule(arrivals, lengths, n_slots, static)
    ends: list[int] = []
    running: list[int] = []
    for arrival, length in zip(arrivals, lengths, strict=True):
        start = heapq.heappop(running) if len(running) == n_slots else arrival
        heapq.heappush(running, start + length)
        ends.append(start + length)
    return ends


def more_requests(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(
            f"{n} requests, {words}",
            arrivals=sorted(draw.randint(0, 3 * n) for _ in range(n)),
            lengths=[draw.randint(1, 15) for _ in range(n)],
            n_slots=draw.randint(2, 4),
            static=static,
        )
        for n, words, static in ((12, "continuous", False), (14, "static", True), (30, "continuous", False))
    ]


finish_times = Exercise(
    name="finish_times",
    asks="When is each request done, with continuous and with static batching?",
    reference=schedule,
    section="23.2",
    cases=[
        Case("three requests", arrivals=[0, 0, 1], lengths=[2, 5, 3], n_slots=2, static=False),
        Case("three requests, static", arrivals=[0, 0, 1], lengths=[2, 5, 3], n_slots=2, static=True),
        Case("one after another", arrivals=[0, 0], lengths=[3, 4], n_slots=1, static=False),
        Case("one after another, static", arrivals=[0, 0], lengths=[3, 4], n_slots=1, static=True),
        Case("arrives when a slot is free", arrivals=[0, 3], lengths=[3, 4], n_slots=1, static=False),
        Case("arrives when the batch is done", arrivals=[0, 3], lengths=[3, 4], n_slots=2, static=True),
        Case("a slot is free before", arrivals=[0, 5], lengths=[3, 4], n_slots=1, static=False),
        Case("nobody waits", arrivals=[2, 20], lengths=[3, 4], n_slots=2, static=False),
        Case("nobody waits, static", arrivals=[2, 20], lengths=[3, 4], n_slots=2, static=True),
        Case("a batch that is not full", arrivals=[1, 2, 2], lengths=[5, 1, 4], n_slots=3, static=True),
        Case("two arrive together", arrivals=[4, 4, 4], lengths=[2, 3, 1], n_slots=2, static=True),
        Case("the first one arrives late", arrivals=[5, 6], lengths=[1, 1], n_slots=3, static=False),
        Case("no requests", arrivals=[], lengths=[], n_slots=3, static=False),
        Case("no requests, static", arrivals=[], lengths=[], n_slots=3, static=True),
        Case("more slots than requests", arrivals=[0, 1, 1], lengths=[9, 8, 1], n_slots=50, static=False),
        Case("more slots than requests, static", arrivals=[0, 1, 1], lengths=[9, 8, 1], n_slots=50, static=True),
        Case("a short one overtakes", arrivals=[0, 0, 1, 2, 2], lengths=[9, 2, 1, 1, 6], n_slots=2, static=False),
        Case(
            "three batches",
            arrivals=[0, 0, 0, 1, 7, 8, 30],
            lengths=[3, 6, 2, 8, 1, 4, 2],
            n_slots=3,
            static=True,
        ),
        Case(
            "all there from the beginning, static",
            arrivals=[0] * 7,
            lengths=[3, 6, 2, 8, 1, 4, 2],
            n_slots=2,
            static=True,
        ),
        Case("very long", arrivals=[0, 10**12, 10**12], lengths=[10**12, 5, 10**11], n_slots=1, static=False),
        Case("very long, static", arrivals=[0, 1, 10**12 + 1], lengths=[10**12, 5, 10**11], n_slots=2, static=True),
    ],
    random_cases=more_requests,
    misconceptions=[
        Misconception(
            "a slot is free one step too late",
            schedule_wrong(late=1),
            "Your slots are free one step after the text in them has ended, so each costs a step that nobody uses.",
            "A text that ends at time t leaves its slot free at time t.",
            "23.2",
        ),
        Misconception(
            "nobody ever waits",
            lambda arrivals, lengths, n_slots, static: [a + b for a, b in zip(arrivals, lengths, strict=True)],
            "Your requests all start when they arrive, as if there were as many slots as requests.",
            "What if all n slots are taken?",
            "23.2",
        ),
        Misconception(
            "starts before it arrives",
            schedule_before_arrival,
            "In continuous batching, your request starts when a slot becomes free, even if it arrives only later.",
            "The start is when the slot is free or when the request arrives, whichever is later.",
            "23.2",
        ),
        Misconception(
            "one at a time",
            schedule_wrong(slots=1),
            "You run one request after the other. There are n_slots slots.",
            "In a step, each slot gets a token.",
            "23.2",
        ),
        Misconception(
            "slots in turn",
            schedule_wrong(in_turn=True),
            "You give request i slot i modulo n, so it may wait for a long text while another slot is free.",
            "Which slot is free first?",
            "23.2",
        ),
        Misconception(
            "a batch's texts are done when the batch is",
            schedule_wrong(whole=True),
            "In static batching you let every text be done when the longest one is. Its slot is taken until then, but "
            "the text itself is done earlier.",
            "The start plus the text's own length.",
            "23.2",
        ),
        Misconception(
            "a batch waits until it is full",
            schedule_wrong(full=True),
            "Your static batch begins only when n_slots requests have arrived.",
            "It begins as soon as nothing is running and one request waits.",
            "23.2",
        ),
        Misconception(
            "a batch takes requests that are not there yet",
            schedule_wrong(early=True),
            "Your static batch takes the next n_slots requests, though some of them arrive only after its start.",
            "Who has arrived at the moment when the batch begins?",
            "23.2",
        ),
        Misconception(
            "always continuous",
            schedule_wrong(static_as=False),
            "You let the next request start as soon as one slot is free, in static batching as well.",
            "A static batch is over when its longest text is.",
            "23.2",
        ),
        Misconception(
            "always static",
            schedule_wrong(static_as=True),
            "You let requests wait for the end of the whole batch, in continuous batching as well.",
            "A free slot is taken at once.",
            "23.2",
        ),
        Misconception(
            "how long it took",
            lambda arrivals, lengths, n_slots, static: [
                end - a for end, a in zip(schedule(arrivals, lengths, n_slots, static), arrivals, strict=True)
            ],
            "You returned how long each request was in the system and not the time at which it is done.",
            "Do not subtract the arrival.",
            "23.3",
        ),
        Misconception(
            "the starts",
            lambda arrivals, lengths, n_slots, static: [
                end - b for end, b in zip(schedule(arrivals, lengths, n_slots, static), lengths, strict=True)
            ],
            "You returned when each request gets its slot.",
            "Add its length.",
            "23.2",
        ),
    ],
    accepted={"the n-th last end": schedule_by_sorting, "event by event": schedule_by_events},
    hints=[
        "Continuous: keep for each slot the time at which it is free. Static: keep the time at which a batch is over.",
        "Continuous: the next request takes the slot with the smallest time, and starts at that time or when it "
        "arrives, whichever is later.",
        "Static: t = max(t, arrivals[i]); the batch is i and those after it with arrivals <= t, at most n_slots; then "
        "t grows by the largest of their lengths.",
    ],
)


# 2. page_tables


def tables_by_prefix(texts: list[list[int]], s: int) -> list[list[int]]:
    known: dict[tuple[int, ...], int] = {}  # a text up to the end of a whole page → the page
    tables, n_pages = [], 0
    for text in texts:
        table = []
        for start in range(0, len(text), s):
            prefix = tuple(text[: start + s])
            page = known.get(prefix)
            if page is None:
                page = n_pages
                n_pages += 1
                if start + s <= len(text):
                    known[prefix] = page
            table.append(page)
        tables.append(table)
    return tables


def tables_by_chain(texts: list[list[int]], s: int) -> list[list[int]]:
    """A page is known by its tokens and the page before it."""
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    tables, fresh = [], count()
    for text in texts:
        table: list[int] = []
        for start in range(0, len(text), s):
            key = (table[-1] if table else -1, tuple(text[start : start + s]))
            if len(key[1]) < s:
                table.append(next(fresh))
                continue
            if key not in known:
                known[key] = next(fresh)
            table.append(known[key])
        tables.append(table)
    return tables


def tables_by_comparing(texts: list[list[int]], s: int) -> list[list[int]]:
    """Look for the earlier text with the longest common prefix."""
    tables: list[list[int]] = []
    for text in texts:
        best: list[int] = []
        for earlier, table in zip(texts, tables, strict=False):
            common = 0
            while common < min(len(text), len(earlier)) and text[common] == earlier[common]:
                common += 1
            best = max(best, table[: common // s], key=len)
        n = 1 + max((page for table in tables for page in table), default=-1)
        tables.append(best + list(range(n, n + -(-len(text) // s) - len(best))))
    return tables


def tables_wrong(
    key=None, whole_only=True, with_last=None, with_itself=False, count_shared=False, per_text=False, cut="up"
):
    """Tables with one thing changed: what makes pages equal, who shares with whom, how they are counted."""

    def wrong(texts: list[list[int]], s: int) -> list[list[int]]:
        known: dict = {}
        tables, n_pages = [], 0
        for text in texts:
            table, new = [], {}
            n_pages = 0 if per_text else n_pages
            end = {"up": len(text), "down": len(text) // s * s, "one more": len(text) // s * s + 1}[cut]
            for start in range(0, end, s):
                tokens = tuple(text[start : start + s])
                name = key(text, start, s) if key else tuple(text[: start + s])
                page = known.get(name) if len(tokens) == s or not whole_only else None
                if page is None:
                    page = n_pages
                    n_pages += 1
                    if len(tokens) == s or not whole_only:
                        (known if with_itself else new).setdefault(name, page)
                elif count_shared:
                    n_pages += 1
                table.append(page)
            if with_last == "first":
                known = known or new
            elif with_last == "before":
                known = {tuple(text[: (i + 1) * s]): page for i, page in enumerate(table) if (i + 1) * s <= len(text)}
            elif with_last != "nobody":
                known |= {name: page for name, page in new.items() if name not in known}
            tables.append(table)
        return tables

    return wrong


def tables_with_beginnings(texts: list[list[int]], s: int) -> list[list[int]]:
    """A last page that is not whole is shared if an earlier page begins like it."""
    tables: list[list[int]] = []
    n_pages = 0
    for number, text in enumerate(texts):
        table = []
        for i, start in enumerate(range(0, len(text), s)):
            prefix = text[: start + s]
            page = None
            for earlier, pages in zip(texts[:number], tables, strict=True):
                if page is None and i < len(pages) and earlier[: len(prefix)] == prefix:
                    page = pages[i]
            if page is None:
                page, n_pages = n_pages, n_pages + 1
            table.append(page)
        tables.append(table)
    return tables


def more_texts(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for s in (2, 3, 4):
        beginnings = [[draw.randint(1, 2) for _ in range(3 * s)] for _ in range(2)]
        texts = []
        for _ in range(7):
            own = [draw.randint(1, 2) for _ in range(draw.randint(0, 2 * s))]
            texts.append(draw.choice(beginnings)[: draw.randint(0, 3 * s)] + own)
        cases.append(Case(f"pages of {s}", texts=texts, s=s))
    return cases


page_tables = Exercise(
    name="page_tables",
    asks="Give each text its page table; whole pages with the same beginning are shared.",
    reference=tables_by_prefix,
    section="23.5",
    cases=[
        Case("four texts", texts=[[5, 6, 7, 8], [5, 6, 7, 9], [7, 8], [5, 6, 7]], s=2),
        Case("one text", texts=[[1, 2, 3, 4, 5]], s=2),
        Case("a whole number of pages", texts=[[1, 2, 3, 4]], s=2),
        Case("nothing in common", texts=[[1, 2, 3], [4, 5, 6]], s=2),
        Case("twice the same", texts=[[1, 2, 3, 4], [1, 2, 3, 4]], s=2),
        Case("twice the same, not whole", texts=[[1, 2, 3], [1, 2, 3]], s=2),
        Case("the same tokens at another place", texts=[[1, 2, 3, 4], [3, 4]], s=2),
        Case("the same place, another beginning", texts=[[1, 2, 3, 4], [9, 9, 3, 4]], s=2),
        Case("another beginning, two pages before", texts=[[1, 2, 3, 4, 5, 6], [9, 9, 3, 4, 5, 6]], s=2),
        Case("twice in one text", texts=[[1, 2, 1, 2, 1, 2]], s=2),
        Case("the beginning of a page", texts=[[1, 2, 3, 4], [1, 2, 3]], s=4),
        Case("as long as a page", texts=[[1, 2, 3], [1, 2, 3, 4]], s=3),
        Case("with the text before the last", texts=[[1, 2], [3, 4], [1, 2]], s=2),
        Case("with the second", texts=[[3, 4], [1, 2, 5, 6], [1, 2, 5, 6, 7]], s=2),
        Case("some from one, some from another", texts=[[1, 2, 3, 4], [1, 2, 5, 6], [1, 2, 5, 6, 3, 4]], s=2),
        Case("new ones after shared ones", texts=[[1, 2, 3], [1, 2, 4], [1, 2, 5], [8]], s=2),
        Case("pages of one token", texts=[[1, 2, 3], [1, 2, 4], [2]], s=1),
        Case("pages longer than all texts", texts=[[1, 2], [1, 2], []], s=9),
        Case("an empty text", texts=[[], [1, 2], []], s=2),
        Case("no texts", texts=[], s=4),
        Case("numbers that run together", texts=[[1, 11], [11, 1], [1, 1]], s=1),
    ],
    random_cases=more_texts,
    misconceptions=[
        Misconception(
            "nothing is shared",
            tables_wrong(with_last="nobody"),
            "Every text of yours has pages of its own, even where it begins like an earlier one.",
            "Remember the pages of earlier texts.",
            "23.5",
        ),
        Misconception(
            "equal tokens are enough",
            tables_wrong(key=lambda text, start, s: tuple(text[start : start + s])),
            "You share pages with the same tokens, whatever comes before them. But keys and values depend on "
            "everything before a token, so a text would read another text's past.",
            "What must be equal besides the tokens of the page?",
            "23.5",
            variants=(tables_wrong(key=lambda text, start, s: tuple(text[start : start + s]), with_itself=True),),
        ),
        Misconception(
            "one page before is enough",
            tables_wrong(key=lambda text, start, s: tuple(text[max(0, start - s) : start + s])),
            "You share pages with the same tokens after the same page, though the texts differ further before. Keys "
            "and values of a token depend on everything before it.",
            "All earlier pages must be equal, too.",
            "23.5",
            variants=(
                tables_wrong(key=lambda text, start, s: tuple(text[max(0, start - s) : start + s]), with_itself=True),
            ),
        ),
        Misconception(
            "equal tokens at the same place",
            tables_wrong(key=lambda text, start, s: (start, tuple(text[start : start + s]))),
            "You share pages with the same tokens at the same place, though the texts differ before it. Keys and "
            "values of a token depend on everything before it.",
            "All earlier pages must be equal, too.",
            "23.5",
        ),
        Misconception(
            "pages that are not whole are shared",
            tables_wrong(whole_only=False),
            "You share a last page that is not whole. As soon as both texts grow, each would write its next token to "
            "the same place.",
            "Only pages of s tokens are shared.",
            "23.5",
            variants=(tables_with_beginnings,),
        ),
        Misconception(
            "shared only with the text before",
            tables_wrong(with_last="before"),
            "You look for known pages only in the text right before.",
            "Every earlier text counts.",
            "23.5",
        ),
        Misconception(
            "shared only with the first text",
            tables_wrong(with_last="first"),
            "You look for known pages only in the first text.",
            "Every earlier text counts.",
            "23.5",
        ),
        Misconception(
            "numbers are skipped",
            tables_wrong(count_shared=True),
            "You count a page as new, even where the table gets an old one, so numbers are left out and memory with "
            "them.",
            "Only new pages take a new number.",
            "23.5",
        ),
        Misconception(
            "each text counts from 0",
            tables_wrong(per_text=True, with_last="nobody"),
            "The pages of each of your texts begin with number 0 again, so all texts would write to the same memory.",
            "The numbers are those of pages in one memory.",
            "23.4",
        ),
        Misconception(
            "the last tokens have no page",
            tables_wrong(cut="down"),
            "You left out the last page where it is not whole; its tokens have no place.",
            "Round up.",
            "23.4",
        ),
        Misconception(
            "an empty page at the end",
            tables_wrong(cut="one more"),
            "You added a page where the text fills its pages exactly. It would be taken only with the next token.",
            "A text of 2s tokens has two pages.",
            "23.4",
        ),
    ],
    accepted={"a chain of pages": tables_by_chain, "the longest common prefix": tables_by_comparing},
    hints=[
        "A dictionary from what must be equal to the number of the page.",
        "What must be equal is the whole text up to the end of the page: tuple(text[: end]).",
        "For each start in range(0, len(text), s): if start + s <= len(text) and tuple(text[: start + s]) is known, "
        "take that page; else a new number, remembered only if the page is whole.",
    ],
)


# 3. verify


def draw_token(weights: Tensor, x: float) -> int:
    sums = weights.double().cumsum(dim=0)
    return int((sums <= x * sums[-1]).sum())


def speculate(p: Tensor, q: Tensor, proposed: list[int], u: list[float]) -> list[int]:
    for i, token in enumerate(proposed):
        if u[i] * float(q[i, token]) >= float(p[i, token]):
            return [*proposed[:i], draw_token((p[i] - q[i]).clamp(min=0), u[i + 1])]
    return [*proposed, draw_token(p[-1], u[-1])]


def speculate_in_python(p: Tensor, q: Tensor, proposed: list[int], u: list[float]) -> list[int]:
    result: list[int] = []
    weights = None
    for i, token in enumerate(proposed):
        if u[i] * q[i][token].item() < p[i][token].item():
            result.append(token)
        else:
            weights = [max(a - b, 0.0) for a, b in zip(p[i].tolist(), q[i].tolist(), strict=True)]
            break
    x = u[len(result) + (weights is not None)]
    weights = p[len(proposed)].tolist() if weights is None else weights
    total, running = sum(weights), 0.0
    for token, weight in enumerate(weights):
        running += weight
        if running > x * total:
            return [*result, token]
    raise AssertionError


def speculate_at_once(p: Tensor, q: Tensor, proposed: list[int], u: list[float]) -> list[int]:
    """All decisions at once, then the first rejection."""
    k, index = len(proposed), torch.tensor(proposed, dtype=torch.long)
    rows = torch.arange(k)
    rejected = torch.tensor(u[:k], dtype=torch.float64) * q.double()[rows, index] >= p.double()[rows, index]
    n = int(rejected.long().argmax()) if bool(rejected.any()) else k
    weights = p[n].double() - (q[n].double() if n < k else 0)
    sums = weights.clamp(min=0).cumsum(dim=0)
    x = torch.tensor([u[min(n + 1, k)]], dtype=torch.float64)
    return [*proposed[:n], int(torch.searchsorted(sums / sums[-1], x, right=True))]


def speculate_wrong(
    accept=lambda u, p, q: u * q < p,
    rest=lambda p, q: (p - q).clamp(min=0),
    number=1,
    bonus=True,
    replaced=True,
    choose=draw_token,
    last=-1,
    row=0,
):
    """Speculation with one thing changed."""

    def wrong(p: Tensor, q: Tensor, proposed: list[int], u: list[float]) -> list[int]:
        for i, token in enumerate(proposed):
            if not accept(u[i], float(p[i, token]), float(q[i, token])):
                weights = rest(p[i + row], q[i])
                return [*proposed[:i], choose(weights, u[i + number])] if replaced else proposed[:i]
        return [*proposed, choose(p[last if proposed else -1], u[-1])] if bonus else list(proposed)

    return wrong


def goes_on(p: Tensor, q: Tensor, proposed: list[int], u: list[float]) -> list[int]:
    """The tokens after a rejection are checked as well."""
    result = []
    for i, token in enumerate(proposed):
        if u[i] * float(q[i, token]) < float(p[i, token]):
            result.append(token)
        else:
            result.append(draw_token((p[i] - q[i]).clamp(min=0), u[i + 1]))
    return [*result, draw_token(p[-1], u[-1])]


def without_normalizing(weights: Tensor, x: float) -> int:
    return min(int((weights.double().cumsum(dim=0) <= x).sum()), len(weights) - 1)


def rows(*values: list[float]) -> Tensor:
    """Distributions, one in each row."""
    return torch.tensor(values)


def drawn_distributions(n: int, V: int, draw: Random) -> Tensor:
    """Distributions whose numbers are multiples of 1/64, so that sums are exact: (n, V)."""
    result = []
    for _ in range(n):
        cuts = sorted(draw.sample(range(1, 64), V - 1))
        result.append([(b - a) / 64 for a, b in zip([0, *cuts], [*cuts, 64], strict=True)])
    return torch.tensor(result)


def drawn_numbers(n: int, draw: Random) -> list[float]:
    """Random numbers that are no near ties of multiples of 1/64."""
    return [(draw.randint(0, 996) + 0.5) / 997 for _ in range(n)]


def speculation(k: int, V: int, seed: int, name: str = "", double: bool = False) -> Case:
    """A random case."""
    draw = Random(seed)
    p, q = drawn_distributions(k + 1, V, draw), drawn_distributions(k, V, draw) if k else torch.zeros(0, V)
    proposed = [draw.choices(range(V), row)[0] for row in q.tolist()]
    u = drawn_numbers(k + 1, draw)
    if double:
        p, q = p.double(), q.double()
    return Case(name or f"{k} drafted, {V} tokens", p=p, q=q, proposed=proposed, u=u)


def more_speculation(seed: int) -> list[Case]:
    return [speculation(k, V, seed % 100_000 + 7 * k + V) for k, V in ((1, 3), (2, 4), (3, 5), (5, 3), (4, 8), (0, 6))]


def many(student, p: Tensor, q: Tensor, proposed: list[int], numbers: list[list[float]]) -> list[list[int]]:
    """The same draft with many random numbers."""
    return [student(p.clone(), q.clone(), list(proposed), list(u)) for u in numbers]


verify = Exercise(
    name="verify",
    asks="Which tokens does a step of speculative decoding yield, with these random numbers?",
    reference=speculate,
    section="23.6",
    cases=[
        Case("accepted", p=rows([0.5, 0.5], [0.0, 1.0]), q=rows([0.75, 0.25]), proposed=[0], u=[0.6, 0.3]),
        Case("rejected", p=rows([0.5, 0.5], [0.0, 1.0]), q=rows([0.75, 0.25]), proposed=[0], u=[0.7, 0.3]),
        Case(
            "more likely for the large model",
            p=rows([0.75, 0.25], [0.5, 0.5]),
            q=rows([0.25, 0.75]),
            proposed=[0],
            u=[0.99, 0.6],
        ),
        Case("impossible", p=rows([0.0, 1.0], [0.5, 0.5]), q=rows([0.5, 0.5]), proposed=[0], u=[0.0, 0.0]),
        Case("nothing drafted", p=rows([0.25, 0.5, 0.25]), q=torch.zeros(0, 3), proposed=[], u=[0.5]),
        Case("drawn with 0", p=rows([0.0, 0.5, 0.5]), q=torch.zeros(0, 3), proposed=[], u=[0.0]),
        Case("drawn at a boundary", p=rows([0.25, 0.25, 0.5]), q=torch.zeros(0, 3), proposed=[], u=[0.25]),
        Case("drawn below a boundary", p=rows([0.25, 0.25, 0.5]), q=torch.zeros(0, 3), proposed=[], u=[0.24]),
        Case("drawn near 1", p=rows([0.25, 0.75, 0.0]), q=torch.zeros(0, 3), proposed=[], u=[0.999]),
        Case(
            "the rest is small",
            p=rows([0.25, 0.375, 0.375], [1.0, 0.0, 0.0]),
            q=rows([0.5, 0.25, 0.25]),
            proposed=[0],
            u=[0.9, 0.4],
        ),
        Case(
            "the rest is small, its second half",
            p=rows([0.25, 0.375, 0.375], [1.0, 0.0, 0.0]),
            q=rows([0.5, 0.25, 0.25]),
            proposed=[0],
            u=[0.9, 0.6],
        ),
        Case(
            "the first is rejected",
            p=rows([0.25, 0.75, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]),
            q=rows([0.75, 0.25, 0.0], [0.0, 0.5, 0.5]),
            proposed=[0, 1],
            u=[0.5, 0.25, 0.75],
        ),
        Case(
            "the second is rejected",
            p=rows([0.75, 0.25, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]),
            q=rows([0.75, 0.25, 0.0], [0.0, 0.75, 0.25]),
            proposed=[0, 1],
            u=[0.5, 0.5, 0.25],
        ),
        Case(
            "both accepted",
            p=rows([0.75, 0.25, 0.0], [0.0, 0.5, 0.5], [0.25, 0.5, 0.25]),
            q=rows([0.75, 0.25, 0.0], [0.0, 0.5, 0.5]),
            proposed=[0, 1],
            u=[0.9, 0.9, 0.8],
        ),
        Case("just as large", p=rows([0.25, 0.75], [1.0, 0.0]), q=rows([0.5, 0.5]), proposed=[0], u=[0.5, 0.5]),
        Case("just below", p=rows([0.25, 0.75], [1.0, 0.0]), q=rows([0.5, 0.5]), proposed=[0], u=[0.49, 0.5]),
        speculation(4, 3, 11),
        speculation(4, 3, 12),
        speculation(6, 5, 13, double=True, name="float64"),
        Case(
            "with many random numbers",
            run=many,
            p=rows([0.25, 0.5, 0.125, 0.125], [0.5, 0.25, 0.25, 0.0], [0.125, 0.125, 0.25, 0.5]),
            q=rows([0.5, 0.25, 0.25, 0.0], [0.25, 0.5, 0.125, 0.125]),
            proposed=[0, 1],
            numbers=[[(37 * i % 101) / 101, (59 * i % 103) / 103, (71 * i % 107) / 107] for i in range(1, 40)],
        ),
    ],
    random_cases=more_speculation,
    misconceptions=[
        Misconception(
            "after a rejection from p",
            speculate_wrong(rest=lambda p, q: p),
            "After a rejection you sample from p. Then tokens that the draft likes come out too often: once by being "
            "accepted, and once more from p.",
            "What must be added to min(p, q) to make p?",
            "23.7",
        ),
        Misconception(
            "after a rejection from q - p",
            speculate_wrong(rest=lambda p, q: (q - p).clamp(min=0)),
            "After a rejection you sample from max(q - p, 0): the tokens that the draft likes too much.",
            "Those that it likes too little are missing.",
            "23.6",
        ),
        Misconception(
            "the absolute difference",
            speculate_wrong(rest=lambda p, q: (p - q).abs()),
            "You sample from |p - q|, so the tokens that the draft overrates come back in.",
            "Negative differences count as 0.",
            "23.6",
        ),
        Misconception(
            "the ratio upside down",
            speculate_wrong(accept=lambda u, p, q: u * p < q),
            "You accept with probability min(1, q/p). That always accepts what the draft overrates.",
            "min(1, p/q).",
            "23.6",
        ),
        Misconception(
            "accepted with probability p",
            speculate_wrong(accept=lambda u, p, q: u < p),
            "You accept a token with probability p. But it was drafted with probability q, so it comes out with q · p.",
            "q times which number is min(p, q)?",
            "23.6",
        ),
        Misconception(
            "no luck involved",
            speculate_wrong(accept=lambda u, p, q: p >= q),
            "You accept a token if and only if p is at least q. Then a token with p below q never comes out.",
            "Compare u with p/q.",
            "23.6",
        ),
        Misconception(
            "continues after a rejection",
            goes_on,
            "You check the rest of the draft after a rejection. It continues a text that is no longer there.",
            "A rejection ends the step.",
            "23.6",
        ),
        Misconception(
            "no token in addition",
            speculate_wrong(bonus=False),
            "If all are accepted, you return only the draft. The large model has computed one distribution more, and "
            "without it a draft of k tokens yields at most k.",
            "What is p[k] for?",
            "23.6",
        ),
        Misconception(
            "nothing in its place",
            speculate_wrong(replaced=False),
            "After a rejection you return the accepted tokens only. A step may then yield nothing, and the text has "
            "the wrong distribution: what the draft never proposes never comes.",
            "Draw from the rest.",
            "23.6",
        ),
        Misconception(
            "the same random number twice",
            speculate_wrong(number=0),
            "You draw with the number that has just rejected the token. It is known to be large, so it is no longer "
            "random.",
            "u[i + 1]",
            "23.6",
        ),
        Misconception(
            "the rest is not normalized",
            speculate_wrong(choose=without_normalizing),
            "You compare the random number with sums of max(p - q, 0), which end at 1 - α and not at 1.",
            "Multiply it by the sum of the weights.",
            "23.6",
        ),
        Misconception(
            "always the most likely",
            speculate_wrong(choose=lambda weights, x: int(weights.argmax())),
            "You take the most likely token in place of a random one.",
            "Draw with the random number.",
            "23.6",
        ),
        Misconception(
            "the last distribution but one",
            speculate_wrong(last=-2),
            "If all are accepted, you draw from p[k - 1], the distribution of the last drafted token, which is there "
            "already.",
            "p[k] is that of the token after the draft.",
            "23.6",
        ),
        Misconception(
            "the wrong row of p after a rejection",
            speculate_wrong(row=1),
            "After the rejection of token i you use p[i + 1], which follows the token that is gone.",
            "p[i] - q[i]",
            "23.6",
        ),
    ],
    accepted={"plain Python": speculate_in_python, "all at once": speculate_at_once},
    forbidden={"torch.multinomial": "The random numbers are given, so that there is one right answer."},
    hints=[
        "A loop over the drafted tokens that returns at the first rejection; what comes after the loop is the case "
        "without one.",
        "Write a small function that draws a token from weights with a number: cumulative sums, and the first one "
        "above x times the last.",
        "On rejection: proposed[:i] and a draw from (p[i] - q[i]).clamp(min=0) with u[i + 1]. At the end: proposed and "
        "a draw from p[k] with u[k].",
    ],
)


# 4. quantize_groups


def groups_to_int4(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    n_out, n_in = weight.shape
    groups = F.pad(weight, (0, -n_in % g)).reshape(n_out, -1, g)  # (out, G, g)
    scale = groups.abs().amax(dim=2) / 7
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    z = (groups / divisor[:, :, None]).round().to(torch.int8)
    return z.reshape(n_out, -1)[:, :n_in], scale


def int4_by_columns(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    """Group by group."""
    parts, scales = [], []
    for part in weight.split(g, dim=1):
        scale = part.abs().max(dim=1, keepdim=True).values / 7
        parts.append((part / scale).nan_to_num(0.0).round().to(torch.int8))
        scales.append(scale)
    return torch.cat(parts, dim=1), torch.cat(scales, dim=1)


def int4_by_loops(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    """Number by number."""
    z, scales = [], []
    for row in weight.tolist():
        scale = [max(abs(w) for w in row[i : i + g]) / 7 for i in range(0, len(row), g)]
        z.append([round(w / scale[i // g]) if scale[i // g] else 0 for i, w in enumerate(row)])
        scales.append(scale)
    return torch.tensor(z, dtype=torch.int8), torch.tensor(scales, dtype=weight.dtype)


def int4_wrong(
    Q=7, size=None, largest=lambda groups: groups.abs().amax(dim=2), rounded=torch.round, low=-128, least=0.0
):
    """Quantization with one thing changed."""

    def wrong(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
        n_out, n_in = weight.shape
        g = n_in if size == "row" else g
        groups = F.pad(weight, (0, -n_in % g)).reshape(n_out, -1, g)
        scale = largest(groups) / Q
        scale = torch.where(scale != 0, scale, torch.full_like(scale, least))
        divisor = torch.where(scale != 0, scale, torch.ones_like(scale))
        z = rounded(groups / divisor[:, :, None]).clamp(low, 127).to(torch.int8)
        return z.reshape(n_out, -1)[:, :n_in], scale

    return wrong


def int4_of_matrix(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    scale = weight.abs().max() / 7
    z = (weight / scale).nan_to_num(0.0).round().to(torch.int8)
    return z, scale.expand(len(weight), -(-weight.size(1) // g)).clone()


def int4_down_columns(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    z, scale = groups_to_int4(weight.T.contiguous(), g)
    return z.T.contiguous(), scale.T.contiguous()


def int4_without_rest(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    n_in = weight.size(1) // g * g
    return groups_to_int4(weight[:, :n_in], g) if n_in else (weight[:, :0].to(torch.int8), weight[:, :0])


def int4_with_padding(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    return groups_to_int4(F.pad(weight, (0, -weight.size(1) % g)), g)


def int4_alternating(weight: Tensor, g: int) -> tuple[Tensor, Tensor]:
    """A group is every G-th weight."""
    n_out, n_in = weight.shape
    n_groups = -(-n_in // g)
    groups = F.pad(weight, (0, -n_in % g)).reshape(n_out, -1, n_groups)
    scale = groups.abs().amax(dim=1) / 7
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    z = (groups / divisor[:, None]).round().to(torch.int8)
    return z.reshape(n_out, -1)[:, :n_in], scale


def normal(n_out: int, n_in: int, seed: int, double: bool = False) -> Tensor:
    """A matrix of normal numbers."""
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weight if double else weight.float()


def restored(student, weight: Tensor, g: int) -> Tensor:
    """The matrix that one gets back."""
    z, scale = student(weight, g)
    return z.to(weight.dtype) * scale.repeat_interleave(g, dim=1)[:, : weight.size(1)]


def zeros_in(weight: Tensor, start: int, end: int) -> Tensor:
    """The matrix with some columns set to 0."""
    weight[:, start:end] = 0.0
    return weight


def more_matrices(seed: int) -> list[Case]:
    draw = Random(seed)
    return [
        Case(f"{n_out} × {n_in}, groups of {g}", weight=normal(n_out, n_in, seed % 10_000 + g), g=g)
        for n_out, n_in, g in ((2, draw.choice((6, 8)), 2), (3, draw.choice((9, 10, 11)), 4), (1, 7, 3))
    ]


quantize_groups = Exercise(
    name="quantize_groups",
    asks="Round a matrix to four bits, with a scale for each group of neighbors in a row.",
    reference=groups_to_int4,
    section="23.8",
    cases=[
        Case("one row", weight=torch.tensor([[0.7, -0.1, 3.5, 0.0]]), g=2),
        Case("whole numbers", weight=torch.tensor([[7.0, -3.0, 2.0], [14.0, 6.0, -2.0]]), g=3),
        Case("the largest is negative", weight=torch.tensor([[-7.0, 3.0, 1.0, -14.0]]), g=2),
        Case("two rows, two groups", weight=torch.tensor([[7.0, 1.0, 70.0, 20.0], [0.7, 0.3, -2.1, 0.6]]), g=2),
        Case("all negative", weight=torch.tensor([[-1.0, -2.0, -4.0, -7.0]]), g=4),
        Case("a short last group", weight=torch.tensor([[7.0, 2.0, 21.0, 4.0, 1.4]]), g=2),
        Case("groups longer than the row", weight=torch.tensor([[7.0, 2.0, -3.0]]), g=8),
        Case("a group of zeros", weight=torch.tensor([[0.0, 0.0, 7.0, 2.0]]), g=2),
        Case("only zeros", weight=torch.zeros(2, 3), g=2),
        Case("groups of one", weight=torch.tensor([[3.0, -0.5, 0.0]]), g=1),
        Case("one number", weight=torch.tensor([[-2.0]]), g=4),
        Case("rounded, not cut off", weight=torch.tensor([[7.0, 1.75, -1.75, 0.625, -6.75, 2.25]]), g=6),
        Case("normal numbers", weight=normal(4, 12, 1), g=4),
        Case("normal numbers, a short last group", weight=normal(3, 10, 2), g=4),
        Case("float64", weight=normal(2, 6, 3, double=True), g=3),
        Case("transposed", weight=normal(8, 3, 4).T, g=4),
        Case("tiny weights", weight=1e-6 * normal(2, 8, 5), g=4),
        Case("what you get back", run=restored, weight=zeros_in(normal(2, 9, 6), 4, 8), g=4),
    ],
    random_cases=more_matrices,
    misconceptions=[
        Misconception(
            "one scale for each row",
            int4_wrong(size="row"),
            "You have one scale for each row. Its largest weight decides how coarse all the others are.",
            "One scale for each group of g neighbors.",
            "23.8",
        ),
        Misconception(
            "one scale for the matrix",
            int4_of_matrix,
            "You have one scale for the whole matrix, repeated for each group.",
            "The largest absolute value of each group.",
            "23.8",
        ),
        Misconception(
            "groups run down the columns",
            int4_down_columns,
            "Your groups are neighbors in a column. They must be neighbors in a row, which are multiplied with one "
            "vector.",
            "Cut the last dimension.",
            "23.8",
        ),
        Misconception(
            "a group is every G-th weight",
            int4_alternating,
            "Your groups are made of weights that are G apart: you split the row into (g, G) and not into (G, g).",
            "Neighbors: view(out, G, g).",
            "23.8",
        ),
        Misconception(
            "divided by 8",
            int4_wrong(Q=8),
            "You divided by 8. Then the largest weight becomes 8 or -8, and 8 does not fit into four bits with a sign.",
            "From -7 to 7.",
            "23.8",
            variants=(
                lambda weight, g: tuple(
                    x.clamp(-8, 7) if x.dtype == torch.int8 else x for x in int4_wrong(Q=8)(weight, g)
                ),
            ),
        ),
        Misconception(
            "sixteen steps on each side",
            int4_wrong(Q=15),
            "You divided by 15. Four bits have 16 values in all, for both signs.",
            "Q = 2³ - 1.",
            "23.8",
        ),
        Misconception(
            "cut off, not rounded",
            int4_wrong(rounded=torch.trunc),
            "You cut the fraction off. The error is then up to a whole scale, and all weights shrink.",
            "The nearest whole number.",
            "23.8",
            variants=(int4_wrong(rounded=torch.floor),),
        ),
        Misconception(
            "the largest, with its sign",
            int4_wrong(largest=lambda groups: groups.amax(dim=2)),
            "You took the largest weight and not the largest absolute value. A negative one may be larger.",
            "abs() comes first.",
            "23.8",
        ),
        Misconception(
            "the mean absolute value",
            int4_wrong(largest=lambda groups: groups.abs().mean(dim=2), low=-7),
            "Your scale comes from the mean absolute value. The largest weights then do not fit.",
            "The largest absolute value.",
            "23.8",
            variants=(int4_wrong(largest=lambda groups: groups.abs().mean(dim=2)),),
        ),
        Misconception(
            "the scale of zeros is not 0",
            int4_wrong(least=1e-8),
            "In a group of zeros your scale is not 0: you returned the number with which you avoided 0 / 0.",
            "Divide by something else there, but return the scale as it is.",
            "23.8",
            variants=(int4_wrong(least=1.0),),
        ),
        Misconception(
            "the rest of the row is lost",
            int4_without_rest,
            "You left out the weights after the last whole group.",
            "The last group of a row may have fewer weights.",
            "23.8",
        ),
        Misconception(
            "the padding is still there",
            int4_with_padding,
            "You padded the last group with zeros and returned them: z has more columns than the matrix.",
            "Cut z to the width of the matrix.",
            "23.8",
        ),
    ],
    accepted={"group by group": int4_by_columns, "number by number": int4_by_loops},
    forbidden={"torch.quantize_per_channel": "Round the weights yourself; it is three lines."},
    hints=[
        "Pad each row with zeros to a multiple of g, and view it as (out, G, g).",
        "scale = groups.abs().amax(dim=2) / 7; divide by scale[..., None]. What about groups of zeros?",
        "z = (groups / where(scale > 0, scale, 1)[..., None]).round().to(torch.int8), then back to (out, G · g), and "
        "cut to the width of the matrix.",
    ],
    rtol=1e-5,
    atol=1e-12,
)


# 5. allowed_tokens


def mask_by_distance(tokens: list, automaton: dict, accepting: set, state: int, left: int) -> list[bool]:
    distance: dict[int, int] = dict.fromkeys(accepting, 0)
    for n in range(1, len(automaton) + 1):
        for start, steps in automaton.items():
            if start not in distance and any(distance.get(end) == n - 1 for end in steps.values()):
                distance[start] = n
    allowed = []
    for token in tokens:
        at: int | None = state
        for byte in token:
            at = automaton[at].get(byte) if at is not None else None
        if not token:
            allowed.append(state in accepting)
        else:
            allowed.append(at is not None and at in distance and distance[at] <= left)
    return allowed


def mask_by_search(tokens: list, automaton: dict, accepting: set, state: int, left: int) -> list[bool]:
    """Forwards from where each token leads, layer by layer."""
    result = []
    for token in tokens:
        if token == b"":
            result.append(state in accepting)
            continue
        states, steps = {state}, 0
        for byte in token:
            states = {automaton[s][byte] for s in states if byte in automaton[s]}
        seen: set[int] = set()
        while steps <= left and states and not states & accepting:
            seen |= states
            states = {following for s in states for following in automaton[s].values()} - seen
            steps += 1
        result.append(steps <= left and bool(states & accepting))
    return result


def mask_by_recursion(tokens: list, automaton: dict, accepting: set, state: int, left: int) -> list[bool]:
    """Can it end with this many bytes?"""

    @cache
    def ends(at: int, n: int) -> bool:
        return n >= 0 and (at in accepting or any(ends(following, n - 1) for following in automaton[at].values()))

    def read(at: int, token: bytes) -> bool:
        if not token:
            return ends(at, min(left, len(automaton)))
        return token[0] in automaton[at] and read(automaton[at][token[0]], token[1:])

    return [read(state, token) if token else state in accepting for token in tokens]


def mask_wrong(end=None, complete=None, skip=False, first_only=False):
    """A mask with one thing changed: the end token, what counts as complete, how a token is read."""

    def wrong(tokens: list, automaton: dict, accepting: set, state: int, left: int) -> list[bool]:
        def distance(start: int | None) -> float:
            if start is None:
                return math.inf
            seen, border, n = {start}, {start}, 0
            while border:
                if border & accepting:
                    return n
                border = {f for s in border for f in automaton[s].values()} - seen
                seen |= border
                n += 1
            return math.inf

        allowed = []
        for token in tokens:
            at: int | None = state
            for byte in token[:1] if first_only else token:
                if at is not None:
                    at = automaton[at].get(byte, at if skip else None)
            if not token:
                allowed.append(end(state, accepting, left, distance(state)) if end else state in accepting)
            elif complete:
                allowed.append(bool(complete(at, accepting, left, distance(at), token, distance(state))))
            else:
                allowed.append(distance(at) <= left)
        return allowed

    return wrong


AB = {0: {97: 1}, 1: {98: 0, 99: 2}, 2: {}}  # (ab)*ac
LETTERS = [b"a", b"ab", b"ac", b"b", b""]
TRAP = {0: {97: 1, 98: 2}, 1: {99: 3}, 2: {99: 2, 100: 2}, 3: {}}  # after b there is no way out
NUMBERS = {0: {45: 1, 49: 2, 50: 2}, 1: {49: 2, 50: 2}, 2: {49: 2, 50: 2, 46: 3}, 3: {49: 4, 50: 4}, 4: {49: 4, 50: 4}}
DIGITS = [b"-", b"1", b"2", b".", b"12", b"1.", b".1", b"-1", b"--", b"1-", b"2.1", b"1.2.", b"", b"\xff"]


def all_states(student, tokens, automaton, accepting, lefts):
    """The masks of all states."""
    return [student(tokens, automaton, accepting, state, left) for state in automaton for left in lefts]


def more_automata(seed: int) -> list[Case]:
    draw = Random(seed)
    cases = []
    for n in (4, 6, 8):
        automaton = {
            state: {byte: draw.randrange(n) for byte in range(97, 100) if draw.random() < 0.6} for state in range(n)
        }
        tokens = [bytes(draw.randint(97, 99) for _ in range(draw.randint(1, 3))) for _ in range(8)] + [b""]
        accepting = set(draw.sample(range(n), 1 + n // 5))
        lefts = [draw.randint(0, 1), draw.randint(2, n), -1]
        args = {"tokens": tokens, "automaton": automaton, "accepting": accepting, "lefts": lefts}
        cases.append(Case(f"{n} states", run=all_states, **args))
    return cases


allowed_tokens = Exercise(
    name="allowed_tokens",
    asks="Which tokens may come next, so that the text can still become one that the automaton accepts?",
    reference=mask_by_distance,
    section="23.9",
    cases=[
        Case("one byte left", tokens=LETTERS, automaton=AB, accepting={2}, state=0, left=1),
        Case("two bytes left", tokens=LETTERS, automaton=AB, accepting={2}, state=0, left=2),
        Case("no byte left", tokens=LETTERS, automaton=AB, accepting={2}, state=0, left=0),
        Case(
            "in the middle", tokens=[b"b", b"c", b"ba", b"bac", b"a", b""], automaton=AB, accepting={2}, state=1, left=9
        ),
        Case("at the end", tokens=LETTERS, automaton=AB, accepting={2}, state=2, left=9),
        Case("must end now", tokens=LETTERS, automaton=AB, accepting={2}, state=2, left=-1),
        Case("should have ended", tokens=LETTERS, automaton=AB, accepting={0, 2}, state=1, left=-3),
        Case("the end among others", tokens=[b"", b"a", b""], automaton=AB, accepting={0}, state=0, left=5),
        Case("no way out", tokens=[b"a", b"b", b"bc", b"ac", b""], automaton=TRAP, accepting={3}, state=0, left=9),
        Case("in a trap", tokens=[b"c", b"d", b""], automaton=TRAP, accepting={3}, state=2, left=99),
        Case("a token goes too far", tokens=[b"aca", b"ac"], automaton=TRAP, accepting={3}, state=0, left=9),
        Case(
            "bytes that never come", tokens=[b"x", b"ax", b"xa", b"\x00"], automaton=AB, accepting={2}, state=0, left=9
        ),
        Case("no accepting state", tokens=LETTERS, automaton=AB, accepting=set(), state=0, left=9),
        Case("no tokens", tokens=[], automaton=AB, accepting={2}, state=0, left=9),
        Case("accepting on the way", tokens=DIGITS, automaton=NUMBERS, accepting={2, 4}, state=2, left=0),
        Case("accepting, and not on the way", tokens=DIGITS, automaton=NUMBERS, accepting={2, 4}, state=2, left=1),
        Case("all states", run=all_states, tokens=DIGITS, automaton=NUMBERS, accepting={2, 4}, lefts=[-1, 0, 1, 7]),
        Case(
            "other numbers of states",
            tokens=[b"a", b"ab", b"b", b""],
            automaton={7: {97: 70}, 70: {98: 700}, 700: {98: 7}},
            accepting={7},
            state=7,
            left=2,
        ),
        Case(
            "a long way",
            run=all_states,
            tokens=[b"a", b"aa", b""],
            automaton={i: {97: i + 1} if i < 60 else {} for i in range(61)},
            accepting={60},
            lefts=[0, 30, 58, 59],
        ),
        Case(
            "a shorter way",
            tokens=[b"a", b"b", b"c"],
            automaton={0: {97: 1, 98: 2, 99: 3}, 1: {97: 2}, 2: {97: 3, 98: 1}, 3: {97: 4, 98: 5}, 4: {97: 5}, 5: {}},
            accepting={5},
            state=0,
            left=2,
        ),
    ],
    random_cases=more_automata,
    misconceptions=[
        Misconception(
            "only the first byte",
            mask_wrong(first_only=True),
            "You looked at the first byte of each token only. The others may lead nowhere.",
            "Read all bytes of the token, one after another.",
            "23.9",
        ),
        Misconception(
            "into a dead end",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: at is not None),
            "You allow every token that the automaton can read. After some of them no valid text can follow, or none "
            "that is short enough, and the text is cut off in the middle.",
            "Can an accepting state still be reached?",
            "23.9",
        ),
        Misconception(
            "as if there were no limit",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: distance < math.inf),
            "You ask whether an accepting state can be reached at all, and not with how many bytes. The text will be "
            "cut off before it is complete.",
            "Compare the shortest way with `left`.",
            "23.9",
        ),
        Misconception(
            "one byte too few",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: distance < left),
            "You ask for fewer than `left` bytes. Exactly `left` are fine.",
            "At most.",
            "23.9",
        ),
        Misconception(
            "one byte too many",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: distance <= left + 1),
            "You allow one byte more than may still come.",
            "`left` bytes may come after this token.",
            "23.9",
        ),
        Misconception(
            "the token's own bytes are counted",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: distance + len(token) <= left),
            "You counted the bytes of the token itself. `left` is what may come after it.",
            "Count from the state after the token.",
            "23.9",
        ),
        Misconception(
            "the way is measured before the token",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: at is not None and before <= left),
            "You measured the shortest way from the state before the token.",
            "Where does the token lead?",
            "23.9",
        ),
        Misconception(
            "only tokens that complete the text",
            mask_wrong(complete=lambda at, accepting, left, distance, token, before: at in accepting and left >= 0),
            "You allow a token only if the text is complete with it. It may become complete later.",
            "An accepting state must be reachable, within `left` bytes.",
            "23.9",
        ),
        Misconception(
            "the end is always allowed",
            mask_wrong(end=lambda state, accepting, left, distance: True),
            "You let the text end anywhere.",
            "Is the state accepting?",
            "23.9",
        ),
        Misconception(
            "the end is never allowed",
            mask_wrong(end=lambda state, accepting, left, distance: False),
            "The text can never end.",
            "In an accepting state, the empty token may come.",
            "23.9",
        ),
        Misconception(
            "the end, if it is near",
            mask_wrong(end=lambda state, accepting, left, distance: distance <= left),
            "You treat the end token as one that adds nothing and is followed by more. After it, nothing comes.",
            "state in accepting",
            "23.9",
        ),
        Misconception(
            "the end only while something is left",
            mask_wrong(end=lambda state, accepting, left, distance: state in accepting and left >= 0),
            "You forbid the end when `left` is negative, and that is just when the text must end.",
            "The end does not depend on `left`.",
            "23.9",
        ),
        Misconception(
            "bytes that do not fit are skipped",
            mask_wrong(skip=True),
            "A byte that must not come leaves your automaton where it is. It makes the text invalid.",
            "A byte that is not in automaton[state] leads nowhere.",
            "23.9",
        ),
    ],
    accepted={"search from each token": mask_by_search, "recursion": mask_by_recursion},
    hints=[
        "Two parts: the shortest way from each state to an accepting one, and where each token leads.",
        "Shortest ways: accepting states have 0. Then repeatedly: a state has one more than the nearest of its "
        "followers.",
        "at = automaton[at].get(byte) for each byte, None at the first that does not fit; allowed if at is not None "
        "and distance.get(at, infinity) <= left. The empty token: state in accepting.",
    ],
)


# 6. misled_by_a_mask


def verdict(student) -> str:
    """Describe in one sentence what the student's model does."""
    answer = student()
    if not isinstance(answer, list | tuple) or len(answer) != 2 or not all(isinstance(x, list | tuple) for x in answer):
        return "it is not a pair of lists"
    first, valid = answer
    if len(first) != len(valid) or len(first) < 2:
        return "the lists are not equally long, or have fewer than two numbers"
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (*first, *valid)):
        return "there is something that is no number"
    if not all(x > 0 for x in (*first, *valid)):
        return "a number is not above 0"
    if abs(math.fsum(first) - 1) > 1e-6:
        return "the first list does not sum to 1"
    if not all(x <= 1 for x in valid):
        return "a probability is above 1"
    total = math.fsum(a * b for a, b in zip(first, valid, strict=True))
    fraction = first[0] * valid[0] / total
    if first[0] < 0.9 - 1e-9:
        return "turned around" if fraction >= 0.9 and first[0] <= 0.1 else "the mask begins with token 0 too rarely"
    return "fine" if fraction <= 0.1 + 1e-9 else "too many of the valid texts begin with token 0"


def model_of(first: object, valid: object) -> object:
    """A student's answer."""
    return lambda: (list(first), list(valid))


misled_by_a_mask = Exercise(
    name="misled_by_a_mask",
    asks="Find a model of texts of two tokens that a mask misleads.",
    reference=model_of([0.9, 0.1], [0.01, 1.0]),
    section="23.10",
    cases=[Case("your model", judge=verdict)],
    misconceptions=[
        Misconception(
            "too many valid texts begin with token 0",
            model_of([0.9, 0.1], [0.5, 0.5]),
            "More than 0.1 of the valid texts begin with token 0. Were both beginnings equally often valid, the mask "
            "would change nothing at all.",
            "After token 0, a valid text should be rare.",
            "23.10",
            variants=(model_of([0.95, 0.05], [0.5, 1.0]),),
        ),
        Misconception(
            "turned around",
            model_of([0.1, 0.9], [1.0, 0.01]),
            "Your constrained decoding rarely begins with token 0, though most valid texts do. It should be the other "
            "way round.",
            "Swap the two tokens.",
            "23.10",
        ),
        Misconception(
            "token 0 is not likely enough",
            model_of([0.5, 0.5], [0.01, 1.0]),
            "Constrained decoding begins with token 0 too rarely: its probability is first[0], since the first token "
            "is not masked.",
            "0.9 or more.",
            "23.10",
        ),
        Misconception(
            "an impossible beginning",
            model_of([0.9, 0.1], [0.0, 1.0]),
            "A number is 0. If no valid text began with token 0, the mask would forbid it, and nothing would go wrong.",
            "Very small, but above 0.",
            "23.10",
        ),
        Misconception(
            "the probabilities do not sum to 1",
            model_of([0.9, 0.9], [0.01, 1.0]),
            "The probabilities of the first token do not sum to 1.",
            "0.9 and 0.1.",
            "23.10",
        ),
        Misconception(
            "above 1",
            model_of([0.9, 0.1], [0.5, 50.0]),
            "A probability in your second list is above 1.",
            "Make valid[0] small, and not the others large.",
            "23.10",
        ),
        Misconception(
            "one token",
            model_of([1.0], [0.01]),
            "With one possible first token there is nothing to be misled about.",
            "Two lists of at least two numbers, equally long.",
            "23.10",
            variants=(model_of([0.9, 0.1], [0.01]),),
        ),
        Misconception(
            "not a pair of lists",
            lambda: [0.9, 0.1],
            "The result must be two lists: (first, valid).",
            "return [0.9, …], […]",
            "23.10",
            variants=(lambda: ([0.9, 0.1],), lambda: ([0.9, 0.1], 0.01)),
        ),
    ],
    accepted={
        "three tokens": model_of([0.92, 0.04, 0.04], [0.001, 0.5, 0.5]),
        "nearly impossible": model_of([0.99, 0.01], [1e-6, 0.5]),
        "a list of lists, as a tuple crosses from the student's process": lambda: [[0.9, 0.1], [0.01, 1.0]],
    },
    hints=[
        "The mask cannot know that token 0 will hardly ever lead to a valid text: after it, one is *possible*.",
        "first[0] = 0.9. Which valid[0] makes 0.9 · valid[0] at most a ninth of 0.1 · valid[1]?",
        "[0.9, 0.1] and [0.01, 1.0]: 0.009 / (0.009 + 0.1) = 0.08.",
    ],
)

EXERCISES = [
    finish_times,
    page_tables,
    verify,
    quantize_groups,
    allowed_tokens,
    misled_by_a_mask,
    WrittenAnswer(
        "WHY_MASKED",
        "Why can a mask change the distribution of what is possible, what does a small product say, what can be done?",
        50,
        ["What does the mask know about the tokens that come later?"],
        "23.10",
    ),
    WrittenAnswer(
        "EXPERIMENT",
        "What did you change, what did you predict, what came out, what do you make of it?",
        60,
        ["One change at a time. Where there is a formula, compute its prediction first."],
        "23.6",
    ),
]
