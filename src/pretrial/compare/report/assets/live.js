(() => {
  const note = document.querySelector(".live");
  const key = "pretrial:" + location.pathname;
  const boxes = () => [...document.querySelectorAll(".scroll")];
  const opened = () => [...document.querySelectorAll("details")];
  const keep = () => ({
    top: scrollY,
    left: boxes().map((box) => box.scrollLeft),
    open: opened().map((item) => item.open),
  });
  const marked = () => String(getSelection()) !== "";
  const age = () => Math.max(0, Date.now() / 1000 - Number(note.dataset.written));

  function restore() {
    const kept = JSON.parse(sessionStorage.getItem(key) || "null");
    if (!kept) return;
    opened().forEach((item, i) => { item.open = kept.open[i] ?? item.open; });
    boxes().forEach((box, i) => { box.scrollLeft = kept.left[i] ?? 0; });
    scrollTo(0, kept.top);
  }

  function tell() {
    const late = age() > 10 * Number(note.dataset.every) + 60;
    note.classList.toggle("old", late);
    note.textContent = late
      ? `Not updated for ${Math.round(age() / 60)} minutes: is its command still running?`
      : `Updated at ${new Date(note.dataset.written * 1000).toLocaleTimeString()}; the page reloads itself.`;
  }

  history.scrollRestoration = "manual";
  tell();  // before the place is restored, since the note may get longer
  restore();
  setInterval(() => {
    tell();
    if (document.hidden || marked()) return;
    sessionStorage.setItem(key, JSON.stringify(keep()));
    location.reload();
  }, 1000 * note.dataset.every);
})();
