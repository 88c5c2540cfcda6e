/*
 * The table of encoders, each with its button, and of their endpoints. What it uses of dashboard.js is there before it is called.
 */
"use strict";

function encoderRow(name) {
	const state = make("div", {}), cells = Array.from({ length: 6 }, () => make("td", {}));
	const line = make("tr", {}, make("th", { scope: "row" }, name));
	line.pause = button("Pause", "give " + name + " nothing new", () => post("/encoders/" + encodeURIComponent(name) + (line.paused ? "/resume" : "/pause")));
	line.append(make("td", {}, state, line.pause), ...cells);
	line.texts = [state, ...cells];
	return line;
}

function endpointRow(url) {
	const line = row(url, Array(7).fill(""), "sub");
	line.texts = [...line.children].slice(1);
	return line;
}

function encoderCells(e) {
	const state = e.state + (e.paused && e.state !== "paused" ? ", paused when that is done" : "");

	return [!e.why ? state : e.why.startsWith(state) ? e.why : state + ": " + e.why, rate(e.images_per_second), percent(e.busy),
		e.batch === null ? "" : e.batch.toFixed(e.batch % 1 ? 1 : 0),
		count.format(e.images_done), count.format(e.images_failed), e.memory_used === null ? "" : bytes(e.memory_used)];
}

function endpointCells(p) {
	return [p.state + (p.why ? ": " + p.why : "") + (p.wait_ms > 0 ? ", tried again in " + duration(Math.ceil(p.wait_ms / 1000)) : ""),
		rate(p.images_per_second),
		percent(p.busy) + ", " + p.in_flight + " of " + p.limit + (p.latency_ms === null ? "" : ", " + Math.round(p.latency_ms) + " ms"),
		"", count.format(p.images), count.format(p.failures), ""];
}

function drawEncoders(encoders) {
	const box = byId("encoders"), old = new Map([...box.children].map((line) => [line.key, line]));
	const show = (key, begin, cells) => {
		const line = old.get(key) || begin();
		line.key = key;
		cells.forEach((text, i) => setText(line.texts[i], text));
		return line;
	};
	keep(box, encoders.flatMap((e) => {
		const line = show(e.name, () => encoderRow(e.name), encoderCells(e));
		line.paused = e.paused;
		label(line.pause, e.paused ? "Resume" : "Pause", e.name);
		return [line, ...(e.endpoints || []).map((p) => show([e.name, p.url, p.model].join("\n"), () => endpointRow(p.url), endpointCells(p)))];
	}));
}
