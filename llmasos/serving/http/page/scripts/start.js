// ==== Light and dark =================================================================================================

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("llmasos-theme", theme); } catch { /* storage may be forbidden; then it is forgotten */ }
  redraw();
}

function storedTheme() {
  try {
    return THEMES.find(theme => theme === localStorage.getItem("llmasos-theme")) ?? "system";
  } catch {
    return "system";
  }
}

// ==== Start ==========================================================================================================

function listen() {
  const clicks = {
    run, read: onlyRead, copy: copyText, "look-inside": lookInsideText,
    send, another: () => reply(lastMessage().parent), "look-chat": lookInsideChat, "new-chat": newConversation,
    look, fill, hide: hideWord, surprise, classify, answer, translate, dismiss,
    theme: () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]),
  };
  for (const [id, action] of Object.entries(clicks)) {
    $(id).addEventListener("click", () => { if (areWritten(READS[id] ?? [])) action(); });
  }
  document.addEventListener("input", () => { $("nothing").hidden = true; });
  for (const button of document.querySelectorAll(".stop")) button.addEventListener("click", () => stop(tab));
  $("subject").addEventListener("input", () => { subject.input = $("subject").value; $("exact").hidden = true; });
  $("masked").addEventListener("input", () => {
    for (const id of ["masks", "masks-hint", "surprises"]) $(id).hidden = true;  // they were about another text
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
      $(TABS.find(one => one.name === tab)?.start)?.click();
    }
    if (event.key === "Escape") anchor ? hideCard() : stop(tab);
  });
  $("beside").addEventListener("pointerenter", () => clearTimeout(leaving));
  $("beside").addEventListener("pointerleave", leaveCard);
  $("beside").addEventListener("focusout", leaveCard);
  step($("beside-bars"), "button");
  cards($("lens-table"), "td", lensCard);
  $("copy").hidden = !navigator.clipboard;  // browsers allow it only on safe connections
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("hashchange", () => { if (model) showTabs(); });
  let wide = innerWidth;
  addEventListener("resize", () => {  // of the height alone: a phone's keyboard; it does not move the text
    if (innerWidth !== wide) hideCard();
    wide = innerWidth;
  });
  $("lens-box").addEventListener("scroll", showLensEdge);
  const edge = new ResizeObserver(showLensEdge);
  for (const id of ["lens-box", "lens-table"]) edge.observe($(id));
  listenToAttention();
}

const begin = () => act("start", async signal => {
  const answer = await ask("v1/models", null, signal).catch(error => {
    if (![0, 502, 503, 504].includes(error.status)) throw error;
    throw new Problem("The server does not answer yet. It may still be starting.");
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
    ...(model.quantization ? [`quantised to ${model.quantization}`] : []),
  ].join("\u00a0· ");
  $("set-max_tokens").max = Math.min(400, model.max_tokens ?? 400);
  $("no-template").hidden = hasLearnedToAnswer(model);
  showTabs();
});

makeSettings();
document.querySelectorAll(".legend").forEach(makeLegend);
if (matchMedia("(max-width: 56rem)").matches) $("sampling").open = false;
$("address").textContent = location.host;
listen();
setTheme(storedTheme());
begin();
