#include "daemon/notices.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include "daemon/json_text.h"
#include "daemon/status_json.h"
#include "daemon/text_lines.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

/* What was told about a dataset or a disk. */
struct subject {
	char *name;
	bool seen;			 /* in this picture */
	int64_t told_at[WEBHOOK_EVENTS]; /* monotonic ms */
	bool told[WEBHOOK_EVENTS];	 /* ever */
	uint64_t done_told, failed_told; /* images */
	uint64_t progress;
	int64_t progress_at;
	bool stalled, low; /* that was told, and has not ended */
};

struct subjects {
	struct subject *items;
	size_t n, capacity;
};

struct notices {
	struct subjects datasets, disks;
	uint64_t told;
};

/* A look. */
struct look {
	struct notices *notices;
	const struct webhook_options *options;
	const struct service_status *status;
	int64_t now;
	notice_fn fn;
	void *arg;
};

struct notices *notices_new(void)
{
	return xcalloc(1, sizeof(struct notices));
}

static void forget(struct subjects *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i].name);
	free(s->items);
}

void notices_free(struct notices *n)
{
	if (!n)
		return;
	forget(&n->datasets);
	forget(&n->disks);
	free(n);
}

/* -- who it is about ----------------------------------------------------------------------------------- */

static struct subject *subject_of(struct subjects *s, const char *name, int64_t now)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->items[i].name, name) == 0) {
			s->items[i].seen = true;
			return &s->items[i];
		}
	}
	ARRAY_GROW(s->items, s->n, s->capacity);
	s->items[s->n] = (struct subject){.name = xstrdup(name), .seen = true, .progress_at = now};
	return &s->items[s->n++];
}

/* Those that are not there any more. */
static void forget_unseen(struct subjects *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->items[i].seen) {
			s->items[i].seen = false;
			continue;
		}
		free(s->items[i].name);
		s->items[i--] = s->items[--s->n];
	}
}

/* -- messages ------------------------------------------------------------------------------------------ */

static bool may_tell(const struct look *l, const struct subject *s, enum webhook_event event)
{
	return webhook_wants(l->options, event) &&
	       (!s->told[event] || l->now - s->told_at[event] >= (int64_t)l->options->interval);
}

/* @about is taken; @message: for people. */
static void tell(const struct look *l, struct subject *s, enum webhook_event event,
		 const char *kind, json_t *about, const char *message)
{
	cleanup_free char *id = xasprintf("%lld-%llu", (long long)l->status->started_at,
					  (unsigned long long)++l->notices->told);
	char host[256] = "";
	json_t *root = json_object();

	gethostname(host, sizeof(host) - 1);
	json_object_set_new(root, "event", json_string(webhook_event_name(event)));
	json_object_set_new(root, "id", json_string(id));
	json_object_set_new(root, "at", json_integer(l->status->taken_at));
	json_object_set_new(root, "host", json_clean(host));
	json_object_set_new(root, "message", json_clean(message));
	json_object_set_new(root, kind, about);
	l->fn(l->arg, json_dumps(root, JSON_COMPACT));
	json_decref(root);
	s->told[event] = true;
	s->told_at[event] = l->now;
}

static void tell_dataset(const struct look *l, struct subject *s, enum webhook_event event,
			 const struct service_dataset *d, const char *message)
{
	tell(l, s, event, "dataset", status_json_dataset(d, true), message);
}

/* -- datasets ------------------------------------------------------------------------------------------ */

static uint64_t left_of(const struct service_dataset *d)
{
	return d->counts.jobs[JOB_AVAILABLE] + d->counts.jobs[JOB_RETRYABLE] +
	       d->counts.jobs[JOB_RUNNING];
}

static void look_drained(const struct look *l, struct subject *s, const struct service_dataset *d)
{
	uint64_t done = d->encoded + d->failed + d->skipped;
	bool rests = d->state == DATASET_IDLE || d->state == DATASET_PAUSED;
	char encoded[28], failed[28];
	cleanup_free char *message = NULL;

	if (!rests || d->counting || left_of(d) > 0 || done == s->done_told ||
	    !may_tell(l, s, WEBHOOK_DRAINED))
		return;
	message =
	    xasprintf("%s: nothing is left to do; since the daemon began %s encoded, %s failed",
		      d->name, text_count(d->encoded, encoded), text_count(d->failed, failed));
	tell_dataset(l, s, WEBHOOK_DRAINED, d, message);
	s->done_told = done;
}

