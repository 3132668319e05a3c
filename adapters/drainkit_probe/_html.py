"""The report: one HTML file that needs nothing else, with the picture as SVG.

Rule: every word that came from the network or the user is escaped; no script, no reference to
anything outside of the file.
"""

from __future__ import annotations

from html import escape

from . import words
from ._came import came
from ._compare import Change, Comparison
from ._earlier import Share
from ._fates import Fate, cells, pair, rows, seen
from ._picture import ENDS, Picture, picture
from ._place import server_shown
from ._report import Report
from ._run import Attempt, Reuse, Run
from ._verdict import Kind, Verdict
from ._version import VERSION

_TONES = {
    Kind.DELIVERED: "good",
    Kind.NOT_EARLY: "unsure",
    Kind.LOST: "bad",
    Kind.REPLACED: "bad",
    Kind.MALFORMED: "bad",
    Kind.NOT_TESTED: "unsure",
}
_FATES = {
    Fate.DELIVERED: "good",
    Fate.LOST: "bad",
    Fate.REPLACED: "bad",
    Fate.MALFORMED: "bad",
    Fate.UNFINISHED: "unsure",
    Fate.NO_ANSWER: "unsure",
}

_CHANGES = {Change.BETTER: "good", Change.SAME: "unsure", Change.WORSE: "bad"}

# Of the picture: the whole, and the margins around the plot.
_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 18, 18, 34

_CSS = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #23211e;
  --soft: #6d6860; --line: #e4e0d8; --good: #17794c; --bad: #c0362c; --unsure: #94640a;
  --mark: #1f66b0; --code: #f4f1eb; }
@media (prefers-color-scheme: dark) { :root { --paper: #181715; --card: #211f1d; --ink: #ece8e1;
  --soft: #a39c91; --line: #38342f; --good: #55c28d; --bad: #f0796d; --unsure: #dfae55;
  --mark: #79b4f2; --code: #2b2825; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 15px; font-weight: 600; letter-spacing: .02em; color: var(--soft); margin: 0; }
.url { font: 600 22px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; margin: 4px 0 2px;
  overflow-wrap: anywhere; }
.meta { color: var(--soft); margin: 0 0 28px; }
h2 { font-size: 17px; margin: 44px 0 12px; }
.verdict { background: var(--card); border: 1px solid var(--line);
  border-left: 6px solid var(--tone); border-radius: 10px; padding: 20px 24px; }
.verdict b { display: block; color: var(--tone); font-size: 13px; letter-spacing: .08em;
  text-transform: uppercase; }
.verdict p { font-size: 21px; line-height: 1.4; margin: 4px 0 0; }
.verdict .place { font-size: 16px; color: var(--soft); margin-top: 12px; }
.compared { margin-top: 16px; } .compared > b { display: inline; } .compared .scroll {
  margin-top: 16px; } .compared ul { color: var(--soft); margin: 12px 0 0; padding-left: 20px; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .unsure { --tone: var(--unsure); }
.plain { --tone: var(--soft); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr));
  gap: 20px; }
figure { margin: 0; max-width: 640px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 16px 18px 14px; }
figcaption { font-weight: 600; color: var(--tone); margin-bottom: 6px; }
figcaption::first-letter { text-transform: uppercase; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12.5px system-ui, "DejaVu Sans", sans-serif; fill: var(--soft); }
.axis { stroke: var(--line); } .area { fill: var(--tone); opacity: .14; }
.curve { fill: none; stroke: var(--tone); stroke-width: 2.5; stroke-linejoin: round; }
.answer { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 4 3; }
.answer-dot { fill: var(--mark); } .end-dot { fill: var(--tone); }
.key { list-style: none; margin: 8px 0 0; padding: 0; font-size: 14px; color: var(--soft); }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; }
.key .a { background: var(--mark); } .key .e { background: var(--tone); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 6px 18px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: 7px 18px 7px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child > * { border-bottom: 0; }
td.n { font-variant-numeric: tabular-nums; }
.fate { color: var(--tone); font-weight: 600; }
.dot { display: inline-block; width: 13px; height: 13px; border-radius: 50%; margin-right: 4px;
  background: var(--tone); vertical-align: -1px; }
.dot.bad { border-radius: 3px; } .dot.unsure { border-radius: 50% 50% 0 0; }
.legend { color: var(--soft); font-size: 14px; margin: 10px 0 0; }
.cures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr));
  gap: 16px; }
.cures div { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 18px; }
pre { background: var(--code); border-radius: 6px; padding: 10px 14px; margin: 8px 0 0;
  font: 13.5px/1.6 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; }
.install { display: block; color: var(--soft); font-size: 14px; }
@media (max-width: 520px) { main { padding: 28px 14px 48px; } .verdict { padding: 16px; }
  .compared .scroll { padding: 2px 10px; } .compared th, .compared td { white-space: normal;
  padding-right: 8px; font-size: 13px; } .compared td.n { white-space: nowrap; } }
