/* The frame's tools: outlines by class, contrast and gamma, full resolution, spectrum, distances, keys among particles. */
faultwatch.frame = (() => {
  const model = (name) => Bokeh.documents[0]?.get_model_by_name(name);
  const view = (name) => { const found = model(name); return found ? Bokeh.index.find_one(found) : null; };
  const bar = () => faultwatch.find(".tools");
  const here = (source, data) => source.setv({ data }, { sync: false }); // this browser's own: the server need not know
  const none = { url: [], x: [], y: [], w: [], h: [] };
  const pressed = (name) => bar()?.querySelector(`[data-tool="${name}"]`)?.getAttribute("aria-pressed") === "true";
  const frame = () => {
    const data = model("frame_shown_source")?.data;
    return data?.id?.length ? Object.fromEntries(Object.keys(data).map((name) => [name, data[name][0]])) : null;
  };
  const address = (kind, shown) => bar().dataset[kind].replace("{id}", shown.id).replace("{stamp}", shown.stamp);
  const notes = {};
  const tell = (about, text) => {
    notes[about] = text;
    const told = bar()?.querySelector(".told");
    if (told) faultwatch.put(told, Object.values(notes).filter(Boolean).join(" · "));
  };

  /* Outlines by class. */
  const hidden = new Set();
  const drawn = (names) => Array.from(names, (name) => !hidden.has(name));
  const shownClasses = () => ["yes", "no", "null", "empty"].filter((name) => !hidden.has(name)).join(",");
  const toggleClass = (button) => {
    const name = button.dataset.class, on = hidden.delete(name);
    if (!on) hidden.add(name);
    button.setAttribute("aria-pressed", String(on));
    model("frame_classes").change.emit();
  };

  /* Brightness, contrast and gamma: a filter on the layer on which the pictures alone are drawn. */
  const neutral = { brightness: 0, contrast: 1, gamma: 1 };
  const levels = { ...neutral };
  const filtered = (name) => {
    const canvas = view(name)?.canvas_view;
    if (!canvas) return;
    // Outlines must not leave the frame, though their layer knows no border.
    for (const each of view(name).computed_renderer_views)
      if (each.model.level === "overlay" && each.model.type === "GlyphRenderer")
        Object.defineProperty(each, "needs_clip", { value: true, configurable: true });
    const same = Object.keys(neutral).every((key) => levels[key] === neutral[key]);
    const element = canvas.primary.el;
    if (same) { element.style.filter = ""; return; }
    let holder = canvas.shadow_el.querySelector("svg.levels");
    if (!holder) {
      holder = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      holder.setAttribute("class", "levels");
      holder.setAttribute("width", "0");
      holder.setAttribute("height", "0");
      canvas.shadow_el.append(holder);
    }
    const { brightness, contrast, gamma } = levels;
    const each = (kind, values) => ["R", "G", "B"].map((channel) => `<feFunc${channel} type="${kind}" ${values}/>`).join("");
    holder.innerHTML = `<filter id="levels-of-${name}" color-interpolation-filters="sRGB" x="0" y="0" width="1" height="1">
      <feComponentTransfer>${each("linear", `slope="${contrast}" intercept="${0.5 - 0.5 * contrast + brightness}"`)}</feComponentTransfer>
      <feComponentTransfer>${each("gamma", `amplitude="1" exponent="${1 / gamma}" offset="0"`)}</feComponentTransfer></filter>`;
    element.style.filter = `url(#levels-of-${name})`;
  };
  const level = () => {
    for (const slider of faultwatch.find(".levels").querySelectorAll("[data-level]")) {
      slider.value = levels[slider.dataset.level];
      faultwatch.put(slider.nextElementSibling, Number(slider.value).toFixed(2).replace(/\.?0+$/, ""));
    }
    const same = Object.keys(neutral).every((key) => levels[key] === neutral[key]);
    bar().querySelector("[data-tool=levels]").classList.toggle("changed", !same);
    for (const name of ["frame_chart", "spectrum_chart"]) filtered(name);
  };

  /* What is enlarged beyond the preview comes at the screen's resolution out of the frame's file. */
  let asking = false, later = null, partOf = null;
  const looked = () => { clearTimeout(later); later = setTimeout(part, 160); };
  const wanted = (shown) => {
    const chart = view("frame_chart");
    if (!chart || !chart.model.visible) return null;
    const { x_range, y_range } = chart.model;
    const across = (x_range.end - x_range.start) / shown.pixel_nm;     // frame's pixels in view
    const fine = Math.min(chart.frame.bbox.width * devicePixelRatio / across, 1); // screen's pixels a frame's, no more than there are
    if (!(across > 0) || fine * Math.max(shown.width, shown.height) <= shown.preview * 1.05) return null;
    // Whoever watches whole frames go by needs no file read for each.
    const down = (y_range.end - y_range.start) / shown.pixel_nm;
    if (shown.preview && model("frame_live").active && across > 0.98 * shown.width && down > 0.98 * shown.height) return null;
    // A little more than is seen, on a grid: moving a little asks for nothing new.
    const grid = Math.max(32, 2 ** Math.round(Math.log2(across / 4)));
    const low = (value) => Math.floor(value / grid - 0.25) * grid, high = (value) => Math.ceil(value / grid + 0.25) * grid;
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    const box = [inside(low(shown.height - y_range.end / shown.pixel_nm), shown.height), inside(low(x_range.start / shown.pixel_nm), shown.width),
      inside(high(shown.height - y_range.start / shown.pixel_nm), shown.height), inside(high(x_range.end / shown.pixel_nm), shown.width)];
    if (box[2] <= box[0] || box[3] <= box[1]) return null;
    const side = 256 * Math.ceil(fine * Math.max(box[2] - box[0], box[3] - box[1]) / 256);
    return { box, side, key: `${shown.id} ${shown.stamp} ${box} ${side}` };
  };
  const clearPart = () => {
    if (partOf !== null) here(model("frame_part_source"), none);
    partOf = null;
    tell("part", "");
  };
  const part = async () => {
    const shown = frame(), want = shown && wanted(shown);
    if (!want) return clearPart();
    if (want.key === partOf || asking) return;
    asking = true;
    try {
      const reply = await fetch(`${address("region", shown)}&box=${want.box}&side=${want.side}`);
      const told = reply.ok ? await reply.json() : {};
      if (frame()?.stamp !== shown.stamp || frame()?.id !== shown.id) return;
      if (!told.picture) { clearPart(); tell("part", told.why ?? ""); partOf = want.key; return; }
      const [row0, col0, row1, col1] = told.box, nm = shown.pixel_nm;
      here(model("frame_part_source"), { url: [told.picture], x: [col0 * nm], y: [(shown.height - row0) * nm],
        w: [(col1 - col0) * nm], h: [(row1 - row0) * nm] });
      partOf = want.key;
      tell("part", "full resolution");
    } catch { /* the server is away: the page says so */ } finally {
      asking = false;
      const next = frame(), more = next && wanted(next);
      if (more && more.key !== want.key) looked();
    }
  };

  /* The power spectrum of the whole frame takes the place of its picture. */
  let spectrumOf = null, spectrumAsked = false;
  const spectrum = async () => {
    if (!pressed("spectrum")) return;
    const shown = frame(), key = shown && `${shown.id} ${shown.stamp}`;
    if (!shown || key === spectrumOf || spectrumAsked) return;
    spectrumAsked = true;
    tell("spectrum", "working …");
    try {
      const reply = await fetch(address("spectrum", shown));
      const told = reply.ok ? await reply.json() : {};
      if (told.picture) here(model("spectrum_picture_source"), { url: [told.picture], x: [-told.reach], y: [told.reach],
        w: [2 * told.reach], h: [2 * told.reach] });
      else here(model("spectrum_picture_source"), none);
      spectrumOf = key;
      tell("spectrum", told.why ?? "");
    } catch { tell("spectrum", ""); } finally {
      spectrumAsked = false;
      const next = frame();
      if (next && `${next.id} ${next.stamp}` !== key) setTimeout(spectrum, 200);
    }
  };
  const toggleSpectrum = (button) => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    model("frame_chart").visible = !on;
    model("spectrum_chart").visible = on;
    tell("pointer", "");
    if (on) { clearPart(); spectrum(); } else { tell("spectrum", ""); looked(); }
    measured();
    setTimeout(level, 100); // once the chart is there
  };

  /* Distances: two clicks, or the arrow keys. In the spectrum one end is the middle, and d = 1 / |k|. */
  const ends = { frame: null, spectrum: null };
  let end = 1, open = false;
  const chartName = () => (pressed("spectrum") ? "spectrum" : "frame");
  const angleOf = (x, y) => ((Math.atan2(y, x) * 180 / Math.PI) % 180 + 180) % 180;
  const words = (name, [a, b]) => {
    const x = b[0] - a[0], y = b[1] - a[1], length = Math.hypot(x, y), angle = `${angleOf(x, y).toFixed(1)}°`;
    if (name === "frame") return `${length.toFixed(length < 10 ? 3 : 2)} nm, ${angle}`;
    return length > 0 ? `${length.toFixed(3)} nm⁻¹, d ${(1 / length).toFixed(4)} nm, ${angle}` : "";
  };
  const ring = (radius) => Array.from({ length: 73 }, (_, n) => radius * Math.cos(n * Math.PI / 36));
  const measured = () => {
    const name = chartName(), on = pressed("measure");
    for (const each of ["frame", "spectrum"]) {
      const source = model(`${each}_measured_source`), found = on && each === name ? ends[each] : null;
      if (!found) { if (source.data.xs.length) here(source, { xs: [], ys: [], x: [], y: [], text: [] }); continue; }
      const [a, b] = found, text = words(each, found), range = model(`${each}_chart`).x_range;
      const tick = (range.end - range.start) * 0.012;
      const cross = ([x, y]) => [[x - tick, x + tick, NaN, x, x], [y, y, NaN, y - tick, y + tick]];
      const lines = [[[a[0], b[0]], [a[1], b[1]]], cross(a), cross(b)];
      if (each === "spectrum") {
        const radius = Math.hypot(...b), round = ring(radius);
        lines.push([round, round.map((_, n) => radius * Math.sin(n * Math.PI / 36))]);
      }
      here(source, { xs: lines.map((line) => line[0]), ys: lines.map((line) => line[1]),
        x: lines.map((_, n) => (n ? NaN : (a[0] + b[0]) / 2)), y: lines.map((_, n) => (n ? NaN : (a[1] + b[1]) / 2)),
        text: lines.map((_, n) => (n ? "" : text)) });
    }
    tell("measure", on && ends[name] ? words(name, ends[name]) : "");
  };
  const toggleMeasure = (button) => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    open = false;
    if (on) begin();
    measured();
  };
  const begin = () => {
    const name = chartName();
    if (ends[name]) return;
    const { x_range: x, y_range: y } = model(`${name}_chart`), span = x.end - x.start, middle = (y.start + y.end) / 2;
    ends[name] = name === "frame" ? [[x.start + 0.4 * span, middle], [x.start + 0.6 * span, middle]] : [[0, 0], [0.15 * span, 0]];
  };
  const tapped = (name, { x, y }) => {
    if (!pressed("measure")) {
      const shown = frame();
      if (name === "frame" && shown) faultwatch.ask(["particle-at", `${shown.id}:${x}:${y}`]);
      return;
    }
    if (name === "spectrum") ends.spectrum = [[0, 0], [x, y]];
    else if (open) { ends.frame[1] = [x, y]; open = false; }
    else { ends.frame = [[x, y], [x, y]]; open = true; end = 1; }
    measured();
  };
  const moved = (name, { x, y }) => {
    if (pressed("measure") && open && name === "frame") { ends.frame[1] = [x, y]; measured(); }
    if (name === "spectrum" && !pressed("measure")) tell("pointer", words("spectrum", [[0, 0], [x, y]]));
  };

  /* What is selected is seen, also in a frame that is enlarged. */
  const intoView = () => {
    const { xs, ys } = model("frame_selected_source").data, { x_range, y_range } = model("frame_chart");
    for (const [range, values] of [[x_range, xs[0]], [y_range, ys[0]]]) {
      const low = Math.min(...values), high = Math.max(...values), half = (range.end - range.start) / 2;
      if (low >= range.start && high <= range.end) continue;
      range.setv({ start: (low + high) / 2 - half, end: (low + high) / 2 + half });
    }
  };

  /* Keys on the frame. */
  const steps = { ArrowLeft: [-1, 0, "left"], ArrowRight: [1, 0, "right"], ArrowUp: [0, 1, "up"], ArrowDown: [0, -1, "down"] };
  let presses = 0; // what is asked twice with the same words is heard once
  const key = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.composedPath().some((part) => part.getAttribute?.("role") === "slider")) return;
    const step = steps[event.key];
    if (event.key === "Escape") return faultwatch.ask(["particle-clear", ""]);
    if (!pressed("measure")) {
      if (step && !pressed("spectrum")) { event.preventDefault(); faultwatch.ask(["particle-move", `${step[2]} ${shownClasses()} ${++presses}`]); }
      return;
    }
    const name = chartName();
    begin();
    if (event.key === "Enter" && !event.composedPath().some((part) => part.tagName === "BUTTON")) { end = 1 - end; return; }
    if (!step) return;
    event.preventDefault();
    const { x_range } = model(`${name}_chart`), by = (x_range.end - x_range.start) / 400 * (event.shiftKey ? 10 : 1);
    const which = name === "spectrum" ? 1 : end;
    ends[name][which] = [ends[name][which][0] + by * step[0], ends[name][which][1] + by * step[1]];
    open = false;
    measured();
  };

  const tools = { spectrum: toggleSpectrum, measure: toggleMeasure,
    levels(button) {
      const panel = faultwatch.find(".levels");
      panel.hidden = !panel.hidden;
      button.setAttribute("aria-expanded", String(!panel.hidden));
      requestAnimationFrame(() => view("frame")?.invalidate_layout());
    },
    "reset-levels"() { Object.assign(levels, neutral); level(); } };
  document.addEventListener("click", (event) => {
    const button = event.composedPath().find((part) => part.dataset && (part.dataset.tool || part.dataset.class));
    if (button?.dataset.class) toggleClass(button);
    else if (button) tools[button.dataset.tool]?.(button);
  });
  document.addEventListener("input", (event) => {
    const slider = event.composedPath()[0];
    if (!slider.dataset?.level) return;
    levels[slider.dataset.level] = Number(slider.value);
    level();
  });
  document.addEventListener("DOMContentLoaded", () => {
    const look = document.querySelector("main.look");
    if (!look) return;
    look.tabIndex = 0;
    look.addEventListener("keydown", (event) => {
      const typing = event.composedPath().some((part) => part.tagName === "INPUT");
      if (!typing && !faultwatch.tabOpen("particle")) key(event);
    });
  });

  let selected = null;
  return {
    drawn, looked, tapped, moved, key,
    shown() {
      clearPart();
      looked();
      spectrum();
      for (const name of ["frame_chart", "spectrum_chart"]) filtered(name);
    },
    selected(keys) {
      if (keys.length && keys[0] !== selected) { faultwatch.tab("particle"); intoView(); }
      selected = keys[0] ?? null;
      looked();
    },
  };
})();
