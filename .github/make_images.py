"""Make the pictures of the README: `python .github/make_images.py [RUN]`.

- `images/loss-curve.png`: training and validation loss of a run of `python train.py` (default: runs/storyworld) above
  the entropy of the corpus, from the run's `metrics.jsonl`.
- `images/page.png`: the page of `python -m llmasos serve storyworld-gpt` in Chromium, while a story is being written.

Needs `requirements-dev.txt` (matplotlib, playwright) and, for the second picture, Chromium.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from llmasos import LLMServing  # noqa: E402
from llmasos.training.log import read_metrics  # noqa: E402

IMAGES = ROOT / ".github" / "images"
PROMPT = "Once there was a shy girl"


def loss_curve(run: Path, file: Path) -> None:
    """Draw the losses of a run, and the floor below which no model can get."""
    lines = read_metrics(run)
    train = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    val = [(line["step"], line["val_loss"]) for line in lines if "val_loss" in line]
    floor = next(line["floor"] for line in lines if "floor" in line)
    figure, axes = plt.subplots(figsize=(7.2, 3.4), dpi=120, layout="constrained")
    axes.plot(*zip(*train, strict=True), color="#9db4d0", linewidth=1.2, label="training loss")
    axes.plot(*zip(*val, strict=True), "o-", color="#1f4e8c", linewidth=1.6, markersize=5, label="validation loss")
    axes.axhline(floor, color="#b3402a", linestyle="--", linewidth=1.4)
    last_step, last = val[-1]
    axes.annotate(
        f"{last:.3f}", (last_step, last), xytext=(0, 8), textcoords="offset points", ha="right", color="#1f4e8c"
    )
    axes.text(4, floor * 0.93, f"entropy of the corpus: {floor:.3f}", color="#b3402a", va="top", fontsize=9)
    axes.set(yscale="log", xlim=(0, last_step * 1.02), ylim=(floor * 0.75, 8.0))
    axes.set(xlabel="optimizer steps", ylabel="loss (nats per token)")
    axes.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    axes.minorticks_off()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(file)


def page(file: Path) -> None:
    """Write a story on the page, point at one of its tokens, and take a screenshot."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    service = LLMServing.from_pretrained("storyworld-gpt").create_service()
    service.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            tab = browser.new_page(viewport={"width": 1180, "height": 1300})
            tab.goto(service.url)
            tab.wait_for_selector("#new-seed", state="attached")
            tab.evaluate("() => { $('new-seed').checked = false; $('seed').value = 5; }")  # the same story every time
            tab.get_by_role("textbox").first.fill(PROMPT)
            tab.locator("button.main").first.click()
            tab.wait_for_selector(".stop:disabled")
            tab.wait_for_timeout(3000)
            unlikely = tab.locator("#text .token:is(.p2, .p3):not(.given)").filter(has_text=re.compile("[a-z]{3}"))
            unlikely.nth(1).hover()
            tab.wait_for_timeout(400)
            tab.screenshot(path=file, clip={"x": 0, "y": 0, "width": 1180, "height": 1000})
            browser.close()
    finally:
        service.stop()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    loss_curve(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "storyworld", IMAGES / "loss-curve.png")
    page(IMAGES / "page.png")
