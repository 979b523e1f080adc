// ==== Light and dark =================================================================================================

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("llmasos-theme", theme); } catch { /* storage may be disabled; then the theme is not remembered */ }
  redrawAttention();
}

function storedTheme() {
  try {
    return THEMES.find(theme => theme === localStorage.getItem("llmasos-theme")) ?? "system";
  } catch {
    return "system";
  }
}

// ==== Start ==========================================================================================================

function addListeners() {
  const clicks = {
    generate, score: scorePrompt, copy: copyText, "inspect-text": inspectText,
    send, another: () => reply(lastMessage().parent), "inspect-chat": inspectChat, "new-chat": newConversation,
    inspect, trace, "trace-on": traceOn, ablate, patch, probe, tokenize, fill, hide: maskWord, "score-words": scoreWords, classify,
    "find-names": findNames, answer, translate, dismiss,
    theme: () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]),
  };
  for (const [id, action] of Object.entries(clicks)) {
    $(id).addEventListener("click", () => { if (areFilledIn(REQUIRED_FIELDS[id] ?? [])) action(); });
  }
  document.addEventListener("input", event => {
    typedIn.add(event.target.id);
    $("empty-field").hidden = true;
  });
  document.addEventListener("visibilitychange", () => { if (model) runExample(); });
  for (const id of ["tokenizer-1", "tokenizer-2", "allow-special"]) $(id).addEventListener("change", () => $("tokenize").click());
  for (const id of ["trace-head", "settings"]) {
    $(id).addEventListener("change", () => { if (tab === "trace" && traced) trace(); });
  }
  for (const [id, start] of [["ablation-type", "ablate"], ["patching-kind", "patch"], ["probe-layer", "probe"]]) {
    $(id).addEventListener("change", () => $(start).click());
  }
  for (const button of document.querySelectorAll(".stop")) button.addEventListener("click", () => stop(tab));
  $("inspected-text").addEventListener("input", () => { subject.input = $("inspected-text").value; $("exact-tokens").hidden = true; });
  $("masked-text").addEventListener("input", () => {
    for (const id of ["masks", "masks-hint", "word-scores"]) $(id).hidden = true;  // they belong to the old text
  });
  $("message").addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    event.preventDefault();
    $("send").click();
  });
  $("question").addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.ctrlKey) $("answer").click();
  });
  $("problem").addEventListener("submit", retry);
  document.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      $(TABS.find(entry => entry.name === tab)?.start)?.click();
    }
    if (event.key === "Escape") anchor ? hideCard() : stop(tab);
  });
  $("card").addEventListener("pointerenter", () => clearTimeout(leaving));
  $("card").addEventListener("pointerleave", leaveCard);
  $("card").addEventListener("focusout", leaveCard);
  arrowKeys($("card-bars"), "button");
  attachCards($("logit-lens-table"), "td", lensCard);
  for (const id of ["ablation-map", "patching-map"]) attachCards($(id), "td", cell => cell.card);
  attachCards($("probed-tokens"), ".word", probeCard);
  $("copy").hidden = !navigator.clipboard;  // browsers only allow it on secure connections
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAttention);
  addEventListener("hashchange", () => { if (model) showTabs(); });
  let wide = innerWidth;
  addEventListener("resize", () => {  // if only the height changes, it is a phone's keyboard, and the text does not move
    if (innerWidth !== wide) hideCard();
    wide = innerWidth;
  });
  $("logit-lens-box").addEventListener("scroll", showLensEdge);
  const edge = new ResizeObserver(showLensEdge);
  for (const id of ["logit-lens-box", "logit-lens-table"]) edge.observe($(id));
  addAttentionListeners();
}

const loadModel = () => runAction("start", async signal => {
  const answer = await ask("v1/models", null, signal).catch(error => {
    if (![0, 502, 503, 504].includes(error.status)) throw error;
    throw new Problem("The server is not responding yet. It may still be starting.");
  });
  const {data} = await answer.json();
  model = data[0];
  document.title = `${model.id} · llmasos`;
  $("name").textContent = model.id;
  const many = n => n >= 1e6 ? `${(n / 1e6).toPrecision(3)} million` : n.toLocaleString("en");
  $("facts").textContent = [
    {gpt: "GPT", bert: "BERT", transformer: "Transformer"}[model.family] ?? model.family,
    `${many(model.parameters)} parameters`, `${model.n_layers} layers of ${model.n_heads} heads`,
    `context of ${many(model.context_length)} tokens`, `vocabulary of ${many(model.vocab_size)}`,
    ...(model.quantization ? [`quantized to ${model.quantization}`] : []),
  ].join("\u00a0· ");
  makeSettings();
  makeExamples();
  showTabs();
});

document.querySelectorAll(".legend").forEach(makeLegend);
$("address").textContent = location.host;
addListeners();
setTheme(storedTheme());
loadModel();
