#include "config/daemon_check_parts.h"

#include "base/checked.h"
#include "base/files.h"

#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

struct folders {
	const struct daemon_check *check;
	/* where each dataset's paths really lead; sources of all in a row */
	char **sources, **outputs;
	size_t n_sources;
	char *state;
};

/* -- where paths lead ------------------------------------------------------------------------------------- */

/* Without ., .. and double slashes. */
static char *tidy_path(const char *path)
{
	char *tidy = xcalloc(strlen(path) + 2, 1), *end = tidy;

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && strncmp(path, "..", 2) == 0) {
			while (end > tidy && *--end != '/')
				;
		} else if (n > 0 && !(n == 1 && *path == '.')) {
			*end++ = '/';
			memcpy(end, path, n);
			end += n;
		}
		path += n + (path[n] == '/');
	}
	if (end == tidy)
		*end++ = '/';
	*end = '\0';
	return tidy;
}

/* Where a path leads through symbolic links, as far as it exists; what does not exist yet stays as it is. */
static char *real_path(const char *path, bool look)
{
	char *tidy = NULL, *real = look ? realpath(path, NULL) : NULL, *slash;

	if (real)
		return real;
	tidy = tidy_path(path);
	slash = strrchr(tidy, '/');
	if (look && slash > tidy) {
		char *parent, *joined;

		*slash = '\0';
		parent = real_path(tidy, true);
		joined = xasprintf("%s/%s", parent, slash + 1);
		free(parent);
		free(tidy);
		return joined;
	}
	return tidy;
}

/* @inner is @outer or lies in it. */
static bool lies_in(const char *inner, const char *outer)
{
	size_t n = strlen(outer);

	return strcmp(outer, "/") == 0 ||
	       (strncmp(inner, outer, n) == 0 && (inner[n] == '/' || inner[n] == '\0'));
}

static bool overlap(const char *a, const char *b)
{
	return lies_in(a, b) || lies_in(b, a);
}

static void find_folders(struct folders *f)
{
	const struct daemon_config *config = f->check->config;
	size_t n = 0;

	f->state = real_path(config->state_dir, f->check->look);
	for (size_t i = 0; i < config->n_datasets; i++)
		n += config->datasets[i].n_sources;
	f->sources = xcalloc(n + 1, sizeof(*f->sources));
	f->outputs = xcalloc(config->n_datasets + 1, sizeof(*f->outputs));
	for (size_t i = 0; i < config->n_datasets; i++) {
		const struct dataset_config *d = &config->datasets[i];

		f->outputs[i] = real_path(d->output.path, f->check->look);
		for (size_t k = 0; k < d->n_sources; k++)
			f->sources[f->n_sources++] = real_path(d->sources[k].path, f->check->look);
	}
}

static void forget_folders(struct folders *f)
{
	for (size_t i = 0; i < f->n_sources; i++)
		free(f->sources[i]);
	for (size_t i = 0; i < f->check->config->n_datasets; i++)
		free(f->outputs[i]);
	free(f->sources);
	free(f->outputs);
	free(f->state);
}

/* One source against every output and the state. */
static int check_source_apart(const struct folders *f, struct config_place place,
			      const char *source, struct error *err)
{
	for (size_t i = 0; i < f->check->config->n_datasets; i++) {
		const struct dataset_config *d = &f->check->config->datasets[i];

		if (overlap(source, f->outputs[i]))
			return check_refuse(
			    f->check, place, err,
			    "source %s and the output %s of dataset %s: one lies in the "
			    "other, expected folders apart",
			    source, f->outputs[i], d->name);
	}
	if (overlap(source, f->state))
		return check_refuse(
		    f->check, place, err,
		    "source %s and state_dir %s: one lies in the other, expected folders "
		    "apart",
		    source, f->state);
	return 0;
}

