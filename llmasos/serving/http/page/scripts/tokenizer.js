// ==== The tokenizer tab ==============================================================================================

/** Fill the lists of tokenizers: the model's own first; compared with bytes. */
async function listTokenizers(signal) {
  if ($("tokenizer-1").length) return;
  const {data} = await (await ask("v1/tokenizers", null, signal)).json();
  const options = () => data.map(({id}) => make("option", {value: id}, id));
  $("tokenizer-1").replaceChildren(...options());
  $("tokenizer-2").replaceChildren(make("option", {value: ""}, "nothing"), ...options());
  $("tokenizer-2").value = data.some(({id}) => id === "gpt2" && model.id !== id) ? "gpt2" : "byte";
}

const tokenize = () => runAction("tokenizer", async signal => {
  await listTokenizers(signal);
  const names = [$("tokenizer-1").value, $("tokenizer-2").value].filter(name => name);
  const body = {input: $("tokenized-text").value, allow_special: $("allow-special").checked};
  const results = [];
  for (const tokenizer of names.reverse()) {  // the first one is asked last, and is the request to show
    results.unshift(await fetchJson("tokenizer", "v1/tokenize", {...body, tokenizer}, signal));
  }
  $("tokenizations").replaceChildren(...results.map(result => tokenization(body.input, result)));
  announce(results.map(({tokenizer, n_tokens}) => `${tokenizer}: ${n_tokens} tokens.`).join(" "));
});

/** The tokens of one tokenizer, with their numbers. */
function tokenization(text, {tokenizer, vocab_size, n_tokens, n_characters, n_bytes, tokens}) {
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  const each = n_tokens ? `, ${(n_characters / n_tokens).toFixed(1)} characters per token` : "";
  const hint = "Tokens with their ids. Arrow keys move from token to token.";
  const box = make("div", {class: "text pieces", dir: "auto", role: "group", "aria-label": hint});
  const characters = charactersOf(tokens);
  box.append(...characters.flatMap((character, i) => pieceNodes(character, i)));
  attachCards(box, ".piece", item => pieceCard(text, characters[item.dataset.i]));
  return make("section", {class: "stack"}, make("h2", {}, tokenizer),
    make("p", {class: "count"}, make("strong", {}, count(n_tokens, "token")), each),
    make("p", {class: "soft"}, `${count(n_characters, "character")}, ${count(n_bytes, "byte")}; `
      + `a vocabulary of ${count(vocab_size, "token")}`), box);
}

/** A character's tokens as one piece of colored text with the ids below it. */
function pieceNodes({tokens, bytes}, i) {
  const [{special}] = tokens, text = characterText({tokens, bytes});
  const shown = text.includes("\ufffd") ? tokenName({text, bytes}) : text.replaceAll("\n", "↵").replaceAll("\t", "⇥");
  const ids = tokens.map(({id}) => id).join(" ");
  const piece = make("span", {
    class: `piece ${special ? "special" : `c${i % 5}`}`, role: "button", tabindex: i ? -1 : 0, "data-i": i,
  }, make("span", {}, shown || "⟨empty⟩"), " ", make("small", {}, ids));
  return text.includes("\n") ? [piece, make("br")] : [piece];
}

function pieceCard(text, {tokens, bytes}) {
  const characters = [...text], place = ({start, end}) => start === null ? "" : `, characters ${start} to ${end}`;
  const {start, end, special} = {...tokens[0], end: tokens.at(-1).end};
  const covered = start === null ? characterText({tokens, bytes}) : characters.slice(start, end).join("");
  const rows = tokens.map(token => make("li", {}, `id ${token.id}: bytes ${hex(token.bytes)}${place(token)}`));
  const many = tokens.length > 1 ? `, one character of ${tokens.length} tokens` : special ? ", a special token" : "";
  return {title: `“${visibleText(covered)}”${many}`, rows: [], list: rows};
}
