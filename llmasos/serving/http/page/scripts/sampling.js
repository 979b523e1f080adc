// ==== Sampling settings ==============================================================================================
// The server describes them in `model.sampling`: name → {default, min, max, step, off, help}. The defaults are those that
// the model recommends.

const SETTING_TITLES = {max_tokens: "Maximum length"};
const settingTitle = name => SETTING_TITLES[name] ?? capitalized(name.replace("_", name.length < 6 ? "-" : " "));

function makeSettings() {
  const sliders = Object.entries(model.sampling ?? {}).map(([name, {default: value, min, max, step, help}]) => {
    const id = `set-${name}`, largest = name === "max_tokens" ? Math.min(max, model.max_tokens) : max;
    const input = make("input", {id, type: "range", min, max: largest, step, value, "aria-describedby": `${id}-help`});
    input.addEventListener("input", showSettings);
    return make("div", {class: "setting"},
      make("div", {class: "top"}, make("label", {for: id}, settingTitle(name)), make("output", {for: id})), input,
      make("p", {id: `${id}-help`, class: "soft"}, `${capitalized(help)}.`));
  });
  $("settings").replaceChildren(...sliders, make("div", {class: "setting"},
    make("label", {for: "seed"}, "Seed"),
    make("input", {id: "seed", type: "number", min: 0, max: 999999, value: 0, "aria-describedby": "seed-help"}),
    make("p", {id: "seed-help", class: "soft"}, "The same seed gives the same random numbers, and so the same text."),
    make("label", {class: "check"},
      make("input", {id: "new-seed", type: "checkbox", checked: true}), "New seed every time")));
  showSettings();
}

/** The settings that are on, name → number. */
function settingsOn() {
  const all = Object.entries(model.sampling ?? {}).map(([name, {off}]) => [name, Number($(`set-${name}`).value), off]);
  return Object.fromEntries(all.filter(([, value, off]) => value !== off));
}

/** Show the value of each setting next to it, and those that are on next to the title. */
function showSettings() {
  const on = settingsOn();
  for (const name of Object.keys(model.sampling ?? {})) {
    const input = $(`set-${name}`), value = String(on[name] ?? "off");
    input.parentElement.querySelector("output").textContent = value;
    input.setAttribute("aria-valuetext", value);
  }
  const shown = Object.entries(on).filter(([name]) => name !== "max_tokens");
  const inWords = ([name, value]) => `${settingTitle(name).toLowerCase()} ${value}`.replaceAll(" ", "\u00a0");
  $("sampling-now").textContent = shown.map(inWords).join(", ");  // a line may break between two settings only
}

/** The sampling fields of a request. One that is off is left out, unless the model recommends to switch it on. */
function sampling() {
  if ($("new-seed").checked) $("seed").value = Math.floor(Math.random() * 1e6);
  const fields = {seed: Math.trunc(Number($("seed").value)) || 0};
  for (const [name, {default: recommended, off}] of Object.entries(model.sampling ?? {})) {
    const value = Number($(`set-${name}`).value);
    if (value !== off || recommended !== off) fields[name] = value;
  }
  return fields;
}
