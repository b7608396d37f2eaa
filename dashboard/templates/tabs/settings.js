document.addEventListener("click", (event) => {
  const button = event.composedPath().find((part) => part.dataset?.setting);
  if (!button) return;
  const { ask, find } = faultwatch, name = button.dataset.setting;
  const field = find(`#set-${name}`);
  const value = name === "not_counted" ? [...field.querySelectorAll("input:checked")].map((box) => box.value)
    : name === "material" ? field.value || null
    : field.value === "" ? null
    : name === "goal" ? Number(field.value) / 100 : Number(field.value);
  ask(["settings-set", JSON.stringify({ name, value })]);
});
