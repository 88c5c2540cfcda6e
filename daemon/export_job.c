/*
 * Whether a dataset is for a format, and what the format makes of it: its latents tell the model by their numbers, and --arch
 * where several have the same ones.
 */
#include "daemon/export.h"

#include "base/checked.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Factors are written with four to five digits; records have all of a config's. */
static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fabs(b);
}

static bool fits(const struct export_arch *arch, const struct export_space *space)
{
	return arch->channels == space->channels && arch->patch_size == space->patch_size &&
	       near(arch->scaling_factor, space->scaling_factor) &&
	       (arch->patch_size == 2 || space->n_statistics == 0) &&
	       fabs(arch->shift_factor - space->shift_factor) <= 1e-6;
}

static void list_archs(const struct export_format *format, const struct export_space *space,
		       char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < format->n_archs && n < size; i++) {
		if (!space || fits(&format->archs[i], space))
			n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "",
					      format->archs[i].name);
	}
}

static int refuse_space(const struct export_format *format, const struct export_space *space,
			const char *asked, struct error *err)
{
	char names[160];

	list_archs(format, NULL, names, sizeof(names));
	return error_set(err, ERR_CONFIG,
			 "this dataset's latents (%zu channels, scaling factor %g, shift %g) are "
			 "not those of %s%s; %s takes %s",
			 space->channels, space->scaling_factor, space->shift_factor,
			 asked ? asked : "any model that ", asked ? "" : "it knows", format->name,
			 names);
}

static int choose_arch(const struct export_format *format, const char *asked,
		       const struct export_space *space, const struct export_arch **out,
		       struct error *err)
{
	char names[160];
	bool some = false, known = !asked;

	for (size_t i = 0; i < format->n_archs; i++) {
		const struct export_arch *arch = &format->archs[i];

		known = known || strcmp(arch->name, asked) == 0;
		some = some || fits(arch, space);
		if (fits(arch, space) &&
		    (asked ? strcmp(arch->name, asked) == 0 : !arch->by_name)) {
			*out = arch;
			return 0;
		}
	}
	if (!some || (asked && known))
		return refuse_space(format, space, asked, err);
	list_archs(format, space, names, sizeof(names));
	return error_set(err, ERR_CONFIG, "%s: say which model with --arch: %s", format->name,
			 names);
}

static int choose_dtype(const struct export_options *options, const struct export_space *space,
			enum dtype *out, struct error *err)
{
	static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
	const char *known = options->format->dtypes, *name = options->dtype;
	cleanup_free char *first = xasprintf("%.*s", (int)strcspn(known, " "), known);
	const char *found = strstr(known, name ? name : first);

	if (!found)
		return error_set(err, ERR_CONFIG, "%s has no --dtype %s, but: %s",
				 options->format->name, name, known);
	*out = space->dtype;
	for (size_t i = 0; i < ARRAY_SIZE(dtypes); i++) {
		if (strcmp(dtype_name(dtypes[i]), name ? name : first) == 0)
			*out = dtypes[i];
	}
	return 0;
}

static int choose_columns(const struct export_options *options, unsigned *out, struct error *err)
{
	static const char *const names[] = {"json", "latent", "txt"};
	const char *text = options->columns;

	*out = EXPORT_COLUMN_JSON | EXPORT_COLUMN_LATENT | EXPORT_COLUMN_CAPTION;
	if (!text)
		return 0;
	if (!options->format->columns)
		return error_set(err, ERR_CONFIG, "%s has no --columns", options->format->name);
	*out = 0;
	do {
		size_t n = strcspn(text, ","), i = 0;

		while (i < ARRAY_SIZE(names) &&
		       (strlen(names[i]) != n || strncmp(names[i], text, n) != 0))
			i++;
		if (i == ARRAY_SIZE(names))
			return error_set(err, ERR_CONFIG,
					 "--columns %s: expected some of json,latent,txt",
					 options->columns);
		*out |= 1U << i;
		text += n;
	} while (*text++);
	return 0;
}

int export_job_begin(const struct export_options *options, const struct export_space *space,
		     struct export_job *job, struct error *err)
{
	const struct export_format *format = options->format;

	*job = (struct export_job){.format = format, .space = space};
	if (options->arch && !format->archs)
		return error_set(err, ERR_CONFIG, "%s has no --arch: it is for any model",
				 format->name);
	if (options->normalised && format->archs)
		return error_set(err, ERR_CONFIG,
				 "%s has no --normalised: what it keeps is the trainer's",
				 format->name);
	if (choose_columns(options, &job->columns, err) < 0)
		return -1;
	job->normalised = options->normalised;
	if (format->archs && choose_arch(format, options->arch, space, &job->arch, err) < 0)
		return -1;
	return choose_dtype(options, space, &job->dtype, err);
}
