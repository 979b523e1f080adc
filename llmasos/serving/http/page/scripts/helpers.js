// ==== Small helpers ==================================================================================================

const $ = id => document.getElementById(id);

/** A new element: make("li", {class: "user"}, "some text", another). Strings become text, whatever they contain. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** 0.4217 → "42%", 0.0042 → "0.42%". Rounding never turns a nearly certain event into a certain one. */
function percent(p) {
  const hundredths = 100 * p;
  if (hundredths < 0.01) return "under 0.01%";
  if (hundredths >= 99.95) return p >= 1 ? "100%" : "over 99.9%";
  return hundredths.toFixed(hundredths >= 99 ? 1 : hundredths >= 10 ? 0 : hundredths >= 1 ? 1 : 2) + "%";
}

/** The server's sentences may begin with a lower-case letter, because they may follow a name. */
const capitalized = sentence => sentence.slice(0, 1).toUpperCase() + sentence.slice(1);

/** A token's text with visible white space. */
function visibleText(text) {
  if (text === "") return "⟨end⟩";
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣");
}

/** Announce something to a screen reader, once. */
function announce(sentence) {
  $("status").textContent = sentence;
}

/** exp of the mean negative log probability: the effective number of tokens that the model chose among. */
function perplexity(tokens) {
  const known = tokens.filter(token => token.logprob !== null);
  return known.length ? Math.exp(-known.reduce((sum, token) => sum + token.logprob, 0) / known.length) : null;
}

/** The head of a table. */
function tableHead(...names) {
  return make("thead", {}, make("tr", {}, ...names.map(name => make("th", {scope: "col"}, name))));
}

/** 1.52, 38.1, 16,784 */
function formatNumber(x) {
  return x < 100 ? x.toPrecision(3) : Math.round(x).toLocaleString("en");
}

const keptVisible = new Set();

/**
 * Call this before something changes above an element: if the element is visible now, it is scrolled back into view
 * after the change. The layout is measured once per animation frame, not once per change.
 */
function keepVisible(element) {
  if (keptVisible.has(element)) return;
  keptVisible.add(element);
  const {bottom} = element.getBoundingClientRect(), seen = bottom > 0 && bottom <= innerHeight + 1;  // less than a pixel
  requestAnimationFrame(() => {
    keptVisible.delete(element);
    if (seen) element.scrollIntoView({block: "nearest"});
  });
}

const sum = numbers => numbers.reduce((a, b) => a + b, 0);
const range = n => Array.from({length: n}, (_, i) => i);
const element = event => event.target.closest("[data-i]");
