/*
 * This machine among those that share the queue: a sign of life every third of the timeout, with the images that it
 * encoded; what comes back is whose duty which dataset is. A beat is one task on the database thread; its
 * datasets are found again by number, because a lane may close meanwhile.
 */
#include "daemon/service_parts.h"

#include "daemon/state_queue.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "queue/queue_nodes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* Somebody waits for the end of a drain, which depends on what others say. */
	DRAIN_MS = 1000,
	/* How often whoever waits for its name asks. */
	NAME_MS = 500,
	CLOCKS_DIFFER_MS = 60000, /* which is told */
};

/* A beat under way. */
struct beat_task {
	struct task base;
	struct service *service;
	struct node_beat beat;
	struct node_pulse pulse;
	int64_t forget_ms;	/* 0: nobody is forgotten */
	int64_t deaths_settled; /* what these have left was looked for; -1: not in all datasets */
	int result;
	size_t rescued;
	struct buffer forgotten; /* "gpu2, gpu3" */
	size_t forgotten_images;
	struct error err;
};

struct service_nodes {
	char *instance, *place;
	char host[96];
	int64_t timeout_ms, forget_ms;
	int64_t due;	  /* monotonic */
	int64_t heard_at; /* the queue, for the last time */
	int64_t watches;  /* others, without a gap, since then */
	size_t n_open;	  /* lanes, at the last beat */
	size_t n_scanned; /* of those, looked through by this node */
	size_t n_passes;  /* of those, drained with a duty */
	/* Of node_pulse.deaths, without those that are forgotten, when it last heard them. */
	int64_t dead;
	bool under_way, drains, began;
	struct beat_task task;
	struct node_dataset *datasets; /* of the task */
	uint64_t encoded;	       /* images, at the last beat */
	uint64_t encoded_at;	       /* when the rate was last taken */
	int64_t rated_at;
	double rate;
};

static struct node_beat beat_of(const struct service_nodes *n)
{
	return (struct node_beat){.instance = n->instance,
				  .place = n->place,
				  .host = n->host,
				  .version = LATENTD_VERSION,
				  .timeout_ms = n->timeout_ms,
				  .encoded = n->encoded,
				  .rate = n->rate};
}

static int taken(const struct service *s, const struct node_pulse *pulse, struct error *err)
{
	return error_set(
	    err, ERR_CONFIG,
	    pulse->is_copy
		? "node %s is at work already, on %s, with a copy of this state folder: give one "
		  "of the two an empty state_dir and another queue.node"
		: "node %s is at work already, on %s, with another state folder: set another "
		  "queue.node",
	    s->state_folder.node, pulse->holder);
}

/* Until something is to be asked again; true: it is to end. */
static bool pause_for_name(void)
{
	const struct timespec pause = {NAME_MS / 1000, NAME_MS % 1000 * 1000000L};
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	return sigtimedwait(&ends, NULL, &pause) > 0;
}

/*
 * One that crashed on another machine, and is requeued here, has the name until its silence has lasted; one that lives gives a
 * sign of life before.
 */
static int get_name(struct service *s, const struct node_beat *beat, struct node_pulse *pulse,
		    struct error *err)
{
	int64_t seen = 0;

	for (;;) {
		int r = queue_node_beat(s->queue, beat, pulse, err);

		if (r != QUEUE_NODE_TAKEN)
			return r;
		if (seen != 0 && pulse->beat_at != seen)
			return taken(s, pulse, err);
		if (seen == 0)
			service_log(s, LOG_PLAIN_WARNING, NULL,
				    "node %s was at work %lld s ago, on %s: it begins here when "
				    "nothing is heard of that for %lld s more "
				    "(queue.node_timeout)",
				    s->state_folder.node, (long long)pulse->silent_ms / 1000,
				    pulse->holder, (long long)(pulse->patience_ms / 1000 + 1));
		seen = pulse->beat_at;
		if (pause_for_name())
			return SERVICE_ENDED;
	}
}

