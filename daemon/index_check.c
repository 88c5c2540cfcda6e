/* Compares the indexes with what would be written, and writes nothing. */
#include "daemon/index.h"

#include "base/checked.h"
#include "base/files.h"

struct teller {
	void (*differs)(void *arg, const char *name);
	void *arg;
};

/* Anybody may delete an index: one that is not there is none that is damaged. */
static void tell(const struct index_pass *pass, const char *name, const char *path)
{
	const struct teller *teller = pass->use_arg;

	if (file_exists(path))
		teller->differs(teller->arg, name);
}

static int compare_put(const struct index_pass *pass, const char *name,
		       const struct buffer *contents, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);

	(void)err;
	if (!index_file_is(path, contents))
		tell(pass, name, path);
	return 0;
}

static int compare_link(const struct index_pass *pass, const char *name, const char *target,
			struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);

	(void)err;
	if (!index_link_is(path, target))
		tell(pass, name, path);
	return 0;
}

static int compare_no_removal(const struct index_pass *pass, const char *name, struct error *err)
{
	(void)pass;
	(void)name;
	(void)err;
	return 0;
}

/* Files too many are nobody's: no index names them. */
static int compare_no_sweep(const struct index_pass *pass, const char *folder, const char *suffix,
			    struct error *err)
{
	(void)pass;
	(void)folder;
	(void)suffix;
	(void)err;
	return 0;
}

static const struct index_use comparing = {compare_put, compare_link, compare_no_removal,
					   compare_no_sweep};

/* Those of an earlier catalog are written by the next pass. */
static int compare_all(struct index_pass *pass, const struct index_dataset *before, bool same,
		       struct error *err)
{
	const struct teller *teller = pass->use_arg;

	if (before->there && !before->sound)
		teller->differs(teller->arg, ".latentd/dataset.json");
	if (!same)
		return 0;
	if (index_pass_load(pass, err) < 0)
		return -1;
	for (size_t i = 0; i < INDEX_WRITERS; i++) {
		if (index_writers[i].compared && index_writer_run(pass, &index_writers[i], err) < 0)
			return error_wrap(err, "%s", index_writers[i].file);
	}
	return 0;
}

int index_check(struct queue *queue, int64_t dataset, const char *output,
		void (*differs)(void *arg, const char *name), void *arg, struct error *err)
{
	struct teller teller = {differs, arg};
	struct index_pass pass = {.queue = queue,
				  .dataset = dataset,
				  .always = true,
				  .use = &comparing,
				  .use_arg = &teller};

	return index_pass_run(&pass, output, compare_all, err);
}
