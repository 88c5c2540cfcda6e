#include "tests/component/api_rig.h"

#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue_open.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void need(int r, const struct error *err)
{
	if (r == 0)
		return;
	fprintf(stderr, "api_rig: %s\n", err->message);
	exit(1);
}

static void enqueue_pictures(struct queue *q, int64_t dataset)
{
	static const char *const paths[] = {"a.jpg",	  "b.jpg",	  "c.jpg",
					    "deep/d.jpg", "odd \xff.jpg", "f<script>.jpg"};
	struct enqueue_counts counts = {.added = 0};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cleanup_free char *key = xasprintf("key-%zu", i), *other = xasprintf("k-%zu", i);
		struct job_spec spec = {.path = paths[i],
					.key = key,
					.key_distinct = other,
					.size = 100 + i,
					.mtime_ns = 1,
					.inode = i + 1,
					.rank = i};

		need(queue_enqueue(q, dataset, &spec, 1, &counts, &err), &err);
	}
}

/* Of the six the first four fail, for two reasons; one is skipped; one is left. */
static void work_pictures(struct queue *q, int64_t dataset)
{
	struct job jobs[5];
	struct job_outcome outcomes[5] = {{.job = 0}};
	struct queue_claim claim = {
	    .dataset = dataset, .owner = "rig", .now = 1000, .lease_until = 9000, .limit = 5};
	struct error err = ERROR_INIT;
	size_t n = 0;

	need(queue_claim(q, &claim, jobs, &n, &err), &err);
	for (size_t i = 0; i < n; i++) {
		outcomes[i] = (struct job_outcome){
		    .job = jobs[i].id,
		    .fence = jobs[i].fence,
		    .kind = i == 4 ? OUTCOME_SKIP : OUTCOME_QUARANTINE,
		    .reason = i == 4   ? "too_small"
			      : i == 3 ? "unsupported"
				       : "truncated",
		    .message = i == 0 ? "ends \xff early" : "ends at byte 12 of 100"};
		job_release(&jobs[i]);
	}
	need(queue_settle(q, outcomes, n, 2000, NULL, &err), &err);
}

static void make_database(struct api_rig *rig)
{
	struct queue_dataset_spec spec = {"photos", "/data/latents/photos",
					  "0123456789abcdef0123456789abcdef", "{}"};
	struct error err = ERROR_INIT;
	struct queue *q = NULL;

	need(queue_sqlite_open(rig->database, &q, &err), &err);
	need(queue_open_dataset(q, &spec, &rig->photos, &err), &err);
	enqueue_pictures(q, rig->photos);
	work_pictures(q, rig->photos);
	queue_close(q);
}

static void fill_photos(const struct api_rig *rig, struct service_dataset *d)
{
	d->name = xstrdup("photos");
	d->output = xstrdup("/data/latents/photos");
	d->state_folder = xstrdup(rig->state);
	d->queue_id = rig->photos;
	d->recipe_id = xstrdup("0123456789abcdef0123456789abcdef");
	d->vae = xstrdup("/models/sd-vae-ft-mse");
	d->state = DATASET_RUNNING;
	d->priority = 5;
	d->counts.jobs[JOB_AVAILABLE] = 34000;
	d->counts.jobs[JOB_RUNNING] = 64;
	d->counts.jobs[JOB_ENCODED] = 503;
	d->counts.jobs[JOB_COMPLETED] = 1200000;
	d->counts.jobs[JOB_QUARANTINED] = 4;
	d->counts.jobs[JOB_SKIPPED] = 1;
	d->counts.shards = 1200;
	d->counts.samples = 1200000;
	d->counts.shard_bytes = 123456789012;
	d->images_per_second = 12.345;
	d->eta = (struct eta_range){2400, 2760, 3300};
	d->encoded = 5000;
	d->failed = 4;
	d->skipped = 1;
	d->scan = (struct service_scan){clock_wall_ms() - 180000, 12000, 1234572, false, 0};
	d->watch = (struct service_watch){WATCH_INOTIFY, 1234, NULL};
	d->last_shard = xstrdup("train/512x512/000123.tar");
	d->last_shard_at = clock_wall_ms() - 120000;
}

