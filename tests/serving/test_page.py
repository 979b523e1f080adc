"""The page in a real browser (headless Chromium), against a real server with the shipped models.

Without Chromium or playwright these tests are skipped; with LLMASOS_BROWSER=required they fail instead.
"""

import json
import re

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
    slowed,
    texts,
    write,
)
from serving_http_helpers import app_of, wait_until

from llmasos.generation import generate
from llmasos.interpret import attention_maps, label_evidence, logit_lens, score_tokens
from llmasos.prompting import template_of
from llmasos.serving.http.page import page_html
from llmasos.serving.http.server import HTTPServer
from llmasos.tasks import classify, fill_masks

slow = pytest.mark.slow
EXTERNAL = "Failed to load resource"  # Chromium's own message in the console about an error response


def test_the_file_stands_alone_and_puts_no_html_into_itself():
    page = page_html().decode()
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
    """A short test of the most important features; those below are slower and more thorough."""
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
    open_sampling(page)
    page.locator("#set-max_tokens").fill("40")
    with slowed(engine):
        page.locator("#prompt").fill("Paul was")
        page.locator("#prompt").press("Control+Enter")
        page.wait_for_selector("#text .token >> nth=5")
        assert page.locator("#panel").get_attribute("aria-busy") == "true"
        assert "caret" in page.locator("#text").get_attribute("class")
        done(page)
    sent = body(page, "/v1/completions")
    [expected] = generate(engine.model, engine.tokenizer, ["Paul was"], options_of(sent))
    plain = page.locator("#text-plain").inner_text()
    assert plain.strip().endswith(("Paul was" + expected.text).strip())
    shown = page.locator("#statistics").inner_text()
    perplexity = torch.tensor(expected.logprobs).mean().neg().exp()
    assert f"{len(expected.ids)} tokens generated, perplexity {perplexity:.3g}"[:-1] in shown
    assert ("ended the text" in shown) == (expected.finish_reason == "stop")
    spoken = page.locator("#status").inner_text()  # to a screen reader, once
    assert spoken.endswith(plain.removeprefix("Text: ").strip())


