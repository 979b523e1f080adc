"""The page in a real browser: examples, whole characters, the tokenizer, how one token is made, and axe-core's rules.

axe-core comes with the package axe-playwright-python; without it that test is skipped.
"""

import re
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from page_helpers import (
    body,
    card_of,
    done,
    fill_tab,
    no_sideways_scrolling,
    open_sampling,
    open_tab,
    options_of,
    point_at,
    texts,
    write,
)
from serving_http_helpers import wait_until

from llmasos.errors import UserError
from llmasos.generation import generate
from llmasos.hub import load_pretrained
from llmasos.interpret import Probe, StoryProbe, attention_maps, forward_trace
from llmasos.serving.api import interventions, probe
from llmasos.serving.api.inspect import inspect_model
from llmasos.serving.api.probe import trained
from llmasos.serving.engine import Engine
from llmasos.tasks import fill_masks
from llmasos.tokenizers import ByteTokenizer

slow = pytest.mark.slow
FIRST = {"storyworld-gpt": "/v1/completions", "storyworld-chat": "/v1/chat/completions",
         "storyworld-bert": "/v1/fill-mask", "storyworld-de-en": "/v1/translate", "classifier": "/v1/classify",
         "ner": "/v1/token-classification", "qa": "/v1/question-answering"}  # fmt: skip


IN_SIGHT = "Object.defineProperty(document, 'visibilityState', {get: () => 'visible', configurable: true})"


def asked(page, path):
    return [request for request in page.asked if request.url.endswith(path)]


def failed_requests(page):
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    return failed


def test_an_example_runs_once_on_opening_and_no_request_is_aborted(visit):
    page = visit("storyworld-gpt", examples=True)
    failed = failed_requests(page)
    page.wait_for_selector("#text .token >> nth=10")
    done(page)
    [request] = asked(page, "/v1/completions")
    assert request.post_data_json["max_tokens"] == 60 and len(texts(page)) > 10
    open_tab(page, "Tokenizer")
    open_tab(page, "Generate")
    assert len(asked(page, "/v1/completions")) == 1 and page.locator("#branch-list").is_hidden()
    page.locator(".chip:visible").nth(1).click()  # another example takes its place
    done(page)
    assert page.locator("#prompt").input_value() == page.locator(".chip:visible").nth(1).inner_text()
    assert len(asked(page, "/v1/completions")) == 2 and page.locator("#branch-list").is_hidden()
    assert failed == []


@slow
@pytest.mark.parametrize("model", FIRST)
def test_each_kind_of_model_opens_with_an_example(visit, model):
    page = visit(model, examples=True)
    with page.expect_request(lambda request: request.url.endswith(FIRST[model])):
        pass
    done(page)
    for title in page.get_by_role("tab").all_inner_texts():
        open_tab(page, title)
        wait_until(lambda: page.evaluate("tab in requests && !(tab in running)"))
        assert page.locator("#problem").is_hidden() and page.locator(".chip:visible").count() >= 2
        no_sideways_scrolling(page)
    first = {request.post_data for request in page.asked}
    for title in page.get_by_role("tab").all_inner_texts():
        open_tab(page, title)
    assert {request.post_data for request in page.asked} == first  # each only once


@slow
def test_no_example_runs_in_the_background_or_over_what_was_typed(visit):
    page = visit("storyworld-chat")
    page.wait_for_selector("#message")
    done(page)
    assert asked(page, "/v1/chat/completions") == []
    page.evaluate(IN_SIGHT)
    page.locator("#message").fill("My own words")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    done(page)
    assert asked(page, "/v1/chat/completions") == [] and page.locator("#message").input_value() == "My own words"
    page = visit("storyworld-chat")
    page.wait_for_selector("#message")
    page.evaluate(IN_SIGHT)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # somebody looks at it
    page.wait_for_selector("#chat .assistant .token")
    done(page)
    assert len(asked(page, "/v1/chat/completions")) == 1
    page.locator("#message").fill("My own words")
    page.keyboard.press("Enter")
    done(page)
    said = body(page, "/v1/chat/completions")["messages"]
    assert said == [{"role": "user", "content": "My own words"}]  # the example is not part of the conversation


