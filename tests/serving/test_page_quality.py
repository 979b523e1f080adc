"""The page in a real browser: error messages, API keys, layout, contrast, the keyboard, and hostile text."""

import json
import re
import shlex
import subprocess
import sys
import threading

import pytest
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
from serving_http_helpers import wait_until

from llmasos.serving.engine import Engine
from llmasos.serving.http.server import HTTPServer

slow = pytest.mark.slow
EXTERNAL = "Failed to load resource"  # Chromium's own message in the console about an error response


@slow
def test_a_server_that_is_gone_gets_a_sentence_and_a_retry(visit):
    page = visit("storyworld-gpt", expected=[EXTERNAL])
    port = page.port
    page.stop_server(1.0)
    page.get_by_role("button", name="Generate").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "The server is not responding." in page.get_by_role("alert").inner_text()
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
        page.get_by_role("button", name="Generate").click()
        page.wait_for_selector("#text .token >> nth=10")
        page.stop_server(0.0)
        page.wait_for_selector("#problem:not([hidden])")
    assert "Is the server still running?" in page.get_by_role("alert").inner_text()
    assert len(texts(page)) > 10 and "The text broke off." in page.locator("#statistics").inner_text()


@slow
def test_what_goes_wrong_in_a_tab_is_said_in_that_tab(visit):
    page, held = visit("storyworld-gpt", expected=[EXTERNAL]), []
    page.route("**/v1/chat/completions", lambda route: held.append(route))
    open_tab(page, "Chat")
    with page.expect_request("**/v1/chat/completions"):
        page.locator("#send").click()
    open_tab(page, "Generate")
    held[0].abort()
    wait_until(lambda: page.evaluate("!('chat' in running)"))  # `wait_for_function` would eval, which is forbidden
    assert page.locator("#problem").is_hidden()
    write(page, max_tokens=3)
    open_tab(page, "Chat")
    assert "not responding" in page.locator("#problem-text").inner_text()
    assert page.locator("#old-result").is_hidden()
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
        page.get_by_role("button", name="Generate").click()
        page.wait_for_selector("#problem:not([hidden])")
        assert re.search(r"busy.*try again in \d+ s", page.get_by_role("alert").inner_text())
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
    page.locator("#masked-text").fill("nothing hidden")
    page.locator("#fill").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "[MASK]" in page.locator("#problem-text").inner_text()
    page.get_by_role("button", name="Close").click()
    assert page.locator("#problem").is_hidden()


@slow
def test_a_result_from_before_an_error_is_said_to_be_that(visit):
    page = visit("storyworld-gpt", expected=[EXTERNAL, "ERR_FAILED"])
    open_tab(page, "How one token is made")
    page.route("**/v1/inspect", lambda route: route.abort())
    page.locator("#trace").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert page.locator("#old-result").is_hidden() == page.locator("#traced").is_hidden()
    page.unroute("**/v1/inspect")
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert page.locator("#traced").is_visible() and page.locator("#problem").is_hidden()
    page.route("**/v1/inspect", lambda route: route.abort())
    page.locator("#trace").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert page.locator("#traced").is_visible() and page.locator("#old-result").is_visible()


@slow
@pytest.mark.parametrize("status", [None, 503])
def test_a_server_that_is_not_there_yet_gets_one_sentence_and_a_retry(visit, status):
    page = visit("gpt", expected=[EXTERNAL])
    page.route("**/v1/models", lambda route: route.fulfill(status=status) if status else route.abort())
    page.reload()
    page.wait_for_selector("#problem:not([hidden])")
    sentence = "The server is not responding yet. It may still be starting."
    assert page.locator("main").inner_text() == f"{sentence}\n\nTry again"
    page.unroute("**/v1/models")
    page.get_by_role("button", name="Try again").click()
    done(page)
    assert page.get_by_role("tab").first.inner_text() == "Generate" and page.locator("#problem").is_hidden()


def test_a_key_is_asked_for_and_never_shown(visit):
    page = visit("gpt", expected=[EXTERNAL], app_settings={"api_key": "open-sesame"})
    said = "This server requires an API key."
    for wrong in ("", "wrong", "мой ключ", "wrong again"):
        page.wait_for_selector(f"#problem-text:text-is('{said}')")
        assert page.locator("#panel").is_hidden() and page.get_by_role("tab").count() == 0
        assert page.locator(":focus").get_attribute("id") == "key"
        page.keyboard.type(wrong)  # replaces the previous one, which is selected
        assert page.locator("#key").input_value() == wrong
        page.keyboard.press("Enter")
        said = "That API key is wrong." if wrong else said
    page.locator("#key").fill("open-sesame")
    page.get_by_role("button", name="Use this key").click()
    write(page, prompt="abc", max_tokens=5)
    assert "5 tokens generated" in page.locator("#statistics").inner_text()
    assert "open-sesame" not in page.content() and "$LLMASOS_API_KEY" in page.locator("#api-curl").text_content()