/* Leases are the database's matter; what people read is this machine's. */
static void compare_clocks(struct service *s, int64_t database)
{
	int64_t ahead = clock_wall_ms() - database;
	char by[32];

	if (llabs(ahead) >= CLOCKS_DIFFER_MS)
		service_log(s, LOG_PLAIN_WARNING, NULL,
			    "this machine's clock is %s %s the database's: leases do not go by it, "
			    "but times in records, lists and the log do",
			    text_duration((uint64_t)llabs(ahead) / 1000, by),
			    ahead > 0 ? "ahead of" : "behind");
}

int service_nodes_open(struct service *s, struct error *err)
{
	struct service_nodes *n;
	struct node_pulse pulse = {.drains = false};
	struct node_beat beat;
	int r;

	if (!s->state_folder.node)
		return 0;
	n = s->nodes = xcalloc(1, sizeof(*n));
	n->instance = state_queue_instance(s->state_folder.path);
	n->place = state_queue_place(s->state_folder.path);
	n->timeout_ms = (int64_t)s->config->queue.node_timeout;
	n->forget_ms = (int64_t)s->config->queue.forget_after;
	n->rated_at = clock_mono_ms();
	gethostname(n->host, sizeof(n->host) - 1);
	beat = beat_of(n);
	r = get_name(s, &beat, &pulse, err);
	if (r != 0)
		return r;
	n->began = true;
	n->drains = pulse.drains;
	compare_clocks(s, pulse.now);
	return 0;
}

static uint64_t encoded(const struct service *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n_lanes; i++)
		sum += lane_encoded(s->lanes[i]);
	return sum;
}

/* Over the time since the last beat, or a few of them. */
static void take_rate(struct service_nodes *n)
{
	int64_t now = clock_mono_ms(), ms = now - n->rated_at;

	if (ms < n->timeout_ms / 4)
		return;
	/* A dataset that is no longer configured takes its images along. */
	n->rate = n->encoded < n->encoded_at
		      ? 0
		      : (double)(n->encoded - n->encoded_at) * 1000 / (double)ms;
	n->encoded_at = n->encoded;
	n->rated_at = now;
}

/* -- on the database thread ------------------------------------------------------------------------- */

static void on_forgotten(void *arg, const char *node, size_t requeued)
{
	struct beat_task *t = arg;

	buffer_appendf(&t->forgotten, "%s%s", t->forgotten.size > 0 ? ", " : "", node);
	t->forgotten_images += requeued;
}

static void forget_silent(struct queue *queue, struct beat_task *t)
{
	bool duty = false;

	for (size_t i = 0; i < t->beat.n_datasets; i++)
		duty = duty || t->beat.datasets[i].mine;
	/* First what they have put in sight is entered, then what they had is given back. */
	if (t->forget_ms == 0 || !duty || t->pulse.deaths != t->deaths_settled ||
	    queue_nodes_forget(queue, t->forget_ms, on_forgotten, t, &t->err) == 0)
		return;
	buffer_release(&t->forgotten); /* at the next beat, then */
	t->forgotten_images = 0;
}

static void beat_run(struct queue *queue, void *arg)
{
	struct beat_task *t = arg;

	t->result = queue_node_beat(queue, &t->beat, &t->pulse, &t->err);
	for (size_t i = 0; t->result == 0 && i < t->beat.n_datasets; i++) {
		const struct node_dataset *d = &t->beat.datasets[i];
		size_t rescued = 0;

		if (!d->mine)
			continue;
		if (queue_rescue(queue, d->dataset, t->service->owner, clock_steady_wall_ms(),
				 &rescued, &t->err) < 0)
			t->result = -1;
		t->rescued += rescued;
	}
	if (t->result == 0)
		forget_silent(queue, t);
	inbox_post(t->service->inbox, &t->base);
}

/* -- on the loop's ---------------------------------------------------------------------------------- */

