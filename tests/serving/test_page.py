"""The page in a real browser (headless Chromium), against a real server with the shipped models.

Without Chromium or playwright these tests are skipped; with LLMASOS_BROWSER=required they fail instead.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import torch
from page_helpers import (
    body,
    card_of,
    contrast,
    done,
    fill_tab,
    harmless,
    names,
    no_sideways_scrolling,
    open_tab,
    point_at,
    slowed,
    texts,
    write,
)
from serving_http_helpers import app_of, tiny, wait_until

from llmasos.generation import SamplingOptions, generate
from llmasos.hub import load_pretrained
from llmasos.interpret import attention_maps, label_evidence, logit_lens, score_tokens
from llmasos.prompting import template_of
from llmasos.serving.api.status import PAGE
from llmasos.serving.engine import Engine
from llmasos.serving.http.server import HTTPServer
from llmasos.tasks import classify, fill_masks

pytestmark = pytest.mark.filterwarnings("ignore:the text is too small for a vocabulary")
slow = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
EXTERNAL = "Failed to load resource"  # what Chromium itself writes to the console about an answer that is an error


@pytest.fixture(scope="module")
def browser():
    """A browser with an empty profile."""
    lacking = None if CHROMIUM else "there is no chromium on this machine"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking = "playwright is not installed (requirements-dev.txt)"
    if lacking is not None:
        if os.environ.get("LLMASOS_BROWSER") == "required":
            pytest.fail(f"LLMASOS_BROWSER=required, but {lacking}")
        pytest.skip(f"{lacking}; the page is not tested")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def engines():
    """Name → engine, each made once. A model's name, or what `tiny` knows."""
    made = {}

    def engine(name):
        if name not in made:
            made[name] = Engine(*load_pretrained(name)) if name.startswith("storyworld") else tiny(name)
        return made[name]

    yield engine
    for one in made.values():
        one.stop(0.0)


@pytest.fixture
def visit(browser, engines):
    """Open the page of a model: visit("storyworld-gpt", width=400). At the end no page may have gone wrong anywhere."""
    pages = []
    with ExitStack() as closing:

        def open_page(model, path="", expected=(), app_settings=None, **settings):
            engine = engines(model) if isinstance(model, str) else model
            app = closing.enter_context(app_of(engine, name=str(model), **app_settings or {}))
            server = HTTPServer(app)
            server.start()
            stop = once(server.stop)
            closing.callback(stop, 1.0)
            width, height = settings.pop("width", 1100), settings.pop("height", 900)
            context = browser.new_context(viewport={"width": width, "height": height}, **settings)
            closing.callback(context.close)
            page = context.new_page()
            page.app, page.url_asked, page.port, page.stop_server = app, server.url, server.port, stop
            page.expected, page.said, page.asked = expected, [], []
            page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.on("request", lambda request: page.asked.append(request))
            page.set_default_timeout(20_000)
            page.goto(f"{server.url}/{path}")
            pages.append(page)
            return page

        yield open_page
        for page in pages:
            assert [said for said in page.said if not any(known in said for known in page.expected)] == []
            hosts = {urlsplit(request.url).netloc for request in page.asked if not request.url.startswith("data:")}
            assert hosts == {urlsplit(page.url_asked).netloc}, "the page has asked somebody else"


def once(function):
    """A function that does something at its first call only."""
    calls = []

    def call(*arguments):
        calls.append(arguments)
        return function(*arguments) if len(calls) == 1 else None

    return call


def test_the_file_stands_alone_and_puts_no_html_into_itself():
    page = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s'\"`<>]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert page.count("<script>") == page.count("<script") == 1
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "@import",
                 " url(", "src=", "javascript:"):  # fmt: skip
        assert word not in page, word
    assert not re.search(r"<[^>]+\son\w+=", page), "an event handler as an attribute"
    ids = set(re.findall(r'\sid="([^"]+)"', page))
    asked = set(re.findall(r'\$\("([^"]+)"\)', page)) - {"seed", "new-seed", "set-max_tokens", "tab-attention"}
    assert asked <= ids, f"the script asks for parts that are not there: {asked - ids}"


def test_write_look_at_a_token_and_branch_there(visit):
    """The short test of everything that matters most; those below are slower and more thorough."""
    page = visit("storyworld-gpt", width=400)
    write(page, max_tokens=12, temperature=0)
    first = texts(page)
    assert len(first) == 6 + 12 and first[:2] == ["Once", "there"]
    card = point_at(page.locator("#text .token").nth(7))
    assert "%" in card.inner_text()
    card.get_by_role("button").first.click()
    done(page)
    assert texts(page)[:7] == first[:7] and texts(page)[7] != first[7]
    page.get_by_role("button", name=re.compile(r"^1\. ")).click()
    assert texts(page) == first
    open_tab(page, "Attention")
    assert page.locator("#heads input").count() == 5
    no_sideways_scrolling(page)


