"""One HTML page of a study's run: its jobs, all scores so far, and its pictures."""

import base64
import time
from pathlib import Path

from heads import files
from heads.study import records, status
from heads.study.plan import Study
from heads.study.status import STATES

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ study.name }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; white-space: nowrap }
td:last-child { white-space: normal; min-width: 12rem }
th { border-bottom: 1px solid #999 } td.n, th.n { text-align: right } .failed { color: #a30 } .wide { overflow-x: auto }
img { max-width: 100% } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto }
</style>
</head>
<body>
<h1>{{ study.name }}</h1>
<p>{{ study.path }}, as it was on {{ now }} at {{ commit }}.
{% for state, number in totals.items() %}{{ number }} {{ state }}{{ ", " if not loop.last else "." }}{% endfor %}
{% if left %}Left: {{ left }}.{% endif %}</p>
<h2>Stages</h2>
<div class="wide"><table>
<tr><th>stage</th>{% for state in states %}<th class="n">{{ state }}</th>{% endfor %}<th class="n">seconds each</th></tr>
{% for stage, (counts, seconds) in stages.items() %}
<tr><td>{{ stage }}</td>{% for n in counts.values() %}<td class="n">{{ n }}</td>{% endfor %}
<td class="n">{{ "" if seconds is none else "%.0f" % seconds }}</td></tr>
{% endfor %}</table></div>
{% if unwell %}<h2>Failed and running</h2>
<div class="wide"><table><tr><th>job</th><th>state</th><th></th></tr>
{% for job in unwell %}<tr class="{{ job.state }}"><td><a href="notebooks/{{ job.name }}.ipynb">{{ job.name }}</a></td>
<td>{{ job.state }}</td><td>{{ job.why or "for %.0f s" % job.seconds }}</td></tr>
{% endfor %}</table></div>{% endif %}
<h2>Runs</h2>
<p>Errors in mm, as in <code>results/{{ study.name }}.csv</code>.</p>
<div class="wide"><table>
<tr>{% for name in columns %}<th class="{{ "n" if name in numbers }}">{{ name.removesuffix("_mm") }}</th>{% endfor %}</tr>
{% for row in rows %}<tr class="{{ row.status }}">
{% for name in columns %}<td class="{{ "n" if name in numbers }}">{{ row[name] }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% for name, picture in pictures.items() %}<h2>{{ name }}</h2>
<p><img alt="{{ name }}" src="data:image/png;base64,{{ picture }}"></p>
{% endfor %}
<h2>The study</h2>
<pre>{{ yaml }}</pre>
</body>
</html>
"""
SHOWN = {"contact_sheet.png": "The heads", "losses.png": "The losses"}  # of figures/STUDY


def write(study: Study, side_by_side: int) -> Path:
    """Write runs/STUDY/report.html, a page of the run that needs nothing beside it but the notebooks that it links."""
    import jinja2  # here, for every job imports this package and none needs these
    import pandas as pd

    from heads.study import table

    jobs, rows = status.of(study), table.table(study)
    numbers = [str(name) for name in rows if pd.api.types.is_numeric_dtype(rows[name])]
    shown = rows.drop(columns=["device", "commit"]).astype(object)
    for name in numbers:
        digits = 0 if name in ("views", "seed", "seconds", "peak_mb") else 4 if name.endswith("_loss") else 2
        shown[name] = shown[name].map(f"{{:.{digits}f}}".format)
    drawn = any((job.name, job.state) == ("table", "done") for job in jobs)  # else they are another run's
    figures = {title: Path("figures", study.name, file) for file, title in SHOWN.items() if drawn}
    page = (
        jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        .from_string(PAGE)
        .render(
            study=study,
            now=time.strftime("%F %H:%M"),
            commit=records.commit(),
            totals={state: sum(job.state == state for job in jobs) for state in STATES},
            left=status.left(jobs).told(side_by_side) if any(job.state != "done" for job in jobs) else "",
            states=STATES,
            stages=status.stages(jobs),
            unwell=[job for job in jobs if job.state in ("failed", "running")],
            columns=list(shown),
            numbers=numbers,
            rows=shown.where(rows[list(shown)].notna(), "").to_dict("records"),
            pictures={t: base64.b64encode(path.read_bytes()).decode() for t, path in figures.items() if path.is_file()},
            yaml=Path(study.path).read_text(encoding="utf-8"),
        )
    )
    path = Path("runs", study.name, "report.html")
    with files.replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
