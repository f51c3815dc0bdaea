"use strict";
// The browser of responses. What it shows stands in the address, so that a list can be sent on.
(() => {
  const { data, pair, say, both, el, visible, rows, cards } = window.flames;
  const browser = document.getElementById("responses");
  if (!browser || !data) return;
  const PAGE = 20;
  const ADDRESS = "#responses?";
  const NAMES = ["q", "model", "dimension", "part", "technique", "score", "status", "order"];
  const form = browser.querySelector(".filters");
  const found = browser.querySelector(".found");
  const items = browser.querySelector(".items");
  const pages = browser.querySelector(".pages");
  let shown = [];
  let page = 0;
  let written = null;  // the address that this script itself put there last
  let turn = 0;  // of what is shown; what comes late from an earlier one is dropped

  // An address has no lone surrogates; it is written with question marks in their place.
  const plain = (text) => String(text).replace(/\p{Cs}/gu, "?");
  const scores = (i) => rows.said(i).filter((said) => "x" in said).map((said) => said.x);
  const lowest = (i) => Math.min(...scores(i), Infinity);
  const highest = (i) => Math.max(...scores(i), -Infinity);
  const has = ([row, prompt], words) => {
    const before = (prompt[2] || []).map((turn) => turn[1]);
    const hay = [prompt[1], row.r, prompt[0], ...before].join("\n").toLowerCase();
    return words.every((word) => hay.includes(word));
  };

  function option(value, what) {
    if (!what) return el("option", { value: plain(value) }, visible(value));
    const [zh, en] = pair(what).map(visible);
    return el("option", { value: plain(value), "data-l10n": JSON.stringify({ text: { zh, en } }) },
      say([zh, en]));
  }
  const select = (name, options) =>
    el("label", {}, both(`filter.${name}`),
      el("select", { name, onchange: () => chosen() }, option("", "filter.all"), options));

  function build() {
    const search = el("input", { type: "search", name: "q", autocomplete: "off" });
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => chosen(true), 150);
    });
    const parts = (dimension) => data.places
      .filter((place) => place[0] === dimension && place[2])
      .map((place) => option(JSON.stringify([dimension, place[1]]), place[2].map((t) => `\u2003${t}`)));
    const places = Object.entries(data.dimensions).flatMap(([name, { label }]) =>
      [option(JSON.stringify([name]), label), ...parts(name)]);
    const levels = [...new Set(rows.kinds.flatMap((kind) => kind.map((said) => said.x)))]
      .filter((score) => score !== undefined).sort((a, b) => b - a);
    form.append(
      el("label", { class: "q" }, both("filter.search"), search),
      data.models.length > 1 ? select("model", data.models.map((name) => option(name))) : "",
      select("dimension", places),
      select("score", [
        ...levels.map((score) => option(String(score), cards.levelText(score))),
        option("unscored", "unscored")]),
      select("status", rows.statuses.filter(Boolean).map((status) => option(status, `status.${status}`))),
      Object.keys(data.techniques).length
        ? select("technique", Object.entries(data.techniques).map(([name, texts]) => option(name, texts)))
        : "",
      el("label", {}, both("filter.order"), el("select", { name: "order", onchange: () => chosen() },
        option("", "order.file"), option("low", "order.low"), option("high", "order.high"))),
      el("button", { type: "reset" }, both("filter.reset")));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(chosen));
  }

  // The address: what is wanted, by name; nothing for another part of the page.
  function wanted() {
    if (!location.hash.startsWith(ADDRESS)) return {};
    const given = new URLSearchParams(location.hash.slice(ADDRESS.length));
    return Object.fromEntries([...given].filter(([name]) => NAMES.includes(name) || name === "page"));
  }

  function inForm() {
    const want = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    if (want.dimension) {
      const [dimension, part] = JSON.parse(want.dimension);
      want.dimension = dimension;
      if (part) want.part = part;
    }
    return want;
  }

  const addressOf = (want) => ADDRESS + [...NAMES, "page"].filter((name) => want[name])
    .map((name) => `${name}=${encodeURIComponent(plain(want[name]))}`).join("&");

  function write(want, replace) {
    const address = addressOf(page ? { ...want, page: page + 1 } : want);
    if (address === location.hash || (address === ADDRESS && !location.hash)) return;
    written = address;
    if (replace) location.replace(address);
    else location.hash = address;
  }

  /** The form was changed: shows what it asks for, and puts it into the address. */
  function chosen(replace = false) {
    page = 0;
    const want = inForm();
    write(want, replace === true);
    apply(want);
  }

  /** The address was changed: shows what it asks for. */
  function arrive(scroll) {
    const want = wanted();
    for (const name of NAMES) {
      const field = form.elements[name];
      if (!field) continue;
      const value = name !== "dimension" ? want[name]
        : want.dimension && JSON.stringify(want.part ? [want.dimension, want.part] : [want.dimension]);
      field.value = plain(value || "");
    }
    page = Math.max(0, (parseInt(want.page, 10) || 1) - 1);
    apply(want, scroll && location.hash.startsWith(ADDRESS));
  }

  function matches(want) {
    const same = (value, given) => !given || (value !== undefined && value !== null && plain(value) === given);
    const places = data.places.map((place) => same(place[0], want.dimension) && same(place[1], want.part));
    const models = data.models.map((name) => same(name, want.model));
    const says = (said) => (want.score === "unscored" ? "u" in said : String(said.x) === want.score);
    return (i) => places[rows.place(i)] && models[rows.model(i)] &&
      same(rows.technique(i), want.technique) && same(rows.status(i), want.status) &&
      (!want.score || rows.said(i).some(says));
  }

  async function search(among, words, mine) {
    const hits = [];
    for (let at = 0; at < among.length;) {
      const number = rows.blockOf(among[at]);
      found.replaceChildren(...both("searching", { percent: Math.floor(100 * at / among.length) }));
      const block = await rows.search(number, words);
      if (mine !== turn) return null;
      for (; at < among.length && rows.blockOf(among[at]) === number; at += 1)
        if (block && has(rows.textsIn(block, among[at]), words)) hits.push(among[at]);
    }
    return hits;
  }

  async function apply(want, scroll = false) {
    const mine = turn += 1;
    const words = (want.q || "").toLowerCase().split(/\s+/).filter(Boolean);
    const match = matches(want);
    let hits = [];
    for (let i = 0; i < rows.length; i += 1) if (match(i)) hits.push(i);
    if (words.length && data.rows) hits = hits.filter((i) => has(rows.textsIn(data, i), words));
    else if (words.length) {
      items.replaceChildren();
      pages.replaceChildren();
      hits = await search(hits, words, mine).catch(unreadable);
      if (!hits || mine !== turn) return;
    }
    if (want.order === "low") hits.sort((a, b) => lowest(a) - lowest(b));
    if (want.order === "high") hits.sort((a, b) => highest(b) - highest(a));
    shown = hits;
    draw();
    if (scroll) browser.scrollIntoView();
  }

  function unreadable() {
    found.replaceChildren(...both("unreadable"));
    return null;
  }

  function draw() {
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    page = Math.min(page, last);
    const from = page * PAGE;
    const now = shown.slice(from, from + PAGE);
    found.replaceChildren(...(now.length
      ? both("found", { from: from + 1, to: from + now.length, total: shown.length.toLocaleString("en") })
      : both("nothing")));
    fill(now);
    const turnBy = (by, label, disabled) => el("button", {
      type: "button", disabled,
      onclick: () => { page += by; write(inForm()); draw(); browser.scrollIntoView(); },
    }, both(label));
    pages.replaceChildren(...(last === 0 ? [] : [
      turnBy(-1, "previous", page === 0),
      el("span", { class: "num small" }, `${page + 1} / ${last + 1}`),
      turnBy(1, "next", page === last)]));
  }

  /** Shows cards: at once where their texts are open, else as soon as they are. */
  function fill(now) {
    const mine = turn;
    const show = () => items.replaceChildren(...now.map((i) =>
      cards.card(...rows.textsIn(rows.here(rows.blockOf(i)), i))));
    const closed = [...new Set(now.map(rows.blockOf))].filter((number) => !rows.here(number));
    if (!closed.length) { show(); return; }
    items.replaceChildren(el("p", { class: "soft" }, both("loading")));
    Promise.all(closed.map((number) => rows.load(number)))
      .then(() => { if (mine === turn) show(); }, unreadable);
  }

  for (const place of document.querySelectorAll(".failures .cards"))
    for (const row of data.failures[place.dataset.result] || []) {
      const [dimension, part] = data.places[row.d];
      const model = data.models.length > 1 && data.models[row.m];
      place.append(cards.failure(row, addressOf({ model, dimension, part, score: row.v[0].x })));
    }

  document.addEventListener("click", (event) => {
    const link = event.target.closest(`a[href^="${ADDRESS}"]`);
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    written = link.getAttribute("href");
    if (location.hash === written) written = null;
    else location.hash = written;
    arrive(true);
  });
  window.addEventListener("hashchange", () => {
    const own = location.hash === written;
    written = null;
    if (!own) arrive(true);
  });

  build();
  arrive(true);
})();
