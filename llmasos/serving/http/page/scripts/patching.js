// ==== Patching: an activation of one text, put into another ==========================================================

const patch = () => runAction("patching", async signal => {
  const body = {
    input: $("clean-text").value, corrupted: $("corrupted-text").value, show: "patching", kind: $("patching-kind").value,
  };
  const answer = await fetchJson("patching", "v1/inspect", body, signal), {kind, rows, right, wrong} = answer;
  const [from, into] = [tokenNames(answer.tokens), tokenNames(answer.corrupted_tokens)];
  const layers = rows.map(({layer}) => layerName(kind, layer, rows.length));
  showMap($("patching-map"), ["token", ...layers], from.map((name, t) => ({
    name: name === into[t] ? name : `${name} → ${into[t]}`,
    cells: rows.map(({cells}, l) => ({...cells[t], title: `${capitalized(layers[l])}, at “${name}”`})),
  })));
  reveal("patched");
  const where = predictedWhere(answer.tokens[answer.position]);
  $("patched-result").textContent = `${where} the model predicts ${mostLikely(answer.clean)} in the first text, and `
    + `${mostLikely(answer.predictions)} in the second.`;
  $("patched-measure").textContent = `The measure is the logit of “${tokenName(right)}” minus that of “${tokenName(wrong)}”.`;
  announce($("patched-result").textContent);
});

/** The name of a column: of the residual stream, there is one more than blocks. */
function layerName(kind, layer, n) {
  if (kind !== "residual") return `block ${layer + 1}`;
  return layer === n - 1 ? "after the last" : `before block ${layer + 1}`;
}