@slow
def test_a_model_that_has_learned_to_answer_begins_with_the_chat(visit):
    page = visit("storyworld-chat")
    page.wait_for_selector("#message")
    inside = ["Attention", "Logit lens", "How one token is made", "Ablation", "Patching", "Probe", "Tokenizer"]
    assert page.get_by_role("tab").all_inner_texts() == ["Chat", "Generate", *inside]
    assert page.get_by_role("tab", selected=True).inner_text() == "Chat"
    page.locator("#send").click()
    done(page)
    said = {"role": "user", "content": "Tell me a story about Emma and a lantern."}
    assert body(page, "/v1/chat/completions")["messages"] == [said]
    page = visit("storyworld-gpt")
    page.wait_for_selector("#prompt")
    assert page.get_by_role("tab").all_inner_texts() == ["Generate", *inside, "Chat"]
    open_tab(page, "Chat")
    for message in ("Hello!", "And then?"):
        page.locator("#message").fill(message)
        page.locator("#send").click()
        done(page)
    assert page.locator("main").inner_text().count("was not trained to chat") == 1  # once, not with every answer


FIELDS = [("gpt", "Generate", "generate", "#prompt"), ("gpt", "Chat", "send", "#message"),
          ("gpt", "Attention", "inspect", "#inspected-text"), ("bert", "Fill mask", "fill", "#masked-text"),
          ("classifier", "Classify", "classify", "#classified-text"),
          ("ner", "Find names", "find-names", "#names-text"), ("qa", "Answer questions", "answer", "#question"),
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
        sentence = page.get_by_text("Please fill in this field first.")
        assert sentence.is_visible() and "#" + page.locator(":focus").get_attribute("id") == field
        below = sentence.bounding_box()["y"] - page.locator(field).bounding_box()["y"]
        assert 0 < below < 150
        page.keyboard.type("a")
        assert sentence.is_hidden()
        page.locator(field).fill("")
    assert len(page.asked) == asked and page.locator("#problem").is_hidden()


@slow
def test_there_is_an_example_to_begin_with(visit):
    for name, button, answer in (("storyworld-bert", "#fill", "#masks .name"),
                                 ("storyworld-gpt", "#generate", "#written"),
                                 ("classifier", "#classify", "#labels .name"), ("ner", "#find-names", "#names-title"),
                                 ("qa", "#answer", "#answer-scores"),
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
    box, caption = page.locator("#logit-lens-box"), page.locator("#logit-lens-more")
    fades = "box => getComputedStyle(box).maskImage !== 'none'"
    assert caption.is_visible() and box.evaluate(fades)
    page.locator("#logit-lens-table tr").nth(1).locator("td").last.scroll_into_view_if_needed()
    page.wait_for_selector("#logit-lens-box:not(.more)")
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
      moveTo(view.queries.length - 1);
      return n;
    }"""
    assert page.evaluate(moves) == 0  # nothing that is slow is repeated while the pointer moves
    for head in page.locator("#heads label").all():  # for another head, too, the largest weight comes first
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
    page.locator("#inspected-text").fill(HOSTILE)
    page.locator("#inspect").click()
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
    page.get_by_role("button", name="Generate").click()
    done(page)
    page.locator("#text .token").last.click()
    assert HOSTILE in card_of(page).inner_text() and HOSTILE in page.locator("#warnings").inner_text()
    card_of(page).get_by_role("button").first.click()
    done(page)
    harmless(page)


@slow
@pytest.mark.parametrize("path", ["completions", "inspect"])
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
        assert "'object': 'inspection'" in said.stdout


TABS = [("storyworld-chat", "Generate"), ("storyworld-chat", "Chat"), ("storyworld-chat", "Attention"),
        ("storyworld-chat", "Logit lens"), ("storyworld-chat", "How one token is made"),
        ("storyworld-chat", "Ablation"), ("storyworld-chat", "Patching"), ("storyworld-chat", "Probe"),
        ("storyworld-chat", "Tokenizer"), ("storyworld-bert", "How one token is made"),
        ("storyworld-bert", "Fill mask"), ("classifier", "Classify"), ("ner", "Find names"),
        ("qa", "Answer questions"), ("storyworld-de-en", "Translate")]  # fmt: skip


@slow
@pytest.mark.parametrize(("model", "title"), TABS)
def test_every_tab_fits_can_be_read_and_has_names(visit, model, title):
    page = visit(model, width=400)
    fill_tab(page, title)
    for width in (320, 400, 1100):
        page.set_viewport_size({"width": width, "height": 800})
        no_sideways_scrolling(page)
    tokens = page.locator(".token:visible, .word:visible, .piece:visible, .lens td:visible")
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
def test_every_color_of_a_token_can_be_read_in_both_themes(visit):
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
        colors = page.locator("#written .legend span").evaluate_all(shades)
        assert len(set(colors)) == 6
    style = "all => all.map(one => getComputedStyle(one).textDecorationStyle)"
    marks = page.locator("#written .legend :is(.p4, .p5)").evaluate_all(style)
    assert marks == ["dotted", "wavy"]  # the least likely can be recognized without color


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
        page.get_by_role("button", name="Generate").click()
        page.wait_for_selector("#text.caret .token >> nth=8")
        for part in ("'text'), '::after'", "'panel'), '::before'"):  # the caret, and the line that says that it works
            style = f"getComputedStyle(document.getElementById({part})"
            assert page.evaluate(f"{style}.content") != "none" and page.evaluate(f"{style}.animationName") == "none"
        page.keyboard.press("Escape")
        done(page)
