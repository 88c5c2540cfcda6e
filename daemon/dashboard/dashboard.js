/*
 * Shows what /api/v1/events says, and posts what is clicked. Whatever comes from the daemon becomes text nodes, never
 * markup: names of files are anybody's.
 */
"use strict";

const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const PAGE = 200, PAST_S = 900; /* failures that are fetched at once; seconds that the charts show */
let token = "", failuresSeen = "", past = [], last = null;

/* -- words ------------------------------------------------------------------------------------------- */

function bytes(n) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	let i = 0;
	for (; n >= 1024 && i < units.length - 1; i++)
		n /= 1024;
	return (i > 0 ? n.toFixed(1) : n) + " " + units[i];
}

function duration(s) {
	if (s === null || s === undefined)
		return "not known yet";
	if (s < 60)
		return Math.round(s) + " s";
	if (s < 3600)
		return Math.round(s / 60) + " min";
	if (s < 86400)
		return Math.floor(s / 3600) + " h " + Math.round((s % 3600) / 60) + " min";
	return Math.floor(s / 86400) + " d " + Math.round((s % 86400) / 3600) + " h";
}

const percent = (share) => (share === null ? "–" : Math.round(share * 100) + " %");
const rate = (n) => (n === null ? "–" : n.toFixed(1));

