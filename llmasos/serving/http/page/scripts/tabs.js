// ==== Tabs: this model's capabilities ================================================================================

const TABS = [
  {name: "generate", title: "Generate", capability: "completion", start: "generate",
   example: () => generate({max_tokens: EXAMPLE_TOKENS})},
  {name: "chat", title: "Chat", capability: "chat", start: "send", example: () => send({max_tokens: EXAMPLE_TOKENS})},
  {name: "fill-mask", title: "Fill mask", capability: "fill-mask", start: "fill", example: () => fill()},
  {name: "classify", title: "Classify", capability: "classification", start: "classify", example: () => classify()},
  {name: "names", title: "Find names", capability: "token-classification", start: "find-names",
   example: () => findNames()},
  {name: "answer", title: "Answer questions", capability: "question-answering", start: "answer", example: () => answer()},
  {name: "translate", title: "Translate", capability: "translation", start: "translate", example: () => translate()},
  {name: "attention", title: "Attention", capability: "inspect", start: "inspect", example: null},
  {name: "logit-lens", title: "Logit lens", capability: "inspect", start: "inspect", example: null},
  {name: "trace", title: "How one token is made", capability: "inspect", start: "trace", example: () => trace()},
  {name: "ablation", title: "Ablation", capability: "inspect", start: "ablate", example: () => ablate()},
  {name: "patching", title: "Patching", capability: "inspect", start: "patch", example: () => patch()},
  {name: "probe", title: "Probe", capability: "inspect", start: "probe", example: () => probe()},
  {name: "tokenizer", title: "Tokenizer", capability: null, start: "tokenize", example: () => tokenize()},
];
const EMPTY_AT_FIRST = ["written", "attention", "logit-lens", "traced", "ablated", "patched", "probed"];  // sections
const filled = new Set();   // sections that are hidden until they have content
let tab = null;

function tabsOf(model) {
  const translates = model.capabilities.includes("translation");  // their attention is shown below the translation
  const tabs = TABS.filter(({capability}) => capability === null
    || model.capabilities.includes(capability) && !(translates && capability === "inspect"));
  const [chat, others] = [true, false].map(wanted => tabs.filter(entry => (entry.name === "chat") === wanted));
  return hasLearnedToAnswer(model) ? [...chat, ...others] : [...others, ...chat];
}

/** Models with the template "plain" were not trained to chat. */
const hasLearnedToAnswer = model => ![null, "plain"].includes(model.chat_template);

function showTabs() {
  const tabs = tabsOf(model);
  $("tabs").hidden = $("panel").hidden = false;
  $("tabs").replaceChildren(...tabs.map(entry => make("button", {
    role: "tab", type: "button", id: `tab-${entry.name}`, "aria-controls": "panel", onclick: () => showTab(entry.name),
  }, entry.title)));
  arrowKeys($("tabs"), "[role=tab]", button => button.click());
  const wanted = location.hash.slice(1);
  if (tabs.length) showTab((tabs.find(entry => entry.name === wanted) ?? tabs[0]).name);
}

function showTab(name) {
  tab = name;
  hideCard();
  for (const button of $("tabs").children) {
    const chosen = button.id === `tab-${name}`;
    button.setAttribute("aria-selected", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  $("panel").setAttribute("aria-labelledby", `tab-${name}`);
  for (const part of document.querySelectorAll("[data-tabs]")) {
    const here = part.dataset.tabs.split(" ").includes(name);
    const empty = EMPTY_AT_FIRST.includes(part.id) && !filled.has(part.id);
    const unused = part.tagName === "ASIDE" && !model.capabilities.includes("completion");  // a BERT does not sample
    part.hidden = !here || empty || unused;
  }
  $("columns").classList.toggle("single", $("sampling").parentElement.hidden);
  history.replaceState(null, "", `#${name}`);
  showProblem();
  showBusy();
  showRequest();
  runExample();
}

/** Show a section that was empty until now. */
function reveal(id) {
  filled.add(id);
  $(id).hidden = !$(id).dataset.tabs.split(" ").includes(tab);
}
