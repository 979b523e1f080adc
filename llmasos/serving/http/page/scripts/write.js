// ==== Generate, and branch ===========================================================================================
// A branch is {number, parent, at, tokens, ids, written, text, …}: it shares its parent's tokens before number `at`.

const branches = [];
let current = null;

const ALTERNATIVES = 10;

/** The tokens of a prompt with their probabilities, to color them, too. */
async function scoreTokens(text, signal) {
  const body = {input: text, show: "tokens", n: ALTERNATIVES};
  const {tokens} = await fetchJson("generate", "v1/inspect", body, signal);
  return tokens.map(token => ({...token, given: true}));
}

/** A new branch. The example that ran on opening makes room for it, unless it continues the example. */
function newBranch(fields) {
  const example = branches.findIndex(branch => branch.example);
  if (example >= 0 && fields.parent !== branches[example]) branches.splice(example, 1);
  else if (example >= 0) branches[example].example = false;
  const branch = {number: 1 + (branches.at(-1)?.number ?? 0), parent: null, at: 0, warnings: [], end: "", ...fields};
  branches.push(branch);
  return branch;
}

/** Continue the prompt. As an example, with a limit of its own. */
const generate = (limits = null) => runAction("generate", async signal => {
  const text = $("prompt").value;
  const whole = {id: null, text, logprob: null, alternatives: [], given: true};
  const tokens = await scoreTokens(text, signal).catch(error => {
    if (error.status === 400) return null;  // it is too long to be scored, but can still be continued
    throw error;
  });
  const branch = newBranch({tokens: tokens ?? [whole], exact: tokens !== null, example: limits !== null});
  await continueBranch(branch, text, signal, limits);
});

const scorePrompt = () => runAction("generate", async signal => {
  const tokens = await scoreTokens($("prompt").value, signal);
  showBranch(newBranch({tokens, exact: true, end: "read"}));
  announce(`Scored. ${$("statistics").textContent}`);
});

/** Continue with another token at position i. */
function branchAt(i, other) {
  hideCard();
  const parent = current;
  runAction("generate", async signal => {
    const tokens = [...parent.tokens.slice(0, i), replacementOf(parent.tokens[i], other)];
    const branch = newBranch({tokens, parent, at: i, exact: true});
    const writing = continueBranch(branch, tokens.map(token => token.id), signal);
    $("text").querySelector(`[data-i="${i}"]`)?.focus();
    hideCard();
    await writing;
  });
}

/** Let the model continue a branch, and show each token as it arrives. */
async function continueBranch(branch, prompt, signal, limits = {}) {
  showBranch(branch);
  const append = showTokens($("text"), branch.tokens, branch.exact ? branchAt : null);
  const before = branch.tokens.length;
  announce("Generating.");
  try {
    const body = {prompt, ...sampling(), ...limits, logprobs: ALTERNATIVES, stream: true};
    const response = await post("generate", "v1/completions", body, signal);
    const take = token => current === branch ? append(token) : branch.tokens.push(token);
    await receive(response, branch, take, $("statistics"));
    showEnd(current);
  } catch (error) {
    branch.end = error.name === "AbortError" ? "you" : "error";
    if (branch.tokens.length > before) showEnd(current);
    else removeBranch(branch);
    throw error;
  }
  announce(`Done. ${summary(branch)} ${textOf(withoutSpecial(branch.tokens))}`);
}

/** Remove a branch for which nothing was generated. */
function removeBranch(branch) {
  if (branches.includes(branch)) branches.splice(branches.indexOf(branch), 1);
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
  $("statistics").textContent = summary(branch);
  $("text").classList.toggle("caret", branch.end === "");
  showWarnings($("warnings"), branch.warnings);
  $("text-plain").textContent = branch.end ? `Text: ${textOf(withoutSpecial(branch.tokens))}` : "";
  $("copy").textContent = "Copy text";
}

/** The name of a branch: the prompt, or how it differs from its parent. */
function branchName(branch) {
  if (branch.parent) return difference(branch, branch.parent.tokens);
  return textOf(branch.tokens.filter(token => token.given)).slice(0, 60) || "(empty prompt)";
}

async function copyText() {
  const text = textOf(withoutSpecial(current.tokens));
  const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
  $("copy").textContent = copied ? "Copied" : "The browser denied access";
  announce($("copy").textContent);
}

/** Show the tree of branches; each is a button that shows the branch again. */
function showBranches() {
  const itemOf = branch => {
    const back = () => { showBranch(branch); announce(`Branch ${branch.number}. ${$("statistics").textContent}`); };
    const attributes = {type: "button", "aria-current": branch === current ? "true" : null, onclick: back};
    const children = branches.filter(other => other.parent === branch);
    const below = children.length ? [make("ul", {}, ...children.map(itemOf))] : [];
    return make("li", {}, make("button", attributes, `${branch.number}. ${branchName(branch)}`), ...below);
  };
  $("branch-list").hidden = branches.length < 2;
  const focused = $("branches").contains(document.activeElement);
  $("branches").replaceChildren(...branches.filter(branch => !branch.parent).map(itemOf));
  if (focused) $("branches").querySelector("[aria-current]")?.focus();
}
