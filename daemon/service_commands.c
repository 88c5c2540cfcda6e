/*
 * A request is a task for the loop, and its caller waits for it. What changes jobs is then done by the caller through the
 * database thread, so that a retry of a million images holds up nobody else.
 */
#include "daemon/given_arrays.h"
#include "daemon/given_captions.h"
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A request on its way; of the caller and of the loop, whoever lets go last frees it. */
struct call {
	struct task base;
	struct service_commands *commands;
	struct call *next, **link; /* in commands->first */
	struct service_request request;
	char *dataset, *encoder; /* request's, copied: the caller may have given up */
	char *folder;		 /* of the dataset whose captions are meant */
	int refs;
	bool done;
	int result;
	bool kept;    /* the captions: the lane is told now */
	int64_t *ids; /* of datasets whose jobs are meant */
	size_t n_ids;
	struct service_reply reply;
	struct error err;
};

struct service_commands {
	struct service *service;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct call *first;
	bool closed;
};

/* -- on the loop's thread ----------------------------------------------------------------------------- */

static void apply(struct service *s, struct lane *l, const struct service_request *r,
		  struct service_reply *reply)
{
	switch (r->command) {
	case REQUEST_SCAN:
		lane_scan(l);
		break;
	case REQUEST_PAUSE:
		lane_pause(l, true);
		break;
	case REQUEST_RESUME:
		lane_pause(l, false);
		if (s->options.once)
			lane_drain(l);
		else if (s->state == SERVICE_DRAINING)
			s->state = SERVICE_RUNNING; /* it is not to end without this one */
		break;
	case REQUEST_DRAIN:
		lane_drain(l);
		break;
	case REQUEST_SEAL:
		lane_seal(l);
		break;
	case REQUEST_PRIORITY:
		lane_set_priority(l, r->priority);
		break;
	case REQUEST_ACCEPT_DELETIONS:
		reply->count += lane_accept_deletions(l);
		return;
	case REQUEST_RETRY:
		lane_again(l);
		return;
	case REQUEST_CANCEL:
		lane_count(l);
		return;
	case REQUEST_CAPTIONS: /* counted where they are kept */
	case REQUEST_RESET_CAPTIONS:
	case REQUEST_ATTACH:
	case REQUEST_RELOAD:
	case REQUEST_GC:
	case REQUEST_COMPACT:
	case REQUEST_UPKEEP:
		return;
	}
	reply->count++;
}

/* What goes for the service and not only for its lanes. */
static void apply_to_all(struct service *s, const struct service_request *r,
			 struct service_reply *reply)
{
	if (r->dataset)
		return;
	if (r->command == REQUEST_DRAIN && s->state == SERVICE_RUNNING) {
		s->state = SERVICE_DRAINING;
		snprintf(reply->message, sizeof(reply->message),
			 "the daemon ends when everything is encoded and sealed");
	}
}

/* Captions or arrays, which lie beside the shards until they are in them. */
static bool is_given(const struct service_request *r)
{
	return r->command == REQUEST_CAPTIONS || r->command == REQUEST_RESET_CAPTIONS ||
	       r->command == REQUEST_ATTACH;
}

static bool is_upkeep(const struct service_request *r)
{
	return r->command == REQUEST_GC || r->command == REQUEST_COMPACT ||
	       r->command == REQUEST_UPKEEP;
}

static int run_upkeep(struct call *c, struct lane *l)
{
	json_t *list;

	if (c->request.command != REQUEST_UPKEEP &&
	    lane_upkeep(l, &c->request.upkeep, &c->reply.id, &c->err) < 0)
		return -1;
	if (c->request.command == REQUEST_UPKEEP) {
		list = lane_upkeep_json(l);
		c->reply.upkeep = json_dumps(list, JSON_COMPACT);
		json_decref(list);
	}
	c->reply.count = 1;
	return 0;
}

/* First where they are kept is told; then that they are. */
static int run_given(struct call *c, struct lane *l)
{
	bool arrays = c->request.command == REQUEST_ATTACH;
	const char *folder = NULL;

	if (c->kept) {
		if (arrays)
			lane_give_arrays(l);
		else
			lane_give_captions(l, c->request.captions);
		return 0;
	}
	folder = lane_folder(l, !arrays, &c->err);
	c->folder = folder ? xstrdup(folder) : NULL;
	return folder ? 0 : -1;
}

static int apply_to_encoder(struct service *s, const struct service_request *r,
			    struct service_reply *reply)
{
	bool pause = r->command == REQUEST_PAUSE;

	if (!engines_pause(s->engines, r->encoder, pause))
		return SERVICE_NO_ENCODER;
	service_log(s, LOG_PLAIN_INFO, NULL, "encoder %s: %s", r->encoder,
		    pause ? "paused" : "resumed");
	reply->count = 1;
	return 0;
}

