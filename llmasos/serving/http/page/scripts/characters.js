// ==== Whole characters ===============================================================================================
// A token is a sequence of bytes, and a character such as 🐕 or 語 may take several tokens. Those are shown as one.
// A token is {text, bytes, …}; where there are no bytes, they are those of the text.

const bytesOf = token => token.bytes ?? [...new TextEncoder().encode(token.text)];
const decoded = bytes => new TextDecoder().decode(Uint8Array.from(bytes));
const hex = bytes => bytes.map(byte => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
const segmenter = "Segmenter" in Intl ? new Intl.Segmenter() : null;  // knows where a character ends: 👩‍👧 is one

/** Whether UTF-8 bytes end in the middle of a character. */
function isCutOff(bytes) {
  const last = bytes.slice(-4), start = last.findLastIndex(byte => byte >= 0xC0);
  const size = byte => byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
  return start >= 0 && last.slice(start + 1).every(byte => byte >= 0x80) && last.length - start < size(last[start]);
}

/** Whether bytes continue the last character of the bytes before them. */
function continuesCharacter(before, bytes) {
  if (!before.length || !bytes.length) return false;
  const inside = (bytes[0] & 0xC0) === 0x80;  // 10xxxxxx never begins a character
  if (inside || isCutOff(before)) return inside && isCutOff(before);
  if (bytes[0] < 0xC0 || !segmenter) return false;
  const left = decoded(before);
  return segmenter.segment(left + decoded(bytes)).containing(left.length).index < left.length;
}

/**
 * Add token number `start` to a list of characters {start, tokens, bytes}. The characters that it completes become one,
 * and are returned (without the new one).
 */
function addToCharacters(characters, token, start) {
  const replaced = [];
  let added = {start, tokens: [token], bytes: bytesOf(token)};
  while (characters.length && ![...characters.at(-1).tokens, token].some(isSpecial)
         && continuesCharacter(characters.at(-1).bytes, added.bytes)) {
    const before = characters.pop();
    replaced.push(before);
    added = {start: before.start, tokens: [...before.tokens, ...added.tokens], bytes: [...before.bytes, ...added.bytes]};
  }
  characters.push(added);
  return replaced;
}

/** The characters of tokens: mostly one for each token. */
function charactersOf(tokens) {
  const characters = [];
  tokens.forEach((token, i) => addToCharacters(characters, token, i));
  return characters;
}

/** A character's text. */
const characterText = ({tokens, bytes}) => tokens.length > 1 ? decoded(bytes) : tokens[0].text;

/** The name of a token on its own, with visible white space; the bytes of a piece of a character. */
function tokenName(token) {
  const text = token.text ?? token.token;
  return text.includes("\ufffd") && token.bytes ? `⟨${hex(token.bytes)}⟩` : visibleText(text);
}

/** The names of the tokens of a text, for tables with a row for each: “🐕 1/3” is the first of the three tokens of 🐕. */
function tokenNames(tokens) {
  return charactersOf(tokens).flatMap(character => character.tokens.map((token, k) => {
    const n = character.tokens.length;
    return n > 1 ? `${visibleText(characterText(character))} ${k + 1}/${n}` : tokenName(token);
  }));
}
