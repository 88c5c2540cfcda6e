/*
 * One thread ("pack") does all that touches the spool; one the database. A record walks:
 *
 *	append task -> unsynced list -> sync task -> settle (database) -> spool_index
 *	    -> seal task -> publish task -> complete (database) -> drop task
 *
 * Shards that go to a store elsewhere are published by a second thread ("upload"), so that packing does not wait for a network. A
 * few shards are on their way at a time; when enough is there for some more, nothing more is to be encoded.
 *
 * Only the loop's thread touches the lists between the tasks. Any failure is final for the run: nothing
 * is lost, because the spool and the database say where to go on.
 */
#include "daemon/packer_parts.h"

#include "base/checked.h"
#include "base/clock.h"

enum {
	SYNC_EVERY_MS = 1000,
	BACKLOG_TASKS = 1024,
	BACKLOG_FILES = 256,
	SEALING_ELSEWHERE = 2, /* one is uploaded, one is made or waits; */
	FULL_ELSEWHERE = 4,    /* for so many more there may be enough in the spool */
};

void packer_fail(struct packer *p, const struct error *why)
{
	if (p->failed)
		return;
	p->failed = true;
	atomic_store(&p->gives_up, true);
	p->options.handlers.on_fatal(p->options.arg, why);
}

void packer_post(struct packer *p, struct task *t)
{
	p->under_way++;
	executor_post(p->executor, t);
}

void packer_post_upload(struct packer *p, struct task *t)
{
	p->under_way++;
	executor_post(p->uploads ? p->uploads : p->executor, t);
}

static int on_sync_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct packer *p = arg;

	packer_sync(p);
	packer_pump(p); /* some records may have waited long enough */
	sd_event_source_set_time(source, usec + SYNC_EVERY_MS * 1000);
	return 0;
}

/* -- the packer ----------------------------------------------------------------------------------- */

void packer_pump(struct packer *p)
{
	if (p->draining || p->flushing)
		packer_sync(p);
	packer_seal(p);
}

int packer_open(sd_event *event, struct inbox *inbox, const struct packer_options *options,
		struct packer **out, struct error *err)
{
	struct packer *p = xcalloc(1, sizeof(*p));

	p->options = *options;
	mask_reader_init(&p->mask_reader, options->recipe);
	p->sealing_max = store_is_elsewhere(options->store) ? SEALING_ELSEWHERE : 1;
	atomic_init(&p->steps, 0);
	atomic_init(&p->gives_up, false);
	p->spool_bytes = p->spool_foreign = spool_bytes(options->spool);
	if (executor_open(inbox, "pack", &p->executor, err) < 0 ||
	    (p->sealing_max > 1 && executor_open(inbox, "upload", &p->uploads, err) < 0)) {
		packer_close(p);
		return -1;
	}
	if (sd_event_add_time_relative(event, &p->timer, CLOCK_MONOTONIC, SYNC_EVERY_MS * 1000, 0,
				       on_sync_timer, p) < 0 ||
	    sd_event_source_set_enabled(p->timer, SD_EVENT_ON) < 0) {
		packer_close(p);
		return error_set(err, ERR_IO, "cannot set the sync timer");
	}
	*out = p;
	return 0;
}

void packer_restore(struct packer *p, const struct spooled *entry)
{
	struct spooled restored = *entry;

	restored.since = clock_mono_ms();
	spool_index_add(&p->index, &restored);
	packer_note_place(p, entry->job, &entry->place);
	p->spool_foreign -=
	    entry->place.size < p->spool_foreign ? entry->place.size : p->spool_foreign;
}

size_t packer_pending(const struct packer *p)
{
	return p->pending;
}

void packer_note_shard(struct packer *p, const char *name)
{
	spool_index_note_shard(&p->index, name);
}

/*
 * Of a store that takes shards more slowly than they come: what comes now would only grow the spool. Groups that fill at about the same
 * time are no reason yet.
 */
static bool waits_for_store(const struct packer *p)
{
	return p->uploads && p->sealing >= p->sealing_max &&
	       spool_index_full(&p->index, packer_shard_images(p), p->options.shard_bytes) >
		   FULL_ELSEWHERE;
}

bool packer_is_behind(const struct packer *p)
{
	return waits_for_store(p) || p->backlog_bytes > p->options.backlog ||
	       p->backlog_tasks >= BACKLOG_TASKS || p->backlog_files >= BACKLOG_FILES;
}

size_t packer_waiting(const struct packer *p)
{
	return waits_for_store(p) ? packer_unsealed(p) : p->pending;
}

size_t packer_unsealed(const struct packer *p)
{
	return p->pending + spool_index_count(&p->index) + p->being_sealed;
}

uint64_t packer_unsealed_bytes(const struct packer *p)
{
	return spool_index_bytes(&p->index) + p->sealing_bytes;
}

void packer_drain(struct packer *p, bool seal)
{
	p->draining = true;
	p->drain_seals = seal;
	if (!seal)
		atomic_store(&p->gives_up, true);
	packer_pump(p);
}

bool packer_idle(const struct packer *p)
{
	if (p->under_way > 0)
		return false;
	if (p->failed)
		return true;
	return p->n_unsynced == 0 &&
	       (!p->draining || !p->drain_seals || spool_index_count(&p->index) == 0);
}

bool packer_works(const struct packer *p)
{
	return p->under_way > 0;
}

uint64_t packer_steps(const struct packer *p)
{
	return atomic_load(&p->steps);
}

void packer_close(struct packer *p)
{
	if (!p)
		return;
	sd_event_source_disable_unref(p->timer);
	executor_close(p->executor);
	executor_close(p->uploads);
	mask_reader_release(&p->mask_reader);
	spool_index_release(&p->index);
	packer_forget_places(p);
	free(p->unsynced);
	free(p);
}
