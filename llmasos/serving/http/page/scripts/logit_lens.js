// ==== Logit lens =====================================================================================================

const showLens = () => act("lens", async signal => {
  const input = subject.input;
  const {tokens, layers} = await fetchJson("lens", "v1/look", {input, show: "lens"}, signal);
  subject.shown.lens = input;
  const ahead = model.family === "gpt" ? 1 : 0;  // a gpt speaks of the next token, a bert of this one
  $("lens-where").textContent = ahead ? "next" : "there";
  const table = $("lens-table");
  table.names = layers.map(({layer}) => layer === 0 ? "embeddings" : `layer ${layer}`);
  table.says = layers.map(({says}) => says);
  const rows = tokens.map((token, t) => make("tr", {},
    make("th", {scope: "row"}, visible(token.text)), ...layers.map((_, l) => lensCell(t, l, tokens[t + ahead]))));
  table.replaceChildren(headings("token", ...table.names), make("tbody", {}, ...rows));
  reveal("lens");
});

/** Fade the edge of the table while it goes on beyond it. */
function showLensEdge() {
  const box = $("lens-box"), beyond = box.scrollWidth - box.clientWidth;
  $("lens-more").hidden = beyond < 2;
  box.classList.toggle("more", beyond - box.scrollLeft >= 2);
}

/** What layer l would say at place t, where `real` stands. */
function lensCell(t, l, real) {
  const {says, names} = $("lens-table"), [best] = says[l][t];
  const spoken = says[l][t].map(one => `${visible(one.token)} ${percent(one.probability)}`).join(", ");
  const cell = make("td", {
    class: real?.id === best.id ? "right" : null, "aria-label": `${names[l]}: ${spoken}`,
    tabindex: t + l === 0 ? 0 : -1, "data-t": t, "data-l": l,
  }, visible(best.token));
  cell.style.setProperty("--p", best.probability);
  return cell;
}

function lensCard(cell) {
  const {t, l} = cell.dataset, {says, names} = $("lens-table");
  const rows = says[l][t].map(({token, probability}) => {
    return {name: visible(token), value: percent(probability), share: probability};
  });
  return {title: `After ${names[l].replace("embeddings", "the embeddings")} it would say`, rows};
}
