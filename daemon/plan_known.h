/*
 * What a dataset has already of what a plan looks at. By content: an image that was moved has its latents, one whose bytes
 * changed has not. With another recipe nothing counts, and how the recipes differ is the reason.
 *
 *	plan_known_open("OUT", "photos" or NULL, &asked, &known, err)
 *	plan_known_look(known, &content, err)    for every image that would become latents
 *	plan_known_counts(known)
 *	plan_known_close(known)
 */
#ifndef LATENTD_DAEMON_PLAN_KNOWN_H
#define LATENTD_DAEMON_PLAN_KNOWN_H

#include "daemon/encode_model.h"
#include "daemon/plan.h"

struct plan_known;

/* What a plan says of a recipe; the rest is taken to be as the dataset has it. */
struct plan_asked {
	const struct resolutions *resolutions;
	bool apply_exif, flip;
	unsigned crops;
	const struct encode_model *model; /* NULL: not said */
};

/* @name NULL: the only dataset of OUT. ERR_CONFIG: there is none of that name, or none, or several. */
int plan_known_open(const char *out, const char *name, const struct plan_asked *asked,
		    struct plan_known **known, struct error *err);
/* NULL is fine. */
void plan_known_close(struct plan_known *known);
int plan_known_look(struct plan_known *known, const struct hash128 *content, struct error *err);
/* As long as @known lives, and as they are now. */
const struct plan_known_counts *plan_known_counts(const struct plan_known *known);

#endif
