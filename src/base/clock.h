/*
 * Time, in milliseconds. Wall time goes into rows and shards; monotonic time measures and schedules.
 */
#ifndef LATENTD_BASE_CLOCK_H
#define LATENTD_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_ns(void);
/*
 * Wall time that never goes back in this process and never stands still, whatever is done to the clock: what is
 * due in a second is due in a second. For leases and delays, whose ends are stored as wall times.
 */
int64_t clock_steady_wall_ms(void);

#endif
