/* Where a record lies that another image's can be copied from: in the spool, or in a shard of this dataset or its siblings. */
#include "daemon/packer_parts.h"

#include "base/checked.h"

void packer_note_place(struct packer *p, int64_t job, const struct spool_place *place)
{
	struct spool_place *known = id_table_get(&p->places, (uint64_t)job);

	if (!known) {
		known = xcalloc(1, sizeof(*known));
		id_table_add(&p->places, (uint64_t)job, known);
	}
	*known = *place;
}

void packer_forget_place(struct packer *p, int64_t job, const struct spool_place *place)
{
	struct spool_place *known = id_table_get(&p->places, (uint64_t)job);

	if (known && known->segment == place->segment && known->offset == place->offset)
		free(id_table_remove(&p->places, (uint64_t)job));
}

static void place_free(void *arg, void *value)
{
	(void)arg;
	free(value);
}

void packer_forget_places(struct packer *p)
{
	id_table_each(&p->places, place_free, NULL);
	id_table_release(&p->places);
}

struct store *packer_store_of(const struct packer *p, int64_t dataset)
{
	const struct packer_options *o = &p->options;

	if (dataset == o->dataset)
		return o->store;
	for (size_t i = 0; i < o->n_siblings; i++) {
		if (o->siblings[i].dataset == dataset)
			return o->siblings[i].store;
	}
	return NULL;
}

/* False: the shard has not all that the recipe wants. */
static bool take_spans(const struct packer *p, const struct content_found *found,
		       struct shard_span spans[VARIANTS])
{
	size_t wanted = recipe_variants(p->options.recipe), n = 0;

	if (wanted == 1) {
		spans[0] = (struct shard_span){found->offset, found->bytes};
		return found->variant == VARIANT_PLAIN;
	}
	/* Both are in the order of variants. */
	for (size_t i = 0; i < found->n_variants && n < wanted; i++) {
		const struct variant_place *at = &found->variants[i];

		if (at->variant == recipe_variant(p->options.recipe, n))
			spans[n++] = (struct shard_span){at->offset, at->bytes};
	}
	return n == wanted;
}

bool packer_locate(const struct packer *p, const struct content_found *found,
		   struct packer_stored *stored)
{
	const struct spool_place *place = NULL;

	*stored = (struct packer_stored){.where = found->where, .dataset = found->dataset};
	if (found->where == CONTENT_SPOOLED) {
		place = id_table_get(&p->places, (uint64_t)found->job);
		if (place)
			stored->place = *place;
		return place != NULL;
	}
	if (found->where != CONTENT_VISIBLE || !packer_store_of(p, found->dataset) ||
	    !take_spans(p, found, stored->spans))
		return false;
	stored->shard = xstrdup(found->shard_path);
	return true;
}
