/*
 * A plan for people: a table of the buckets, then what is to be known of the rest.
 */
#ifndef LATENTD_DAEMON_PLAN_TABLE_H
#define LATENTD_DAEMON_PLAN_TABLE_H

#include "daemon/plan.h"

#include <stdio.h>

/* @columns: of the terminal; bars take what the numbers leave. @list: all unreadable and equal files. */
void plan_table(FILE *out, const struct plan *plan, size_t columns, bool list);

#endif