static void fill_scans(struct service_dataset *d)
{
	d->name = xstrdup("old scans");
	d->output = xstrdup("/data/latents/old\xff scans");
	d->recipe_id = xstrdup("fedcba9876543210fedcba9876543210");
	d->vae = xstrdup("/models/gone");
	d->state = DATASET_BLOCKED;
	d->why = xstrdup("/models/gone is not there");
	d->scan = (struct service_scan){0, 0, 0, true, 120};
	d->watch = (struct service_watch){
	    WATCH_POLLING, 0,
	    xstrdup("more folders than fs.inotify.max_user_watches (65536) allows")};
	d->deletions = 17;
}

/* Its decode workers cannot keep up. */
static void fill_stages(struct service_status *s)
{
	static const struct stage_view views[STAGES] = {{12.4, 0.1, 1, 3},    {12.4, 0.6, 8, 0},
							{12.345, 6.7, 8, 24}, {12.345, 0.6, 8, 0},
							{12.3, 0.38, 1, 8},   {12.3, 0.04, 1, 503}};

	for (int i = 0; i < STAGES; i++) {
		struct stage_sums *sums = &s->stage_sums[i];

		s->stages[i] = views[i];
		*sums = (struct stage_sums){.images = 5000, .busy_ns = 60000000000};
		sums->buckets[4] = 4900;
		sums->buckets[STAGE_BUCKETS - 1] = 100;
		sums->took_ns = 61500000000;
	}
	s->limit_stage = STAGE_DECODE;
	s->limit = xstrdup("cpu idle 62 %: decode-bound, 8 of 8 decode workers busy, 85 % of that "
			   "with decoding");
}

struct service_status *api_rig_status(const struct api_rig *rig)
{
	struct service_status *s = service_status_new(2, 1);

	s->taken_at = clock_wall_ms();
	s->version = xstrdup(LATENTD_VERSION);
	s->pid = getpid();
	s->started_at = s->taken_at - 3 * 86400000 - 4 * 3600000;
	s->state = SERVICE_RUNNING;
	s->state_dir = xstrdup("/var/lib/latentd");
	s->config = xstrdup("/etc/latentd.yaml");
	s->socket = xstrdup(rig->socket);
	s->memory_used = 1288490188;
	s->memory_limit = 2147483648;
	s->decode_busy = 7;
	s->decode_workers = 8;
	fill_stages(s);
	s->disks = xcalloc(1, sizeof(*s->disks));
	s->n_disks = 1;
	s->disks[0] = (struct service_disk_view){.path = xstrdup("/data/latents"),
						 .free = UINT64_C(3) << 30,
						 .total = UINT64_C(1) << 40,
						 .usable = UINT64_C(5) << 29,
						 .needed = UINT64_C(7) << 29,
						 .full_in_s = 2100};
	fill_photos(rig, &s->datasets[0]);
	fill_scans(&s->datasets[1]);
	s->encoders[0] = (struct service_encoder){.name = xstrdup("cpu"),
						  .type = xstrdup("cpu"),
						  .engine = xstrdup("cpu/onednn-2.6.3 float32"),
						  .state = ENCODER_BUSY,
						  .ready = true,
						  .busy = 0.38,
						  .in_flight = 1,
						  .images = 8,
						  .batch = 7.5,
						  .images_done = 5000,
						  .images_failed = 2,
						  .images_per_second = 12.345,
						  .memory_used = UINT64_C(3) << 28,
						  .memory_limit = UINT64_C(3) << 30};
	s->node = (struct service_node){
	    .name = xstrdup("gpu1"), .encoded = 5000, .images_per_second = 12.345};
	return s;
}

static const char *text_or_none(const char *s)
{
	return s ? s : "-";
}

/* Of a rig that prints: what is answered stands in the request. */
static void obey_reason(struct api_rig *rig, const char *reason)
{
	static const struct {
		const char *reason;
		int outcome;
		enum error_code error;
	} known[] = {{"refuse", -1, ERR_CONFIG},
		     {"busy", -1, ERR_TRANSIENT},
		     {"broken", -1, ERR_IO},
		     {"nobody", SERVICE_NO_KEY, ERR_NONE}};

	if (!rig->print)
		return;
	rig->outcome = 0;
	for (size_t i = 0; reason && i < ARRAY_SIZE(known); i++) {
		if (strcmp(reason, known[i].reason) != 0)
			continue;
		rig->outcome = known[i].outcome;
		rig->error = known[i].error;
	}
}

