document.addEventListener("DOMContentLoaded", () => {
  const { at, ask, find, kept, keys } = faultwatch;
  /* One name for the audit, the review, the refit and the settings. */
  const fields = [...document.querySelectorAll(".observer-name")];
  const named = (name) => {
    kept("faultwatch-observer", name);
    for (const field of [at("observer"), ...fields]) field.value = name;
    ask(["observer", name], ["review-move", "0"], ["refit-refresh", ""], ["settings-refresh", ""]);
  };
  for (const field of fields) {
    field.value = kept("faultwatch-observer") ?? "";
    field.addEventListener("change", () => named(field.value));
  }
  at("observer").addEventListener("change", () => { for (const field of fields) field.value = at("observer").value; });
  for (const form of document.querySelectorAll(".named")) {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("keydown", (event) => event.key === "Enter" && event.target.blur()); // the keys are free again
  }

  keys("review", (event) => {
    if (event.target.tagName === "BUTTON" && event.key === "Enter") return; // the button itself takes it
    const button = find(`[data-review-key="${CSS.escape(event.key)}"]`);
    if (!button || event.repeat) return;
    const picture = find(".seen img");
    const seen = picture && picture.complete && picture.naturalWidth > 0;
    if (button.dataset.ask === "review-label" && !seen) return; // no correction of what is not seen yet
    event.preventDefault();
    button.click();
  });

  document.addEventListener("click", (event) => {
    const place = event.composedPath().find((part) => part.classList?.contains("mark-here"));
    if (!place) return;
    const box = place.getBoundingClientRect();
    const [top, left, height, width] = place.dataset.box.split(":").map(Number);
    const row = top + (event.clientY - box.top) / box.height * height;
    const col = left + (event.clientX - box.left) / box.width * width;
    ask(["review-missed", `${place.dataset.frame}:${row.toFixed(1)}:${col.toFixed(1)}:${at("review-diameter").value}`]);
  });
});
