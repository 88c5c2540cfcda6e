/* Each shard is read first: one whose samples have everything is left as it is, and the same arrays may be given again. */
#include "daemon/attach.h"

#include "storage/seal.h"

struct attaching {
	const struct rewrite_options *base;
	struct attachments *arrays;
	struct attached done;
};

static bool pass_stop(void *arg)
{
	const struct attaching *a = arg;

	return a->base->stop && a->base->stop(a->base->arg);
}

static void pass_note(void *arg, const char *line)
{
	const struct attaching *a = arg;

	a->base->note(a->base->arg, line);
}

static int edit(void *arg, const struct sample_row *row, struct record *record, struct error *err)
{
	struct attaching *a = arg;

	if (!attachments_have(a->arrays, row->key))
		return 0;
	return attachments_put(a->arrays, row->key, record, err) < 0 ? -1 : 0;
}

/* *changes: samples of the shard that would get an array that they have not. */
static int compare(struct attaching *a, const struct shard_row *shard, size_t *changes,
		   struct error *err)
{
	cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;

	if (sample_list_read(a->base->queue, shard->id, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++) {
		const struct sample_row *row = &samples.rows[i];
		const struct shard_span span = {row->offset, row->bytes};
		cleanup_record struct record record = RECORD_INIT;
		int r;

		if (row->dead)
			continue;
		if (!attachments_have(a->arrays, row->key)) {
			a->done.missing++;
			continue;
		}
		if (shard_read_record(a->base->store, shard->path, &span, &record, err) < 0)
			return error_wrap(err, "%s", shard->path);
		r = attachments_put(a->arrays, row->key, &record, err);
		if (r < 0)
			return -1;
		*changes += r == ATTACHMENT_CHANGED;
		a->done.same += r == 0;
	}
	return 0;
}

static int attach_to_shard(struct attaching *a, struct rewriter *w, const struct shard_row *shard,
			   struct error *err)
{
	struct error why = ERROR_INIT;
	size_t changes = 0;
	int r;

	if (compare(a, shard, &changes, &why) < 0) {
		if (why.code != ERR_DATA) {
			*err = why;
			return -1;
		}
		a->done.left = true;
		pass_note(a, why.message);
		return 0;
	}
	if (changes == 0)
		return 0;
	r = rewrite_if_whole(w, shard, 1, err);
	if (r < 0)
		return -1;
	a->done.left = a->done.left || r == REWRITE_DAMAGED || r == REWRITE_CHANGED;
	a->done.unfit = a->done.unfit || r == REWRITE_UNFIT;
	a->done.samples += r == 0 ? changes : 0;
	a->done.shards += r == 0;
	return 0;
}

int attach(const struct rewrite_options *base, struct attachments *arrays, struct attached *out,
	   struct error *err)
{
	struct attaching a = {.base = base, .arrays = arrays};
	struct rewrite_options options = *base;
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;
	struct rewriter *w = NULL;
	int r;

	options.shard_samples = options.shard_bytes = 0;
	options.edit = edit;
	options.stop = pass_stop;
	options.note = pass_note;
	options.arg = &a;
	r = shard_list_read(options.queue, options.dataset, &shards, err);
	if (r == 0)
		r = rewriter_open(&options, &w, err);
	for (size_t i = 0; i < shards.n && r == 0 && !a.done.stopped; i++) {
		a.done.stopped = pass_stop(&a);
		if (!a.done.stopped)
			r = attach_to_shard(&a, w, &shards.rows[i], err);
	}
	rewriter_close(w);
	if (r == 0)
		*out = a.done;
	return r;
}