/* As the service does it, but for doing anything. */
static int on_request(void *arg, const struct service_request *request, struct service_reply *reply,
		      struct error *err)
{
	struct api_rig *rig = arg;
	int r;

	pthread_mutex_lock(&rig->lock);
	free(rig->dataset);
	free(rig->reason);
	free(rig->key);
	rig->dataset = request->dataset ? xstrdup(request->dataset) : NULL;
	rig->reason = request->reason ? xstrdup(request->reason) : NULL;
	rig->key = request->key ? xstrdup(request->key) : NULL;
	rig->request = *request;
	rig->asked++;
	if (rig->print) {
		if (request->encoder)
			printf("%s encoder=%s\n", service_command_name(request->command),
			       request->encoder);
		else
			printf("%s dataset=%s state=%d reason=%s key=%s priority=%d\n",
			       service_command_name(request->command),
			       text_or_none(request->dataset), request->state,
			       text_or_none(request->reason), text_or_none(request->key),
			       request->priority);
		fflush(stdout);
	}
	pthread_cond_broadcast(&rig->changed);
	while (rig->hold)
		pthread_cond_wait(&rig->changed, &rig->lock);
	obey_reason(rig, request->reason);
	r = rig->outcome;
	if (request->encoder && strcmp(request->encoder, "cpu") != 0)
		r = SERVICE_NO_ENCODER;
	if (r < 0)
		error_set(err, rig->error, "the rig says no");
	else
		*reply = rig->reply;
	if (r == 0 && (request->command == REQUEST_GC || request->command == REQUEST_COMPACT))
		reply->id = 7;
	if (r == 0 && request->command == REQUEST_UPKEEP)
		reply->upkeep = xstrdup("[{\"id\": 7, \"state\": \"waiting\"}]");
	pthread_mutex_unlock(&rig->lock);
	return r;
}

void api_rig_open(struct api_rig *rig, const char *dir)
{
	*rig = (struct api_rig){.reply = {.count = 0}};
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->changed, NULL);
	rig->socket = xasprintf("%s/api.sock", dir);
	rig->state = xstrdup(dir);
	rig->database = xasprintf("%s/queue.db", dir);
	rig->board = status_board_new();
	rig->pictures = api_pictures_new();
	rig->history = history_new();
	rig->log = event_log_new(3);
	event_log_add(rig->log, LOG_LEVEL_INFO, NULL, "it fell out");
	event_log_add(rig->log, LOG_LEVEL_INFO, NULL, "version 0");
	event_log_add(rig->log, LOG_LEVEL_WARNING, "photos", "nearly full");
	event_log_add(rig->log, LOG_LEVEL_INFO, "scans", "goes on\033[2J");
	/* half a minute at four images a second */
	for (int64_t i = 0; i <= 30; i++)
		history_note(rig->history, clock_wall_ms() + (i - 30) * 1000, i * 1000,
			     (uint64_t)i * 4, 34064);
	make_database(rig);
}

void api_rig_serve(struct api_rig *rig)
{
	const struct api_config config = {
	    .socket = rig->socket, .mode = 0600, .listen = rig->listen};
	const struct api_context context = {rig->board,	  on_request, rig,
					    rig->history, rig->log,   rig->pictures};
	struct error err = ERROR_INIT;

	need(api_server_open(&config, &context, &rig->server, &err), &err);
}

void api_rig_wait_asked(struct api_rig *rig, size_t n)
{
	pthread_mutex_lock(&rig->lock);
	while (rig->asked < n)
		pthread_cond_wait(&rig->changed, &rig->lock);
	pthread_mutex_unlock(&rig->lock);
}

void api_rig_release(struct api_rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	rig->hold = false;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

void api_rig_close(struct api_rig *rig)
{
	api_server_close(rig->server);
	status_board_free(rig->board);
	history_free(rig->history);
	event_log_free(rig->log);
	api_pictures_free(rig->pictures);
	free(rig->socket);
	free(rig->state);
	free(rig->database);
	free(rig->dataset);
	free(rig->reason);
	free(rig->key);
	pthread_cond_destroy(&rig->changed);
	pthread_mutex_destroy(&rig->lock);
}
