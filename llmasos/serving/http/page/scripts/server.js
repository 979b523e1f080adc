// ==== Talking to the server ==========================================================================================

let model = null;       // what /v1/models says about it
let key = "";           // the API key, if the server wants one

/** Something that went wrong, as a sentence for a person. */
class Problem extends Error {
  constructor(sentence, status = 0, code = null) {
    super(capitalised(sentence));
    Object.assign(this, {status, code});
  }
}

/** Ask the server. Raises Problem if it is not there, or refuses; what it says about that is for a person already. */
async function ask(path, body, signal) {
  const headers = {"Content-Type": "application/json", ...(key && {Authorization: `Bearer ${key}`})};
  if (/[^!-~]/.test(key)) throw new Problem("no key has such characters", 401);  // nor could they be sent
  const options = body ? {method: "POST", headers, body: JSON.stringify(body), signal} : {headers, signal};
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. Is it still running? Start it again, then try again.");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  const wait = response.headers.get("Retry-After");
  const hint = response.status === 429 && wait ? ` (It asks to wait ${wait} s.)` : "";
  const sentence = answer?.error?.message ?? `The server answered with status ${response.status}.`;
  throw new Problem(sentence + hint, response.status, answer?.error?.code);
}

/** Ask for something in the name of a tab: the request is remembered, to be shown as curl and Python. */
async function post(tab, path, body, signal) {
  const whole = {model: model.id, ...body};
  requests[tab] = {path, body: whole};
  showRequest();
  return ask(path, whole, signal);
}

/** The same, for an answer that comes in one piece. */
async function fetchJson(tab, path, body, signal) {
  return (await post(tab, path, body, signal)).json();
}

/** The JSON of each server-sent event: lines "data: {…}", an empty line after each, and "data: [DONE]" at the end. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      const parts = (buffer + value).split(/\r?\n\r?\n/);
      buffer = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter(line => line.startsWith("data:"));
        const data = lines.map(line => line.slice("data:".length).trim()).join("\n");
        if (data === "[DONE]") return;
        if (!data) continue;
        const event = JSON.parse(data);
        if (event.error) throw new Problem(event.error.message);
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem("The connection broke off while the model was writing. Is the server still running?");
  }
  throw new Problem("The connection ended before the text did. Is the server still running?");
}
