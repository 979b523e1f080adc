// ==== A map of effects: what a change inside the model does ==========================================================

/**
 * A cell of a map, colored by the sign and the size of its effect. Its card shows the predictions with the change:
 * the probability of each token before and after it.
 */
function effectCell({effect, predictions}, title, largest, isFirst) {
  const value = decimal(Math.round(100 * effect) / 100 || 0);  // no −0.00
  const [best] = predictions.toSorted((a, b) => b.probability - a.probability);
  const cell = make("td", {
    class: effect < 0 ? "negative" : null, tabindex: isFirst ? 0 : -1,
    "aria-label": `${title}: ${value}. Then the model predicts ${tokenName(best)}, ${percent(best.probability)}`,
  }, value);
  cell.style.setProperty("--p", Math.min(1, Math.abs(effect) / largest));
  cell.card = {title, rows: beforeAndAfter(predictions), wide: true, note: "Probability before → after"};
  return cell;
}

/** The rows of a card: the bar shows the probability after the change. */
function beforeAndAfter(predictions) {
  return predictions.map(token => ({
    name: tokenName(token), value: `${percent(token.before)} → ${percent(token.probability)}`, share: token.probability,
  }));
}

/** Fill the table of a map: a row for each item of `rows`, which are lists of cells with their titles. */
function showMap(table, head, rows) {
  const largest = Math.max(...rows.flatMap(({cells}) => cells.map(({effect}) => Math.abs(effect))), 1e-9);
  table.replaceChildren(tableHead(...head), make("tbody", {}, ...rows.map(({name, cells}, r) => make("tr", {},
    make("th", {scope: "row"}, name),
    ...cells.map((cell, c) => effectCell(cell, cell.title, largest, r + c === 0))))));
}

/** The most likely tokens in words: “she” 52%, “he” 1.2% */
function mostLikely(predictions) {
  return predictions.slice(0, 3).map(token => `“${tokenName(token)}” ${percent(token.probability)}`).join(", ");
}
