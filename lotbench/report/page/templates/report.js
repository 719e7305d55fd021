"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Vega's settings, from the style sheet and the marks of a chart.
  function theme(marks) {
    const [text, muted, line] = ["--text", "--muted", "--line"].map(colour);
    return {
      background: null,
      font: colour("--font"),
      view: { stroke: null },
      axis: {
        labelColor: muted, titleColor: text, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500, labelPadding: 6, titlePadding: 10,
      },
      axisX: { grid: false },
      axisY: {
        domain: false, ticks: false,
        titleAngle: 0, titleAlign: "left", titleAnchor: "start", titleX: -34, titleY: -14,
      },
      range: {
        category: marks.map((mark) => (dark.matches ? mark.dark : mark.light)),
        symbol: marks.map((mark) => mark.shape),
      },
    };
  }

  async function draw(plot) {
    const spec = specs[plot.dataset.chart];
    const options = {
      renderer: "svg",
      actions: false,
      config: theme(spec.usermeta.marks),
      tooltip: { theme: dark.matches ? "dark" : "light" },
    };
    plot.finalize?.();
    const height = plot.clientWidth < 480 ? 280 : 380;
    const { view, finalize } = await vegaEmbed(plot, { height, ...spec }, options);
    Object.assign(plot, { view, finalize });
    await hide(plot);
  }

  // The methods that the buttons of a task hide in all of its charts; the summary has no buttons.
  function hidden(article) {
    const off = (article ?? new DocumentFragment()).querySelectorAll('.legend [aria-pressed="false"]');
    return [...off].map((button) => button.dataset.method);
  }

  async function hide(plot) {
    await plot.view.signal("off", hidden(plot.closest("article"))).runAsync();
  }

  const plots = [...document.querySelectorAll(".plot")];
  async function drawAll() {
    for (const plot of plots) await draw(plot);
  }

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      for (const plot of button.closest("article").querySelectorAll(".plot")) {
        if (plot.view) hide(plot);
      }
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    new DataTable(table, {
      paging: false,
      info: false,
      order: [],
      autoWidth: false,
      searching: table.classList.contains("long"),
      layout: { topStart: table.classList.contains("long") ? "search" : null, topEnd: null },
      language: { search: "Filter rows:", zeroRecords: "No row has this." },
    });
  }

  dark.addEventListener("change", drawAll);
  drawAll();
})();
