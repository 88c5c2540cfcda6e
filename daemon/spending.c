/*
 * The account may outlive its owner's interest in it: what is on its way to the database holds it, too.
 */
#include "daemon/spending.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdatomic.h>

/* Of what an earlier process spent. */
enum spending_state { SPENDING_NEW, SPENDING_ASKED, SPENDING_UNREAD, SPENDING_KNOWN };

struct spending {
	struct cost_guard guard;
	char *account;
	atomic_uint holders;
	atomic_int state;
	int64_t saved_at; /* monotonic */
};

struct spending *spending_open(const char *account, const struct cost_limits *limits)
{
	struct spending *s = xcalloc(1, sizeof(*s));

	cost_guard_init(&s->guard, limits, clock_mono_ms());
	s->account = xstrdup(account);
	atomic_init(&s->holders, 1);
	atomic_init(&s->state, SPENDING_NEW);
	return s;
}

static struct cost_limits limits_of(const struct remote_options *options)
{
	return (struct cost_limits){.requests_per_hour = options->max_requests_per_hour,
				    .bytes_per_day = options->max_bytes_per_day};
}

struct spending *spending_new(const char *account, const struct remote_options *options)
{
	const struct cost_limits limits = limits_of(options);

	return spending_open(account, &limits);
}

void spending_limit(struct spending *s, const struct remote_options *options)
{
	const struct cost_limits limits = limits_of(options);

	if (s)
		cost_guard_limit(&s->guard, &limits);
}

static void let_go(struct spending *s)
{
	if (atomic_fetch_sub(&s->holders, 1) > 1)
		return;
	cost_guard_release(&s->guard);
	free(s->account);
	free(s);
}

struct cost_guard *spending_guard(struct spending *s)
{
	return s ? &s->guard : NULL;
}

/* The end of its minute counts: nothing is forgotten too early. */
static int remember(void *arg, const struct spent_row *row)
{
	struct spending *s = arg;
	int64_t age = clock_wall_ms() - (row->minute + 1) * 60000;

	cost_guard_remember(&s->guard, clock_mono_ms(), age, row->requests, row->bytes);
	return 0;
}

int spending_load(struct spending *s, struct queue *queue, struct error *err)
{
	if (!s)
		return 0;
	if (queue_spent(queue, s->account, remember, s, err) < 0)
		return -1;
	atomic_store(&s->state, SPENDING_KNOWN);
	return 0;
}

static void recall_run(struct queue *queue, void *arg)
{
	struct spending *s = arg;
	struct error ignored = ERROR_INIT;

	if (spending_load(s, queue, &ignored) == 0)
		cost_guard_hold(&s->guard, false);
	else
		atomic_store(&s->state, SPENDING_UNREAD);
	let_go(s);
}

void spending_recall(struct spending *s, struct db *db)
{
	int state = s ? atomic_load(&s->state) : SPENDING_KNOWN;

	if (!db || state == SPENDING_KNOWN || state == SPENDING_ASKED)
		return;
	cost_guard_hold(&s->guard, true);
	atomic_store(&s->state, SPENDING_ASKED);
	atomic_fetch_add(&s->holders, 1);
	db_post(db, recall_run, s);
}

bool spending_is_known(const struct spending *s)
{
	int state = s ? atomic_load(&s->state) : SPENDING_KNOWN;

	return state == SPENDING_KNOWN || state == SPENDING_NEW;
}

struct spending *spending_share(struct spending *s)
{
	atomic_fetch_add(&s->holders, 1);
	return s;
}

static void add(struct spending *s, struct queue *queue, uint64_t requests, uint64_t bytes)
{
	struct error err = ERROR_INIT;

	if (queue_spend(queue, s->account, requests, bytes, clock_wall_ms(), &err) < 0)
		cost_guard_not_saved(&s->guard, requests, bytes);
}

struct saving {
	struct spending *spending;
	uint64_t requests, bytes;
};

static void save_run(struct queue *queue, void *arg)
{
	struct saving *saving = arg;

	add(saving->spending, queue, saving->requests, saving->bytes);
	let_go(saving->spending);
	free(saving);
}

static void post(struct spending *s, struct db *db)
{
	struct saving *saving;
	uint64_t requests, bytes;

	if (!cost_guard_unsaved(&s->guard, &requests, &bytes))
		return;
	saving = xcalloc(1, sizeof(*saving));
	*saving = (struct saving){s, requests, bytes};
	atomic_fetch_add(&s->holders, 1);
	db_post(db, save_run, saving);
}

void spending_save(struct spending *s, struct db *db)
{
	int64_t now = clock_mono_ms();

	if (!s || now - s->saved_at < SPENDING_SAVE_MS)
		return;
	s->saved_at = now;
	if (!spending_is_known(s))
		spending_recall(s, db);
	post(s, db);
}

void spending_leave(struct spending *s, struct db *db)
{
	if (!s)
		return;
	post(s, db);
	let_go(s);
}

void spending_flush(struct spending *s, struct queue *queue)
{
	uint64_t requests, bytes;

	if (s && cost_guard_unsaved(&s->guard, &requests, &bytes))
		add(s, queue, requests, bytes);
}

void spending_close(struct spending *s, struct queue *queue)
{
	if (!s)
		return;
	if (queue)
		spending_flush(s, queue);
	let_go(s);
}
