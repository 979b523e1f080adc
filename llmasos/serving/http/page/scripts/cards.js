// ==== Moving with the arrow keys =====================================================================================

/**
 * Let arrow keys move between the items of a box, of which only one is in the tab order ("roving tabindex"). Up and down
 * go to the nearest item in the line above or below. `onMove` is called with the new item.
 */
function arrowKeys(box, selector, onMove = () => {}) {
  if (box.steps) return;
  box.steps = true;
  box.addEventListener("keydown", event => {
    const items = [...box.querySelectorAll(selector)];
    const from = items.indexOf(event.target.closest(selector));
    if (from < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const to = {
      ArrowRight: () => items[from + 1], ArrowLeft: () => items[from - 1],
      ArrowDown: () => neighbor(items, from, +1), ArrowUp: () => neighbor(items, from, -1),
      Home: () => items[0], End: () => items.at(-1),
    }[event.key]?.();
    if (!to) return;
    event.preventDefault();
    moveTabStop(items, to);
    to.focus();
    onMove(to);
  });
  box.addEventListener("focusin", event => {
    const item = event.target.closest(selector);
    if (item) moveTabStop([...box.querySelectorAll(selector)], item);
  });
}

function moveTabStop(items, chosen) {
  for (const item of items) if (item.tabIndex === 0) item.tabIndex = -1;  // usually one of very many
  chosen.tabIndex = 0;
}

/** The horizontally nearest item in the next line (direction +1) or the previous one (-1). */
function neighbor(items, from, direction) {
  const place = item => item.getClientRects()[0] ?? item.getBoundingClientRect();
  const here = place(items[from]);
  let best = null, distance = Infinity, line = null;
  for (let i = from + direction; i >= 0 && i < items.length; i += direction) {
    const there = place(items[i]);
    if (Math.abs(there.top - here.top) < here.height / 2) continue;
    line ??= there.top;
    if (Math.abs(there.top - line) > here.height / 2) break;
    if (Math.abs(there.left - here.left) < distance) [best, distance] = [items[i], Math.abs(there.left - here.left)];
  }
  return best;
}

// ==== The card next to a token =======================================================================================

let anchor = null;      // the element that the card belongs to
let leaving = 0;

/** A row of a bar chart: its name, its bar, its value. With `choose` it is a button for a purpose. */
function bar({name, value, share, chosen = false, against = false, choose = null, purpose = ""}) {
  const content = [make("span", {class: "name", title: name}, name), " ", make("span", {class: "value"}, value)];
  const what = make("span", {class: "unseen"}, `, ${purpose}`);
  const row = choose ? make("button", {type: "button", onclick: choose}, ...content, what) : make("div", {}, ...content);
  row.style.setProperty("--p", Math.max(0, Math.min(1, share)));
  return make("li", {class: chosen ? "this" : against ? "against" : null}, row);
}

function showCard(item, {title, rows, note = "", list = null, wide = false}) {
  clearTimeout(leaving);
  anchor?.classList.remove("shown");
  anchor = item;
  item.classList.add("shown");
  $("card-title").textContent = title;
  $("card-bars").replaceChildren(...(list ?? rows.map(bar)));
  $("card-bars").classList.toggle("bars", !list);
  $("card-bars").classList.toggle("wide-values", wide);
  $("card-note").textContent = note;
  const card = $("card"), box = item.getClientRects()[0] ?? item.getBoundingClientRect();
  card.hidden = false;
  const above = box.bottom + card.offsetHeight > innerHeight && box.top > card.offsetHeight;
  card.style.setProperty("--x", `${scrollX + box.left}px`);
  card.style.top = `${scrollY + (above ? box.top - card.offsetHeight - 4 : box.bottom)}px`;
}

function hideCard() {
  clearTimeout(leaving);
  if (anchor && $("card").contains(document.activeElement)) anchor.focus();
  anchor?.classList.remove("shown");
  anchor = null;
  $("card").hidden = true;
}

/** The pointer has left the token, perhaps on its way to the card: hide the card after a moment. */
function leaveCard() {
  clearTimeout(leaving);
  leaving = setTimeout(() => { if (!$("card").contains(document.activeElement)) hideCard(); }, 250);
}

/** Show a card for an item of a box when it is pointed at or focused; Enter moves the focus into the card. */
function attachCards(box, selector, contentOf) {
  let pausing = 0;
  const show = item => { if (item && item !== anchor) showCard(item, contentOf(item)); };
  box.addEventListener("pointermove", event => {  // not when the pointer only passes by, or the page scrolls under it
    clearTimeout(pausing);
    const item = event.target.closest(selector);
    if (item && item === anchor) clearTimeout(leaving);
    else if (item) pausing = setTimeout(() => { if (item.isConnected) show(item); }, 80);
  });
  box.addEventListener("pointerout", () => { clearTimeout(pausing); leaveCard(); });
  box.addEventListener("focusin", event => show(event.target.closest(selector)));
  box.addEventListener("focusout", leaveCard);
  const enter = event => {
    const item = event.target.closest(selector);
    if (!item) return;
    show(item);
    $("card-bars").querySelector("button:not(:disabled)")?.focus();
  };
  box.addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.ctrlKey || event.key === " ") { event.preventDefault(); enter(event); }
  });
  box.addEventListener("click", event => { event.target.closest(selector)?.focus(); });
  arrowKeys(box, selector);
}
