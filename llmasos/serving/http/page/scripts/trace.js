// ==== How one token is made ==========================================================================================

const STEP_TITLES = {
  token_embedding: "Token embedding", position_embedding: "Position", segment_embedding: "Segment",
  embedding_norm: "Norm of the embedding", norm: "Norm", query: "Query", scores: "Attention scores",
  weights: "Attention weights", gathered: "Weighted values", attention: "All heads together",
  attention_residual: "Residual connection", hidden: "Feed-forward: expand", feed_forward: "Feed-forward: project back",
  feed_forward_residual: "Residual connection", final_norm: "Final norm", logits: "Logits",
};
const openBlocks = new Set([0]);
let traced = null;      // the last trace, with the text it belongs to

const trace = () => runAction("trace", async signal => {
  const input = $("traced-text").value, head = Number($("trace-head").value || 0);
  const body = {input, show: "forward_trace", head};
  if (model.capabilities.includes("completion")) {
    const {max_tokens, presence_penalty, frequency_penalty, ...fields} = sampling();
    body.sampling = fields;
  }
  traced = {...await fetchJson("trace", "v1/inspect", body, signal), input};
  const heads = range(traced.heads).map(number => make("option", {value: number, selected: number === traced.head}, `${number + 1}`));
  $("trace-head").replaceChildren(...heads);
  $("trace-on").disabled = false;
  $("trace-steps").replaceChildren(...traceItems(traced));
  reveal("traced");
  $("trace-result").textContent = traceResult(traced);
  announce($("trace-result").textContent);
});

/** Put the token at its place in the text, and follow the next one. */
function traceOn() {
  const {input, chosen, candidates} = traced, {text} = candidates.find(({id}) => id === chosen);
  $("traced-text").value = input.includes("[MASK]") && model.family === "bert" ? input.replace("[MASK]", text) : input + text;
  trace();
}

function traceResult({tokens, position, candidates, chosen}) {
  const best = candidates.find(({id}) => id === chosen), where = tokenName(tokens[position]);
  return model.family === "bert"
    ? `The model predicts “${tokenName(best)}” in place of ${where}: ${percent(best.probability)}.`
    : `After “${where}” comes “${tokenName(best)}”, to which the model gives a probability of ${percent(best.probability)}.`;
}

/** The list of steps: the tokens, the embedding, each block (folded), the output layer, the sampling rules, the token. */
function traceItems({tokens, position, steps, head, stages, candidates, uniform, chosen}) {
  const names = tokenNames(tokens), last = steps.at(-1), blocks = Math.max(...steps.map(({block}) => block ?? -1)) + 1;
  const before = steps.slice(0, steps.findIndex(({block}) => block === 0));
  const after = steps.slice(steps.findLastIndex(({block}) => block !== null) + 1, -1);
  const item = step => stepItem(step, names, position);
  return [
    make("li", {}, make("h3", {}, "Text → tokens"),
      make("p", {}, "The tokenizer cuts the text into tokens of the vocabulary. Each is a number, its id."),
      make("p", {class: "ids"}, ...tokens.flatMap((token, i) => [make("span", {class: i === position ? "here" : null},
        names[i], " ", make("small", {}, `${token.id}`)), " "]))),
    ...before.map(item),
    ...range(blocks).map(number => blockItem(number, blocks, steps.filter(({block}) => block === number), head, item, names)),
    ...after.map(item),
    make("li", {}, ...stepHead(last), valuesOf(last.values, last.shape), bestTokens(candidates)),
    ...stages.map(({rule, sentence, kept}) => make("li", {}, make("h3", {}, settingTitle(rule)), make("p", {}, sentence,
      kept < last.shape[0] ? ` ${kept.toLocaleString("en")} of ${last.shape[0].toLocaleString("en")} tokens are left.` : ""))),
    make("li", {}, make("h3", {}, uniform === null ? "The most likely token" : "Softmax, and a random number"),
      make("p", {}, choiceSentence(candidates, chosen, uniform)), candidateTable(candidates, stages, chosen)),
  ];
}