def sampling_now(page) -> str:
    """The summary of the closed settings, whose non-breaking spaces keep each setting on one line."""
    return " ".join(page.locator("#sampling-now").inner_text().split())


@slow
def test_settings_are_folded_and_begin_with_what_the_model_recommends(visit, engines):
    page = visit("storyworld-gpt")
    page.wait_for_selector("#sampling")
    recommended = page.request.get(f"{page.url_asked}/v1/models").json()["data"][0]["sampling"]
    assert page.locator("#set-temperature").is_hidden()
    assert f"temperature {recommended['temperature']['default']:g}" in sampling_now(page)
    open_sampling(page)
    for name, setting in recommended.items():
        slider = page.locator(f"#set-{name}")
        assert float(slider.input_value()) == pytest.approx(setting["default"])
        assert (float(slider.get_attribute("min")), slider.is_visible()) == (setting["min"], True)
    page.get_by_role("button", name="Generate").click()
    done(page)
    sent = body(page, "/v1/completions")
    assert sent["temperature"] == recommended["temperature"]["default"]
    page.locator("#set-temperature").fill("0")
    assert "temperature 0," in f"{sampling_now(page)},"


@slow
@pytest.mark.parametrize("model", ["storyworld-gpt", "storyworld-bert"])
def test_attention_opens_on_the_telling_head(visit, engines, model):
    page, engine = visit(model), engines(model)
    open_tab(page, "Attention")
    ids = [token["id"] for token in page.evaluate("view.queries")]
    maps = torch.cat(list(attention_maps(engine.model, torch.tensor([ids]), run=engine.model.hidden_states).values()))
    n = len(ids)
    trivial = torch.tensor([[abs(t - s) <= 1 or s == 0 or bool(engine.tokenizer.special_mask[ids[s]])
                             for s in range(n)] for t in range(n)])  # fmt: skip
    strengths = maps.masked_fill(trivial, 0.0).amax(dim=-1).mean(dim=-1)  # (L, H)
    layer, head = divmod(int(strengths.argmax()), strengths.size(1))
    assert page.locator("#layer-name").inner_text() == f"Layer {layer + 1} of {engine.model.config.n_layers}"
    assert page.locator("#heads input:checked").get_attribute("value") == str(head)
    assert f"layer {layer + 1}, head {head + 1}" in page.locator("#telling").inner_text()
    row = page.evaluate("view.row")
    best = maps[layer, head].masked_fill(trivial, 0.0).amax(dim=-1)
    assert row == int(best.argmax())


LONG = "w" * 60


@slow
def test_a_percentage_is_beside_its_bar_and_no_long_token_hides_it(visit, engines):
    page = visit("storyworld-bert", width=1280)
    page.locator("#fill").click()
    done(page)
    for row in page.locator("#masks li > *").all():
        name, value = row.locator(".name").bounding_box(), row.locator(".value")
        left, box = float(value.evaluate("v => parseFloat(getComputedStyle(v).paddingLeft)")), value.bounding_box()
        share = float(row.evaluate("row => row.style.getPropertyValue('--p')"))
        assert name["x"] + name["width"] <= box["x"]
        assert left == pytest.approx((box["width"] - 96) * share + 6.4, abs=1)  # right after the end of the bar
    engine = engines("storyworld-bert")
    expected = fill_masks(engine.model, engine.tokenizer, page.locator("#masked-text").input_value(), n=8)
    assert page.locator("#masks .name").all_inner_texts() == [word for word, _ in expected[0]]
    page = visit("storyworld-de-en", width=400)
    page.route("**/v1/inspect", lambda route: route.fulfill(json=long_tokens(route)))
    page.locator("#translate").click()
    page.wait_for_selector("#attention:not([hidden])")
    done(page)
    page.locator("#queries li").first.click()
    items = [item for item in page.locator("#keys li").all() if item.locator(".weight").inner_text()]
    for item in items:  # the others have less than 1%
        weight, box = item.locator(".weight").bounding_box(), item.bounding_box()
        assert weight["width"] > 10 and weight["x"] + weight["width"] <= box["x"] + box["width"] + 0.5
    assert items
    no_sideways_scrolling(page)


