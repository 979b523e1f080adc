// ==== Sampling settings ==============================================================================================

const SETTINGS = [
  {name: "temperature", title: "Temperature", min: 0, max: 2, step: 0.05, value: 0.8,
   help: "Below 1, likely tokens become more likely; above 1, less. 0 always takes the most likely token."},
  {name: "top_k", title: "Top-k", min: 0, max: 100, step: 1, value: 0, off: 0,
   help: "Sample from the k most likely tokens only."},
  {name: "top_p", title: "Top-p", min: 0.05, max: 1, step: 0.05, value: 1, off: 1,
   help: "Nucleus sampling: sample from the smallest set of tokens with this total probability."},
  {name: "min_p", title: "Min-p", min: 0, max: 0.5, step: 0.01, value: 0, off: 0,
   help: "Sample from tokens at least this fraction as likely as the most likely one."},
  {name: "repetition_penalty", title: "Repetition penalty", min: 1, max: 2, step: 0.05, value: 1, off: 1,
   help: "Above 1, tokens that have occurred become less likely."},
  {name: "max_tokens", title: "Maximum length", min: 1, max: 400, step: 1, value: 200, unit: " tokens",
   help: "Stop here if the model has not ended the text."},
];

function makeSettings() {
  for (const setting of SETTINGS) {
    const id = `set-${setting.name}`;
    const output = make("output", {for: id});
    const {min, max, step, value} = setting;
    const input = make("input", {id, type: "range", min, max, step, value, "aria-describedby": `${id}-help`});
    const show = () => {
      output.textContent = Number(input.value) === setting.off ? "off" : input.value + (setting.unit ?? "");
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", show);
    show();
    $("settings").append(make("div", {class: "setting"},
      make("div", {class: "top"}, make("label", {for: id}, setting.title), output), input,
      make("p", {id: `${id}-help`, class: "soft"}, setting.help)));
  }
  $("settings").append(make("div", {class: "setting"},
    make("label", {for: "seed"}, "Seed"),
    make("input", {id: "seed", type: "number", min: 0, max: 999999, value: 0, "aria-describedby": "seed-help"}),
    make("p", {id: "seed-help", class: "soft"}, "The same seed gives the same random numbers, and so the same text."),
    make("label", {class: "check"},
      make("input", {id: "new-seed", type: "checkbox", checked: true}), "New seed every time")));
}

/** The sampling fields of a request. Settings that are off are left out. */
function sampling() {
  if ($("new-seed").checked) $("seed").value = Math.floor(Math.random() * 1e6);
  const fields = {seed: Math.trunc(Number($("seed").value)) || 0};
  for (const {name, off} of SETTINGS) {
    const value = Number($(`set-${name}`).value);
    if (value !== off) fields[name] = value;
  }
  return fields;
}
