"use strict";
// The browser of changed prompts: filters, which live in the address, pages, and marked texts.
(() => {
  const { data, pair, say, both, el, visible } = window.flames;

  const browser = document.getElementById("changes");
  if (!browser || !data) return;
  const PAGE = 10;
  const form = browser.querySelector(".filters");
  const found = browser.querySelector(".found");
  const items = browser.querySelector(".items");
  const pages = browser.querySelector(".pages");
  let shown = [];
  let page = 0;

  const whole = (said) => said[0].filter((piece) => piece !== null).join("");
  const haystack = (row) => (row.hay ??=
    [row.q, row.i, ...(row.b || []).map((turn) => turn[1]), ...row.a.flat().map(whole)].join("\n").toLowerCase());
  const label = (row) => data.dimensions[row.d].label;
  const partOf = (row) => data.parts.find((part) => part[0] === row.d && part[1] === row.s);
  const tone = (score, row) => {
    const { scale } = data.dimensions[row.d];
    return score === scale[0] ? "s3" : score === scale[scale.length - 1] ? "s1" : "s2";
  };

  function option(value, what) {
    if (!what) return el("option", { value }, visible(value));
    const [zh, en] = pair(what).map(visible);
    return el("option", { value, "data-l10n": JSON.stringify({ text: { zh, en } }) }, say([zh, en]));
  }
  const select = (name, options, all = "filter.all") =>
    el("label", {}, both(`filter.${name}`),
      el("select", { name, onchange: () => apply() }, option("", all), options));

  function build() {
    const search = el("input", { type: "search", name: "q", autocomplete: "off" });
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(apply, 150);
    });
    const parts = (dimension) => data.parts
      .filter((part) => part[0] === dimension)
      .map((part) => option(JSON.stringify([dimension, part[1]]), part[2].map((t) => `\u2003${t}`)));
    const places = Object.entries(data.dimensions).flatMap(([name, { label: texts }]) =>
      [option(JSON.stringify([name]), texts), ...parts(name)]);
    const scores = (side) => [...new Set(data.changes.flatMap((row) => row.x[side]))]
      .sort((a, b) => b - a).map((score) => option(String(score)));
    form.append(
      el("label", { class: "q" }, both("filter.search"), search),
      data.pairs.length > 1
        ? select("pair", data.pairs.map((names, i) => option(String(i), [names.join(" → "), names.join(" → ")])))
        : "",
      select("way", [option("worse", "compare.worse"), option("better", "compare.better")]),
      select("dimension", places),
      Object.keys(data.techniques).length
        ? select("technique", Object.entries(data.techniques).map(([name, texts]) => option(name, texts)))
        : "",
      select("from", scores(0)),
      select("to", scores(1)),
      select("order", [option("rise", "compare.order.rise")], "compare.order.fall"),
      el("button", { type: "reset" }, both("filter.reset")));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
  }

  function matches(row, want, words) {
    const [dimension, part] = want.dimension ? JSON.parse(want.dimension) : [];
    if (dimension && row.d !== dimension) return false;
    if (part && row.s !== part) return false;
    if (want.pair && row.p !== Number(want.pair)) return false;
    if (want.technique && row.t !== want.technique) return false;
    if (want.way && (row.f > 0) !== (want.way === "worse")) return false;
    if (want.from && !row.x[0].includes(Number(want.from))) return false;
    if (want.to && !row.x[1].includes(Number(want.to))) return false;
    return words.every((word) => haystack(row).includes(word));
  }

  function apply(keep) {
    const want = Object.fromEntries(new FormData(form));
    const words = want.q.toLowerCase().split(/\s+/).filter(Boolean);
    shown = data.changes.filter((row) => matches(row, want, words));
    shown.sort((a, b) => (want.order === "rise" ? a.f - b.f : b.f - a.f));
    page = 0;
    if (keep !== true) write(want);
    draw();
  }

  function write(want) {
    const given = Object.entries(want).filter(([, value]) => value).map(([name, value]) => [name, value]);
    const [dimension, part] = want.dimension ? JSON.parse(want.dimension) : [];
    const query = new URLSearchParams(given.filter(([name]) => name !== "dimension"));
    if (dimension) query.set("dimension", dimension);
    if (part) query.set("part", part);
    const hash = String(query) ? `#changes?${query}` : "#changes";
    try { history.replaceState(null, "", hash); } catch { /* pages from a disk may not */ }
  }

  /** Sets the filters that the address names, `#changes?dimension=Safety&way=worse`. */
  function read() {
    const [place, query] = location.hash.split("?");
    if (place !== "#changes") return false;
    const want = new URLSearchParams(query || "");
    for (const field of form.elements) if (field.name) field.value = "";
    for (const [name, value] of want) {
      const field = form.elements[name];
      if (field && name !== "dimension") field.value = value;
      if (field && field.value !== value && name !== "dimension") field.value = "";
    }
    if (want.get("dimension") && form.elements.dimension) {
      const part = want.get("part");
      const value = JSON.stringify([want.get("dimension"), ...(part ? [part] : [])]);
      form.elements.dimension.value = value;
      if (form.elements.dimension.value !== value) form.elements.dimension.value = "";
    }
    return true;
  }

  /** A text in pieces, by turns the same as the other one and different. */
  function text(pieces, side) {
    const long = pieces.join("").length > 1500;
    return el("p", { class: `text${long ? " long" : ""}`, dir: "auto", tabindex: long ? "0" : null },
      pieces.map((piece, i) => {
        if (!piece) return null;
        return i % 2 ? el("mark", { class: side ? "now" : "was" }, visible(piece)) : visible(piece);
      }));
  }

  const answer = (row, side) => el("div", { class: "side" },
    el("h3", {}, visible(data.pairs[row.p][side]), " ",
      row.x[side].map((score) => [el("span", { class: `chip ${tone(score, row)}` }, String(score)), " "])),
    row.a[side].map((said) => [
      whole(said) ? text(said[0], side) : el("p", { class: "soft" }, both("no_text")),
      said[1] ? el("p", { class: "reason" }, el("b", {}, both("compare.reason")), " ", visible(said[1])) : null]));

  function card(row) {
    const part = partOf(row);
    return el("article", { class: "compare-change" },
      el("p", { class: "meta" },
        el("span", {}, both(row.f > 0 ? "compare.worse" : "compare.better")),
        el("span", {}, both(label(row)), part ? [" · ", both(part[2])] : ""),
        row.t ? el("span", {}, both(data.techniques[row.t])) : "",
        el("span", { class: "id" }, visible(row.i))),
      row.b ? el("details", {}, el("summary", {}, both("before", { n: row.b.length })),
        row.b.map(([role, words]) =>
          el("p", { class: "text", dir: "auto" }, el("b", {}, both(`role.${role}`)), "\n", visible(words)))) : "",
      row.q ? el("p", { class: "text asked", dir: "auto" }, visible(row.q)) : el("p", { class: "asked" }, both("no_prompt")),
      el("div", { class: "compare-sides" }, answer(row, 0), answer(row, 1)));
  }

  function draw() {
    const from = page * PAGE;
    const now = shown.slice(from, from + PAGE);
    found.replaceChildren(...(now.length
      ? both("found", { from: from + 1, to: from + now.length, total: shown.length.toLocaleString("en") })
      : both("compare.nothing")),
      ...(data.more ? [" ", ...both("compare.all_shown", { n: data.more.toLocaleString("en") })] : []));
    items.replaceChildren(...now.map(card));
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    const turn = (by, name, disabled) => el("button", {
      type: "button", disabled, onclick: () => { page += by; draw(); browser.scrollIntoView(); },
    }, both(name));
    pages.replaceChildren(...(last === 0 ? [] : [
      turn(-1, "previous", page === 0),
      el("span", { class: "num small" }, `${page + 1} / ${last + 1}`),
      turn(1, "next", page === last)]));
  }

  function follow() {
    if (!read()) return;
    apply(true);
    browser.scrollIntoView();
  }
  window.addEventListener("hashchange", follow);

  build();
  apply(true);
  follow();
})();