static struct lane *lane_of(const struct service *s, int64_t dataset)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (lane_queue_id(s->lanes[i]) == dataset)
			return s->lanes[i];
	}
	return NULL;
}

/* Which commits it lacks nobody can tell. */
static void compare_anew(struct service *s, const char *what)
{
	service_log(s, LOG_PLAIN_WARNING, NULL, "the database %s: datasets are opened again", what);
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_reopen(s->lanes[i]);
}

/* It is told once. */
static void note_another_database(struct service *s, const struct node_pulse *pulse)
{
	if (pulse->failed_over)
		compare_anew(s, "has failed over to a standby, which may lack the last commits");
	if (pulse->set_back)
		compare_anew(s, "was set back to what it was before, as by a dump that is "
				"restored (docs/scale.md says what that loses)");
}

/* Whoever is silent now was so while this node could have heard it. */
static bool hears(const struct service_nodes *n)
{
	return n->watches > 0 && clock_mono_ms() - n->watches >= n->timeout_ms;
}

/*
 * Of whom something may be left to be found. That one is forgotten somebody has said, or its silence: that need not be heard
 * here, which a short run could not.
 */
static int64_t known_deaths(struct service_nodes *n, const struct node_pulse *pulse)
{
	if (hears(n))
		n->dead = pulse->deaths - pulse->forgotten;
	return pulse->forgotten + n->dead;
}

static void obey(struct service *s, const struct beat_task *t)
{
	struct service_nodes *n = s->nodes;

	if (t->pulse.drains != n->drains)
		service_log(s, LOG_PLAIN_INFO, NULL, "node %s %s", s->state_folder.node,
			    t->pulse.drains ? "drains: it begins nothing new" : "goes on");
	n->drains = t->pulse.drains;
	if (t->rescued > 0)
		service_log(s, LOG_PLAIN_INFO, NULL,
			    "%zu image%s of a node that is silent: encoded again", t->rescued,
			    t->rescued == 1 ? "" : "s");
	if (t->forgotten.size > 0)
		service_log(
		    s, LOG_PLAIN_INFO, NULL,
		    "%s gave no sign of life for %lld s and %s forgotten: %zu image%s encoded "
		    "again",
		    (const char *)t->forgotten.data, (long long)t->forget_ms / 1000,
		    strchr((const char *)t->forgotten.data, ',') ? "are" : "is",
		    t->forgotten_images, t->forgotten_images == 1 ? " is" : "s are");
	for (size_t i = 0; i < t->beat.n_datasets; i++) {
		const struct node_dataset *d = &t->beat.datasets[i];
		struct lane *l = lane_of(s, d->dataset);

		if (l)
			lane_set_duty(l, d->mine, d->known, n->drains);
		if (l && d->mine)
			lane_note_deaths(l, known_deaths(n, &t->pulse));
		if (l && t->rescued + t->forgotten_images > 0)
			lane_again(l);
	}
}

/*
 * While the database was away, or all machines were off, everybody was silent: only what this node has seen of the silence
 * counts.
 */
static void note_contact(struct service_nodes *n, bool heard)
{
	int64_t now = clock_mono_ms();

	if (!heard)
		n->watches = 0;
	else if (n->watches == 0 || now - n->heard_at > n->timeout_ms)
		n->watches = now;
	n->heard_at = now;
}

static void beat_done(struct task *task)
{
	struct beat_task *t = (struct beat_task *)task;
	struct service *s = t->service;
	struct error err = ERROR_INIT;

	s->nodes->under_way = false;
	note_contact(s->nodes, t->result == 0);
	note_another_database(s, &t->pulse); /* whatever came after the beat */
	if (t->result == QUEUE_NODE_TAKEN) {
		taken(s, &t->pulse, &err);
		service_log(s, LOG_PLAIN_ERROR, NULL, "%s", err.message);
		s->nodes->began = false; /* nothing of the other's is given up */
		service_stop(s, EXIT_BUSY);
	} else if (t->result == 0) {
		obey(s, t);
	}
	buffer_release(&t->forgotten);
}

