// 3D heads. A browser allows few 3D canvases, so one is created when it scrolls into view and freed when it has left.
const folder = new URL(".", document.currentScript.src);
let library = null;

function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("plotly.min.js", folder);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.min.js is not there"));
    document.head.append(script);
  });
  return library;
}

function show(viewer, chosen) {
  viewer.querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", String(i === chosen)));
  viewer.drawing.data.forEach((trace, i) => { trace.visible = i === chosen; });
  const canvas = viewer.querySelector(".head-canvas");
  if (canvas.drawn) window.Plotly.restyle(canvas, { visible: viewer.drawing.data.map((trace) => trace.visible) });
}

async function enter(viewer) {
  const canvas = viewer.querySelector(".head-canvas");
  viewer.inSight = true;
  try {
    const Plotly = await plotly();
    if (!viewer.inSight || canvas.drawn) return;
    canvas.drawn = true;
    await Plotly.newPlot(canvas, viewer.drawing.data, viewer.drawing.layout, { displayModeBar: false, responsive: true, scrollZoom: false });
  } catch (error) {
    canvas.innerHTML = '<p class="note">This browser does not draw in 3D; the pictures above show the same heads.</p>';
  }
}

function leave(viewer) {
  const canvas = viewer.querySelector(".head-canvas");
  viewer.inSight = false;
  if (!canvas.drawn) return;
  window.Plotly.purge(canvas);
  canvas.drawn = false;
}

const watch = new IntersectionObserver(
  (entries) => entries.forEach((entry) => (entry.isIntersecting ? enter : leave)(entry.target)),
  { rootMargin: "200px" },
);
document.querySelectorAll(".head-viewer").forEach((viewer) => {
  viewer.drawing = JSON.parse(viewer.querySelector("script").textContent);
  viewer.querySelectorAll("button").forEach((button, i) => button.addEventListener("click", () => show(viewer, i)));
  watch.observe(viewer);
});
