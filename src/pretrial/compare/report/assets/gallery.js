(() => {
  const $ = (id) => document.getElementById(id);
  const body = $("methods").tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, template: row.nextElementSibling, detail: null }));
  const heads = [...$("methods").tHead.rows[0].cells];
  const fields = ["family", "ability", "verdict"];

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const item of rows) {
      const data = item.row.dataset;
      const fits = words.every((word) => data.search.includes(word)) &&
        fields.every((name) => !$(name).value || data[name].split("|").includes($(name).value));
      item.row.hidden = !fits;
      if (item.detail) item.detail.hidden = !fits;
      count += fits;
    }
    $("count").textContent = `${count} of ${rows.length}`;
    $("none").hidden = count > 0;
  }

  function toggle(item, open = !item.detail) {
    if (open === Boolean(item.detail)) return;
    if (open) {
      const cell = document.createElement("td");
      cell.colSpan = heads.length;
      cell.append(item.template.content.cloneNode(true));
      item.detail = document.createElement("tr");
      item.detail.className = "detail";
      item.detail.append(cell);
      item.row.after(item.detail);
    } else {
      item.detail.remove();
      item.detail = null;
    }
    item.row.querySelector("button").setAttribute("aria-expanded", open);
  }

  function sort(column) {
    const head = heads[column];
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (item) => item.row.cells[column].dataset.value;
    const number = (text) => text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
    const compare = (a, b) => {
      const [x, y] = [number(value(a)), number(value(b))];
      if (Number.isNaN(x) || Number.isNaN(y)) return value(a).localeCompare(value(b));
      return x === y ? 0 : x - y;
    };
    const empty = (item) => !Number.isFinite(number(value(item))) && /inf$/.test(value(item));
    rows.sort((a, b) => empty(a) - empty(b) || (down ? -1 : 1) * compare(a, b));
    for (const item of rows) body.append(item.row, ...(item.detail ? [item.detail] : []), item.template);
  }

  function fromHash() {
    const item = rows.find(({ row }) => row.dataset.slug === decodeURIComponent(location.hash.slice(1)));
    if (!item) return;
    toggle(item, true);
    item.row.scrollIntoView({ block: "center" });
  }

  for (const item of rows) {
    item.row.addEventListener("click", (event) => {
      if (event.target.closest("a")) return;
      toggle(item);
      history.replaceState(null, "", item.detail ? `#${item.row.dataset.slug}` : location.pathname);
    });
  }
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));
  for (const kind of ["input", "change"]) $("filters").addEventListener(kind, filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("search").focus();
    } else if (event.key === "Escape") {
      $("filters").reset();
      filter();
    }
  });
  addEventListener("hashchange", fromHash);
  filter();
  fromHash();
})();
