// Keeps a page's figures up to date through the JSON proxy of the back end that made the page.
//
// The page says where the proxy is (<body data-rpc="/status/rpc/proxy.….mjs">) and which call refreshes it (data-call, data-arguments).
// The answer names texts, bars and charts; each goes where an element asks for that name. Nothing is asked for while the
// page is hidden or paused.

const body = document.body;
const { default: status } = await import(body.dataset.rpc);
const seconds = Number(body.dataset.seconds ?? 2);
const call = body.dataset.call;
const args = JSON.parse(body.dataset.arguments ?? "[]");
const sign = document.querySelector("[data-live]");
const button = document.querySelector("[data-pause]");

let paused = false;
let timer = 0;

function show({ texts = {}, bars = {}, charts = {}, rows = {} }) {
  for (const element of document.querySelectorAll("[data-text]")) {
    const text = texts[element.dataset.text] ?? "–";
    if (element.textContent !== text) element.textContent = text;
  }
  for (const element of document.querySelectorAll("[data-state-of]")) {
    element.dataset.state = texts[element.dataset.stateOf] ?? "";
  }
  for (const bar of document.querySelectorAll("[data-bar]")) {
    bar.setAttribute("width", bars[bar.dataset.bar] ?? 0);
  }
  for (const place of document.querySelectorAll("[data-chart]")) {
    const chart = charts[place.dataset.chart];
    if (!chart) continue;
    place.querySelectorAll(".line").forEach((path, i) => path.setAttribute("d", chart.lines[i] ?? ""));
    place.querySelectorAll(".area").forEach((path, i) => path.setAttribute("d", chart.areas[i] ?? ""));
    place.setAttribute("aria-label", chart.text);
  }
  for (const [name, cells] of Object.entries(rows)) fill(document.querySelector(`[data-rows="${name}"]`), cells);
}

// The rows that are there are used again, so that what a reader has selected or zoomed to stays where it is.
function fill(tbody, rows) {
  if (!tbody || !tbody.rows.length) return;
  while (tbody.rows.length > rows.length) tbody.rows[tbody.rows.length - 1].remove();
  while (tbody.rows.length < rows.length) tbody.append(tbody.rows[0].cloneNode(true));
  rows.forEach((texts, i) => {
    texts.forEach((text, j) => {
      const cell = tbody.rows[i].cells[j];
      if (cell && cell.textContent !== text) cell.textContent = text;
    });
  });
}

function tell(state, text) {
  if (!sign) return;
  sign.dataset.state = state;
  if (sign.textContent !== text) sign.textContent = text;
}

async function refresh() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    const answer = await status[call](...args);
    if (paused) return;
    show(answer);
    tell("live", `Live, every ${seconds} s`);
    body.dataset.refreshes = Number(body.dataset.refreshes ?? 0) + 1;
  } catch (error) {
    if (paused) return;
    tell("lost", `No answer (${error.name}); trying again`);
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, seconds * 1000);
}

if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    if (paused) tell("paused", "Paused");
    refresh();
  });
}
document.addEventListener("visibilitychange", refresh);
await refresh();
