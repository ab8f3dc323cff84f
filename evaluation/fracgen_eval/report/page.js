"use strict";
// Sorting: a click on a head cell orders the classes; numbers from high to low first, missing ones always last.
for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = button.closest("table");
    const heads = [...table.querySelectorAll("button.sort")].map((b) => b.closest("th"));
    const column = heads.indexOf(head), byName = column === 0;
    const was = head.getAttribute("aria-sort");
    const up = was ? was === "descending" : byName;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => byName ? row.dataset.class : row.cells[column].dataset.value;
    const body = table.querySelector("tbody.classes");
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = byName ? x.localeCompare(y, "en") : Number(x) - Number(y);
      return up ? order : -order;
    });
    body.append(...rows);
  });
}
for (const input of document.querySelectorAll("input.filter")) {
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of document.getElementById(input.dataset.for).querySelectorAll("tbody.classes tr")) {
      row.hidden = !row.dataset.class.toLowerCase().includes(wanted);
    }
  });
}
document.getElementById("show-published")?.addEventListener("change", (event) => {
  document.body.classList.toggle("with-published", event.target.checked);
});
