// ==== Ablation: the model without one head or feed-forward ===========================================================

const ablate = () => runAction("ablation", async signal => {
  const body = {input: $("ablated-text").value, show: "ablation", ablation: $("ablation-type").value};
  const {tokens, position, predicted, predictions, rows} = await fetchJson("ablation", "v1/inspect", body, signal);
  const head = ["block", ...rows[0].cells.map(partName)];
  showMap($("ablation-map"), head, rows.map(({block, cells}) => ({
    name: `${block + 1}`,
    cells: cells.map(cell => ({...cell, title: `Without ${cell.kind === "head" ? "" : "the "}${partName(cell)} of block ${block + 1}`})),
  })));
  reveal("ablated");
  $("ablated-result").textContent = `${predictedWhere(tokens[position])} the model predicts ${mostLikely(predictions)}.`;
  $("ablated-measure").textContent = `The change of the log probability of “${tokenName(predicted)}” when one head or the `
    + "feed-forward layer of a block is ablated.";
  announce($("ablated-result").textContent);
});

const partName = ({kind, head}) => kind === "head" ? `head ${head + 1}` : "feed-forward";

/** The position of the prediction that a map shows. */
const predictedWhere = token => `${model.family === "bert" ? "In place of" : "After"} “${tokenName(token)}”`;
