"""Shared by the tests of the page: open a tab, generate, read what is shown, check colors and names."""

import time
from contextlib import contextmanager

from llmasos.generation import SamplingOptions
from llmasos.generation.continuous_batching import ContinuousBatch


def open_tab(page, title):
    page.get_by_role("tab", name=title, exact=True).click()
    done(page)


def done(page):
    """Wait until the page has nothing to do."""
    page.wait_for_selector("#panel[aria-busy=false]")


def open_sampling(page):
    """Open the sampling settings, which need the model."""
    page.wait_for_selector("#set-max_tokens", state="attached")
    page.locator("#sampling").evaluate("details => { details.open = true; }")


def options_of(sent):
    """The sampling options in the body of a request."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
    return SamplingOptions(sent["max_tokens"], **{name: sent[name] for name in names if name in sent})


def write(page, prompt="Once there was a shy girl", seed=3, **settings):
    """Generate with a given seed."""
    open_sampling(page)
    page.locator("#prompt").fill(prompt)
    page.locator("#new-seed").set_checked(False)
    page.locator("#seed").fill(str(seed))
    for name, value in settings.items():
        page.locator(f"#set-{name}").fill(str(value))
    page.get_by_role("button", name="Generate").click()
    done(page)


def texts(page, selector="#text .token"):
    """The texts of the tokens, without the space before each."""
    return page.locator(selector).all_inner_texts()


def card_of(page):
    """The card next to a token."""
    return page.get_by_role("dialog")


def point_at(item):
    """Move the pointer to a token, a word or a cell, and wait for its card."""
    item.hover()
    card = card_of(item.page)
    card.wait_for(state="visible")
    return card


def body(page, path):
    """The body of the last request to a path."""
    return [request.post_data_json for request in page.asked if request.url.endswith(path)][-1]


@contextmanager
def slowed(engine, seconds=0.02):
    """Make every step of the model take this long while the context is open."""
    step = ContinuousBatch.step

    def slow_step(batch, *args):
        if batch is engine._batch:
            time.sleep(seconds)
        return step(batch, *args)

    ContinuousBatch.step = slow_step
    try:
        yield
    finally:
        ContinuousBatch.step = step


def no_sideways_scrolling(page):
    wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, f"the page is {wide} wide in a window of {room}"


def fill_tab(page, title):
    """Fill a tab so that it shows everything that it can show."""
    open_tab(page, title)
    if title == "Generate":
        write(page, prompt="Tell me a", max_tokens=40, temperature=1.5)
        page.locator("#text .token").nth(4).click()
        card_of(page).get_by_role("button").first.click()
    elif title == "Chat":
        page.locator("#message").fill("Tell a story about a wonderfullylongwordthatdoesnotendsoonenoughforanyline.")
        page.locator("#send").click()
        done(page)
        page.locator("#chat .token").nth(1).click()
        card_of(page).get_by_role("button").first.click()
    elif title == "Fill mask":
        page.locator("#fill").click()
        done(page)
        page.locator("#score-words").click()
    elif title == "Classify":
        page.locator("#classified-text").fill("the cat sat on the mat . Anna was sad .")
        page.locator("#classify").click()
    elif title == "Find names":
        page.locator("#names-text").fill("the cat sat on the mat . Anna was sad .")
        page.locator("#find-names").click()
    elif title == "Answer questions":
        page.locator("#question").fill("who ?")
        page.locator("#context").fill("the cat sat on the mat . Anna was sad .")
        page.locator("#answer").click()
    elif title in ("Ablation", "Patching", "Probe"):
        page.locator({"Ablation": "#ablate", "Patching": "#patch", "Probe": "#probe"}[title]).click()
    elif title in ("How one token is made", "Tokenizer"):
        page.get_by_role("button", name="Follow the next token" if title[0] == "H" else "Tokenize").click()
    elif title == "Translate":
        page.locator("#source").fill("Paul war ein schüchterner Junge.")
        page.locator("#translate").click()
        page.wait_for_selector("#attention:not([hidden])")
    done(page)
    page.locator("#api summary").click()
    page.locator("details:not(#api)").evaluate_all("all => all.forEach(one => one.open = true)")


def harmless(page):
    page.locator("#api summary").click()
    assert page.evaluate("window.hacked === undefined") and page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert not [request for request in page.asked if request.url.endswith("/x")]


def names(page):
    """The focusable elements without a name in the browser's accessibility tree, and the number of all."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    found = []
    for node in nodes:
        properties = {one["name"]: one["value"].get("value") for one in node.get("properties", [])}
        if properties.get("focusable") and not node["ignored"] and node["role"]["value"] != "RootWebArea":
            found.append((node["role"]["value"], node.get("name", {}).get("value", "").strip()))
    return [role for role, name in found if not name], len(found)


CONTRAST = """() => {
  // The contrast of each visible piece of text with what is behind it (WCAG 2.2), where it is below 4.5 (large: 3).
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = color => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, below) => top.slice(0, 3).map((x, i) => x * top[3] + below[i] * (1 - top[3])).concat(1);
  const linear = x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const light = color => { const [r, g, b] = color.slice(0, 3).map(x => linear(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const behind = element => {  // its text; bars are next to theirs
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.unshift(getComputedStyle(one));
    let ground = [255, 255, 255, 1];
    for (const style of layers) ground = over(rgba(style.backgroundColor), ground);
    return ground;
  };
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let n = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest("script, svg, .unseen, :disabled, option")) continue;
    const style = getComputedStyle(element), large = parseFloat(style.fontSize) >= 24;
    const ground = behind(element), found = ratio(over(rgba(style.color), ground), ground);
    if (found < (large ? 3 : 4.5)) faint.push(`${found.toFixed(2)} ${element.className}: ${text.slice(0, 30)}`);
    n++;
  }
  return [faint, n];
}"""


def contrast(page):
    """The texts with too little contrast, and the number of all texts."""
    return page.evaluate(CONTRAST)
