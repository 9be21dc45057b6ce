// Redraws the charts that framework.xhtml.charts made, in the page, with new values. No dependencies; works under a strict
// content security policy. The geometry is read from the data attributes that the server wrote.
//
//   import { update, History } from "/static/charts.js";
//   update(document.getElementById("cpu"), [3, 5, 4, 8]);
//   update(svg, { in: [1, 5], out: [2, 2] });          // a line chart with names
//   update(bars, { sda: 42, sdb: 7 });                 // a bar chart

/** A coordinate, as short as it can be said. */
const number = (value) => String(Math.round(value * 100) / 100);

/** A value in three significant digits. */
export function short(value) {
  const size = Math.abs(value);
  if (size && (size >= 1e6 || size < 1e-3)) return value.toPrecision(3);
  return size >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** The next of 1, 2, 4, 5, 8, 10 times a power of ten that is not below the span. */
export function nice(span) {
  if (!(span > 0) || !Number.isFinite(span)) return 1;
  const power = 10 ** Math.floor(Math.log10(span));
  return [1, 2, 4, 5, 8, 10, 20].map((step) => step * power).find((value) => value >= span * (1 - 1e-9));
}

const known = (values) => values.filter((value) => value !== null && value !== undefined && Number.isFinite(value));

function scale(series, data, rounded) {
  const all = series.flatMap(known);
  const low = data.minimum === undefined ? Math.min(...(all.length ? all : [0])) : Number(data.minimum);
  let high = data.maximum === undefined ? Math.max(...(all.length ? all : [low + 1])) : Number(data.maximum);
  if (high <= low) high = low + Math.max(1, Math.abs(low) * 1e-6);
  if (rounded && data.maximum === undefined) high = low + nice(high - low);
  return [low, high];
}

function paths(values, low, high, [left, top, width, height]) {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const base = number(top + height);
  const runs = [[]];
  values.forEach((value, place) => {
    if (!known([value]).length) {
      runs.push([]);
      return;
    }
    const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
    runs.at(-1).push([number(left + place * step), number(top + height * (1 - share))]);
  });
  let line = "";
  let area = "";
  for (const run of runs.filter((each) => each.length)) {
    const points = run.map((point) => point.join(" ")).join("L");
    line += `M${points}${run.length === 1 ? "h0" : ""}`;
    area += `M${run[0][0]} ${base}L${points}L${run.at(-1)[0]} ${base}Z`;
  }
  return [line, area];
}

function describe(label, series, unit) {
  const said = Object.entries(series).map(([name, values]) => {
    const all = known(values);
    const head = name ? `${name} ` : "";
    if (!all.length) return `${head}no values`;
    const [last, low, high] = [all.at(-1), Math.min(...all), Math.max(...all)].map((value) => short(value) + unit);
    return `${head}now ${last}, lowest ${low}, highest ${high}`;
  });
  return `${label}: ${said.join("; ")}`;
}

/** What the chart shows, in words. */
function entitle(svg, text) {
  svg.querySelector("title").textContent = text;
}

function drawLines(svg, series) {
  const data = svg.dataset;
  const plot = data.plot.split(" ").map(Number);
  const unit = data.unit ?? "";
  const [low, high] = scale(Object.values(series), data, data.chart === "line");
  for (const group of svg.querySelectorAll(".chart-series")) {
    const values = series[group.dataset.name ?? ""];
    if (!values) continue;
    const [line, area] = paths(values, low, high, plot);
    group.querySelector(".chart-path").setAttribute("d", line);
    group.querySelector(".chart-area")?.setAttribute("d", area);
  }
  for (const tick of svg.querySelectorAll(".chart-tick")) {
    tick.textContent = short(low + (high - low) * Number(tick.dataset.share)) + unit;
  }
  entitle(svg, describe(data.label, series, unit));
}

function drawBars(svg, values, text) {
  const data = svg.dataset;
  const unit = data.unit ?? "";
  const room = Number(data.plot.split(" ")[2]);
  const whole = Number(data.maximum) || Math.max(0, ...known(Object.values(values))) || 1;
  const said = [];
  for (const bar of svg.querySelectorAll(".chart-bar")) {
    const value = values[bar.dataset.name];
    if (!known([value]).length) continue;
    const shown = text ? text(value) : short(value) + unit;
    bar.querySelector(".chart-value").setAttribute("width", number(room * Math.min(1, Math.max(0, value) / whole)));
    bar.querySelector(".chart-said").textContent = shown;
    said.push(`${bar.dataset.name} ${shown}`);
  }
  entitle(svg, `${data.label}: ${said.join(", ") || "no values"}`);
}

/**
 * Redraw a chart.
 * @param {SVGSVGElement} svg a chart that the server drew
 * @param {(number|null)[] | Record<string, (number|null)[]> | Record<string, number>} values as the server's function takes them
 * @param {{text?: (value: number) => string}} [options] text: what stands at a bar's end
 */
export function update(svg, values, options = {}) {
  if (svg.dataset.chart === "bar") drawBars(svg, values, options.text);
  else drawLines(svg, Array.isArray(values) ? { "": values } : values);
}

/** The last values of a live figure, from old to new; never more than `size`. */
export class History {
  constructor(size = 60, values = []) {
    this.size = size;
    this.values = values.slice(-size);
  }

  /** Add a value and return all, filled with null in front so that a line grows from the right. */
  push(value) {
    this.values.push(value);
    if (this.values.length > this.size) this.values.shift();
    return [...Array(this.size - this.values.length).fill(null), ...this.values];
  }
}
