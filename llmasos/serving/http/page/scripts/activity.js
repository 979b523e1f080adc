// ==== One thing at a time in each tab, with its error and its Stop ===================================================

const running = {};     // tab → AbortController
const problems = {};    // tab → {error, again: what would try it again}

/**
 * Do something that takes time; what the tab was doing before is stopped. Errors become a sentence with a retry, which
 * is shown when its tab is.
 */
async function act(home, action) {
  stop(home);
  const controller = running[home] = new AbortController();
  delete problems[home];
  showProblem();
  showBusy();
  try {
    await action(controller.signal);
  } catch (error) {
    if (error.name !== "AbortError") {
      problems[home] = {error, again: () => act(home, action)};
      showProblem();
      if (!(error instanceof Problem)) console.error(error);  // a mistake in this page: its place is of use
    } else if (running[home] === controller) {
      say("Stopped.");
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
  for (const id of ["another", "look-chat"]) $(id).disabled = busy || lastMessage().role !== "assistant";
}

/** Show what went wrong in this tab, if anything did. Before there are tabs there is one thing that can: the start. */
function showProblem() {
  const {error} = problems[model ? tab : "start"] ?? {};
  $("problem").hidden = !error;
  if (!error) return;
  const secret = error.status === 401, refused = key ? "That key is not the right one." : "This server asks for a key.";
  $("problem-text").textContent = secret ? refused : error.message;
  $("problem").classList.toggle("calm", secret || !model);
  $("key-field").hidden = !secret;
  $("retry").textContent = secret ? "Use this key" : isAnotherModel(error) ? "Load the page anew" : "Try again";
  $("dismiss").hidden = !model;  // before that there is nothing to go back to
  if (!model) $("facts").textContent = "";
  $("problem").scrollIntoView({block: "nearest"});
  if (secret) { $("key").focus(); $("key").select(); }
}

/** The server was started anew, with another model. */
const isAnotherModel = error => error.code === "model_not_found";

function retry(event) {
  event.preventDefault();
  if (!$("key-field").hidden) key = $("key").value.trim();
  const {error, again} = problems[model ? tab : "start"];
  isAnotherModel(error) ? location.reload() : again();
}

function dismiss() {
  delete problems[tab];
  showProblem();
}

/** Which fields a button reads. */
const READS = {
  run: ["prompt"], read: ["prompt"], send: ["message"], look: ["subject"], fill: ["masked"], surprise: ["masked"],
  classify: ["classified"], answer: ["question", "context"], translate: ["source"],
};

/** Whether something is written in all of these fields. If not, say so below the first that is empty. */
function areWritten(fields) {
  const empty = fields.map($).find(field => !field.value.trim());
  $("nothing").hidden = !empty;
  empty?.after($("nothing"));
  empty?.focus();
  return !empty;
}