footer { margin-top: 48px; color: var(--soft); font-size: 14px; }
"""


def as_html(report: Report, *, verbose: bool = False) -> str:
    """Return a report as one HTML page that needs no other file and no network.

    Args:
        report: The report.
        verbose: With what came back: status lines, headers, and how bodies begin.
    """
    run, verdict = report.run, report.verdict
    plan = run.plan
    server = server_shown(run)
    where = run.preflight.address if run.preflight is not None else "not reached"
    meta = [
        f"{server} at {where}" if server else where,
        f"{plan.method}, {plan.body_words}",
        f"{len(run.attempts)} of {words.count(plan.uploads, 'upload')}"
        + (", then interrupted" if report.interrupted else ""),
    ]
    place = f'<p class="place">{escape(verdict.place)}</p>' if verdict.place else ""
    body = [
        "<h1>drainkit probe</h1>",
        f'<p class="url">{escape(run.target.shown)}</p>',
        f'<p class="meta">{escape(" · ".join(meta))} · {_date(run)}</p>',
        f'<section class="verdict {_TONES[verdict.kind]}"><b>{verdict.kind.value}</b>'
        f"<p>{escape(verdict.sentence)}</p>{place}</section>",
    ]
    if report.comparison is not None:
        body.append(_comparison(report.comparison))
    if run.attempts:
        body += [_pictures(run), _overview(run)]
    body += [_cures(verdict), _notes(verdict)]
    if verbose:
        body.append(_came(run))
    if run.attempts:
        body.append(_uploads(run))
    body.append(f"<footer>Made by drainkit {escape(VERSION)}.</footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>drainkit probe: {escape(run.target.shown)}</title>\n"
        f"<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def _comparison(comparison: Comparison) -> str:
    """Return the runs beside each other: a sentence, and a line for each way and client."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    lines = "".join(
        f'<tr class="{_tone(row.change, row.before, row.now)}"><th>{escape(row.way)}</th>'
        f'<td>{escape(row.client)}</td><td class="n">{row.before}</td><td class="n">{row.now}</td>'
        f'<td><span class="fate">{row.words}</span></td></tr>'
        for row in comparison.rows
    )
    tone = _tone(comparison.change, comparison.before, comparison.now)
    beside = "as" if comparison.change is Change.SAME else "than"
    return (
        f'<section class="verdict compared {tone}">'
        f"<b>{comparison.change.value}</b> {beside} {escape(comparison.since)}"
        f"<p>{escape(comparison.sentence)}</p>"
        '<div class="scroll"><table><thead><tr><th>lost answers</th><th></th><th>before</th>'
        f"<th>now</th><th></th></tr></thead><tbody>{lines}</tbody></table></div>"
        + (f"<ul>{notes}</ul>" if notes else "")
        + "</section>"
    )


def _tone(change: Change, before: Share, now: Share) -> str:
    """Return the colour of a change; what is as it was has none."""
    if change is Change.SAME and before.is_like(now):
        return "plain"
    return _CHANGES[change]


def _came(run: Run) -> str:
    """Return what came back, each kind of it once."""
    shown = []
    for one in came(run):
        head = "\n".join(one.head) or "nothing of an answer"
        body = "\n".join(one.body)
        more = f"\n\n{body}" if body else ""
        fault = f'<p class="legend">{escape(one.fault)}</p>' if one.fault else ""
        shown.append(
            f'<div><span class="fate {_FATES[one.fate]}">{one.fate.value}</span> '
            f"{words.count(one.uploads, 'upload')}, the first: {escape(one.which)}{fault}"
            f"<pre>{escape(head + more)}</pre></div>"
        )
    return f'<h2>What came back</h2>\n<div class="cures">{"".join(shown)}</div>' if shown else ""


def _date(run: Run) -> str:
    began = run.began.isoformat(timespec="seconds")
    return f'<time datetime="{began}">{run.began:%Y-%m-%d %H:%M} UTC</time>'


def _pictures(run: Run) -> str:
    fate_of = {id(attempt): fate for attempt, fate in seen(run)}
    both = pair(run)
    drawn = [
        _figure(picture(attempt, fate_of[id(attempt)]))
        for attempt in (both.lost, both.delivered)
        if attempt is not None
    ]
    return '<h2>Bytes sent over time</h2>\n<div class="pictures">' + "\n".join(drawn) + "</div>"


def _figure(drawn: Picture) -> str:
    answer = f'<li><i class="a"></i>{escape(drawn.answer_words)}</li>' if drawn.answer else ""
    return (
        f'<figure class="{"bad" if drawn.lost else "good"}">'
        f"<figcaption>{escape(drawn.title)}</figcaption>{svg(drawn)}"
        f'<ul class="key">{answer}<li><i class="e"></i>{escape(drawn.end_words)}</li></ul></figure>'
    )


