#include "daemon/dataset_folders.h"

#include "daemon/index.h"

#include "config/dataset_options.h"

#include "base/checked.h"
#include "base/files.h"

#include <dirent.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dataset_folder *)a)->name,
		      ((const struct dataset_folder *)b)->name);
}

static int read_recipe(struct dataset_folder *d, struct error *err)
{
	cleanup_index_dataset struct index_dataset said = {.there = false};

	if (index_dataset_read(d->folder, &said, err) < 0)
		return -1;
	d->recipe_json = TAKE(said.recipe_json);
	d->form = said.form;
	if (said.there && !d->recipe_json)
		return error_set(err, ERR_CONFIG,
				 "%s/.latentd/dataset.json is damaged: its recipe is not that of "
				 "its id; remove it, and the next encode writes it again",
				 d->folder);
	if (!d->recipe_json)
		d->recipe_json = xstrdup("{}");
	memcpy(d->id, said.recipe_id, sizeof(d->id));
	return 0;
}

static int add(struct dataset_folders *f, const char *root, const char *name, struct error *err)
{
	cleanup_free char *train = xasprintf("%s/%s/train", root, name);
	struct dataset_folder *d;

	if (!dataset_name_valid(name) || !file_exists(train))
		return 0;
	ARRAY_GROW(f->items, f->n, f->capacity);
	d = &f->items[f->n++];
	*d = (struct dataset_folder){.name = xstrdup(name),
				     .folder = xasprintf("%s/%s", root, name)};
	return read_recipe(d, err);
}

int dataset_folders_find(const char *root, struct dataset_folders *out, struct error *err)
{
	cleanup_dataset_folders struct dataset_folders found = {.n = 0};
	struct dirent *entry;
	DIR *dir = opendir(root);
	int r = 0;

	if (!dir)
		return error_sys(err, "open folder %s", root);
	while (r == 0 && (entry = readdir(dir)))
		r = add(&found, root, entry->d_name, err);
	closedir(dir);
	if (r < 0)
		return -1;
	if (found.n > 0)
		qsort(found.items, found.n, sizeof(*found.items), by_name);
	*out = found;
	found = (struct dataset_folders){.n = 0};
	return 0;
}

void dataset_folders_release(struct dataset_folders *folders)
{
	for (size_t i = 0; i < folders->n; i++) {
		free(folders->items[i].name);
		free(folders->items[i].folder);
		free(folders->items[i].recipe_json);
	}
	free(folders->items);
	*folders = (struct dataset_folders){.n = 0};
}
