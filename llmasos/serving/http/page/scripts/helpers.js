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

/** 0.4217 → "42%", 0.0042 → "0.42%". What is nearly certain does not become certain by rounding. */
function percent(p) {
  const hundredths = 100 * p;
  if (hundredths < 0.01) return "under 0.01%";
  if (hundredths >= 99.95) return p >= 1 ? "100%" : "over 99.9%";
  return hundredths.toFixed(hundredths >= 99 ? 1 : hundredths >= 10 ? 0 : hundredths >= 1 ? 1 : 2) + "%";
}

/** The server's sentences may begin with a small letter, for they may follow a name. */
const capitalised = sentence => sentence.slice(0, 1).toUpperCase() + sentence.slice(1);

/** A token's text so that white space can be seen. */
function visible(text) {
  if (text === "") return "⟨end⟩";
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ | $/g, "␣");
}

/** What is said to a screen reader, once, when something is done. */
function say(sentence) {
  $("status").textContent = sentence;
}

/** e to the mean surprise: among how many tokens it was as if the model had to choose. */
function perplexity(tokens) {
  const known = tokens.filter(token => token.logprob !== null);
  return known.length ? Math.exp(-known.reduce((sum, token) => sum + token.logprob, 0) / known.length) : null;
}

/** The head of a table. */
function headings(...names) {
  return make("thead", {}, make("tr", {}, ...names.map(name => make("th", {scope: "col"}, name))));
}

/** 1.52, 38.1, 16,784 */
function decimal(x) {
  return x < 100 ? x.toPrecision(3) : Math.round(x).toLocaleString("en");
}

const keptInSight = new Set();

/**
 * To be called before something changes above an element: if it can be seen now, it will be seen after the change, too.
 * It is measured once for each picture on the screen, and not for each of the changes that come before the next one.
 */
function keepInSight(element) {
  if (keptInSight.has(element)) return;
  keptInSight.add(element);
  const {bottom} = element.getBoundingClientRect(), seen = bottom > 0 && bottom <= innerHeight;
  requestAnimationFrame(() => {
    keptInSight.delete(element);
    if (seen) element.scrollIntoView({block: "nearest"});
  });
}

const sum = numbers => numbers.reduce((a, b) => a + b, 0);
const range = n => Array.from({length: n}, (_, i) => i);
const element = event => event.target.closest("[data-i]");