@slow
def test_the_prompt_is_colored_by_how_likely_it_was(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    page.locator("#prompt").fill("Once there was a zebra")
    page.get_by_role("button", name="Score only").click()
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
        open_sampling(page)
        page.locator("#set-max_tokens").fill("400")
        page.locator("#set-temperature").fill("2")
        page.locator("#new-seed").set_checked(False)  # this one's text is long; many end before they are stopped
        page.locator("#seed").fill("11")
        page.get_by_role("button", name="Generate").click()
        page.wait_for_selector("#text .token >> nth=12")
        if how == "button":
            page.locator(".stop:visible").click()
        else:
            page.keyboard.press("Escape")
        done(page)
        wait_until(lambda: engine.n_running == 0, 5.0)
    assert 12 < len(texts(page)) < 200
    assert "You stopped it." in page.locator("#statistics").inner_text()
    assert page.locator("#problem").is_hidden()


@slow
def test_the_keyboard_reaches_everything_a_pointer_does(visit):
    page = visit("storyworld-gpt")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the model"
    write(page, max_tokens=15)
    before = texts(page)
    page.locator("#text .token").first.focus()
    first = int(page.locator(":focus").get_attribute("data-i"))  # 1: number 0 begins the text and is not shown
    for key, arrived in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.locator(":focus").get_attribute("data-i") == str(first + arrived)
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    place = int(page.locator(":focus").get_attribute("data-i"))
    assert place == first + len(before) - 2
    assert page.locator("#text .token[tabindex='0']").count() == 1  # one stop of the Tab key for the whole text
    card = card_of(page)
    assert card.is_visible()
    page.keyboard.press("Escape")
    assert card.is_hidden() and page.locator(":focus").get_attribute("data-i") == str(place)
    page.set_viewport_size({"width": 400, "height": 800})
    page.keyboard.press("Home")
    height = "document.activeElement.offsetTop"  # in the page: the window may scroll
    top = page.evaluate(height)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(height) > top  # in the next line
    page.keyboard.press("ArrowUp")
    assert page.evaluate(height) == top
    page.locator(f"#text .token[data-i='{place}']").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(":focus").text_content()
    assert chosen.endswith("branch here")
    page.keyboard.press("Enter")
    done(page)
    assert page.locator(":focus").get_attribute("data-i") == str(place)
    kept = place - first
    assert texts(page)[:kept] == before[:kept] and texts(page)[kept] != before[kept]


@slow
def test_a_branch_goes_on_from_exactly_those_tokens(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    write(page, max_tokens=30)
    first = texts(page)
    page.locator("#text .token").nth(9).click()
    card_of(page).get_by_role("button").nth(1).click()
    done(page)
    second, sent = texts(page), body(page, "/v1/completions")
    assert isinstance(sent["prompt"], list) and len(sent["prompt"]) == 1 + 10
    [expected] = generate(engine.model, engine.tokenizer, [sent["prompt"]], options_of(sent))
    text = engine.tokenizer.decode(sent["prompt"][1:]) + expected.text
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
        page.get_by_role("button", name="Generate").click()
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
    page.get_by_role("button", name="Inspect this text").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "is 256 for this model" in page.locator("#problem-text").inner_text()


@slow
def test_attention_shows_the_numbers_of_interpret(visit, engines):
    page, engine = visit("storyworld-gpt"), engines("storyworld-gpt")
    open_tab(page, "Attention")
    page.locator("#inspected-text").fill("Paul had a drum.")
    page.locator("#inspect").click()
    done(page)
    ids = engine.tokenizer.encode_prompt("Paul had a drum.")
    maps = list(attention_maps(engine.model, torch.tensor([ids])).values())
    page.locator("#layer").fill("2")
    done(page)
    assert page.locator("#layer-name").inner_text() == f"Layer 3 of {engine.model.config.n_layers}"
    page.locator("#heads label").nth(2).click()  # the mean comes first
    page.locator("#queries li").last.click()
    last = maps[2][0, 1, -1]
    assert page.locator("#readout").inner_text().endswith(f"weight {last.max():.3f}.")
    page.locator("#map").focus()
    for _ in range(len(ids)):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert page.locator("#readout").inner_text().endswith(f"weight {maps[2][0, 1, -2, 1]:.3f}.")
    page.locator("#heads label").first.click()
    row = page.locator("#queries li").nth(3)
    row.click()
    assert row.get_attribute("aria-selected") == "true"
    mean = maps[2][0].mean(dim=0)[3]
    assert page.locator("#readout").inner_text().endswith(f"weight {mean.max():.3f}.")
    thick = page.locator("#curves path").evaluate_all("all => all.map(one => Number(one.getAttribute('stroke-width')))")
    seen = [0.5 + 6 * weight for weight in mean.tolist() if weight >= 0.005]  # others are too thin
    assert thick == pytest.approx(seen, abs=2e-3)
    page.locator("#map").hover(position={"x": 90, "y": 84})
    assert page.locator("#readout").inner_text().endswith(f"weight {maps[2][0].mean(dim=0)[0, 0]:.3f}.")
    page.get_by_text("Show as a table").click()
    page.wait_for_selector("#weights tbody tr")
    assert page.locator("#weights tbody tr").count() == len(ids)
    page.locator("#heads label").nth(3).click()  # while it is open it follows
    most = maps[2][0, 2, -1].argmax()
    name = page.locator("#keys li").nth(int(most)).evaluate("item => item.firstChild.textContent")
    assert f"“{name}” ({most + 1})" in page.locator("#weights tbody tr").last.locator("td").last.inner_text()


@slow
def test_what_was_written_is_looked_into_token_by_token(visit):
    page = visit("storyworld-gpt")
    write(page, max_tokens=20)
    n = 1 + len(texts(page))  # with the token that begins it
    page.get_by_role("button", name="Inspect this text").click()
    done(page)
    sent = body(page, "/v1/inspect")
    assert isinstance(sent["input"], list) and len(sent["input"]) == n == page.locator("#queries li").count()
    open_tab(page, "Logit lens")
    assert body(page, "/v1/inspect")["input"] == sent["input"] and page.locator("#logit-lens tbody tr").count() == n
    page.locator("#inspected-text").fill("Paul")
    page.keyboard.press("Control+Enter")
    done(page)
    assert body(page, "/v1/inspect")["input"] == "Paul"


@slow
@pytest.mark.parametrize("name", ["storyworld-gpt", "storyworld-bert"])
def test_the_lens_shows_what_each_layer_would_say(visit, engines, name):
    page, engine = visit(name), engines(name)
    open_tab(page, "Logit lens")
    ids = [token["id"] for token in page.request.post(
        f"{page.url_asked}/v1/inspect", data={"input": body(page, "/v1/inspect")["input"]}).json()["tokens"]
    ]  # fmt: skip
    rows = logit_lens(engine.model, torch.tensor(ids))
    cells = page.locator("#logit-lens-table td").all_inner_texts()
    best = torch.stack([row.logits[:, : engine.tokenizer.vocab_size].argmax(-1) for row in rows], dim=1)  # (T, L + 1)
    said = [engine.tokenizer.token_bytes(id).decode(errors="replace") for id in best.flatten().tolist()]
    assert [cell.strip("␣ ") for cell in cells] == [text.strip(" ") for text in said]
    page.locator("#logit-lens-table td").first.focus()
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
    page.get_by_role("button", name="Previous version").click()
    assert page.locator("#chat .assistant .text").last.inner_text() == said
    page.get_by_role("button", name="Inspect").click()
    done(page)
    assert page.locator("#queries li").first.inner_text() == "<|im_start|>"
    whole = [*sent, {"role": "assistant", "content": said.removesuffix("<|im_end|>").strip()}]
    inspected = body(page, "/v1/inspect")["input"]  # without the first turn if all have more than 256 tokens
    assert inspected in (whole, [whole[0], *whole[3:]])
    open_tab(page, "Chat")
    page.get_by_role("button", name="New conversation").click()
    assert page.locator("#chat > li").count() == 0 and page.locator(":focus").get_attribute("id") == "message"


@slow
def test_a_long_conversation_is_inspected_without_its_first_turns(visit):
    page = visit("storyworld-chat", "#chat")
    for message in ["The lamp was lost. " * 45, "Hello"]:
        page.locator("#message").fill(message)
        page.keyboard.press("Enter")
        done(page)
    page.get_by_role("button", name="Inspect").click()
    done(page)
    inspected = body(page, "/v1/inspect")["input"]
    assert [message["role"] for message in inspected] == ["user", "assistant"] and inspected[0]["content"] == "Hello"
    assert page.locator("#queries li").first.inner_text() == "<|im_start|>"
    assert page.locator("#inspected-text").input_value().startswith("…\nuser: Hello\nassistant: ")


@slow
def test_an_answer_branches_where_a_token_is_chosen(visit, engines):
    page, engine = visit("storyworld-chat"), engines("storyworld-chat")
    open_sampling(page)
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
    chosen = page.locator(":focus").text_content()
    page.keyboard.press("Enter")
    done(page)
    sent = body(page, "/v1/chat/completions")
    template = template_of(engine.tokenizer)
    ids = [*template.encode(engine.tokenizer, sent["messages"]).ids, *sent["prefix"]]
    [expected] = generate(engine.model, engine.tokenizer, [ids], options_of(sent))
    assert [message["role"] for message in sent["messages"]] == ["user"] and len(sent["prefix"]) == 5
    assert chosen.endswith("branch here") and page.locator(":focus").get_attribute("data-i") == "4"
    shown = answers.first.locator(".token").all_inner_texts()
    assert shown[:4] == tokens[:4] and shown[4] != tokens[4] and len(shown) == 5 + len(expected.ids)
    content = engine.tokenizer.decode(sent["prefix"]) + expected.text
    assert page.locator("#status").inner_text() == f"Assistant: {content}".strip()
    assert page.locator("#chat > li").count() == 2  # the messages after the other version are gone here
    assert f"instead of “{tokens[4]}”" in page.locator(".versions").inner_text()
    assert "1 token chosen by you" in page.locator("#chat .numbers").inner_text()
    page.locator("#message").fill("Why?")
    page.keyboard.press("Enter")
    done(page)
    assert body(page, "/v1/chat/completions")["messages"][1]["content"] == content.strip()
    page.get_by_role("button", name="Previous version").click()  # and that one is restored with the messages after it
    assert [answers.first.inner_text(), answers.last.inner_text()] == [first, last]
    assert page.locator(":focus").get_attribute("aria-label") == "Next version"


def streamed(*tokens, finish_reason="stop"):
    """A stream of /v1/chat/completions with these tokens (bytes), each with the alternatives “ no” and the end."""
    others = [{"id": 8, "token": " no", "logprob": -2.0, "bytes": list(b" no")},
              {"id": 9, "token": "<|im_end|>", "logprob": -3.0, "bytes": list(b"<|im_end|>")}]  # fmt: skip
    content = [{"id": 7, "token": token.decode(errors="replace"), "logprob": -1.0, "bytes": list(token),
                "top_logprobs": others} for token in tokens]  # fmt: skip
    choice = {"index": 0, "delta": {"content": ""}, "logprobs": {"content": content}, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n" + "data: [DONE]\n\n" * (finish_reason is not None)


def chat_with(page, *streams):
    """Replace the server's answers in the chat by these, one after another, and then the last one again and again."""
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
    assert page.locator("#status").inner_text() == "Assistant: A 🐕"
    card = point_at(page.locator("#chat .token").nth(1)).inner_text()
    assert "“🐕”" in card and "One character of 2 tokens: 7 (F0 9F) 37%, 7 (90 95) 37%." in card
    assert texts(page, "#chat .token") == ["A ", "🐕", "<|im_end|>"]
    page.locator("#message").fill("What?")
    page.locator("#send").click()
    done(page)
    assert body(page, "/v1/chat/completions")["messages"][1] == {"role": "assistant", "content": "A 🐕"}


@slow
def test_a_character_of_several_tokens_is_whole_in_a_text_too(visit):
    page = visit("storyworld-gpt")
    write(page, prompt="A naïve 🐕", max_tokens=3)
    assert {"ï", "🐕"} < set(texts(page)) and "\ufffd" not in "".join(texts(page)[:7])
    assert page.locator("#text-plain").inner_text().startswith("Text: A naïve 🐕")


@slow
def test_an_answer_that_broke_off_is_tried_again_as_another_version(visit):
    page = visit("storyworld-chat")
    chat_with(page, streamed(b"Once", b" there", finish_reason=None), streamed(b"Well"))
    page.locator("#send").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "The text broke off." in page.locator("#chat .numbers").inner_text()
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
    wait_until(
        lambda: page.evaluate("document.getElementById('send').getBoundingClientRect().bottom <= innerHeight + 1")
    )
    assert page.evaluate("scrollY") > 0
    page.evaluate("scrollTo(0, 0)")  # a user who has scrolled away stays there
    page.locator("#message").evaluate("field => { field.value = 'More'; document.getElementById('send').click(); }")
    done(page)
    page.wait_for_selector("#chat > li >> nth=3")
    assert page.evaluate("new Promise(done => requestAnimationFrame(() => done(scrollY)))") == 0


@slow
def test_much_text_at_once_is_measured_once(visit):
    """Measuring requires a layout of the page, which would take most of the time for 2,000 tokens at once."""
    page = visit("storyworld-gpt")
    done(page)
    count = """() => {
      let n = 0;
      const box = $("generate"), measure = box.getBoundingClientRect.bind(box);
      box.getBoundingClientRect = () => { n++; return measure(); };
      for (let i = 0; i < 500; i++) keepVisible(box);
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
        page.get_by_role("button", name="Generate").click()
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
    page.get_by_role("button", name="Copy text").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.locator("#status").inner_text() == "Copied"
    assert page.evaluate("navigator.clipboard.readText()") == "The end."
    assert page.locator("#text-plain").inner_text() == "Text: The end."
    page.get_by_role("button", name="Score only").click()
    page.get_by_role("button", name="Copy text").wait_for()  # of this one nothing has been copied
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.get_by_role("button", name="Copy text").click()
    page.get_by_role("button", name="The browser denied access").wait_for()


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
            assert "the model is 'storyworld-bert'" in page.locator("#problem-text").inner_text().replace('"', "'")
            page.get_by_role("button", name="Reload the page").click()
            page.get_by_role("heading", name="storyworld-bert").wait_for()
            assert page.get_by_role("tab").first.inner_text() == "Fill mask"
        finally:
            again.stop(1.0)


COLORED = [("storyworld-gpt", "Generate"), ("storyworld-chat", "Chat"), ("storyworld-bert", "Fill mask"),
            ("storyworld-de-en", "Translate")]  # fmt: skip


@slow
@pytest.mark.parametrize(("model", "title"), COLORED)
def test_where_there_are_colors_their_meaning_stands_below(visit, model, title):
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
    page.locator("#masked-text").fill(text)
    page.locator("#fill").click()
    done(page)
    expected = fill_masks(engine.model, engine.tokenizer, text, n=8)
    assert page.locator("#masks .name").all_inner_texts() == [word for best in expected for word, _ in best]
    second = expected[1][2][0]
    page.locator("#masks section").nth(1).get_by_role("button").nth(2).click()
    done(page)
    assert page.locator("#masked-text").input_value() == f"The shy [MASK] lived by the {second}."
    assert body(page, "/v1/fill-mask")["input"] == f"The shy [MASK] lived by the {second}."  # predicted again
    page.locator("#masks").get_by_role("button").first.click()
    done(page)
    page.locator("#masked-text").evaluate("field => field.setSelectionRange(5, 5)")
    page.get_by_role("button", name="Mask the word").click()
    assert page.locator("#masked-text").input_value().startswith("The [MASK] ")
    page.locator("#masked-text").fill("The shy girl lived by the lake.")
    page.get_by_role("button", name="Score each word").click()
    done(page)
    assert texts(page, "#scored-words .token")[1:4] == ["the", "shy", "girl"]


@slow
def test_a_label_and_its_evidence(visit, engines):
    page, engine = visit("classifier"), engines("classifier")
    text = "Anna 😀 was happy ."
    page.locator("#classified-text").fill(text)
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
    page = visit("qa")
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
        page.locator("#classified-text").fill(text)
        page.locator("#classify").click()
        done(page)
        assert page.locator("#label-warnings li").count() == warnings
    page = visit("qa")
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
    page.locator("#layer").fill("0")
    done(page)
    page.locator("#heads label").first.click()
    page.locator("#queries li").last.click()
    weights = maps["decoder_blocks.0.cross_attention"][0].mean(dim=0)
    assert page.locator("#queries li").count() == len(target) and page.locator("#keys li").count() == len(source)
    assert page.locator("#readout").inner_text().endswith(f"weight {weights[-1].max():.3f}.")
    page.locator("#attention-type").select_option("self_attention")
    done(page)
    assert page.locator("#queries li").count() == len(source)
    assert page.get_by_role("tab").all_inner_texts() == ["Translate", "Tokenizer"]
