/*
 * What a person brings by keys, against the images that a dataset has.
 */
#ifndef LATENTD_DAEMON_FOREIGN_KEYS_H
#define LATENTD_DAEMON_FOREIGN_KEYS_H

#include "queue/queue.h"

struct json_t;

/*
 * Takes the keys of @list, an object, out of it that no image of @dataset has; *foreign: how many. @command says so on stderr,
 * with the first ones' names.
 */
int foreign_keys_leave(const char *command, struct queue *queue,
		       const struct queue_dataset *dataset, struct json_t *list, size_t *foreign,
		       struct error *err);

#endif
