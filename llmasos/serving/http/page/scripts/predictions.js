// ==== Fill mask, classify, find names, answer, translate =============================================================

const fill = () => runAction("fill-mask", async signal => {
  const input = $("masked-text").value;
  const {masks} = await fetchJson("fill-mask", "v1/fill-mask", {input, n: 8}, signal);
  $("masks").replaceChildren(...masks.map((best, k) => {
    const rows = best.map(({token, probability}) => bar({
      name: token, value: percent(probability), share: probability,
      choose: () => fillIn(k, token), purpose: "fill it in",
    }));
    const title = masks.length > 1 ? `Masked word ${k + 1}` : "Masked word";
    return make("section", {}, make("h2", {}, title), make("ul", {class: "bars"}, ...rows));
  }));
  $("masks").hidden = $("masks-hint").hidden = false;
  announce(masks.map((best, k) => `Masked word ${k + 1}: ${best[0].token}, ${percent(best[0].probability)}.`).join(" "));
});

/** Replace the k-th [MASK] by a word; if another one is left, predict again, now with this word. */
function fillIn(k, word) {
  let seen = -1;
  $("masked-text").value = $("masked-text").value.replace(/\[MASK\]/g, mask => ++seen === k ? word : mask);
  $("masks").hidden = $("masks-hint").hidden = $("word-scores").hidden = true;
  announce(`Filled in: ${$("masked-text").value}`);
  if ($("masked-text").value.includes("[MASK]")) fill();
  $("masked-text").focus();
}

/** Replace the word at the cursor, or the selection, by [MASK]. */
function maskWord() {
  const field = $("masked-text"), text = field.value;
  let {selectionStart: start, selectionEnd: end} = field;
  while (start > 0 && /\p{L}|\p{N}/u.test(text[start - 1])) start--;
  while (end < text.length && /\p{L}|\p{N}/u.test(text[end])) end++;
  field.setRangeText("[MASK]", start, end, "end");
  field.focus();
}

const scoreWords = () => runAction("fill-mask", async signal => {
  const body = {input: $("masked-text").value, show: "tokens", n: ALTERNATIVES};
  const {tokens} = await fetchJson("fill-mask", "v1/inspect", body, signal);
  $("word-scores").hidden = false;
  const words = tokens.map((token, i) => {  // a subword is written ##ing: join it to the word
    const piece = token.text.startsWith("##");
    return {...token, text: piece ? token.text.slice(2) : (i ? " " : "") + token.text};
  });
  showTokens($("scored-words"), words);
  announce(`Done. The text has a pseudo-perplexity of ${formatNumber(perplexity(tokens) ?? 1)}.`);
});

const classify = () => runAction("classify", async signal => {
  const input = $("classified-text").value, body = {input, evidence: $("evidence-wanted").checked};
  const {data: [{label, scores, evidence, warnings}]} = await fetchJson("classify", "v1/classify", body, signal);
  const best = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  $("label-name").textContent = `Label: ${label}`;
  const rows = best.map(([name, p]) => bar({name, value: percent(p), share: p, chosen: name === label}));
  $("labels").replaceChildren(...rows);
  showWarnings($("label-warnings"), warnings ?? []);
  $("label-box").hidden = false;
  $("evidence-box").hidden = !evidence?.length;
  if (evidence?.length) showEvidence(input, evidence, label, scores[label]);
  announce(`${label}, ${percent(scores[label])}.`);
});

