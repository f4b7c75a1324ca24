"use strict";
const THEMES = {
  light: {
    dense: "#0072b2", pruned: "#d55e00", restored: "#00805e", text: "#1d2733", muted: "#66717f", grid: "#e3e7ec",
    loss: ["#f6f1ed", "#fbd9be", "#f3a877", "#dc6f33", "#a8430f", "#5f2407"], signed: ["#0072b2", "#f4f4f2", "#d55e00"],
  },
  dark: {
    dense: "#56b4e9", pruned: "#f08a4b", restored: "#2fc79b", text: "#e6eaef", muted: "#98a3b0", grid: "#2a323c",
    loss: ["#1d2228", "#4a2b18", "#85441c", "#c56526", "#f39a5c", "#ffd9bd"], signed: ["#56b4e9", "#20262d", "#f08a4b"],
  },
};
const night = matchMedia("(prefers-color-scheme: dark)");

// Colours are named in figures, so that each is drawn in those of the theme in view.
function coloured(part, theme, key) {
  if (Array.isArray(part)) return part.map((item) => coloured(item, theme, key));
  if (part && typeof part === "object")
    return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, coloured(value, theme, name)]));
  if (!["color", "colorscale"].includes(key) || typeof part !== "string") return part;
  if (part === "plain") return [[0, theme.loss[0]], [1, theme.dense]];
  const found = theme[part];
  return Array.isArray(found) ? found.map((colour, i) => [i / (found.length - 1), colour]) : found ?? part;
}

function draw(plot) {
  const theme = night.matches ? THEMES.dark : THEMES.light;
  const { data, layout } = coloured(JSON.parse(plot.querySelector("script").textContent), theme);
  const axis = { gridcolor: theme.grid, zerolinecolor: theme.grid, automargin: true };
  for (const name of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) Object.assign(layout[name], axis);
  Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: theme.text } });
  const place = plot.querySelector("div");
  Plotly.react(place, data, layout, { responsive: true, displaylogo: false });
}

function drawAll() {
  document.querySelectorAll(".plot:not([hidden])").forEach(draw);
}

for (const choice of document.querySelectorAll(".choice")) {
  const plots = [...choice.querySelectorAll(".plot")];
  choice.querySelector("select").addEventListener("change", (event) => {
    plots.forEach((plot, index) => { plot.hidden = index !== event.target.selectedIndex; });
    drawAll();
  });
}
night.addEventListener("change", drawAll);
drawAll();