static int run_request(struct call *c)
{
	struct service *s = c->commands->service;
	const struct service_request *r = &c->request;

	if (s->state == SERVICE_STOPPING)
		return error_set(&c->err, ERR_TRANSIENT, "the daemon is stopping");
	if (r->command == REQUEST_RELOAD)
		return service_reload(s, &c->reply, &c->err);
	if (r->encoder)
		return apply_to_encoder(s, r, &c->reply);
	if (r->dataset && !service_lane(s, r->dataset))
		return SERVICE_NO_DATASET;
	c->ids = xcalloc(s->n_lanes, sizeof(*c->ids));
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (r->dataset && strcmp(lane_name(s->lanes[i]), r->dataset) != 0)
			continue;
		if (lane_queue_id(s->lanes[i]) > 0)
			c->ids[c->n_ids++] = lane_queue_id(s->lanes[i]);
		if (is_given(r) && run_given(c, s->lanes[i]) < 0)
			return error_wrap(&c->err, "%s", r->dataset);
		if (is_upkeep(r) && run_upkeep(c, s->lanes[i]) < 0)
			return -1;
		apply(s, s->lanes[i], r, &c->reply);
	}
	apply_to_all(s, r, &c->reply);
	if (r->command == REQUEST_ACCEPT_DELETIONS && c->reply.count == 0)
		return error_set(&c->err, ERR_CONFIG, "no deletion waits for an answer");
	return 0;
}

/* With the lock. */
static void let_go(struct call *c)
{
	if (--c->refs > 0)
		return;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	json_decref(c->request.captions);
	free(c->dataset);
	free(c->encoder);
	free(c->folder);
	free(c->ids);
	free(c->reply.upkeep);
	free(c);
}

static void on_loop(struct task *task)
{
	struct call *c = (struct call *)task;
	struct service_commands *commands = c->commands;
	int result = run_request(c);

	service_publish(commands->service);
	pthread_mutex_lock(&commands->lock);
	c->result = result;
	c->done = true;
	pthread_cond_broadcast(&commands->changed);
	let_go(c);
	pthread_mutex_unlock(&commands->lock);
}

/* -- on the caller's ---------------------------------------------------------------------------------- */

static struct call *call_new(struct service_commands *commands,
			     const struct service_request *request, bool kept)
{
	struct call *c = xcalloc(1, sizeof(*c));

	c->base.done = on_loop;
	c->commands = commands;
	c->request = *request;
	c->dataset = request->dataset ? xstrdup(request->dataset) : NULL;
	c->encoder = request->encoder ? xstrdup(request->encoder) : NULL;
	c->request.dataset = c->dataset;
	c->request.encoder = c->encoder;
	c->request.key = c->request.reason = NULL; /* the loop does not ask for them */
	c->request.array = c->request.path = NULL;
	json_incref(c->request.captions);
	c->kept = kept;
	c->refs = 2;
	c->next = commands->first;
	c->link = &commands->first;
	if (c->next)
		c->next->link = &c->next;
	commands->first = c;
	return c;
}

/* Waits until the loop has done it; the caller lets go of *out. */
static int ask_loop(struct service_commands *commands, const struct service_request *request,
		    bool kept, struct call **out, struct error *err)
{
	struct timespec until;
	struct call *c;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SERVICE_REQUEST_MS / 1000;
	pthread_mutex_lock(&commands->lock);
	if (commands->closed) {
		pthread_mutex_unlock(&commands->lock);
		return error_set(err, ERR_TRANSIENT, "the daemon is stopping");
	}
	c = call_new(commands, request, kept);
	inbox_post(commands->service->inbox, &c->base);
	while (!c->done && !commands->closed && r == 0)
		r = pthread_cond_timedwait(&commands->changed, &commands->lock, &until);
	if (!c->done) {
		error_set(err, ERR_TRANSIENT, "%s",
			  commands->closed ? "the daemon is stopping"
					   : "the daemon did not answer in time");
		let_go(c);
		r = -1;
	} else {
		*err = c->err;
		r = c->result;
		*out = c;
	}
	pthread_mutex_unlock(&commands->lock);
	return r;
}

static void end_call(struct service_commands *commands, struct call *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&commands->lock);
	let_go(c);
	pthread_mutex_unlock(&commands->lock);
}

/* A change of jobs, on the database thread. */
struct change {
	const struct service_request *request;
	int64_t dataset;
	size_t n;
	bool known; /* of a key */
	struct error err;
};

static int on_job(void *arg, const struct job_row *row)
{
	(void)row;
	((struct change *)arg)->known = true;
	return 1;
}