def long_tokens(route):
    """The response of `/v1/inspect`, with very long tokens."""
    answer = route.fetch().json()
    for token in [*answer.get("keys", []), *answer.get("tokens", [])]:
        token["text"], token["bytes"] = LONG, list(LONG.encode())
    return answer


@slow
def test_whole_characters_everywhere(visit, engines):
    page = visit("storyworld-gpt")
    family, text = "👩‍👧", "語 👩‍👧 é"
    write(page, prompt=text, max_tokens=2)
    assert [text for text in texts(page) if text != "␣"][:3] == ["語", family, "é"]
    n = {char: len(engines("storyworld-gpt").tokenizer.encode(f" {char}")) for char in (family, "é")}
    token = page.locator("#text .token", has_text=family)
    card = point_at(token).inner_text()
    assert f"One character of {n[family]} tokens" in card or f"One character of {n[family] - 1} tokens" in card
    token.click()
    card_of(page).get_by_role("button").first.click()  # a branch at its first token
    done(page)
    assert texts(page)[0] == "語" and family not in texts(page)
    page.get_by_role("button", name="Inspect this text").click()
    done(page)
    assert page.locator("#queries li").nth(3).inner_text() == "語 3/3"
    names = """() => tokenNames([{text: "\\ufffd", bytes: [0xF0, 0x9F]}, {text: "\\ufffd", bytes: [0x90, 0x95]},
      {text: "\\ufffd", bytes: [0x90]}, {text: " a", bytes: [32, 97]}, {text: "\\ufffd", bytes: [0xE8]}])"""
    assert page.evaluate(names) == ["🐕 1/2", "🐕 2/2", "⟨90⟩", "␣a", "⟨E8⟩"]


@slow
def test_a_character_is_put_together_while_it_streams(visit):
    page, dog = visit("storyworld-chat"), "🐕".encode()
    page.evaluate("() => { const box = $('text'); window.add = showTokens(box, []); }")
    shown = []
    for k, piece in enumerate([dog[:1], dog[1:3], dog[3:], b"!"]):
        token = {"id": k, "text": piece.decode(errors="replace"), "bytes": list(piece), "logprob": -0.1 * k,
                 "alternatives": []}  # fmt: skip
        page.evaluate("token => add(token)", token)
        shown.append(page.evaluate("[...$('text').querySelectorAll('.token')].map(item => item.textContent)"))
    assert shown == [["�"], ["�"], ["🐕"], ["🐕", "!"]]
    places = page.evaluate("[...$('text').querySelectorAll('.token')].map(item => item.dataset.i)")
    assert places == ["0", "3"]


@slow
def test_two_tokenizers_side_by_side(visit, engines):
    page = visit("storyworld-gpt")
    open_tab(page, "Tokenizer")
    page.locator("#tokenized-text").fill("Hé 🐕<|endoftext|>!")
    page.locator("#tokenize").click()
    done(page)
    page.locator("#tokenizer-2").select_option("byte")
    done(page)
    for number, tokenizer in enumerate((engines("storyworld-gpt").tokenizer, ByteTokenizer())):
        box = page.locator("#tokenizations section").nth(number)
        ids = tokenizer.encode("Hé 🐕<|endoftext|>!", allow_special=True)
        assert [int(id) for text in box.locator(".piece small").all_inner_texts() for id in text.split()] == ids
        assert box.locator(".count").inner_text().startswith(f"{len(ids)} tokens")
        assert "18 characters, 22 bytes" in box.inner_text()
        assert box.locator(".piece.special span").all_inner_texts() == ["<|endoftext|>"]
        assert "🐕" in box.locator(".piece span").last.locator("xpath=../..").inner_text()
    dog = page.locator("#tokenizations section").nth(1).locator(".piece", has_text="🐕")
    card = point_at(dog).inner_text()
    assert "one character of 4 tokens" in card and "id 240: bytes F0, characters 3 to 4" in card
    page.keyboard.press("Escape")
    dog.focus()
    page.keyboard.press("ArrowRight")
    assert "a special token" in card_of(page).inner_text()
    page.locator("#allow-special").uncheck()
    done(page)
    assert page.locator(".piece.special").count() == 0


