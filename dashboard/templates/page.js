/* The page's own clock: what must go on when nothing arrives, and when the server is gone. */
const faultwatch = (() => {
  const at = (id) => document.getElementById(id);
  let row = null;       // what the server last said
  let ahead = 0;        // this browser's clock minus the server's [s]
  let gone = false;

  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const span = (s) => {
    if (s < 60) return `${Math.floor(s)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
    if (s < 172800) return `${Math.floor(s / 3600)} h ${String(Math.floor(s % 3600 / 60)).padStart(2, "0")} min`;
    return `${Math.floor(s / 86400)} days`;
  };

  const show = () => {
    if (row === null && !gone) return;
    const state = gone ? "disconnected" : row.state;
    at("page").dataset.state = at("state").dataset.state = state;
    put(at("state"), gone ? "✕ no connection" : `${row.mark} ${row.state}`);
    put(at("status"), gone ? "The page has lost its server: nothing here is current. It reloads by itself when the server is back."
                           : row.status);
    if (!gone) document.title = `${row.mark} ${row.title}`;
    if (row === null || row.last_frame_at === null) return;
    const age = Math.max(0, Date.now() / 1000 - ahead - row.last_frame_at);
    put(at("age-value"), span(age));
    at("age").hidden = false;
    at("age").classList.toggle("old", gone || (row.state !== "ended" && age > row.quiet_after));
  };

  const knock = async () => {
    try {
      const reply = await fetch("/health", { cache: "no-store" });
      if (reply.ok) return location.reload();
    } catch { /* still away */ }
    setTimeout(knock, 1500);
  };

  setInterval(show, 500);
  return {
    pulse(data) {
      if (!data.state || !data.state.length) return;
      row = Object.fromEntries(Object.entries(data).map(([name, values]) => [name, values[0]]));
      if (row.reload) return location.reload();
      ahead = Date.now() / 1000 - row.now;
      show();
    },
    lost() {
      if (gone) return;
      gone = true;
      show();
      setTimeout(knock, 1500);
    },
  };
})();
