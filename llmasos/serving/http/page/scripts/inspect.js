// ==== What to inspect: a text, or exactly the tokens of another tab ==================================================

const MAX_INSPECTED = 256, CHARACTERS_PER_TOKEN = 3;   // tokens, as in serving/api/inspect.py; at least, in English
let subject = {input: "", shown: {}};   // input: a text, token ids or messages; shown: tab → the input it shows

function setSubject(input, text) {
  subject = {input, shown: {}};
  $("inspected-text").value = text;
  $("exact-tokens").hidden = typeof input === "string";
}

function inspectTokens(input, text) {
  setSubject(input, text);
  showTab("attention");
  $("tab-attention").focus();
}

function inspectText() {
  const text = textOf(current.tokens);
  inspectTokens(current.exact ? current.tokens.map(token => token.id) : text, text);
}

/** Inspect a conversation, without its first turns if it seems to have more tokens than these views show. */
function inspectChat() {
  const all = messages(), system = all.filter(({role}) => role === "system"), turns = all.slice(system.length);
  const size = list => list.reduce((sum, {content}) => sum + content.length / CHARACTERS_PER_TOKEN + 5, 0);
  while (turns.length > 2 && size([...system, ...turns]) > MAX_INSPECTED) turns.splice(0, 2);
  const shown = [...system, ...turns];
  const text = shown.map(({role, content}) => `${role}: ${content}`).join("\n");
  inspectTokens(shown, shown.length < all.length ? `…\n${text}` : text);
}

/** Inspect the text in the field, if this tab does not show it already. */
function inspectIfChanged() {
  if (subject.input.length && subject.shown[tab] !== subject.input) inspect();
}

function inspect() {
  if (typeof subject.input === "string") setSubject($("inspected-text").value, $("inspected-text").value);
  return tab === "logit-lens" ? showLens() : showNewAttention({input: subject.input});
}