/** A block, folded: its summary says what the head attends to. */
function blockItem(number, blocks, steps, head, item, names) {
  const {values} = steps.find(({name}) => name === "weights"), most = values.indexOf(Math.max(...values));
  const toggle = event => openBlocks[event.target.open ? "add" : "delete"](number);
  return make("li", {}, make("details", {open: openBlocks.has(number), ontoggle: toggle},
    make("summary", {}, `Block ${number + 1} of ${blocks} `, make("span", {class: "soft"},
      `head ${head + 1} attends most to “${names[most]}” (${percent(values[most])})`)),
    make("ol", {class: "steps"}, ...steps.map(item))));
}

/** The title, formula, shape and sentence of a step. */
function stepHead({name, formula, shape, sentence}) {
  return [make("h3", {}, STEP_TITLES[name] ?? name, " ", make("code", {}, ...formulaNodes(formula)), " ",
    make("span", {class: "soft"}, `(${shape.map(n => n.toLocaleString("en")).join(", ")})`)), make("p", {}, sentence)];
}

/** A formula with its subscripts: W_q is W with a small q. */
function formulaNodes(formula) {
  return formula.split(/_(\w+)/).map((part, i) => i % 2 ? make("sub", {}, part) : part);
}

function stepItem(step, names) {
  const {name, values} = step, perToken = {scores: score => decimal(score), weights: percent}[name];
  if (!perToken) return make("li", {}, ...stepHead(step), valuesOf(values, step.shape));
  const order = range(values.length).sort((a, b) => values[b] - values[a]).slice(0, 8);
  const low = Math.min(...values), spread = Math.max(...values) - low || 1;
  const shareOf = value => name === "weights" ? value : (value - low) / spread;
  const rows = order.map(s => bar({name: names[s], value: perToken(values[s]), share: shareOf(values[s])}));
  const more = values.length - order.length;
  return make("li", {}, ...stepHead(step), make("ul", {class: "bars narrow"}, ...rows),
    more > 0 ? make("p", {class: "soft"}, `and ${more} more token${more === 1 ? "" : "s"}, with lower ${name}`) : "");
}

const decimal = x => x === null ? "—" : x.toFixed(2).replace("-", "−");

/** The first numbers of a vector, colored by sign and size. */
function valuesOf(values, [length]) {
  const largest = Math.max(...values.map(Math.abs), 1e-9);
  const cells = values.map(value => {
    const cell = make("span", {class: value < 0 ? "negative" : null}, decimal(value));
    cell.style.setProperty("--p", Math.abs(value) / largest);
    return cell;
  });
  return make("p", {class: "values"}, ...cells, length > values.length ? "…" : "");
}

/** The most likely tokens as bars. */
function bestTokens(candidates) {
  const rows = candidates.slice(0, 6).map(token => bar({
    name: tokenName(token), value: `${decimal(token.logit)}, ${percent(token.probability)}`, share: token.probability,
  }));
  return make("ul", {class: "bars narrow wide-values", "aria-label": "The highest logits and their probabilities"}, ...rows);
}

function choiceSentence(candidates, chosen, uniform) {
  const token = candidates.find(({id}) => id === chosen), name = `“${tokenName(token)}”`;
  if (uniform === null) return `${name} has the highest logit, and is chosen.`;
  return `Softmax turns the remaining logits into probabilities that sum to 1. Laid end to end in the order of the `
    + `vocabulary, they cover the numbers from 0 to 1; the random number ${uniform.toFixed(4)} falls into the interval of `
    + `${name}, which covers ${percent(token.sampled)} of the range.`;
}

/** The most likely tokens with their numbers after each step. */
function candidateTable(candidates, stages, chosen) {
  const head = ["token", "id", "logit", ...stages.map(({rule}) => `after ${settingTitle(rule).toLowerCase()}`), "probability"];
  const rows = candidates.map(token => make("tr", {class: token.id === chosen ? "here" : null},
    make("th", {scope: "row"}, tokenName(token)), ...[token.id, decimal(token.logit), ...token.stages.map(decimal),
      token.sampled ? percent(token.sampled) : "0%"].map(value => make("td", {}, `${value}`))));
  const box = {class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of the most likely tokens"};
  return make("div", box, make("table", {}, tableHead(...head), make("tbody", {}, ...rows)));
}
