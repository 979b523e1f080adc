// ==== Attention ======================================================================================================

const KINDS = {
  attention: "the text at itself", decoder_attention: "the translation at itself",
  cross_attention: "the translation at the text",
};
let view = null;        // {layer, kind, tokens, keys, weights, request, head, row, column, pictures}

/** Fetch the weights of a layer and draw them; head and row stay as they were, if they can. */
const showAttention = request => act(tab, async signal => {
  const home = tab, before = view;
  const answer = await fetchJson(home, "v1/look", {...request, show: "attention"}, signal);
  view = {...answer, request, head: -1, row: answer.tokens.length - 1, pictures: new Map()};
  if (before && before.tokens.length === view.tokens.length) view.row = before.row;
  if (before && before.head < view.heads) view.head = before.head;
  view.column = mostSeen(view.row);
  subject.shown[home] = request.input;
  reveal("attention");
  showLayers();
  showHeads();
  showNames();
  drawAttention();
});

/** Look again with another layer or another kind. */
function changeAttention(change) {
  if (view) showAttention({...view.request, ...change});
}

function showLayers() {
  $("layer").max = view.layers - 1;
  $("layer").value = view.layer;
  $("layer-name").textContent = `Layer ${view.layer + 1} of ${view.layers}`;
  $("layer").setAttribute("aria-valuetext", `${view.layer + 1} of ${view.layers}`);
  $("kind-field").hidden = view.kinds.length < 2;
  $("kind-note").hidden = view.kind === "attention";
  const options = view.kinds.map(kind => make("option", {value: kind, selected: kind === view.kind}, KINDS[kind]));
  $("kind").replaceChildren(...options);
}

/** The weights [T][S] of a head, or (for −1) the mean of all. */
function weightsOf(head) {
  if (head >= 0) return view.weights[head];
  return view.mean ??= view.tokens.map((_, t) => {
    return view.keys.map((_, s) => sum(view.weights.map(one => one[t][s])) / view.heads);
  });
}

/** They as a picture, which is made once: the pointer moves over it many times a second. */
function pictureOf(head) {
  const {pictures} = view;
  if (!pictures.has(head)) pictures.set(head, picture(weightsOf(head), getComputedStyle($("map")).color));
  return pictures.get(head);
}

