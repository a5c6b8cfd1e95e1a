// Fetches a path and shows what the cache said about it.

const log = document.querySelector("#log");

async function fetchAndShow(button) {
  const path = button.dataset.path;
  button.disabled = true;
  const begin = performance.now();
  try {
    // "no-store" skips the browser's own cache, but by itself asks every cache on the way for a new copy;
    // a Cache-Control of our own, which allows any age, replaces that request for novelty.
    const headers = { "Cache-Control": "max-stale=0" };
    const response = await fetch(path, { cache: "no-store", headers });
    await response.arrayBuffer();
    const elapsed = performance.now() - begin;
    const field = (name) => response.headers.get(name) ?? "-";
    addRow([path, response.status, field("Cache-Status"), field("Age"), `${elapsed.toFixed(1)} ms`]);
  } catch (error) {
    addRow([path, "failed", String(error), "-", "-"]);
  } finally {
    button.disabled = false;
  }
}

function addRow(values) {
  const row = document.createElement("tr");
  for (const value of values) {
    const cell = document.createElement("td");
    cell.textContent = value;
    row.append(cell);
  }
  log.prepend(row);
}

for (const button of document.querySelectorAll("button[data-path]")) {
  button.addEventListener("click", () => fetchAndShow(button));
}
