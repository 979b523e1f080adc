// ==== Text, token by token ===========================================================================================
// A token is {id, text, logprob, alternatives: [{id, token, logprob}]}, with `given` if it is part of the prompt and
// `chosen` if the user chose it. Its logprob is null if the model did not predict it.

/** Its color: a class p0 … p5 of the style sheet. */
function shade(logprob) {
  const limits = [0.5, 0.2, 0.05, 0.01, 0.001];
  return logprob === null ? 0 : limits.filter(limit => Math.exp(logprob) < limit).length;
}

/** The legend of the colors, below a text. */
function makeLegend(list) {
  const meanings = ["over 50%", "20–50%", "5–20%", "1–5%", "0.1–1%", "under 0.1%"];
  const items = meanings.map((words, i) => make("li", {}, make("span", {class: `p${i}`}, words)));
  list.append(make("li", {}, "Probability of each token:"), ...items);
}

/** Whether a token is not text, such as the one that ends a text. */
const isSpecial = ({text}) => text === "" || /^(<\|.*\|>|\[(CLS|SEP|PAD|MASK|UNK)\]|<\/?s>)$/.test(text.trim());

/** Whether a text starts with the token that the model expects there. It is part of the input, but not of the text. */
const startsWithMark = ([first]) => first !== undefined && first.given && first.logprob === null && isSpecial(first);

/** A character, mostly a single token, as nodes of the page. The space before a word is not colored. */
function characterNodes(character) {
  const {start, tokens} = character, [first] = tokens, special = isSpecial(first), text = characterText(character);
  const logprob = first.logprob === null ? null : sum(tokens.map(token => token.logprob ?? 0));
  const likely = logprob === null ? "not predicted" : `probability ${percent(Math.exp(logprob))}`;
  const types = {given: first.given, special, chosen: tokens.some(token => token.chosen)};
  const classes = ["token", `p${shade(logprob)}`, ...Object.keys(types).filter(name => types[name])];
  const [, space, rest] = /^( ?)(.*)$/s.exec(text);
  const shown = special ? (rest || "⟨end⟩") : (rest.replaceAll("\n", "↵\n") || "␣");
  return [document.createTextNode(space), make("span", {
    class: classes.join(" "), role: "button", tabindex: character.isFirst ? 0 : -1, "data-i": start,
    "aria-label": `${visibleText(text)}, ${likely}`,
  }, shown)];
}

/** The content of the card of a character. `choose(i, alternative)` is called when an alternative is chosen. */
function tokenCard(character, choose = null) {
  const {start, tokens} = character, [token] = tokens, name = `“${visibleText(characterText(character))}”`;
  const pieces = tokens.map(token => {
    return `${token.id} (${hex(bytesOf(token))})${token.logprob === null ? "" : ` ${percent(Math.exp(token.logprob))}`}`;
  });
  const together = tokens.length > 1 ? [`One character of ${tokens.length} tokens: ${pieces.join(", ")}.`] : [];
  if (token.logprob === null) {
    return {title: name, rows: [], note: ["The model does not predict this token.", ...together].join(" ")};
  }
  const itself = {id: token.id, token: token.text, bytes: token.bytes, logprob: token.logprob};
  const known = token.alternatives.some(other => other.id === token.id);
  const all = known ? token.alternatives : [...token.alternatives, itself];
  const rows = all.map(other => {
    const p = Math.exp(other.logprob), chosen = other.id === token.id;
    return {
      name: tokenName(other), value: percent(p), share: p, chosen,
      choose: choose && !chosen ? () => choose(start, other) : null, purpose: "branch here",
    };
  });
  const note = [...together, ...(choose ? ["Choose an alternative to continue the text from there."] : [])].join(" ");
  const p = Math.exp(sum(tokens.map(token => token.logprob ?? 0)));
  return {title: `${name}: ${percent(p)}. Most likely here:`, rows, note};
}

