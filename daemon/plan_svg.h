/*
 * A plan as a picture: a bar for each bucket, upright ones first, with the bucket's shape beside it; then what is
 * skipped and what cannot be read. Text is in a grey that is readable on white and on black.
 */
#ifndef LATENTD_DAEMON_PLAN_SVG_H
#define LATENTD_DAEMON_PLAN_SVG_H

#include "daemon/plan.h"

/* Appends an SVG document. */
void plan_svg(const struct plan *plan, struct buffer *out);

#endif
