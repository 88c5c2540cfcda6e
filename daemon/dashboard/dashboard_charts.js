/*
 * Speed and what is to do over an hour or a day: what /api/v1/history has, and behind it what comes live. Drawn as SVG whose
 * colours are those of the page.
 */
"use strict";

const charts = (() => {
	const LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 20, HEIGHT = 150, FETCH_MS = 30000;
	const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
	const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
	const place = (id) => document.getElementById(id);
	let history = null, shown = "hour", fetchedAt = 0, live = null;

	function svg(name, attributes, ...children) {
		const element = document.createElementNS("http" + "://www.w3.org/2000/svg", name);
		for (const [key, value] of Object.entries(attributes))
			element.setAttribute(key, value);
		element.append(...children);
		return element;
	}

	/* 1, 2 or 5 times a power of ten, so that @most is reached in at most four steps of it. */
	function stepOf(most, whole) {
		const rough = Math.max(most, 1e-6) / 4, power = 10 ** Math.floor(Math.log10(rough));
		const step = [1, 2, 5, 10].find((n) => n * power >= rough) * power;
		return whole ? Math.max(1, step) : step;
	}

	/* Whole ten minutes of the hour, or hours of the day, as many as there is room for. */
	function timeMarks(from, to, width) {
		const least = ((to - from) * 52) / width, marks = [];
		const step = [10, 20, 30, 120, 240, 360, 720].map((m) => m * 60000).find((s) => s >= least) || 86400000;
		const shift = new Date(from).getTimezoneOffset() * 60000;
		for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step)
			marks.push(at);
		return marks;
	}

	/* Pieces without a gap. */
	function pieces(points, step) {
		const found = [];
		for (const point of points) {
			const piece = found[found.length - 1];
			if (piece && point.at - piece[piece.length - 1].at < 2.5 * step)
				piece.push(point);
			else
				found.push([point]);
		}
		return found;
	}

	function draw(id, label, value, whole) {
		const box = place(id), width = Math.max(box.clientWidth, 200), series = history[shown];
		const to = live.at, from = to - series.span_ms, points = series.stretches.filter((s) => s.at >= from && s.at < live.at).concat([live]);
		const step = stepOf(Math.max(...points.map(value)), whole), most = Math.max(step, Math.ceil(Math.max(...points.map(value)) / step) * step);
		const x = (at) => LEFT + ((width - LEFT - RIGHT) * (at - from)) / (to - from);
		const y = (v) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * v) / most;
		const words = label + ", last " + shown + ": now " + short.format(value(live)) + ", at most " + short.format(Math.max(...points.map(value)));
		const chart = svg("svg", { viewBox: "0 0 " + width + " " + HEIGHT, role: "img", "aria-label": words });

		for (const piece of pieces(points, series.step_ms)) {
			const line = piece.map((p) => x(p.at).toFixed(1) + " " + y(value(p)).toFixed(1)).join("L");
			chart.append(svg("path", { class: "area", d: "M" + x(piece[0].at).toFixed(1) + " " + y(0) + "L" + line + "L" + x(piece[piece.length - 1].at).toFixed(1) + " " + y(0) + "Z" }),
				svg("path", { class: "line", d: "M" + line }));
		}
		for (let v = 0; v <= most * 1.001; v += step)
			chart.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }),
				svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, short.format(v)));
		for (const at of timeMarks(from, to, width - LEFT - RIGHT))
			if (x(at) > LEFT + 14 && x(at) < width - RIGHT - 14)
				chart.append(svg("text", { x: x(at), y: HEIGHT - 5, "text-anchor": "middle" }, clock.format(at)));
		chart.append(svg("circle", { class: "end", cx: x(live.at), cy: y(value(live)), r: 3.5 }));
		box.replaceChildren(chart);
	}

	function drawBoth() {
		if (!history || !live)
			return;
		draw("rate-chart", "Images a second", (p) => p.images_per_second, false);
		draw("todo-chart", "Images to do", (p) => p.todo, true);
	}

	async function refresh() {
		fetchedAt = Date.now();
		try {
			const answer = await fetch("/api/v1/history");
			if (answer.ok)
				history = await answer.json();
		} catch {
			/* the page says already that nobody answers */
		}
		drawBoth();
	}

	function show(what) {
		shown = what;
		for (const each of ["hour", "day"])
			place("show-" + each).setAttribute("aria-pressed", String(each === what));
		drawBoth();
	}

	place("show-hour").addEventListener("click", () => show("hour"));
	place("show-day").addEventListener("click", () => show("day"));
	window.addEventListener("resize", drawBoth);

	return {
		now(at, speed, todo) {
			live = { at, images_per_second: speed, todo };
			place("rate-now").textContent = speed.toFixed(1);
			place("todo-now").textContent = new Intl.NumberFormat("en").format(todo);
			if (Date.now() - fetchedAt >= FETCH_MS)
				refresh();
			else if (!document.hidden)
				drawBoth();
		},
	};
})();