static void run_change(struct queue *queue, void *arg)
{
	struct change *change = arg;
	const struct service_request *r = change->request;
	const struct job_filter which = {.dataset = change->dataset,
					 .state = r->state < 0 ? JOB_QUARANTINED
							       : (enum job_state)r->state,
					 .reason = r->reason,
					 .key = r->key};
	int64_t now = clock_wall_ms();

	if (r->key && queue_jobs(queue, &which, on_job, change, &change->err) < 0)
		return;
	if (r->command == REQUEST_RETRY)
		queue_retry(queue, &which, now, &change->n, &change->err);
	else
		queue_cancel(queue, &which, now, &change->n, &change->err);
}

static int change_jobs(struct service_commands *commands, const struct service_request *request,
		       const struct call *c, struct service_reply *reply, struct error *err)
{
	bool known = !request->key;

	for (size_t i = 0; i < c->n_ids; i++) {
		struct change change = {.request = request, .dataset = c->ids[i]};

		db_call(commands->service->db, run_change, &change);
		if (change.err.code != ERR_NONE) {
			*err = change.err;
			return -1;
		}
		known = known || change.known;
		reply->count += change.n;
	}
	return known ? 0 : SERVICE_NO_KEY;
}

/* What is given is kept on the background thread, which rewrites shards with it, too. */
struct keeping {
	struct service *service;
	const struct service_request *request;
	const struct call *call;
	struct service_reply *reply;
	struct error *err;
	int result;
};

static void run_keeping(void *arg)
{
	struct keeping *k = arg;
	const struct service_request *r = k->request;
	const struct recaption_options options = {
	    .rewrite = {.queue = k->service->background_queue, .dataset = k->call->ids[0]},
	    .folder = k->call->folder};
	const struct given_arrays arrays = {options.rewrite.queue, options.rewrite.dataset,
					    options.folder};
	cleanup_foreign_keys struct foreign_keys foreign = FOREIGN_KEYS_INIT;
	cleanup_free char *line = NULL;
	size_t n = 0;

	if (r->command == REQUEST_ATTACH) {
		k->result =
		    given_arrays_add(&arrays, r->array, r->path, r->dry_run, &n, &foreign, k->err);
	} else if (r->command == REQUEST_RESET_CAPTIONS) {
		k->result = given_captions_reset(&options, &n, k->err);
	} else {
		k->result = given_captions_set(&options, r->captions, r->dry_run, &foreign, k->err);
		n = json_object_size(r->captions);
	}
	line = foreign_keys_line(&foreign, r->dataset);
	k->reply->count = n;
	if (line)
		snprintf(k->reply->message, sizeof(k->reply->message), "%s", line);
}

static int keep_given(struct service_commands *commands, const struct service_request *request,
		      const struct call *c, struct service_reply *reply, struct error *err)
{
	struct keeping k = {.service = commands->service,
			    .request = request,
			    .call = c,
			    .reply = reply,
			    .err = err};

	if (c->n_ids != 1)
		return error_set(err, ERR_TRANSIENT, "%s is only being opened", request->dataset);
	if (!executor_try_call(commands->service->background, run_keeping, &k, SERVICE_REQUEST_MS))
		return error_set(err, ERR_TRANSIENT,
				 "%s: the daemon is busy with shards: this was not done, repeat it "
				 "later",
				 request->dataset);
	return k.result;
}

int service_commands_request(void *arg, const struct service_request *request,
			     struct service_reply *reply, struct error *err)
{
	struct service_commands *commands = arg;
	struct service_reply made = {.count = 0};
	struct call *c = NULL, *again = NULL;
	int r = ask_loop(commands, request, false, &c, err);
	bool twice = false; /* the lanes are told what was changed */

	if (c) {
		made = c->reply;
		c->reply.upkeep = NULL;
	}
	if (r == 0 && (request->command == REQUEST_RETRY || request->command == REQUEST_CANCEL)) {
		r = change_jobs(commands, request, c, &made, err);
		twice = true;
	} else if (r == 0 && is_given(request)) {
		r = keep_given(commands, request, c, &made, err);
		twice = !request->dry_run;
	}
	if (r == 0 && twice && ask_loop(commands, request, true, &again, err) < 0)
		r = -1;
	if (r == 0)
		*reply = made;
	end_call(commands, c);
	end_call(commands, again);
	return r;
}

/* -- the whole -------------------------------------------------------------------------------------- */

struct service_commands *service_commands_new(struct service *s)
{
	struct service_commands *c = xcalloc(1, sizeof(*c));
	pthread_condattr_t attr;

	c->service = s;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

void service_commands_close(struct service_commands *c)
{
	pthread_mutex_lock(&c->lock);
	c->closed = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

void service_commands_free(struct service_commands *c)
{
	if (!c)
		return;
	while (c->first) /* the loop did not come to them */
		let_go(c->first);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
