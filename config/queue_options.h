/*
 * Where the daemon's queue is, if nodes share it, and what this node is called.
 */
#ifndef LATENTD_CONFIG_QUEUE_OPTIONS_H
#define LATENTD_CONFIG_QUEUE_OPTIONS_H

#include "config/settings.h"

struct queue_options {
	const char
	    *postgres; /* what libpq connects with; NULL: a queue of its own, in the state folder */
	const char *node;      /* NULL: the machine's */
	uint64_t node_timeout; /* ms without a sign of life after which others take over */
	uint64_t poll;	       /* ms after which an idle node asks what others made available */
	uint64_t forget_after; /* likewise, after which its spool is given up; 0: never */
	uint64_t upkeep; /* ms between two rounds of merging and collecting; 0: there are none */
};

extern const struct settings_group queue_settings;

/* Part of file names, and typed by people: 1 to 40 letters, digits, '_' or '-'. */
#define NODE_NAME_SIZE 41
bool node_name_valid(const char *name);
#define NODE_NAME_EXPECTED "1 to 40 letters, digits, '_' or '-'"

/* @asked, or else the machine's name up to its first dot, with '-' for what does not belong into one. To be freed. */
char *node_name(const char *asked);

#endif