/* As struct beat_task says. */
static int64_t settled(const struct service *s)
{
	int64_t deaths = -1;

	for (size_t i = 0; i < s->n_lanes; i++) {
		int64_t of_lane = lane_deaths_settled(s->lanes[i]);

		if (of_lane < 0)
			continue;
		if (deaths >= 0 && deaths != of_lane)
			return -1;
		deaths = of_lane;
	}
	return deaths;
}

static void begin_beat(struct service *s)
{
	struct service_nodes *n = s->nodes;
	struct beat_task *t = &n->task;

	n->encoded = encoded(s);
	take_rate(n);
	free(n->datasets);
	n->datasets = xcalloc(s->n_lanes + 1, sizeof(*n->datasets));
	*t = (struct beat_task){
	    .base.done = beat_done, .service = s, .beat = beat_of(n), .err = ERROR_INIT};
	t->beat.datasets = n->datasets;
	for (size_t i = 0; i < s->n_lanes; i++) {
		int64_t id = lane_queue_id(s->lanes[i]);

		if (id != 0 && lane_works(s->lanes[i]))
			t->beat.datasets[t->beat.n_datasets++] =
			    (struct node_dataset){.dataset = id,
						  .scanned = lane_has_scanned(s->lanes[i]),
						  .passes = lane_passes_duty(s->lanes[i])};
	}
	if (n->forget_ms > 0 && n->watches > 0 && clock_mono_ms() - n->watches >= n->forget_ms)
		t->forget_ms = n->forget_ms;
	t->deaths_settled = settled(s);
	n->under_way = true;
	db_post(s->db, beat_run, t);
}

void service_nodes_tick(struct service *s)
{
	struct service_nodes *n = s->nodes;
	int64_t now = clock_mono_ms();
	size_t open = 0, scanned = 0, passes = 0;
	bool drains = false;

	if (!n || n->under_way || s->state == SERVICE_STOPPING)
		return;
	for (size_t i = 0; i < s->n_lanes; i++) {
		open += lane_works(s->lanes[i]);
		scanned += lane_has_scanned(s->lanes[i]);
		passes += lane_passes_duty(s->lanes[i]);
		drains = drains || lane_drains(s->lanes[i]);
	}
	/* Others wait for what is new of it. */
	if (now < n->due && open == n->n_open && scanned <= n->n_scanned && passes <= n->n_passes)
		return;
	n->due = now + (drains && n->timeout_ms > DRAIN_MS * 3 ? DRAIN_MS : n->timeout_ms / 3);
	n->n_open = open;
	n->n_scanned = scanned;
	n->n_passes = passes;
	begin_beat(s);
}

void service_picture_node(const struct service *s, struct service_status *p)
{
	const char *why = service_listen_why(s);

	if (!s->nodes)
		return;
	p->node = (struct service_node){.name = xstrdup(s->state_folder.node),
					.drains = s->nodes->drains,
					.why = why ? xstrdup(why) : NULL};
	for (size_t i = 0; i < p->n_datasets; i++) {
		p->node.encoded += p->datasets[i].encoded;
		p->node.images_per_second += p->datasets[i].images_per_second;
	}
}

void service_nodes_close(struct service *s)
{
	struct service_nodes *n = s->nodes;
	struct node_pulse pulse;
	struct error ignored = ERROR_INIT; /* others wait for the timeout then */

	if (n && n->began && s->queue) {
		struct node_beat beat = beat_of(n);

		beat.leaves = true;
		beat.rate = 0;
		queue_node_beat(s->queue, &beat, &pulse, &ignored);
	}
	if (n) {
		free(n->instance);
		free(n->place);
		free(n->datasets);
		buffer_release(&n->task.forgotten);
	}
	free(n);
	s->nodes = NULL;
}