def svg(drawn: Picture) -> str:
    """Return the picture of one upload."""
    bottom = _HEIGHT - _BOTTOM

    def x(seconds: float) -> float:
        return round(_LEFT + seconds / drawn.seconds * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(sent: int) -> float:
        return round(bottom - sent / drawn.top_bytes * (bottom - _TOP), 1)

    path = [f"M{x(0)},{y(0)}"]
    for seconds, sent in (*drawn.curve, drawn.end):
        # A step: between two samples the earlier one counts.
        path.append(f"H{x(min(seconds, drawn.seconds))}V{y(sent)}")
    curve = "".join(path)
    end_x, end_y = x(drawn.end[0]), y(drawn.end[1])
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(drawn.title)}. '
        f'{escape(drawn.answer_words)}. {escape(drawn.end_words)}.">'
    ]
    for share in (0.0, 0.5, 1.0):
        sent = int(share * drawn.top_bytes)
        parts.append(
            f'<path class="axis" d="M{_LEFT},{y(sent)}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 10}" y="{y(sent) + 4}" text-anchor="end">'
            f"{escape(words.size(sent) if sent else '0')}</text>"
        )
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        said = words.duration(share * drawn.seconds) if share else "0 s"
        parts.append(
            f'<text x="{x(share * drawn.seconds)}" y="{_HEIGHT - 10}" text-anchor="{anchor}">'
            f"{said}</text>"
        )
    parts.append(f'<path class="area" d="{curve}H{end_x}V{y(0)}Z"/>')
    parts.append(f'<path class="curve" d="{curve}"/>')
    if drawn.answer is not None:
        at_x, at_y = x(drawn.answer[0]), y(min(drawn.answer[1], drawn.top_bytes))
        parts.append(
            f'<line class="answer" x1="{at_x}" x2="{at_x}" y1="{_TOP}" y2="{bottom}"/>'
            f'<circle class="answer-dot" cx="{at_x}" cy="{at_y}" r="5"/>'
        )
    if drawn.lost:
        parts.append(
            f'<path d="M{end_x - 6},{end_y - 6}l12,12m0,-12l-12,12" stroke="var(--tone)" '
            'stroke-width="3.5" stroke-linecap="round"/>'
        )
    else:
        parts.append(f'<circle class="end-dot" cx="{end_x}" cy="{end_y}" r="5"/>')
    return "".join(parts) + "</svg>"


def _overview(run: Run) -> str:
    found = {(c.way.name, c.client.name, c.size_bytes): tries for c, tries in cells(run)}
    head = "".join(f"<th>{words.size(size)}</th>" for size in run.plan.sizes)
    lines = []
    for way, client in rows(run):
        places = "".join(
            f"<td>{_dots(found.get((way.name, client.name, size), []))}</td>"
            for size in run.plan.sizes
        )
        lines.append(
            f"<tr><th>{way.name}</th><td>{client.name}, {escape(client.does)}</td>{places}</tr>"
        )
    met = {fate for _, fate in seen(run)}
    legend = " &emsp; ".join(
        f'<span class="dot {_FATES[fate]}"></span>{fate.value}' for fate in Fate if fate in met
    )
    return (
        '<h2>Every upload</h2>\n<div class="scroll"><table><thead><tr><th></th><th></th>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f'<p class="legend">{legend}</p>'
    )


def _dots(tries: list[tuple[Attempt, Fate]]) -> str:
    return "".join(
        f'<span class="dot {_FATES[fate]}" title="try {attempt.number}: {fate.value}"></span>'
        for attempt, fate in tries
    )


def _cures(verdict: Verdict) -> str:
    if not verdict.cures:
        return ""
    cards = [
        f'<div>{escape(cure.world)} <span class="install">pip install &quot;{escape(cure.install)}'
        f"&quot;</span><pre>{escape(chr(10).join(cure.lines))}</pre></div>"
        for cure in verdict.cures
    ]
    return f'<h2>Add to the application</h2>\n<div class="cures">{"".join(cards)}</div>'


def _notes(verdict: Verdict) -> str:
    if not verdict.notes:
        return ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in verdict.notes)
    return f"<h2>Also seen</h2>\n<ul>{notes}</ul>"


def _uploads(run: Run) -> str:
    names = (
        *("client", "way", "size", "try", "fate", "status", "answer ready", "sent by then"),
        *("sent in all", "seconds", "end", "connection"),
    )
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = []
    for attempt, fate in seen(run):
        answer, cell = attempt.answer, attempt.cell
        by_then = answer.sent_at_noticed_bytes
        values = [
            cell.client.name,
            cell.way.name,
            words.size(cell.size_bytes),
            str(attempt.number),
            f'<span class="fate {_FATES[fate]}">{fate.value}</span>',
            str(answer.status or "none"),
            words.duration(answer.noticed_seconds) if answer.noticed_seconds is not None else "",
            words.size(by_then) if by_then is not None else "",
            words.size(answer.sent_bytes),
            words.duration(answer.seconds),
            ENDS[attempt.end],
            "" if attempt.reuse is Reuse.UNTRIED else attempt.reuse.value,
        ]
        lines.append("<tr>" + "".join(f'<td class="n">{value}</td>' for value in values) + "</tr>")
    return (
        f'<h2>In numbers</h2>\n<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
