// ==== How to sample ==================================================================================================

const SETTINGS = [
  {name: "temperature", title: "Temperature", min: 0, max: 2, step: 0.05, value: 0.8,
   help: "Below 1 the likely becomes likelier, above 1 everything evens out. 0 always takes the likeliest."},
  {name: "top_k", title: "Top-k", min: 0, max: 100, step: 1, value: 0, off: 0,
   help: "Choose among the k likeliest tokens only."},
  {name: "top_p", title: "Top-p", min: 0.05, max: 1, step: 0.05, value: 1, off: 1,
   help: "Choose among the fewest tokens that together hold this much of the probability."},
  {name: "min_p", title: "Min-p", min: 0, max: 0.5, step: 0.01, value: 0, off: 0,
   help: "Choose among tokens at least this many times as likely as the likeliest."},
  {name: "repetition_penalty", title: "Repetition penalty", min: 1, max: 2, step: 0.05, value: 1, off: 1,
   help: "Above 1, what the text holds already becomes less likely."},
  {name: "max_tokens", title: "At most", min: 1, max: 400, step: 1, value: 200, unit: " tokens",
   help: "Where to stop if the model does not."},
];

function makeSettings() {
  for (const one of SETTINGS) {
    const id = `set-${one.name}`;
    const output = make("output", {for: id});
    const {min, max, step, value} = one;
    const input = make("input", {id, type: "range", min, max, step, value, "aria-describedby": `${id}-help`});
    const show = () => {
      output.textContent = Number(input.value) === one.off ? "off" : input.value + (one.unit ?? "");
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", show);
    show();
    $("settings").append(make("div", {class: "setting"},
      make("div", {class: "top"}, make("label", {for: id}, one.title), output), input,
      make("p", {id: `${id}-help`, class: "soft"}, one.help)));
  }
  $("settings").append(make("div", {class: "setting"},
    make("label", {for: "seed"}, "Seed"),
    make("input", {id: "seed", type: "number", min: 0, max: 999999, value: 0, "aria-describedby": "seed-help"}),
    make("p", {id: "seed-help", class: "soft"}, "The same seed draws the same random numbers, so the same text."),
    make("label", {class: "check"},
      make("input", {id: "new-seed", type: "checkbox", checked: true}), "Another seed each time")));
}

/** The fields of a request. What is off is left out. */
function sampling() {
  if ($("new-seed").checked) $("seed").value = Math.floor(Math.random() * 1e6);
  const fields = {seed: Math.trunc(Number($("seed").value)) || 0};
  for (const {name, off} of SETTINGS) {
    const value = Number($(`set-${name}`).value);
    if (value !== off) fields[name] = value;
  }
  return fields;
}
