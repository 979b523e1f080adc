// ==== The request in curl and Python =================================================================================

const requests = {};    // tab → {path, body}

/** For routes of OpenAI's client: the method, its fields (others go into extra_body), and the text of a chunk. */
const OPENAI = {
  "v1/completions": {
    call: "completions", piece: "chunk.choices[0].text",
    fields: ["model", "prompt", "temperature", "top_p", "max_tokens", "seed", "logprobs", "stream"],
  },
  "v1/chat/completions": {
    call: "chat.completions", piece: 'chunk.choices[0].delta.content or ""',
    fields: ["model", "messages", "temperature", "top_p", "max_tokens", "seed", "logprobs", "top_logprobs", "stream"],
  },
};

function showRequest() {
  const request = requests[tab];
  $("api").hidden = !request;
  if (!request) return;
  const base = location.href.replace(/[^/]*$/, "").replace(/#.*/, "");
  $("api-curl").textContent = asCurl(base, request);
  $("api-python").textContent = asPython(base, request);
}

function asCurl(base, {path, body}) {
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  const secret = key ? ['-H "Authorization: Bearer $LLMASOS_API_KEY"'] : [];
  const headers = ["-H 'Content-Type: application/json'", ...secret];
  return [`curl ${body.stream ? "-N " : ""}${base}${path}`, ...headers, `-d '${json}'`].join(" \\\n  ");
}

/** A JSON value as a Python literal. */
function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${python(item)}`);
  return `{${fields.join(", ")}}`;
}

function asPython(base, {path, body}) {
  const secret = key ? 'os.environ["LLMASOS_API_KEY"]' : '"none"';
  const lines = [...(key ? ["import os", ""] : []), "from openai import OpenAI", ""];
  lines.push(`client = OpenAI(base_url="${base}v1", api_key=${secret})`);
  if (!(path in OPENAI)) {
    const where = path.slice("v1".length);
    lines.push(`answer = client.post("${where}", cast_to=object, body=${python(body)})`, "print(answer)");
    return lines.join("\n");
  }
  const {call, fields, piece} = OPENAI[path], keywords = [], extra = {};
  for (const [field, value] of Object.entries(body)) {
    if (fields.includes(field)) keywords.push(`    ${field}=${python(value)},`);
    else extra[field] = value;
  }
  if (Object.keys(extra).length) keywords.push(`    extra_body=${python(extra)},`);
  lines.push(`stream = client.${call}.create(`, ...keywords, ")");
  lines.push("for chunk in stream:", `    print(${piece}, end="", flush=True)`);
  return lines.join("\n");
}