static void look_failed(const struct look *l, struct subject *s, const struct service_dataset *d)
{
	cleanup_free char *word = text_shell_word(d->name), *message = NULL;
	uint64_t n = d->failed > s->failed_told ? d->failed - s->failed_told : 0;
	char count[28];

	if (n == 0 || !may_tell(l, s, WEBHOOK_FAILED))
		return;
	message = xasprintf("%s: %s image%s failed: `latentctl failed --name %s` lists them",
			    d->name, text_count(n, count), n == 1 ? "" : "s", word);
	tell_dataset(l, s, WEBHOOK_FAILED, d, message);
	s->failed_told = d->failed;
}

static bool should_get_on(const struct look *l, const struct service_dataset *d)
{
	if (l->status->state == SERVICE_STOPPING || d->state == DATASET_PAUSED)
		return false;
	return d->state == DATASET_BLOCKED || left_of(d) > 0;
}

/* What a first look at the folders finds is progress; that they are looked through again is none. */
static uint64_t progress_of(const struct service_dataset *d)
{
	return d->encoded + d->failed + d->skipped +
	       (d->state == DATASET_SCANNING ? d->scan.running_files : 0);
}

static void look_stalled(const struct look *l, struct subject *s, const struct service_dataset *d)
{
	uint64_t progress = progress_of(d), left = left_of(d);
	const char *why = d->why ? d->why : l->status->limit;
	char count[28], time[32];
	cleanup_free char *message = NULL;

	if (progress != s->progress || !should_get_on(l, d)) {
		s->progress = progress;
		s->progress_at = l->now;
		s->stalled = false;
	}
	if (s->stalled || l->now - s->progress_at < (int64_t)l->options->stalled_after ||
	    !may_tell(l, s, WEBHOOK_STALLED))
		return;
	message = xasprintf("%s: nothing got done for %s, %s image%s to do%s%s", d->name,
			    text_duration((uint64_t)(l->now - s->progress_at) / 1000, time),
			    text_count(left, count), left == 1 ? "" : "s", why ? ": " : "",
			    why ? why : "");
	tell_dataset(l, s, WEBHOOK_STALLED, d, message);
	s->stalled = true;
}

/* -- disks --------------------------------------------------------------------------------------------- */

static void look_disk(const struct look *l, const struct service_disk_view *disk)
{
	struct subject *s = subject_of(&l->notices->disks, disk->path, l->now);
	size_t low = l->options->disk_low;
	char room[24];
	cleanup_free char *message = NULL;

	if (disk->usable >= low && disk->usable - low >= low / 4)
		s->low = false;
	if (s->low || disk->usable >= low || !may_tell(l, s, WEBHOOK_DISK_LOW))
		return;
	message = disk->usable > 0
		      ? xasprintf("the disk of %s has %s left until nothing new is begun there",
				  disk->path, text_bytes(disk->usable, room))
		      : xasprintf("the disk of %s is full: nothing new is begun there", disk->path);
	tell(l, s, WEBHOOK_DISK_LOW, "disk", status_json_disk(disk), message);
	s->low = true;
}

void notices_look(struct notices *n, const struct webhook_options *options,
		  const struct service_status *s, int64_t now, notice_fn fn, void *arg)
{
	const struct look l = {n, options, s, now, fn, arg};

	for (size_t i = 0; i < s->n_datasets; i++) {
		const struct service_dataset *d = &s->datasets[i];
		struct subject *subject = subject_of(&n->datasets, d->name, now);

		look_failed(&l, subject, d);
		look_stalled(&l, subject, d);
		look_drained(&l, subject, d);
	}
	for (size_t i = 0; i < s->n_disks; i++)
		look_disk(&l, &s->disks[i]);
	forget_unseen(&n->datasets);
	forget_unseen(&n->disks);
}
