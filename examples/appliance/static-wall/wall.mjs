// Keeps the wallboard up to date. A screen on the wall has nobody to reload it: it goes on asking, whatever happens, and
// says since when it has had no answer.

const body = document.body;
const { default: status } = await import(body.dataset.rpc);
const seconds = Number(body.dataset.seconds);
const state = document.querySelector("[data-state-of]");
const health = document.querySelector("[data-text='health']");
let last = new Date();

function show({ texts, bars, charts }) {
  for (const element of document.querySelectorAll("[data-text]")) {
    const text = texts[element.dataset.text] ?? "–";
    if (element.textContent !== text) element.textContent = text;
  }
  state.dataset.state = texts[state.dataset.stateOf];
  for (const bar of document.querySelectorAll("[data-bar]")) bar.setAttribute("width", bars[bar.dataset.bar] ?? 0);
  for (const place of document.querySelectorAll("[data-chart]")) {
    const { lines, areas, text } = charts[place.dataset.chart];
    place.querySelectorAll(".line").forEach((path, i) => path.setAttribute("d", lines[i] ?? ""));
    place.querySelectorAll(".area").forEach((path, i) => path.setAttribute("d", areas[i] ?? ""));
    place.setAttribute("aria-label", text);
  }
}

async function refresh() {
  try {
    show(await status.overview());
    last = new Date();
    body.dataset.refreshes = Number(body.dataset.refreshes ?? 0) + 1;
  } catch {
    state.dataset.state = "lost";
    health.textContent = `No answer since ${last.toLocaleTimeString()}`;
  }
  setTimeout(refresh, seconds * 1000);
}

await refresh();
