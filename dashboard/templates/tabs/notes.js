document.addEventListener("DOMContentLoaded", () => {
  const { at, ask, kept } = faultwatch;
  at("noted-by").value = kept("faultwatch-observer") ?? "";
  at("noted-by").addEventListener("change", () => kept("faultwatch-observer", at("noted-by").value));
  const keep = (event) => {
    event.preventDefault();
    if (!at("note").value.trim()) return at("note").focus();
    ask(["noted-by", at("noted-by").value], ["note", at("note").value]);
    at("note").value = "";
  };
  at("noting").addEventListener("submit", keep);
  at("note").addEventListener("keydown", (event) => event.key === "Enter" && event.ctrlKey && keep(event));
});
