// ==== Attention ======================================================================================================

const ATTENTION_TYPES = {
  self_attention: "self-attention", decoder_self_attention: "decoder self-attention",
  cross_attention: "cross-attention",
};
let view = null;        // {layer, attention_type, queries, keys, weights, request, head, row, column, pictures}

/** Show the attention of a new text, beginning with the head that has most to tell. */
async function showNewAttention(request) {
  view = null;
  await showAttention(request);
  if (!view) return;
  const {layer, head, query} = view.telling_head;
  if (layer !== view.layer) await showAttention({...view.request, layer});
  view.head = head;
  showHeads();
  drawAttention();
  moveTo(query);
  const trivial = view.attention_type === "cross_attention" ? "the end" : "itself, its neighbors and the first one";
  $("telling").textContent = `Opened on layer ${layer + 1}, head ${head + 1}: of all heads, this one attends most strongly `
    + `to tokens other than ${trivial}.`;
}

/** Fetch the weights of a layer and draw them; the selected head and row are kept if possible. */
const showAttention = request => runAction(tab, async signal => {
  const home = tab, before = view;
  const answer = await fetchJson(home, "v1/inspect", {...request, show: "attention"}, signal);
  view = {...answer, request, head: -1, row: answer.queries.length - 1, pictures: new Map()};
  if (before && before.queries.length === view.queries.length) view.row = before.row;
  if (before && before.head < view.heads) view.head = before.head;
  view.column = mostAttended(view.row);
  view.names = {queries: tokenNames(view.queries), keys: tokenNames(view.keys)};
  subject.shown[home] = request.input;
  reveal("attention");
  showLayers();
  showHeads();
  showNames();
  drawAttention();
});

/** Show another layer or another type of attention. */
function changeAttention(change) {
  if (view) showAttention({...view.request, ...change});
}

function showLayers() {
  $("layer").max = view.layers - 1;
  $("layer").value = view.layer;
  $("layer-name").textContent = `Layer ${view.layer + 1} of ${view.layers}`;
  $("layer").setAttribute("aria-valuetext", `${view.layer + 1} of ${view.layers}`);
  $("attention-type-field").hidden = view.attention_types.length < 2;
  $("decoder-note").hidden = view.attention_type === "self_attention";
  const options = view.attention_types.map(type => make("option", {value: type, selected: type === view.attention_type}, ATTENTION_TYPES[type]));
  $("attention-type").replaceChildren(...options);
}

/** The weights [T][S] of a head, or (for −1) the mean of all heads. */
function weightsOf(head) {
  if (head >= 0) return view.weights[head];
  return view.mean ??= view.queries.map((_, t) => {
    return view.keys.map((_, s) => sum(view.weights.map(head => head[t][s])) / view.heads);
  });
}

/** The same as a picture, which is cached: the pointer moves over it many times per second. */
function pictureOf(head) {
  const {pictures} = view;
  if (!pictures.has(head)) pictures.set(head, picture(weightsOf(head), getComputedStyle($("map")).color));
  return pictures.get(head);
}

/** A radio button for each head, with a thumbnail of its map. */
function showHeads() {
  const focused = $("heads").contains(document.activeElement);
  const choices = [-1, ...range(view.heads)].map(head => {
    const canvas = make("canvas", {width: 52, height: 52, "aria-hidden": "true"});
    const choose = () => { view.head = head; view.column = mostAttended(view.row); drawAttention(); };
    const input = make("input", {type: "radio", name: "head", value: head, onchange: choose});
    input.checked = head === view.head;
    return make("label", {}, input, canvas, make("span", {}, head < 0 ? "mean" : `${head + 1}`));
  });
  $("heads").replaceChildren($("heads").firstElementChild, ...choices);
  if (focused) $("heads").querySelector(":checked").focus();
  drawThumbnails();
}

function drawThumbnails() {
  for (const label of $("heads").querySelectorAll("label")) {
    const [input, canvas] = label.children, pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, 52, 52);
    pen.drawImage(pictureOf(Number(input.value)), 0, 0, 52, 52);
  }
}

/** The opacity of a weight: small ones are exaggerated, or they would be invisible. */
const strength = weight => weight ** 0.4;

