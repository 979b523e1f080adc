// ==== Write, and branch ==============================================================================================
// A branch is {number, parent, at, tokens, ids, written, text, …}: it shares its parent's tokens before number `at`.

const branches = [];
let current = null;

const ALTERNATIVES = 10;

/** The tokens of a prompt, so that they are coloured, too. */
async function readPrompt(text, signal) {
  const body = {input: text, show: "tokens", n: ALTERNATIVES};
  const {tokens} = await fetchJson("complete", "v1/look", body, signal);
  return tokens.map(token => ({...token, given: true}));
}

function newBranch(fields) {
  const branch = {number: 1 + (branches.at(-1)?.number ?? 0), parent: null, at: 0, warnings: [], end: "", ...fields};
  branches.push(branch);
  return branch;
}

const run = () => act("complete", async signal => {
  const text = $("prompt").value;
  const whole = {id: null, text, logprob: null, alternatives: [], given: true};
  const tokens = await readPrompt(text, signal).catch(error => {
    if (error.status === 400) return null;  // it is too long to be looked at, but can still be written on
    throw error;
  });
  await write(newBranch({tokens: tokens ?? [whole], exact: tokens !== null}), text, signal);
});

const onlyRead = () => act("complete", async signal => {
  const tokens = await readPrompt($("prompt").value, signal);
  showBranch(newBranch({tokens, exact: true, end: "read"}));
  say(`Read. ${$("numbers").textContent}`);
});

/** Go on from another token than the one that stands at place i. */
function branchAt(i, other) {
  hideCard();
  const parent = current;
  act("complete", async signal => {
    const tokens = [...parent.tokens.slice(0, i), chosenInstead(parent.tokens[i], other)];
    const branch = newBranch({tokens, parent, at: i, exact: true});
    const writing = write(branch, tokens.map(token => token.id), signal);
    $("text").querySelector(`[data-i="${i}"]`)?.focus();
    hideCard();
    await writing;
  });
}

/** Let the model write at the end of a branch, and show each token as it comes. */
async function write(branch, prompt, signal) {
  showBranch(branch);
  const append = showTokens($("text"), branch.tokens, branch.exact ? branchAt : null);
  const before = branch.tokens.length;
  say("Writing.");
  try {
    const body = {prompt, ...sampling(), logprobs: ALTERNATIVES, stream: true};
    const response = await post("complete", "v1/completions", body, signal);
    const take = token => current === branch ? append(token) : branch.tokens.push(token);
    await receive(response, branch, take, $("numbers"));
    showEnd(current);
  } catch (error) {
    branch.end = error.name === "AbortError" ? "you" : "error";
    if (branch.tokens.length > before) showEnd(current);
    else forget(branch);
    throw error;
  }
  say(`Done. ${summary(branch)} ${textOf(withoutSpecial(branch.tokens))}`);
}

/** Nothing came of a branch. */
function forget(branch) {
  branches.splice(branches.indexOf(branch), 1);
  if (current !== branch) showBranches();
  else if (branches.length) showBranch(branch.parent ?? branches.at(-1));
  else { current = null; filled.delete("written"); $("written").hidden = true; }
}

function showBranch(branch) {
  current = branch;
  hideCard();
  reveal("written");
  showTokens($("text"), branch.tokens, branch.exact ? branchAt : null);
  showEnd(branch);
  showBranches();
}

function showEnd(branch) {
  $("numbers").textContent = summary(branch);
  $("text").classList.toggle("caret", branch.end === "");
  showWarnings($("warnings"), branch.warnings);
  $("text-plain").textContent = branch.end ? `The text: ${textOf(withoutSpecial(branch.tokens))}` : "";
  $("copy").textContent = "Copy the text";
}

/** What a branch is called: the prompt, or which token stands in place of which. */
function nameOf(branch) {
  if (branch.parent) return difference(branch, branch.parent.tokens);
  return textOf(branch.tokens.filter(token => token.given)).slice(0, 60) || "(from nothing)";
}

async function copyText() {
  const text = textOf(withoutSpecial(current.tokens));
  const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
  $("copy").textContent = copied ? "Copied" : "The browser does not allow it";
  say($("copy").textContent);
}

/** The tree of branches; each is a button that brings it back. */
function showBranches() {
  const itemOf = branch => {
    const back = () => { showBranch(branch); say(`Branch ${branch.number}. ${$("numbers").textContent}`); };
    const attributes = {type: "button", "aria-current": branch === current ? "true" : null, onclick: back};
    const children = branches.filter(other => other.parent === branch);
    const below = children.length ? [make("ul", {}, ...children.map(itemOf))] : [];
    return make("li", {}, make("button", attributes, `${branch.number}. ${nameOf(branch)}`), ...below);
  };
  $("branch-list").hidden = branches.length < 2;
  const focused = $("branches").contains(document.activeElement);
  $("branches").replaceChildren(...branches.filter(branch => !branch.parent).map(itemOf));
  if (focused) $("branches").querySelector("[aria-current]")?.focus();
}
