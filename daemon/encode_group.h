/*
 * The encoders that compute one VAE: of those that have room, a batch goes to the one that should have done it first.
 *
 *	struct encode_group group = ENCODE_GROUP_INIT;
 *	encode_group_add(&group, driver)
 *	while ((driver = encode_group_pick(&group, needs)))
 *		encode_driver_submit(driver, batch)
 *
 * Of the loop's thread.
 */
#ifndef LATENTD_DAEMON_ENCODE_GROUP_H
#define LATENTD_DAEMON_ENCODE_GROUP_H

#include "daemon/encode_driver.h"

struct encode_group {
	struct encode_driver **drivers; /* not owned */
	size_t n, capacity;
};

#define ENCODE_GROUP_INIT                                                                          \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

void encode_group_add(struct encode_group *g, struct encode_driver *driver);
void encode_group_remove(struct encode_group *g, const struct encode_driver *driver);
/* Whether one of them computes such a batch, now or when it has room. */
bool encode_group_can(const struct encode_group *g, unsigned needs);
/*
 * Who gets the next batch; @needs: what it needs, ENCODE_... NULL: none has room. An encoder can lose what it computes with
 * at any moment: asked again, there may be none, and the driver that was picked still takes the batch.
 */
struct encode_driver *encode_group_pick(const struct encode_group *g, unsigned needs);
void encode_group_release(struct encode_group *g);

#endif
