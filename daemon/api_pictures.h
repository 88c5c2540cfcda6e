/*
 * Pictures that the API shows, as PNG of at most API_PICTURE_SIDE along each side: thumbnails of sources, and latents as
 * colours.
 *
 *	p = api_pictures_new()
 *	api_pictures_thumbnail(p, dataset, key, &png, err)              any thread
 *	api_pictures_preview(p, dataset, shard, offset, &preview, err)  any thread
 *	api_pictures_end(p); ... while (api_pictures_busy(p)) ...       nothing new, and what still is under way
 *	api_pictures_free(p)
 *
 * Only what the catalog knows is shown: clients name keys and shards, never files. Sources are decoded by a confined
 * worker (source_pixels.h) that lives for one picture. One is made at a time (api_turn.h), since people look at one page; who
 * waits for long for the others is told to come again. Sources that take longer than a turn (an archive that has to be unpacked,
 * a server that is silent) are given up. API_PICTURES_BYTES of those that were asked for last are kept.
 * Colours of latents: recipe_colors.h.
 */
#ifndef LATENTD_DAEMON_API_PICTURES_H
#define LATENTD_DAEMON_API_PICTURES_H

#include "base/buffer.h"
#include "daemon/service_status.h"

#include <stdbool.h>

#define API_PICTURE_SIDE   192
#define API_PICTURES_BYTES ((size_t)8 << 20)

struct api_pictures;

struct api_pictures *api_pictures_new(void);
/* When nobody asks any more. NULL is fine. */
void api_pictures_free(struct api_pictures *p);
/* Who comes from now on, or waits, is refused; what is being made of a source is given up. */
void api_pictures_end(struct api_pictures *p);
/* One is being made, from files that may be on a network that is gone. */
bool api_pictures_busy(struct api_pictures *p);

struct api_preview {
	struct buffer *png; /* it is appended to */
	bool fitted;	    /* colours that were fitted to sources; false colours otherwise */
};

/*
 * Both append to a png. ERR_CONFIG: there is no such image, or sample; ERR_DATA with a reason: it cannot be shown;
 * ERR_TRANSIENT: not now. Others as of the database.
 */
int api_pictures_thumbnail(struct api_pictures *p, const struct service_dataset *dataset,
			   const char *key, struct buffer *png, struct error *err);
int api_pictures_preview(struct api_pictures *p, const struct service_dataset *dataset,
			 int64_t shard, uint64_t offset, struct api_preview *out,
			 struct error *err);

#endif
