// ==== What to look at: a text, or exactly what was written in another tab ============================================

let subject = {input: "", shown: {}};   // input: a text, token ids or messages; shown: tab → what it shows already

function lookAt(input, text) {
  subject = {input, shown: {}};
  $("subject").value = text;
  $("exact").hidden = typeof input === "string";
}

function lookInside(input, text) {
  lookAt(input, text);
  showTab("attention");
  $("tab-attention").focus();
}

function lookInsideText() {
  const text = textOf(current.tokens);
  lookInside(current.exact ? current.tokens.map(token => token.id) : text, text);
}

function lookInsideChat() {
  lookInside(messages(), messages().map(({role, content}) => `${role}: ${content}`).join("\n"));
}

/** Look at what is in the field, if this tab does not show it already. */
function lookAgain() {
  if (!$("subject").value) lookAt(startText(), startText());
  if (subject.shown[tab] !== subject.input) look();
}

const startText = () => model.family === "bert"
  ? "The old man lived by the [MASK]." : "Once there was a shy girl who lived by the river.";

function look() {
  if (typeof subject.input === "string") lookAt($("subject").value, $("subject").value);
  return tab === "lens" ? showLens() : showAttention({input: subject.input, layer: Number($("layer").value)});
}
