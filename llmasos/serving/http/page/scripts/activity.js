// ==== One action at a time in each tab, with its error message and its Stop button ===================================

const running = {};     // tab → AbortController
const problems = {};    // tab → {error, retryAction}

/**
 * Run an action that takes time; the tab's previous action is stopped. An error becomes a message with a retry button,
 * which is shown with its tab.
 */
async function runAction(home, action) {
  stop(home);
  const controller = running[home] = new AbortController();
  delete problems[home];
  showProblem();
  showBusy();
  try {
    await action(controller.signal);
  } catch (error) {
    if (error.name !== "AbortError") {
      problems[home] = {error, retryAction: () => runAction(home, action)};
      showProblem();
      if (!(error instanceof Problem)) console.error(error);  // a bug in this page: show where
    } else if (running[home] === controller) {
      announce("Stopped.");
    }
  } finally {
    if (running[home] === controller) delete running[home];
    showBusy();
  }
}

function stop(tab) {
  running[tab]?.abort();
}

function showBusy() {
  const busy = tab in running;
  $("panel").setAttribute("aria-busy", busy);
  for (const button of document.querySelectorAll(".stop")) button.disabled = !busy;
  for (const id of ["another", "inspect-chat"]) $(id).disabled = busy || lastMessage().role !== "assistant";
}

/** Show the error of this tab, if there is one. Before there are tabs, only the start can fail. */
function showProblem() {
  const {error} = problems[model ? tab : "start"] ?? {};
  $("problem").hidden = !error;
  if (!error) return;
  const secret = error.status === 401, refused = key ? "That API key is wrong." : "This server requires an API key.";
  $("problem-text").textContent = secret ? refused : error.message;
  $("old-result").hidden = ![...document.querySelectorAll(".result")].some(result => result.offsetParent);
  $("problem").classList.toggle("calm", secret || !model);
  $("key-field").hidden = !secret;
  $("retry").textContent = secret ? "Use this key" : isAnotherModel(error) ? "Reload the page" : "Try again";
  $("dismiss").hidden = !model;  // without a model there is nothing to go back to
  if (!model) $("facts").textContent = "";
  $("problem").scrollIntoView({block: "nearest"});
  if (secret) { $("key").focus(); $("key").select(); }
}

/** The server was restarted with another model. */
const isAnotherModel = error => error.code === "model_not_found";

function retry(event) {
  event.preventDefault();
  if (!$("key-field").hidden) key = $("key").value.trim();
  const {error, retryAction} = problems[model ? tab : "start"];
  isAnotherModel(error) ? location.reload() : retryAction();
}

function dismiss() {
  delete problems[tab];
  showProblem();
}

/** The fields that a button needs. */
const REQUIRED_FIELDS = {
  generate: ["prompt"], score: ["prompt"], send: ["message"], inspect: ["inspected-text"], fill: ["masked-text"],
  trace: ["traced-text"], "trace-on": ["traced-text"], ablate: ["ablated-text"],
  patch: ["clean-text", "corrupted-text"], probe: ["probed-text"], tokenize: ["tokenized-text"],
  "score-words": ["masked-text"],
  classify: ["classified-text"], "find-names": ["names-text"], answer: ["question", "context"], translate: ["source"],
};

/** Whether all of these fields are filled in. If not, show a message below the first empty one. */
function areFilledIn(fields) {
  const empty = fields.map($).find(field => !field.value.trim());
  $("empty-field").hidden = !empty;
  empty?.after($("empty-field"));
  empty?.focus();
  return !empty;
}
