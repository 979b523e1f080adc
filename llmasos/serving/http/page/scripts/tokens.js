// ==== Text, token by token ===========================================================================================
// A token is {id, text, logprob, alternatives: [{id, token, logprob}]}, and `given` if it is of the prompt, `chosen` if
// a person chose it. Its logprob is null if the model was not asked about it.

/** Which colour: the classes p0 … p5 of the style sheet. */
function shade(logprob) {
  const limits = [0.5, 0.2, 0.05, 0.01, 0.001];
  return logprob === null ? 0 : limits.filter(limit => Math.exp(logprob) < limit).length;
}

/** The colours and what they mean, below a text. */
function makeLegend(list) {
  const meanings = ["over 50%", "20–50%", "5–20%", "1–5%", "0.1–1%", "under 0.1%"];
  const items = meanings.map((words, i) => make("li", {}, make("span", {class: `p${i}`}, words)));
  list.append(make("li", {}, "How likely the model thought each token:"), ...items);
}

/** Whether a token is no text, such as the one that ends it. */
const isSpecial = ({text}) => text === "" || /^(<\|.*\|>|\[(CLS|SEP|PAD|MASK|UNK)\]|<\/?s>)$/.test(text.trim());

/** A token as nodes of the page. The space before a word stays outside of what is coloured. */
function tokenNodes(token, i) {
  const special = isSpecial(token);
  const likely = token.logprob === null ? "not predicted" : `probability ${percent(Math.exp(token.logprob))}`;
  const kinds = {given: token.given, special, chosen: token.chosen};
  const classes = ["token", `p${shade(token.logprob)}`, ...Object.keys(kinds).filter(kind => kinds[kind])];
  const [, space, rest] = /^( ?)(.*)$/s.exec(token.text);
  const shown = special ? (rest || "⟨end⟩") : (rest.replaceAll("\n", "↵\n") || "␣");
  return [space, make("span", {
    class: classes.join(" "), role: "button", tabindex: i === 0 ? 0 : -1, "data-i": i,
    "aria-label": `${visible(token.text)}, ${likely}`,
  }, shown)];
}

/** What the card of a token says. `choose(i, alternative)` is what an alternative does, if anything. */
function tokenCard(tokens, i, choose = null) {
  const token = tokens[i], name = `“${visible(token.text)}”`;
  if (token.logprob === null) return {title: name, rows: [], note: "The model was not asked about this token."};
  const itself = {id: token.id, token: token.text, logprob: token.logprob};
  const known = token.alternatives.some(other => other.id === token.id);
  const all = known ? token.alternatives : [...token.alternatives, itself];
  const rows = all.map(other => {
    const p = Math.exp(other.logprob), chosen = other.id === token.id;
    return {
      name: visible(other.token), value: percent(p), share: p, chosen,
      choose: choose && !chosen ? () => choose(i, other) : null,
      label: `Branch here with “${visible(other.token)}”, ${percent(p)}`,
    };
  });
  const note = [
    ...(token.text.includes("\ufffd") ? ["� is a piece of a character: a token is a row of bytes."] : []),
    ...(choose ? ["Choose another, and the text goes on from there."] : []),
  ].join(" ");
  return {title: `${name} had ${percent(Math.exp(token.logprob))}. The likeliest here:`, rows, note};
}

/** Show tokens in a box. Returns a function that appends more. */
function showTokens(box, tokens, choose = null) {
  box.replaceChildren(...tokens.flatMap(tokenNodes));
  box.tokens = tokens;
  box.choose = choose;
  if (!box.hasCards) cards(box, ".token", item => tokenCard(box.tokens, Number(item.dataset.i), box.choose));
  box.hasCards = true;
  return token => box.append(...tokenNodes(token, box.tokens.push(token) - 1));
}

/** The text of tokens. They are put together as bytes, because a character may have several. */
function textOf(tokens) {
  const bytes = tokens.flatMap(token => token.bytes ?? [...new TextEncoder().encode(token.text)]);
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

const withoutSpecial = tokens => tokens.filter(token => !isSpecial(token));

// ==== Text while it is written: for Write and Chat ===================================================================
// What is being written, a branch or an answer, is {tokens, warnings, end, …}: `end` is "" until it has ended.

/** The tokens of a piece of a stream, as /v1/chat/completions and /v1/completions tell them. */
function tokensOf(logprobs) {
  if (logprobs?.content) {
    return logprobs.content.map(token => ({...token, text: token.token, alternatives: token.top_logprobs}));
  }
  return (logprobs?.token_ids ?? []).map((id, i) => ({
    id, text: logprobs.tokens[i], bytes: logprobs.bytes[i],
    logprob: logprobs.token_logprobs[i], alternatives: logprobs.alternatives[i],
  }));
}

/** Take the tokens of a stream as they come. `below` is what stands below the text, and stays in sight. */
async function receive(response, written, append, below) {
  for await (const event of eventsOf(response)) {
    const choice = event.choices?.[0];
    if (!choice) continue;
    keepInSight(below);
    tokensOf(choice.logprobs).forEach(append);
    written.warnings.push(...choice.warnings ?? []);
    written.end = choice.finish_reason ?? written.end;
  }
}

/** The token that a person has chosen for the place of another. */
function chosenInstead(token, other) {
  return {...other, text: other.token, alternatives: token.alternatives, chosen: true};
}

const ENDS = {
  stop: "The model ended it.", length: "It was cut off at the most tokens allowed.", you: "You stopped it.",
  chosen: "You ended it.", error: "It broke off.", read: "", "": "",
};
const KINDS_OF_TOKENS = {
  "of the prompt": token => token.given,
  "chosen by you": token => token.chosen,
  "written": token => !token.given && !token.chosen,
};

/** How many tokens of which kind, how surprising they were, and how it ended. */
function summary({tokens, end}) {
  const parts = [];
  for (const [what, belongs] of Object.entries(KINDS_OF_TOKENS)) {
    const some = tokens.filter(belongs), n = some.length, found = perplexity(some);
    if (found !== null) parts.push(`${n} token${n === 1 ? "" : "s"} ${what}, perplexity ${decimal(found)}`);
  }
  return `${parts.length ? `${parts.join("; ")}.` : ""} ${ENDS[end] ?? end}`.trim();
}

function showWarnings(list, warnings) {
  list.replaceChildren(...warnings.map(warning => make("li", {}, capitalised(warning))));
}

/** What tells a text from another one, which it left at token `at`: its last words up to there, and the word left. */
function difference({tokens, at}, other) {
  const wordsOf = some => textOf(some.slice(0, at + 1)).split(/\s+/), words = wordsOf(tokens);
  const few = `${words.length > 4 ? "… " : ""}${words.slice(-4).join(" ")}`;
  return `“${few}” in place of “${wordsOf(other).at(-1) || visible(other[at].text)}”`;
}
