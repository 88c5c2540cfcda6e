/*
 * What a person brings by keys, or by the images' paths without extension, against the images that a dataset has: whatever rule
 * its keys were made by.
 */
#ifndef LATENTD_DAEMON_FOREIGN_KEYS_H
#define LATENTD_DAEMON_FOREIGN_KEYS_H

#include "queue/queue.h"

#include "base/buffer.h"

struct json_t;

struct foreign_keys {
	size_t n;
	struct buffer names; /* of the first ones */
};

#define FOREIGN_KEYS_INIT                                                                          \
	{                                                                                          \
		0, BUFFER_INIT                                                                     \
	}

/* Takes the keys of @list, an object, out of it that no image of @dataset has, and adds them to *foreign; one that is the path of an
 * image without its extension gives way to the key of that image. */
int foreign_keys_leave(struct queue *queue, int64_t dataset, struct json_t *list,
		       struct foreign_keys *foreign, struct error *err);
/* "4 keys that photos does not have: "a" "b" "c" ...", to be freed; NULL: there are none. */
char *foreign_keys_line(const struct foreign_keys *foreign, const char *dataset);
/* The same on stderr, of @command. */
void foreign_keys_say(const struct foreign_keys *foreign, const char *command, const char *dataset);

void foreign_keys_release(struct foreign_keys *foreign);

#define cleanup_foreign_keys cleanup_with(foreign_keys_release)

#endif
