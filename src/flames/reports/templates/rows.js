"use strict";
// The responses of the page. Few stand in its data; of many only what is filtered by does, and the
// texts are packed in blocks, of which the last ones used stay open.
window.flames.rows = (() => {
  const { data } = window.flames;
  if (!data) return null;
  const OPEN = 40;
  const AS_WRITTEN = /^[^"\\<>&\u2028\u2029\p{Cc}\p{Cs}]+$/u;  // what JSON does not escape
  const packed = !data.rows;
  const columns = data.columns;
  const length = packed ? columns.m.length : data.rows.length;
  const size = packed ? data.block : length || 1;
  const elements = [...document.querySelectorAll("script.block")];
  const open = new Map();

  async function textOf(number) {
    const bytes = Uint8Array.from(atob(elements[number].textContent), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  }

  /** A block that is open, else null. */
  function here(number) {
    if (!packed) return data;
    const block = open.get(number);
    if (!block) return null;
    open.delete(number);
    open.set(number, block);
    return block;
  }

  /** Opens a block. */
  async function load(number) {
    const block = here(number) || JSON.parse(await textOf(number));
    open.set(number, block);
    while (open.size > OPEN) open.delete(open.keys().next().value);
    return block;
  }

  /** A block in which all words may be, without opening it; else null. */
  async function search(number, words) {
    const block = here(number);
    if (block) return block;
    const text = await textOf(number);
    const lower = text.toLowerCase();
    return words.every((word) => !AS_WRITTEN.test(word) || lower.includes(word))
      ? JSON.parse(text) : null;
  }

  const rowIn = (block, i) => block.rows[i % size];
  return {
    length, here, load, search, rowIn,
    blockOf: (i) => Math.floor(i / size),
    textsIn: (block, i) => {
      const row = rowIn(block, i);
      return [row, block.prompts[row.p]];
    },
    model: packed ? (i) => columns.m[i] : (i) => data.rows[i].m,
    place: packed ? (i) => columns.d[i] : (i) => data.rows[i].d,
    status: packed ? (i) => data.statuses[columns.st[i]] : (i) => data.rows[i].st,
    technique: packed ? (i) => data.techniqueNames[columns.t[i]] : (i) => data.rows[i].t,
    said: packed ? (i) => data.verdicts[columns.v[i]] : (i) => data.rows[i].v,
    kinds: packed ? data.verdicts : data.rows.map((row) => row.v),
    statuses: packed ? data.statuses : [...new Set(data.rows.map((row) => row.st))],
  };
})();