static int check_sources(const struct folders *f, struct error *err)
{
	size_t n = 0;

	for (size_t i = 0; i < f->check->config->n_datasets; i++) {
		const struct dataset_config *d = &f->check->config->datasets[i];

		for (size_t k = 0; k < d->n_sources; k++) {
			struct config_place place = check_in_source(f->check, i, k);

			if (check_source_apart(f, place, f->sources[n + k], err) < 0)
				return -1;
			for (size_t j = 0; j < k; j++) {
				if (overlap(f->sources[n + j], f->sources[n + k]))
					return check_refuse(
					    f->check, place, err,
					    "source %s and source %s: one lies in the "
					    "other, expected each image once",
					    f->sources[n + k], f->sources[n + j]);
			}
		}
		n += d->n_sources;
	}
	return 0;
}

/* Datasets may share an output, in which each has its own folder; but none may lie in another. */
static int check_outputs(const struct folders *f, struct error *err)
{
	for (size_t i = 0; i < f->check->config->n_datasets; i++) {
		struct config_place place =
		    check_in_dataset(f->check, i, CHECK_NAMES("output", "path"));

		if (overlap(f->outputs[i], f->state))
			return check_refuse(
			    f->check, place, err,
			    "output %s and state_dir %s: one lies in the other, expected "
			    "folders apart",
			    f->outputs[i], f->state);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(f->outputs[i], f->outputs[k]) != 0 &&
			    overlap(f->outputs[i], f->outputs[k]))
				return check_refuse(
				    f->check, place, err,
				    "output %s and the output %s of dataset %s: one lies "
				    "in the other, expected the same folder or folders "
				    "apart",
				    f->outputs[i], f->outputs[k],
				    f->check->config->datasets[k].name);
		}
	}
	return 0;
}

/* -- what is there ------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Whether a file is an archive is known above (daemon/config_check.c). */
static bool may_be_source(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
}

/* What it is shows when it is opened. */
static int check_vae_there(const struct folders *f, size_t i, struct error *err)
{
	const char *vae = f->check->config->datasets[i].recipe.vae;
	/* a name is looked up when the model is loaded */
	if (*vae == '/' && !file_exists(vae))
		return check_refuse(f->check,
				    check_in_dataset(f->check, i, CHECK_NAMES("recipe", "vae")),
				    err, "vae: there is no file or folder %s", vae);
	return 0;
}

static int check_group_there(const struct folders *f, struct error *err)
{
	const char *name = f->check->config->api.group;
	struct group group, *found = NULL;
	char room[4096];

	if (!name || (getgrnam_r(name, &group, room, sizeof(room), &found) == 0 && found))
		return 0;
	return check_refuse(f->check, check_at_top(f->check, CHECK_NAMES("api", "group")), err,
			    "group: there is no group %s", name);
}

static int check_there(const struct folders *f, struct error *err)
{
	if (file_exists(f->state) && !is_folder(f->state))
		return check_refuse(f->check, check_at_top(f->check, CHECK_NAMES("state_dir")), err,
				    "state_dir: %s is no folder", f->state);
	if (check_group_there(f, err) < 0)
		return -1;
	for (size_t i = 0; i < f->check->config->n_datasets; i++) {
		const struct dataset_config *d = &f->check->config->datasets[i];

		/* One that is not there may be a disk that is mounted later: its dataset waits for it. */
		for (size_t k = 0; k < d->n_sources; k++) {
			if (file_exists(d->sources[k].path) && !may_be_source(d->sources[k].path))
				return check_refuse(f->check, check_in_source(f->check, i, k), err,
						    "source: %s is no folder and no file",
						    d->sources[k].path);
		}
		if (check_vae_there(f, i, err) < 0)
			return -1;
	}
	return 0;
}

/* -- everything ---------------------------------------------------------------------------------- */

int check_folders(const struct daemon_check *c, struct error *err)
{
	struct folders f = {.check = c};
	int r;

	find_folders(&f);
	r = check_sources(&f, err);
	if (r == 0)
		r = check_outputs(&f, err);
	if (r == 0 && c->look)
		r = check_there(&f, err);
	forget_folders(&f);
	return r;
}
