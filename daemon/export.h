/*
 * A dataset in the layout of a trainer. It is read twice: first to find everything whole, to choose names and to count, so
 * that nothing is written of what cannot be exported; then to write.
 *
 *	export_plan(&options, source, &plan, err)      writes nothing
 *	plan.samples, plan.bytes, plan.turned ...      to be told to a person
 *	export_run(&options, source, &plan, err)       plan.written, plan.kept
 *	export_plan_release(&plan)
 */
#ifndef LATENTD_DAEMON_EXPORT_H
#define LATENTD_DAEMON_EXPORT_H

#include "daemon/export_format.h"
#include "daemon/progress.h"

struct export_options {
	const struct export_format *format;
	const char *arch;    /* NULL: the one that fits */
	const char *dtype;   /* NULL: the format's first */
	bool normalised;     /* of a format for any model */
	const char *columns; /* "json,latent,txt"; NULL: all */
	size_t resolution;   /* of a dataset that has several: this one alone; 0: all */
	const char *into;
	bool beside;		   /* INTO has other files */
	struct progress *progress; /* may be NULL */
};

struct export_plan {
	struct export_job job;
	size_t samples;	 /* that are written */
	uint64_t bytes;	 /* of their files */
	size_t turned;	 /* of them, by EXIF, which the trainer ignores */
	size_t masks;	 /* of them, with masks that the format does not carry */
	size_t attached; /* of them, with other arrays, which no format carries */
	char *example;	 /* path of the first file, or where the first sample is */
	/* Samples that are left out, by number, ascending; and how many of them for which reason, with the first one's words. */
	size_t *left_out;
	size_t n_left_out, left_out_capacity;
	size_t variants;	/* the format has no place for them */
	size_t clashes;		/* their file would have another's name */
	size_t too_long, unfit; /* its name; their values or their shape */
	char *too_long_example, *unfit_example;
	size_t written, kept; /* files, after export_run */
};

/* NULL if there is none of that name. */
const struct export_format *export_format_find(const char *name);
/* The i-th; NULL behind the last. */
const struct export_format *export_format_at(size_t i);

/* What @options make of latents of @space. ERR_CONFIG: they are not for this format. */
int export_job_begin(const struct export_options *options, const struct export_space *space,
		     struct export_job *job, struct error *err);
/* ERR_CONFIG: it is not for this format, or INTO cannot take it; ERR_DATA: a shard is damaged, or (`missing`) not there. */
int export_plan(const struct export_options *options, struct export_source *source,
		struct export_plan *plan, struct error *err);
/* The same, and EXPORT_TARGET_BUSY: another process exports into INTO. */
int export_run(const struct export_options *options, struct export_source *source,
	       struct export_plan *plan, struct error *err);
void export_plan_release(struct export_plan *plan);

#endif