/** A radio button for each head, with its map in small. */
function showHeads() {
  const focused = $("heads").contains(document.activeElement);
  const choices = [-1, ...range(view.heads)].map(head => {
    const canvas = make("canvas", {width: 52, height: 52, "aria-hidden": "true"});
    const choose = () => { view.head = head; view.column = mostSeen(view.row); drawAttention(); };
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

/** How strong a weight is drawn: small ones stronger than they are, or they could not be seen. */
const strength = weight => weight ** 0.4;

/** A picture with one pixel for each weight. */
function picture(weights, colour) {
  const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
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
  readOut();
}

/** The heat map: rows look, columns are looked at. Where cells are too small for names, pointing at them must do. */
function drawMap() {
  const canvas = $("map"), pen = canvas.getContext("2d"), style = getComputedStyle(document.body);
  const rows = view.tokens.length, columns = view.keys.length;
  const fitting = Math.floor(($("map-box").clientWidth - 90) / columns), named = fitting >= 10 || columns <= 24;
  const largest = Math.max(28, Math.min(44, Math.floor((0.85 * innerHeight - 80) / rows)));  // to be seen as a whole
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
  if (named) view.tokens.forEach((token, t) => {
    pen.fillText(short(token.text), left - 5, top + (t + 0.5) * cell, left - 6);
  });
  pen.textAlign = "left";
  if (named) view.keys.forEach((token, s) => {
    pen.save();
    pen.translate(left + (s + 0.5) * cell, top - 5);
    pen.rotate(-Math.PI / 2);
    pen.fillText(short(token.text), 0, 0, top - 6);
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

const short = text => { const shown = visible(text); return shown.length > 11 ? shown.slice(0, 10) + "…" : shown; };

/** The names of both sides, with room for how much is looked at. */
function showNames() {
  $("looks").replaceChildren(...view.tokens.map(({text}, t) => {
    return make("li", {role: "option", "data-i": t, "aria-selected": "false", tabindex: -1}, visible(text));
  }));
  $("seen").replaceChildren(...view.keys.map(({text}) => make("li", {}, visible(text), make("span", {class: "seen"}))));
}

/** The chosen token on the left, curves to those it looks at on the right. */
function drawLines() {
  const row = weightsOf(view.head)[view.row], chosen = $("looks").children[view.row];
  for (const item of $("looks").querySelectorAll("[aria-selected=true]")) item.setAttribute("aria-selected", "false");
  chosen.setAttribute("aria-selected", "true");
  rove([...$("looks").children], chosen);
  row.forEach((weight, s) => {
    $("seen").children[s].lastChild.textContent = weight >= 0.01 ? percent(weight) : "";
  });
  keepInView($("lines"), chosen);
  drawCurves(row);
}

/** Scroll a box, and not the page, until an item can be seen. */
function keepInView(box, item) {
  const above = item.offsetTop - box.scrollTop, below = above + item.offsetHeight - box.clientHeight;
  if (above < 0) box.scrollTop += above;
  else if (below > 0) box.scrollTop += below;
}

function drawCurves(row) {
  const height = $("looks").firstElementChild.getBoundingClientRect().height;
  const middle = i => (i + 0.5) * height, svg = $("curves"), wide = svg.clientWidth || 100;
  svg.style.height = `${Math.max(view.tokens.length, view.keys.length) * height}px`;
  svg.replaceChildren(...row.flatMap((weight, s) => {
    if (weight < 0.005) return [];  // too thin to be seen
    const curve = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const [from, to] = [middle(view.row), middle(s)];
    curve.setAttribute("d", `M0 ${from} C${wide / 2} ${from} ${wide / 2} ${to} ${wide} ${to}`);
    curve.setAttribute("stroke-width", 0.5 + 6 * weight);
    curve.setAttribute("stroke-opacity", 0.15 + 0.85 * strength(weight));
    return [curve];
  }));
}

/** For those who do not see the map: for each token the three it looks at most. */
function drawTable() {
  if (!$("weights-box").open) return;
  const weights = weightsOf(view.head);
  const most = row => row.map((weight, s) => [weight, s]).sort((a, b) => b[0] - a[0]).slice(0, 3)
    .map(([weight, s]) => `“${visible(view.keys[s].text)}” (${s + 1}) ${percent(weight)}`).join(", ");
  const rows = view.tokens.map((token, t) => make("tr", {},
    make("td", {}, `${t + 1}`), make("th", {scope: "row"}, visible(token.text)), make("td", {}, most(weights[t]))));
  $("weights").replaceChildren(headings("Place", "Token", "looks most at (place)"), make("tbody", {}, ...rows));
}

function readOut() {
  const weight = weightsOf(view.head)[view.row][view.column];
  const [looks, seen] = [view.tokens[view.row], view.keys[view.column]].map(token => `“${visible(token.text)}”`);
  $("readout").textContent = `${looks} looks at ${seen} with weight ${weight.toFixed(3)}.`;
}

/** The column that a row gives the largest weight. */
function mostSeen(row) {
  const weights = weightsOf(view.head)[row];
  return weights.indexOf(Math.max(...weights));
}

/** Choose a row, and a column of it (if none is said, the one most looked at). */
function moveTo(row, column = null) {
  view.row = Math.max(0, Math.min(view.tokens.length - 1, row));
  column ??= mostSeen(view.row);
  view.column = Math.max(0, Math.min(view.keys.length - 1, column));
  drawMap();
  drawLines();
  readOut();
}

/** Pointer and keys on the map and on the list beside it. */
function listenToAttention() {
  $("map").addEventListener("pointermove", event => {
    const {left, top, cell} = $("map").cells, box = $("map").getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top - top) / cell);
    const column = Math.floor((event.clientX - box.left - left) / cell);
    const inside = row >= 0 && row < view.tokens.length;
    if (inside && (row !== view.row || column !== view.column)) moveTo(row, column);
  });
  $("map").addEventListener("keydown", event => {
    const way = {ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1]}[event.key];
    if (!way) return;
    event.preventDefault();
    moveTo(view.row + way[0], view.column + way[1]);
  });
  $("looks").addEventListener("click", event => { if (element(event)) moveTo(Number(element(event).dataset.i)); });
  $("looks").addEventListener("keydown", event => {
    const to = {ArrowDown: view.row + 1, ArrowUp: view.row - 1, Home: 0, End: view.tokens.length - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(to);
    $("looks").children[view.row].focus();
  });
  $("weights-box").addEventListener("toggle", () => { if (view) drawTable(); });
  $("layer").addEventListener("input", () => changeAttention({layer: Number($("layer").value)}));
  $("kind").addEventListener("change", () => changeAttention({kind: $("kind").value, layer: 0}));
  new ResizeObserver(() => { if (view && $("map-box").clientWidth) { drawMap(); drawLines(); } }).observe($("map-box"));
}

/** Colours have changed. */
function redraw() {
  const pen = $("ramp").getContext("2d");
  pen.clearRect(0, 0, 140, 12);
  pen.drawImage(picture([range(140).map(x => x / 139)], getComputedStyle($("ramp")).color), 0, 0, 140, 12);
  if (!view) return;
  view.pictures.clear();
  drawThumbnails();
  drawMap();
}