/** A picture with one pixel for each weight. */
function picture(weights, color) {
  const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
  const canvas = make("canvas", {width: weights[0].length, height: weights.length}), pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  let i = 0;
  for (const row of weights) {
    for (const weight of row) {
      image.data[i++] = red;
      image.data[i++] = green;
      image.data[i++] = blue;
      image.data[i++] = 255 * strength(weight);
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

function drawAttention() {
  if (!view) return;
  drawMap();
  drawLines();
  drawTable();
  showReadout();
}

/** The heat map: rows are queries, columns are keys. If the cells are too small for labels, there are none. */
function drawMap() {
  const canvas = $("map"), pen = canvas.getContext("2d"), style = getComputedStyle(document.body);
  const rows = view.queries.length, columns = view.keys.length;
  const fitting = Math.floor(($("map-box").clientWidth - 90) / columns), named = fitting >= 10 || columns <= 24;
  const largest = Math.max(28, Math.min(44, Math.floor((0.85 * innerHeight - 80) / rows)));  // so that the whole map is visible
  const [left, top] = named ? [84, 78] : [4, 4], cell = Math.max(named ? 10 : 5, Math.min(largest, fitting));
  const [width, height, sharp] = [left + columns * cell + 1, top + rows * cell + 1, devicePixelRatio];
  [canvas.width, canvas.height] = [width * sharp, height * sharp];
  [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
  pen.scale(sharp, sharp);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pictureOf(view.head), left, top, columns * cell, rows * cell);
  pen.font = `${Math.min(13, cell)}px ${style.getPropertyValue("--prose")}`;
  pen.fillStyle = style.color;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  if (named) view.names.queries.forEach((name, t) => {
    pen.fillText(short(name), left - 5, top + (t + 0.5) * cell, left - 6);
  });
  pen.textAlign = "left";
  if (named) view.names.keys.forEach((name, s) => {
    pen.save();
    pen.translate(left + (s + 0.5) * cell, top - 5);
    pen.rotate(-Math.PI / 2);
    pen.fillText(short(name), 0, 0, top - 6);
    pen.restore();
  });
  pen.strokeStyle = style.color;
  pen.globalAlpha = 0.35;
  pen.strokeRect(left - 0.5, top - 0.5, columns * cell + 1, rows * cell + 1);
  pen.globalAlpha = 1;
  pen.strokeRect(left + 0.5, top + view.row * cell + 0.5, columns * cell - 1, cell - 1);
  pen.lineWidth = 2;
  pen.strokeRect(left + view.column * cell + 1, top + view.row * cell + 1, cell - 2, cell - 2);
  canvas.cells = {left, top, cell};
}

const short = name => [...name].length > 11 ? [...name].slice(0, 10).join("") + "…" : name;

/** The tokens on both sides, with room for the weights. */
function showNames() {
  $("queries").replaceChildren(...view.names.queries.map((name, t) => {
    return make("li", {role: "option", "data-i": t, "aria-selected": "false", tabindex: -1}, name);
  }));
  $("keys").replaceChildren(...view.names.keys.map(name => {
    return make("li", {}, make("span", {class: "name", title: name}, name), make("span", {class: "weight"}));
  }));
}

/** Select the query token on the left, and draw curves to the keys on the right. */
function drawLines() {
  const row = weightsOf(view.head)[view.row], chosen = $("queries").children[view.row];
  for (const item of $("queries").querySelectorAll("[aria-selected=true]")) item.setAttribute("aria-selected", "false");
  chosen.setAttribute("aria-selected", "true");
  moveTabStop([...$("queries").children], chosen);
  row.forEach((weight, s) => {
    $("keys").children[s].lastChild.textContent = weight >= 0.01 ? percent(weight) : "";
  });
  keepInView($("lines"), chosen);
  drawCurves(row);
}

/** Scroll a box, not the page, until an item is visible. */
function keepInView(box, item) {
  const above = item.offsetTop - box.scrollTop, below = above + item.offsetHeight - box.clientHeight;
  if (above < 0) box.scrollTop += above;
  else if (below > 0) box.scrollTop += below;
}

function drawCurves(row) {
  const height = $("queries").firstElementChild.getBoundingClientRect().height;
  const middle = i => (i + 0.5) * height, svg = $("curves"), wide = svg.clientWidth || 100;
  svg.style.height = `${Math.max(view.queries.length, view.keys.length) * height}px`;
  svg.replaceChildren(...row.flatMap((weight, s) => {
    if (weight < 0.005) return [];  // too thin to see
    const curve = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const [from, to] = [middle(view.row), middle(s)];
    curve.setAttribute("d", `M0 ${from} C${wide / 2} ${from} ${wide / 2} ${to} ${wide} ${to}`);
    curve.setAttribute("stroke-width", 0.5 + 6 * weight);
    curve.setAttribute("stroke-opacity", 0.15 + 0.85 * strength(weight));
    return [curve];
  }));
}

/** The map as a table, for screen readers: the three largest weights of each token. */
function drawTable() {
  if (!$("weights-box").open) return;
  const weights = weightsOf(view.head);
  const most = row => row.map((weight, s) => [weight, s]).sort((a, b) => b[0] - a[0]).slice(0, 3)
    .map(([weight, s]) => `“${view.names.keys[s]}” (${s + 1}) ${percent(weight)}`).join(", ");
  const rows = view.names.queries.map((name, t) => make("tr", {},
    make("td", {}, `${t + 1}`), make("th", {scope: "row"}, name), make("td", {}, most(weights[t]))));
  $("weights").replaceChildren(tableHead("Position", "Token", "attends most to (position)"), make("tbody", {}, ...rows));
}

function showReadout() {
  const weight = weightsOf(view.head)[view.row][view.column];
  const {queries, keys} = view.names;
  $("readout").textContent = `“${queries[view.row]}” attends to “${keys[view.column]}” with weight ${weight.toFixed(3)}.`;
}

/** The column with the largest weight in a row. */
function mostAttended(row) {
  const weights = weightsOf(view.head)[row];
  return weights.indexOf(Math.max(...weights));
}

/** Select a row, and a column (by default the one with the largest weight). */
function moveTo(row, column = null) {
  view.row = Math.max(0, Math.min(view.queries.length - 1, row));
  column ??= mostAttended(view.row);
  view.column = Math.max(0, Math.min(view.keys.length - 1, column));
  drawMap();
  drawLines();
  showReadout();
}

/** Pointer and keys on the map and on the list next to it. */
function addAttentionListeners() {
  $("map").addEventListener("pointermove", event => {
    const {left, top, cell} = $("map").cells, box = $("map").getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top - top) / cell);
    const column = Math.floor((event.clientX - box.left - left) / cell);
    const inside = row >= 0 && row < view.queries.length;
    if (inside && (row !== view.row || column !== view.column)) moveTo(row, column);
  });
  $("map").addEventListener("keydown", event => {
    const step = {ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1]}[event.key];
    if (!step) return;
    event.preventDefault();
    moveTo(view.row + step[0], view.column + step[1]);
  });
  $("queries").addEventListener("click", event => { if (element(event)) moveTo(Number(element(event).dataset.i)); });
  $("queries").addEventListener("keydown", event => {
    const to = {ArrowDown: view.row + 1, ArrowUp: view.row - 1, Home: 0, End: view.queries.length - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(to);
    $("queries").children[view.row].focus();
  });
  $("weights-box").addEventListener("toggle", () => { if (view) drawTable(); });
  $("layer").addEventListener("input", () => changeAttention({layer: Number($("layer").value)}));
  $("attention-type").addEventListener("change", () => changeAttention({attention_type: $("attention-type").value, layer: 0}));
  new ResizeObserver(() => { if (view && $("map-box").clientWidth) { drawMap(); drawLines(); } }).observe($("map-box"));
}

/** Redraw everything after the colors have changed. */
function redrawAttention() {
  const pen = $("ramp").getContext("2d");
  pen.clearRect(0, 0, 140, 12);
  pen.drawImage(picture([range(140).map(x => x / 139)], getComputedStyle($("ramp")).color), 0, 0, 140, 12);
  if (!view) return;
  view.pictures.clear();
  drawThumbnails();
  drawMap();
}
