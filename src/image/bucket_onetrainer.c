/*
 * OneTrainer: mgds AspectBucketing with one target resolution. Its buckets go through a Python set, and
 * where two are equally near (a 13:8 picture at 512 in steps of 16 is such a case) the one that the set
 * hands out first gets the image. So the set is modelled here: the hash of a pair of integers and the
 * probing of CPython 3.8 and newer on 64 bit (Objects/tupleobject.c, Objects/setobject.c), which no
 * hash seed changes.
 */
#include "image/bucket_rules.h"

#include <math.h>
#include <stdint.h>

#define SHAPES 9

/* Room for the at most 17 different sizes: a set of up to 18 entries has 8 or 32 slots. */
#define SET_SLOTS     32
#define LINEAR_PROBES 9

struct pair_slot {
	bool used;
	struct size size;
};

struct pair_set {
	size_t mask, count;
	struct pair_slot slots[SET_SLOTS];
};

/* hash((height, width)): xxHash's rounds over the hashes of the two, which are their values. */
static uint64_t pair_hash(struct size s)
{
	const uint64_t prime1 = 11400714785074694791u, prime2 = 14029467366897019727u,
		       prime5 = 2870177450012600261u;
	const uint64_t lanes[2] = {s.height, s.width};
	uint64_t hash = prime5;

	for (size_t i = 0; i < 2; i++) {
		hash += lanes[i] * prime2;
		hash = hash << 31 | hash >> 33;
		hash *= prime1;
	}
	return hash + (2 ^ (prime5 ^ 3527539u));
}

/* The slot that has @size, or the free one that it goes to. */
static struct pair_slot *set_find(struct pair_set *set, struct size size)
{
	uint64_t perturb = pair_hash(size);
	size_t at = perturb & set->mask;

	for (;;) {
		size_t probes = at + LINEAR_PROBES <= set->mask ? LINEAR_PROBES : 0;

		for (size_t i = at; i <= at + probes; i++) {
			struct pair_slot *slot = &set->slots[i];

			if (!slot->used ||
			    (slot->size.width == size.width && slot->size.height == size.height))
				return slot;
		}
		perturb >>= 5;
		at = (at * 5 + 1 + perturb) & set->mask;
	}
}

static void set_add(struct pair_set *set, struct size size);

/* At three fifths it grows to the power of two over four times its entries, in the order it has. */
static void set_grow(struct pair_set *set)
{
	struct pair_set old = *set;
	size_t slots = 8;

	while (slots <= old.count * 4)
		slots *= 2;
	*set = (struct pair_set){.mask = slots - 1};
	for (size_t i = 0; i <= old.mask; i++)
		if (old.slots[i].used)
			set_add(set, old.slots[i].size);
}

static void set_add(struct pair_set *set, struct size size)
{
	struct pair_slot *slot = set_find(set, size);

	if (slot->used)
		return;
	*slot = (struct pair_slot){true, size};
	set->count++;
	if (set->count * 5 >= set->mask * 3)
		set_grow(set);
}

static size_t quantize(double side, size_t step)
{
	return (size_t)rint(side / (double)step) * step;
}

static void fill_onetrainer(struct bucket_table *t)
{
	static const double widths[SHAPES] = {1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0};
	double resolution = (double)t->options.resolution;
	struct pair_set set = {.mask = 7};
	struct size sizes[SHAPES];

	for (size_t i = 0; i < SHAPES; i++) {
		double root = sqrt(widths[i]); /* of height 1 times width */

		sizes[i].height = quantize(1.0 / root * resolution, t->options.step);
		sizes[i].width = quantize(widths[i] / root * resolution, t->options.step);
		if (sizes[i].height == 0) /* there it divides by zero */
			return;
	}
	for (size_t i = 0; i < SHAPES; i++)
		set_add(&set, sizes[i]);
	for (size_t i = 0; i < SHAPES; i++)
		set_add(&set, (struct size){sizes[i].height, sizes[i].width});
	for (size_t i = 0; i <= set.mask; i++) {
		struct size s = set.slots[i].size;

		if (set.slots[i].used)
			bucket_list_add(&t->list, s, (double)s.height / (double)s.width);
	}
}

static enum bucket_found place_onetrainer(const struct bucket_table *t, struct size image,
					  struct bucket_fit *fit)
{
	double width = (double)image.width, height = (double)image.height;
	const struct bucket *bucket = bucket_list_nearest(&t->list, height / width);

	fit->target = fit->resized = bucket->size;
	if (height / width > bucket->shape)
		fit->resized.height = (size_t)rint(height * ((double)bucket->size.width / width));
	else
		fit->resized.width = (size_t)rint(width * ((double)bucket->size.height / height));
	return BUCKET_FOUND;
}

const struct bucket_rule_ops bucket_onetrainer = {
    .name = "onetrainer",
    .takes = TAKES_RESOLUTION | TAKES_STEP,
    .step = 64,
    .fill = fill_onetrainer,
    .place = place_onetrainer,
};
