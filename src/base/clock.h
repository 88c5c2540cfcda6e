/*
 * Time, in milliseconds. Wall time goes into rows and shards; monotonic time measures and schedules.
 */
#ifndef LATENTD_BASE_CLOCK_H
#define LATENTD_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);

#endif
