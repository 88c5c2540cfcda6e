/*
 * Hours of the day as people keep them, "20:00-08:00": by the local clock, from the first time until before the second, over
 * midnight where the second is not later. What the clock shows decides: a time that it skips in spring does not come that
 * day, and one that it shows twice in autumn counts twice.
 */
#ifndef LATENTD_BASE_DAY_HOURS_H
#define LATENTD_BASE_DAY_HOURS_H

#include <stdbool.h>
#include <stdint.h>

#define DAY_HOURS_EXPECTED                                                                         \
	"two different times of the day, HH:MM-HH:MM, from 00:00 to 24:00 (20:00-08:00)"

struct day_hours {
	unsigned from, until; /* minutes since midnight: from below, until up to 1440 */
};

/* False: @text is not such hours, and @out is untouched. */
bool day_hours_parse(const char *text, struct day_hours *out);
bool day_hours_valid(const char *text);
/* Whether they hold at @at, wall-clock milliseconds. */
bool day_hours_hold(const struct day_hours *h, int64_t at);
/* When they begin or end the next time after @at; 0: not within three days. */
int64_t day_hours_change(const struct day_hours *h, int64_t at);

#endif
