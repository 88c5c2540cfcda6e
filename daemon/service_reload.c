#include "daemon/config_check.h"
#include "daemon/service_parts.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static const struct dataset_config *find(const struct daemon_config *c, const char *name)
{
	for (size_t i = 0; i < c->n_datasets; i++) {
		if (strcmp(c->datasets[i].name, name) == 0)
			return &c->datasets[i];
	}
	return NULL;
}

/* A dataset that is no longer configured ends in order; what it had stays as it is. */
static void remove_lanes(struct service *s, const struct daemon_config *wanted)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		struct lane *l = s->lanes[i];

		if (find(wanted, lane_name(l)))
			continue;
		service_log(s, LOG_PLAIN_INFO, lane_name(l), "no longer configured");
		lane_stop(l);
		ARRAY_GROW(s->leaving, s->n_leaving, s->leaving_capacity);
		s->leaving[s->n_leaving++] = l;
		memmove(&s->lanes[i], &s->lanes[i + 1], (--s->n_lanes - i) * sizeof(*s->lanes));
		i--;
	}
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), tail = strlen(end);

	return n >= tail && strcmp(text + n - tail, end) == 0;
}

/* A lane takes it as it goes. */
static bool is_light(const char *setting)
{
	static const char *const light[] = {".priority", ".paused", ".hours", ".output.quota",
					    ".max_requests_per_day"};

	for (size_t i = 0; i < ARRAY_SIZE(light); i++) {
		if (ends_with(setting, light[i]))
			return true;
	}
	return false;
}

/* Something of it is another that is read when it opens. */
static bool must_reopen(const struct config_changes *changes, const char *dataset)
{
	for (size_t i = 0; i < changes->n; i++) {
		const struct config_change *c = &changes->items[i];

		if (c->dataset && strcmp(c->dataset, dataset) == 0 && c->reloadable &&
		    !is_light(c->setting))
			return true;
	}
	return false;
}

static bool encoders_differ(const struct config_changes *changes)
{
	static const char list[] = "encoders.";

	for (size_t i = 0; i < changes->n; i++) {
		if (strncmp(changes->items[i].setting, list, strlen(list)) == 0)
			return true;
	}
	return false;
}

static void apply(struct service *s, struct daemon_config *wanted,
		  const struct config_changes *changes)
{
	bool encoders = encoders_differ(changes);

	remove_lanes(s, wanted);
	for (size_t i = 0; i < wanted->n_datasets; i++) {
		struct lane *l = service_lane(s, wanted->datasets[i].name);

		/* One that could not open may lack no more than what other encoders give it. */
		if (l)
			lane_reconfigure(l, &wanted->datasets[i],
					 must_reopen(changes, wanted->datasets[i].name) ||
					     (encoders && lane_is_closed(l)));
		else
			service_add_lane(s, &wanted->datasets[i]);
	}
	engines_reconfigure(s->engines, wanted->encoders, wanted->n_encoders);
	decode_pool_resize(s->pool, service_decode_workers(wanted));
	s->memory.limit = wanted->memory_limit;
	s->shared.poll_ms = (int64_t)wanted->queue.poll;
	s->shared.upkeep_ms = (int64_t)wanted->queue.upkeep;
	daemon_log_set(s->log, wanted->log_level, wanted->log_format);
	ARRAY_GROW(s->old_configs, s->n_old, s->old_capacity);
	s->old_configs[s->n_old++] = s->config;
	s->config = wanted;
	service_reload_webhook(s);
}

/* "datasets.photos.recipe, state_dir": what must wait for a restart. To be freed; NULL: nothing. */
static char *waiting(const struct config_changes *changes)
{
	struct buffer text = BUFFER_INIT;

	for (size_t i = 0; i < changes->n; i++) {
		if (!changes->items[i].reloadable)
			buffer_appendf(&text, "%s%s", text.size > 0 ? ", " : "",
				       changes->items[i].setting);
	}
	return (char *)text.data;
}

static void report(struct service *s, const struct config_changes *changes,
		   struct service_reply *reply)
{
	cleanup_free char *waits = waiting(changes);

	reply->count = changes->n;
	if (waits)
		snprintf(reply->message, sizeof(reply->message), "needs a restart: %s", waits);
	service_log(s, LOG_EVENT_RELOADED, NULL, "%s read again: %zu change%s%s%s", s->config->file,
		    changes->n, changes->n == 1 ? "" : "s", waits ? "; needs a restart: " : "",
		    waits ? waits : "");
}

static int read_again(struct service *s, struct service_reply *reply, struct error *err)
{
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct daemon_config *wanted = NULL;
	int r = config_check(s->config->file, &wanted, err);

	if (r == 0)
		r = daemon_config_merge(wanted, s->config, &changes, err);
	if (r == 0) {
		apply(s, wanted, &changes);
		report(s, &changes, reply);
	} else {
		daemon_config_free(wanted);
	}
	config_changes_release(&changes);
	return r;
}

int service_reload(struct service *s, struct service_reply *reply, struct error *err)
{
	int r;

	/* Not rounded: systemd ignores a time before that of its own request. */
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_ns() / 1000);
	r = read_again(s, reply, err);
	s->reloaded_at = clock_wall_ms();
	free(s->reload_error);
	s->reload_error = r < 0 ? xstrdup(err->message) : NULL;
	if (r < 0)
		service_log(s, LOG_EVENT_RELOAD_FAILED, NULL, "%s; the old settings stay in force",
			    err->message);
	sd_notify(0, "READY=1");
	return r;
}
