// ==== Examples: one runs when a tab is opened, the others are a click away ============================================
// An example is a list with a value for each field of REQUIRED_FIELDS. Those of the model's card come first.

const EXAMPLES = {
  generate: [["Once there was a shy girl"], ["Paul had a drum."], ["One stormy night, the old man"]],
  send: [["Tell me a story about Emma and a lantern."], ["Tell me a story about a brave boy."], ["Who are you?"]],
  inspect: [["Once there was a shy girl who lived by the river."], ["Paul had a drum. One day, Paul lost the drum."]],
  trace: [["The old man lived by the"], ["One day, she lost her"], ["Once there was a"]],
  ablate: [["Everyone in the valley knew Anna. One windy morning"], ["The old man lived by the"], ["Once there was a"]],
  patch: [["Everyone in the valley knew Anna. One windy morning", "Everyone in the valley knew Paul. One windy morning"],
          ["Once there was a shy girl called", "Once there was a shy boy called"]],
  probe: [["Mia owned a key from Uncle Otto. One day she played tag in the forest with Anna. At home Mia reached for the "
           + "key, but it was gone. Then she ran to the forest, and there lay the key."],
          ["Paul had a ring from Aunt Berta. Only at the front door did Paul notice that the ring was missing. Then he "
           + "saw a crow on a branch, and in its beak was the ring."]],
  "patch-masked": [["Anna lost a kite, and [MASK] was sad.", "Paul lost a kite, and [MASK] was sad."],
                   ["Anna lost her kite. The [MASK] was gone.", "Anna lost her drum. The [MASK] was gone."]],
  fill: [["Once there was a [MASK] girl called Anna."], ["The old man lived by the [MASK]."],
           ["Anna lost her [MASK] in the [MASK]."]],
  "find-names": [["Anna saw the kite by the lake. \"It is mine,\" said Aunt Berta."],
                 ["Paul lost his drum in the forest, and the miller brought it back."]],
  classify: [["Anna lost her kite in the storm. She was sad all day."], ["Everybody was happy again."]],
  answer: [["Where did Anna live?", "Anna lived by the river. One day she lost her kite in a storm."],
           ["What did she lose?", "Anna lived by the river. One day she lost her kite in a storm."],
           ["Who found the drum?", "Anna lived by the river. One day she lost her kite in a storm."]],
  translate: [["Es war einmal ein neugieriges Mädchen namens Anna."], ["Der alte Mann lebte am Fluss."],
              ["Paul war ein schüchterner Junge."]],
  tokenize: [["Once there was a shy girl.<|endoftext|>"], ["Tokenization: 3 × 1,024 = 3072"],
              ["Grüße, 日本語, 한국어, 👩‍👧 🐕"], ["def f(x):\n    return x ** 2"]],
};
const MASKED_EXAMPLES = {inspect: "fill", trace: "fill", ablate: "fill", patch: "patch-masked"};  // of a BERT
const EXAMPLE_TOKENS = 60;      // of an example that runs on its own
const typedIn = new Set();      // the fields that the user has changed
const opened = new Set();       // the tabs whose example has run, or need not run

/** The examples of a tab that fit the model; those of its card are for what it is made for, its first tab. */
function examplesOf({name, start}) {
  const isFirst = tabsOf(model)[0].name === name, n = REQUIRED_FIELDS[start].length;
  const fromCard = isFirst ? (model.examples ?? []).filter(values => values.length === n) : [];
  const masked = model.family === "bert" ? MASKED_EXAMPLES[start] : null;
  return fromCard.length ? fromCard.slice(0, 4) : EXAMPLES[masked ?? start];
}

/** Put an example into the fields of a tab. */
function useExample({start}, values) {
  REQUIRED_FIELDS[start].forEach((id, i) => {
    $(id).value = values[i];
    $(id).dispatchEvent(new Event("input", {bubbles: true}));
    typedIn.delete(id);
  });
}

/** A button for each example of each tab, and the first one in the fields that are still empty. */
function makeExamples() {
  for (const box of document.querySelectorAll("[data-examples]")) {
    const entry = TABS.find(({name}) => box.dataset.examples.split(" ").includes(name));
    const examples = examplesOf(entry), fields = REQUIRED_FIELDS[entry.start];
    box.replaceChildren(...examples.map(values => {
      const choose = () => { useExample(entry, values); $(entry.start).click(); };
      return make("button", {type: "button", class: "chip", onclick: choose}, values[0].replaceAll("\n", "↵"));
    }));
    if (fields.every(id => !$(id).value)) useExample(entry, examples[0]);
  }
}

/**
 * Run the example of a tab when it is opened for the first time, unless the user has typed or started something there.
 * A page in the background waits until somebody looks at it.
 */
function runExample() {
  const entry = TABS.find(({name}) => name === tab), seen = document.visibilityState === "visible";
  if (entry.start === "inspect" && (seen || navigator.userActivation?.hasBeenActive)) return inspectIfChanged();
  if (!entry.example || opened.has(tab) || !seen) return;
  opened.add(tab);
  if (tab in running || REQUIRED_FIELDS[entry.start].some(id => typedIn.has(id) || !$(id).value.trim())) return;
  entry.example();
}
