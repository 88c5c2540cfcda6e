#include "daemon/history.h"

#include "base/checked.h"

#include <pthread.h>
#include <string.h>

static const struct {
	int64_t step_ms;
	uint32_t places;
} kinds[HISTORY_SERIES] = {[HISTORY_HOUR] = {10000, 360}, [HISTORY_DAY] = {300000, 288}};

struct history {
	pthread_mutex_t lock; /* of rows: the loop writes, the API reads */
	struct history_row rows[HISTORY_SERIES][HISTORY_PLACES]; /* at 0: none */
	bool unsaved[HISTORY_SERIES][HISTORY_PLACES];
	/* How often the clock was set back, and how often it had been when a row was begun. */
	uint32_t pass[HISTORY_SERIES], passes[HISTORY_SERIES][HISTORY_PLACES];
	int64_t wall; /* of the last note */
	bool noted;   /* the next two count */
	int64_t noted_at;
	uint64_t images;
	int64_t saved_at; /* monotonic */
};

struct history *history_new(void)
{
	struct history *h = xcalloc(1, sizeof(*h));

	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void history_free(struct history *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int64_t history_step_ms(enum history_series series)
{
	return kinds[series].step_ms;
}

size_t history_places(enum history_series series)
{
	return kinds[series].places;
}

/* -- what happens ------------------------------------------------------------------------------------ */

static void note(struct history *h, uint32_t series, const struct history_row *now)
{
	int64_t step = kinds[series].step_ms, number = now->at / step;
	uint32_t place = (uint32_t)(number % kinds[series].places);
	struct history_row *row = &h->rows[series][place];

	if (now->at < h->wall - step)
		h->pass[series]++;
	/* A clock that was set back passes the same time again: what was the first time is no part of it. */
	if (row->at != number * step || h->passes[series][place] != h->pass[series])
		*row = (struct history_row){.series = series, .place = place, .at = number * step};
	h->passes[series][place] = h->pass[series];
	/* A process that stood still had less than it thinks. */
	row->ms = row->ms + now->ms < step ? row->ms + now->ms : step;
	row->images += now->images;
	row->todo = now->todo;
	h->unsaved[series][place] = true;
}

void history_note(struct history *h, int64_t wall, int64_t mono, uint64_t images, uint64_t todo)
{
	struct history_row now = {.at = wall, .ms = mono - h->noted_at, .todo = todo};
	bool counts = h->noted && wall > 0;

	if (images > h->images)
		now.images = images - h->images;
	h->noted = true;
	h->noted_at = mono;
	h->images = images;
	if (!counts)
		return;
	pthread_mutex_lock(&h->lock);
	for (uint32_t series = 0; series < HISTORY_SERIES; series++)
		note(h, series, &now);
	h->wall = wall;
	pthread_mutex_unlock(&h->lock);
}

/* -- what is kept ------------------------------------------------------------------------------------ */

/* Of another program version, or of a damaged database, is what has no place here. */
static bool is_ours(const struct history_row *row)
{
	return row->series < HISTORY_SERIES && row->place < kinds[row->series].places &&
	       row->at > 0 && row->at % kinds[row->series].step_ms == 0 &&
	       row->at / kinds[row->series].step_ms % kinds[row->series].places == row->place &&
	       row->ms >= 0 && row->ms <= kinds[row->series].step_ms;
}

static int on_row(void *arg, const struct history_row *row)
{
	struct history *h = arg;

	if (is_ours(row))
		h->rows[row->series][row->place] = *row;
	return 0;
}

int history_restore(struct history *h, struct queue *queue, struct error *err)
{
	return queue_history(queue, on_row, h, err);
}

struct saving {
	struct history_row rows[HISTORY_ROWS];
	size_t n;
};

static void take_unsaved(struct history *h, struct saving *saving)
{
	for (uint32_t series = 0; series < HISTORY_SERIES; series++) {
		for (uint32_t i = 0; i < kinds[series].places; i++) {
			if (h->unsaved[series][i])
				saving->rows[saving->n++] = h->rows[series][i];
			h->unsaved[series][i] = false;
		}
	}
}

static void save_run(struct queue *queue, void *arg)
{
	struct saving *saving = arg;
	struct error ignored = ERROR_INIT;

	queue_keep_history(queue, saving->rows, saving->n, &ignored);
	free(saving);
}

void history_save(struct history *h, struct db *db, int64_t mono)
{
	struct saving *saving;

	if (mono - h->saved_at < HISTORY_SAVE_MS)
		return;
	h->saved_at = mono;
	saving = xcalloc(1, sizeof(*saving));
	take_unsaved(h, saving);
	db_post(db, save_run, saving);
}

void history_flush(struct history *h, struct queue *queue)
{
	struct saving *saving = xcalloc(1, sizeof(*saving));

	take_unsaved(h, saving);
	save_run(queue, saving);
}

/* -- what is shown ----------------------------------------------------------------------------------- */

void history_read(struct history *h, enum history_series series, int64_t wall,
		  struct history_row *rows, size_t *n)
{
	int64_t step = kinds[series].step_ms, now = wall / step;

	*n = 0;
	pthread_mutex_lock(&h->lock);
	for (int64_t number = now - kinds[series].places + 1; number <= now; number++) {
		const struct history_row *row =
		    &h->rows[series][number > 0 ? number % kinds[series].places : 0];

		if (number > 0 && row->at == number * step)
			rows[(*n)++] = *row;
	}
	pthread_mutex_unlock(&h->lock);
}
