#include "daemon/dataset_open.h"

#include "daemon/caption_list.h"
#include "daemon/skip_policy.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

void dataset_owner(char owner[QUEUE_OWNER_SIZE])
{
	cleanup_buffer struct buffer boot = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	char host[48] = "";

	gethostname(host, sizeof(host) - 1);
	file_read_all("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored);
	snprintf(owner, QUEUE_OWNER_SIZE, "%s:%.8s:%d:%lld", host,
		 boot.data ? (const char *)boot.data : "-", getpid(), (long long)clock_mono_ms());
}

/* In the queue and on disk, each checked before the other is written. */
static int claim_dataset(const struct dataset_open_options *o, struct opened_dataset *d,
			 struct error *err)
{
	struct queue_dataset_spec spec = {o->name, d->folder, o->recipe->id, o->recipe->json};
	struct queue_counts counts;
	bool there = false;
	int r;

	if (o->output->node && (queue_cluster(o->queue, d->cluster, err) < 0 ||
				output_bind_queue(o->output, d->cluster, err) < 0))
		return -1;
	if (output_check_dataset(o->output, o->name, o->recipe, &there, err) < 0)
		return -1;
	r = queue_open_dataset(o->queue, &spec, &d->id, err);
	if (r == QUEUE_OTHER_RECIPE && o->output->node)
		return error_set(err, ERR_CONFIG,
				 "another node encodes dataset %s with another recipe: give one of "
				 "the two another name",
				 o->name);
	if (r == QUEUE_OTHER_RECIPE)
		return error_set(
		    err, ERR_CONFIG,
		    "%s is not there, but the queue in %s knows it with another recipe: "
		    "give another --name",
		    d->folder, o->output->state);
	if (r < 0 || queue_counts(o->queue, d->id, &counts, err) < 0 ||
	    output_claim(o->output, !there && counts.shards > 0, err) < 0)
		return -1;
	return there ? 0 : output_make_dataset(o->output, o->name, o->recipe, err);
}

struct siblings {
	const struct dataset_open_options *options;
	struct opened_dataset *opened;
};

/* Another dataset of this queue, in this output or another one, from which latents may be copied. */
static int on_dataset(void *arg, const struct queue_dataset *other)
{
	const struct siblings *s = arg;
	struct opened_dataset *d = s->opened;
	cleanup_free char *folder = xasprintf("%s/%s", s->options->output->root, other->name);
	struct error ignored = ERROR_INIT; /* then nothing is copied from it */
	struct store *store = NULL;

	if (other->id == d->id || strcmp(other->recipe_id, s->options->recipe->id) != 0 ||
	    dataset_store_open(file_exists(folder) ? folder : other->output, true, &store,
			       &ignored) < 0)
		return 0;
	ARRAY_GROW(d->siblings, d->n_siblings, d->siblings_capacity);
	d->siblings[d->n_siblings++] = (struct packer_sibling){other->id, store};
	return 0;
}

static int recover(const struct dataset_open_options *o, struct opened_dataset *d,
		   struct error *err)
{
	struct recovery_options options = {.queue = o->queue,
					   .store = d->store,
					   .recipe = o->recipe,
					   .dataset = d->id,
					   .spool_dir = d->spool_dir,
					   .segment_bytes = DATASET_SPOOL_SEGMENT,
					   .owner = o->owner,
					   .node = o->output->node,
					   .again = o->again,
					   .stop = o->stop,
					   .note = o->note,
					   .arg = o->arg};
	struct recoverer *recoverer = NULL;
	int r = recovery_begin(&options, &recoverer, err);

	if (r == 0 && o->scan)
		r = o->scan(o->arg, d->id, err);
	if (r == 0)
		r = recovery_finish(recoverer, &d->recovered, err);
	if (r == 0)
		d->spool = d->recovered.spool;
	recovery_free(recoverer);
	return r;
}

static int read_given(struct opened_dataset *d, struct error *err)
{
	cleanup_free char *path = given_captions_path(d->folder);

	if (!file_exists(path))
		return 0;
	d->given_captions = json_object();
	return caption_list_read(path, d->given_captions, err);
}

static int open_store(const struct dataset_open_options *o, struct opened_dataset *d,
		      struct error *err)
{
	const struct dataset_store_use use = {.node = o->output->node,
					      .queue = d->cluster[0] ? d->cluster : NULL,
					      .stop = o->give_up,
					      .on_wait = o->on_wait,
					      .arg = o->arg};

	return dataset_store_begin(d->folder, o->name, o->store, &use, &d->store, err);
}

int dataset_open(const struct dataset_open_options *o, struct opened_dataset *d, struct error *err)
{
	struct siblings siblings = {o, d};

	d->folder = xasprintf("%s/%s", o->output->root, o->name);
	d->spool_dir = xasprintf("%s/spool/%s", o->output->state, o->name);
	if (claim_dataset(o, d, err) < 0 ||
	    queue_datasets(o->queue, on_dataset, &siblings, err) < 0 || open_store(o, d, err) < 0 ||
	    read_given(d, err) < 0 || recover(o, d, err) < 0)
		return -1;
	return skip_policy_apply(o->output->state, o->name, &o->recipe->buckets, o->drop_duplicates,
				 o->queue, d->id, &d->looked_again, err);
}

void dataset_restore(const struct opened_dataset *d, struct packer *packer)
{
	for (size_t i = 0; i < d->recovered.n; i++)
		packer_restore(packer, &d->recovered.entries[i]);
	for (size_t i = 0; i < d->recovered.n_shards; i++)
		packer_note_shard(packer, d->recovered.shards[i]);
}

void dataset_close(struct opened_dataset *d)
{
	spool_close(d->spool);
	store_close(d->store);
	for (size_t i = 0; i < d->n_siblings; i++)
		store_close(d->siblings[i].store);
	recovery_release(&d->recovered);
	free(d->siblings);
	free(d->folder);
	free(d->spool_dir);
	json_decref(d->given_captions);
	memset(d, 0, sizeof(*d));
}
