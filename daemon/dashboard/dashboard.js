/*
 * Shows what /api/v1/events says, and posts what is clicked. Whatever comes from the daemon becomes text nodes, never
 * markup: names of files are anybody's.
 */
"use strict";

const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
/* failures, samples and shards that are fetched at once, lines of the log that are kept; reasons that say there is no picture to be seen */
const PAGE = 200, SAMPLES = 24, SHARDS = 8, LINES = 300, AGAIN_MS = 3000;
const BLANK = ["empty", "unsupported", "truncated", "corrupt", "bomb", "too_large", "unreadable", "gone", "damaged"];
let token = "", last = null, logged = 0;

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

/* Not `disabled` meanwhile: whoever came by keyboard would lose the place. */
function button(text, title, act) {
	const b = make("button", { type: "button", title }, text);
	b.addEventListener("click", async () => {
		if (b.ariaDisabled === "true")
			return;
		b.ariaDisabled = "true";
		await act();
		b.ariaDisabled = null;
	});
	return b;
}

/* One of many that do the same says of what. */
function label(b, text, name) {
	setText(b, text);
	b.ariaLabel = text + " " + name;
}

/* What is there already stays the same elements, so that a click or the focus is not lost to the next second. */
function keep(box, children) {
	if (children.length !== box.children.length || children.some((c, i) => box.children[i] !== c))
		box.replaceChildren(...children);
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

const everything = { paused: false };
everything.pause = button("Pause all", "begin nothing new of any dataset", () => post(everything.paused ? "/resume" : "/pause"));
everything.resume = button("Resume all", "go on with every dataset", () => post("/resume"));
byId("everything").append(everything.pause, everything.resume);

/* The second is for when some are paused, so that the first does not vanish under a click. */
function drawEverything(datasets) {
	const paused = datasets.filter((d) => d.state === "paused").length;
	everything.paused = paused > 0 && paused === datasets.length;
	setText(everything.pause, everything.paused ? "Resume all" : "Pause all");
	everything.resume.hidden = paused === 0 || everything.paused;
	byId("everything").hidden = datasets.length === 0;
}

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
	byId("limit").textContent = status.limit ||
		(todo === 0 && status.datasets.every((d) => d.state === "idle") ? "There is nothing to do." : "");
	charts.now(status.taken_at, speed, todo);
}

function drawHead(status) {
	const d = status.daemon;

	byId("about").textContent = "version " + d.version + ", up " + duration((status.taken_at - d.started_at) / 1000) +
		", pixels and latents " + bytes(d.memory_used) + " of " + bytes(d.memory_limit);
}

/* What will go wrong, or is for people to decide; health has what is wrong already. */
function notes(status) {
	const found = [];
	for (const d of status.disks)
		if (d.needed_bytes > d.usable_bytes)
			found.push("the disk of " + path(d.path) + " will be full before all is done" +
				(d.full_in_s === null ? "" : ", in about " + duration(d.full_in_s)) + ": " +
				bytes(d.needed_bytes - d.usable_bytes) + " more are needed than there are");
	for (const d of status.datasets) {
		if (d.watch.note)
			found.push("dataset " + d.name + ": " + d.watch.note);
		if (d.deletions > 0)
			found.push("dataset " + d.name + ": " + count.format(d.deletions) + (d.deletions === 1 ? " sample is" : " samples are") +
				" kept although the file is gone: `latentctl deletions --accept` removes " + (d.deletions === 1 ? "it" : "them"));
	}
	return found;
}

/* Of a live region: only what is new is read out, so what changes stays the same element. */
function setText(element, text) {
	if (element.textContent !== text)
		element.textContent = text;
}

function drawHealth(health, status) {
	const list = byId("problems"), lines = health.problems.map((text) => [text, ""]).concat(notes(status).map((text) => [text, "note"]));

	setText(byId("state"), health.healthy ? health.state : health.state + ", not healthy");
	byId("state").className = health.healthy ? "good" : "bad";
	while (list.children.length > lines.length)
		list.lastChild.remove();
	lines.forEach(([text, className], i) => {
		if (i === list.children.length)
			list.append(make("li", {}));
		setText(list.children[i], text);
		list.children[i].className = className;
	});
}

function drawStages(stages) {
	byId("stages").replaceChildren(...stages.map((s) => row(s.name,
		[rate(s.images_per_second), (s.busy === null ? "–" : s.busy.toFixed(1)) + " of " + s.workers,
			s.queue === null ? "" : count.format(s.queue)], s.limits ? "limits" : "")));
}

function drawServe(s) {
	byId("serve").textContent = s ? "Serving others at " + s.url + ": " + [s.state + (s.why ? ": " + s.why : ""), s.model,
		count.format(s.requests) + " requests", s.refused > 0 ? count.format(s.refused) + " refused" : "",
		count.format(s.images_done) + " encoded", s.images_per_second.toFixed(1) + " images/s"].filter(Boolean).join(" · ") : "";
}