@slow
def test_how_one_token_is_made_has_the_models_numbers(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    open_tab(page, "How one token is made")
    page.locator("#traced-text").fill("Paul was happy because the")
    open_sampling(page)
    page.locator("#new-seed").set_checked(False)
    page.locator("#seed").fill("5")
    page.locator("#trace").click()
    done(page)
    page.locator("#trace-head").select_option(index=2)
    done(page)
    sent = body(page, "/v1/inspect")
    ids = engine.tokenizer.encode_prompt("Paul was happy because the")
    [expected] = generate(engine.model, engine.tokenizer, [ids], options_of(sent["sampling"] | {"max_tokens": 1}))
    new = engine.tokenizer.token_text(expected.ids[0])
    assert f"comes “{new.replace(' ', '␣')}”" in page.locator("#trace-result").inner_text()
    steps = forward_trace(engine.model, torch.tensor(ids), head=2)
    page.locator("#trace-steps details").evaluate_all("all => all.forEach(one => one.open = true)")
    vectors = [step for step in steps if step.name not in ("scores", "weights")]
    shown = page.locator("#trace-steps .values").all()
    assert len(shown) == len(vectors)
    for step, box in zip(vectors, shown, strict=True):
        numbers = [float(text.replace("−", "-")) for text in box.locator("span").all_inner_texts()]
        assert numbers == pytest.approx(step.values[:8].tolist(), abs=0.0051), (step.block, step.name)
    page.locator("#trace-on").click()
    done(page)
    assert page.locator("#traced-text").input_value() == "Paul was happy because the" + new
    page.locator("#set-temperature").fill("0")
    page.locator("#set-temperature").dispatch_event("change")
    done(page)
    assert page.locator("#trace-steps h3").last.inner_text() == "The most likely token"


@slow
def test_a_bert_shows_how_its_mask_is_filled(visit, engines):
    page, engine = visit("storyworld-bert"), engines("storyworld-bert")
    open_tab(page, "How one token is made")
    page.locator("#traced-text").fill("The old man lived by the [MASK].")
    page.locator("#trace").click()
    done(page)
    [[(word, _), *_]] = fill_masks(engine.model, engine.tokenizer, "The old man lived by the [MASK].", n=1)
    assert f"predicts “{word}” in place of [MASK]" in page.locator("#trace-result").inner_text()
    assert page.locator("#sampling").is_hidden()


@slow
def test_a_cell_of_a_map_says_what_the_model_says_then(visit, engines):
    """Ablation and patching: the numbers of the map are those of the API, and a cell's card has its predictions."""
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    open_tab(page, "Ablation")
    page.locator("#ablation-type").select_option("zero")
    page.wait_for_selector("#ablated:not([hidden])")
    done(page)
    anna = page.locator("#ablated-text").input_value()
    rows = inspect_model(engine.model, engine.tokenizer, anna, "ablation", ablation="zero")["rows"]
    shown = [float(text.replace("−", "-")) for text in page.locator("#ablation-map td").all_inner_texts()]
    assert shown == pytest.approx([cell["effect"] for row in rows for cell in row["cells"]], abs=0.0051)
    page.locator("#ablation-map td").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    card = card_of(page)
    assert "Without head 3 of block 2" in card.inner_text()
    names = [token["text"].replace(" ", "␣") for token in rows[1]["cells"][2]["predictions"]]
    assert card.locator(".name").all_inner_texts() == names and card.locator(".value", has_text="→").count() == 5
    open_tab(page, "Patching")
    page.locator("#patch").click()
    page.wait_for_selector("#patched:not([hidden])")
    done(page)
    sent = body(page, "/v1/inspect")
    assert (sent["show"], sent["input"]) == ("patching", anna)
    rows = inspect_model(engine.model, engine.tokenizer, anna, "patching", corrupted=sent["corrupted"])["rows"]
    shown = [float(text.replace("−", "-")) for text in page.locator("#patching-map td").all_inner_texts()]
    expected = [row["cells"][t]["effect"] for t in range(len(rows[0]["cells"])) for row in rows]
    assert shown == pytest.approx(expected, abs=0.0051) and max(shown) == 1
    page.expected = ["Failed to load resource"]
    page.locator("#corrupted-text").fill("Everyone in the valley")
    page.locator("#patch").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "needs the same number" in page.locator("#problem-text").inner_text()


@slow
@pytest.mark.parametrize("model", ["storyworld-gpt", "storyworld-chat", "storyworld-bert"])
def test_every_example_of_these_views_shows_something(visit, model):
    page = visit(model)
    for title, result in (("Ablation", "#ablation-map td"), ("Patching", "#patching-map td"), ("Probe", ".reading")):
        open_tab(page, title)
        for example in page.locator(".chip:visible").all():
            n_asked = len(asked(page, "/v1/inspect"))
            example.click()
            done(page)
            assert page.locator("#problem").is_hidden(), (title, example.inner_text())
            assert len(asked(page, "/v1/inspect")) == n_asked + 1 and page.locator(result).count() > 1


LONG_TEXT = "Anna lost the key. " * 400
WRONG = {  # model → tab, its texts, and what the error says
    "storyworld-gpt": [
        ("Ablation", [LONG_TEXT], r"has 2,803 tokens, .* is 256 for this model; send a shorter text"),
        ("Patching", [LONG_TEXT, LONG_TEXT], r"has 2,803 tokens, .* is 64 for this model; send a shorter text"),
        ("Patching", ["Anna was", LONG_TEXT], r"have 4 and 2,803 tokens, .* replace words by others of as many tokens"),
        ("Patching", ["Anna was", "Anna was"], r"are the same, .* change a word in one of them"),
        ("Probe", [LONG_TEXT], r"has 2,803 tokens, .* is 256 for this model; send a shorter text"),
    ],
    "storyworld-bert": [
        ("How one token is made", ["Anna was sad."], r"has no \[MASK\], .* write \[MASK\] in place of a word"),
        ("Ablation", ["Anna was sad."], r"has no \[MASK\], .* write \[MASK\] in place of a word"),
        ("Patching", ["Anna was sad.", "Paul was sad."], r"has no \[MASK\], .* write \[MASK\] in place of a word"),
        ("Patching", ["Anna was [MASK].", "[MASK] was sad."], r"token 3 and token 1, .* at the same place in both"),
        ("Probe", [LONG_TEXT], r"has 2,002 tokens, .* is 64 for this model; send a shorter text"),
    ],
}  # fmt: skip
BUTTONS = {"How one token is made": "trace", "Ablation": "ablate", "Patching": "patch", "Probe": "probe"}


def ask_the_view(page, title, values):
    """Fill the fields of a view and press its button."""
    open_tab(page, title)
    for field, text in zip(page.evaluate(f"REQUIRED_FIELDS['{BUTTONS[title]}']"), values, strict=True):
        page.locator(f"#{field}").evaluate("(field, text) => { field.value = text; }", text)
    page.locator(f"#{BUTTONS[title]}").click()


def has_one_sentence(page, expected):
    sentence = page.locator("#problem-text").inner_text()
    assert re.search(expected, sentence) and re.fullmatch(r"[A-Z]((?!\. [A-Z]).)*\.", sentence), sentence


@slow
@pytest.mark.parametrize("model", WRONG)
def test_what_is_wrong_is_one_sentence_and_what_to_do(visit, model):
    page = visit(model, expected=["Failed to load resource"], width=400)
    for title, wrong, expected in WRONG[model]:
        ask_the_view(page, title, [" \n"] * len(wrong))
        assert page.locator("#empty-field").inner_text() == "Please fill in this field first."
        n_asked = len(asked(page, "/v1/inspect"))
        ask_the_view(page, title, wrong)
        page.wait_for_selector("#problem:not([hidden])")
        done(page)
        has_one_sentence(page, expected)
        assert len(asked(page, "/v1/inspect")) == n_asked + 1  # nothing was asked while a field was empty
        no_sideways_scrolling(page)
        page.locator("#dismiss").click()
        assert page.locator("#problem").is_hidden() and page.locator("table:visible").count() == 0


@slow
@pytest.mark.parametrize("title", ["Ablation", "Patching", "Probe"])
def test_a_server_that_dies_while_it_works_is_named_and_can_be_asked_again(visit, monkeypatch, title):
    engine = Engine(*load_pretrained("storyworld-gpt"))  # its own, because its thread is stopped in the middle of a job
    page, started, dead = visit(engine, expected=["Failed to load resource"]), threading.Event(), threading.Event()

    def never(*arguments, **options):
        started.set()
        dead.wait(20)
        raise UserError("the server is dead.")

    for module, name in ((interventions, "ablation"), (interventions, "patched_cells"), (probe, "train_story_probes")):
        monkeypatch.setattr(module, name, never)
    ask_the_view(page, title, ["I knew Anna", "I knew Paul"] if title == "Patching" else ["Anna lost a key."])
    wait_until(started.is_set)
    page.stop_server(0.1)
    page.wait_for_selector("#problem:not([hidden])")
    done(page)
    dead.set()
    assert page.locator("#problem-text").inner_text().startswith("The server is not responding.")
    assert page.locator("#retry").inner_text() == "Try again" and page.locator("#panel").is_visible()


@slow
def test_the_probe_is_read_at_the_end_of_each_sentence(visit, engines, monkeypatch):
    """With an arbitrary probe: training one takes seconds, and `tests/interpret` has a trained one."""
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    generator, size = torch.Generator().manual_seed(0), engine.model.config.d_model
    weight = torch.randn(3, size, generator=generator) / 80
    probe = Probe(weight, torch.zeros(3), torch.zeros(size), torch.ones(size), 0.98, (0.96, 0.99), 0.51)
    monkeypatch.setitem(trained, engine.model, [StoryProbe(layer, probe, 0.81) for layer in range(5)])
    open_tab(page, "Probe")
    page.locator("#probe").click()
    page.wait_for_selector("#probed:not([hidden])")
    done(page)
    view = inspect_model(engine.model, engine.tokenizer, page.locator("#probed-text").input_value(), "probe")
    ends = [t for t, token in enumerate(view["tokens"]) if token["text"] == "."]
    best = [view["labels"][torch.tensor(view["probabilities"][t]).argmax()] for t in ends]
    assert [text.split(",")[0] for text in page.locator(".reading").all_inner_texts()] == best and len(best) == 4
    assert page.locator("#probe-accuracy .value").all_inner_texts() == ["98%", "81%", "51%"]
    page.locator("#probed-tokens .word").first.focus()
    page.keyboard.press("End")
    assert best[-1] in card_of(page).locator(".name").first.inner_text()


@slow
def test_a_touch_screen_gets_no_hints_at_keys(browser, visit):
    page = visit("storyworld-gpt", has_touch=True, is_mobile=True, width=400)
    page.wait_for_selector("#generate")
    assert page.locator("kbd:visible").count() == 0
    page = visit("storyworld-gpt")
    page.wait_for_selector("#generate")
    assert page.locator("kbd:visible").count() > 0


@slow
@pytest.mark.parametrize(
    "model", [model for model in FIRST if model != "storyworld-gpt"]
)  # it has the tabs of the chat
def test_axe_finds_no_violation_on_any_tab(visit, model):
    if not (spec := find_spec("axe_playwright_python")):
        pytest.skip("axe-playwright-python is not installed (requirements-dev.txt)")
    script = (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    run = """axe.run(document, {resultTypes: ["violations"]}).then(result => result.violations.map(
      rule => `${rule.id}: ${rule.nodes[0].html.slice(0, 200)}`))"""
    page = visit(model, width=400, bypass_csp=True)
    page.evaluate(script)
    assert page.evaluate("axe.getRules().length") > 80
    page.wait_for_selector("[role=tab]")
    for title in page.get_by_role("tab").all_inner_texts():
        fill_tab(page, title)
        tokens = page.locator(".token:visible, .piece:visible, .word:visible")
        if tokens.count():  # with its card
            point_at(tokens.nth(tokens.count() // 2))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(run) == [], (title, scheme)
        page.keyboard.press("Escape")
        page.locator("#api summary").click()
