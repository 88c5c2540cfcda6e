/*
 * Arrays by key, put into the shards at once or, where a daemon works on them, by that.
 */
#include "daemon/attach.h"
#include "daemon/ctl_source.h"
#include "daemon/foreign_keys.h"
#include "daemon/maintenance.h"

#include "base/checked.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static int check_name(const char *name, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (attachment_name_valid(name))
		return 0;
	return error_set(err, ERR_CONFIG, "%s is no name for arrays: up to %d of a-z, 0-9, _ and -",
			 text_quote(name, quoted), ATTACHMENT_NAME_MAX);
}

/* -- by the daemon that works on the output ------------------------------------------------------- */

static int tell_dataset(struct ctl_source *source, const struct read_options *options,
			const char *dataset, const char *path, int *ends, struct error *err)
{
	json_t *answer = NULL, *body = json_pack("{s:s, s:s, s:b}", "array", options->words[0],
						 "path", path, "dry_run", options->dry_run);
	const char *message;
	uint64_t n;

	if (!body)
		return error_set(err, ERR_CONFIG, "%s: a daemon takes paths in UTF-8", path);
	if (ctl_source_post(source, dataset, "attach", body, &answer, err) < 0)
		return error_wrap(err, "%s", dataset);
	message = json_string_value(json_object_get(answer, "message"));
	n = (uint64_t)json_integer_value(json_object_get(answer, "count"));
	if (message && *message) {
		fprintf(stderr, "latentctl attach: %s\n", message);
		*ends = EXIT_QUARANTINED;
	}
	if (n == 0)
		printf("%s: nothing of it is for an image of %s\n", options->words[0], dataset);
	else
		printf("%s: %s of %llu image%s %s\n", dataset, options->words[0],
		       (unsigned long long)n, plural(n),
		       options->dry_run
			   ? "would be attached"
			   : "is attached when the daemon rewrites shards next (latentctl log)");
	json_decref(answer);
	return 0;
}

static int by_daemon(struct ctl_source *source, const struct read_options *options,
		     struct error *err)
{
	cleanup_free char *path = realpath(options->words[1], NULL);
	json_t *status = NULL, *dataset;
	int ends = EXIT_OK, r;
	size_t i;

	if (check_name(options->words[0], err) < 0)
		return -1;
	if (!path)
		return error_sys(err, "%s", options->words[1]);
	r = ctl_source_status(source, &status, err);
	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		if (r == 0)
			r = tell_dataset(source, options,
					 json_string_value(json_object_get(dataset, "name")), path,
					 &ends, err);
	}
	json_decref(status);
	return r < 0 ? -1 : ends;
}

/* -- by ourselves --------------------------------------------------------------------------------- */

static int attach_to(struct maintenance *m, struct error *err)
{
	const char *name = m->options->words[0];
	struct attachments *arrays = NULL;
	struct attached done = {.samples = 0};
	cleanup_foreign_keys struct foreign_keys foreign = FOREIGN_KEYS_INIT;
	int r = check_name(name, err);

	if (r == 0)
		r = attachments_open(name, m->options->words[1], &arrays, err);
	if (r == 0)
		r = foreign_keys_leave(m->rewrite->queue, m->dataset->id, attachments_keys(arrays),
				       &foreign, err);
	foreign_keys_say(&foreign, "attach", m->dataset->name);
	if (r == 0)
		r = attach(m->rewrite, arrays, &done, err);
	if (r == 0) {
		printf("%s: %s %s %zu sample%s in %zu shard%s, %zu had it already",
		       m->dataset->name, name,
		       m->options->dry_run ? "would be attached to" : "attached to", done.samples,
		       plural(done.samples), done.shards, plural(done.shards), done.same);
		printf("; %zu sample%s not in %s\n", done.missing,
		       done.missing == 1 ? " is" : "s are", m->options->words[1]);
		m->ends = done.left				       ? EXIT_DAMAGED
			  : done.unfit || foreign.n + done.missing > 0 ? EXIT_QUARANTINED
								       : EXIT_OK;
	}
	attachments_close(arrays);
	return r;
}

int cmd_attach(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out config name dry-run", 2,
	    "attach NAME FILE.safetensors|DIR --out DIR | --config FILE [--name DATASET]\n"
	    "                        [--dry-run]\n\n"
	    "Puts arrays beside the latents, as KEY.NAME.npy.zst: tensors by key of a .safetensors "
	    "file, or\n"
	    "KEY.npy below DIR. NAME is up to 11 of a-z, 0-9, _ and -."};

	return maintenance_change(argc, argv, &command, attach_to, by_daemon, true, err);
}
