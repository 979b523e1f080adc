// ==== Requests to the server =========================================================================================

let model = null;       // the model's description in /v1/models
let key = "";           // the API key, if the server requires one

/** An error with a message for the user. */
class Problem extends Error {
  constructor(sentence, status = 0, code = null) {
    super(capitalized(sentence));
    Object.assign(this, {status, code});
  }
}

/** Send a request. Throws Problem if the server does not respond, or responds with an error, whose message is kept. */
async function ask(path, body, signal) {
  const headers = {"Content-Type": "application/json", ...(key && {Authorization: `Bearer ${key}`})};
  if (/[^!-~]/.test(key)) throw new Problem("an API key cannot contain spaces or non-ASCII characters", 401);
  const options = body ? {method: "POST", headers, body: JSON.stringify(body), signal} : {headers, signal};
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server is not responding. Is it still running? Start it, then try again.");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  const wait = response.headers.get("Retry-After");
  const hint = response.status === 429 && wait ? ` (Wait ${wait} s before you try again.)` : "";
  const sentence = answer?.error?.message ?? `The server responded with status ${response.status}.`;
  throw new Problem(sentence + hint, response.status, answer?.error?.code);
}

/** Send a request for a tab, and remember it, to show it in curl and Python. */
async function post(tab, path, body, signal) {
  const whole = {model: model.id, ...body};
  requests[tab] = {path, body: whole};
  showRequest();
  return ask(path, whole, signal);
}

/** The same, for a response that is not a stream. */
async function fetchJson(tab, path, body, signal) {
  return (await post(tab, path, body, signal)).json();
}

/** The JSON of each server-sent event: lines "data: {…}", an empty line after each, and "data: [DONE]" at the end. */
async function* eventsOf(response) {
  // Chromium calls a request aborted if a reader alone has read a response of unknown length. So a copy is read as well.
  response.clone().text().catch(() => {});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "", ended = false;
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      const parts = (buffer + value).split(/\r?\n\r?\n/);
      buffer = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter(line => line.startsWith("data:"));
        const data = lines.map(line => line.slice("data:".length).trim()).join("\n");
        if (data === "[DONE]") ended = true;
        if (!data || ended) continue;
        const event = JSON.parse(data);
        if (event.error) throw new Problem(event.error.message);
        yield event;
      }
    }
  } catch (error) {
    if (ended) return;  // the text is complete
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem("The connection broke off while the model was generating. Is the server still running?");
  }
  if (ended) return;
  throw new Problem("The connection closed before the text was complete. Is the server still running?");
}
