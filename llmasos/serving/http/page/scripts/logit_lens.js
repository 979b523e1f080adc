// ==== Logit lens =====================================================================================================

const showLens = () => runAction("logit-lens", async signal => {
  const input = subject.input;
  const {tokens, layers} = await fetchJson("logit-lens", "v1/inspect", {input, show: "logit_lens"}, signal);
  subject.shown["logit-lens"] = input;
  const ahead = model.family === "gpt" ? 1 : 0;  // a GPT predicts the next token, a BERT this one
  $("logit-lens-position").textContent = ahead ? "next" : "at that position";
  const table = $("logit-lens-table");
  table.names = layers.map(({layer}) => layer === 0 ? "embeddings" : `layer ${layer}`);
  table.predictions = layers.map(({predictions}) => predictions);
  const names = tokenNames(tokens);
  const rows = tokens.map((token, t) => make("tr", {},
    make("th", {scope: "row"}, names[t]), ...layers.map((_, l) => lensCell(t, l, tokens[t + ahead]))));
  table.replaceChildren(tableHead("token", ...table.names), make("tbody", {}, ...rows));
  reveal("logit-lens");
});

/** Fade the edge of the table while there is more beyond it. */
function showLensEdge() {
  const box = $("logit-lens-box"), beyond = box.scrollWidth - box.clientWidth;
  $("logit-lens-more").hidden = beyond < 2;
  box.classList.toggle("more", beyond - box.scrollLeft >= 2);
}

/** What layer l would predict at position t, where the right token is `target`. */
function lensCell(t, l, target) {
  const {predictions, names} = $("logit-lens-table"), [best] = predictions[l][t];
  const described = predictions[l][t].map(token => `${tokenName(token)} ${percent(token.probability)}`);
  const cell = make("td", {
    class: target?.id === best.id ? "right" : null, "aria-label": `${names[l]}: ${described.join(", ")}`,
    tabindex: t + l === 0 ? 0 : -1, "data-t": t, "data-l": l,
  }, tokenName(best));
  cell.style.setProperty("--p", best.probability);
  return cell;
}

function lensCard(cell) {
  const {t, l} = cell.dataset, {predictions, names} = $("logit-lens-table");
  const rows = predictions[l][t].map(token => {
    return {name: tokenName(token), value: percent(token.probability), share: token.probability};
  });
  return {title: `Prediction after ${names[l].replace("embeddings", "the embeddings")}`, rows};
}
