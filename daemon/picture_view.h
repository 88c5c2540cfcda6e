/*
 * What a picture of a dataset is made of: its rows, its recipe, its sources, opened for one picture.
 *
 *	struct picture_view v;
 *	picture_view_open(&v, turn, dataset, err)
 *	picture_view_sources(&v, pixels, err)      where sources are read; v.sources from then on
 *	picture_view_root(&v, root)                before one of that root is read
 *	picture_view_close(&v)                     after a failure, too
 */
#ifndef LATENTD_DAEMON_PICTURE_VIEW_H
#define LATENTD_DAEMON_PICTURE_VIEW_H

#include "daemon/api_turn.h"
#include "daemon/sample_source.h"
#include "daemon/service_status.h"
#include "daemon/sources.h"

struct picture_view {
	struct api_turn *turn;
	const struct service_dataset *dataset;
	struct queue *queue;
	struct sources_known folders;
	char *recipe_json;
	struct sample_sources *sources; /* NULL: not wanted yet, or it cannot be */
};

/* ERR_CONFIG: the dataset is not in the database. */
int picture_view_open(struct picture_view *v, struct api_turn *turn,
		      const struct service_dataset *dataset, struct error *err);
/* Of at most @pixels; reading stops when the turn is over. */
int picture_view_sources(struct picture_view *v, size_t pixels, struct error *err);
/* As the configuration says of that root: by what servers it is asked for, which links are followed. */
void picture_view_root(struct picture_view *v, uint32_t root);
void picture_view_close(struct picture_view *v);

#endif
