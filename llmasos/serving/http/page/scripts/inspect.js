// ==== What to inspect: a text, or exactly the tokens of another tab ==================================================

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

function inspectChat() {
  inspectTokens(messages(), messages().map(({role, content}) => `${role}: ${content}`).join("\n"));
}

/** Inspect the text in the field, if this tab does not show it already. */
function inspectIfChanged() {
  if (subject.input.length && subject.shown[tab] !== subject.input) inspect();
}

function inspect() {
  if (typeof subject.input === "string") setSubject($("inspected-text").value, $("inspected-text").value);
  return tab === "logit-lens" ? showLens() : showNewAttention({input: subject.input});
}
