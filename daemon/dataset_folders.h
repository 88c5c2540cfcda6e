/*
 * The datasets of an output, from its folders alone, and what each says about its recipe.
 */
#ifndef LATENTD_DAEMON_DATASET_FOLDERS_H
#define LATENTD_DAEMON_DATASET_FOLDERS_H

#include "daemon/recipe.h"

struct dataset_folder {
	char *name;
	char *folder;		 /* OUT/NAME */
	char *recipe_json;	 /* canonical; "{}" where dataset.json does not have it */
	char id[RECIPE_ID_SIZE]; /* of recipe_json; empty where that is not known */
	struct dataset_form form;
};

struct dataset_folders {
	struct dataset_folder *items; /* by name */
	size_t n, capacity;
};

/* Folders of @root that have a train/ in them. */
int dataset_folders_find(const char *root, struct dataset_folders *out, struct error *err);
void dataset_folders_release(struct dataset_folders *folders);

#define cleanup_dataset_folders cleanup_with(dataset_folders_release)

#endif
