// ==== Chat ===========================================================================================================

// A conversation is a tree, for an answer can have several versions: another one, or one that branched inside it. Shown
// is the way from the root down to the last message, always by the version that was chosen last.
// A message is {role, tokens, parent, next: [the messages that may follow], chosen: which of them, item}; a person's has
// its `content` in place of tokens, and an answer also {warnings, end, from, at}: it left the answer `from` at token `at`.

const root = {next: [], chosen: -1};

function lastMessage() {
  let message = root;
  while (message.chosen >= 0) message = message.next[message.chosen];
  return message;
}

/** The messages from the first to this one. */
function wayTo(message) {
  return message === root ? [] : [...wayTo(message.parent), message];
}

/** What a message says. */
function contentOf({content, tokens}) {
  return content ?? textOf(withoutSpecial(tokens));
}

/** A conversation up to a message, as a request has it. Who says nothing is left out. */
function messages(message = lastMessage()) {
  const all = [{role: "system", content: $("system").value}, ...wayTo(message)];
  return all.map(one => ({role: one.role, content: contentOf(one).trim()})).filter(({content}) => content);
}

/** Add a message after another one, as the version that is shown. */
function addMessage(parent, fields) {
  const message = {parent, next: [], chosen: -1, ...fields};
  parent.chosen = parent.next.push(message) - 1;
  const answers = message.role === "assistant";
  const hint = "The tokens of the answer. Arrow keys step from one to the next, Enter shows its alternatives.";
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

/** Show the conversation; what is there already stays where it is. */
function showChat() {
  hideCard();
  const way = wayTo(lastMessage()), list = $("chat");
  const same = way.findIndex((message, i) => message.item !== list.children[i]);
  const kept = same < 0 ? way.length : same, answers = way.filter(message => message.role === "assistant");
  keepInSight($("send"));
  while (list.children.length > kept) list.lastChild.remove();
  list.append(...way.slice(kept).map(message => message.item));
  answers.forEach(showVersions);
  $("chat-legend").hidden = answers.length === 0;
  showBusy();
}

/** Which of several versions of an answer is shown, and buttons to the others. */
function showVersions(message) {
  const {next} = message.parent, number = next.indexOf(message);
  const button = (to, sign, label) => make("button", {
    type: "button", "aria-label": label, disabled: !(to in next), onclick: () => showVersion(message.parent, to),
  }, sign);
  message.item.querySelector(".versions").replaceChildren(...(next.length < 2 ? [] : [
    button(number - 1, "‹", "The version before"), `${number + 1} of ${next.length}`,
    button(number + 1, "›", "The next version"), message.from ? difference(message, message.from.tokens) : "",
  ]));
}

function showVersion(parent, number) {
  const forward = number > parent.chosen;
  parent.chosen = number;
  showChat();
  const message = parent.next[number], [back, on] = message.item.querySelectorAll(".versions button");
  (forward && !on.disabled || back.disabled ? on : back).focus();
  say(`Version ${number + 1} of ${parent.next.length}. ${contentOf(message)}`);
}

function send() {
  const content = $("message").value.trim();
  stop("chat");
  $("message").value = "";
  reply(addMessage(lastMessage(), {role: "user", content}));
}

/** An answer to a message. With `begun` ({tokens, from, at}) the model goes on from exactly those tokens. */
const reply = (parent, begun = {tokens: []}) => act("chat", async signal => {
  const prefix = begun.tokens.map(token => token.id);
  const body = {messages: messages(parent), ...(prefix.length && {prefix}), ...sampling()};
  Object.assign(body, {logprobs: true, top_logprobs: ALTERNATIVES, stream: true});
  const response = await post("chat", "v1/chat/completions", body, signal);
  const answer = addAnswer(parent, begun);
  answer.item.querySelector(".text").classList.add("caret");
  say("The assistant is writing.");
  try {
    await receive(response, answer, answer.append, $("send"));
  } catch (error) {
    answer.end = error.name === "AbortError" ? "you" : "error";
    throw error;
  } finally {
    endAnswer(answer);  // what was stopped counts as said
  }
  say(`The assistant: ${contentOf(answer)}`);
});

/** A new answer, with the tokens that it begins with; if it left another one, the token where it did has the focus. */
function addAnswer(parent, {tokens, ...branch}) {
  const fields = {role: "assistant", tokens: [...tokens], warnings: [], end: "", ...branch};
  const answer = addMessage(parent, fields);
  answer.item.querySelector(`[data-i="${branch.at}"]`)?.focus();
  hideCard();
  return answer;
}

/** Show how an answer ended. One that did not even begin is taken away. */
function endAnswer(answer) {
  const {next} = answer.parent;
  if (!answer.tokens.length) {
    next.splice(next.indexOf(answer), 1);
    answer.parent.chosen = next.length - 1;
    showChat();
    return;
  }
  keepInSight($("send"));
  answer.item.querySelector(".text").classList.remove("caret");
  answer.item.querySelector(".numbers").textContent = summary(answer);
  showWarnings(answer.item.querySelector(".warnings"), answer.warnings);
}

/** Go on from another token than the one that stands at place i of an answer. */
function branchAnswer(from, i, other) {
  hideCard();
  const token = chosenInstead(from.tokens[i], other);
  const begun = {tokens: [...from.tokens.slice(0, i), token], from, at: i};
  if (!isSpecial(token)) return reply(from.parent, begun);
  stop("chat");
  const answer = addAnswer(from.parent, {...begun, end: "chosen"});
  endAnswer(answer);
  say(`The assistant: ${contentOf(answer)}`);
}

function newConversation() {
  stop("chat");
  Object.assign(root, {next: [], chosen: -1});
  dismiss();
  showChat();
  $("message").focus();
}