/** The words of a text, colored by how much the label's probability falls or rises without them. */
function showEvidence(text, words, label, probability) {
  const largest = Math.max(...words.map(word => Math.abs(word.influence)), 1e-9);
  const shareOf = word => Math.abs(word.influence) / largest;
  const exact = p => `${(100 * p).toFixed(1)}%`;
  const change = word => `${exact(probability)} → ${exact(probability - word.influence)}`;
  const box = $("evidence"), pieces = splitAt(text, words);
  box.replaceChildren(...pieces.map(({text, i}) => {
    if (i === undefined) return text;
    const effect = shareOf(words[i]) < 0.05 ? "" : words[i].influence < 0 ? "against" : "for";
    const item = make("span", {
      class: `word ${effect}`, role: "button", tabindex: i ? -1 : 0, "data-i": i,
      "aria-label": `${text}, ${label} without it: ${change(words[i])}`,
    }, text);
    item.style.setProperty("--p", shareOf(words[i]));
    return item;
  }));
  box.cardOf = i => ({title: `Without “${words[i].text}”, ${label}: ${change(words[i])}`, rows: []});
  if (!box.hasCards) attachCards(box, ".word", item => box.cardOf(item.dataset.i));
  box.hasCards = true;
  const most = [...words].sort((a, b) => shareOf(b) - shareOf(a)).slice(0, 6);
  $("evidence-list").replaceChildren(...most.map(word => bar({
    name: word.text, value: change(word), share: shareOf(word), against: word.influence < 0,
  })));
}

/**
 * Split a text at spans {start, end} into pieces {text, i}, where i is the number of the span (undefined in between).
 * The server counts characters; JavaScript's strings count some of them, such as emoji, as two.
 */
function splitAt(text, places) {
  const characters = [...text], pieces = [], slice = (start, end) => characters.slice(start, end).join("");
  let done = 0;
  places.forEach(({start, end}, i) => {
    pieces.push({text: slice(done, start)}, {text: slice(start, end), i});
    done = end;
  });
  return [...pieces, {text: slice(done)}];
}

const findNames = () => runAction("names", async signal => {
  const input = $("names-text").value;
  const {data: [{entities}]} = await fetchJson("names", "v1/token-classification", {input}, signal);
  $("names-title").textContent = entities.length === 1 ? "1 name" : `${entities.length || "No"} names`;
  $("marked-names").replaceChildren(...splitAt(input, entities).map(({text, i}) =>
    i === undefined ? text : make("mark", {}, text, make("small", {}, ` ${entities[i].label}`))));
  $("names-list").replaceChildren(...entities.map(({text, label, score}) =>
    bar({name: `${text} · ${label}`, value: percent(score), share: score})));
  $("names-list").parentElement.hidden = !entities.length;
  $("names-box").hidden = false;
  announce(entities.map(({text, label}) => `${text}, ${label}.`).join(" ") || "There is no name in this text.");
});

const answer = () => runAction("answer", async signal => {
  const context = $("context").value;
  const result = await fetchJson("answer", "v1/question-answering", {question: $("question").value, context}, signal);
  $("answer-text").textContent = result.answerable ? result.answer : "There is no answer in this text.";
  const score = number => number === null ? "none" : number.toFixed(2).replace("-", "−");
  $("answer-scores").textContent = `Score of the best span of the text: ${score(result.score)}; `
    + `of “no answer”: ${score(result.no_answer_score)}. The higher one decides.`;
  showWarnings($("answer-warnings"), result.warnings ?? []);
  const pieces = splitAt(context, result.answerable ? [result] : []);
  $("answer-context").replaceChildren(...pieces.map(({text, i}) => i === undefined ? text : make("mark", {}, text)));
  $("answered").hidden = false;
  announce($("answer-text").textContent);
});

async function translate() {
  let done = null;
  await runAction("translate", async signal => {
    const input = $("source").value;
    const options = {beams: Number($("beams").value), length_penalty: Number($("length-penalty").value)};
    const {data: [{text}]} = await fetchJson("translate", "v1/translate", {input, ...options}, signal);
    done = {input, target: text};
    const asked = requests.translate;
    const body = {...done, show: "tokens", n: ALTERNATIVES};
    const {tokens} = await fetchJson("translate", "v1/inspect", body, signal);
    requests.translate = asked;  // the request to show
    showRequest();
    showTokens($("translation"), tokens);
    $("translated").hidden = false;
    announce(`Translation: ${text}`);
  });
  if (done) showNewAttention({...done, attention_type: "cross_attention"});
}
