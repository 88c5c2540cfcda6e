#include "daemon/service_status.h"

#include "base/checked.h"
#include "base/clock.h"

#include <pthread.h>
#include <string.h>

struct status_board {
	pthread_mutex_t lock;
	struct service_status *current;
	int64_t published_at; /* clock_mono_ms() */
};

#define NAME_OF(names, i) ((size_t)(i) < ARRAY_SIZE(names) ? (names)[i] : "unknown")

const char *service_state_name(enum service_state state)
{
	static const char *const names[] = {"starting", "running", "draining", "stopping"};

	return NAME_OF(names, state);
}

const char *dataset_state_name(enum dataset_state state)
{
	static const char *const names[] = {"starting", "scanning", "running",
					    "idle",	"paused",   "blocked"};

	return NAME_OF(names, state);
}

const char *watch_mode_name(enum watch_mode mode)
{
	static const char *const names[] = {"off", "inotify", "polling"};

	return NAME_OF(names, mode);
}

const char *encoder_state_name(enum encoder_state state)
{
	static const char *const names[] = {"starting", "idle",	  "busy",
					    "paused",	"failed", "waiting"};

	return NAME_OF(names, state);
}

const char *serve_state_name(enum serve_state state)
{
	static const char *const names[] = {"starting", "ready", "failed", "stopping"};

	return NAME_OF(names, state);
}

struct service_status *service_status_new(size_t n_datasets, size_t n_encoders)
{
	struct service_status *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->datasets = xcalloc(n_datasets, sizeof(*s->datasets));
	s->n_datasets = n_datasets;
	s->encoders = xcalloc(n_encoders, sizeof(*s->encoders));
	s->n_encoders = n_encoders;
	s->limit_stage = STAGE_NONE;
	for (size_t i = 0; i < n_datasets; i++)
		s->datasets[i].eta = (struct eta_range){-1, -1, -1};
	for (size_t i = 0; i < n_encoders; i++)
		s->encoders[i].busy = -1;
	for (size_t i = 0; i < STAGES; i++)
		s->stages[i].busy = s->stages[i].images_per_second = -1;
	return s;
}

static void dataset_release(struct service_dataset *d)
{
	free(d->name);
	free(d->output);
	free(d->state_folder);
	free(d->recipe_id);
	free(d->vae);
	for (size_t i = 0; i < d->n_sources; i++) {
		free(d->sources[i].path);
		free(d->sources[i].cache);
	}
	free(d->sources);
	free(d->why);
	free(d->watch.note);
	free(d->last_shard);
}

static void encoder_release(struct service_encoder *e)
{
	free(e->name);
	free(e->type);
	free(e->engine);
	free(e->why);
	for (size_t i = 0; i < e->n_endpoints; i++) {
		free(e->endpoints[i].url);
		free(e->endpoints[i].model);
		free(e->endpoints[i].why);
	}
	free(e->endpoints);
}

void service_status_unref(const struct service_status *shared)
{
	/* Readers hold it const; the count is not part of what they see. */
	struct service_status *s = (struct service_status *)shared;

	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < s->n_datasets; i++)
		dataset_release(&s->datasets[i]);
	for (size_t i = 0; i < s->n_encoders; i++)
		encoder_release(&s->encoders[i]);
	for (size_t i = 0; i < s->n_disks; i++)
		free(s->disks[i].path);
	free(s->disks);
	free(s->datasets);
	free(s->encoders);
	free(s->serve.url);
	free(s->serve.model);
	free(s->serve.why);
	free(s->webhook.server);
	free(s->webhook.why);
	free(s->node.name);
	free(s->node.why);
	free(s->version);
	free(s->state_dir);
	free(s->config);
	free(s->socket);
	free(s->intake_paused);
	free(s->decode_warning);
	free(s->reload_error);
	free(s->limit);
	free(s);
}

const struct service_dataset *service_status_dataset(const struct service_status *s,
						     const char *name)
{
	for (size_t i = 0; i < s->n_datasets; i++) {
		if (strcmp(s->datasets[i].name, name) == 0)
			return &s->datasets[i];
	}
	return NULL;
}

struct status_board *status_board_new(void)
{
	struct status_board *board = xcalloc(1, sizeof(*board));

	pthread_mutex_init(&board->lock, NULL);
	return board;
}

void status_board_free(struct status_board *board)
{
	if (!board)
		return;
	service_status_unref(board->current);
	pthread_mutex_destroy(&board->lock);
	free(board);
}

void status_board_publish(struct status_board *board, struct service_status *status)
{
	struct service_status *old;

	pthread_mutex_lock(&board->lock);
	old = board->current;
	board->current = status;
	board->published_at = clock_mono_ms();
	pthread_mutex_unlock(&board->lock);
	service_status_unref(old);
}

const struct service_status *status_board_get(struct status_board *board)
{
	struct service_status *s;

	/* The lock holds back a publisher that would drop the board's own reference in between. */
	pthread_mutex_lock(&board->lock);
	s = board->current;
	if (s)
		__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&board->lock);
	return s;
}

int64_t status_board_age_ms(struct status_board *board)
{
	int64_t age;

	pthread_mutex_lock(&board->lock);
	age = board->current ? clock_mono_ms() - board->published_at : -1;
	pthread_mutex_unlock(&board->lock);
	return age;
}
