"use strict";
// Tables that sort by a column and filter by a model's name.
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = head.querySelector(".sort");
      if (!button) return;
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "none"
          ? head.classList.contains("num") && column > 0
          : head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.value;
        const numeric = head.classList.contains("num");
        const rows = [...body.rows].sort((a, b) =>
          (numeric ? value(a) - value(b) : value(a).localeCompare(value(b))) * (falling ? -1 : 1));
        body.append(...rows);
      });
    });
  }
  const find = document.getElementById("find");
  if (!find) return;
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase().trim();
    for (const row of document.querySelectorAll("table.filtered tbody tr"))
      row.hidden = !row.dataset.name.includes(wanted);
  });
})();