/** Show tokens in a box. Returns a function that appends more. */
function showTokens(box, tokens, choose = null) {
  box.replaceChildren();
  Object.assign(box, {choose, characters: []});
  const add = i => {
    for (const replaced of addToCharacters(box.characters, tokens[i], i)) replaced.nodes.forEach(node => node.remove());
    const character = box.characters.at(-1), hidden = startsWithMark(tokens);
    character.isFirst = character.start === (hidden ? 1 : 0);
    character.nodes = hidden && character.start === 0 ? [] : characterNodes(character);
    box.append(...character.nodes);
  };
  tokens.forEach((_, i) => add(i));
  const cardOf = item => tokenCard(box.characters.find(({start}) => start === Number(item.dataset.i)), box.choose);
  if (!box.hasCards) attachCards(box, ".token", cardOf);
  box.hasCards = true;
  return token => add(tokens.push(token) - 1);
}

/** The text of tokens. Their bytes are joined, because a character may have several tokens. */
const textOf = tokens => decoded(tokens.flatMap(bytesOf));

const withoutSpecial = tokens => tokens.filter(token => !isSpecial(token));

// ==== Text while it is generated: for Generate and Chat ==============================================================
// A text, which is a branch or an answer, is {tokens, warnings, end, …}: `end` is "" while it is being generated.

/** The tokens in an event of /v1/chat/completions or of /v1/completions. */
function tokensOf(logprobs) {
  if (logprobs?.content) {
    return logprobs.content.map(token => ({...token, text: token.token, alternatives: token.top_logprobs}));
  }
  return (logprobs?.token_ids ?? []).map((id, i) => ({
    id, text: logprobs.tokens[i], bytes: logprobs.bytes[i],
    logprob: logprobs.token_logprobs[i], alternatives: logprobs.alternatives[i],
  }));
}

/** Append the tokens of a stream as they arrive. `below` is the element below the text, which stays visible. */
async function receive(response, written, append, below) {
  for await (const event of eventsOf(response)) {
    const choice = event.choices?.[0];
    if (!choice) continue;
    keepVisible(below);
    tokensOf(choice.logprobs).forEach(append);
    written.warnings.push(...choice.warnings ?? []);
    written.end = choice.finish_reason ?? written.end;
  }
}

/** The token that the user has chosen instead of another. */
function replacementOf(token, other) {
  return {...other, text: other.token, alternatives: token.alternatives, chosen: true};
}

const ENDS = {
  stop: "The model ended the text.", length: "The text reached its maximum length.", you: "You stopped it.",
  chosen: "You ended it.", error: "The text broke off.", read: "", "": "",
};
const TOKEN_GROUPS = {
  "in the prompt": token => token.given,
  "chosen by you": token => token.chosen,
  "generated": token => !token.given && !token.chosen,
};

/** The number of tokens and the perplexity, for the prompt and the generated text, and how the text ended. */
function summary({tokens, end}) {
  const parts = [];
  for (const [what, belongs] of Object.entries(TOKEN_GROUPS)) {
    const group = tokens.filter(belongs), n = group.length, result = perplexity(group);
    if (result !== null) parts.push(`${n} token${n === 1 ? "" : "s"} ${what}, perplexity ${formatNumber(result)}`);
  }
  return `${parts.length ? `${parts.join("; ")}.` : ""} ${ENDS[end] ?? end}`.trim();
}

function showWarnings(list, warnings) {
  list.replaceChildren(...warnings.map(warning => make("li", {}, capitalized(warning))));
}

/** How a text differs from the one it branched off from at token `at`: its last words up to there, and the old word. */
function difference({tokens, at}, other) {
  const whole = tokens => charactersOf(tokens).filter(({start}) => start <= at).map(characterText).join("");
  const wordsOf = tokens => whole(tokens).split(/\s+/), words = wordsOf(tokens);
  const few = `${words.length > 4 ? "… " : ""}${words.slice(-4).join(" ")}`;
  return `“${few}” instead of “${wordsOf(other).at(-1) || tokenName(other[at])}”`;
}
