"use strict";
// The browser of responses. Texts only ever reach the page through textContent.
(() => {
  const { data, pair, say, both, el, visible } = window.flames;

  const browser = document.getElementById("responses");
  if (!browser || !data) return;
  const PAGE = 20;
  const LONG = 1500;
  const form = browser.querySelector(".filters");
  const found = browser.querySelector(".found");
  const items = browser.querySelector(".items");
  const pages = browser.querySelector(".pages");
  let shown = [];
  let page = 0;

  const promptOf = (row) => data.prompts[row.p];
  const placeOf = (row) => data.places[row.d];
  const lowest = (row) => Math.min(...row.v.map((said) => ("x" in said ? said.x : Infinity)));
  const highest = (row) => Math.max(...row.v.map((said) => ("x" in said ? said.x : -Infinity)));
  const haystack = (row) =>
    (row.hay ??= [promptOf(row)[1], row.r, promptOf(row)[0]].join("\n").toLowerCase());

  const tone = (score, place) => {
    const { scale } = data.dimensions[place[0]];
    return score === scale[0] ? "s3" : score === scale[scale.length - 1] ? "s1" : "s2";
  };

  function option(value, what) {
    if (!what) return el("option", { value }, visible(value));
    const [zh, en] = pair(what).map(visible);
    return el("option", { value, "data-l10n": JSON.stringify({ text: { zh, en } }) }, say([zh, en]));
  }
  const select = (name, options) =>
    el("label", {}, both(`filter.${name}`),
      el("select", { name, onchange: () => apply() }, option("", "filter.all"), options));

  function build() {
    const search = el("input", { type: "search", name: "q", autocomplete: "off" });
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(apply, 150);
    });
    const parts = (dimension) => data.places
      .filter((place) => place[0] === dimension && place[2])
      .map((place) => option(JSON.stringify([dimension, place[1]]), place[2].map((t) => `\u2003${t}`)));
    const places = Object.entries(data.dimensions).flatMap(([name, { label }]) =>
      [option(JSON.stringify([name]), label), ...parts(name)]);
    const scores = [...new Set(data.rows.flatMap((row) => row.v.map((said) => said.x)))]
      .filter((score) => score !== undefined).sort((a, b) => b - a);
    const statuses = [...new Set(data.rows.map((row) => row.st).filter(Boolean))];
    form.append(
      el("label", { class: "q" }, both("filter.search"), search),
      data.models.length > 1 ? select("model", data.models.map((name) => option(name))) : "",
      select("dimension", places),
      select("score", [
        ...scores.map((score) => option(String(score), levelText(score))),
        option("unscored", "unscored")]),
      select("status", statuses.map((status) => option(status, `status.${status}`))),
      Object.keys(data.techniques).length
        ? select("technique", Object.entries(data.techniques).map(([name, texts]) => option(name, texts)))
        : "",
      el("label", {}, both("filter.order"), el("select", { name: "order", onchange: () => apply() },
        option("", "order.file"), option("low", "order.low"), option("high", "order.high"))),
      el("button", { type: "reset" }, both("filter.reset")));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
  }
  const levelText = (score) =>
    (data.levels[score] || ["", ""]).map((name) => `${score} ${name}`.trim());

  function matches(row, want, words) {
    const [dimension, part] = want.dimension ? JSON.parse(want.dimension) : [];
    if (dimension && placeOf(row)[0] !== dimension) return false;
    if (part && placeOf(row)[1] !== part) return false;
    if (want.model && data.models[row.m] !== want.model) return false;
    if (want.technique && row.t !== want.technique) return false;
    if (want.status && row.st !== want.status) return false;
    if (want.score === "unscored" && !row.v.some((said) => "u" in said)) return false;
    if (want.score && want.score !== "unscored" && !row.v.some((said) => String(said.x) === want.score))
      return false;
    return words.every((word) => haystack(row).includes(word));
  }

  function apply() {
    const want = Object.fromEntries(new FormData(form));
    const words = want.q.toLowerCase().split(/\s+/).filter(Boolean);
    shown = data.rows.filter((row) => matches(row, want, words));
    if (want.order === "low") shown.sort((a, b) => lowest(a) - lowest(b));
    if (want.order === "high") shown.sort((a, b) => highest(b) - highest(a));
    page = 0;
    draw();
  }

  function text(words, className) {
    const whole = visible(words);
    const node = el("p", { class: `text ${className || ""}`, dir: "auto" });
    if (whole.length <= LONG * 1.3) {
      node.textContent = whole;
      return [node];
    }
    node.textContent = `${whole.slice(0, LONG)}…`;
    const more = el("button", { type: "button", class: "more" },
      both("show_all", { n: whole.length.toLocaleString("en") }));
    more.addEventListener("click", () => { node.textContent = whole; more.remove(); });
    return [node, more];
  }

  function chip(said, place) {
    if ("u" in said)
      return el("span", { class: "chip un" }, both("unscored"), " · ", both(data.reasons[said.u]));
    return el("span", { class: `chip ${tone(said.x, place)}` }, both(levelText(said.x)),
      "p" in said ? el("span", {}, " · ", both("probability", { p: said.p.toFixed(2) })) : "");
  }

  // Filled at once: a search in the page finds what is folded, and opens it.
  const folded = (summary, words) => el("details", {}, el("summary", {}, both(summary)), text(words));

  function card(row) {
    const place = placeOf(row);
    const [id, prompt] = promptOf(row);
    const scored = row.v.find((said) => "x" in said);
    const judged = row.v.map((said) => [
      data.scorers.length > 1 ? el("span", {}, visible(data.scorers[said.k])) : "", chip(said, place)]);
    return el("article", { class: `item-card ${scored ? tone(scored.x, place) : "un"}` },
      el("p", { class: "meta" },
        judged,
        row.st && row.st !== "ok" ? el("span", { class: "chip" }, both(`status.${row.st}`)) : "",
        data.models.length > 1 ? el("span", { class: "model" }, visible(data.models[row.m])) : "",
        el("span", {}, both(data.dimensions[place[0]].label), place[2] ? [" · ", both(place[2])] : ""),
        row.t ? el("span", {}, both(data.techniques[row.t])) : "",
        row.s ? el("span", {}, both("sample", { n: row.s + 1 })) : "",
        el("span", { class: "id" }, visible(id))),
      el("h3", {}, both("prompt")),
      el("div", { class: "prompt" },
        prompt ? text(prompt) : el("p", { class: "text" }, both("no_prompt"))),
      el("h3", {}, both("response")),
      el("div", { class: "answer" },
        row.r ? text(row.r) : el("p", { class: "text soft" }, both("no_text"), row.e ? `: ${visible(row.e)}` : "")),
      row.th ? folded("reasoning", row.th) : "",
      row.v.map((said) => (said.why ? folded("rationale", said.why) : "")));
  }

  function draw() {
    const from = page * PAGE;
    const now = shown.slice(from, from + PAGE);
    found.replaceChildren(...(now.length
      ? both("found", { from: from + 1, to: from + now.length, total: shown.length.toLocaleString("en") })
      : both("nothing")));
    items.replaceChildren(...now.map(card));
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    const turn = (by, label, disabled) => el("button", {
      type: "button", disabled, onclick: () => { page += by; draw(); browser.scrollIntoView(); },
    }, both(label));
    pages.replaceChildren(...(last === 0 ? [] : [
      turn(-1, "previous", page === 0),
      el("span", { class: "num small" }, `${page + 1} / ${last + 1}`),
      turn(1, "next", page === last)]));
  }

  // A count in a table leads to its responses.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-find]");
    if (!link) return;
    const want = JSON.parse(link.dataset.find);
    form.reset();
    const set = (name, value) => { if (form.elements[name] && value) form.elements[name].value = value; };
    set("model", want.model);
    set("dimension", want.dimension && JSON.stringify(want.part ? [want.dimension, want.part] : [want.dimension]));
    set("technique", want.technique);
    set("score", want.score);
    apply();
  });

  build();
  apply();
})();