/* Paths come percent-encoded where they are not UTF-8; what cannot be decoded is shown as it came. */
function path(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

/* -- elements ---------------------------------------------------------------------------------------- */

function make(name, options, ...children) {
	const element = Object.assign(document.createElement(name), options);
	element.append(...children.filter((c) => c !== null));
	return element;
}

function row(first, cells, className) {
	return make("tr", { className: className || "" }, make("th", { scope: "row" }, first),
		...cells.map((cell) => make("td", {}, String(cell))));
}

function tile(value, label) {
	return make("div", { className: "tile" }, make("b", {}, value), make("span", {}, label));
}

function button(text, title, act) {
	const b = make("button", { type: "button", title }, text);
	b.addEventListener("click", async () => {
		b.disabled = true;
		await act();
		b.disabled = false;
	});
	return b;
}

/* -- sums of a dataset ------------------------------------------------------------------------------- */

function sums(d) {
	const j = d.jobs, done = j.encoded + j.completed, todo = j.available + j.running + j.retryable;
	const ended = done + j.quarantined + j.skipped;
	return { done, todo, failed: j.quarantined, skipped: j.skipped, ended, all: ended + todo + j.waiting };
}

function left(d) {
	if (d.eta_s === null)
		return "time left not known yet";
	return "about " + duration(d.eta_s) + " left (" + duration(d.eta_low_s) + " to " + duration(d.eta_high_s) + ")";
}

/* -- parts of the page ------------------------------------------------------------------------------- */

function drawTotals(status) {
	const all = status.datasets.map(sums), sum = (f) => all.reduce((n, s) => n + f(s), 0);
	const ended = sum((s) => s.ended), whole = sum((s) => s.all), todo = sum((s) => s.todo);
	const working = status.datasets.filter((d) => sums(d).todo > 0);
	const known = working.length > 0 && working.every((d) => d.eta_s !== null);
	const slowest = known ? working.reduce((a, b) => (b.eta_s > a.eta_s ? b : a)) : null;
	const speed = status.datasets.reduce((n, d) => n + d.images_per_second, 0);
	/* never 100 % before all is done */
	const share = whole === 0 ? "–" : (Math.floor((1000 * ended) / whole) / 10).toFixed(1) + " %";

	byId("totals").replaceChildren(
		tile(share, "done"), tile(count.format(sum((s) => s.done)), "encoded"),
		tile(count.format(todo), "to do"), tile(count.format(sum((s) => s.failed)), "failed"),
		tile(speed.toFixed(1), "images a second"),
		tile(todo === 0 ? "–" : slowest ? duration(slowest.eta_s) : "not known yet",
			slowest ? "left (" + duration(slowest.eta_low_s) + " to " + duration(slowest.eta_high_s) + ")" : "left"),
		tile(count.format(status.datasets.reduce((n, d) => n + d.shards, 0)), "shards, " +
			bytes(status.datasets.reduce((n, d) => n + d.shard_bytes, 0))));
	byId("limit").textContent = status.limit || (todo === 0 ? "There is nothing to do." : "");
	remember(status.taken_at, speed, todo);
}

function drawHead(status) {
	const d = status.daemon;

	byId("about").textContent = "version " + d.version + ", up " + duration((status.taken_at - d.started_at) / 1000) +
		", pixels and latents " + bytes(d.memory_used) + " of " + bytes(d.memory_limit);
}

function drawHealth(health) {
	byId("state").textContent = health.healthy ? health.state : health.state + ", not healthy";
	byId("state").className = health.healthy ? "good" : "bad";
	byId("problems").replaceChildren(...health.problems.map((line) => make("li", {}, line)));
}

function drawStages(stages) {
	byId("stages").replaceChildren(...stages.map((s) => row(s.name,
		[rate(s.images_per_second), (s.busy === null ? "–" : s.busy.toFixed(1)) + " of " + s.workers,
			s.queue === null ? "" : count.format(s.queue)], s.limits ? "limits" : "")));
}

function drawEncoders(encoders) {
	const rows = [];
	for (const e of encoders) {
		rows.push(row(e.name, [e.state + (e.why ? ": " + e.why : ""), rate(e.images_per_second), percent(e.busy),
			count.format(e.images_done), count.format(e.images_failed)]));
		for (const p of e.endpoints || [])
			rows.push(row(p.url, [p.state + (p.why ? ": " + p.why : ""), "",
				p.in_flight + " of " + p.limit + (p.latency_ms === null ? "" : ", " + Math.round(p.latency_ms) + " ms"),
				count.format(p.images), count.format(p.failures)], "sub"));
	}
	byId("encoders").replaceChildren(...rows);
}

function drawDisks(disks) {
	byId("disks").replaceChildren(...disks.map((d) => row(path(d.path),
		[bytes(d.free_bytes), bytes(d.total_bytes), d.needed_bytes > 0 ? bytes(d.needed_bytes) : "–",
			d.full_in_s === null ? "–" : duration(d.full_in_s)])));
}

/* Buttons stay the same elements, so that a click or the focus is not lost to the next second. */
function datasetCard(name) {
	const where = "/datasets/" + encodeURIComponent(name);
	const card = make("div", { className: "dataset" });
	card.name = name;
	card.title_ = make("h3", {}, name);
	card.state = make("span", {});
	card.pause = button("Pause", "begin nothing new of " + name, () => post(where + (card.paused ? "/resume" : "/pause")));
	card.scan = button("Scan", "look through the folders of " + name + " now", () => post(where + "/scan"));
	card.why = make("p", { className: "why" });
	card.bar = make("progress", { max: 1000 });
	card.bar.setAttribute("aria-label", "progress of " + name);
	card.line = make("div", { className: "quiet" });
	card.append(make("div", { className: "row" }, card.title_, card.state,
		make("div", { className: "buttons" }, card.pause, card.scan)), card.why, card.bar, card.line);
	return card;
}

function drawDatasets(datasets) {
	const box = byId("datasets"), old = new Map([...box.children].map((c) => [c.name, c]));
	const cards = datasets.map((d) => {
		const card = old.get(d.name) || datasetCard(d.name), s = sums(d), words = [];
		card.paused = d.state === "paused";
		card.pause.textContent = card.paused ? "Resume" : "Pause";
		card.state.textContent = d.state;
		card.why.textContent = d.why || "";
		card.why.hidden = !d.why;
		card.bar.value = s.all === 0 ? 0 : Math.floor((1000 * s.ended) / s.all);
		words.push(count.format(s.done) + " done");
		for (const [n, word] of [[s.todo, "to do"], [d.jobs.waiting, "waiting for a caption"], [s.failed, "failed"], [s.skipped, "skipped"]])
			if (n > 0)
				words.push(count.format(n) + " " + word);
		if (d.images_per_second > 0)
			words.push(d.images_per_second.toFixed(1) + " images/s");
		if (s.todo > 0 && d.images_per_second > 0)
			words.push(left(d));
		words.push(count.format(d.shards) + " shards, " + bytes(d.shard_bytes));
		if (d.last_shard)
			words.push("last " + path(d.last_shard.path) + ", " + duration((last.taken_at - d.last_shard.sealed_at) / 1000) + " ago");
		card.line.textContent = words.join(" · ");
		return card;
	});
	if (cards.length !== box.children.length || cards.some((c, i) => box.children[i] !== c))
		box.replaceChildren(...cards);
}

/* -- failures: fetched when their number has changed, and of each reason when it is opened -------------- */

async function get(where) {
	const answer = await fetch("/api/v1" + where);
	const body = await answer.json();
	if (!answer.ok)
		throw new Error(body.error.message);
	return body;
}

async function fillReason(list, more, where, reason, after) {
	const page = await get(where + "/jobs?state=quarantined&reason=" + encodeURIComponent(reason) + "&limit=" + PAGE +
		(after ? "&after=" + after : ""));
	list.append(...page.jobs.map((job) => make("li", {}, path(job.source) + " ", make("span", {}, job.message || ""))));
	more.replaceChildren(page.next === null ? "" : button("Further ones", "", () => fillReason(list, more, where, reason, page.next)));
}

function reasonOf(dataset, failure) {
	const where = "/datasets/" + encodeURIComponent(dataset), list = make("ul", { className: "list" }), more = make("div", {});
	const box = make("details", {}, make("summary", {}, dataset + ": " + failure.reason + ", " + count.format(failure.jobs)));
	box.append(button("Retry them", "try these images again", () => post(where + "/retry", { reason: failure.reason })), list, more);
	box.addEventListener("toggle", () => {
		if (box.open && list.children.length === 0)
			fillReason(list, more, where, failure.reason, null).catch((e) => say(e.message));
	});
	return box;
}

async function drawFailures(datasets) {
	const seen = JSON.stringify(datasets.map((d) => [d.name, d.jobs.quarantined])), boxes = [];
	if (seen === failuresSeen)
		return;
	failuresSeen = seen;
	for (const d of datasets.filter((x) => x.jobs.quarantined > 0)) {
		try {
			const answer = await get("/datasets/" + encodeURIComponent(d.name) + "/failures");
			for (const failure of answer.reasons.filter((f) => f.state === "quarantined"))
				boxes.push(reasonOf(d.name, failure));
		} catch (e) {
			boxes.push(make("p", { className: "why" }, d.name + ": " + e.message));
		}
	}
	/* what is being read stays open */
	const open = new Set([...document.querySelectorAll("#failures details[open] summary")].map((s) => s.textContent.replace(/, [^,]*$/, "")));
	byId("failures").replaceChildren(...(boxes.length > 0 ? boxes : [make("p", { className: "quiet" }, "none")]));
	for (const box of boxes)
		if (box.tagName === "DETAILS" && open.has(box.firstChild.textContent.replace(/, [^,]*$/, "")))
			box.open = true;
}

/* -- charts ------------------------------------------------------------------------------------------ */

function remember(at, speed, todo) {
	past.push({ at, speed, todo });
	past = past.filter((h) => h.at > at - PAST_S * 1000);
	byId("rate-now").textContent = speed.toFixed(1);
	byId("todo-now").textContent = count.format(todo);
	chart(byId("rate-chart"), (h) => h.speed);
	chart(byId("todo-chart"), (h) => h.todo);
}

function chart(canvas, value) {
	const style = getComputedStyle(document.documentElement), scale = window.devicePixelRatio || 1;
	const width = canvas.clientWidth, height = canvas.clientHeight, g = canvas.getContext("2d");
	const top = Math.max(...past.map(value), 1e-9), first = past[0].at, span = Math.max(past[past.length - 1].at - first, 60000);
	const x = (h) => (width * (h.at - first)) / span, y = (h) => height - 1 - (height - 6) * (value(h) / top);

	canvas.width = Math.round(width * scale);
	canvas.height = Math.round(height * scale);
	g.scale(scale, scale);
	g.strokeStyle = style.getPropertyValue("--line");
	g.strokeRect(0.5, 0.5, width - 1, height - 1);
	g.beginPath();
	past.forEach((h, i) => (i === 0 ? g.moveTo(x(h), y(h)) : g.lineTo(x(h), y(h))));
	g.strokeStyle = style.getPropertyValue("--accent");
	g.lineWidth = 2;
	g.stroke();
}

/* -- steering ---------------------------------------------------------------------------------------- */

function say(text) {
	byId("message").textContent = text;
}

async function post(where, body) {
	const headers = { "Content-Type": "application/json" };
	if (token)
		headers.Authorization = "Bearer " + token;
	try {
		const answer = await fetch("/api/v1" + where, { method: "POST", headers, body: JSON.stringify(body || {}) });
		const text = await answer.json();
		say(answer.ok ? where.split("/").pop() + ": done (" + text.count + ")" + (text.message ? ", " + text.message : "") : text.error.message);
	} catch (e) {
		say("The daemon does not answer: " + e.message);
	}
}

byId("token-form").addEventListener("submit", (event) => {
	event.preventDefault();
	token = byId("token").value;
	byId("token").value = "";
	say(token ? "The token is used from now on." : "No token is used.");
});

/* -- live -------------------------------------------------------------------------------------------- */

function draw(picture) {
	last = picture.status;
	drawHealth(picture.health);
	drawHead(last);
	drawTotals(last);
	drawStages(last.stages);
	drawDatasets(last.datasets);
	drawEncoders(last.encoders);
	drawDisks(last.disks);
	drawFailures(last.datasets);
}

const events = new EventSource("/api/v1/events");
events.addEventListener("message", (event) => draw(JSON.parse(event.data)));
events.addEventListener("error", () => {
	byId("state").textContent = "the daemon does not answer";
	byId("state").className = "bad";
});
