// The status page: asks /api/v1/status every two seconds and shows it. Keeps two minutes of rates.
"use strict";

const POLL_MS = 2000;
const POINTS_MAX = 60;
const rates = [];
let previous = null;
let announced = "";

const byId = (id) => document.getElementById(id);
const show = (id, text) => { byId(id).textContent = text; };
const count = (value) => Number(value).toLocaleString("en");
const percent = (ratio) => (100 * ratio).toFixed(1) + " %";

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  while (bytes >= 1024 && index < units.length - 1) { bytes /= 1024; index += 1; }
  return (index === 0 ? bytes.toFixed(0) : bytes.toPrecision(3)) + " " + units[index];
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return Math.floor(seconds) + " s";
  if (minutes < 60) return minutes + " min";
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? hours + " h " + (minutes % 60) + " min" : Math.floor(hours / 24) + " d";
}

function setState(state, text) {
  if (announced === state + text) return;  // a live region is read out at each change
  announced = state + text;
  byId("state").dataset.state = state;
  show("state", text);
}

function row(cells, headerFirst) {
  const line = document.createElement("tr");
  cells.forEach((cell, index) => {
    const box = document.createElement(headerFirst && index === 0 ? "th" : "td");
    if (headerFirst && index === 0) box.scope = "row";
    if (cell instanceof Node) box.append(cell); else box.textContent = cell;
    line.append(box);
  });
  return line;
}

function gauge(ratio, label) {
  const holder = document.createElement("span");
  const meter = document.createElement("meter");
  meter.value = ratio;
  meter.setAttribute("aria-label", label);
  holder.append(meter, " " + percent(ratio));
  return holder;
}

function fill(id, rows, columns, empty) {
  const body = byId(id);
  if (rows.length === 0) {
    const line = row([empty], false);
    line.firstChild.colSpan = columns;
    line.firstChild.className = "muted";
    rows = [line];
  }
  body.replaceChildren(...rows);
}

function drawChart() {
  const highest = Math.max(1, ...rates);
  const step = 600 / (POINTS_MAX - 1);
  const start = 600 - (rates.length - 1) * step;
  byId("line").setAttribute("points", rates
    .map((rate, index) => `${(start + index * step).toFixed(1)},${(116 - 110 * rate / highest).toFixed(1)}`)
    .join(" "));
  show("chart-max", count(Math.round(Math.max(0, ...rates))));
}

function showRates(status, now) {
  const edge = status.edge;
  if (previous !== null && edge.requests >= previous.requests) {
    const seconds = (now - previous.now) / 1000;
    const rate = (edge.requests - previous.requests) / seconds;
    rates.push(rate);
    if (rates.length > POINTS_MAX) rates.shift();
    show("request-rate", count(rate < 10 ? rate.toFixed(1) : Math.round(rate)));
    show("sent-rate", size((edge.bytes_sent - previous.bytes_sent) / seconds) + "/s");
    drawChart();
  }
  previous = { now, requests: edge.requests, bytes_sent: edge.bytes_sent };
}

function showStatus(status) {
  const { edge, cache, slab } = status;
  show("node", `node ${status.id}, version ${status.version}, up ${duration(status.uptime_s)}`);
  setState(status.ready ? "ready" : "unready", status.ready ? "ready" : status.reasons.join(", "));
  show("hit-ratio", cache.hit_ratio === null ? "\u2013" : percent(cache.hit_ratio));
  show("hit-note", cache.lookups === 0 ? "no lookups yet" : `${count(cache.hits)} of ${count(cache.lookups)} lookups`);
  show("request-note", count(edge.requests) + " in total");
  show("sent-note", size(edge.bytes_sent) + " in total");
  show("connections", count(edge.connections_open));
  show("in-flight", `${count(edge.requests_in_flight)} waiting for the origin`);
  show("objects", count(cache.objects));
  show("evictions", count(cache.evictions) + " evicted");
  show("bytes", size(cache.bytes));
  show("memory", "of " + size(slab.arena_bytes));
  const used = slab.pages_total - slab.pages_free;
  show("pages", slab.pages_total ? percent(used / slab.pages_total) : "\u2013");
  show("pages-note", `${count(used)} of ${count(slab.pages_total)}`);
  fill("classes", slab.size_classes.map((item) => row([
    size(item.slot_bytes), count(item.page_count), count(item.slots_live),
    gauge(item.slots_total ? item.slots_live / item.slots_total : 0, "filled slots of " + size(item.slot_bytes)),
    count(item.evictions),
  ], true)), 5, "none yet: nothing has been stored");
  const total = Object.values(cache.outcomes).reduce((sum, value) => sum + value, 0);
  fill("outcomes", Object.entries(cache.outcomes).filter(([, value]) => value > 0).map(([name, value]) => row([
    name.replaceAll("_", " "), count(value), gauge(value / total, "share of " + name),
  ], true)), 3, "no request yet");
  fill("origins", status.origins.map((origin) => {
    const health = document.createElement("span");
    health.className = "health-" + origin.health;
    health.textContent = origin.health;
    return row([
      origin.url, health, count(origin.requests), count(origin.errors),
      `${count(origin.connections_open)} (${count(origin.connections_idle)} idle)`,
      origin.first_byte_mean_s === null ? "\u2013" : (1000 * origin.first_byte_mean_s).toFixed(1) + " ms",
    ], true);
  }), 6, "none configured");
}

async function poll() {
  try {
    const response = await fetch("api/v1/status", { signal: AbortSignal.timeout(POLL_MS) });
    if (!response.ok) throw new Error("status " + response.status);
    const status = await response.json();
    showRates(status, performance.now());
    showStatus(status);
  } catch {
    previous = null;
    setState("lost", "no answer, trying again");
  }
  setTimeout(poll, POLL_MS);
}

poll();