function drawDisks(disks) {
	byId("disks").replaceChildren(...disks.map((d) => row(path(d.path),
		[bytes(d.free_bytes), bytes(d.total_bytes), d.needed_bytes > 0 ? bytes(d.needed_bytes) : "–",
			d.full_in_s === null ? "–" : duration(d.full_in_s)])));
}

function datasetCard(name) {
	const where = placeOf(name);
	const card = make("div", { className: "dataset" });
	card.name = name;
	card.title_ = make("h3", {}, name);
	card.state = make("span", {});
	card.pause = button("Pause", "begin nothing new of " + name, () => post(where + (card.paused ? "/resume" : "/pause")));
	card.again = button("Try again", "go on with " + name + " when what is wrong is mended", () => post(where + "/resume"));
	card.scan = button("Scan", "look through the folders of " + name + " now", () => post(where + "/scan"));
	card.why = make("p", { className: "why" });
	card.bar = make("progress", { max: 1000 });
	card.bar.setAttribute("aria-label", "progress of " + name);
	card.line = make("div", { className: "quiet" });
	card.append(make("div", { className: "row" }, card.title_, card.state,
		make("div", { className: "buttons" }, card.pause, card.again, card.scan)), card.why, card.bar, card.line);
	return card;
}

function drawDatasets(datasets) {
	const box = byId("datasets"), old = new Map([...box.children].map((c) => [c.name, c]));
	const cards = datasets.map((d) => {
		const card = old.get(d.name) || datasetCard(d.name), s = sums(d), words = [];
		card.paused = d.state === "paused";
		label(card.pause, card.paused ? "Resume" : "Pause", d.name);
		card.again.hidden = d.state !== "blocked";
		card.state.textContent = d.state + (d.priority === 0 ? "" : ", priority " + d.priority) + (d.retry_at === null ? "" :
			(d.state === "paused" ? ", goes on in " : ", tried again in ") + duration(Math.max(0, d.retry_at - last.taken_at) / 1000));
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
		if (d.jobs.encoded > 0)
			words.push(count.format(d.jobs.encoded) + " encoded and not sealed yet");
		if (d.last_shard)
			words.push("last " + path(d.last_shard.path) + ", " + duration((last.taken_at - d.last_shard.sealed_at) / 1000) + " ago");
		card.line.textContent = words.join(" · ");
		return card;
	});
	keep(box, cards);
}

/* -- what is fetched when a number has changed ---------------------------------------------------------- */

async function get(where) {
	const answer = await fetch("/api/v1" + where);
	const body = await answer.json();
	if (!answer.ok)
		throw new Error(body.error.message);
	return body;
}

const placeOf = (name) => "/datasets/" + encodeURIComponent(name);

/*
 * @load answers with what shows it. One at a time: a browser has few connections, and buttons need them too. What has changed meanwhile,
 * or failed, comes with the next picture.
 */
function follower(load) {
	let seen = "", busy = false;
	return async (key, datasets) => {
		if (key === seen || busy)
			return;
		busy = true;
		try {
			(await load(datasets))();
			seen = key;
		} catch {
			/* the next picture is in a second */
		} finally {
			busy = false;
		}
	};
}

/* -- failures: by reason, and of each reason when it is opened ------------------------------------------- */

function failureItem(where, reason, job) {
	let picture = null;
	if (!BLANK.includes(reason)) {
		picture = make("img", { src: "/api/v1" + where + "/thumbnail?key=" + encodeURIComponent(job.key), alt: "", loading: "lazy" });
		picture.addEventListener("error", () => picture.remove());
	}
	return make("li", {}, picture, path(job.source) + " ", make("span", {}, job.message || ""));
}

async function fillReason(list, more, where, reason, after) {
	const page = await get(where + "/jobs?state=quarantined&reason=" + encodeURIComponent(reason) + "&limit=" + PAGE +
		(after ? "&after=" + after : ""));
	list.append(...page.jobs.map((job) => failureItem(where, reason, job)));
	const focused = more.contains(document.activeElement);
	more.replaceChildren(page.next === null ? "" : button("Further ones", "",
		() => fillReason(list, more, where, reason, page.next).catch((e) => say(e.message))));
	if (focused)
		(more.querySelector("button") || list).focus();
}

function reasonBox(dataset, reason) {
	const where = placeOf(dataset), list = make("ul", { className: "list", tabIndex: 0, ariaLabel: dataset + ": " + reason }), more = make("div", {});
	const box = make("details", {}, make("summary", {}));
	box.name_ = dataset + "\n" + reason;
	box.append(button("Retry them", "try these images again", () => post(where + "/retry", { reason })), list, more);
	box.addEventListener("toggle", () => {
		if (!box.open || box.filled)
			return;
		box.filled = true;
		list.replaceChildren();
		fillReason(list, more, where, reason, null).catch((e) => {
			box.filled = false;
			say(e.message);
		});
	});
	return box;
}

