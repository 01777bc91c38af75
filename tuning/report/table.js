(() => {
  // The table: sorted by the column that is clicked; what is empty stands last either way.
  const { columns, rows } = JSON.parse(document.getElementById("table-data").textContent);
  const table = document.getElementById("trials");
  const head = table.tHead.rows[0];
  const more = document.getElementById("more");
  const step = 200;
  let shown = step;

  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number"
      ? one - other
      : String(one).localeCompare(String(other), "en", { numeric: true });

  const draw = () => {
    const body = document.createElement("tbody");
    for (const row of rows.slice(0, shown)) {
      const line = body.insertRow();
      for (const value of row) {
        const cell = line.insertCell();
        cell.textContent = value === null ? "" : String(value);
        cell.title = cell.textContent;
        if (typeof value === "number") cell.className = "number";
      }
    }
    table.tBodies[0].replaceWith(body);
    more.hidden = shown >= rows.length;
    more.textContent = `show more (${Math.min(shown, rows.length)} of ${rows.length})`;
  };

  columns.forEach((name, index) => {
    const header = document.createElement("th");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    header.scope = "col";
    header.append(button);
    head.append(header);
    button.addEventListener("click", () => {
      const up = header.getAttribute("aria-sort") !== "ascending";
      for (const other of head.cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((one, other) => {
        if (one[index] === null || other[index] === null) return (one[index] === null) - (other[index] === null);
        return (up ? 1 : -1) * compare(one[index], other[index]) || one[0] - other[0];
      });
      draw();
    });
  });
  more.addEventListener("click", () => { shown += 5 * step; draw(); });
  draw();
})();
