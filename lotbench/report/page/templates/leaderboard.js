"use strict";
// Filters and order are in the fragment of the address: #task=claims&target=4&sort=-points
(() => {
  const form = document.querySelector(".filters");
  const table = document.querySelector(".board");
  const heads = [...table.tHead.rows[0].cells];
  let reading = false;

  const fits = (row, name, value) => name === "within"
    ? row.dataset.within !== "" && Number(row.dataset.within) <= Number(value)
    : row.dataset[name] === value;

  function show() {
    const wanted = [...new FormData(form)].filter(([, value]) => value !== "");
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !wanted.every(([name, value]) => fits(row, name, value));
      shown += !row.hidden;
    }
    document.querySelector(".count").textContent = `${shown} row${shown === 1 ? "" : "s"}`;
    if (reading) return;
    const state = new URLSearchParams(wanted);
    const head = heads.find((each) => each.hasAttribute("aria-sort"));
    if (head) state.set("sort", (head.ariaSort === "descending" ? "-" : "") + head.textContent);
    history.replaceState(null, "", `#${state}`);
  }

  function read() {
    const state = new URLSearchParams(location.hash.slice(1));
    reading = true;
    for (const select of form.querySelectorAll("select")) {
      select.value = state.get(select.name) ?? "";
      if (select.selectedIndex < 0) select.value = "";
    }
    const [, minus, column] = /^(-?)(.*)$/.exec(state.get("sort") ?? "");
    const button = heads.find((each) => each.textContent === column)?.firstElementChild;
    const wanted = minus ? "descending" : "ascending";
    for (let turn = 0; button && turn < 2; turn++) {
      if (button.parentElement.getAttribute("aria-sort") !== wanted) button.click();
    }
    reading = false;
    show();
  }

  form.addEventListener("change", show);
  form.addEventListener("reset", () => setTimeout(show));
  table.tHead.addEventListener("click", show);
  addEventListener("hashchange", read);
  if (location.hash.length > 1) read();
})();
