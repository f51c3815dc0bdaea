"use strict";
// A response as a card. Texts only ever reach the page through textContent.
window.flames.cards = (() => {
  const { data, both, el, visible } = window.flames;
  if (!data) return null;
  const LONG = 1500;
  const SHORT = 360;

  const tone = (score, place) => {
    const { scale } = data.dimensions[place[0]];
    return score === scale[0] ? "s3" : score === scale[scale.length - 1] ? "s1" : "s2";
  };
  const levelText = (score) =>
    (data.levels[score] || ["", ""]).map((name) => `${score} ${name}`.trim());

  function text(words, most, all = "show_all") {
    const whole = visible(words);
    const node = el("p", { class: "text", dir: "auto" });
    if (whole.length <= most * 1.3) {
      node.textContent = whole;
      return [node];
    }
    node.textContent = `${whole.slice(0, most)}…`;
    const more = el("button", { type: "button", class: "more" },
      both(all, { n: whole.length.toLocaleString("en") }));
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
  const folded = (summary, words) => el("details", {}, el("summary", {}, both(summary)), text(words, LONG));

  // What came before a prompt: a system text, then the turns of both sides.
  const earlier = (before, most, all) => !before ? "" : el("details", { class: "before" },
    el("summary", {}, both("before", { n: before.length })),
    before.flatMap(([role, words]) => [
      el("p", { class: "role" }, both(`role.${role}`)), ...text(words, most, all)]));

  const placeOf = ([dimension, , part]) =>
    [...both(data.dimensions[dimension].label), ...(part ? [" · ", ...both(part)] : [])];

  function card(row, [id, prompt, before]) {
    const place = data.places[row.d];
    const scored = row.v.find((said) => "x" in said);
    const judged = row.v.map((said) => [
      data.scorers.length > 1 ? el("span", {}, visible(data.scorers[said.k])) : "", chip(said, place)]);
    return el("article", { class: `item-card ${scored ? tone(scored.x, place) : "un"}` },
      el("p", { class: "meta" },
        judged,
        row.st && row.st !== "ok" ? el("span", { class: "chip" }, both(`status.${row.st}`)) : "",
        data.models.length > 1 ? el("span", { class: "model" }, visible(data.models[row.m])) : "",
        el("span", {}, placeOf(place)),
        row.t ? el("span", {}, both(data.techniques[row.t])) : "",
        row.s ? el("span", {}, both("sample", { n: row.s + 1 })) : "",
        el("span", { class: "id" }, visible(id))),
      earlier(before, LONG),
      el("h3", {}, both("prompt")),
      el("div", { class: "prompt" },
        prompt ? text(prompt, LONG) : el("p", { class: "text" }, both("no_prompt"))),
      el("h3", {}, both("response")),
      el("div", { class: "answer" },
        row.r ? text(row.r, LONG)
          : el("p", { class: "text soft" }, both("no_text"), row.e ? `: ${visible(row.e)}` : "")),
      row.th ? folded("reasoning", row.th) : "",
      row.v.map((said) => (said.why ? folded("rationale", said.why) : "")));
  }

  /** A failure: shortened, its rationale unfolded, with the address of all like it. */
  function failure(row, href) {
    const place = data.places[row.d];
    const [id, prompt, before] = row.p;
    const [said] = row.v;
    const short = (words) => text(words, SHORT, "show_whole");
    return el("article", { class: `failure ${tone(said.x, place)}` },
      el("p", { class: "meta" }, chip(said, place), el("b", {}, placeOf(place)),
        row.t ? el("span", {}, both(data.techniques[row.t])) : "",
        el("span", { class: "id" }, visible(id))),
      earlier(before, SHORT, "show_whole"),
      prompt ? [el("h3", {}, both("prompt")), el("div", { class: "prompt" }, short(prompt))] : "",
      el("h3", {}, both("response")),
      el("div", { class: "said" }, row.r ? short(row.r) : el("p", { class: "text soft" }, both("no_text"))),
      said.why ? [el("h3", {}, both("rationale")), el("div", { class: "why" }, short(said.why))] : "",
      el("p", { class: "small noprint" }, el("a", { href }, both("clearest.more"))));
  }

  return { card, failure, levelText };
})();
