"use strict";
(() => {
  const tip = document.getElementById("tip");

  // What a mark tells stays in the window, beside the pointer.
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 14 + tip.offsetHeight < innerHeight;
    const top = below ? event.clientY + 14 : Math.max(8, event.clientY - 14 - tip.offsetHeight);
    tip.style.left = `${scrollX + Math.max(8, left)}px`;
    tip.style.top = `${scrollY + top}px`;
  });

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      for (const mark of button.closest("article").querySelectorAll("g[data-method]")) {
        if (mark.dataset.method === button.dataset.method) mark.classList.toggle("gone", shown);
      }
    });
  }

  for (const wide of document.querySelectorAll(".wide, .picture")) {
    const hint = Object.assign(document.createElement("p"), {
      className: "more", textContent: "scroll for more \u2192",
    });
    wide.before(hint);
    new ResizeObserver(() => {
      hint.hidden = wide.scrollWidth <= wide.clientWidth + 1;
    }).observe(wide);
  }

  // Numbers by value, then texts; cells without a number are last in both directions.
  function sort(table, head) {
    const { cellIndex } = head;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = ({ cells: { [cellIndex]: cell } }) => cell.dataset.order ?? cell.textContent;
    function compare(one, other) {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    }
    for (const cell of head.parentElement.cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.firstElementChild.addEventListener("click", () => sort(table, head));
    }
    if (!table.classList.contains("long")) continue;
    const label = Object.assign(document.createElement("label"), { className: "filter" });
    const input = Object.assign(document.createElement("input"), { type: "search" });
    label.append("Filter rows:", input);
    table.before(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase();
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(words);
      }
    });
  }
})();