/* What is being read stays as it is; what is opened again is fetched again. */
const drawFailures = follower(async (datasets) => {
	const failed = datasets.filter((d) => d.jobs.quarantined > 0), found = [];
	for (const d of failed) {
		const answer = await get(placeOf(d.name) + "/failures");
		for (const failure of answer.reasons.filter((f) => f.state === "quarantined"))
			found.push([d.name, failure]);
	}
	return () => {
		const old = new Map([...byId("failures").children].map((box) => [box.name_, box]));
		const boxes = found.map(([name, failure]) => {
			const box = old.get(name + "\n" + failure.reason) || reasonBox(name, failure.reason);
			box.firstChild.textContent = name + ": " + failure.reason + ", " + count.format(failure.jobs);
			box.filled = box.filled && box.open;
			return box;
		});
		if (boxes.length === 0)
			boxes.push(make("p", { className: "quiet" }, "none"));
		keep(byId("failures"), boxes);
	};
});

/* -- shards and samples --------------------------------------------------------------------------------- */

const previewOf = (name, sample) => "/api/v1" + placeOf(name) + "/preview?shard=" + sample.shard + "&offset=" + sample.offset;

/* A header of the picture says it, which an img does not show: the first speaks for its dataset. */
function falseColors(name, samples) {
	const line = make("p", { className: "false-colors", hidden: true },
		"False colours: there are no sources to fit them to (were the files moved?), so the first channels are shown as red, green and blue.");
	if (samples.length > 0)
		fetch(previewOf(name, samples[0]), { method: "HEAD" }).then((answer) => {
			line.hidden = answer.headers.get("Latentd-Colors") !== "false";
		}, () => {});
	return line;
}

function sampleFigure(name, sample) {
	const source = path(sample.source);
	const picture = make("img", { alt: source, loading: "lazy", src: previewOf(name, sample) });
	return make("figure", { title: source + ", " + sample.group + ", " + path(sample.path) }, picture, make("figcaption", {}, source));
}

const SHARD_STATES = { whole: "whole", partly_replaced: "partly replaced", replaced: "replaced: gc removes it" };

function shardRow(name, shard) {
	return row(path(shard.path), [name, SHARD_STATES[shard.state] || shard.state,
		count.format(shard.samples - shard.replaced), bytes(shard.bytes), moment.format(shard.sealed_at)]);
}

const drawStored = follower(async (datasets) => {
	const stored = datasets.filter((d) => d.shards > 0 && d.state !== "starting"), found = [];
	for (const d of stored)
		found.push([d.name, await get(placeOf(d.name) + "/shards?limit=" + SHARDS),
			await get(placeOf(d.name) + "/samples?limit=" + Math.max(4, Math.floor(SAMPLES / stored.length)))]);
	return () => {
		byId("shards").replaceChildren(...found.flatMap(([name, { shards }]) => shards.map((s) => shardRow(name, s))));
		byId("samples").replaceChildren(...found.flatMap(([name, , { samples }]) => [
			make("h3", { hidden: found.length === 1 }, name), falseColors(name, samples),
			make("div", { className: "samples" }, ...samples.map((s) => sampleFigure(name, s)))]));
		if (found.length === 0)
			byId("samples").append(make("p", { className: "quiet" }, "none yet"));
	};
});

/* -- log ------------------------------------------------------------------------------------------------ */

/* The newest comes first. After a gap of the connection the newest are sent again. */
function drawLog(lines) {
	const list = byId("log");
	for (const line of lines.filter((l) => l.id > logged)) {
		list.prepend(make("li", { className: line.level }, make("span", {}, moment.format(line.at) + (line.level === "info" ? " " : " " + line.level + " ")),
			(line.dataset === null ? "" : line.dataset + ": ") + line.text));
		logged = line.id;
	}
	while (list.children.length > LINES)
		list.lastChild.remove();
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
	drawHealth(picture.health, last);
	drawHead(last);
	drawTotals(last);
	drawEverything(last.datasets);
	drawStages(last.stages);
	drawDatasets(last.datasets);
	drawEncoders(last.encoders);
	drawServe(last.serve);
	drawDisks(last.disks);
	drawLog(picture.log);
	drawFailures(JSON.stringify(last.datasets.map((d) => [d.name, d.jobs.quarantined])), last.datasets);
	drawStored(JSON.stringify(last.datasets.map((d) => [d.name, d.shards, d.shard_bytes, d.state === "starting"])), last.datasets);
}

/* The browser makes a connection that broke anew, but not one that was answered with an error: by a proxy, or when too many listen. */
function listen() {
	const events = new EventSource("/api/v1/events");
	events.addEventListener("message", (event) => draw(JSON.parse(event.data)));
	events.addEventListener("error", () => {
		setText(byId("state"), "the daemon does not answer: what is below was so before");
		byId("state").className = "bad";
		if (events.readyState === EventSource.CLOSED)
			setTimeout(listen, AGAIN_MS);
	});
}

listen();