@slow
def test_tokens_stream_in_and_are_what_the_model_writes(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    page.locator("#set-max_tokens").fill("40")
    with slowed(engine):
        page.locator("#prompt").fill("Paul was")
        page.locator("#prompt").press("Control+Enter")
        page.wait_for_selector("#text .token >> nth=5")
        assert page.locator("#panel").get_attribute("aria-busy") == "true"
        assert "caret" in page.locator("#text").get_attribute("class")
        done(page)
    sent = body(page, "/v1/completions")
    options = SamplingOptions(sent["max_tokens"], temperature=0.8, seed=sent["seed"])
    [expected] = generate(engine.model, engine.tokenizer, ["Paul was"], options)
    plain = page.locator("#text-plain").inner_text()
    assert plain.strip().endswith(("Paul was" + expected.text).strip())
    shown = page.locator("#numbers").inner_text()
    perplexity = torch.tensor(expected.logprobs).mean().neg().exp()
    assert f"{len(expected.ids)} tokens written, perplexity {perplexity:.3g}"[:-1] in shown
    assert ("ended it" in shown) == (expected.finish_reason == "stop")
    spoken = page.locator("#status").inner_text()  # to a screen reader, once
    assert spoken.endswith(plain.removeprefix("The text: ").strip())


@slow
def test_the_prompt_is_coloured_by_how_likely_it_was(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    page.locator("#prompt").fill("Once there was a zebra")
    page.get_by_role("button", name="Only read it").click()
    done(page)
    scores = score_tokens(engine.model, engine.tokenizer, "Once there was a zebra")
    limits = [0.5, 0.2, 0.05, 0.01, 0.001]
    for score, token in zip(scores, page.locator("#text .token").all(), strict=True):
        p = 1.0 if score.logprob is None else torch.tensor(score.logprob).exp()
        assert f"p{sum(bool(p < limit) for limit in limits)}" in token.get_attribute("class").split()
    assert not [request for request in page.asked if request.url.endswith("completions")]
    shades = "[0.51, 0.49, 0.21, 0.19, 0.051, 0.049, 0.011, 0.009, 0.0011, 0.0009].map(p => shade(Math.log(p)))"
    assert page.evaluate(shades) == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    numbers = "[1, 0.9996, 0.9949, 0.4217, 0.031, 0.0042, 0.00009].map(percent)"
    assert page.evaluate(numbers) == ["100%", "over 99.9%", "99.5%", "42%", "3.1%", "0.42%", "under 0.01%"]


@slow
@pytest.mark.parametrize("how", ["button", "key"])
def test_stop_stops_the_server_too(visit, engines, how):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    with slowed(engine):
        page.locator("#set-max_tokens").fill("400")
        page.locator("#set-temperature").fill("2")
        page.get_by_role("button", name="Write").click()
        page.wait_for_selector("#text .token >> nth=12")
        if how == "button":
            page.locator(".stop:visible").click()
        else:
            page.keyboard.press("Escape")
        done(page)
        wait_until(lambda: engine.n_running == 0, 5.0)
    assert 12 < len(texts(page)) < 200
    assert "You stopped it." in page.locator("#numbers").inner_text()
    assert page.locator("#problem").is_hidden()


@slow
def test_the_keyboard_reaches_everything_a_pointer_does(visit):
    page = visit("storyworld-gpt")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the model"
    write(page, max_tokens=15)
    before = texts(page)
    page.locator("#text .token").first.focus()
    for key, arrived in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.locator(":focus").get_attribute("data-i") == str(arrived)
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    place = int(page.locator(":focus").get_attribute("data-i"))
    assert place == len(before) - 2
    assert page.locator("#text .token[tabindex='0']").count() == 1  # one stop of the Tab key for the whole text
    card = card_of(page)
    assert card.is_visible()
    page.keyboard.press("Escape")
    assert card.is_hidden() and page.locator(":focus").get_attribute("data-i") == str(place)
    page.set_viewport_size({"width": 400, "height": 800})
    page.keyboard.press("Home")
    top = page.locator(":focus").bounding_box()["y"]
    page.keyboard.press("ArrowDown")
    assert page.locator(":focus").bounding_box()["y"] > top  # in the next line
    page.keyboard.press("ArrowUp")
    assert page.locator(":focus").bounding_box()["y"] == top
    page.locator(f"#text .token[data-i='{place}']").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(":focus").get_attribute("aria-label")
    assert chosen.startswith("Branch here with")
    page.keyboard.press("Enter")
    done(page)
    assert page.locator(":focus").get_attribute("data-i") == str(place)
    assert texts(page)[:place] == before[:place] and texts(page)[place] != before[place]


@slow
def test_a_branch_goes_on_from_exactly_those_tokens(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    write(page, max_tokens=30)
    first = texts(page)
    page.locator("#text .token").nth(9).click()
    card_of(page).get_by_role("button").nth(1).click()
    done(page)
    second, sent = texts(page), body(page, "/v1/completions")
    assert isinstance(sent["prompt"], list) and len(sent["prompt"]) == 10
    options = SamplingOptions(30, temperature=0.8, seed=3)
    [expected] = generate(engine.model, engine.tokenizer, [sent["prompt"]], options)
    text = engine.tokenizer.decode(sent["prompt"]) + expected.text
    assert page.locator("#text-plain").inner_text().strip().endswith(text.strip())
    page.locator("#text .token").nth(12).click()  # a branch of the branch
    card_of(page).get_by_role("button").first.click()
    done(page)
    third = texts(page)
    page.locator("#text .token").nth(2).click()  # the prompt's tokens have alternatives, too
    card_of(page).get_by_role("button").first.click()
    done(page)
    buttons = page.locator("#branches button")
    assert buttons.count() == 4 and page.locator("#branches ul ul").count() >= 1
    for name, expected_texts in (("1. ", first), ("2. ", second), ("3. ", third)):
        page.get_by_role("button", name=re.compile("^" + re.escape(name))).click()
        assert texts(page) == expected_texts
        assert page.locator("#branches [aria-current=true]").inner_text().startswith(name)


@slow
def test_sampling_settings_are_sent_and_what_is_off_is_not(visit):
    page = visit("storyworld-gpt")
    write(page, max_tokens=5, temperature=0.5, top_k=40, min_p=0.05, repetition_penalty=1.2)
    sent = body(page, "/v1/completions")
    chosen = {"temperature": 0.5, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.2, "max_tokens": 5, "seed": 3}
    assert {name: sent[name] for name in chosen} == chosen
    assert "top_p" not in sent and sent["prompt"] == "Once there was a shy girl"
    assert page.locator("output[for=set-top_p]").inner_text() == "off"
    page.locator("#new-seed").set_checked(True)
    seeds = set()
    for _ in range(3):
        page.get_by_role("button", name="Write").click()
        done(page)
        seeds.add(body(page, "/v1/completions")["seed"])
    assert len(seeds) == 3


@slow
def test_a_text_too_long_to_be_looked_at_is_written_on_all_the_same(visit):
    page = visit("storyworld-gpt", expected=[EXTERNAL])
    write(page, prompt="Paul was happy. " * 120, max_tokens=5)
    warning = page.locator("#warnings").inner_text()
    assert warning.startswith("The prompt is") and "only the last" in warning
    assert point_at(page.locator("#text .token").nth(2)).get_by_role("button").count() == 0
    page.get_by_role("button", name="Look inside this text").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "for at most 256" in page.locator("#problem-text").inner_text()


@slow
def test_attention_shows_the_numbers_of_interpret(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    open_tab(page, "Attention")
    page.locator("#subject").fill("Paul had a drum.")
    page.get_by_role("button", name="Look", exact=True).or_(page.locator("#look")).first.click()
    done(page)
    ids = engine.tokenizer.encode("Paul had a drum.")
    maps = list(attention_maps(engine.model, torch.tensor([ids])).values())
    page.locator("#layer").fill("2")
    done(page)
    assert page.locator("#layer-name").inner_text() == "Layer 3 of 4"
    page.locator("#heads label").nth(2).click()  # the mean comes first
    last = maps[2][0, 1, -1]
    assert page.locator("#readout").inner_text().endswith(f"weight {last.max():.3f}.")
    page.locator("#map").focus()
    for _ in range(len(ids)):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert page.locator("#readout").inner_text().endswith(f"weight {maps[2][0, 1, -2, 1]:.3f}.")
    page.locator("#heads label").first.click()
    row = page.locator("#looks li").nth(3)
    row.click()
    assert row.get_attribute("aria-selected") == "true"
    mean = maps[2][0].mean(dim=0)[3]
    assert page.locator("#readout").inner_text().endswith(f"weight {mean.max():.3f}.")
    thick = page.locator("#curves path").evaluate_all("all => all.map(one => Number(one.getAttribute('stroke-width')))")
    seen = [0.5 + 6 * weight for weight in mean.tolist() if weight >= 0.005]  # others are too thin
    assert thick == pytest.approx(seen, abs=2e-3)
    page.locator("#map").hover(position={"x": 90, "y": 84})
    assert page.locator("#readout").inner_text().endswith(f"weight {maps[2][0].mean(dim=0)[0, 0]:.3f}.")
    page.get_by_text("The same as a table").click()
    page.wait_for_selector("#weights tbody tr")
    assert page.locator("#weights tbody tr").count() == len(ids)
    page.locator("#heads label").nth(3).click()  # while it is open it follows
    most = maps[2][0, 2, -1].argmax()
    name = page.locator("#seen li").nth(int(most)).evaluate("item => item.firstChild.textContent")
    assert f"“{name}” ({most + 1})" in page.locator("#weights tbody tr").last.locator("td").last.inner_text()


@slow
def test_what_was_written_is_looked_into_token_by_token(visit):
    page = visit("storyworld-gpt")
    write(page, max_tokens=20)
    n = len(texts(page))
    page.get_by_role("button", name="Look inside this text").click()
    done(page)
    sent = body(page, "/v1/inspect")
    assert isinstance(sent["input"], list) and len(sent["input"]) == n == page.locator("#looks li").count()
    open_tab(page, "Logit lens")
    assert body(page, "/v1/inspect")["input"] == sent["input"] and page.locator("#lens-table tbody tr").count() == n
    page.locator("#subject").fill("Paul")
    page.keyboard.press("Control+Enter")
    done(page)
    assert body(page, "/v1/inspect")["input"] == "Paul"


@slow
@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert"])
def test_the_lens_shows_what_each_layer_would_say(visit, engines, name):
    page, engine = visit(name), engines(name)
    open_tab(page, "Logit lens")
    ids = [token["id"] for token in page.request.post(
        f"{page.url_asked}/v1/inspect", data={"input": body(page, "/v1/inspect")["input"]}).json()["tokens"]]  # fmt: skip
    rows = logit_lens(engine.model, torch.tensor(ids))
    cells = page.locator("#lens-table td").all_inner_texts()
    best = torch.stack([row.logits[:, : engine.tokenizer.vocab_size].argmax(-1) for row in rows], dim=1)  # (T, L + 1)
    said = [engine.tokenizer.token_bytes(id).decode(errors="replace") for id in best.flatten().tolist()]
    assert [cell.strip("␣ ") for cell in cells] == [text.strip(" ") for text in said]
    page.locator("#lens-table td").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    focused = page.locator(":focus")
    assert (focused.get_attribute("data-t"), focused.get_attribute("data-l")) == ("1", "1")
    assert card_of(page).locator("li").count() == 3


@slow
def test_a_conversation(visit):
    page = visit("storyworld-chat", "#chat")
    page.locator("#message").fill("Tell a story about Emma and a lantern.")
    page.keyboard.press("Enter")
    done(page)
    assert page.locator("#chat .assistant .token").count() > 5
    page.get_by_text("System message", exact=True).click()
    page.locator("#system").fill("Be kind.")
    page.locator("#message").fill("Say how it ends.")
    page.locator("#send").click()
    done(page)
    sent = body(page, "/v1/chat/completions")["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    first = page.locator("#chat .assistant .text").first.inner_text()
    assert sent[2]["content"].split()[:3] == first.split()[:3]
    card = point_at(page.locator("#chat .assistant").last.locator(".token").first)
    assert card.locator("li").count() >= 10 and card.get_by_role("button").count() >= 9
    said = page.locator("#chat .assistant .text").last.inner_text()
    page.get_by_role("button", name="Another answer").click()
    done(page)
    assert page.locator("#chat > li").count() == 4 and len(body(page, "/v1/chat/completions")["messages"]) == 4
    assert "2 of 2" in page.locator("#chat .who").last.inner_text()
    page.get_by_role("button", name="The version before").click()
    assert page.locator("#chat .assistant .text").last.inner_text() == said
    page.get_by_role("button", name="Look inside").click()
    done(page)
    assert page.locator("#looks li").first.inner_text() == "<|im_start|>"
    open_tab(page, "Chat")
    page.get_by_role("button", name="New conversation").click()
    assert page.locator("#chat > li").count() == 0 and page.locator(":focus").get_attribute("id") == "message"


@slow
def test_an_answer_branches_where_a_token_is_chosen(visit, engines):
    page, engine = visit("storyworld-chat"), engines("storyworld-chat")
    page.locator("#new-seed").set_checked(False)
    for message in ("Tell me a story about Emma and a lantern.", "Say how it ends."):
        page.locator("#message").fill(message)
        page.keyboard.press("Enter")
        done(page)
    answers = page.locator("#chat .assistant .text")
    first, last = answers.first.inner_text(), answers.last.inner_text()
    tokens = answers.first.locator(".token").all_inner_texts()
    answers.first.locator(".token").nth(4).focus()
    page.keyboard.press("Enter")
    chosen = page.locator(":focus").get_attribute("aria-label")
    page.keyboard.press("Enter")
    done(page)
    sent = body(page, "/v1/chat/completions")
    template = template_of(engine.tokenizer)
    ids = [*template.encode(engine.tokenizer, sent["messages"]).ids, *sent["prefix"]]
    options = SamplingOptions(200, temperature=0.8, seed=sent["seed"]).stopping_at(template.stop_id(engine.tokenizer))
    [expected] = generate(engine.model, engine.tokenizer, [ids], options)
    assert [message["role"] for message in sent["messages"]] == ["user"] and len(sent["prefix"]) == 5
    assert chosen.startswith("Branch here with") and page.locator(":focus").get_attribute("data-i") == "4"
    shown = answers.first.locator(".token").all_inner_texts()
    assert shown[:4] == tokens[:4] and shown[4] != tokens[4] and len(shown) == 5 + len(expected.ids)
    content = engine.tokenizer.decode(sent["prefix"]) + expected.text
    assert page.locator("#status").inner_text() == f"The assistant: {content}".strip()
    assert page.locator("#chat > li").count() == 2  # what followed the other version is not said here
    assert f"in place of “{tokens[4]}”" in page.locator(".versions").inner_text()
    assert "1 token chosen by you" in page.locator("#chat .numbers").inner_text()
    page.locator("#message").fill("Why?")
    page.keyboard.press("Enter")
    done(page)
    assert body(page, "/v1/chat/completions")["messages"][1]["content"] == content.strip()
    page.get_by_role("button", name="The version before").click()  # and that one comes back with what followed it
    assert [answers.first.inner_text(), answers.last.inner_text()] == [first, last]
    assert page.locator(":focus").get_attribute("aria-label") == "The next version"


def streamed(*tokens, finish_reason="stop"):
    """A stream of /v1/chat/completions that says these tokens (bytes), each with the alternatives “ no” and the end."""
    others = [{"id": 8, "token": " no", "logprob": -2.0, "bytes": list(b" no")},
              {"id": 9, "token": "<|im_end|>", "logprob": -3.0, "bytes": list(b"<|im_end|>")}]  # fmt: skip
    content = [{"id": 7, "token": token.decode(errors="replace"), "logprob": -1.0, "bytes": list(token),
                "top_logprobs": others} for token in tokens]  # fmt: skip
    choice = {"index": 0, "delta": {"content": ""}, "logprobs": {"content": content}, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n" + "data: [DONE]\n\n" * (finish_reason is not None)


def chat_with(page, *streams):
    """Let the server's answers in the chat be these, one after another; the last of them again and again."""
    left = list(streams)
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        body=left.pop(0) if len(left) > 1 else left[0], content_type="text/event-stream"))  # fmt: skip


@slow
def test_who_chooses_the_end_ends_the_answer_and_the_server_is_not_asked(visit):
    page = visit("storyworld-chat")
    chat_with(page, streamed(b"Once", b" there", b" was"))
    page.locator("#send").click()
    done(page)
    asked = len(page.asked)
    page.locator("#chat .token").nth(1).click()
    card_of(page).get_by_role("button", name="im_end").click()
    assert texts(page, "#chat .token") == ["Once", "<|im_end|>"] and len(page.asked) == asked
    assert "You ended it." in page.locator("#chat .numbers").inner_text()
    page.locator("#message").fill("Go on.")
    page.keyboard.press("Enter")
    done(page)
    assert [message["content"] for message in body(page, "/v1/chat/completions")["messages"]][1:] == ["Once", "Go on."]


@slow
def test_a_character_of_several_tokens_is_put_together_again(visit):
    page, dog = visit("storyworld-chat"), "🐕".encode()
    chat_with(page, streamed(b"A ", dog[:2], dog[2:], b"<|im_end|>"))
    page.locator("#send").click()
    done(page)
    assert page.locator("#status").inner_text() == "The assistant: A 🐕"
    assert "a piece of a character" in point_at(page.locator("#chat .token").nth(1)).inner_text()
    page.locator("#message").fill("What?")
    page.locator("#send").click()
    done(page)
    assert body(page, "/v1/chat/completions")["messages"][1] == {"role": "assistant", "content": "A 🐕"}


@slow
def test_a_character_of_several_tokens_is_whole_in_a_text_too(visit):
    page = visit("storyworld-gpt")
    write(page, prompt="A naïve 🐕", max_tokens=3)
    assert page.locator("#text .token", has_text="\ufffd").count() > 2
    assert page.locator("#text-plain").inner_text().startswith("The text: A naïve 🐕")


@slow
def test_an_answer_that_broke_off_is_tried_again_as_another_version(visit):
    page = visit("storyworld-chat")
    chat_with(page, streamed(b"Once", b" there", finish_reason=None), streamed(b"Well"))
    page.locator("#send").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "It broke off." in page.locator("#chat .numbers").inner_text()
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert texts(page, "#chat .token") == ["Well"] and "2 of 2" in page.locator(".versions").inner_text()
    assert [message["role"] for message in body(page, "/v1/chat/completions")["messages"]] == ["user"]


@slow
def test_an_answer_that_did_not_begin_is_no_version(visit):
    page = visit("storyworld-chat")
    chat_with(page, streamed(finish_reason=None), streamed(b"Well"))
    page.locator("#send").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert page.locator("#chat > li").count() == 1
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert texts(page, "#chat .token") == ["Well"] and page.locator(".versions button").count() == 0
    page.route("**/v1/chat/completions", lambda route: route.abort())
    page.expected = [EXTERNAL]
    page.get_by_role("button", name="Another answer").click()
    page.wait_for_selector("#problem:not([hidden])")
    page.get_by_role("button", name="New conversation").click()  # nothing of the old one can be tried again
    assert page.locator("#problem").is_hidden() and page.locator("#chat > li").count() == 0


@slow
def test_who_interrupts_an_answer_has_heard_what_it_said(visit, engines):
    page = visit("storyworld-chat")
    with slowed(engines("storyworld-chat")):
        page.locator("#send").click()
        page.wait_for_selector("#chat .token >> nth=6")
        page.locator("#message").fill("Stop. Who was it?")
        page.keyboard.press("Enter")
        page.wait_for_selector("#chat > li >> nth=3")
        page.keyboard.press("Escape")
        done(page)
    sent = body(page, "/v1/chat/completions")["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[1]["content"].split() == page.locator("#chat .assistant .text").first.inner_text().split()
    assert "You stopped it." in page.locator("#chat .numbers").first.inner_text()


@slow
def test_while_an_answer_grows_the_field_below_it_stays_in_sight(visit):
    page = visit("storyworld-chat", height=700)
    chat_with(page, streamed(*[b" lantern"] * 600))
    page.locator("#send").click()
    done(page)
    wait_until(lambda: page.evaluate("document.getElementById('send').getBoundingClientRect().bottom <= innerHeight"))
    assert page.evaluate("scrollY") > 0
    page.evaluate("scrollTo(0, 0)")  # who has scrolled away is left there
    page.locator("#message").evaluate("field => { field.value = 'More'; document.getElementById('send').click(); }")
    done(page)
    page.wait_for_selector("#chat > li >> nth=3")
    assert page.evaluate("new Promise(done => requestAnimationFrame(() => done(scrollY)))") == 0


@slow
def test_much_text_at_once_is_measured_once(visit):
    """To measure is to lay out the page: of 2,000 tokens that come together that would be the most of the time."""
    page = visit("storyworld-gpt")
    done(page)
    count = """() => {
      let n = 0;
      const box = $("run"), measure = box.getBoundingClientRect.bind(box);
      box.getBoundingClientRect = () => { n++; return measure(); };
      for (let i = 0; i < 500; i++) keepInSight(box);
      return n;
    }"""
    assert page.evaluate(count) == 1


@slow
def test_what_the_page_waits_for_can_be_seen(visit, engines):
    page = visit("storyworld-gpt")
    line = "getComputedStyle(document.getElementById('panel'), '::before').content"
    done(page)
    assert page.evaluate(line) == "none"
    with slowed(engines("storyworld-gpt")):
        page.get_by_role("button", name="Write").click()
        page.wait_for_selector("#text.caret")
        assert page.evaluate(line) != "none"
        page.keyboard.press("Escape")
        done(page)


@slow
def test_the_text_is_copied_without_what_is_no_text(visit):
    page = visit("storyworld-gpt", permissions=["clipboard-read", "clipboard-write"])
    other = {"id": 0, "token": "<|endoftext|>", "logprob": -0.5}
    logprobs = {"token_ids": [5, 0], "tokens": [" end.", "<|endoftext|>"], "token_logprobs": [-1, -1],
                "bytes": [list(b" end."), list(b"<|endoftext|>")], "alternatives": [[other], [other]]}  # fmt: skip
    choice = {"index": 0, "text": " end.", "logprobs": logprobs, "finish_reason": "stop"}
    stream = f"data: {json.dumps({'choices': [choice]})}\n\ndata: [DONE]\n\n"
    page.route("**/v1/completions", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    write(page, prompt="The")
    page.get_by_role("button", name="Copy the text").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.locator("#status").inner_text() == "Copied"
    assert page.evaluate("navigator.clipboard.readText()") == "The end."
    assert page.locator("#text-plain").inner_text() == "The text: The end."
    page.get_by_role("button", name="Only read it").click()
    page.get_by_role("button", name="Copy the text").wait_for()  # of this one nothing has been copied
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.get_by_role("button", name="Copy the text").click()
    page.get_by_role("button", name="The browser does not allow it").wait_for()


@slow
def test_text_from_right_to_left_begins_on_the_right(visit):
    page = visit("storyworld-chat")
    chat_with(page, streamed("שלום".encode()))
    page.locator("#message").fill("מה שלומך?")
    assert page.locator("#message").evaluate("field => getComputedStyle(field).direction") == "rtl"
    page.locator("#send").click()
    done(page)
    directions = page.locator("#chat .text").evaluate_all("all => all.map(one => getComputedStyle(one).direction)")
    assert directions == ["rtl", "rtl"]


@slow
def test_a_token_wider_than_the_page_breaks_and_is_cut_in_the_card(visit):
    page = visit("storyworld-chat", width=400)
    chat_with(page, streamed(b"w" * 300, b" end"))
    page.locator("#send").click()
    done(page)
    for place in (0, 1):
        page.locator("#chat .token").nth(place).focus()
        card_of(page).wait_for(state="visible")
        no_sideways_scrolling(page)
    page.locator("#chat .token").first.focus()
    card_of(page).get_by_role("button").first.click()
    done(page)
    assert "2 of 2" in page.locator(".versions").inner_text()
    no_sideways_scrolling(page)


@slow
def test_another_model_after_a_restart_is_loaded_anew(visit, engines):
    page = visit("storyworld-gpt", expected=[EXTERNAL])
    done(page)
    page.stop_server(1.0)
    with app_of(engines("storyworld-bert"), name="storyworld-bert") as app:
        again = HTTPServer(app, port=page.port)
        again.start()
        try:
            page.get_by_role("tab", name="Attention").click()
            page.wait_for_selector("#problem:not([hidden])")
            assert "there is 'storyworld-bert'" in page.locator("#problem-text").inner_text().replace('"', "'")
            page.get_by_role("button", name="Load the page anew").click()
            page.get_by_role("heading", name="storyworld-bert").wait_for()
            assert page.get_by_role("tab").first.inner_text() == "Fill in"
        finally:
            again.stop(1.0)


COLOURED = [("storyworld-gpt", "Write"), ("storyworld-chat", "Chat"), ("storyworld-bert", "Fill in"),
            ("storyworld-de-en", "Translate")]  # fmt: skip


@slow
@pytest.mark.parametrize(("model", "title"), COLOURED)
def test_where_there_are_colours_their_meaning_stands_below(visit, model, title):
    page = visit(model)
    open_tab(page, title)
    assert page.locator(".legend:visible").count() == 0
    fill_tab(page, title)
    legend, text = page.locator(".legend:visible"), page.locator(".text:visible:has(.token)").last
    assert legend.count() == 1 and legend.locator("span").count() == 6
    assert legend.bounding_box()["y"] > text.bounding_box()["y"]


@slow
def test_fill_in_and_choose(visit, engines):
    page, engine = visit("storyworld-bert"), engines("storyworld-bert")
    text = "The shy [MASK] lived by the [MASK]."
    page.locator("#masked").fill(text)
    page.locator("#fill").click()
    done(page)
    expected = fill_masks(engine.model, engine.tokenizer, text, n=8)
    assert page.locator("#masks .name").all_inner_texts() == [word for best in expected for word, _ in best]
    second = expected[1][2][0]
    page.locator("#masks section").nth(1).get_by_role("button").nth(2).click()
    done(page)
    assert page.locator("#masked").input_value() == f"The shy [MASK] lived by the {second}."
    assert body(page, "/v1/fill-mask")["input"] == f"The shy [MASK] lived by the {second}."  # the other is guessed anew
    page.locator("#masks").get_by_role("button").first.click()
    done(page)
    page.locator("#masked").evaluate("field => field.setSelectionRange(5, 5)")
    page.get_by_role("button", name="Hide the word").click()
    assert page.locator("#masked").input_value().startswith("The [MASK] ")
    page.locator("#masked").fill("The shy girl lived by the lake.")
    page.get_by_role("button", name="How surprising").click()
    done(page)
    assert texts(page, "#surprise-text .token")[1:4] == ["the", "shy", "girl"]


@slow
def test_a_label_and_its_evidence(visit, engines):
    page, engine = visit("classifier"), engines("classifier")
    text = "Anna 😀 was happy ."
    page.locator("#classified").fill(text)
    page.locator("#classify").click()
    done(page)
    [probabilities] = classify(engine.model, engine.tokenizer, [text])
    label = engine.model.config.labels[probabilities.argmax()]
    assert page.locator("#label-name").inner_text() == f"Label: {label}"
    words = label_evidence(engine.model, engine.tokenizer, text)
    shown = page.locator("#evidence .word")
    assert shown.all_inner_texts() == [word.text for word in words]
    assert page.locator("#evidence").inner_text() == text  # places are right also after a character of two halves
    strongest = max(words, key=lambda word: abs(word.influence))
    item = page.locator("#evidence .word", has_text=strongest.text).first
    card = point_at(item)
    p = probabilities.max()
    assert f"{label}: {p:.1%} → {p - strongest.influence:.1%}" in card.inner_text()
    assert ("against" in item.get_attribute("class")) == (strongest.influence < 0)


@slow
def test_an_answer_is_marked_in_its_text(visit, engines):
    page = visit("span")
    context = "the cat 😀 sat on the mat . Anna was sad ."
    for question in ("who ?", "the cat", "Anna was", "a dog ran to the river", "mat", "was happy and sad ."):
        page.locator("#question").fill(question)
        page.locator("#context").fill(context)
        page.locator("#question").press("Enter")
        done(page)
        asked = {"question": question, "context": context}
        answer = page.request.post(f"{page.url_asked}/v1/question-answering", data=asked).json()
        if answer["answerable"]:
            assert page.locator("#answer-text").inner_text() == page.locator("mark").inner_text() == answer["answer"]
        else:
            assert page.locator("mark").count() == 0
            assert page.locator("#answer-text").inner_text() == "There is no answer in this text."
        assert page.locator("#answer-context").inner_text() == context


@slow
def test_what_is_too_long_to_be_read_whole_is_said(visit):
    page = visit("classifier")
    page.locator("#evidence-wanted").uncheck()
    for text, warnings in (("Anna was happy . " * 100, 1), ("Anna was happy .", 0)):
        page.locator("#classified").fill(text)
        page.locator("#classify").click()
        done(page)
        assert page.locator("#label-warnings li").count() == warnings
    page = visit("span")
    for question, warnings in (("who ? " * 200, 1), ("who ?", 0)):
        page.locator("#question").fill(question)
        page.locator("#context").fill("the cat sat on the mat .")
        page.locator("#answer").click()
        done(page)
        assert page.locator("#answer-warnings li").count() == warnings


@slow
def test_a_translation_and_what_it_looked_at(visit, engines):
    page, engine = visit("storyworld-de-en"), engines("storyworld-de-en")
    page.locator("#source").fill("Paul war ein schüchterner Junge.")
    page.locator("#source").press("Control+Enter")
    page.wait_for_selector("#attention:not([hidden])")
    done(page)
    assert "".join(texts(page, "#translation .token")[:-1]) == "Paulwasashyboy."
    source = [*engine.tokenizer.encode("Paul war ein schüchterner Junge."), engine.tokenizer.end_of_text]
    target = [engine.tokenizer.start_of_target, *engine.tokenizer.encode("Paul was a shy boy.")]
    maps = attention_maps(engine.model, torch.tensor([source]), torch.tensor([target]))
    weights = maps["decoder_blocks.0.cross_attention"][0].mean(dim=0)
    assert page.locator("#looks li").count() == len(target) and page.locator("#seen li").count() == len(source)
    assert page.locator("#readout").inner_text().endswith(f"weight {weights[-1].max():.3f}.")
    page.locator("#kind").select_option("attention")
    done(page)
    assert page.locator("#looks li").count() == len(source)
    assert page.get_by_role("tab").count() == 1


@slow
def test_a_server_that_is_gone_gets_a_sentence_and_a_retry(visit):
    page = visit("storyworld-gpt", expected=[EXTERNAL])
    port = page.port
    page.stop_server(1.0)
    page.get_by_role("button", name="Write").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "The server does not answer." in page.get_by_role("alert").inner_text()
    again = HTTPServer(page.app, port=port)
    again.start()
    try:
        page.get_by_role("button", name="Try again").click()
        done(page)
        assert page.locator("#problem").is_hidden() and len(texts(page)) > 6
    finally:
        again.stop(1.0)


@slow
def test_a_server_that_goes_while_writing_leaves_what_is_there(visit, engines):
    page = visit("storyworld-gpt", expected=[EXTERNAL])
    with slowed(engines("storyworld-gpt")):
        page.get_by_role("button", name="Write").click()
        page.wait_for_selector("#text .token >> nth=10")
        page.stop_server(0.0)
        page.wait_for_selector("#problem:not([hidden])")
    assert "Is the server still running?" in page.get_by_role("alert").inner_text()
    assert len(texts(page)) > 10 and "It broke off." in page.locator("#numbers").inner_text()


@slow
def test_what_goes_wrong_in_a_tab_is_said_in_that_tab(visit):
    page, held = visit("storyworld-gpt", expected=[EXTERNAL]), []
    page.route("**/v1/chat/completions", lambda route: held.append(route))
    open_tab(page, "Chat")
    with page.expect_request("**/v1/chat/completions"):
        page.locator("#send").click()
    open_tab(page, "Write")
    held[0].abort()
    wait_until(lambda: page.evaluate("!('chat' in running)"))  # `wait_for_function` would eval, which is forbidden
    assert page.locator("#problem").is_hidden()
    write(page, max_tokens=3)
    open_tab(page, "Chat")
    assert "does not answer" in page.locator("#problem-text").inner_text()
    page.unroute("**/v1/chat/completions")
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert page.locator("#problem").is_hidden() and page.locator("#chat .assistant .token").count() > 0


@slow
def test_a_busy_server_says_when_to_come_back(visit, engines):
    first = engines("storyworld-gpt")
    engine, free = Engine(first.model, first.tokenizer, max_waiting=1), threading.Event()
    page = visit(engine, expected=[EXTERNAL])
    held = [threading.Thread(target=engine.run, args=[free.wait], daemon=True) for _ in range(2)]
    for number, thread in enumerate(held):  # one that runs and one that waits: the queue is full
        thread.start()
        wait_until(lambda number=number: engine.n_waiting == number)
    try:
        page.get_by_role("button", name="Write").click()
        page.wait_for_selector("#problem:not([hidden])")
        assert re.search(r"busy.*ask again in \d+ s", page.get_by_role("alert").inner_text())
    finally:
        free.set()
        for thread in held:
            thread.join()
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert page.locator("#problem").is_hidden() and len(texts(page)) > 6


@slow
def test_a_bad_request_gets_the_servers_sentence(visit):
    page = visit("storyworld-bert", expected=[EXTERNAL])
    page.locator("#masked").fill("nothing hidden")
    page.locator("#fill").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "[MASK]" in page.locator("#problem-text").inner_text()
    page.get_by_role("button", name="Close").click()
    assert page.locator("#problem").is_hidden()


@slow
@pytest.mark.parametrize("status", [None, 503])
def test_a_server_that_is_not_there_yet_gets_one_sentence_and_a_retry(visit, status):
    page = visit("gpt", expected=[EXTERNAL])
    page.route("**/v1/models", lambda route: route.fulfill(status=status) if status else route.abort())
    page.reload()
    page.wait_for_selector("#problem:not([hidden])")
    sentence = "The server does not answer yet. It may still be starting."
    assert page.locator("main").inner_text() == f"{sentence}\n\nTry again"
    page.unroute("**/v1/models")
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert page.get_by_role("tab").first.inner_text() == "Write" and page.locator("#problem").is_hidden()


def test_a_key_is_asked_for_and_never_shown(visit):
    page = visit("gpt", expected=[EXTERNAL], app_settings={"api_key": "open-sesame"})
    said = "This server asks for a key."
    for wrong in ("", "wrong", "мой ключ", "wrong again"):
        page.wait_for_selector(f"#problem-text:text-is('{said}')")
        assert page.locator("#panel").is_hidden() and page.get_by_role("tab").count() == 0
        assert page.locator(":focus").get_attribute("id") == "key"
        page.keyboard.type(wrong)  # in place of the one before: it is selected
        assert page.locator("#key").input_value() == wrong
        page.keyboard.press("Enter")
        said = "That key is not the right one." if wrong else said
    page.locator("#key").fill("open-sesame")
    page.get_by_role("button", name="Use this key").click()
    write(page, prompt="abc", max_tokens=5)
    assert len(texts(page)) == 8
    assert "open-sesame" not in page.content() and "$LLMASOS_API_KEY" in page.locator("#api-curl").text_content()


@slow
def test_a_model_that_has_learned_to_answer_begins_with_the_chat(visit):
    page = visit("storyworld-chat")
    page.wait_for_selector("#message")
    assert page.get_by_role("tab").all_inner_texts() == ["Chat", "Write", "Attention", "Logit lens"]
    assert page.get_by_role("tab", selected=True).inner_text() == "Chat" and page.locator("#no-template").is_hidden()
    page.locator("#send").click()
    done(page)
    said = {"role": "user", "content": "Tell me a story about Emma and a lantern."}
    assert body(page, "/v1/chat/completions")["messages"] == [said]
    page = visit("storyworld-gpt")
    page.wait_for_selector("#prompt")
    assert page.get_by_role("tab").all_inner_texts() == ["Write", "Attention", "Logit lens", "Chat"]
    open_tab(page, "Chat")
    assert "has not learned to answer" in page.locator("#no-template").inner_text()


FIELDS = [("gpt", "Write", "run", "#prompt"), ("gpt", "Chat", "send", "#message"),
          ("gpt", "Attention", "look", "#subject"), ("bert", "Fill in", "fill", "#masked"),
          ("classifier", "Classify", "classify", "#classified"), ("span", "Answer", "answer", "#question"),
          ("transformer", "Translate", "translate", "#source")]  # fmt: skip


@slow
@pytest.mark.parametrize(("model", "title", "button", "field"), FIELDS)
def test_of_nothing_the_server_is_not_asked(visit, model, title, button, field):
    page = visit(model)
    open_tab(page, title)
    asked = len(page.asked)
    page.locator(field).fill("  ")
    for ask in (page.locator(f"#{button}").click, lambda: page.keyboard.press("Control+Enter")):
        ask()
        sentence = page.get_by_text("Write something first.")
        assert sentence.is_visible() and "#" + page.locator(":focus").get_attribute("id") == field
        below = sentence.bounding_box()["y"] - page.locator(field).bounding_box()["y"]
        assert 0 < below < 150
        page.keyboard.type("a")
        assert sentence.is_hidden()
        page.locator(field).fill("")
    assert len(page.asked) == asked and page.locator("#problem").is_hidden()


@slow
def test_there_is_an_example_to_begin_with(visit):
    for name, button, answer in (("storyworld-bert", "#fill", "#masks .name"), ("storyworld-gpt", "#run", "#written"),
                                 ("classifier", "#classify", "#labels .name"), ("span", "#answer", "#answer-scores"),
                                 ("storyworld-de-en", "#translate", "#translation .token")):  # fmt: skip
        page = visit(name)
        page.locator(button).click()
        page.wait_for_selector(answer)
        done(page)
    assert "".join(texts(page, "#translation .token")[:-1]) == "OncetherewasacuriousgirlcalledAnna."


@slow
def test_a_lens_that_goes_on_beyond_the_edge_shows_it(visit):
    page = visit("storyworld-gpt", width=400)
    open_tab(page, "Logit lens")
    box, caption = page.locator("#lens-box"), page.locator("#lens-more")
    fades = "box => getComputedStyle(box).maskImage !== 'none'"
    assert caption.is_visible() and box.evaluate(fades)
    page.locator("#lens-table tr").nth(1).locator("td").last.scroll_into_view_if_needed()
    page.wait_for_selector("#lens-box:not(.more)")
    assert caption.is_visible() and not box.evaluate(fades)
    page.set_viewport_size({"width": 1100, "height": 900})
    caption.wait_for(state="hidden")
    assert not box.evaluate(fades)


@slow
def test_the_header_has_room_for_the_model_in_a_narrow_window(visit):
    page = visit("storyworld-gpt", width=400)
    done(page)
    for width, below in ((400, True), (600, False), (1100, False)):
        page.set_viewport_size({"width": width, "height": 900})
        facts, button = page.locator("#facts").bounding_box(), page.locator("#theme").bounding_box()
        assert (button["y"] >= facts["y"] + facts["height"]) == below
    assert button["x"] > facts["x"] + 300


@slow
def test_the_map_takes_the_room_there_is_and_shows_small_weights(visit):
    page = visit("storyworld-gpt", width=1200)
    open_tab(page, "Attention")
    assert page.locator("#map").bounding_box()["width"] > 0.5 * page.locator("#panel").bounding_box()["width"]
    alphas = "[...picture([[0, 0.01, 1]], 'rgb(9, 9, 9)').getContext('2d').getImageData(0, 0, 3, 1).data]"
    nothing, small, all_of_it = page.evaluate(alphas)[3::4]
    assert (nothing, all_of_it) == (0, 255) and small > 0.15 * 255
    moves = """() => {
      let n = 0;
      const before = picture;
      picture = (...all) => { n++; return before(...all); };
      for (const row of [0, 1, 2, 3]) moveTo(row, 1);
      picture = before;
      moveTo(view.tokens.length - 1);
      return n;
    }"""
    assert page.evaluate(moves) == 0  # nothing that is slow is done anew while the pointer moves
    for head in page.locator("#heads label").all():  # of another head, too, what is looked at most comes first
        head.click()
        most = page.evaluate("Math.max(...weightsOf(view.head)[view.row])")
        assert page.locator("#readout").inner_text().endswith(f"weight {most:.3f}.")


HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"


@slow
def test_text_is_never_taken_for_html(visit):
    page = visit("storyworld-gpt")
    write(page, prompt=HOSTILE, max_tokens=5)
    assert "<img" in page.locator("#text-plain").inner_text()
    open_tab(page, "Attention")
    page.locator("#subject").fill(HOSTILE)
    page.locator("#look").click()
    done(page)
    open_tab(page, "Chat")
    page.locator("#message").fill(HOSTILE)
    page.locator("#send").click()
    done(page)
    assert page.locator("#chat .user .text").inner_text() == HOSTILE
    harmless(page)


@slow
def test_what_a_model_writes_is_never_taken_for_html(visit):
    page = visit("storyworld-gpt")
    other = {"id": 2, "token": HOSTILE, "logprob": -1.0}
    look = {"tokens": [{"id": 1, "text": HOSTILE, "logprob": -3.0, "rank": 1, "alternatives": [other]}]}
    logprobs = {"token_ids": [1], "tokens": [HOSTILE], "token_logprobs": [-2.0], "bytes": [list(HOSTILE.encode())],
                "alternatives": [[other]]}  # fmt: skip
    choice = {"index": 0, "text": HOSTILE, "logprobs": logprobs, "finish_reason": HOSTILE, "warnings": [HOSTILE]}
    stream = f"data: {json.dumps({'choices': [choice]})}\r\n\r\ndata: [DONE]\r\n\r\n"
    page.route("**/v1/inspect", lambda route: route.fulfill(json=look))
    page.route("**/v1/completions", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    page.get_by_role("button", name="Write").click()
    done(page)
    page.locator("#text .token").last.click()
    assert HOSTILE in card_of(page).inner_text() and HOSTILE in page.locator("#warnings").inner_text()
    card_of(page).get_by_role("button").first.click()
    done(page)
    harmless(page)


@slow
@pytest.mark.parametrize("path", ["completions", "look"])
def test_the_request_shown_as_curl_and_python_does_the_same(visit, path):
    pytest.importorskip("openai")
    page = visit("storyworld-gpt")
    if path == "completions":
        write(page, prompt='It\'s "Paul" who\n', max_tokens=20, top_k=50)
    else:
        open_tab(page, "Logit lens")
    page.locator("#api summary").click()
    curl, code = page.locator("#api-curl").inner_text(), page.locator("#api-python").inner_text()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    words = shlex.split(curl.replace("\\\n", " "))
    assert words[0] == "curl" and words[-2] == "-d"
    url = f"{page.url_asked}/v1/{path}"
    answer = page.request.post(url, headers={"Content-Type": "application/json"}, data=words[-1])
    assert answer.ok and url in words
    if path == "completions":
        assert page.locator("#text-plain").text_content().endswith(said.stdout) and len(said.stdout) > 10
    else:
        assert "'object': 'look'" in said.stdout


TABS = [("storyworld-chat", "Write"), ("storyworld-chat", "Chat"), ("storyworld-chat", "Attention"),
        ("storyworld-chat", "Logit lens"), ("storyworld-bert", "Fill in"), ("classifier", "Classify"),
        ("span", "Answer"), ("storyworld-de-en", "Translate")]  # fmt: skip


@slow
@pytest.mark.parametrize(("model", "title"), TABS)
def test_every_tab_fits_can_be_read_and_has_names(visit, model, title):
    page = visit(model, width=400)
    fill_tab(page, title)
    for width in (320, 400, 1100):
        page.set_viewport_size({"width": width, "height": 800})
        no_sideways_scrolling(page)
    tokens = page.locator(".token:visible, .word:visible, .lens td:visible")
    if tokens.count():
        point_at(tokens.nth(tokens.count() // 2))
    nameless, focusable = names(page)
    assert nameless == [] and focusable > 5
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        faint, looked_at = contrast(page)
        assert faint == [] and looked_at > 20
    page.set_viewport_size({"width": 400, "height": 800})
    no_sideways_scrolling(page)


@slow
def test_every_colour_of_a_token_can_be_read_in_both_themes(visit):
    page = visit("storyworld-gpt")
    write(page, max_tokens=3)
    page.locator("#text").evaluate(
        "box => { for (const kind of ['p1', 'p2', 'p3', 'p4', 'p5', 'p5 given', 'p0 given', 'special']) "
        "{ const one = document.createElement('span'); one.className = `token ${kind}`; one.textContent = kind; "
        "box.append(one); } }"
    )
    shades = "all => all.map(one => getComputedStyle(one).backgroundColor)"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert contrast(page)[0] == []
        colours = page.locator("#written .legend span").evaluate_all(shades)
        assert len(set(colours)) == 6
    style = "all => all.map(one => getComputedStyle(one).textDecorationStyle)"
    marks = page.locator("#written .legend :is(.p4, .p5)").evaluate_all(style)
    assert marks == ["dotted", "wavy"]  # the least likely can be told without colour


@slow
def test_light_dark_and_the_button_that_decides(visit):
    page = visit("storyworld-gpt", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    button = page.locator("#theme")
    assert button.inner_text() == "Theme: system"
    button.click()
    assert button.inner_text() == "Theme: light" and page.evaluate(ground) != dark
    page.reload()
    page.wait_for_selector("[role=tab]")
    assert page.locator("#theme").inner_text() == "Theme: light"
    page.locator("#theme").click()
    assert page.evaluate(ground) == dark


@slow
def test_nothing_moves_where_motion_is_not_wanted(visit, engines):
    page = visit("storyworld-gpt", reduced_motion="reduce")
    with slowed(engines("storyworld-gpt")):
        page.get_by_role("button", name="Write").click()
        page.wait_for_selector("#text.caret .token >> nth=8")
        for part in ("'text'), '::after'", "'panel'), '::before'"):  # the caret, and the line that says that it works
            style = f"getComputedStyle(document.getElementById({part})"
            assert page.evaluate(f"{style}.content") != "none" and page.evaluate(f"{style}.animationName") == "none"
        page.keyboard.press("Escape")
        done(page)
