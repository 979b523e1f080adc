// ==== Probe: where is the thing of the story? ========================================================================

let probed = null;      // the last answer

const probe = () => runAction("probe", async signal => {
  const body = {input: $("probed-text").value, show: "probe", layer: Number($("probe-layer").value || 0)};
  announce("Running the probe. On first use it is trained, which takes a few seconds.");
  probed = await fetchJson("probe", "v1/inspect", body, signal);
  const {layers, layer, interval, majority, n_held_out} = probed;
  $("probe-layer").replaceChildren(...layers.map(each => make("option", {value: each.layer, selected: each.layer === layer},
    `after block ${each.layer + 1} (right: ${percent(each.accuracy)})`)));
  $("probed-tokens").replaceChildren(...sentencesOf(probed.tokens).map(sentenceItem));
  $("probed-tokens").querySelector(".word")?.setAttribute("tabindex", 0);
  reveal("probed");
  const list = [
    ["This probe", layers[layer].accuracy], ["Random weights", layers[layer].control],
    ["Most common answer", majority],
  ].map(([name, share]) => bar({name, value: percent(share), share}));
  $("probe-accuracy").replaceChildren(...list);
  $("probe-tested").textContent = `Tested after each sentence of ${n_held_out} stories that it was not trained on; 95% `
    + `interval of this probe: ${percent(interval[0])} to ${percent(interval[1])}.`;
  announce("Done.");
});

/** The first and the last token of each sentence; special tokens belong to none. */
function sentencesOf(tokens) {
  const sentences = [];
  let start = null, text = "";
  tokens.forEach((token, t) => {
    if (isSpecial(token)) return;
    start ??= t;
    text += token.text;
    const next = tokens[t + 1], isLast = !next || isSpecial(next);
    if (!isLast && (!/[.!?]["”’')]*$/.test(text) || /^["”’')]/.test(next.text))) return;
    sentences.push({start, end: t});
    [start, text] = [null, ""];
  });
  return sentences;
}

/** A sentence, and what the probe reads at its end. */
function sentenceItem({start, end}) {
  const {tokens, labels, probabilities} = probed, reading = probabilities[end];
  const best = reading.indexOf(Math.max(...reading));
  const words = charactersOf(tokens.slice(start, end + 1)).map((character, i) => {
    const text = characterText(character), piece = text.startsWith("##");
    const space = model.family === "bert" && i && !piece ? " " : "";
    const name = text.trim() ? {} : {"aria-label": visibleText(text)};
    const shown = space + (piece ? text.slice(2) : text);
    return make("span", {class: "word", role: "button", tabindex: -1, "data-end": end, ...name}, shown);
  });
  return make("span", {class: "sentence"}, ...words, " ",
    make("span", {class: "reading"}, `${labels[best]}, ${percent(reading[best])}`), " ");
}

function probeCard(word) {
  const {labels, probabilities} = probed;
  const rows = probabilities[word.dataset.end].map((p, k) => ({name: labels[k], value: percent(p), share: p}))
    .sort((a, b) => b.share - a.share);
  return {title: "After this sentence, the object is …", rows};
}
