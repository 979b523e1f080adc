// ==== Chat ===========================================================================================================

// A conversation is a tree, because an answer can have several versions: a new sample, or one that branched off inside
// it. The page shows the path from the root to the last message, through the version that was chosen last.
// A message is {role, tokens, parent, next: [its possible successors], chosen: which of them, item}. A user's message has
// `content` instead of tokens; an answer also has {warnings, end, from, at}: it branched off from `from` at token `at`.

const root = {next: [], chosen: -1};

function lastMessage() {
  let message = root;
  while (message.chosen >= 0) message = message.next[message.chosen];
  return message;
}

/** The messages from the first one to this one. */
function pathTo(message) {
  return message === root ? [] : [...pathTo(message.parent), message];
}

/** The text of a message. */
function messageText({content, tokens}) {
  return content ?? textOf(withoutSpecial(tokens));
}

/** A conversation up to a message, for a request. Empty messages are left out. */
function messages(message = lastMessage()) {
  const all = [{role: "system", content: $("system").value}, ...pathTo(message)];
  const trimmed = all.map(message => ({role: message.role, content: messageText(message).trim()}));
  return trimmed.filter(({content}) => content);
}

/** Add a message after another one, and make it the version that is shown. */
function addMessage(parent, fields) {
  const message = {parent, next: [], chosen: -1, ...fields};
  parent.chosen = parent.next.push(message) - 1;
  const answers = message.role === "assistant";
  const hint = "The tokens of the answer. Arrow keys move from token to token, Enter opens the alternatives.";
  const box = make("div", {class: "text", dir: "auto", ...(answers && {role: "group", "aria-label": hint})});
  const who = make("p", {class: "who"}, answers ? "Assistant" : "You");
  message.item = make("li", {class: message.role}, who, box);
  if (answers) {
    who.append(make("span", {class: "versions"}));
    message.item.append(make("p", {class: "numbers"}), make("ul", {class: "warnings"}));
    message.append = showTokens(box, message.tokens, (i, other) => branchAnswer(message, i, other));
  } else {
    box.append(message.content);
  }
  showChat();
  return message;
}

/** Show the conversation; messages that are already shown stay where they are. */
function showChat() {
  hideCard();
  const path = pathTo(lastMessage()), list = $("chat");
  const same = path.findIndex((message, i) => message.item !== list.children[i]);
  const kept = same < 0 ? path.length : same, answers = path.filter(message => message.role === "assistant");
  keepVisible($("send"));
  while (list.children.length > kept) list.lastChild.remove();
  list.append(...path.slice(kept).map(message => message.item));
  answers.forEach(showVersions);
  $("chat-legend").hidden = answers.length === 0;
  showBusy();
}

/** Show which version of an answer this is, with buttons to the others. */
function showVersions(message) {
  const {next} = message.parent, number = next.indexOf(message);
  const button = (to, sign, label) => make("button", {
    type: "button", "aria-label": label, disabled: !(to in next), onclick: () => showVersion(message.parent, to),
  }, sign);
  message.item.querySelector(".versions").replaceChildren(...(next.length < 2 ? [] : [
    button(number - 1, "‹", "Previous version"), `${number + 1} of ${next.length}`,
    button(number + 1, "›", "Next version"), message.from ? difference(message, message.from.tokens) : "",
  ]));
}

function showVersion(parent, number) {
  const forward = number > parent.chosen;
  parent.chosen = number;
  showChat();
  const message = parent.next[number], [back, on] = message.item.querySelectorAll(".versions button");
  (forward && !on.disabled || back.disabled ? on : back).focus();
  announce(`Version ${number + 1} of ${parent.next.length}. ${messageText(message)}`);
}

/** Send the message. As an example, with a limit of its own; the first message of the user's own replaces it. */
function send(limits = null) {
  const content = $("message").value.trim();
  stop("chat");
  $("message").value = "";
  if (root.example) Object.assign(root, {next: [], chosen: -1});
  root.example = limits !== null;
  reply(addMessage(lastMessage(), {role: "user", content}), {tokens: []}, limits);
}

/** Generate an answer to a message. With `start` ({tokens, from, at}) the model continues exactly those tokens. */
const reply = (parent, start = {tokens: []}, limits = null) => runAction("chat", async signal => {
  if (!limits) root.example = false;
  const prefix = start.tokens.map(token => token.id);
  const body = {messages: messages(parent), ...(prefix.length && {prefix}), ...sampling(), ...limits};
  Object.assign(body, {logprobs: true, top_logprobs: ALTERNATIVES, stream: true});
  const response = await post("chat", "v1/chat/completions", body, signal);
  const answer = addAnswer(parent, start);
  answer.item.querySelector(".text").classList.add("caret");
  announce("The assistant is typing.");
  try {
    await receive(response, answer, answer.append, $("send"));
  } catch (error) {
    answer.end = error.name === "AbortError" ? "you" : "error";
    throw error;
  } finally {
    endAnswer(answer);  // an answer that was stopped is kept
  }
  announce(`Assistant: ${messageText(answer)}`);
});

/** Add an answer with its first tokens; if it branched off from another one, that token gets the focus. */
function addAnswer(parent, {tokens, ...branch}) {
  const fields = {role: "assistant", tokens: [...tokens], warnings: [], end: "", ...branch};
  const answer = addMessage(parent, fields);
  answer.item.querySelector(`[data-i="${branch.at}"]`)?.focus();
  hideCard();
  return answer;
}

/** Show how an answer ended. An empty answer is removed. */
function endAnswer(answer) {
  const {next} = answer.parent;
  if (!answer.tokens.length) {
    next.splice(next.indexOf(answer), 1);
    answer.parent.chosen = next.length - 1;
    showChat();
    return;
  }
  keepVisible($("send"));
  answer.item.querySelector(".text").classList.remove("caret");
  answer.item.querySelector(".numbers").textContent = summary(answer);
  const known = pathTo(answer.parent).flatMap(message => message.warnings ?? []);  // each is shown once
  showWarnings(answer.item.querySelector(".warnings"), answer.warnings.filter(warning => !known.includes(warning)));
}

/** Continue an answer with another token at position i. */
function branchAnswer(from, i, other) {
  hideCard();
  const token = replacementOf(from.tokens[i], other);
  const start = {tokens: [...from.tokens.slice(0, i), token], from, at: i};
  if (!isSpecial(token)) return reply(from.parent, start);
  stop("chat");
  const answer = addAnswer(from.parent, {...start, end: "chosen"});
  endAnswer(answer);
  announce(`Assistant: ${messageText(answer)}`);
}

function newConversation() {
  stop("chat");
  Object.assign(root, {next: [], chosen: -1, example: false});
  dismiss();
  showChat();
  $("message").focus();
}
