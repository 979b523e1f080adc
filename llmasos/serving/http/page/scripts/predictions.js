// ==== Fill in, classify, answer, translate ===========================================================================

const fill = () => act("fill", async signal => {
  const input = $("masked").value;
  const {masks} = await fetchJson("fill", "v1/fill", {input, n: 8}, signal);
  $("masks").replaceChildren(...masks.map((best, k) => {
    const rows = best.map(({token, probability}) => bar({
      name: token, value: percent(probability), share: probability,
      choose: () => fillIn(k, token), label: `Fill in “${token}”, ${percent(probability)}`,
    }));
    const title = masks.length > 1 ? `Hidden word ${k + 1}` : "Hidden word";
    return make("section", {}, make("h3", {}, title), make("ul", {class: "bars"}, ...rows));
  }));
  $("masks").hidden = $("masks-hint").hidden = false;
  say(masks.map((best, k) => `Hidden word ${k + 1}: ${best[0].token}, ${percent(best[0].probability)}.`).join(" "));
});

/** Put a word in the place of the k-th [MASK]; if another is left, guess again, now knowing this one. */
function fillIn(k, word) {
  let seen = -1;
  $("masked").value = $("masked").value.replace(/\[MASK\]/g, mask => ++seen === k ? word : mask);
  $("masks").hidden = $("masks-hint").hidden = $("surprises").hidden = true;
  say(`Filled in: ${$("masked").value}`);
  if ($("masked").value.includes("[MASK]")) fill();
  $("masked").focus();
}

/** Replace the word at the cursor, or what is selected, by [MASK]. */
function hideWord() {
  const field = $("masked"), text = field.value;
  let {selectionStart: start, selectionEnd: end} = field;
  while (start > 0 && /\p{L}|\p{N}/u.test(text[start - 1])) start--;
  while (end < text.length && /\p{L}|\p{N}/u.test(text[end])) end++;
  field.setRangeText("[MASK]", start, end, "end");
  field.focus();
}

const surprise = () => act("fill", async signal => {
  const body = {input: $("masked").value, show: "tokens", n: ALTERNATIVES};
  const {tokens} = await fetchJson("fill", "v1/look", body, signal);
  $("surprises").hidden = false;
  const words = tokens.map((token, i) => {  // a piece of a word is written ##ing: join it to the word
    const piece = token.text.startsWith("##");
    return {...token, text: piece ? token.text.slice(2) : (i ? " " : "") + token.text};
  });
  showTokens($("surprise-text"), words);
  say(`Done. The text has a pseudo-perplexity of ${decimal(perplexity(tokens) ?? 1)}.`);
});

const classify = () => act("classify", async signal => {
  const input = $("classified").value, body = {input, evidence: $("evidence-wanted").checked};
  const {data: [{label, scores, evidence, warnings}]} = await fetchJson("classify", "v1/classify", body, signal);
  const best = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  $("label-name").textContent = `Label: ${label}`;
  const rows = best.map(([name, p]) => bar({name, value: percent(p), share: p, chosen: name === label}));
  $("labels").replaceChildren(...rows);
  showWarnings($("label-warnings"), warnings ?? []);
  $("label-box").hidden = false;
  $("evidence-box").hidden = !evidence?.length;
  if (evidence?.length) showEvidence(input, evidence, label, scores[label]);
  say(`${label}, ${percent(scores[label])}.`);
});

/** The words of a text, tinted by how much the label's probability falls or rises without them. */
function showEvidence(text, words, label, probability) {
  const largest = Math.max(...words.map(word => Math.abs(word.influence)), 1e-9);
  const shareOf = word => Math.abs(word.influence) / largest;
  const exact = p => `${(100 * p).toFixed(1)}%`;
  const change = word => `${exact(probability)} → ${exact(probability - word.influence)}`;
  const box = $("evidence"), pieces = cut(text, words);
  box.replaceChildren(...pieces.map(({text, i}) => {
    if (i === undefined) return text;
    const kind = shareOf(words[i]) < 0.05 ? "" : words[i].influence < 0 ? "against" : "for";
    const item = make("span", {
      class: `word ${kind}`, role: "button", tabindex: i ? -1 : 0, "data-i": i,
      "aria-label": `${text}, ${label} without it: ${change(words[i])}`,
    }, text);
    item.style.setProperty("--p", shareOf(words[i]));
    return item;
  }));
  box.cardOf = i => ({title: `Without “${words[i].text}”, ${label}: ${change(words[i])}`, rows: []});
  if (!box.hasCards) cards(box, ".word", item => box.cardOf(item.dataset.i));
  box.hasCards = true;
  const most = [...words].sort((a, b) => shareOf(b) - shareOf(a)).slice(0, 6);
  $("evidence-list").replaceChildren(...most.map(word => bar({
    name: word.text, value: change(word), share: shareOf(word), against: word.influence < 0,
  })));
}

/**
 * Cut a text at places {start, end}: pieces {text, i}, with i the number of the place, and none for what lies between.
 * The server counts places in characters; JavaScript's strings count some of those, such as emoji, as two.
 */
function cut(text, places) {
  const characters = [...text], pieces = [], slice = (start, end) => characters.slice(start, end).join("");
  let done = 0;
  places.forEach(({start, end}, i) => {
    pieces.push({text: slice(done, start)}, {text: slice(start, end), i});
    done = end;
  });
  return [...pieces, {text: slice(done)}];
}

const answer = () => act("answer", async signal => {
  const context = $("context").value;
  const found = await fetchJson("answer", "v1/answer", {question: $("question").value, context}, signal);
  $("answer-text").textContent = found.answerable ? found.answer : "There is no answer in this text.";
  const score = number => number === null ? "none" : number.toFixed(2).replace("-", "−");
  $("answer-scores").textContent = `Score of the best piece of the text: ${score(found.score)}; `
    + `of “no answer”: ${score(found.no_answer_score)}. The higher one decides.`;
  showWarnings($("answer-warnings"), found.warnings ?? []);
  const pieces = cut(context, found.answerable ? [found] : []);
  $("answer-context").replaceChildren(...pieces.map(({text, i}) => i === undefined ? text : make("mark", {}, text)));
  $("answered").hidden = false;
  say($("answer-text").textContent);
});

async function translate() {
  let done = null;
  await act("translate", async signal => {
    const input = $("source").value;
    const options = {beams: Number($("beams").value), length_penalty: Number($("length-penalty").value)};
    const {data: [{text}]} = await fetchJson("translate", "v1/translate", {input, ...options}, signal);
    done = {input, target: text};
    const asked = requests.translate;
    const body = {...done, show: "tokens", n: ALTERNATIVES};
    const {tokens} = await fetchJson("translate", "v1/look", body, signal);
    requests.translate = asked;  // what is worth showing
    showRequest();
    showTokens($("translation"), tokens);
    $("translated").hidden = false;
    say(`Translation: ${text}`);
  });
  if (done) showAttention({...done, kind: view?.kind ?? "cross_attention", layer: view?.layer ?? 0});
}
