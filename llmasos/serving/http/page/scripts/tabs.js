// ==== Tabs: what this model can do ===================================================================================

const TABS = [
  {name: "complete", title: "Write", needs: "complete", start: "run"},
  {name: "chat", title: "Chat", needs: "chat", start: "send"},
  {name: "fill", title: "Fill in", needs: "fill", start: "fill"},
  {name: "classify", title: "Classify", needs: "classify", start: "classify"},
  {name: "answer", title: "Answer", needs: "answer", start: "answer"},
  {name: "translate", title: "Translate", needs: "translate", start: "translate"},
  {name: "attention", title: "Attention", needs: "look", start: "look"},
  {name: "lens", title: "Logit lens", needs: "look", start: "look"},
];
const filled = new Set();   // parts that are hidden until there is something in them
let tab = null;

function tabsOf(model) {
  const translates = model.abilities.includes("translate");  // its attention is shown under the translation
  const tabs = TABS.filter(one => model.abilities.includes(one.needs) && !(translates && one.needs === "look"));
  const [chat, others] = [true, false].map(wanted => tabs.filter(one => (one.name === "chat") === wanted));
  return hasLearnedToAnswer(model) ? [...chat, ...others] : [...others, ...chat];
}

/** The template "plain" is for models that know no other. */
const hasLearnedToAnswer = model => ![null, "plain"].includes(model.chat_template);

function showTabs() {
  const tabs = tabsOf(model);
  $("tabs").hidden = $("panel").hidden = false;
  $("tabs").replaceChildren(...tabs.map(one => make("button", {
    role: "tab", type: "button", id: `tab-${one.name}`, "aria-controls": "panel", onclick: () => showTab(one.name),
  }, one.title)));
  step($("tabs"), "[role=tab]", button => button.click());
  const wanted = location.hash.slice(1);
  if (tabs.length) showTab((tabs.find(one => one.name === wanted) ?? tabs[0]).name);
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
    const empty = ["written", "attention", "lens"].includes(part.id) && !filled.has(part.id);
    part.hidden = !here || empty;
  }
  $("columns").classList.toggle("single", !["complete", "chat"].includes(name));
  history.replaceState(null, "", `#${name}`);
  showProblem();
  showBusy();
  showRequest();
  if (name === "attention" || name === "lens") lookAgain();
}

/** Show a part that was empty until now. */
function reveal(id) {
  filled.add(id);
  $(id).hidden = !$(id).dataset.tabs.split(" ").includes(tab);
}
